#include "proxy/admin/admin_table.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/messages.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace protocol = pgmend::protocol;

namespace {

/// Two workers, each with a pool of app@app and its clients.
admin_facts two_workers() {
    auto settings = std::make_shared<pgmend::config::settings>();
    settings->upstream.user.set("app");
    settings->upstream.database.set("app");
    settings->upstream.servers.set({{"one", "", 5432}, {"two", "", 5433}});
    settings->users.set({{"somebody", "secret", ""}});
    admin_facts facts;
    facts.settings = settings;
    facts.port = 6432;
    facts.now_s = 1'795'000'000;
    for (std::uint64_t i = 1; i <= 2; ++i) {
        worker_facts& worker = facts.workers.emplace_back();
        pool_facts pool;
        pool.database = pool.user = "app";
        pool.clients_active = 10 * i;
        pool.clients_waiting = i;
        pool.servers_idle = 3 * i;
        pool.longest_wait = i * 1'500ms;
        worker.pools.push_back(pool);
        worker.traffic["app"].queries = 100 * i;
        worker.traffic["app"].query_time = 5ms;
        worker.memory.sessions = 12 * i;
        client_facts client;
        client.id = i;
        client.user = client.database = "app";
        client.ends.remote = "[::1]:4444";
        client.ends.local = "unix";
        client.connected = 61s;
        client.server = 16;
        worker.clients.push_back(client);
    }
    return facts;
}

std::map<std::string, std::string> by_name(show_topic topic, const table_row& row) {
    std::map<std::string, std::string> named;
    const auto columns = columns_of(topic);
    for (std::size_t i = 0; i < columns.size(); ++i)
        named[std::string(columns[i].name)] = row[i].value_or("NULL");
    return named;
}

std::vector<std::byte> one_cell(cell_type type, const std::string& text) {
    const table_column column{"x", type};
    std::vector<std::byte> out;
    constexpr std::uint16_t binary[]{1};
    write_row(out, {&column, 1}, {text}, binary);
    return {out.begin() + 5 + 2 + 4, out.end()};
}

}  // namespace

TEST_CASE("admin_table: every row has as many cells as its table has columns", "[proxy]") {
    const admin_facts facts = two_workers();
    for (const show_word& each : show_words()) {
        for (const table_row& row : rows_of(each.topic, facts)) {
            INFO(each.word);
            CHECK(row.size() == columns_of(each.topic).size());
        }
    }
}

TEST_CASE("admin_table: cells of numbers are numbers, without facts as well", "[proxy]") {
    admin_facts none;
    none.settings = std::make_shared<pgmend::config::settings>();
    for (const admin_facts& facts : {two_workers(), none}) {
        for (const show_word& each : show_words()) {
            const auto columns = columns_of(each.topic);
            for (const table_row& row : rows_of(each.topic, facts)) {
                for (std::size_t i = 0; i < columns.size(); ++i) {
                    if (columns[i].type == cell_type::text || !row[i]) continue;
                    INFO(each.word << "." << columns[i].name << " = '" << *row[i] << "'");
                    CHECK(!row[i]->empty());
                    CHECK(row[i]->find_first_not_of("0123456789") == std::string::npos);
                }
            }
        }
    }
}

TEST_CASE("admin_table: the pools of all workers are one pool", "[proxy]") {
    const admin_facts facts = two_workers();
    const auto pools = rows_of(show_topic::pools, facts);
    REQUIRE(pools.size() == 1);
    const auto pool = by_name(show_topic::pools, pools.front());
    CHECK(pool.at("cl_active") == "30");
    CHECK(pool.at("cl_waiting") == "3");
    CHECK(pool.at("sv_idle") == "9");
    CHECK(pool.at("maxwait") == "3");
    CHECK(pool.at("maxwait_us") == "0");
    const auto stats = by_name(show_topic::stats, rows_of(show_topic::stats, facts).at(0));
    CHECK(stats.at("total_query_count") == "300");
    CHECK(stats.at("total_query_time") == "10000");
    const auto databases = rows_of(show_topic::databases, facts);
    REQUIRE(databases.size() == 1);
    CHECK(by_name(show_topic::databases, databases[0]).at("current_client_connections") == "33");
    CHECK(by_name(show_topic::databases, databases[0]).at("host") == "one,two");
}

TEST_CASE("admin_table: averages are of the last period: a second for counts, each for times", "[proxy]") {
    admin_facts facts = two_workers();
    facts.period.seconds = 10;
    facts.period.older["app"].queries = 100;
    facts.period.newer["app"].queries = 300;
    facts.period.newer["app"].query_time = 1s;
    facts.period.newer["app"].received = 50;
    const auto stats = by_name(show_topic::stats, rows_of(show_topic::stats, facts).at(0));
    CHECK(stats.at("avg_query_count") == "20");
    CHECK(stats.at("avg_query_time") == "5000");
    CHECK(stats.at("avg_recv") == "5");
    CHECK(stats.at("avg_wait_time") == "0");
    facts.period.older["app"].queries = 400;  // counters do not fall; if they do, nothing is said
    CHECK(by_name(show_topic::stats, rows_of(show_topic::stats, facts).at(0)).at("avg_query_count") == "0");
}

TEST_CASE("admin_table: a client's row has addresses apart, dates, and links to its server", "[proxy]") {
    const auto clients = rows_of(show_topic::clients, two_workers());
    REQUIRE(clients.size() == 2);
    const auto client = by_name(show_topic::clients, clients[1]);
    CHECK(client.at("addr") == "::1");
    CHECK(client.at("port") == "4444");
    CHECK(client.at("local_addr") == "unix");
    CHECK(client.at("local_port") == "6432");
    CHECK(client.at("connect_time") == "2026-11-18 11:05:39 UTC");
    CHECK(client.at("ptr") == "0x2");
    CHECK(client.at("link") == "0x10");
}

TEST_CASE("admin_table: SHOW CONFIG tells no secret, and PgBouncer's names in its units", "[proxy]") {
    auto facts = two_workers();
    std::map<std::string, std::string> values;
    for (const table_row& row : rows_of(show_topic::config, facts)) {
        values[*row[0]] = *row[1];
        CHECK(row[1]->find("secret") == std::string::npos);
    }
    CHECK(values.at("pool.wait_timeout") == "2min");
    CHECK(values.at("query_wait_timeout") == "120");
    CHECK(values.at("server_login_retry") == "5");
    CHECK(values.at("max_client_conn") == "10000");
}

TEST_CASE("admin_table: values in binary are PostgreSQL's", "[proxy]") {
    const auto bytes = [](std::initializer_list<int> list) {
        std::vector<std::byte> made;
        for (const int each : list)
            made.push_back(static_cast<std::byte>(each));
        return made;
    };
    CHECK(one_cell(cell_type::int4, "258") == bytes({0, 0, 1, 2}));
    CHECK(one_cell(cell_type::int8, "4294967296") == bytes({0, 0, 0, 1, 0, 0, 0, 0}));
    CHECK(one_cell(cell_type::text, "ab") == bytes({'a', 'b'}));
    CHECK(one_cell(cell_type::numeric, "0") == bytes({0, 0, 0, 0, 0, 0, 0, 0}));
    CHECK(one_cell(cell_type::numeric, "12345") == bytes({0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 9, 41}));
    CHECK(one_cell(cell_type::numeric, "20000") == bytes({0, 1, 0, 1, 0, 0, 0, 0, 0, 2}));
}

TEST_CASE("admin table: what was healed is one story, of all workers by time") {
    admin_facts facts = two_workers();
    facts.now_ms = facts.now_s * 1000 + 7;
    const auto add = [&facts](std::size_t worker, healing_kind kind, pgmend::config::duration ago) {
        healing_event& made = facts.workers[worker].healings.emplace_back();
        made.kind = kind;
        made.outcome = "begun";
        made.at = facts.now - ago;
    };
    add(0, healing_kind::hold, 2s);
    add(0, healing_kind::server_lost, 500ms);
    add(1, healing_kind::breaker, 1s);
    facts.workers[1].healings.back().server = "one:5432";
    facts.workers[1].healings.back().count = 5;
    const table_rows rows = rows_of(show_topic::healings, facts);
    REQUIRE(rows.size() == 3);
    for (const auto& row : rows)
        REQUIRE(row.size() == columns_of(show_topic::healings).size());
    CHECK(by_name(show_topic::healings, rows[0])["kind"] == "hold");
    CHECK(by_name(show_topic::healings, rows[0])["server"] == "NULL");
    CHECK(by_name(show_topic::healings, rows[1])["kind"] == "breaker");
    CHECK(by_name(show_topic::healings, rows[1])["count"] == "5");
    CHECK(by_name(show_topic::healings, rows[1])["worker"] == "1");
    CHECK(by_name(show_topic::healings, rows[1])["time"] == "2026-11-18 11:06:39.007 UTC");
    CHECK(by_name(show_topic::healings, rows[2])["kind"] == "server_lost");
    CHECK(needs_of(show_topic::healings).healings);
    CHECK_FALSE(needs_of(show_topic::pools).healings);
}

TEST_CASE("admin table: breakers are shown as each worker has them") {
    admin_facts facts = two_workers();
    breaker_facts open;
    open.place = 1;
    open.counted = breaker_class::resource;
    open.state = pgmend::health::breaker_state::open;
    open.reason = "failure_rate";
    open.recent = {20, 11, 2};
    open.opened = 3;
    open.open_for = 1500ms;
    facts.workers[1].breakers.push_back(open);
    const table_rows rows = rows_of(show_topic::breakers, facts);
    REQUIRE(rows.size() == 1);
    REQUIRE(rows[0].size() == columns_of(show_topic::breakers).size());
    auto row = by_name(show_topic::breakers, rows[0]);
    CHECK(row["server"] == "two:5433");
    CHECK(row["class"] == "resource");
    CHECK(row["state"] == "open");
    CHECK(row["reason"] == "failure_rate");
    CHECK(row["failures"] == "11");
    CHECK(row["slow"] == "2");
    CHECK(row["open_ms"] == "1500");
    CHECK(row["worker"] == "1");
}

TEST_CASE("admin table: protection is told rule by rule, by the latest that any worker has heard") {
    admin_facts facts = two_workers();
    table_rows rows = rows_of(show_topic::protection, facts);
    REQUIRE(rows.size() == 1);
    CHECK(by_name(show_topic::protection, rows[0])["rule"] == "commit_outcome");
    CHECK(by_name(show_topic::protection, rows[0])["why"] == "guard.commit_outcome is off");
    auto on = std::make_shared<pgmend::config::settings>();
    on->guard.commit_outcome.set(pgmend::config::guard_mode::on);
    facts.settings = on;
    rows = rows_of(show_topic::protection, facts);
    REQUIRE(rows.size() == 1);
    CHECK(by_name(show_topic::protection, rows[0])["works"] == "not_known");
    CHECK(by_name(show_topic::protection, rows[0])["user"] == "app");

    facts.workers[0].protections.push_back({"one:5432", "app", "app", "pg_xact_status", "", 90s});
    facts.workers[1].protections.push_back(
        {"one:5432", "app", "app", "gen_random_uuid pg_terminate_backend", "", 5s}
    );
    facts.workers[1].protections.push_back({"two:5433", "app", "app", "", "42501", 7s});
    facts.wal.push_back({"one:5432", "health", true, "", 1s});
    facts.wal.push_back({"two:5433", "health", std::nullopt, "Connection refused", 2s});
    std::map<std::string, std::string> works;
    std::map<std::string, std::string> why;
    for (const table_row& each : rows_of(show_topic::protection, facts)) {
        REQUIRE(each.size() == columns_of(show_topic::protection).size());
        auto row = by_name(show_topic::protection, each);
        works[row["server"] + ' ' + row["rule"]] = row["works"];
        why[row["server"] + ' ' + row["rule"]] = row["why"];
    }
    CHECK(works.size() == 10);
    CHECK(works["one:5432 server_life"] == "yes");
    CHECK(works["one:5432 commit_status"] == "yes");
    CHECK(works["one:5432 commit_evidence"] == "no");
    CHECK(why["one:5432 commit_evidence"] == "may not be called: gen_random_uuid");
    CHECK(works["one:5432 old_backend"] == "no");
    CHECK(works["one:5432 wal_record"] == "yes");
    CHECK(works["two:5433 server_life"] == "no");
    CHECK(works["two:5433 commit_status"] == "not_known");
    CHECK(works["two:5433 wal_record"] == "not_known");
    CHECK(why["two:5433 wal_record"] == "Connection refused");
}

TEST_CASE("admin table: a shape is one row, whatever workers it ran on, the dearest first", "[proxy]") {
    admin_facts facts = two_workers();
    for (worker_facts& worker : facts.workers) {
        statement_tally cheap;
        cheap.text = "select ?";
        cheap.calls = 10;
        cheap.errors = 1;
        cheap.time = 1ms;
        cheap.latency.record(100us);
        statement_tally dear;
        dear.text = "update t";
        dear.calls = 1;
        dear.time = 2s;
        dear.latency.record(2s);
        worker.statements = {cheap, dear};
    }
    const table_rows rows = rows_of(show_topic::statements, facts);
    REQUIRE(rows.size() == 2);
    auto row = by_name(show_topic::statements, rows[0]);
    CHECK((row["statement"] == "update t" && row["calls"] == "2" && row["time_ms"] == "4000"));
    CHECK((row["mean_us"] == "2000000" && std::stoi(row["p99_us"]) >= 2'000'000));
    row = by_name(show_topic::statements, rows[1]);
    CHECK((
        row["statement"] == "select ?" && row["calls"] == "20" && row["errors"] == "2" && row["timed"] == "2"
    ));
}

TEST_CASE("admin table: coverage by database, its reasons, and the statements that are to blame", "[proxy]") {
    using pgmend::config::metrics::replay_hindrance;
    const auto outside = static_cast<std::size_t>(replay_hindrance::wrote_outside);
    admin_facts facts = two_workers();
    for (worker_facts& worker : facts.workers) {
        worker.traffic["app"].transactions = 1'000;
        worker.traffic["app"].uncovered[outside] = 1;
        worker.coverage["app"].all = 4;
        worker.coverage["app"].lost["pinned"] = 1;
        worker.coverage["app"].lost["write_in_flight"] = 1;
        statement_tally update;
        update.text = "update t";
        update.calls = 1;
        update.hinders[outside] = 1;
        worker.statements = {update};
    }
    facts.period.older["app"].transactions = 1'900;
    facts.period.newer["app"].transactions = 1'950;
    facts.period.newer["app"].uncovered[outside] = 1;
    std::map<std::string, std::map<std::string, std::string>> found;
    for (const table_row& each : rows_of(show_topic::coverage, facts)) {
        auto row = by_name(show_topic::coverage, each);
        found[row["outcome"] + (row["database"] == "NULL" ? " by statement" : "")] = row;
    }
    REQUIRE(found.size() == 5);
    auto row = found["covered"];
    CHECK((row["live"] == "4" && row["recent"] == "49" && row["total"] == "1998"));
    CHECK((row["recent_percent"] == "98.00" && row["total_percent"] == "99.90"));
    row = found["wrote_outside"];
    CHECK(
        (row["live"] == "0" && row["recent"] == "1" && row["total"] == "2" && row["total_percent"] == "0.10")
    );
    CHECK(row["meaning"].find("BEGIN") != std::string::npos);
    CHECK((found["pinned"]["live"] == "2" && found["write_in_flight"]["live"] == "2"));
    row = found["wrote_outside by statement"];
    CHECK((row["statement"] == "update t" && row["total"] == "2" && row["recent"] == "NULL"));
}
