#include "proxy/servers/backend_cluster.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "config/loader.hpp"
#include "tests/support/test_server.hpp"

using namespace pgmend::proxy;
using namespace pgmend::test;
using namespace std::chrono_literals;
namespace config = pgmend::config;
namespace health = pgmend::health;
namespace pool = pgmend::pool;
using config::metrics::connect_result;

namespace {

struct fixture {
    std::shared_ptr<const config::settings> settings;
    test_worker worker;
    std::unique_ptr<backend_cluster> cluster;
    pool::endpoint_choice choice;  ///< the last one

    explicit fixture(
        const std::string& attributes = "any", const std::string& servers = "a:1,b:2,c:3",
        const std::string& srv = ""
    ) {
        const config::load_result loaded = config::load(
            {{},
             {{"PGMEND_UPSTREAM_SERVERS", servers},
              {"PGMEND_UPSTREAM_PASSWORD", "pw"},
              {"PGMEND_UPSTREAM_SRV", srv},
              {"PGMEND_UPSTREAM_TARGET_SESSION_ATTRS", attributes},
              {"PGMEND_POOL_RETRY_DELAY_MIN", "100ms"},
              {"PGMEND_POOL_RETRY_DELAY_MAX", "100ms"},
              {"PGMEND_POOL_RETRY_DELAY_FULL", "50ms"}},
             "os_user"}
        );
        for (const auto& error : loaded.errors) {
            UNSCOPED_INFO(error);
        }
        REQUIRE(loaded.value);
        settings = loaded.value;
        cluster = std::make_unique<backend_cluster>(*settings, worker.env);
    }
    std::string choose() {
        choice = cluster->choose(true);
        return choice.where ? choice.where->to_string() : choice.busy ? "later" : "nobody";
    }
    config::duration report(
        const std::string& host, std::uint16_t port, connect_result result, std::string_view sqlstate = {}
    ) {
        pool::login_outcome outcome;
        outcome.result = result;
        outcome.sqlstate = sqlstate;
        if (!choice.where || *choice.where != pool::endpoint{host, port})
            choice = {pool::endpoint{host, port}};
        return cluster->report(std::exchange(choice, {}), outcome);
    }
    bool accepts(std::string_view standby, std::string_view read_only = "off") {
        const auto server = worker.server();
        const std::string a{standby};
        const std::string b{read_only};
        if (!a.empty()) {
            server->reported = worker.parameters.with(server->reported, "in_hot_standby", &a);
        }
        server->reported = worker.parameters.with(server->reported, "default_transaction_read_only", &b);
        return cluster->accepts({"a", 1}, *server);
    }
};

}  // namespace

TEST_CASE("backend cluster: the first server that is awake, and then the one that worked") {
    fixture f;
    CHECK(f.choose() == "a:1");
    CHECK(f.choose() == "a:1");
    CHECK(f.report("a", 1, connect_result::refused) == 0s);
    CHECK(f.choose() == "b:2");
    CHECK(f.report("b", 2, connect_result::ok) == 0s);
    f.worker.env.pass(1h);
    CHECK(f.choose() == "b:2");  // no going back without a reason
    CHECK(f.report("b", 2, connect_result::refused) == 0s);
    CHECK(f.choose() == "a:1");
}

TEST_CASE("backend cluster: while all of them rest, the pause is as long as the shortest rest") {
    fixture f;
    CHECK(f.report("a", 1, connect_result::refused) == 0s);
    f.worker.env.pass(40ms);
    CHECK(f.report("b", 2, connect_result::timeout) == 0s);
    f.worker.env.pass(10ms);
    CHECK(f.report("c", 3, connect_result::refused) == 50ms);
    CHECK(f.choose() == "a:1");
    f.worker.env.pass(50ms);
    CHECK(f.choose() == "a:1");
    CHECK(f.report("a", 1, connect_result::refused) == 40ms);
    CHECK(f.choose() == "b:2");
}

TEST_CASE("backend cluster: what is wrong with the client does not make the server rest") {
    fixture f;
    CHECK(f.report("a", 1, connect_result::login_failed, "28P01") == 0s);
    CHECK(f.choose() == "a:1");
    CHECK(f.report("a", 1, connect_result::tls_failed) == 0s);
    CHECK(f.choose() == "b:2");
}

TEST_CASE("backend cluster: a server nobody has heard of changes nothing") {
    fixture f;
    CHECK(f.report("x", 9, connect_result::refused) == 0s);
    CHECK(f.choose() == "a:1");
}

TEST_CASE("backend cluster: one server alone is tried again after its pause") {
    fixture f{"any", "only:1"};
    CHECK(f.report("only", 1, connect_result::refused) == 100ms);
    CHECK(f.choose() == "only:1");
}

TEST_CASE("backend cluster: a server that is full is tried again soon, however often it said so") {
    fixture f("any", "a:1");
    const auto longest = [&f](std::string_view sqlstate) {
        config::duration most{};
        for (int i = 0; i < 20; ++i)
            most = std::max(most, f.report("a", 1, connect_result::server_error, sqlstate));
        return most;
    };
    CHECK(longest("53300") == 50ms);
    CHECK(longest("57P03") == 100ms);
}

TEST_CASE("backend cluster: the wanted role decides which server will do") {
    struct example {
        std::string attributes;
        bool primary, read_only_primary, standby;
    };
    const example examples[]{
        {"any", true, true, true},        {"read-write", true, false, false},
        {"read-only", false, true, true}, {"primary", true, true, false},
        {"standby", false, false, true},  {"prefer-standby", false, false, true},
    };
    for (const auto& [attributes, primary, read_only_primary, standby] : examples) {
        CAPTURE(attributes);
        fixture f{attributes};
        CHECK(f.accepts("off") == primary);
        CHECK(f.accepts("off", "on") == read_only_primary);
        CHECK(f.accepts("on") == standby);
        CHECK(f.accepts("") == primary);  // a server too old to say is a primary
    }
}

TEST_CASE("backend cluster: prefer-standby takes a primary when no server is a standby") {
    fixture f{"prefer-standby", "a:1,b:2"};
    CHECK_FALSE(f.accepts("off"));
    f.report("a", 1, connect_result::wrong_role, "57P03");
    CHECK_FALSE(f.accepts("off"));
    f.report("b", 2, connect_result::wrong_role, "57P03");
    CHECK(f.accepts("off"));
    CHECK(f.accepts("on"));
}

namespace {

using health::node_condition;
using health::node_role;

health::node_view node(node_role role, node_condition condition = node_condition::up) {
    health::node_view view;
    view.role = role;
    view.condition = condition;
    return view;
}

health::topology_snapshot picture(
    std::vector<health::node_view> nodes, std::optional<std::size_t> primary, std::uint64_t system = 7
) {
    auto made = std::make_shared<health::topology>();
    made->nodes = std::move(nodes);
    made->memory.primary = primary;
    made->memory.system_identifier = system;
    return made;
}

}  // namespace

TEST_CASE("backend cluster: with a picture of the servers, the role decides and not the order") {
    fixture f;
    f.cluster->update(
        picture({node(node_role::standby), node(node_role::primary), node(node_role::standby)}, 1)
    );
    CHECK(f.choose() == "b:2");
    CHECK_FALSE(f.cluster->may_serve({"a", 1}));
    CHECK(f.cluster->may_serve({"b", 2}));
    CHECK_FALSE(f.accepts("on"));  // a primary that turned out to be a standby
    // While it rests after a failed login, a standby is no substitute.
    f.report("b", 2, connect_result::refused);
    CHECK(f.choose() == "b:2");
}

TEST_CASE("backend cluster: without a primary nobody is chosen who is known to be something else") {
    fixture f;
    const auto down = node_condition::down;
    f.cluster->update(
        picture({node(node_role::standby), node(node_role::fenced), node(node_role::foreign)}, std::nullopt)
    );
    CHECK(f.choose() == "nobody");
    CHECK(f.cluster->absence().find("b:2 is up, a primary of an older timeline") != std::string::npos);
    // The one that was the primary and is down may be tried all the same.
    f.cluster->update(picture(
        {node(node_role::standby), node(node_role::unknown, down), node(node_role::standby)}, std::nullopt
    ));
    CHECK(f.choose() == "b:2");
    CHECK_FALSE(f.cluster->may_serve({"b", 2}));
}

TEST_CASE("backend cluster: one server alone is used whatever it is") {
    fixture f{"any", "only:1"};
    for (const auto role : {node_role::unknown, node_role::primary, node_role::standby}) {
        f.cluster->update(picture({node(role)}, std::nullopt));
        CHECK(f.choose() == "only:1");
        CHECK(f.cluster->may_serve({"only", 1}));
        CHECK_FALSE(f.cluster->must_leave({"only", 1}));
    }
    f.cluster->update(picture({node(node_role::unknown, node_condition::down)}, std::nullopt));
    CHECK(f.choose() == "only:1");
    CHECK_FALSE(f.cluster->may_serve({"only", 1}));
    CHECK_FALSE(f.cluster->must_leave({"only", 1}));
}

TEST_CASE("backend cluster: a banned server gets nothing, and what it is doing goes on") {
    fixture f;
    f.cluster->update(
        picture({node(node_role::primary), node(node_role::standby), node(node_role::primary)}, 0)
    );
    CHECK(f.choose() == "a:1");
    CHECK(f.cluster->is_usable(0));
    CHECK_FALSE(f.cluster->is_usable(1));
    f.cluster->set_ban(0, true);
    CHECK_FALSE(f.cluster->is_usable(0));
    CHECK_FALSE(f.cluster->may_serve({"a", 1}));
    CHECK_FALSE(f.cluster->must_leave({"a", 1}));
    CHECK_FALSE(f.cluster->is_silent({"a", 1}));
    CHECK(f.choose() == "c:3");
    f.cluster->set_ban(2, true);
    CHECK(f.choose() == "nobody");
    CHECK_FALSE(f.cluster->any_serves());
    CHECK(f.cluster->absence().find("a:1 is banned, b:2 is up, a standby") != std::string::npos);
    f.cluster->set_ban(0, false);
    CHECK(f.choose() == "a:1");
    // Also before anything is known, and where it is the only one.
    fixture alone{"any", "only:1"};
    alone.cluster->set_ban(0, true);
    CHECK(alone.choose() == "nobody");
    CHECK_FALSE(alone.cluster->may_serve({"only", 1}));
}

TEST_CASE("backend cluster: a silent server is left only when there is somewhere else to go") {
    fixture f{"any", "a:1,b:2"};
    const auto down = node_condition::down;
    f.cluster->update(picture({node(node_role::unknown, down), node(node_role::standby)}, std::nullopt));
    CHECK_FALSE(f.cluster->must_leave({"a", 1}));
    CHECK(f.cluster->is_silent({"a", 1}));
    f.cluster->update(picture({node(node_role::fenced, down), node(node_role::primary)}, 1));
    CHECK(f.cluster->must_leave({"a", 1}));
    f.cluster->update(picture({node(node_role::fenced), node(node_role::primary)}, 1));
    CHECK(f.cluster->must_leave({"a", 1}));
    CHECK_FALSE(f.cluster->must_leave({"b", 2}));
}

TEST_CASE("backend cluster: what a login met becomes evidence for the monitor") {
    fixture f;
    std::vector<std::pair<std::size_t, health::traffic_evidence>> told;
    f.cluster->connect_monitor(
        [&told](std::size_t place, health::traffic_evidence what) { told.emplace_back(place, what); },
        nullptr, nullptr
    );
    f.report("a", 1, connect_result::ok);
    f.report("a", 1, connect_result::login_failed, "28P01");
    CHECK(told.empty());
    f.report("b", 2, connect_result::refused);
    f.report("c", 3, connect_result::timeout);
    f.report("a", 1, connect_result::wrong_role, "57P03");
    pool::server_connection broken{f.worker.pool, f.worker.buffers, {"b", 2}, 16, 16};
    f.cluster->broke(broken);
    const std::vector<std::pair<std::size_t, health::traffic_evidence>> wanted{
        {1, health::traffic_evidence::refused},
        {2, health::traffic_evidence::timed_out},
        {0, health::traffic_evidence::read_only},
        {1, health::traffic_evidence::reset}};
    CHECK(told == wanted);
}

namespace {

/// With its breakers' events, and its limits small.
struct breaking : fixture {
    healing_ledger ledger{100};
    int rooms = 0;

    explicit breaking(const std::string& attributes = "any", const std::string& servers = "a:1,b:2,c:3")
        : fixture(attributes, servers) {
        cluster->connect_worker(worker.metrics, ledger, [this] { ++rooms; });
    }
    /// So many logins to the server that is chosen.
    void logins(int times, connect_result result, std::string_view sqlstate = {}) {
        for (int i = 0; i < times; ++i) {
            const auto chosen = cluster->choose(true);
            REQUIRE(chosen.where);
            pool::login_outcome outcome;
            outcome.result = result;
            outcome.sqlstate = sqlstate;
            cluster->report(chosen, outcome);
            worker.env.pass(1ms);
        }
    }
    std::vector<std::string> events() {
        std::vector<std::string> all;
        for (const auto& event : ledger.latest(100)) {
            all.push_back(event.server + " " + std::string(event.outcome) + " " + std::string(event.reason));
        }
        return all;
    }
    std::int64_t open() const { return worker.metrics.breakers.value(health::breaker_state::open); }
};

}  // namespace

TEST_CASE("backend cluster: a server whose breaker is open is not chosen, and is again when trials went well"
) {
    breaking f{"any", "a:1,b:2"};
    for (int i = 0; i < 5; ++i) {
        f.report("a", 1, connect_result::ok);  // it is the present one
        auto chosen = f.cluster->choose(true);
        REQUIRE(chosen.where->host == "a");
        pool::login_outcome outcome;
        outcome.result = connect_result::lost;
        f.cluster->report(chosen, outcome);
        f.worker.env.pass(1s);
    }
    CHECK(f.events() == std::vector<std::string>{"a:1 open failures_in_a_row"});
    CHECK(f.open() == 1);
    f.worker.env.pass(10s);
    f.report("a", 1, connect_result::ok);  // present and not resting: only the breaker speaks against it
    CHECK(f.choose() == "b:2");
    f.worker.env.pass(40s);
    CHECK(f.choose() == "a:1");
    f.report("a", 1, connect_result::ok);
    f.logins(2, connect_result::ok);
    CHECK(f.events().back() == "a:1 closed trials_passed");
    CHECK(f.open() == 0);
    CHECK(f.rooms > 0);
}

TEST_CASE("backend cluster: the only server is tried however often it failed, one login at a time") {
    breaking f{"any", "only:1"};
    f.logins(5, connect_result::refused);
    CHECK(f.events() == std::vector<std::string>{"only:1 open failures_in_a_row"});
    const auto trial = f.cluster->choose(true);
    REQUIRE(trial.where);
    CHECK(f.choose() == "later");
    CHECK(f.cluster->choose(false).where);  // who cannot wait need not
    const int before = f.rooms;
    pool::login_outcome refused;
    refused.result = connect_result::refused;
    f.cluster->report(trial, refused);
    f.worker.env.run();
    CHECK(f.rooms == before + 1);
    // The monitor has seen it up: three at a time.
    f.cluster->update(picture({node(node_role::unknown, node_condition::down)}, std::nullopt));
    f.cluster->update(picture({node(node_role::primary)}, 0));
    CHECK(f.events().back() == "only:1 half_open probe_succeeded");
}

TEST_CASE("backend cluster: the primary has no substitute: a standby is not chosen because of its breaker") {
    breaking f{"any", "a:1,b:2"};
    f.cluster->update(picture({node(node_role::primary), node(node_role::standby)}, 0));
    f.logins(6, connect_result::refused);
    CHECK(f.open() == 1);
    CHECK(f.choose() == "a:1");
    CHECK(f.choose() == "later");
}

TEST_CASE("backend cluster: prefer-standby goes to the primary while the standby's breaker is open") {
    breaking f{"prefer-standby", "a:1,b:2"};
    f.cluster->update(picture({node(node_role::primary), node(node_role::standby)}, 0));
    f.logins(5, connect_result::refused);
    CHECK(f.choose() == "a:1");
}

TEST_CASE("backend cluster: what a server lacks is counted apart from whether it can be reached") {
    breaking f{"any", "only:1"};
    f.logins(4, connect_result::server_error, "53300");
    f.logins(4, connect_result::refused);
    CHECK(f.events().empty());
    f.logins(1, connect_result::server_error, "53300");
    CHECK(f.events() == std::vector<std::string>{"only:1 open failures_in_a_row"});
    const auto facts = f.cluster->breakers();
    REQUIRE(facts.size() == 2);
    CHECK(facts[0].state == health::breaker_state::closed);
    CHECK(facts[1].state == health::breaker_state::open);
    CHECK(facts[1].counted == breaker_class::resource);
    CHECK(facts[1].recent.failures == 5);
}

TEST_CASE("backend cluster: errors of the client's own never count, those of the server do") {
    breaking f{"any", "only:1"};
    f.logins(20, connect_result::login_failed, "28P01");
    f.logins(20, connect_result::server_error, "3D000");
    for (int i = 0; i < 20; ++i) {
        for (const char* own : {"22012", "23505", "42601", "40001", "57014"}) {
            f.cluster->in_trouble({"only", 1}, own);
        }
    }
    CHECK(f.events().empty());
    std::uint64_t* served = f.cluster->served({"only", 1});
    for (int i = 0; i < 30; ++i) {
        f.cluster->in_trouble({"only", 1}, "53100");
        *served += 10;  // the failed one among them
    }
    CHECK(f.events().empty());
    for (int i = 0; i < 5; ++i) {
        f.cluster->in_trouble({"only", 1}, "XX000");
        *served += 1;
    }
    CHECK(f.events() == std::vector<std::string>{"only:1 open failures_in_a_row"});
}

TEST_CASE("backend cluster: one crash breaks many connections and is one failure") {
    breaking f{"any", "only:1"};
    const auto opened = [&f] {
        auto made = std::make_unique<pool::server_connection>(
            f.worker.pool, f.worker.buffers, pool::endpoint{"only", 1}, 16, 16
        );
        made->opened_at = f.worker.env.now();
        return made;
    };
    for (int crash = 0; crash < 5; ++crash) {
        CHECK(f.events().empty());
        f.worker.env.pass(1ms);
        const auto one = opened();
        const auto other = opened();
        f.worker.env.pass(1ms);
        f.cluster->broke(*one);
        f.cluster->broke(*other);
        f.worker.env.pass(1ms);
        f.cluster->broke(*other);
    }
    CHECK(f.events() == std::vector<std::string>{"only:1 open failures_in_a_row"});
}

namespace {

using health::presence;

/// A picture of servers that a list names: `a`, or `-a` for one that is leaving and `xa` for one that is
/// gone.
health::topology_snapshot named(
    const std::vector<std::string>& names, std::vector<health::node_view> nodes,
    std::optional<std::size_t> primary
) {
    health::server_roster roster;
    for (const std::string& name : names) {
        health::known_server one;
        one.here = name[0] == '-' ? presence::leaving : name[0] == 'x' ? presence::gone : presence::listed;
        one.address = *config::parse_server(one.here == presence::listed ? name : name.substr(1)).value;
        one.rank = static_cast<std::uint32_t>(roster.size());
        roster.push_back(one);
    }
    auto made = std::make_shared<health::topology>(*picture(std::move(nodes), primary));
    made->servers = std::make_shared<const health::server_roster>(roster);
    return made;
}

constexpr const char* srv = "_postgresql._tcp.example.com";

}  // namespace

TEST_CASE("backend cluster: servers that a list names are used, and left, as they come and go") {
    fixture f{"any", "", srv};
    CHECK(f.choose() == "nobody");
    CHECK(f.cluster->absence() == "no list has named a server yet");
    CHECK_FALSE(f.cluster->any_serves());
    f.cluster->update(named({"a:1"}, {node(node_role::primary)}, 0));
    CHECK(f.choose() == "a:1");
    f.cluster->update(named({"a:1", "b:2"}, {node(node_role::primary), node(node_role::standby)}, 0));
    CHECK(f.choose() == "a:1");
    // A primary that works is not left because a list has forgotten it.
    f.cluster->update(named({"-a:1", "b:2"}, {node(node_role::primary), node(node_role::standby)}, 0));
    CHECK(f.choose() == "a:1");
    CHECK(f.cluster->may_serve({"a", 1}));
    // Another one is: connections are given up as they become free, and not under anybody.
    f.cluster->update(named({"-a:1", "b:2"}, {node(node_role::standby), node(node_role::primary)}, 1));
    CHECK(f.choose() == "b:2");
    CHECK_FALSE(f.cluster->may_serve({"a", 1}));
    CHECK_FALSE(f.cluster->must_leave({"a", 1}));
    CHECK_FALSE(f.cluster->is_silent({"a", 1}));
    f.cluster->update(named({"xa:1", "b:2"}, {node(node_role::standby), node(node_role::primary)}, 1));
    CHECK_FALSE(f.cluster->may_serve({"a", 1}));
    CHECK(f.cluster->absence().find("a:1") == std::string::npos);
    // Its place is another one's now: nobody knows it any more.
    f.cluster->update(named({"d:4", "b:2"}, {node(node_role::standby), node(node_role::primary)}, 1));
    CHECK(f.cluster->place_of({"a", 1}) == f.cluster->servers());
    CHECK_FALSE(f.cluster->may_serve({"a", 1}));
    CHECK(f.cluster->place_of({"d", 4}) == 0);
}

TEST_CASE("backend cluster: who has just been named gets nothing before it has said what it is") {
    fixture f{"any", "", srv};
    const auto unknown = node(node_role::unknown, node_condition::unknown);
    // Where no primary has ever been, anybody may be tried.
    auto nobody_yet = std::make_shared<health::topology>(*named({"a:1"}, {unknown}, std::nullopt));
    nobody_yet->memory.system_identifier = 0;
    f.cluster->update(nobody_yet);
    CHECK(f.choose() == "a:1");
    f.cluster->update(named({"a:1"}, {node(node_role::primary)}, 0));
    // The primary is gone, and the new name may be a primary of the past.
    f.cluster->update(named({"a:1", "b:2"}, {node(node_role::standby), unknown}, std::nullopt));
    CHECK(f.choose() == "nobody");
    f.cluster->update(named({"a:1", "b:2"}, {node(node_role::standby), node(node_role::primary)}, 1));
    CHECK(f.choose() == "b:2");
}

TEST_CASE("backend cluster: one server that a list names is not alone for ever") {
    fixture f{"any", "only:1", srv};
    f.cluster->update(named({"only:1"}, {node(node_role::standby)}, std::nullopt));
    CHECK(f.choose() == "nobody");
    CHECK_FALSE(f.cluster->may_serve({"only", 1}));
}

TEST_CASE("backend cluster: a list's order is that in which servers are tried") {
    fixture f{"any", "", srv};
    auto made = std::make_shared<health::topology>(
        *named({"a:1", "b:2"}, {node(node_role::unknown), node(node_role::unknown)}, std::nullopt)
    );
    health::server_roster roster = *made->servers;
    roster[0].rank = 1;
    roster[1].rank = 0;
    made->servers = std::make_shared<const health::server_roster>(roster);
    made->memory.system_identifier = 0;
    f.cluster->update(made);
    // The last one that worked comes first, then by rank.
    f.report("a", 1, connect_result::refused);
    CHECK(f.choose() == "b:2");
}
