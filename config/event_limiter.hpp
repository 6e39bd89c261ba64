#pragma once
// Keeps one event from flooding the log: so many lines of it a second, then one line with the number left
// out. Pure: time is an argument. One thread at a time.

#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "config/log.hpp"

namespace pgmend::config::log {

class event_limiter {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Lines that were left out of a second that is over.
    struct report {
        std::string_view event;
        level severity;
        std::uint64_t suppressed;
    };

    explicit event_limiter(std::uint32_t lines_per_second) : limit_(lines_per_second) {}

    /// Whether this line may be written. `event` must live as long as the limiter.
    bool allow(std::string_view event, level severity, time_point now);
    /// What has to be told about seconds that are over; told once. Cheap while nothing was left out.
    std::vector<report> ended(time_point now);
    /// The same for all seconds, over or not: for the end of the log.
    std::vector<report> all() { return ended(time_point::max()); }

private:
    struct second {
        time_point begin;
        std::uint64_t lines = 0;
        std::uint64_t suppressed = 0;
        level severity = level::info;
    };

    const std::uint64_t limit_;
    std::uint64_t suppressed_events_ = 0;  ///< entries with something left out
    std::map<std::string_view, second> seconds_;
};

}  // namespace pgmend::config::log
