#include "health/health_monitor.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "config/log.hpp"

namespace pgmend::health {

namespace asio = boost::asio;
using config::label_word;

health_monitor::health_monitor(
    asio::io_context& control, config::metrics::cells& metrics, roster_snapshot servers,
    monitor_options options
)
    : control_(control), metrics_(metrics), options_(std::move(options)), plan_(0, options_.limits) {
    plan_.adopt(std::move(servers), options_.clock());
    for (const known_server& server : *plan_.picture().servers) {
        watches_.push_back(make_watch(server));
        metrics_.nodes.add(node_condition::unknown);
    }
    published_ = std::make_shared<const topology>(plan_.picture());
}

std::shared_ptr<health_monitor::watch> health_monitor::make_watch(const known_server& server) {
    return std::make_shared<watch>(watch{
        config::print_server(server.address), options_.make_prober(server.address),
        asio::steady_timer{control_}});
}

void health_monitor::begin(std::size_t node) {
    asio::co_spawn(control_, run(watches_[node], node), asio::detached);
}

void health_monitor::start() {
    started_ = true;
    for (std::size_t node = 0; node < watches_.size(); ++node)
        begin(node);
}

void health_monitor::adopt(roster_snapshot servers) {
    if (stopped_) return;
    for (std::size_t node = 0; node < servers->size(); ++node) {
        const known_server& server = (*servers)[node];
        const bool watched = node < watches_.size() && !watches_[node]->retired;
        if (watched && server.here == presence::gone) {
            metrics_.nodes.sub(plan_.state(node).condition());
            watches_[node]->retired = true;
            watches_[node]->timer.cancel();
        }
    }
    const watch_step step = plan_.adopt(servers, options_.clock());
    for (std::size_t node = 0; node < servers->size(); ++node) {
        const known_server& server = (*servers)[node];
        if (node < watches_.size() && (!watches_[node]->retired || server.here == presence::gone)) continue;
        if (node == watches_.size()) watches_.emplace_back();
        watches_[node] = make_watch(server);
        metrics_.nodes.add(plan_.state(node).condition());
        if (started_) begin(node);
    }
    if (step.news) publish();
}

void health_monitor::stop() {
    stopped_ = true;
    for (const auto& each : watches_) {
        each->timer.cancel();
    }
}

asio::awaitable<void> health_monitor::run(std::shared_ptr<watch> mine, std::size_t node) {
    while (!stopped_ && !mine->retired) {
        const auto due = plan_.next(node);
        if (options_.clock() < due) {
            mine->timer.expires_at(due);
            const bool ended = co_await mine->probe->idle(mine->timer);
            if (ended && !stopped_ && !mine->retired) {
                took_step(
                    node, plan_.traffic(node, traffic_evidence::reset, options_.clock()), "session lost"
                );
            }
            continue;
        }
        plan_.begins(node);
        const observation seen = co_await mine->probe->probe(options_.timeout);
        if (stopped_ || mine->retired) break;
        metrics_.probes.add(seen.result);
        if (seen.result == probe_result::ok) metrics_.probe_seconds.record(seen.latency);
        const auto now = options_.clock();
        if (const auto heard = options_.last_heard(node); heard != config::time_point{}) {
            plan_.traffic(node, traffic_evidence::alive, heard);
        }
        if (options_.observed) options_.observed(node, seen);
        const watch_step step = plan_.observed(node, seen, now);
        took_step(node, step, seen.message.empty() ? label_word(seen.result) : seen.message);
    }
}

void health_monitor::traffic(std::size_t node, traffic_evidence what) {
    if (stopped_ || node >= watches_.size() || watches_[node]->retired) return;
    took_step(node, plan_.traffic(node, what, options_.clock()), "traffic");
    watches_[node]->timer.cancel();
}

void health_monitor::look_now() {
    // A broken connection changes nothing that is believed, and asks for a look.
    for (std::size_t node = 0; node < watches_.size(); ++node)
        traffic(node, traffic_evidence::reset);
}

void health_monitor::took_step(std::size_t node, const watch_step& step, std::string_view cause) {
    if (step.node.from != step.node.to) {
        metrics_.nodes.sub(step.node.from);
        metrics_.nodes.add(step.node.to);
        const auto level = step.node.to == node_condition::down ? log::level::warning : log::level::info;
        const std::string& name = watches_[node]->name;
        if (level == log::level::warning) {
            log::warning(
                "server_condition", {{"server", name},
                                     {"from", label_word(step.node.from)},
                                     {"to", label_word(step.node.to)},
                                     {"cause", cause}}
            );
        } else {
            log::info(
                "server_condition", {{"server", name},
                                     {"from", label_word(step.node.from)},
                                     {"to", label_word(step.node.to)},
                                     {"cause", cause}}
            );
        }
    }
    if (step.news) publish();
}

void health_monitor::publish() {
    const topology_snapshot before = std::move(published_);
    published_ = std::make_shared<const topology>(plan_.picture());
    metrics_.primary_known.set(published_->memory.primary ? 1 : 0);
    tell_of_primary(*before, *published_);
    options_.publish(published_);
    // Whoever is to be looked at sooner than was planned.
    for (const auto& each : watches_) {
        each->timer.cancel();
    }
}

void health_monitor::tell_of_primary(const topology& before, const topology& now) const {
    for (std::size_t node = 0; node < now.nodes.size(); ++node) {
        const bool fenced = now.nodes[node].role == node_role::fenced;
        const bool known = node < before.nodes.size() && before.nodes[node].role == node_role::fenced;
        if (fenced && !known) {
            log::error(
                "server_fenced", {{"server", watches_[node]->name},
                                  {"timeline", now.nodes[node].timeline},
                                  {"highest_timeline", now.memory.timeline}}
            );
        }
    }
    if (now.reason == election_reason::split && before.reason != election_reason::split) {
        log::error(
            "two_primaries",
            {{"timeline", now.memory.timeline}, {"kept", watches_[*now.memory.primary]->name}}
        );
    }
    if (now.memory.primary == before.memory.primary) return;
    metrics_.elections.add(now.reason);
    if (!now.memory.primary) {
        log::warning("no_primary", {{"reason", label_word(now.reason)}});
        return;
    }
    log::info(
        "primary_chosen", {{"server", watches_[*now.memory.primary]->name},
                           {"timeline", now.memory.timeline},
                           {"reason", label_word(now.reason)}}
    );
}

}  // namespace pgmend::health
