#include "proxy/limits/token_bucket.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::config::request_rate;
using pgmend::config::time_point;

namespace {
constexpr time_point start{std::chrono::hours{1}};
}  // namespace

TEST_CASE("token bucket: as many at once as the burst, then one in each interval", "[limits]") {
    const auto terms = bucket_terms::of(request_rate{10, 60s, 3});
    token_bucket bucket;
    for (std::uint64_t left : {2U, 1U, 0U}) {
        const auto verdict = bucket.take(terms, start);
        CHECK(verdict.admitted);
        CHECK(verdict.remaining == left);
    }
    const auto refused = bucket.take(terms, start + 1s);
    CHECK_FALSE(refused.admitted);
    CHECK(refused.remaining == 0);
    CHECK(refused.retry_after == 5s);
    CHECK_FALSE(bucket.take(terms, start + 5999ms).admitted);
    CHECK(bucket.take(terms, start + 6s).admitted);
    CHECK_FALSE(bucket.take(terms, start + 6s).admitted);
    CHECK(bucket.remaining(terms, start + 60s) == 3);
    CHECK_FALSE(bucket.full(start + 23s));
    CHECK(bucket.full(start + 24s));
}

TEST_CASE("token bucket: a token given back is there again", "[limits]") {
    const auto terms = bucket_terms::of(request_rate{1, 1s, 1});
    token_bucket bucket;
    CHECK(bucket.take(terms, start).admitted);
    bucket.give_back(terms);
    CHECK(bucket.take(terms, start).admitted);
    CHECK_FALSE(bucket.take(terms, start).admitted);
}

TEST_CASE(
    "token bucket: in any time t never more than burst + rate * t begin, and who waits as told is let in",
    "[limits]"
) {
    std::mt19937_64 random{7};
    const auto up_to = [&random](std::uint64_t most) { return random() % most + 1; };
    for (int round = 0; round < 300; ++round) {
        const std::array<std::chrono::milliseconds, 3> periods{1s, 60s, 3600s};
        const request_rate rate{
            static_cast<std::uint32_t>(up_to(round % 2 == 0 ? 20 : 1'000'000)), periods[random() % 3],
            static_cast<std::uint32_t>(up_to(round % 3 == 0 ? 3 : 200))};
        const auto terms = bucket_terms::of(rate);
        token_bucket bucket;
        time_point now = start;
        std::vector<time_point> admitted;
        for (int call = 0; call < 400; ++call) {
            now += std::chrono::nanoseconds{up_to(static_cast<std::uint64_t>(terms.interval) * 2)} *
                   (random() % 2);
            const auto before = bucket.remaining(terms, now);
            const auto verdict = bucket.take(terms, now);
            REQUIRE(verdict.admitted == (before > 0));
            REQUIRE(verdict.remaining == (before > 0 ? before - 1 : 0));
            REQUIRE(verdict.remaining < rate.burst);
            if (verdict.admitted) {
                admitted.push_back(now);
                continue;
            }
            REQUIRE(verdict.retry_after > pgmend::config::duration::zero());
            REQUIRE(bucket.remaining(terms, now + verdict.retry_after) >= 1);
            REQUIRE(bucket.remaining(terms, now + verdict.retry_after - 1ns) == 0);
        }
        for (std::size_t from = 0; from < admitted.size(); from += 7) {
            bool within = true;
            for (std::size_t to = from; to < admitted.size(); ++to) {
                const auto t = std::chrono::duration<double>(admitted[to] - admitted[from]).count();
                const double per_second = rate.count / std::chrono::duration<double>(rate.period).count();
                within = within && static_cast<double>(to - from + 1) <= rate.burst + per_second * t + 1e-6;
            }
            REQUIRE(within);
        }
    }
}
