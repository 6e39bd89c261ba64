#include "health/check_history.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::health;
using namespace std::chrono_literals;
using pgmend::config::time_point;

namespace {

observation good(pgmend::config::duration latency) {
    observation seen;
    seen.result = probe_result::ok;
    seen.latency = latency;
    return seen;
}

observation bad(std::string words) {
    observation seen;
    seen.result = probe_result::refused;
    seen.message = std::move(words);
    return seen;
}

}  // namespace

TEST_CASE("check history: sums up what it remembers, and counts what it does not", "[health]") {
    check_history history{2, 4};
    time_point now{};
    CHECK(history.summary(0).success_rate() == 1.0);
    for (int i = 0; i < 4; ++i)
        history.add(0, bad("first"), now += 1s);
    history.add(0, bad("connection refused"), now += 1s);
    history.add(0, good(2ms), now += 1s);
    history.add(0, good(4ms), now += 1s);
    const check_summary sum = history.summary(0);
    CHECK(sum.total == 7);
    CHECK(sum.remembered == 4);
    CHECK(sum.answered == 2);
    CHECK(sum.failed_in_row == 0);
    CHECK(sum.latency == 3ms);
    CHECK(sum.last_failure == "connection refused");
    CHECK(sum.since == now - 1s);
    CHECK(history.summary(1).total == 0);
    const auto latest = history.latest(0, 2);
    REQUIRE(latest.size() == 2);
    CHECK(latest[1].at == now);
    CHECK(latest[1].latency == 4ms);
}

TEST_CASE("check history: failures in a row begin anew after an answer, and words have an end", "[health]") {
    check_history history{1, 10};
    time_point now{};
    history.add(0, good(1ms), now += 1s);
    history.add(0, bad(std::string(1000, 'x')), now += 1s);
    history.add(0, bad({}), now += 1s);
    const check_summary sum = history.summary(0);
    CHECK(sum.failed_in_row == 2);
    CHECK(sum.since == now - 1s);
    CHECK(sum.last_failure == "refused");
    CHECK(history.latest(0, 9)[1].message.size() == 300);
}

TEST_CASE("check history: of the latest hundred is the rate, however many are remembered", "[health]") {
    check_history history{1, 1000};
    time_point now{};
    for (int i = 0; i < 500; ++i)
        history.add(0, bad("x"), now += 1s);
    for (int i = 0; i < 100; ++i)
        history.add(0, good(1ms), now += 1s);
    CHECK(history.summary(0).success_rate() == 1.0);
    CHECK(history.latest(0, 1000).size() == 600);
}
