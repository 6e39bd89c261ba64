#include "proxy/servers/server_news.hpp"

#include <utility>

#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

using config::label_word;
using health::node_condition;
using health::node_role;

namespace {

std::chrono::milliseconds in_ms(config::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time);
}

healing_event act_of(healing_kind kind, config::time_point now) {
    healing_event act;
    act.at = now;
    act.kind = kind;
    return act;
}

std::string with_timeline(const std::string& words, std::uint32_t timeline) {
    return timeline == 0 ? words : words + ", timeline " + std::to_string(timeline);
}

}  // namespace

void server_news::tell(
    const health::topology_snapshot& picture, const config::settings& settings, config::time_point now
) {
    tell_of_lists(picture, now);
    nodes_.resize(picture->nodes.size());
    const auto each_node = [&](auto what) {
        for (std::size_t node = 0; node < picture->nodes.size(); ++node) {
            healing_event act = act_of(healing_kind::server, now);
            act.server = server_name(picture, settings, node);
            what(node, std::move(act));
        }
    };
    // In the order of causes: a server goes, then there is no primary; one is elected, then the other is
    // fenced.
    each_node([&](std::size_t node, healing_event act) {
        tell_of_condition(node, picture->nodes[node], std::move(act));
    });
    tell_of_primary(picture, settings, now);
    const auto& primary = picture->memory.primary;
    const std::string primary_name = primary ? server_name(picture, settings, *primary) : std::string();
    each_node([&](std::size_t node, healing_event act) {
        tell_of_role(node, *picture, primary_name, std::move(act));
    });
}

void server_news::tell_of_condition(std::size_t node, const health::node_view& seen, healing_event act) {
    known_node& known = nodes_[node];
    if (seen.condition != node_condition::up && seen.condition != node_condition::down) return;
    const node_condition before = std::exchange(known.condition, seen.condition);
    if (before == seen.condition) return;
    const config::time_point since = std::exchange(known.since, act.at);
    if (seen.condition == node_condition::up && before == node_condition::unknown) return;
    act.outcome = label_word(seen.condition);
    act.cause = seen.trouble;
    if (seen.condition == node_condition::up) {
        act.cause = seen.trouble.empty() ? "it answers" : "it refuses checks: " + seen.trouble;
        act.took = in_ms(act.at - since);
    }
    ledger_.add(std::move(act));
}

/// Fenced, or a standby that was fenced before.
void server_news::tell_of_role(
    std::size_t node, const health::topology& picture, const std::string& primary, healing_event act
) {
    known_node& known = nodes_[node];
    const health::node_view& seen = picture.nodes[node];
    const bool fenced = seen.role == node_role::fenced;
    if (seen.role == node_role::unknown || fenced == known.fenced) return;
    known.fenced = fenced;
    if (fenced) {
        act.outcome = "fenced";
        const std::string other = primary.empty() ? "the cluster" : primary;
        act.cause = seen.timeline < picture.memory.timeline
                        ? "it is on timeline " + std::to_string(seen.timeline) + ", " + other +
                              " on timeline " + std::to_string(picture.memory.timeline)
                        : "it says that it is a primary beside " + other + ", on the same timeline " +
                              std::to_string(seen.timeline);
    } else {
        act.outcome = seen.role == node_role::standby ? "standby" : "trusted";
        act.cause = with_timeline("it is fenced no longer", seen.timeline);
    }
    ledger_.add(std::move(act));
}

void server_news::tell_of_primary(
    const health::topology_snapshot& picture, const config::settings& settings, config::time_point now
) {
    const auto primary = picture->memory.primary;
    if (primary == primary_) return;
    healing_event act = act_of(healing_kind::primary, now);
    act.reason = label_word(picture->reason);
    const std::uint32_t timeline = picture->memory.timeline;
    if (primary) {
        act.outcome = "elected";
        act.server = server_name(picture, settings, *primary);
        act.cause = last_primary_.empty() ? with_timeline("none was known before", timeline)
                    : last_primary_ == act.server
                        ? with_timeline("it was the one before, too", timeline)
                        : with_timeline("before it was " + last_primary_, last_timeline_) + "; now " +
                              with_timeline(act.server, timeline);
        if (!primary_ && !last_primary_.empty()) act.took = in_ms(now - lost_at_);
        last_primary_ = act.server;
    } else {
        act.outcome = "lost";
        act.cause = with_timeline("before it was " + last_primary_, timeline);
        lost_at_ = now;
        if (*primary_ < picture->nodes.size() && !picture->nodes[*primary_].trouble.empty())
            act.cause += ": " + picture->nodes[*primary_].trouble;
    }
    last_timeline_ = timeline;
    ledger_.add(std::move(act));
    primary_ = primary;
}

void server_news::tell_of_lists(const health::topology_snapshot& picture, config::time_point now) {
    if (!picture->servers) return;
    const health::roster_snapshot before = std::exchange(told_servers_, picture->servers);
    if (!before || before == told_servers_) return;
    for (std::size_t i = 0; i < told_servers_->size(); ++i) {
        const health::known_server& here = (*told_servers_)[i];
        const bool same = i < before->size() && (*before)[i].address == here.address;
        if (same && (*before)[i].here == here.here) continue;
        if (!same && i < nodes_.size()) nodes_[i] = {};
        healing_event act = act_of(healing_kind::listed, now);
        act.outcome = presence_word(here.here);
        act.reason = label_word(here.source);
        act.server = config::print_server(here.address);
        ledger_.add(std::move(act));
    }
}

}  // namespace pgmend::proxy
