#pragma once
// The latest checks of each server, for people: what a server has been like, beside what it is now. Decides
// nothing. Pure; control thread.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "health/observation.hpp"

namespace pgmend::health {

struct check_record {
    config::time_point at{};
    probe_result result = probe_result::lost;
    config::duration latency{};  ///< only with `ok`
    std::string message;         ///< what went wrong, in words
};

/// What the latest remembered checks of one server come to.
struct check_summary {
    std::uint64_t total = 0;  ///< checks since the start, remembered or not
    std::size_t remembered = 0;
    std::size_t answered = 0;         ///< of those remembered
    std::uint32_t failed_in_row = 0;  ///< the latest ones
    config::duration latency{};       ///< the mean of those that were answered
    config::time_point since{};       ///< checks have ended alike, answered or not, from this one on
    std::string last_failure;         ///< in words; empty when none is remembered

    /// Of those remembered; 1 before the first.
    double success_rate() const noexcept {
        return remembered == 0 ? 1.0 : static_cast<double>(answered) / static_cast<double>(remembered);
    }
};

class check_history {
public:
    /// The latest checks that a summary is of, at most.
    static constexpr std::size_t window = 100;

    /// Keeps the latest `limit` checks of each of `servers`.
    check_history(std::size_t servers, std::size_t limit) : servers_(servers), limit_(limit) {}

    /// A server has come to this place: nothing is remembered of the last one.
    void begin(std::size_t node);
    /// Whether it is looked at.
    void set_watched(std::size_t node, bool watched) noexcept { servers_[node].watched = watched; }
    bool watched(std::size_t node) const noexcept { return servers_[node].watched; }
    void add(std::size_t node, const observation& seen, config::time_point now);
    check_summary summary(std::size_t node) const;
    /// At most `most` of the latest checks, the oldest first.
    std::vector<check_record> latest(std::size_t node, std::size_t most) const;
    std::uint64_t total(std::size_t node) const noexcept { return servers_[node].total; }
    std::size_t servers() const noexcept { return servers_.size(); }

private:
    struct server {
        std::deque<check_record> records;
        std::uint64_t total = 0;
        std::uint32_t failed_in_row = 0;
        bool answered = false;  ///< the latest one
        bool watched = true;
        config::time_point since{};
    };
    std::vector<server> servers_;
    std::size_t limit_;
};

}  // namespace pgmend::health
