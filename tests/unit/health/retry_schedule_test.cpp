#include "health/retry_schedule.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

using namespace pgmend::health;
using namespace std::chrono_literals;
namespace config = pgmend::config;

namespace {
constexpr config::time_point begin = config::time_point{} + 1000h;
}

TEST_CASE("retry schedule: what may be sent again, by how often and how long ago its server was lost first") {
    struct example {
        std::uint32_t limit, attempts;
        config::duration deadline, later;
        bool may;
    };
    const example examples[]{
        {3, 0, 60s, 0s, true},  {3, 2, 60s, 59s, true}, {3, 3, 60s, 1s, false}, {3, 1, 60s, 60s, false},
        {0, 0, 60s, 0s, false}, {1, 1, 60s, 0s, false}, {1, 0, 0s, 5s, true},  // the first time is no second
                                                                               // one
    };
    for (const auto& [limit, attempts, deadline, later, may] : examples) {
        CAPTURE(limit, attempts, deadline.count(), later.count());
        retry_schedule schedule{{limit, deadline, {}}, begin};
        for (std::uint32_t i = 0; i < attempts; ++i) {
            schedule.next(i);
        }
        CHECK(schedule.may_retry(begin + later) == may);
        CHECK(schedule.attempts() == attempts);
    }
}

TEST_CASE("retry schedule: the first time at once, then pauses that differ and grow, within their limits") {
    std::mt19937_64 random{1};
    std::vector<std::chrono::milliseconds> sums(6);
    std::set<std::int64_t> thirds;
    for (int i = 0; i < 1000; ++i) {
        retry_schedule schedule{{100, 60s, {5ms, 500ms}}, begin};
        CHECK(schedule.next(random()) == 0ms);
        auto before = 5ms;
        for (std::size_t attempt = 0; attempt < sums.size(); ++attempt) {
            const auto pause = schedule.next(random());
            REQUIRE(pause >= 5ms);
            REQUIRE(pause <= std::min<std::chrono::milliseconds>(500ms, std::max(3 * before, 5ms)));
            sums[attempt] += pause;
            before = pause;
            if (attempt == 2) thirds.insert(pause.count());
        }
    }
    for (std::size_t i = 1; i < sums.size(); ++i) {
        CHECK(sums[i] > sums[i - 1]);
    }
    CHECK(thirds.size() > 20);
}
