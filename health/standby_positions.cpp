#include "health/standby_positions.hpp"

#include <algorithm>

namespace pgmend::health {

namespace {
constexpr std::uint64_t longest_page_header = 40;
}  // namespace

std::uint64_t end_of_records(std::uint64_t lsn, std::uint64_t page) noexcept {
    if (page == 0) return lsn;
    const std::uint64_t on_page = lsn % page;
    return on_page <= longest_page_header ? lsn - on_page : lsn;
}

void standby_positions::pictured(const topology& picture) {
    // Without a primary the last one counts on: nobody has written since.
    if (!picture.memory.primary) return;
    if (primary_ == picture.memory.primary && timeline_ == picture.memory.timeline) return;
    primary_ = picture.memory.primary;
    timeline_ = picture.memory.timeline;
    positions_.primary_is(*primary_, timeline_);
    for (std::size_t place = 0; place < marks_.size(); ++place)
        forget(place);
    primary_asked_.store(never, std::memory_order_release);
}

void standby_positions::forget(std::size_t place) noexcept {
    marks_[place].complete_to.store(never, std::memory_order_release);
    marks_[place].asked_at.store(never, std::memory_order_release);
}

void standby_positions::seen(std::size_t place, const observation& what) {
    if (what.result != probe_result::ok || place >= marks_.size() || what.facts.lsn == 0) return;
    // On another timeline a position means something else.
    if (timeline_ == 0 || what.facts.timeline != timeline_) return;
    const auto asked = what.asked_at.time_since_epoch().count();
    if (place == primary_) {
        if (what.facts.in_recovery) return;
        positions_.primary_at(what.facts.lsn, what.asked_at);
        primary_asked_.store(asked, std::memory_order_release);
        return;
    }
    if (!what.facts.in_recovery) return;
    const auto complete_to = positions_.complete_to(what.facts.lsn, what.facts.timeline);
    const auto complete = complete_to ? complete_to->time_since_epoch().count() : never;
    marks_[place].complete_to.store(complete, std::memory_order_release);
    marks_[place].asked_at.store(asked, std::memory_order_release);
}

std::optional<config::duration> standby_positions::lag(std::size_t place) const noexcept {
    if (place >= marks_.size()) return std::nullopt;
    const auto complete = marks_[place].complete_to.load(std::memory_order_acquire);
    const auto primary = primary_asked_.load(std::memory_order_acquire);
    if (complete == never || primary == never) return std::nullopt;
    return config::duration{std::max<config::time_point::rep>(primary - complete, 0)};
}

bool standby_positions::has(std::size_t place, config::time_point moment, config::time_point connected)
    const noexcept {
    if (place >= marks_.size()) return false;
    const auto asked = marks_[place].asked_at.load(std::memory_order_acquire);
    const auto complete = marks_[place].complete_to.load(std::memory_order_acquire);
    if (asked == never || complete == never) return false;
    return complete > moment.time_since_epoch().count() && asked > connected.time_since_epoch().count();
}

}  // namespace pgmend::health
