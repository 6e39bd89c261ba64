#pragma once
// When a request whose server was lost may be sent again: at once the first time, as one crash hits every
// client at once and is over for all of them together, then after pauses that grow with decorrelated jitter;
// so often and so long as its limits allow. Pure; one thread.

#include "config/environment.hpp"
#include "health/backoff.hpp"

namespace pgmend::health {

struct retry_limits {
    std::uint32_t attempts = 3;
    config::duration deadline = std::chrono::seconds{60};  ///< after the first loss
    backoff_limits pauses;
};

class retry_schedule {
public:
    retry_schedule(const retry_limits& limits, config::time_point first_loss) noexcept
        : limits_(limits), pauses_(limits.pauses), first_loss_(first_loss) {}

    bool may_retry(config::time_point now) const noexcept {
        return attempts_ < limits_.attempts && (attempts_ == 0 || now - first_loss_ < limits_.deadline);
    }
    /// One more attempt, and how long to wait before it. `random` is 64 random bits, unused by the first.
    std::chrono::milliseconds next(std::uint64_t random) noexcept {
        return attempts_++ == 0 ? std::chrono::milliseconds{0} : pauses_.next(random);
    }
    std::uint32_t attempts() const noexcept { return attempts_; }
    config::time_point first_loss() const noexcept { return first_loss_; }

private:
    retry_limits limits_;
    backoff pauses_;
    config::time_point first_loss_;
    std::uint32_t attempts_ = 0;
};

}  // namespace pgmend::health
