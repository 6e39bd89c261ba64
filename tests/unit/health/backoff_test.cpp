#include "health/backoff.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <random>

using namespace pgmend::health;
using namespace std::chrono_literals;

namespace {
constexpr std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
}

TEST_CASE("backoff: the first delay is the shortest, whatever the dice say") {
    for (const std::uint64_t dice : {std::uint64_t{0}, std::uint64_t{12345}, highest}) {
        backoff pause{{100ms, 5000ms}};
        CHECK(pause.next(dice) == 100ms);
    }
}

TEST_CASE("backoff: a delay is between the shortest and three times the one before") {
    backoff pause{{100ms, 5000ms}};
    CHECK(pause.next(0) == 100ms);
    CHECK(pause.next(200) == 300ms);  // the highest of 100…300: 201 values
    CHECK(pause.next(800) == 900ms);
    CHECK(pause.next(0) == 100ms);
    CHECK(pause.next(201) == 100ms);  // one beyond the highest wraps to the lowest
}

TEST_CASE("backoff: it grows to the longest delay and no further") {
    std::mt19937_64 random{1};
    backoff pause{{100ms, 5000ms}};
    auto longest = 0ms;
    for (int i = 0; i < 10'000; ++i) {
        const auto delay = pause.next(random());
        REQUIRE(delay >= 100ms);
        REQUIRE(delay <= 5000ms);
        longest = std::max(longest, delay);
    }
    CHECK(longest > 4900ms);
}

TEST_CASE("backoff: parties that failed together do not come back together") {
    std::mt19937_64 random{2};
    std::vector<std::chrono::milliseconds> fourth;
    for (int party = 0; party < 100; ++party) {
        backoff pause{{100ms, 5000ms}};
        pause.next(random());
        pause.next(random());
        pause.next(random());
        fourth.push_back(pause.next(random()));
    }
    std::sort(fourth.begin(), fourth.end());
    const auto different = std::unique(fourth.begin(), fourth.end()) - fourth.begin();
    CHECK(different > 60);
}

TEST_CASE("backoff: a success starts over") {
    backoff pause{{100ms, 5000ms}};
    pause.next(0);
    pause.next(200);
    pause.next(800);
    pause.reset();
    CHECK(pause.next(highest) == 100ms);
}

TEST_CASE("backoff: a longest delay below the shortest is the shortest") {
    backoff pause{{100ms, 50ms}};
    CHECK(pause.next(7) == 100ms);
    CHECK(pause.next(7) == 100ms);
}
