#pragma once
// How long the answer to a failed login is held back: each address has some failures a minute free, then
// each one waits. Good logins are never delayed: behind one address (a NAT, a sidecar's loopback) there may
// be one client that guesses and a hundred that know. Pure; one worker thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "config/environment.hpp"

namespace pgmend::proxy {

struct throttle_limits {
    std::uint32_t burst = 50;  ///< failures free in a minute
    config::duration delay = std::chrono::seconds{1};
};

class login_throttle {
public:
    /// Counts a failure from `address` (text without port) and says how long its answer waits.
    config::duration failed(std::string_view address, config::time_point now, const throttle_limits& limits);
    std::size_t size() const noexcept { return known_.size(); }

    /// Addresses remembered; when there are more, all that had a quiet minute are forgotten, or everybody.
    static constexpr std::size_t most_addresses = 10'000;

private:
    struct record {
        config::time_point since{};
        std::uint32_t failures = 0;
    };
    void make_room(config::time_point now);
    std::unordered_map<std::string, record> known_;
};

/// The part of an address that one owner has: all of IPv4, the first 64 bits of IPv6.
std::string throttle_key(std::string_view address);

}  // namespace pgmend::proxy
