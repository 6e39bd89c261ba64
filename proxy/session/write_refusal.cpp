#include "proxy/session/write_refusal.hpp"

#include <algorithm>

namespace pgmend::proxy {

write_refusal judge_refusal(const write_facts& facts) noexcept {
    const bool by_server = facts.read_only && !facts.by_session && !facts.by_login;
    if (!facts.in_recovery && !by_server) return write_refusal::own_wish;
    // A standby that is meant to be one, or that nobody knows otherwise, will go on refusing.
    if (!facts.primary_wanted || (facts.in_recovery && !facts.primary_known))
        return write_refusal::no_primary;
    if (!facts.repeatable) return write_refusal::unrepeatable;
    if (facts.waited >= facts.most) return write_refusal::timed_out;
    if (facts.waiting >= facts.most_waiting) return write_refusal::crowded;
    return write_refusal::sent_again;
}

std::chrono::milliseconds write_wait::next_pause(
    const health::backoff_limits& limits, std::uint64_t random
) noexcept {
    // Refused statements cost a server next to nothing, but they are not to come by the thousand.
    constexpr std::chrono::milliseconds for_few{100};
    constexpr std::chrono::milliseconds of_each{2};
    const auto turn = of_each * static_cast<std::int64_t>(std::min<std::size_t>(waiting, 100'000));
    const auto longest = std::min(limits.longest, std::max<std::chrono::milliseconds>(for_few, turn));
    pauses.set_limits({std::min(limits.first, longest), longest});
    return pauses.next(random);
}

}  // namespace pgmend::proxy
