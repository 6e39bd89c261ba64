#include "health/election.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/sim/prng.hpp"

using namespace pgmend::health;

namespace {

constexpr std::uint64_t ours = 7;
constexpr std::uint64_t theirs = 8;

candidate primary(std::uint32_t timeline, std::uint64_t system = ours) {
    return {role_claim::primary, false, system, timeline};
}
candidate standby(std::uint32_t timeline, std::uint64_t system = ours) {
    return {role_claim::standby, false, system, timeline};
}
candidate silent(std::uint32_t timeline) {
    return {role_claim::none, false, timeline == 0 ? 0 : ours, timeline};
}
candidate gone(candidate was) {
    was.down = true;
    return was;
}
election_memory memory(std::optional<std::size_t> present, std::uint32_t timeline) {
    return {present, timeline == 0 ? 0 : ours, timeline};
}

}  // namespace

TEST_CASE("election: who is the primary, and why", "[health]") {
    struct example {
        const char* what;
        std::vector<candidate> candidates;
        election_memory before;
        std::optional<std::size_t> chosen;
        election_reason reason;
    };
    const example examples[]{
        {"nobody has spoken", {silent(0), silent(0)}, {}, std::nullopt, election_reason::none_claims},
        {"the only one that claims it", {standby(1), primary(1)}, {}, 1, election_reason::only_claimant},
        {"it stays", {standby(1), primary(1)}, memory(1, 1), 1, election_reason::kept},
        {"suspicion alone takes nobody's place",
         {standby(1), silent(1)},
         memory(1, 1),
         1,
         election_reason::kept},
        {"a standby takes no place by itself",
         {standby(1), gone(primary(1))},
         memory(1, 1),
         std::nullopt,
         election_reason::none_claims},
        {"a promoted standby does",
         {primary(2), gone(primary(1))},
         memory(1, 1),
         0,
         election_reason::newer_timeline},
        {"also while the old one still claims it",
         {primary(2), primary(1)},
         memory(1, 1),
         0,
         election_reason::newer_timeline},
        {"and while the old one is only suspected",
         {primary(2), silent(1)},
         memory(1, 1),
         0,
         election_reason::newer_timeline},
        {"the old one does not come back",
         {gone(primary(2)), primary(1)},
         memory(0, 2),
         std::nullopt,
         election_reason::all_fenced},
        {"not even as the only one that was ever seen alive",
         {silent(0), primary(1)},
         memory(std::nullopt, 2),
         std::nullopt,
         election_reason::all_fenced},
        {"a standby on a newer timeline fences the present one",
         {standby(2), primary(1)},
         memory(1, 1),
         std::nullopt,
         election_reason::all_fenced},
        {"another cluster's timeline fences nobody",
         {primary(9, theirs), primary(1)},
         memory(1, 1),
         1,
         election_reason::kept},
        {"nor is it ever chosen",
         {primary(9, theirs), gone(primary(1))},
         memory(1, 1),
         std::nullopt,
         election_reason::all_fenced},
        {"two on one timeline: the present one",
         {primary(1), primary(1)},
         memory(1, 1),
         1,
         election_reason::split},
        {"two at the first look: the first of the list",
         {primary(1), primary(1)},
         {},
         0,
         election_reason::split},
        {"the other one when the present is gone",
         {primary(1), gone(primary(1))},
         memory(1, 1),
         0,
         election_reason::present_is_down},
        {"a demoted one has said so",
         {standby(1), standby(1)},
         memory(0, 1),
         std::nullopt,
         election_reason::none_claims},
        {"after a switchover", {standby(1), primary(2)}, memory(0, 1), 1, election_reason::newer_timeline},
        {"servers that may not tell timelines",
         {{role_claim::primary, false, 0, 0}, silent(0)},
         {},
         0,
         election_reason::only_claimant},
        {"and one of them gone",
         {{role_claim::primary, true, 0, 0}, {role_claim::primary, false, 0, 0}},
         memory(0, 0),
         1,
         election_reason::present_is_down},
    };
    for (const auto& [what, candidates, before, chosen, reason] : examples) {
        CAPTURE(what);
        const verdict found = choose_primary(candidates, before);
        CHECK(found.memory.primary == chosen);
        CHECK(label_word(found.reason) == label_word(reason));
        CHECK(found.memory.timeline >= before.timeline);
    }
}

TEST_CASE(
    "election: over random histories, never a stale, foreign or dead primary, and no change without cause",
    "[health]"
) {
    for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
        pgmend::sim::prng dice{seed};
        const std::size_t count = 1 + dice.below(4);
        std::vector<candidate> candidates(count);
        election_memory before;
        for (int round = 0; round < 12; ++round) {
            for (candidate& one : candidates) {
                if (!dice.chance(1, 3)) continue;
                one.claim = static_cast<role_claim>(dice.below(3));
                one.down = dice.chance(1, 4);
                one.system_identifier = dice.chance(1, 6) ? theirs : ours;
                // A server's own timeline never goes back.
                if (dice.chance(1, 4)) ++one.timeline;
            }
            const verdict now = choose_primary(candidates, before);
            CAPTURE(seed, round);
            REQUIRE(now.memory.timeline >= before.timeline);
            const bool same_cluster =
                before.system_identifier == 0 || now.memory.system_identifier == before.system_identifier;
            REQUIRE(same_cluster);
            if (now.memory.primary) {
                const candidate& chosen = candidates[*now.memory.primary];
                REQUIRE_FALSE(chosen.down);
                REQUIRE(chosen.claim != role_claim::standby);
                REQUIRE_FALSE(is_foreign(chosen, now.memory));
                REQUIRE_FALSE(is_fenced(chosen, now.memory));
                if (chosen.claim == role_claim::none) REQUIRE(now.memory.primary == before.primary);
            }
            if (before.primary && now.memory.primary && now.memory.primary != before.primary) {
                const candidate& old = candidates[*before.primary];
                const bool cause = old.down || old.claim == role_claim::standby ||
                                   is_fenced(old, now.memory) || is_foreign(old, now.memory);
                REQUIRE(cause);
            }
            before = now.memory;
        }
    }
}

TEST_CASE("election: two names of one running server are one claim", "[health]") {
    candidate one = primary(3);
    one.instance = 1700;
    candidate same = one;
    const verdict first = choose_primary(std::vector{one, same}, {});
    CHECK(first.memory.primary == 0U);
    CHECK(first.reason == election_reason::only_claimant);
    CHECK(choose_primary(std::vector{one, same}, memory(1, 3)).reason == election_reason::kept);
    // Another start is another server, and so is what never told when it was started.
    candidate other = one;
    other.instance = 1701;
    CHECK(choose_primary(std::vector{one, other}, memory(0, 3)).reason == election_reason::split);
    CHECK(choose_primary(std::vector{primary(3), primary(3)}, memory(0, 3)).reason == election_reason::split);
    // A list names it otherwise now: that name takes its place, and nobody else.
    one.listed = false;
    const verdict renamed = choose_primary(std::vector{one, other, same}, memory(0, 3));
    CHECK(renamed.memory.primary == 2U);
    CHECK(renamed.reason == election_reason::split);
    CHECK(choose_primary(std::vector{one, standby(3)}, memory(0, 3)).memory.primary == 0U);
}
