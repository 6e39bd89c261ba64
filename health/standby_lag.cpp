#include "health/standby_lag.hpp"

#include <algorithm>

namespace pgmend::health {

void standby_lag::primary_is(std::size_t place, std::uint32_t timeline) {
    if (place == place_ && timeline == timeline_) return;
    place_ = place;
    timeline_ = timeline;
    positions_.clear();
}

void standby_lag::primary_at(std::uint64_t lsn, config::time_point when) {
    if (lsn == 0) return;
    // A crash takes back what was on no disk, and no standby has had it.
    while (!positions_.empty() && positions_.back().lsn > lsn)
        positions_.pop_back();
    if (!positions_.empty() && positions_.back().lsn == lsn) {
        positions_.back().until = when;
        return;
    }
    positions_.push_back({lsn, when, when});
    if (positions_.size() > most_positions) positions_.pop_front();
}

std::optional<config::duration> standby_lag::behind(std::uint64_t lsn, std::uint32_t timeline) const {
    if (positions_.empty() || lsn == 0 || timeline != timeline_) return std::nullopt;
    const config::time_point latest = positions_.back().until;
    const auto beyond = std::ranges::upper_bound(positions_, lsn, {}, &position::lsn);
    if (beyond == positions_.end()) return config::duration{};
    if (beyond == positions_.begin()) return latest - beyond->since;
    return latest - std::prev(beyond)->until;
}

std::optional<config::time_point> standby_lag::complete_to(std::uint64_t lsn, std::uint32_t timeline) const {
    if (lsn == 0 || timeline != timeline_) return std::nullopt;
    const auto beyond = std::ranges::upper_bound(positions_, lsn, {}, &position::lsn);
    if (beyond == positions_.begin()) return std::nullopt;
    return std::prev(beyond)->until;
}

}  // namespace pgmend::health
