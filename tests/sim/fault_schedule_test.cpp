// A schedule is data: the same from the same seed, and the same again from its text.

#include <catch2/catch.hpp>

#include "tests/sim/fault_schedule.hpp"

using namespace pgmend::sim;

TEST_CASE("fault_schedule: a seed draws the same schedule each time, another seed another one", "[sim]") {
    CHECK(to_text(draw_schedule(7)) == to_text(draw_schedule(7)));
    CHECK(to_text(draw_schedule(7)) != to_text(draw_schedule(8)));
}

TEST_CASE("fault_schedule: text and back loses nothing", "[sim]") {
    for (std::uint64_t seed = 1; seed < 200; ++seed) {
        const std::string text = to_text(draw_schedule(seed));
        std::string problem;
        const auto read = schedule_from_text("# a comment\n\n" + text, problem);
        REQUIRE(read);
        CHECK(to_text(*read) == text);
    }
}

TEST_CASE("fault_schedule: a line that is none is named", "[sim]") {
    std::string problem;
    const std::string good = to_text(draw_schedule(1));
    for (const std::string bad :
         {"client number=1", "fault at_us=1 kind=earthquake", "tea time=5", "run seed"}) {
        CHECK_FALSE(schedule_from_text(good + bad + "\n", problem));
        CHECK(problem == bad);
    }
}

TEST_CASE("fault_schedule: only what can cost a connection excuses an error", "[sim]") {
    fault one;
    one.kind = fault_kind::stall;
    CHECK_FALSE(one.disrupts());
    one.kind = fault_kind::terminate;
    CHECK(one.disrupts());
}
