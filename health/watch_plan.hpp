#pragma once
// When to look at which server, and what the workers are to believe after each look. Decides all of the
// monitor's work; the monitor only carries it out. Pure: the time is an argument. One thread.

#include <vector>

#include "health/standby_lag.hpp"
#include "health/topology.hpp"

namespace pgmend::health {

struct watch_limits {
    config::duration interval = std::chrono::seconds{1};
    config::duration recovery_interval = std::chrono::milliseconds{50};
    node_limits nodes;
};

/// What became of one input.
struct watch_step {
    node_change node;
    bool news = false;  ///< `picture()` is new, and workers must have it
};

class watch_plan {
public:
    watch_plan(std::size_t nodes, watch_limits limits);

    /// The servers as they are named now. Those that are new, or named again, are looked at at once; what is
    /// known of a place goes when another server has it.
    watch_step adopt(roster_snapshot servers, config::time_point now);
    /// A check of this server begins.
    void begins(std::size_t node) noexcept { plans_[node].under_way = true; }
    watch_step observed(std::size_t node, const observation& what, config::time_point now);
    watch_step traffic(std::size_t node, traffic_evidence what, config::time_point now);
    /// When this server is to be looked at next; time_point::max() while a look is under way.
    config::time_point next(std::size_t node) const noexcept;

    const topology& picture() const noexcept { return picture_; }
    const node_state& state(std::size_t node) const noexcept { return states_[node]; }
    std::size_t size() const noexcept { return states_.size(); }

private:
    struct look {
        config::time_point due{};
        bool under_way = false;
        bool again = false;  ///< something happened during the look that it may not have seen
    };
    bool redraw(config::time_point now);
    observation compared(std::size_t node, const observation& what, config::time_point now);

    watch_limits limits_;
    std::vector<node_state> states_;
    std::vector<look> plans_;
    topology picture_;
    standby_lag lag_;
    bool had_primary_ = false;  ///< there has been one: while there is none, it is waited for
};

}  // namespace pgmend::health
