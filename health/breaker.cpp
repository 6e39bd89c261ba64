#include "health/breaker.hpp"

#include <algorithm>

namespace pgmend::health {

std::int64_t breaker::number_of(config::time_point now) const noexcept {
    const auto width = std::max<config::duration::rep>(limits_.window.count() / static_cast<int>(slots), 1);
    return now.time_since_epoch().count() / width;
}

breaker::counts& breaker::slot_of(config::time_point now) noexcept {
    const std::int64_t number = number_of(now);
    slot& mine = window_[static_cast<std::size_t>(number) % slots];
    if (mine.number != number) mine = {number, {}};
    return mine.seen;
}

breaker::counts breaker::recent(config::time_point now) const noexcept {
    const std::int64_t number = number_of(now);
    counts sum;
    for (const slot& each : window_) {
        if (each.number < 0 || number - each.number >= static_cast<std::int64_t>(slots)) continue;
        sum.calls += each.seen.calls;
        sum.failures += each.seen.failures;
        sum.slow += each.seen.slow;
    }
    return sum;
}

breaker_change breaker::move(breaker_state to, breaker_reason why) noexcept {
    state_ = to;
    reason_ = why;
    passed_ = 0;
    return {to, why};
}

breaker_change breaker::open(breaker_reason why, config::time_point now) noexcept {
    if (state_ == breaker_state::closed) {
        ++period_;
        trials_ = 0;
        openings_ = 0;
    }
    // Doubled with each opening that none has closed.
    constexpr std::uint32_t doublings = 16;
    pause_ = limits_.cooldown;
    for (std::uint32_t i = 0; i < std::min(openings_, doublings) && pause_ < limits_.cooldown_max; ++i) {
        pause_ *= 2;
    }
    pause_ = std::min(pause_, std::max(limits_.cooldown, limits_.cooldown_max));
    open_until_ = now + pause_;
    ++openings_;
    ++opened_;
    return move(breaker_state::open, why);
}

void breaker::spread(std::uint64_t random) noexcept {
    const auto quarter = static_cast<std::uint64_t>(pause_.count() / 4);
    open_until_ += config::duration{static_cast<std::int64_t>(random % (2 * quarter + 1))} -
                   config::duration{static_cast<std::int64_t>(quarter)};
}

std::optional<breaker_change> breaker::settle(config::time_point now) noexcept {
    if (state_ != breaker_state::open || now < open_until_) return std::nullopt;
    return move(breaker_state::half_open, breaker_reason::cooled_down);
}

std::optional<breaker_change> breaker::probed() noexcept {
    if (state_ != breaker_state::open) return std::nullopt;
    return move(breaker_state::half_open, breaker_reason::probe_succeeded);
}

breaker::pass breaker::begin() noexcept {
    pass made{period_, state_ != breaker_state::closed, state_ == breaker_state::open};
    if (made.trial) ++trials_;
    return made;
}

std::optional<breaker_change> breaker::end(
    pass call, outcome how, config::duration took, config::time_point now
) noexcept {
    if (call.period != period_) return std::nullopt;
    const bool slow = limits_.slow_percent != 0 && took >= limits_.slow_call;
    if (call.trial) {
        if (trials_ > 0) --trials_;
        if (how == outcome::nothing) return std::nullopt;
        return trial_over(how == outcome::success && !slow, call.forced, now);
    }
    if (state_ != breaker_state::closed || how == outcome::nothing) return std::nullopt;
    counts& seen = slot_of(now);
    ++seen.calls;
    if (slow) ++seen.slow;
    if (how == outcome::failure) {
        ++seen.failures;
        ++in_a_row_;
    } else {
        in_a_row_ = 0;
    }
    return judge(now);
}

std::optional<breaker_change> breaker::trial_over(bool good, bool forced, config::time_point now) noexcept {
    if (state_ == breaker_state::closed) return std::nullopt;
    if (!good) {
        if (state_ == breaker_state::open) return std::nullopt;
        return open(breaker_reason::trial_failed, now);
    }
    if (state_ == breaker_state::open && !forced) return std::nullopt;
    if (++passed_ < limits_.trials) {
        if (state_ == breaker_state::half_open) return std::nullopt;
        const std::uint32_t passed = passed_;
        const auto change = move(breaker_state::half_open, breaker_reason::trial_succeeded);
        passed_ = passed;
        return change;
    }
    // A new life: what was counted before belongs to the old one.
    window_ = {};
    in_a_row_ = 0;
    return move(breaker_state::closed, breaker_reason::trials_passed);
}

std::optional<breaker_change> breaker::failed(config::time_point now) noexcept {
    if (state_ != breaker_state::closed) return std::nullopt;
    counts& seen = slot_of(now);
    ++seen.calls;
    ++seen.failures;
    ++in_a_row_;
    return judge(now);
}

void breaker::succeeded(config::time_point now, std::uint64_t calls) noexcept {
    if (state_ != breaker_state::closed || calls == 0) return;
    slot_of(now).calls += calls;
    in_a_row_ = 0;
}

std::optional<breaker_change> breaker::judge(config::time_point now) noexcept {
    if (limits_.failures != 0 && in_a_row_ >= limits_.failures) {
        return open(breaker_reason::failures_in_a_row, now);
    }
    const counts seen = recent(now);
    if (seen.calls < limits_.min_calls) return std::nullopt;
    if (limits_.failure_percent != 0 && seen.failures * 100 >= limits_.failure_percent * seen.calls) {
        return open(breaker_reason::failure_rate, now);
    }
    if (limits_.slow_percent != 0 && seen.slow * 100 >= limits_.slow_percent * seen.calls) {
        return open(breaker_reason::slow_rate, now);
    }
    return std::nullopt;
}

}  // namespace pgmend::health
