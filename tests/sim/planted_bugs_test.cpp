// Each oracle convicts: a relay with one planted bug is found guilty within a bounded number of seeds, of
// what it did. Without a bug it is not, so a conviction is the bug's doing.

#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "tests/sim/faulty_relay.hpp"
#include "tests/sim/simulation.hpp"

using namespace pgmend::sim;

namespace {

struct expectation {
    planted_bug bug;
    oracle convicted_by;
    std::uint64_t seeds = 50;
};

/// Looks for a schedule of the first `seeds` that fails in a way `wanted` takes; 0 when there is none.
template <class Wanted>
std::uint64_t first_conviction(planted_bug bug, std::uint64_t seeds, Wanted wanted) {
    const subject_factory make = [bug](const subject_setup& setup) { return make_faulty_relay(setup, bug); };
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const auto report = run_checked(draw_schedule(seed), make, bug == planted_bug::roll_dice);
        if (report.broken && wanted(report.broken->which)) return seed;
    }
    return 0;
}

const std::vector<expectation>& expectations() {
    static const std::vector<expectation> all = {
        {planted_bug::drop_reply, oracle::wrong_reply},
        {planted_bug::repeat_ready, oracle::unexpected_reply},
        {planted_bug::swap_replies, oracle::crossed_reply},
        {planted_bug::reorder, oracle::wrong_reply},
        {planted_bug::leak_parameter, oracle::parameter_leak},
        {planted_bug::lose_flush, oracle::liveness},
        {planted_bug::ignore_budget, oracle::budget},
        {planted_bug::keep_session, oracle::leftover},
        {planted_bug::leave_timer, oracle::leftover},
        {planted_bug::misdirect_cancel, oracle::foreign_cancel, 600},
        {planted_bug::write_twice, oracle::atomicity},
        {planted_bug::break_length, oracle::broken_framing},
        {planted_bug::hang_up, oracle::lost_connection},
        {planted_bug::spin, oracle::spinning},
        {planted_bug::lose_notification, oracle::notification},
        {planted_bug::leak_lease, oracle::leftover},
        {planted_bug::stay_down, oracle::liveness},
        {planted_bug::roll_dice, oracle::nondeterminism},
        {planted_bug::take_any_password, oracle::admitted},
        {planted_bug::follow_nobody, oracle::parameter_leak},
        {planted_bug::repeat_parameter, oracle::parameter_leak},
        {planted_bug::share_key, oracle::crossed_reply},
        {planted_bug::hide_notifier, oracle::notification},
    };
    return all;
}

}  // namespace

TEST_CASE("oracles: a relay without a bug is not convicted", "[sim]") {
    CHECK(first_conviction(planted_bug::none, 150, [](oracle) { return true; }) == 0);
}

TEST_CASE("oracles: each planted bug is convicted within a bounded number of seeds", "[sim]") {
    for (const expectation& each : expectations()) {
        const auto seed = first_conviction(each.bug, each.seeds, [&each](oracle which) {
            return which == each.convicted_by;
        });
        INFO(to_string(each.bug));
        CHECK(seed != 0);
    }
}

TEST_CASE("oracles: none is without a planted bug that it convicts", "[sim]") {
    std::set<oracle> proven;
    for (const expectation& each : expectations())
        proven.insert(each.convicted_by);
    proven.insert(oracle::scenario);  // below
    for (std::size_t number = 0; number < oracles_count; ++number) {
        INFO(to_string(static_cast<oracle>(number)));
        CHECK(proven.contains(static_cast<oracle>(number)));
    }
}

TEST_CASE("oracles: a scenario whose run does not reach what it was written for is convicted", "[sim]") {
    const auto checked = [](const fault_schedule& schedule, planted_bug bug) {
        const subject_factory make = [bug](const subject_setup& setup) {
            return make_faulty_relay(setup, bug);
        };
        return run_checked(schedule, make, false);
    };
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        auto schedule = draw_schedule(seed);
        schedule.expected = {"a cancel was passed on"};
        if (!checked(schedule, planted_bug::none).passed()) continue;
        const auto report = checked(schedule, planted_bug::lose_cancel);
        REQUIRE(report.broken);
        CHECK(report.broken->which == oracle::scenario);
        schedule.expected.clear();
        CHECK(checked(schedule, planted_bug::lose_cancel).passed());
        return;
    }
    FAIL("no schedule has a cancel");
}

TEST_CASE("oracles: two runs of one seed agree", "[sim]") {
    const subject_factory make = [](const subject_setup& setup) {
        return make_faulty_relay(setup, planted_bug::none);
    };
    for (std::uint64_t seed = 1; seed <= 20; ++seed)
        CHECK(run_checked(draw_schedule(seed), make, true).passed());
}

TEST_CASE("shrink: a failing schedule becomes smaller and still fails", "[sim]") {
    const subject_factory make = [](const subject_setup& setup) {
        return make_faulty_relay(setup, planted_bug::lose_flush);
    };
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const auto schedule = draw_schedule(seed);
        const auto report = run_schedule(schedule, make);
        if (!report.broken || schedule.clients.size() < 3) continue;
        const auto smaller = shrink(schedule, make);
        CHECK(smaller.clients.size() == 1);
        CHECK(smaller.faults.empty());
        const auto again = run_schedule(smaller, make);
        REQUIRE(again.broken);
        CHECK(again.broken->which == report.broken->which);
        return;
    }
    FAIL("no schedule failed");
}
