// When a process counts as alive: by the turns of its workers' loops.

#include "proxy/process/liveness.hpp"

#include <catch2/catch.hpp>

using namespace pgmend;
using namespace std::chrono_literals;

namespace {

const proxy::liveness::time_point start{100s};

}  // namespace

TEST_CASE("liveness: loops that turn are alive, however seldom anybody asks") {
    proxy::liveness life{5s};
    CHECK(life.alive({1, 1}, start));
    CHECK(life.alive({2, 2}, start + 1s));
    CHECK(life.alive({900, 900}, start + 15min));
    CHECK(life.alive({901, 901}, start + 30min));
}

TEST_CASE("liveness: one loop that stands still is enough, while the others turn") {
    proxy::liveness life{5s};
    std::uint64_t turns = 1;
    REQUIRE(life.alive({turns, 7, turns}, start));
    for (auto at = 1s; at <= 5s; ++at) {
        ++turns;
        CHECK(life.alive({turns, 7, turns}, start + at));
    }
    CHECK_FALSE(life.alive({turns + 1, 7, turns + 1}, start + 5s + 1ms));
    CHECK_FALSE(life.alive({turns + 2, 7, turns + 2}, start + 1h));
}

TEST_CASE("liveness: a loop that turns again is alive again") {
    proxy::liveness life{5s};
    REQUIRE(life.alive({1, 1}, start));
    REQUIRE_FALSE(life.alive({9, 1}, start + 6s));
    CHECK_FALSE(life.alive({10, 1}, start + 7s));
    CHECK(life.alive({10, 2}, start + 8s));
    CHECK(life.alive({10, 2}, start + 13s));
    CHECK_FALSE(life.alive({10, 2}, start + 13s + 1ms));
}

TEST_CASE("liveness: who is asked again and again at once is not dead for that") {
    proxy::liveness life{5s};
    for (int times = 0; times < 100; ++times)
        CHECK(life.alive({3, 3}, start));
}

TEST_CASE("liveness: before there are workers nobody stands still") {
    proxy::liveness life{5s};
    CHECK(life.alive({}, start));
    CHECK(life.alive({}, start + 1min));
    CHECK(life.alive({0, 0}, start + 2min));
}
