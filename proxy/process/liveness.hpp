#pragma once
// Whether every worker's loop turns. A loop ticks once a second even when it has nothing to do, so one whose
// count of turns stays as it is for longer than a few of these stands still: /live says 503, and the service
// manager's watchdog goes hungry. A machine without clock or threads.

#include <chrono>
#include <cstdint>
#include <vector>

namespace pgmend::proxy {

class liveness {
public:
    using time_point = std::chrono::steady_clock::time_point;

    explicit liveness(std::chrono::milliseconds patience) : patience_(patience) {}

    /// Looks at the workers' counts of turns. False once it is more than the patience ago that every one of
    /// them was seen to have grown; true again as soon as they all have.
    bool alive(std::vector<std::uint64_t> turns, time_point now);

private:
    std::chrono::milliseconds patience_;
    std::vector<std::uint64_t> seen_;
    time_point since_{};
};

}  // namespace pgmend::proxy
