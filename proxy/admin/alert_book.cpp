#include "proxy/admin/alert_book.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgmend::proxy {

std::string_view word_of(alert_level level) noexcept {
    return level == alert_level::critical ? "critical" : "warning";
}

std::string_view word_of(alert_stage stage) noexcept {
    static constexpr std::array<std::string_view, 3> stage_words{"firing", "lasting", "over"};
    return stage_words[static_cast<std::size_t>(stage)];
}

std::vector<alert_notice> alert_book::look(
    const std::vector<alert_condition>& conditions, const alert_terms& terms, config::time_point now
) {
    for (const alert_condition& each : conditions) {
        if (each.level < terms.least) continue;
        const auto [it, is_new] = entries_.try_emplace(each.name);
        entry& known = it->second;
        if (is_new) known.since = now;
        known.what = each;
        known.well_since.reset();
        known.seen = true;
    }
    std::vector<alert_notice> told;
    for (auto it = entries_.begin(); it != entries_.end();) {
        entry& known = it->second;
        if (std::exchange(known.seen, false)) {
            const bool worse = !known.told || *known.told < known.what.level;
            const bool again = known.told && terms.repeat.count() != 0 && now - known.told_at >= terms.repeat;
            if ((worse && now - known.since >= terms.delay) || again) {
                told.push_back({worse ? alert_stage::firing : alert_stage::lasting, known.what, known.since});
                known.told = std::max(known.told.value_or(known.what.level), known.what.level);
                known.told_at = now;
            }
        } else {
            if (!known.well_since) known.well_since = now;
            if (!known.told || now - *known.well_since >= terms.delay) {
                if (known.told) told.push_back({alert_stage::over, known.what, known.since});
                it = entries_.erase(it);
                continue;
            }
        }
        ++it;
    }
    return told;
}

std::size_t alert_book::firing() const noexcept {
    return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& each) {
        return each.second.told.has_value();
    }));
}

}  // namespace pgmend::proxy
