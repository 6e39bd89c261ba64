#include "proxy/admin/health_report.hpp"

#include <catch2/catch.hpp>

#include "proxy/admin/admin_table.hpp"
#include "proxy/admin/table_json.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace config = pgmend::config;
namespace health = pgmend::health;
using health::node_condition;
using health::node_role;

namespace {

/// Two servers that are well, and a worker without clients.
struct world {
    world() {
        auto made = std::make_shared<config::settings>();
        made->upstream.servers.set({{"one", "", 5432}, {"two", "", 5433}});
        made->listen.max_clients.set(10);
        made->pool.wait_timeout.set(60s);
        facts.settings = made;
        facts.workers.emplace_back().pools.emplace_back();
        picture.nodes.resize(2);
        picture.nodes[0].condition = picture.nodes[1].condition = node_condition::up;
        picture.nodes[0].role = node_role::primary;
        picture.nodes[1].role = node_role::standby;
        picture.memory.primary = 0;
        health::observation seen;
        seen.result = health::probe_result::ok;
        checks.add(0, seen, now);
    }
    health_view view() {
        facts.topology = std::make_shared<const health::topology>(picture);
        return {facts, checks, now, 1'795'000'000'000, 1'000'000, pressed, draining};
    }
    health_report report() { return assess_health(view()); }
    const component_health& part(const health_report& all, std::string_view name) {
        for (const component_health& one : all.components)
            if (one.name == name) return one;
        FAIL("no component " << name);
        return all.components[0];
    }

    admin_facts facts;
    health::topology picture;
    health::check_history checks{2, 1000};
    config::time_point now = config::time_point{} + 1h;
    bool pressed = false;
    bool draining = false;
};

}  // namespace

TEST_CASE("health: all is well", "[proxy]") {
    world w;
    const health_report all = w.report();
    CHECK(all.state == health_state::healthy);
    CHECK(all.score == 100);
    CHECK(all.components.size() == 6);
}

TEST_CASE("health: a standby that is down makes it worse, no primary makes it critical", "[proxy]") {
    world w;
    w.picture.nodes[1].condition = node_condition::down;
    health_report all = w.report();
    CHECK(all.state == health_state::degraded);
    CHECK(w.part(all, "server:two:5433").state == health_state::critical);
    CHECK(w.part(all, "topology").reason == "1 of 2 servers are up");
    w.picture.memory.primary.reset();
    w.picture.nodes[0].condition = node_condition::down;
    all = w.report();
    CHECK(all.state == health_state::critical);
    CHECK(w.part(all, "topology").reason.starts_with("there is no primary"));
    CHECK(!w.part(all, "topology").advice.empty());
    CHECK(all.score == 0);
}

TEST_CASE("health: less than 95 % of the checks answered is critical for their server", "[proxy]") {
    world w;
    health::observation seen;
    for (int i = 0; i < 100; ++i) {
        seen.result = i % 10 == 0 ? health::probe_result::timeout : health::probe_result::ok;
        seen.message = i % 10 == 0 ? "no answer" : "";
        w.checks.add(0, seen, w.now);
    }
    const health_report all = w.report();
    CHECK(w.part(all, "server:one:5432").state == health_state::critical);
    CHECK(w.part(all, "server:one:5432").reason == "90 % of its last 100 checks were answered: no answer");
    CHECK(all.state == health_state::degraded);
}

TEST_CASE("health: waiting, a crowd and little memory are told with what to do", "[proxy]") {
    world w;
    w.facts.workers[0].pools[0].longest_wait = 2s;
    CHECK(w.part(w.report(), "pools").state == health_state::degraded);
    w.facts.workers[0].pools[0].longest_wait = 31s;
    CHECK(w.part(w.report(), "pools").state == health_state::critical);
    CHECK(w.report().state == health_state::critical);
    w.facts.workers[0].memory.sessions = 8;
    CHECK(w.part(w.report(), "clients").reason == "8 of 10 clients");
    w.facts.workers[0].memory.sessions = 10;
    CHECK(w.part(w.report(), "clients").state == health_state::critical);
    w.pressed = true;
    CHECK(w.part(w.report(), "memory").state == health_state::critical);
}

TEST_CASE("health: half of the longest wait is what the pool's own rule says", "[proxy]") {
    world w;
    auto ruled = std::make_shared<config::settings>();
    ruled->pool.wait_timeout.set(60s);
    config::pool_rule patient;
    patient.user = "batch";
    patient.wait_timeout = 600s;
    ruled->pool.rules.set({patient});
    w.facts.settings = ruled;
    w.facts.workers[0].pools[0].user = "batch";
    w.facts.workers[0].pools[0].longest_wait = 31s;
    CHECK(w.part(w.report(), "pools").state == health_state::degraded);
    w.facts.workers[0].pools[0].longest_wait = 301s;
    CHECK(w.part(w.report(), "pools").state == health_state::critical);
    w.facts.workers[0].pools[0].user = "web";
    w.facts.workers[0].pools[0].longest_wait = 31s;
    CHECK(w.part(w.report(), "pools").state == health_state::critical);
}

TEST_CASE("health: what to do about an old primary depends on whether there is a new one", "[proxy]") {
    world w;
    health::observation seen;
    seen.result = health::probe_result::refused;
    seen.message = "refused";
    w.checks.add(0, seen, w.now);
    w.picture.nodes[0].condition = node_condition::down;
    w.picture.nodes[0].role = node_role::unknown;
    w.picture.memory.primary.reset();
    w.picture.reason = health::election_reason::none_claims;
    w.facts.workers[0].pools[0].longest_wait = 2s;
    w.facts.workers[0].pools[0].clients_waiting = 7;
    health_report all = w.report();
    CHECK(
        w.part(all, "topology").reason ==
        "there is no primary: no server that can be reached says that it is one"
    );
    CHECK(w.part(all, "server:one:5432").advice.find("requests wait") != std::string::npos);
    CHECK(w.part(all, "pools").advice.empty());
    CHECK(w.part(all, "pools").suffers == "7 clients wait, the longest for 2000 ms");
    w.picture.nodes[0].role = node_role::fenced;
    w.picture.nodes[1].role = node_role::primary;
    w.picture.memory.primary = 1;
    all = w.report();
    CHECK(
        w.part(all, "server:one:5432").advice ==
        "Bring it back as a standby of two:5433 (pg_rewind): as a primary it gets no requests any more."
    );
    CHECK(w.part(all, "pools").advice.find("SHOW POOLS") != std::string::npos);
    w.picture.nodes[0].role = node_role::unknown;
    CHECK(
        w.part(w.report(), "server:one:5432").advice.find("requests go to two:5433 meanwhile") !=
        std::string::npos
    );
}

TEST_CASE(
    "health: the two parts of a pool are one pool, and breakers are told by the worst worker", "[proxy]"
) {
    world w;
    w.facts.workers.emplace_back().pools.emplace_back();
    w.facts.workers[0].connections = {3, 1, 0, 0};
    w.facts.workers[1].connections = {4, 0, 5, 6};
    breaker_facts one;
    w.facts.workers[0].breakers.push_back(one);
    one.state = health::breaker_state::open;
    w.facts.workers[1].breakers.push_back(one);
    const health_report all = w.report();
    const auto& pools = w.part(all, "pools").figures;
    CHECK(pools.at("pools").to_number<int>() == 1);
    CHECK(pools.at("reconnections").to_number<int>() == 7);
    CHECK(pools.at("lost_in_use").to_number<int>() == 1);
    CHECK(pools.at("rollbacks").to_number<int>() == 5);
    CHECK(pools.at("resets").to_number<int>() == 6);
    CHECK(w.part(all, "server:one:5432").figures.at("breakers").at("local").as_string() == "open");
}

TEST_CASE(
    "health: SHOW HEALTH says what is the matter, since when, who notices, what was done and what to do",
    "[proxy]"
) {
    world w;
    w.facts.now = w.now;
    w.facts.now_ms = 1'795'000'000'000;
    w.facts.checks = &w.checks;
    const auto rows = [&w] {
        w.facts.topology = std::make_shared<const health::topology>(w.picture);
        return rows_of(show_topic::health, w.facts);
    };
    table_rows told = rows();
    REQUIRE(told.size() == 7);
    for (const table_row& each : told)
        CHECK(each.size() == columns_of(show_topic::health).size());
    CHECK(
        told[0] ==
        table_row{
            "all", "healthy", {}, "all is well", "nobody waits, and nobody was told an error", {}, "nothing"}
    );
    CHECK(told[2][3] == "up, the primary");
    const auto add =
        [&w](healing_kind kind, std::string_view outcome, config::duration ago) -> healing_event& {
        healing_event& act = w.facts.workers[0].healings.emplace_back();
        act.kind = kind;
        act.outcome = outcome;
        act.at = w.now - ago;
        return act;
    };
    add(healing_kind::hold, "released", 10min);  // another trouble
    add(healing_kind::server_lost, "sent_again", 30s);
    add(healing_kind::server_lost, "request_failed", 30s);
    add(healing_kind::server, "down", 29s);
    healing_event& held = add(healing_kind::hold, "released", 5s);
    held.count = 12;
    held.took = 25s;
    add(healing_kind::primary, "elected", 5s).server = "two:5433";
    told = rows();
    CHECK(told[0][2] == "2026-11-18 11:06:10.000 UTC");
    CHECK(told[0][3] == "all is well again");
    CHECK(told[0][4] == "1 client was told an error");
    CHECK(
        told[0][5] ==
        "held 12 requests for up to 25000 ms; sent 1 statement again; chose two:5433 as the primary"
    );
    w.picture.memory.primary.reset();
    w.facts.workers[0].pools[0].clients_waiting = 3;
    told = rows();
    CHECK(told[0][1] == "critical");
    CHECK(told[0][3]->starts_with("topology: there is no primary"));
    CHECK(told[0][4]->starts_with("3 clients wait"));
    CHECK(told[0][5]->starts_with("holds what clients ask for"));
    CHECK(told[0][6]->find("promote a standby") != std::string::npos);
}

TEST_CASE("health: as JSON, with figures, history and acts for who asks for them", "[proxy]") {
    world w;
    health::observation seen;
    seen.result = health::probe_result::refused;
    seen.message = "said \"no\"";
    w.checks.add(1, seen, w.now - 1500ms);
    healing_event act;
    act.at = w.now - 2s;
    act.cause = "57P01";
    const health_view view = w.view();
    const health_report all = assess_health(view);
    const std::string brief = json_text(json_report(all, view, {}, {act}));
    CHECK(brief.find("history") == std::string::npos);
    CHECK(brief.find("actions") == std::string::npos);
    const auto told = json_report(all, view, {true, true, 5}, {act});
    const auto& server = told.at("components").at("server:two:5433").as_object();
    CHECK(server.at("failures_in_a_row").to_number<int>() == 1);
    CHECK(server.at("history").as_array().size() == 1);
    CHECK(server.at("history").at(0).at("at").as_string() == "2026-11-18T11:06:38.500Z");
    CHECK(server.at("history").at(0).at("message").as_string() == "said \"no\"");
    CHECK(told.at("actions").at(0).at("cause").as_string() == "57P01");
}

TEST_CASE("json: cells have the types of their columns, and every topic with rows is found", "[proxy]") {
    constexpr std::array columns{
        table_column{"name"}, table_column{"small", cell_type::int4},
        table_column{"large", cell_type::numeric}};
    const auto rows =
        json_rows(columns, {{"7", "8", "18446744073709551615"}, {std::nullopt, std::nullopt, "x"}});
    CHECK(rows.at(0).at("name").as_string() == "7");
    CHECK(rows.at(0).at("small").as_int64() == 8);
    CHECK(rows.at(0).at("large").as_uint64() == 18446744073709551615U);
    CHECK(rows.at(1).at("name").is_null());
    CHECK(rows.at(1).at("large").as_string() == "x");
    CHECK(topic_named("POOLS") == show_topic::pools);
    CHECK(topic_named("stats_totals") == show_topic::stats_totals);
    CHECK(!topic_named("help"));
    CHECK(!topic_named("pool"));
    for (const show_word& each : show_words())
        CHECK((each.topic == show_topic::help || topic_named(each.word) == each.topic));
}

TEST_CASE("health: before the first look it is not said that there is no primary", "[proxy]") {
    world w;
    w.checks = health::check_history{2, 10};
    w.picture.memory.primary.reset();
    w.picture.nodes[0] = w.picture.nodes[1] = {};
    const health_report all = w.report();
    CHECK(all.state == health_state::degraded);
    CHECK(w.part(all, "topology").reason == "no server has been asked yet");
    CHECK(w.part(all, "server:one:5432").reason == "it has not been reached yet");
}

TEST_CASE("health: the latest acts of all workers are told by time", "[proxy]") {
    world w;
    w.facts.workers.resize(2);
    for (int i = 0; i < 6; ++i) {
        healing_event act;
        act.at = w.now + i * 1s;
        act.number = static_cast<std::uint64_t>(i);
        w.facts.workers[static_cast<std::size_t>(i % 2)].healings.push_back(std::move(act));
    }
    const auto latest = latest_acts(w.facts, 3);
    REQUIRE(latest.size() == 3);
    CHECK((latest[0].number == 3 && latest[1].number == 4 && latest[2].number == 5));
    CHECK(latest_acts(w.facts, 100).size() == 6);
}
