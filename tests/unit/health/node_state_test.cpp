#include "health/node_state.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgmend::health;
using namespace std::chrono_literals;
using pgmend::config::time_point;

namespace {

const time_point start{1h};

observation look(probe_result result, bool in_recovery = false, std::uint32_t timeline = 1) {
    observation seen;
    seen.result = result;
    seen.facts.in_recovery = in_recovery;
    seen.facts.timeline = timeline;
    seen.facts.system_identifier = 77;
    seen.latency = 1ms;
    return seen;
}

node_limits limits_of(std::uint32_t failures, std::uint32_t successes) {
    node_limits limits;
    limits.failures = failures;
    limits.successes = successes;
    return limits;
}

}  // namespace

TEST_CASE("node state: a row of checks, and what is believed after each", "[health]") {
    struct step {
        probe_result result;
        node_condition after;
    };
    struct example {
        const char* what;
        std::vector<step> steps;
    };
    using enum probe_result;
    using condition = node_condition;
    const example examples[]{
        {"the first answer is enough", {{ok, condition::up}}},
        {"silence must repeat",
         {{ok, condition::up},
          {timeout, condition::suspect},
          {timeout, condition::suspect},
          {timeout, condition::down}}},
        {"an answer in between starts the count again",
         {{ok, condition::up},
          {timeout, condition::suspect},
          {lost, condition::suspect},
          {ok, condition::up},
          {timeout, condition::suspect},
          {timeout, condition::suspect},
          {lost, condition::down}}},
        {"a refusal is proof", {{ok, condition::up}, {refused, condition::down}}},
        {"so is a server that says it starts", {{starting, condition::down}}},
        {"a full server lives", {{full, condition::up}}},
        {"and so does one that does not let us in",
         {{refused, condition::down}, {rejected, condition::down}, {rejected, condition::up}}},
        {"it must answer twice to be up again",
         {{refused, condition::down}, {ok, condition::down}, {ok, condition::up}}},
        {"a failure between the two answers counts",
         {{refused, condition::down},
          {ok, condition::down},
          {lost, condition::down},
          {ok, condition::down},
          {ok, condition::up}}},
    };
    for (const auto& [what, steps] : examples) {
        CAPTURE(what);
        node_state state{limits_of(3, 2)};
        time_point now = start;
        for (const auto& [result, after] : steps) {
            now += 1s;
            state.observe(look(result), now);
            CHECK(state.condition() == after);
        }
    }
}

TEST_CASE("node state: what it told of its role is believed for a time only", "[health]") {
    node_state state{limits_of(3, 1)};
    CHECK_FALSE(state.facts());
    CHECK(state.observe(look(probe_result::ok), start).facts_changed);
    REQUIRE(state.facts());
    CHECK_FALSE(state.observe(look(probe_result::ok), start + 1s).facts_changed);
    CHECK_FALSE(state.age(start + 6s).changed());
    CHECK(state.facts());
    CHECK(state.age(start + 6s + 1ms).facts_changed);
    CHECK_FALSE(state.facts());
    CHECK(state.last_facts().timeline == 1);
}

TEST_CASE("node state: a check that finds no answer does not count while traffic flows", "[health]") {
    node_state state{limits_of(2, 1)};
    state.observe(look(probe_result::ok), start);
    for (int i = 1; i < 20; ++i) {
        const auto now = start + i * 1s;
        state.traffic(traffic_evidence::alive, now - 500ms);
        state.observe(look(probe_result::timeout), now);
        CHECK(state.condition() == node_condition::up);
    }
    // The same silence without traffic counts, and traffic of long ago is none.
    state.observe(look(probe_result::timeout), start + 21s);
    CHECK(state.condition() == node_condition::suspect);
    state.observe(look(probe_result::timeout), start + 22s);
    CHECK(state.condition() == node_condition::down);
    // A refusal is proof whatever the traffic says: those are bytes that were under way.
    node_state refused{limits_of(2, 1)};
    refused.traffic(traffic_evidence::alive, start);
    refused.observe(look(probe_result::refused), start);
    CHECK(refused.condition() == node_condition::down);
}

TEST_CASE("node state: a refused write revokes its role until it is told again", "[health]") {
    node_state state{limits_of(3, 1)};
    state.observe(look(probe_result::ok), start);
    CHECK(state.traffic(traffic_evidence::read_only, start).facts_changed);
    CHECK_FALSE(state.facts());
    CHECK(state.condition() == node_condition::up);
    CHECK(state.observe(look(probe_result::ok, true), start + 1ms).facts_changed);
    CHECK(state.facts()->in_recovery);
}

TEST_CASE("node state: never down with fewer failures in a row than the limit, unless by proof", "[health]") {
    // Every row of eight checks of three kinds.
    constexpr probe_result kinds[]{probe_result::ok, probe_result::timeout, probe_result::refused};
    for (unsigned row = 0; row < 6561; ++row) {
        node_state state{limits_of(3, 1)};
        unsigned rest = row;
        unsigned silent = 0;
        bool refused = false;
        for (int i = 0; i < 8; ++i, rest /= 3) {
            const probe_result kind = kinds[rest % 3];
            state.observe(look(kind), start + i * 1s);
            silent = kind == probe_result::timeout ? silent + 1 : 0;
            refused = kind == probe_result::refused || (refused && kind == probe_result::timeout);
            const bool down = state.condition() == node_condition::down;
            if (down != (silent >= 3 || refused)) FAIL("row " << row << " step " << i);
        }
    }
}

TEST_CASE("latency: one slow answer moves the average by a fifth", "[health]") {
    latency_average average;
    CHECK_FALSE(average.known());
    average.add(10ms);
    CHECK(average.value() == 10ms);
    average.add(110ms);
    CHECK(average.value() == 30ms);
    average.add(-1ms);
    CHECK(average.value() == 30ms);
    for (int i = 0; i < 100; ++i)
        average.add(1ms);
    CHECK(average.value() < 1100us);
}
