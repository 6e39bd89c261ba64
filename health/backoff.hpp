#pragma once
// How long to wait before trying a failed server again: exponential with decorrelated jitter, so that many
// waiting parties do not come back together (M. Brooker, "Exponential Backoff And Jitter", 2015). Pure; one
// thread.

#include <chrono>
#include <cstdint>

namespace pgmend::health {

struct backoff_limits {
    std::chrono::milliseconds first{100};
    std::chrono::milliseconds longest{5000};
};

class backoff {
public:
    explicit backoff(backoff_limits limits) noexcept : limits_(limits) {}

    /// The delay after one more failure: uniform between `first` and three times the delay before, at most
    /// `longest`. `random` is 64 random bits.
    std::chrono::milliseconds next(std::uint64_t random) noexcept;
    void set_limits(backoff_limits limits) noexcept { limits_ = limits; }
    /// After a success: the next failure starts over.
    void reset() noexcept { previous_ = std::chrono::milliseconds{0}; }

private:
    backoff_limits limits_;
    std::chrono::milliseconds previous_{0};
};

}  // namespace pgmend::health
