#pragma once
// Whether one server is to be tried, for one class of errors: closed while it does well, open when it fails
// too often, half open when a few trials decide (HEALING section 9). Every change has its reason. Pure: time
// and randomness are arguments. One thread.

#include <array>
#include <cstdint>
#include <optional>

#include "config/environment.hpp"
#include "config/metrics.hpp"

namespace pgmend::health {

using config::metrics::breaker_reason;
using config::metrics::breaker_state;

/// Zero switches a rule off: `failures`, `failure_percent`, `slow_percent`.
struct breaker_limits {
    std::uint32_t failures = 5;          ///< in a row
    std::uint32_t failure_percent = 50;  ///< of the calls within the window
    std::uint32_t slow_percent = 80;
    config::duration slow_call = std::chrono::seconds{2};  ///< one that takes as long is slow
    config::duration window = std::chrono::seconds{30};
    std::uint32_t min_calls = 20;  ///< within the window; with fewer, shares say nothing
    config::duration cooldown = std::chrono::seconds{30};
    config::duration cooldown_max = std::chrono::minutes{5};
    std::uint32_t trials = 3;  ///< under way at one time, and to succeed before it closes
};

struct breaker_change {
    breaker_state to;
    breaker_reason why;
};

class breaker {
public:
    /// Leave to make one call; given back with its outcome.
    struct pass {
        std::uint32_t period = 0;  ///< of the breaker when the call began
        bool trial = false;
        bool forced = false;  ///< although it was open
    };
    enum class outcome : std::uint8_t {
        success,
        failure,
        nothing,  ///< that this breaker is about
    };

    explicit breaker(const breaker_limits& limits) noexcept : limits_(limits) {}

    /// Time has passed: an open breaker whose cooldown is over becomes half open.
    std::optional<breaker_change> settle(config::time_point now) noexcept;
    /// A check from elsewhere has shown that the server answers: no need to wait any longer.
    std::optional<breaker_change> probed() noexcept;

    /// Whether a call may be made: closed, or half open with a trial to spare.
    bool admits() const noexcept {
        return state_ == breaker_state::closed ||
               (state_ == breaker_state::half_open && trials_ < limits_.trials);
    }
    /// Whether one may be made where there is no other server to turn to: one at a time, whatever the state.
    bool admits_if_alone() const noexcept { return admits() || trials_ == 0; }
    /// A call begins. The caller has asked one of the two above, or has its own reason.
    pass begin() noexcept;
    /// It is over. What began before the breaker opened says nothing any more.
    std::optional<breaker_change> end(
        pass call, outcome how, config::duration took, config::time_point now
    ) noexcept;
    /// A failure or successes outside of such calls: they count while it is closed.
    std::optional<breaker_change> failed(config::time_point now) noexcept;
    /// After a change to open: it lasts up to a quarter less or more, so that servers and workers that failed
    /// together are not tried together.
    void spread(std::uint64_t random) noexcept;
    void succeeded(config::time_point now, std::uint64_t calls) noexcept;

    // For SHOW.
    breaker_state state() const noexcept { return state_; }
    /// Why it is as it is; nothing before its first change.
    std::optional<breaker_reason> reason() const noexcept { return reason_; }
    std::uint32_t in_a_row() const noexcept { return in_a_row_; }
    std::uint32_t trials() const noexcept { return trials_; }
    std::uint64_t opened() const noexcept { return opened_; }
    /// When an open one becomes half open by itself.
    config::time_point open_until() const noexcept { return open_until_; }

    struct counts {
        std::uint64_t calls = 0;
        std::uint64_t failures = 0;
        std::uint64_t slow = 0;
    };
    /// Within the window that ends now.
    counts recent(config::time_point now) const noexcept;

private:
    static constexpr std::size_t slots = 10;  ///< of the window; the oldest one is forgotten as a whole
    struct slot {
        std::int64_t number = -1;
        counts seen;
    };

    std::int64_t number_of(config::time_point now) const noexcept;
    counts& slot_of(config::time_point now) noexcept;
    std::optional<breaker_change> judge(config::time_point now) noexcept;
    std::optional<breaker_change> trial_over(bool good, bool forced, config::time_point now) noexcept;
    breaker_change open(breaker_reason why, config::time_point now) noexcept;
    breaker_change move(breaker_state to, breaker_reason why) noexcept;

    breaker_limits limits_;
    std::array<slot, slots> window_{};
    breaker_state state_ = breaker_state::closed;
    std::optional<breaker_reason> reason_;
    std::uint32_t period_ = 0;    ///< counts openings from closed
    std::uint32_t in_a_row_ = 0;  ///< failures
    std::uint32_t trials_ = 0;    ///< under way
    std::uint32_t passed_ = 0;    ///< trials that went well since it was open
    std::uint32_t openings_ = 0;  ///< without having been closed in between
    std::uint64_t opened_ = 0;    ///< ever
    config::duration pause_{};    ///< of the last opening
    config::time_point open_until_{};
};

}  // namespace pgmend::health
