#include "health/breaker.hpp"

#include <catch2/catch.hpp>
#include <random>

using namespace pgmend::health;
using namespace std::chrono_literals;
namespace config = pgmend::config;
using how = breaker::outcome;

namespace {

/// A breaker and its clock.
struct fixture {
    breaker_limits limits;
    breaker made;
    config::time_point now = config::time_point{} + 1000h;
    std::vector<std::string> told;

    explicit fixture(breaker_limits wanted = {}) : limits(wanted), made(wanted) {}

    void note(const std::optional<breaker_change>& change) {
        if (!change) return;
        told.push_back(std::string(label_word(change->to)) + " " + std::string(label_word(change->why)));
    }
    void call(how outcome, config::duration took = 1ms) {
        const auto pass = made.begin();
        note(made.end(pass, outcome, took, now));
    }
    void calls(int times, how outcome, config::duration took = 1ms) {
        for (int i = 0; i < times; ++i) {
            call(outcome, took);
        }
    }
    void pass_time(config::duration time) {
        now += time;
        note(made.settle(now));
    }
    std::vector<std::string> news() { return std::exchange(told, {}); }
};

using words = std::vector<std::string>;

/// Only the rule of failures in a row.
breaker_limits in_a_row() {
    breaker_limits limits;
    limits.failure_percent = limits.slow_percent = 0;
    return limits;
}

}  // namespace

TEST_CASE("breaker: so many failures in a row open it, one success in between does not") {
    fixture f{in_a_row()};
    f.calls(4, how::failure);
    f.call(how::success);
    f.calls(4, how::failure);
    CHECK(f.made.admits());
    CHECK(f.news().empty());
    f.call(how::failure);
    CHECK(f.news() == words{"open failures_in_a_row"});
    CHECK_FALSE(f.made.admits());
    CHECK(f.made.opened() == 1);
}

TEST_CASE("breaker: a call that is about something else counts as none") {
    fixture f{in_a_row()};
    f.calls(4, how::failure);
    f.calls(10, how::nothing);
    CHECK(f.made.in_a_row() == 4);
    CHECK(f.made.recent(f.now).calls == 4);
}

TEST_CASE("breaker: a share of failures opens it, once there are calls enough to speak of one") {
    breaker_limits limits;
    limits.failures = 0;
    fixture f{limits};
    for (int i = 0; i < 9; ++i) {
        f.call(how::failure);
        f.call(how::success);
    }
    f.call(how::success);
    CHECK(f.news().empty());  // 9 of 19
    f.call(how::failure);
    CHECK(f.news() == words{"open failure_rate"});  // 10 of 20
}

TEST_CASE("breaker: what lies further back than the window is forgotten") {
    breaker_limits limits;
    limits.failures = 0;
    fixture f{limits};
    f.calls(15, how::failure);
    f.pass_time(31s);
    CHECK(f.made.recent(f.now).calls == 0);
    f.calls(10, how::failure);
    CHECK(f.news().empty());
    f.pass_time(20s);
    f.calls(10, how::failure);
    CHECK(f.news() == words{"open failure_rate"});
}

TEST_CASE("breaker: logins that are answered but slow open it by a rule of their own") {
    breaker_limits limits;
    limits.min_calls = 10;
    fixture f{limits};
    f.calls(2, how::success, 100ms);
    f.calls(7, how::success, 3s);
    CHECK(f.news().empty());
    f.call(how::success, 2s);
    CHECK(f.news() == words{"open slow_rate"});
    breaker_limits without = limits;
    without.slow_percent = 0;
    fixture g{without};
    g.calls(100, how::success, 1h);
    CHECK(g.news().empty());
}

TEST_CASE("breaker: after its cooldown some trials decide, and as many must go well as are allowed at once") {
    fixture f{in_a_row()};
    f.calls(5, how::failure);
    f.pass_time(29s);
    CHECK_FALSE(f.made.admits());
    f.pass_time(1s);
    CHECK(f.news() == words{"open failures_in_a_row", "half_open cooled_down"});
    std::vector<breaker::pass> trials;
    while (f.made.admits()) {
        trials.push_back(f.made.begin());
    }
    CHECK(trials.size() == 3);
    CHECK(f.made.trials() == 3);
    f.note(f.made.end(trials[0], how::success, 1ms, f.now));
    f.note(f.made.end(trials[1], how::success, 1ms, f.now));
    CHECK(f.news().empty());
    f.note(f.made.end(trials[2], how::success, 1ms, f.now));
    CHECK(f.news() == words{"closed trials_passed"});
    CHECK(f.made.in_a_row() == 0);
    CHECK(f.made.recent(f.now).calls == 0);
}

TEST_CASE("breaker: a trial that fails, or is slow, opens it for twice as long, up to a limit") {
    auto limits = in_a_row();
    limits.slow_percent = 80;
    limits.cooldown_max = 100s;
    fixture f{limits};
    f.calls(5, how::failure);
    CHECK(f.made.open_until() - f.now == 30s);
    f.pass_time(30s);
    f.call(how::failure);
    CHECK(f.made.open_until() - f.now == 60s);
    f.pass_time(60s);
    f.call(how::success, 5s);
    CHECK(f.made.open_until() - f.now == 100s);
    CHECK(
        f.news() ==
        words{
            "open failures_in_a_row", "half_open cooled_down", "open trial_failed", "half_open cooled_down",
            "open trial_failed"}
    );
    // Closed once, it begins anew.
    f.pass_time(100s);
    f.calls(3, how::success);
    f.calls(5, how::failure);
    CHECK(f.made.open_until() - f.now == 30s);
}

TEST_CASE("breaker: the cooldown is spread by a quarter to both sides") {
    std::mt19937_64 random{1};
    auto shortest = config::duration::max();
    auto longest = config::duration::min();
    for (int i = 0; i < 2000; ++i) {
        fixture f{in_a_row()};
        f.calls(5, how::failure);
        f.made.spread(random());
        const auto pause = f.made.open_until() - f.now;
        shortest = std::min(shortest, pause);
        longest = std::max(longest, pause);
    }
    CHECK(shortest >= 22'500ms);
    CHECK(shortest < 22'700ms);
    CHECK(longest <= 37'500ms);
    CHECK(longest > 37'300ms);
}

TEST_CASE("breaker: a check that succeeds shortens the cooldown") {
    fixture f{in_a_row()};
    CHECK_FALSE(f.made.probed());
    f.calls(5, how::failure);
    f.note(f.made.probed());
    CHECK(f.news() == words{"open failures_in_a_row", "half_open probe_succeeded"});
    CHECK(f.made.admits());
}

TEST_CASE("breaker: where there is no other server, one at a time is tried, and what goes well counts") {
    fixture f{in_a_row()};
    f.calls(5, how::failure);
    REQUIRE_FALSE(f.made.admits());
    REQUIRE(f.made.admits_if_alone());
    const auto first = f.made.begin();
    CHECK_FALSE(f.made.admits_if_alone());
    f.note(f.made.end(first, how::failure, 1ms, f.now));
    CHECK(f.made.admits_if_alone());
    f.call(how::success);
    f.calls(2, how::success);
    CHECK(f.news() == words{"open failures_in_a_row", "half_open trial_succeeded", "closed trials_passed"});
}

TEST_CASE("breaker: what began before it opened, or in an earlier life, says nothing") {
    fixture f{in_a_row()};
    const auto early = f.made.begin();
    f.calls(5, how::failure);
    f.note(f.made.end(early, how::success, 1ms, f.now));
    CHECK(f.made.state() == breaker_state::open);
    f.made.probed();
    const auto trial = f.made.begin();
    f.calls(2, how::success);
    f.call(how::success);
    REQUIRE(f.made.state() == breaker_state::closed);
    f.calls(5, how::failure);
    f.news();
    f.note(f.made.end(trial, how::success, 1ms, f.now));
    CHECK(f.news().empty());
    CHECK(f.made.state() == breaker_state::open);
}

TEST_CASE("breaker: of trials under way, the first failure decides") {
    fixture f{in_a_row()};
    f.calls(5, how::failure);
    f.made.probed();
    const auto one = f.made.begin();
    const auto two = f.made.begin();
    f.news();
    f.note(f.made.end(one, how::failure, 1ms, f.now));
    f.note(f.made.end(two, how::success, 1ms, f.now));
    CHECK(f.news() == words{"open trial_failed"});
    CHECK(f.made.trials() == 0);
}

TEST_CASE("breaker: failures and successes outside of calls count while it is closed") {
    fixture f{in_a_row()};
    for (int i = 0; i < 4; ++i) {
        f.note(f.made.failed(f.now));
    }
    f.made.succeeded(f.now, 0);
    CHECK(f.made.in_a_row() == 4);
    f.made.succeeded(f.now, 100);
    CHECK(f.made.recent(f.now).calls == 104);
    f.calls(5, how::failure);
    const auto opened = f.made.recent(f.now).calls;
    f.note(f.made.failed(f.now));
    f.made.succeeded(f.now, 100);
    CHECK(f.made.recent(f.now).calls == opened);
}

TEST_CASE("breaker: with all of its rules at zero it never opens") {
    breaker_limits limits;
    limits.failures = limits.failure_percent = limits.slow_percent = 0;
    fixture f{limits};
    f.calls(1000, how::failure, 1h);
    CHECK(f.news().empty());
}

TEST_CASE("breaker: whatever happens, trials are counted, bounded, and in the end it closes") {
    std::mt19937_64 random{7};
    for (int round = 0; round < 300; ++round) {
        fixture f;
        std::vector<breaker::pass> under_way;
        for (int step = 0; step < 300; ++step) {
            const auto dice = random() % 10;
            if (dice < 3 && f.made.admits()) under_way.push_back(f.made.begin());
            if (dice == 3 && f.made.admits_if_alone()) under_way.push_back(f.made.begin());
            if (dice > 3 && dice < 8 && !under_way.empty()) {
                const auto which = random() % under_way.size();
                f.note(f.made.end(under_way[which], static_cast<how>(random() % 3), random() % 2 * 3s, f.now)
                );
                under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(which));
            }
            if (dice == 8) f.note(f.made.probed());
            if (dice == 9) f.pass_time(std::chrono::milliseconds{random() % 20'000});
            REQUIRE(f.made.trials() <= std::max<std::size_t>(f.limits.trials, 1));
            REQUIRE(f.made.trials() <= under_way.size());
        }
        for (const auto& pass : under_way) {
            f.note(f.made.end(pass, how::nothing, 1ms, f.now));
        }
        REQUIRE(f.made.trials() == 0);
        f.pass_time(1h);
        f.calls(3, how::success);
        REQUIRE(f.made.state() == breaker_state::closed);
    }
}
