// Each oracle convicts: a relay with one planted bug is found guilty within a bounded number of seeds, of
// what it did. Without a bug it is not, so a conviction is the bug's doing.

#include <catch2/catch.hpp>
#include <set>

#include "tests/sim/faulty_relay.hpp"
#include "tests/sim/simulation.hpp"

using namespace pgmend::sim;

namespace {

struct expectation {
    planted_bug bug;
    oracle convicted_by;
    std::uint64_t seeds = 50;
};

/// The violations of the first `seeds` schedules.
std::set<oracle> convictions(planted_bug bug, std::uint64_t seeds) {
    std::set<oracle> found;
    const subject_factory make = [bug](const subject_setup& setup) { return make_faulty_relay(setup, bug); };
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const auto report = run_schedule(draw_schedule(seed), make);
        if (report.broken) found.insert(report.broken->which);
    }
    return found;
}

}  // namespace

TEST_CASE("oracles: a relay without a bug is not convicted", "[sim]") {
    CHECK(convictions(planted_bug::none, 150).empty());
}

TEST_CASE("oracles: each planted bug is convicted within a bounded number of seeds", "[sim]") {
    const auto wanted = GENERATE(
        expectation{planted_bug::drop_reply, oracle::wrong_reply},
        expectation{planted_bug::repeat_ready, oracle::unexpected_reply},
        expectation{planted_bug::swap_replies, oracle::crossed_reply},
        expectation{planted_bug::reorder, oracle::wrong_reply},
        expectation{planted_bug::leak_parameter, oracle::parameter_leak},
        expectation{planted_bug::lose_flush, oracle::liveness},
        expectation{planted_bug::ignore_budget, oracle::budget},
        expectation{planted_bug::keep_session, oracle::leftover},
        expectation{planted_bug::leave_timer, oracle::leftover},
        expectation{planted_bug::misdirect_cancel, oracle::foreign_cancel, 600},
        expectation{planted_bug::write_twice, oracle::atomicity},
        expectation{planted_bug::break_length, oracle::broken_framing},
        expectation{planted_bug::hang_up, oracle::lost_connection},
        expectation{planted_bug::spin, oracle::spinning},
        expectation{planted_bug::lose_notification, oracle::notification},
        expectation{planted_bug::leak_lease, oracle::leftover},
        expectation{planted_bug::stay_down, oracle::liveness}
    );
    INFO(to_string(wanted.bug));
    CHECK(convictions(wanted.bug, wanted.seeds).contains(wanted.convicted_by));
}

TEST_CASE(
    "oracles: two runs of one seed agree, and a subject that rolls dice of its own is found out", "[sim]"
) {
    const auto runs_that_differ = [](planted_bug bug) {
        const subject_factory make = [bug](const subject_setup& setup) {
            return make_faulty_relay(setup, bug);
        };
        std::size_t differing = 0;
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {
            const auto schedule = draw_schedule(seed);
            if (run_schedule(schedule, make).event_hash != run_schedule(schedule, make).event_hash)
                ++differing;
        }
        return differing;
    };
    CHECK(runs_that_differ(planted_bug::none) == 0);
    CHECK(runs_that_differ(planted_bug::roll_dice) > 0);
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
