#include "pool/pool_sizer.hpp"

#include <algorithm>
#include <utility>

namespace pgmend::pool {

namespace {

/// A period with fewer requests for each connection says little of what one of them takes.
constexpr std::uint64_t requests_each = 4;
/// The pool is the bottleneck when its connections are busy most of the time and somebody waits in the mean.
constexpr double busy_share = 0.75;
constexpr double waiting_mean = 0.25;
/// 0: as many more were served as there are more connections; 1: none, all of them only took longer.
constexpr double worth_more = 0.5;
constexpr double worth_fewer = 0.75;  // apart, so that no size is both too small and too large
constexpr std::uint32_t shortest_pause = 4;
constexpr std::uint32_t longest_pause = 64;
/// Connections left for others where the server says how many it has: they come between two looks.
constexpr std::size_t left_for_others = 3;

double seconds(config::duration time) noexcept { return std::chrono::duration<double>(time).count(); }

std::size_t step_of(std::size_t size) noexcept { return std::max<std::size_t>(1, size / 4); }

}  // namespace

std::optional<sizing_reason> pool_sizer::move(std::size_t to, trial now, sizing_reason why) noexcept {
    from_ = size_;
    size_ = std::clamp(to, limits_.least, limits_.most);
    trial_ = now;
    settling_ = true;
    if (size_ == from_) {
        trial_ = trial::none;
        settling_ = false;
        return std::nullopt;
    }
    return why;
}

/// The trial has failed: what was before it was better.
std::optional<sizing_reason> pool_sizer::back(sizing_reason why) noexcept {
    doubles_ = false;
    fewer_next_ = trial_ == trial::more;
    rest_ = pause_;
    pause_ = std::min(pause_ * 2, longest_pause);
    return move(from_, trial::none, why);
}

std::optional<sizing_reason> pool_sizer::look(
    const pool_load& load, std::optional<std::size_t> spare
) noexcept {
    if (spare && *spare < left_for_others) {
        if (std::exchange(settling_, false)) return std::nullopt;
        // Others need the server's connections: ours are given up a step at a time.
        doubles_ = false;
        rest_ = shortest_pause;
        return move(size_ - std::min(size_, step_of(size_)), trial::none, sizing_reason::server_full);
    }
    if (load.period <= config::duration::zero()) return std::nullopt;
    const double all = seconds(load.period);
    const bool bottleneck = seconds(load.busy) >= busy_share * static_cast<double>(size_) * all &&
                            seconds(load.waited) >= waiting_mean * all;
    if (!bottleneck) {
        // It does, whatever was tried last.
        settling_ = false;
        trial_ = trial::none;
        return std::nullopt;
    }
    if (load.requests < requests_each * size_) return std::nullopt;
    if (std::exchange(settling_, false)) return std::nullopt;
    const double latency = seconds(load.busy) / static_cast<double>(load.requests);
    return trial_ == trial::none ? try_next(latency, spare) : judge(latency, spare);
}

std::optional<sizing_reason> pool_sizer::try_next(double latency, std::optional<std::size_t> spare) noexcept {
    if (rest_ > 0) {
        --rest_;
        return std::nullopt;
    }
    latency_from_ = latency;
    const bool no_more = size_ >= limits_.most || (spare && *spare <= left_for_others);
    const bool no_fewer = size_ <= limits_.least;
    if (no_more && no_fewer) return std::nullopt;
    if (no_more || (fewer_next_ && !no_fewer))
        return move(size_ - step_of(size_), trial::fewer, sizing_reason::trial_fewer);
    std::size_t step = doubles_ ? size_ : step_of(size_);
    if (spare) step = std::min(step, *spare - left_for_others);
    return move(size_ + step, trial::more, sizing_reason::trial_more);
}

std::optional<sizing_reason> pool_sizer::judge(double latency, std::optional<std::size_t> spare) noexcept {
    const bool more = trial_ == trial::more;
    const auto smaller = static_cast<double>(more ? from_ : size_);
    const auto larger = static_cast<double>(more ? size_ : from_);
    const double slower = more ? latency / latency_from_ : latency_from_ / latency;
    const double gradient = (slower - 1) / (larger / smaller - 1);
    if (more && gradient >= worth_more) return back(sizing_reason::no_gain);
    if (!more && gradient < worth_fewer) return back(sizing_reason::needed);
    // It was right: further the same way, at once.
    trial_ = trial::none;
    pause_ = shortest_pause;
    rest_ = 0;
    fewer_next_ = !more;
    if (!more && size_ <= limits_.least) return std::nullopt;
    return try_next(latency, spare);
}

std::optional<sizing_reason> pool_sizer::server_full(std::size_t open) noexcept {
    doubles_ = false;
    rest_ = shortest_pause;
    if (open >= size_) return std::nullopt;
    return move(open, trial::none, sizing_reason::server_full);
}

void pool_sizer::set_limits(sizer_limits limits) noexcept {
    limits_ = limits;
    const std::size_t fits = std::clamp(size_, limits.least, limits.most);
    if (fits == size_) return;
    size_ = fits;
    trial_ = trial::none;
    settling_ = true;
}

}  // namespace pgmend::pool
