#include "health/election.hpp"

#include <algorithm>

namespace pgmend::health {

bool is_foreign(const candidate& one, const election_memory& memory) noexcept {
    return memory.system_identifier != 0 && one.system_identifier != 0 &&
           one.system_identifier != memory.system_identifier;
}

bool is_fenced(const candidate& one, const election_memory& memory) noexcept {
    return one.timeline != 0 && one.timeline < memory.timeline;
}

bool is_same_server(const candidate& one, const candidate& other) noexcept {
    return one.instance != 0 && one.instance == other.instance &&
           one.system_identifier == other.system_identifier && one.timeline == other.timeline;
}

namespace {

/// The highest timeline anybody of this cluster is on; a standby's word counts as well.
std::uint32_t highest_timeline(
    std::span<const candidate> candidates, const election_memory& memory
) noexcept {
    std::uint32_t highest = memory.timeline;
    for (const candidate& one : candidates) {
        const bool ours = one.system_identifier != 0 && one.system_identifier == memory.system_identifier;
        if (ours) highest = std::max(highest, one.timeline);
    }
    return highest;
}

}  // namespace

verdict choose_primary(std::span<const candidate> candidates, const election_memory& previous) noexcept {
    const auto says_so = [](const candidate& one) { return one.claim == role_claim::primary && !one.down; };
    election_memory memory = previous;
    if (memory.system_identifier == 0) {
        // The first primary in the order given names the cluster; a standby does not, it may be anybody's.
        const auto first = std::find_if(candidates.begin(), candidates.end(), says_so);
        if (first != candidates.end()) memory.system_identifier = first->system_identifier;
    }
    memory.timeline = highest_timeline(candidates, memory);
    const auto eligible = [&memory](const candidate& one) {
        return !one.down && !is_foreign(one, memory) && !is_fenced(one, memory);
    };
    const auto may_be = [&](const candidate& one) { return says_so(one) && eligible(one); };
    // Two names of one server are one claim.
    std::ptrdiff_t claimants = 0;
    for (auto one = candidates.begin(); one != candidates.end(); ++one) {
        const auto same = [&](const candidate& other) {
            return may_be(other) && is_same_server(other, *one);
        };
        if (may_be(*one) && std::find_if(candidates.begin(), one, same) == one) ++claimants;
    }
    if (previous.primary) {
        // Neither suspicion nor evidence that has become old costs it its place: only its own word, proof
        // that it is gone, or a newer timeline.
        const candidate& present = candidates[*previous.primary];
        if (present.claim != role_claim::standby && eligible(present)) {
            // It is named otherwise now.
            const auto renamed = std::find_if(candidates.begin(), candidates.end(), [&](const auto& other) {
                return !present.listed && other.listed && may_be(other) && is_same_server(other, present);
            });
            if (renamed != candidates.end())
                memory.primary = static_cast<std::size_t>(renamed - candidates.begin());
            const bool others = claimants > (may_be(present) ? 1 : 0);
            return {memory, others ? election_reason::split : election_reason::kept};
        }
    }
    if (claimants == 0) {
        memory.primary.reset();
        const bool some = std::any_of(candidates.begin(), candidates.end(), says_so);
        return {memory, some ? election_reason::all_fenced : election_reason::none_claims};
    }
    // Of several that claim one timeline, none of them the primary before, the first in the order given.
    const auto chosen = std::find_if(candidates.begin(), candidates.end(), may_be);
    memory.primary = static_cast<std::size_t>(chosen - candidates.begin());
    if (claimants > 1) return {memory, election_reason::split};
    if (chosen->timeline > previous.timeline && previous.timeline != 0) {
        return {memory, election_reason::newer_timeline};
    }
    return {memory, previous.primary ? election_reason::present_is_down : election_reason::only_claimant};
}

}  // namespace pgmend::health
