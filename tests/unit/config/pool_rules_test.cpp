#include "config/pool_rules.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::config;

namespace {

struct reading {
    pool_rule_list rules;
    problems found;
    bool good = false;
};

reading read(std::string_view yaml) {
    reading result;
    const document_node node = parse_document(yaml, result.found);
    result.good = read_pool_rules(node, "pool.rules", result.rules, result.found);
    return result;
}

}  // namespace

TEST_CASE("pool rules: the first that fits decides, and a name left out fits all", "[config]") {
    const auto read_rules = read(
        "[{database: app, user: batch, session_state: pin}, {user: batch, session_state: off}, "
        "{database: app, session_state: virtual}]"
    );
    REQUIRE(read_rules.good);
    const auto& rules = read_rules.rules;
    const auto state = [&](std::string_view database, std::string_view user) {
        return pool_rule_for(rules, &pool_rule::state, database, user);
    };
    CHECK(state("app", "batch") == session_policy::pin);
    CHECK(state("other", "batch") == session_policy::off);
    CHECK(state("app", "web") == session_policy::follow);
    CHECK(state("other", "web") == std::nullopt);
    CHECK(
        print_pool_rules(rules) ==
        "batch@app: session_state=pin, batch@*: session_state=off, *@app: session_state=virtual"
    );
}

TEST_CASE("pool rules: each thing is decided by the first rule that says it", "[config]") {
    const auto result = read(
        "[{user: batch, replay: off, size: 3}, {database: app, mode: session, size: 9, min_size: 0, replay: "
        "on}, "
        "{reserve_size: 2, size: 5}]"
    );
    REQUIRE(result.good);
    const auto& rules = result.rules;
    CHECK(pool_rule_for(rules, &pool_rule::size, "app", "batch") == 3);
    CHECK(pool_rule_for(rules, &pool_rule::size, "app", "web") == 9);
    CHECK(pool_rule_for(rules, &pool_rule::size, "other", "web") == 5);
    CHECK(pool_rule_for(rules, &pool_rule::size, "app", {}) == 9);
    CHECK(pool_rule_for(rules, &pool_rule::size, {}, "batch") == 3);
    CHECK(pool_rule_for(rules, &pool_rule::mode, "app", "batch") == pool_mode::session);
    CHECK(pool_rule_for(rules, &pool_rule::mode, "other", "batch") == std::nullopt);
    CHECK(pool_rule_for(rules, &pool_rule::min_size, "app", "batch") == 0);
    CHECK(pool_rule_for(rules, &pool_rule::reserve_size, "app", "batch") == 2);
    CHECK(pool_rule_for(rules, &pool_rule::replay, "app", "batch") == replay_mode::off);
    CHECK(pool_rule_for(rules, &pool_rule::replay, "other", "web") == std::nullopt);
    CHECK(
        print_pool_rules(rules) ==
        "batch@*: size=3 replay=off, *@app: mode=session size=9 min_size=0 replay=on, *@*: size=5 "
        "reserve_size=2"
    );
}

TEST_CASE("pool rules: times have their units, and what is left out is somebody else's to say", "[config]") {
    const auto result = read(
        "[{user: batch, wait_timeout: 10min, idle_timeout: 0}, {database: app, wait_timeout: 1ms, lifetime: "
        "720h}, {reserve_timeout: 1h, lifetime: 0}]"
    );
    REQUIRE(result.good);
    const auto& rules = result.rules;
    CHECK(pool_rule_for(rules, &pool_rule::wait_timeout, "app", "batch") == std::chrono::minutes{10});
    CHECK(pool_rule_for(rules, &pool_rule::wait_timeout, "app", "web") == milliseconds{1});
    CHECK(pool_rule_for(rules, &pool_rule::wait_timeout, "other", "web") == std::nullopt);
    CHECK(pool_rule_for(rules, &pool_rule::idle_timeout, "app", "batch") == milliseconds{0});
    CHECK(pool_rule_for(rules, &pool_rule::idle_timeout, "app", "web") == std::nullopt);
    CHECK(pool_rule_for(rules, &pool_rule::lifetime, "app", "batch") == std::chrono::hours{720});
    CHECK(pool_rule_for(rules, &pool_rule::lifetime, "other", "batch") == milliseconds{0});
    CHECK(pool_rule_for(rules, &pool_rule::reserve_timeout, "app", "batch") == std::chrono::hours{1});
    CHECK(
        print_pool_rules(rules) ==
        "batch@*: wait_timeout=10min idle_timeout=0, *@app: wait_timeout=1ms lifetime=30d, *@*: "
        "reserve_timeout=1h lifetime=0"
    );
}

TEST_CASE("pool rules: what is wrong is said with its place", "[config]") {
    const auto complaint = [](std::string_view yaml) {
        const auto result = read(yaml);
        CHECK_FALSE(result.good);
        REQUIRE(result.found.size() == 1);
        return result.found[0].key + " " + result.found[0].text;
    };
    const std::string form =
        "{database, user, mode, size, min_size, reserve_size, reserve_timeout, wait_timeout, idle_timeout, "
        "lifetime, session_state, replay}";
    CHECK(complaint("pin") == "pool.rules must be a list of " + form);
    CHECK(complaint("[pin]") == "pool.rules[0] must be a mapping " + form);
    CHECK(complaint("[{user: a}]") == "pool.rules[0] must say something beside database and user");
    CHECK(
        complaint("[{session_state: no}]") == "pool.rules[0].session_state must be one of virtual, pin, off"
    );
    CHECK(complaint("[{mode: statement}]") == "pool.rules[0].mode must be one of transaction, session");
    CHECK(complaint("[{size: 0}]") == "pool.rules[0].size must be a whole number 1..100000");
    CHECK(complaint("[{min_size: -1}]") == "pool.rules[0].min_size must be a whole number 0..100000");
    CHECK(complaint("[{wait_timeout: 0}]") == "pool.rules[0].wait_timeout must be a duration 1ms..1d");
    CHECK(complaint("[{wait_timeout: 25h}]") == "pool.rules[0].wait_timeout must be a duration 1ms..1d");
    CHECK(complaint("[{lifetime: 5}]") == "pool.rules[0].lifetime must be a duration 0..30d");
    CHECK(complaint("[{idle_timeout: soon}]") == "pool.rules[0].idle_timeout must be a duration 0..30d");
    CHECK(
        complaint("[{reserve_timeout: 61min}]") == "pool.rules[0].reserve_timeout must be a duration 0..1h"
    );
    CHECK(
        complaint("[{session_state: pin}, {session_state: pin, users: a}]") ==
        "pool.rules[1].users unknown; known are database, user, mode, size, min_size, reserve_size, "
        "reserve_timeout, wait_timeout, idle_timeout, lifetime, session_state, replay"
    );
    CHECK(
        complaint("[{session_state: [pin]}]") ==
        "pool.rules[0].session_state must be a single value, not a list or a mapping"
    );
}
