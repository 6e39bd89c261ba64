#pragma once
// What Patroni's REST API answers to `GET /cluster`: text from the network, read with all that implies. What
// its `/primary` and `/replica?lag=` would say of each member follows from it. Hints all of it: who is the
// primary each server says itself. Pure.

#include <cstdint>
#include <string>
#include <string_view>

#include "health/server_directory.hpp"

namespace pgmend::health {

struct patroni_answer {
    named_list servers;   ///< the leader first, then those that follow it synchronously, then the others
    std::string problem;  ///< why nothing of it is taken; empty: it is good
};

/// Longer answers, and more members, are a mistake or worse.
inline constexpr std::size_t longest_patroni_answer = 256 * 1024;
inline constexpr std::size_t most_patroni_members = 64;

/// One member that cannot be read spoils all of it; members that have no address yet are left out. `max_lag`
/// in bytes of WAL, beyond which a member is `behind`; 0: none is.
patroni_answer read_patroni_answer(std::string_view text, std::uint64_t max_lag);

}  // namespace pgmend::health
