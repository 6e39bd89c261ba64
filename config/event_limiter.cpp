#include "config/event_limiter.hpp"

namespace pgmend::config::log {

bool event_limiter::allow(std::string_view event, level severity, time_point now) {
    second& entry = seconds_.try_emplace(event, second{now}).first->second;
    // A second with lines left out is only begun anew once they were told, so none is forgotten.
    if (entry.suppressed == 0 && now - entry.begin >= std::chrono::seconds(1)) entry = {now};
    if (entry.lines < limit_) {
        ++entry.lines;
        return true;
    }
    if (entry.suppressed++ == 0) ++suppressed_events_;
    entry.severity = severity;
    return false;
}

std::vector<event_limiter::report> event_limiter::ended(time_point now) {
    std::vector<report> reports;
    if (suppressed_events_ == 0) return reports;
    for (auto& [event, entry] : seconds_) {
        if (entry.suppressed == 0 || now - entry.begin < std::chrono::seconds(1)) continue;
        reports.push_back({event, entry.severity, entry.suppressed});
        entry = {now};
        --suppressed_events_;
    }
    return reports;
}

}  // namespace pgmend::config::log
