#include "config/session_rules.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::config;

namespace {

struct reading {
    session_rule_list rules;
    problems found;
    bool good = false;
};

reading read(std::string_view yaml) {
    reading result;
    const document_node node = parse_document(yaml, result.found);
    result.good = read_session_rules(node, "pool.session_rules", result.rules, result.found);
    return result;
}

}  // namespace

TEST_CASE("session rules: the first that fits decides, and a name left out fits all", "[config]") {
    const auto read_rules = read(
        "[{database: app, user: batch, session_state: pin}, {user: batch, session_state: off}, "
        "{database: app, session_state: virtual}]"
    );
    REQUIRE(read_rules.good);
    const auto& rules = read_rules.rules;
    CHECK(session_rule_for(rules, "app", "batch") == session_policy::pin);
    CHECK(session_rule_for(rules, "other", "batch") == session_policy::off);
    CHECK(session_rule_for(rules, "app", "web") == session_policy::follow);
    CHECK(session_rule_for(rules, "other", "web") == std::nullopt);
    CHECK(print_session_rules(rules) == "batch@app: pin, batch@*: off, *@app: virtual");
}

TEST_CASE("session rules: what is wrong is said with its place", "[config]") {
    const auto complaint = [](std::string_view yaml) {
        const auto result = read(yaml);
        CHECK_FALSE(result.good);
        REQUIRE(result.found.size() == 1);
        return result.found[0].key + " " + result.found[0].text;
    };
    CHECK(complaint("pin") == "pool.session_rules must be a list of {database, user, session_state, replay}");
    CHECK(
        complaint("[pin]") ==
        "pool.session_rules[0] must be a mapping {database, user, session_state, replay}"
    );
    CHECK(complaint("[{user: a}]") == "pool.session_rules[0] must say session_state, replay, or both");
    CHECK(
        complaint("[{session_state: no}]") ==
        "pool.session_rules[0].session_state must be one of virtual, pin, off"
    );
    CHECK(
        complaint("[{session_state: pin}, {session_state: pin, users: a}]") ==
        "pool.session_rules[1].users unknown; known are database, user, session_state, replay"
    );
    CHECK(
        complaint("[{session_state: [pin]}]") ==
        "pool.session_rules[0].session_state must be a single value, not a list or a mapping"
    );
}

TEST_CASE(
    "session rules: one that says only what is run again leaves the rest to those behind it", "[config]"
) {
    const auto result = read(
        "[{user: batch, replay: off}, {database: app, session_state: pin, replay: on}, {session_state: off}]"
    );
    REQUIRE(result.good);
    const auto& rules = result.rules;
    CHECK(session_rule_for(rules, "app", "batch") == session_policy::pin);
    CHECK(replay_rule_for(rules, "app", "batch") == replay_mode::off);
    CHECK(replay_rule_for(rules, "app", "web") == replay_mode::on);
    CHECK(replay_rule_for(rules, "other", "web") == std::nullopt);
    CHECK(print_session_rules(rules) == "batch@*: replay off, *@app: pin, replay on, *@*: off");
}
