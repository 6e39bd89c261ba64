#include "health/watch_plan.hpp"

#include <algorithm>
#include <utility>

namespace pgmend::health {

watch_plan::watch_plan(std::size_t nodes, watch_limits limits)
    : limits_(limits), states_(nodes, node_state{limits.nodes}), plans_(nodes) {
    picture_ = assess(states_, {});
}

bool watch_plan::redraw(config::time_point now) {
    for (node_state& state : states_) {
        state.age(now);
    }
    topology latest = assess(states_, picture_);
    const bool had_primary = picture_.memory.primary.has_value();
    const bool news = differs(latest, picture_);
    latest.since = latest.memory.primary == picture_.memory.primary ? picture_.since : now;
    if (!news) latest.generation = picture_.generation;
    picture_ = std::move(latest);
    had_primary_ = had_primary_ || picture_.memory.primary;
    if (had_primary && !picture_.memory.primary) {
        // Whoever takes over is to be seen at once.
        for (look& each : plans_) {
            each.due = std::min(each.due, now);
        }
    }
    return news;
}

watch_step watch_plan::adopt(roster_snapshot servers, config::time_point now) {
    const roster_snapshot before = std::exchange(picture_.servers, std::move(servers));
    for (std::size_t place = 0; place < picture_.servers->size(); ++place) {
        const known_server& server = (*picture_.servers)[place];
        const bool was_here = before && place < before->size();
        if (place >= states_.size()) {
            states_.emplace_back(limits_.nodes);
            plans_.push_back({now});
        } else if (was_here && (*before)[place].address != server.address) {
            states_[place] = node_state{limits_.nodes};
            plans_[place] = {now};
        } else if (was_here && (*before)[place].here == presence::gone && server.here != presence::gone) {
            plans_[place] = {now};
        }
    }
    watch_step step;
    if (!redraw(now)) ++picture_.generation;
    step.news = true;
    return step;
}

/// What a standby says of its lag is held against what is known of the primary. Without one the last one
/// counts on.
observation watch_plan::compared(std::size_t node, const observation& what, config::time_point now) {
    if (const auto& memory = picture_.memory; memory.primary)
        lag_.primary_is(*memory.primary, memory.timeline);
    observation seen = what;
    if (what.result != probe_result::ok) return seen;
    if (!what.facts.in_recovery) {
        const bool elected = picture_.memory.primary == node;
        if (elected && what.facts.timeline == picture_.memory.timeline) lag_.primary_at(what.facts.lsn, now);
    } else if (const auto behind = lag_.behind(what.facts.lsn, what.facts.timeline)) {
        seen.facts.lag = *behind;
    }
    return seen;
}

watch_step watch_plan::observed(std::size_t node, const observation& what, config::time_point now) {
    watch_step step;
    step.node = states_[node].observe(compared(node, what, now), now);
    look& plan = plans_[node];
    plan.under_way = false;
    step.news = redraw(now);
    const bool awaited = had_primary_ && !picture_.memory.primary;
    const bool calm = states_[node].condition() == node_condition::up && !awaited;
    plan.due = now + (calm ? limits_.interval : limits_.recovery_interval);
    if (std::exchange(plan.again, false)) plan.due = now;
    return step;
}

watch_step watch_plan::traffic(std::size_t node, traffic_evidence what, config::time_point now) {
    watch_step step;
    step.node = states_[node].traffic(what, now);
    if (what == traffic_evidence::alive) return step;
    // The server itself says what has become of it, now and not at the next interval; while it is known to
    // be down the looks come often enough.
    look& plan = plans_[node];
    if (plan.under_way) {
        plan.again = true;
    } else if (states_[node].condition() != node_condition::down) {
        plan.due = now;
    }
    step.news = redraw(now);
    return step;
}

config::time_point watch_plan::next(std::size_t node) const noexcept {
    return plans_[node].under_way ? config::time_point::max() : plans_[node].due;
}

}  // namespace pgmend::health
