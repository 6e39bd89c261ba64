#include "health/watch_plan.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::health;
using namespace std::chrono_literals;
using pgmend::config::time_point;

namespace {

const time_point start{1h};

observation says(bool in_recovery, std::uint32_t timeline, std::uint64_t system = 7) {
    observation seen;
    seen.result = probe_result::ok;
    seen.facts.in_recovery = in_recovery;
    seen.facts.timeline = timeline;
    seen.facts.system_identifier = system;
    seen.latency = 1ms;
    return seen;
}
observation fails(probe_result result) {
    observation seen;
    seen.result = result;
    return seen;
}

struct pair {
    watch_plan plan{2, {}};
    time_point now = start;

    watch_step look(std::size_t node, const observation& seen, pgmend::config::duration after = 1ms) {
        plan.begins(node);
        now += after;
        return plan.observed(node, seen, now);
    }
};

}  // namespace

TEST_CASE("watch plan: a calm server is asked at intervals, one in trouble often", "[health]") {
    pair servers;
    CHECK(servers.plan.next(0) <= start);
    servers.look(0, says(false, 1));
    CHECK(servers.plan.next(0) == servers.now + 1s);
    servers.look(1, fails(probe_result::refused));
    CHECK(servers.plan.next(1) == servers.now + 50ms);
    servers.plan.begins(1);
    CHECK(servers.plan.next(1) == time_point::max());
}

TEST_CASE("watch plan: when the primary is gone everybody is asked at once, and then often", "[health]") {
    pair servers;
    servers.look(0, says(false, 1));
    servers.look(1, says(true, 1));
    CHECK(servers.plan.picture().memory.primary == 0U);
    const watch_step step = servers.look(0, fails(probe_result::refused), 500ms);
    CHECK(step.news);
    CHECK(step.node.to == node_condition::down);
    CHECK_FALSE(servers.plan.picture().memory.primary);
    CHECK(servers.plan.next(1) <= servers.now);
    servers.look(1, says(true, 1));
    CHECK(servers.plan.next(1) == servers.now + 50ms);
    const watch_step promoted = servers.look(1, says(false, 2));
    CHECK(promoted.news);
    CHECK(servers.plan.picture().memory.primary == 1U);
    CHECK(servers.plan.picture().nodes[0].role == node_role::fenced);
    // The old one comes back and believes it is the primary still.
    CHECK(servers.look(0, says(false, 1)).news);
    CHECK(servers.plan.picture().nodes[0].role == node_role::fenced);
    CHECK(servers.plan.picture().memory.primary == 1U);
    servers.look(0, says(true, 2));
    CHECK(servers.plan.picture().nodes[0].role == node_role::standby);
}

TEST_CASE(
    "watch plan: what the traffic meets causes a look at once, also when one is under way", "[health]"
) {
    pair servers;
    servers.look(0, says(false, 1));
    CHECK(servers.plan.next(0) > servers.now);
    servers.plan.traffic(0, traffic_evidence::reset, servers.now);
    CHECK(servers.plan.next(0) == servers.now);
    servers.plan.begins(0);
    servers.plan.traffic(0, traffic_evidence::refused, servers.now);
    servers.plan.observed(0, says(false, 1), servers.now + 1ms);
    CHECK(servers.plan.next(0) == servers.now + 1ms);
    // While it is known to be down, a thousand refused clients do not make a thousand looks.
    servers.look(0, fails(probe_result::refused));
    const auto due = servers.plan.next(0);
    servers.plan.traffic(0, traffic_evidence::refused, servers.now);
    CHECK(servers.plan.next(0) == due);
}

TEST_CASE("watch plan: there is news only when workers would act otherwise", "[health]") {
    pair servers;
    CHECK(servers.look(0, says(false, 1)).news);
    CHECK_FALSE(servers.look(0, says(false, 1)).news);
    const auto generation = servers.plan.picture().generation;
    CHECK_FALSE(servers.plan.traffic(0, traffic_evidence::alive, servers.now).news);
    CHECK(servers.plan.picture().generation == generation);
    CHECK(servers.look(1, says(true, 1, 9)).news);
    CHECK(servers.plan.picture().nodes[1].role == node_role::foreign);
}

TEST_CASE(
    "watch plan: a refused write makes the primary prove itself, and keeps its place until it has not",
    "[health]"
) {
    pair servers;
    servers.look(0, says(false, 1));
    servers.look(1, says(true, 1));
    servers.plan.traffic(0, traffic_evidence::read_only, servers.now);
    CHECK(servers.plan.next(0) == servers.now);
    CHECK(servers.plan.picture().memory.primary == 0U);
    servers.look(0, says(true, 1));
    CHECK_FALSE(servers.plan.picture().memory.primary);
    CHECK(servers.plan.picture().nodes[0].role == node_role::standby);
}

TEST_CASE("watch plan: a standby lags by what the primary had, not by what it received itself", "[health]") {
    const auto at = [](bool in_recovery, std::uint64_t lsn) {
        observation seen = says(in_recovery, 1);
        seen.facts.lsn = lsn;
        return seen;
    };
    pair servers;
    const auto lag = [&] { return servers.plan.picture().nodes[1].lag; };
    servers.look(0, at(false, 100));  // elects it
    servers.look(0, at(false, 100));
    servers.look(1, at(true, 100));
    CHECK(lag() == 0s);
    // It says that it lacks nothing: nothing has come.
    servers.look(0, at(false, 200), 1s);
    servers.look(1, at(true, 100));
    CHECK(lag() >= 1s);
    servers.look(0, at(false, 300), 1s);
    servers.look(1, at(true, 100));
    CHECK(lag() > 2s);
    CHECK(lag() < 2s + 10ms);
    // Behind by the last step only.
    servers.look(1, at(true, 200));
    CHECK(lag() > 1s);
    CHECK(lag() < 1s + 10ms);
    // A primary that writes nothing takes nobody further back.
    servers.look(0, at(false, 300), 60s);
    servers.look(1, at(true, 300));
    CHECK(lag() == 0s);
    // What it says of itself does not count where the primary's word does.
    observation replaying = at(true, 300);
    replaying.facts.lag = 1h;
    servers.look(1, replaying);
    CHECK(lag() == 0s);
    // Where positions may not be asked, nothing can be held against it.
    replaying = at(true, 0);
    replaying.facts.lag = 1min;
    servers.look(1, replaying);
    CHECK(lag() == 1min);
    // While there is no primary: what is missing of what the last one had.
    servers.look(0, at(false, 400), 1s);
    servers.look(0, fails(probe_result::refused), 1s);
    CHECK_FALSE(servers.plan.picture().memory.primary);
    servers.look(1, at(true, 300), 10s);
    CHECK(lag() > 0s);
    CHECK(lag() < 2s);
    servers.look(1, at(true, 400));
    CHECK(lag() == 0s);
}

TEST_CASE("watch plan: a crash takes positions back, and a new primary begins anew", "[health]") {
    standby_lag lag;
    CHECK_FALSE(lag.behind(100, 1));
    lag.primary_is(0, 1);
    lag.primary_at(0, start);  // not told
    CHECK_FALSE(lag.behind(100, 1));
    lag.primary_at(100, start);
    lag.primary_at(500, start + 1s);
    CHECK(lag.behind(100, 1) == 1s);
    // It has lost what was on no disk, and writes something else there.
    lag.primary_at(200, start + 5s);
    CHECK(lag.behind(200, 1) == 0s);
    CHECK(lag.behind(100, 1) == 5s);
    CHECK(lag.behind(50, 1) == 5s);  // at least
    CHECK_FALSE(lag.behind(200, 2));
    lag.primary_is(0, 1);
    CHECK(lag.behind(200, 1) == 0s);
    lag.primary_is(1, 2);
    CHECK_FALSE(lag.behind(200, 1));
    CHECK_FALSE(lag.behind(200, 2));
    for (std::uint64_t lsn = 1; lsn <= 10'000; ++lsn)
        lag.primary_at(lsn, start + std::chrono::seconds{lsn});
    CHECK(lag.behind(9'999, 2) == 1s);
    CHECK(lag.behind(1, 2) == 4095s);  // what is older is forgotten
}

namespace {

roster_snapshot roster(std::initializer_list<std::pair<const char*, presence>> named) {
    server_roster made;
    for (const auto& [host, here] : named) {
        known_server one;
        one.address.host = host;
        one.here = here;
        made.push_back(one);
    }
    return std::make_shared<const server_roster>(made);
}

}  // namespace

TEST_CASE("watch plan: servers come, leave and are replaced, and timelines are remembered", "[health]") {
    pair servers;
    servers.plan.adopt(roster({{"a", presence::listed}, {"b", presence::listed}}), servers.now);
    servers.look(0, says(false, 4));
    servers.look(1, says(true, 4));
    servers.now += 10ms;
    const watch_step come = servers.plan.adopt(
        roster({{"a", presence::listed}, {"b", presence::leaving}, {"c", presence::listed}}), servers.now
    );
    CHECK(come.news);
    CHECK(servers.plan.size() == 3);
    CHECK(servers.plan.next(2) == servers.now);
    CHECK(servers.plan.picture().nodes[2].role == node_role::unknown);
    CHECK(servers.plan.picture().memory.primary == 0U);
    // Somebody who comes with an older timeline is a primary of the past.
    servers.look(2, says(false, 3));
    CHECK(servers.plan.picture().nodes[2].role == node_role::fenced);
    // A primary that is named no more stays the primary; one that nobody looks at is nobody's.
    servers.plan.adopt(
        roster({{"a", presence::leaving}, {"b", presence::gone}, {"c", presence::listed}}), servers.now
    );
    CHECK(servers.plan.picture().memory.primary == 0U);
    servers.plan.adopt(
        roster({{"a", presence::gone}, {"d", presence::listed}, {"c", presence::listed}}), servers.now
    );
    CHECK_FALSE(servers.plan.picture().memory.primary);
    CHECK(servers.plan.picture().memory.timeline == 4);
    CHECK(servers.plan.state(1).condition() == node_condition::unknown);
    CHECK(servers.plan.next(1) == servers.now);
    // It is what it was when it comes back: history, until it has been asked.
    servers.look(2, says(false, 3));
    CHECK_FALSE(servers.plan.picture().memory.primary);
}

TEST_CASE("watch plan: a server under its new name takes over from its old one without a break", "[health]") {
    pair servers;
    observation it = says(false, 4);
    it.facts.instance = 99;
    servers.plan.adopt(roster({{"a", presence::leaving}, {"10.0.0.1", presence::listed}}), servers.now);
    servers.look(0, it);
    CHECK(servers.plan.picture().memory.primary == 0U);
    servers.look(1, it);
    CHECK(servers.plan.picture().memory.primary == 1U);
    CHECK(servers.plan.picture().nodes[0].role == node_role::primary);  // not fenced: it is the same one
    CHECK(servers.plan.picture().reason == election_reason::kept);
}
