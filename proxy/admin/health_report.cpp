#include "proxy/admin/health_report.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <set>

#include <boost/json/array.hpp>

#include "config/metrics.hpp"
#include "config/upstreams.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

namespace json = boost::json;
using config::label_word;
using health::node_condition;
using health::node_role;

namespace {

constexpr double least_success = 0.95;     // HEALING section 11
constexpr std::size_t enough_checks = 20;  // before a rate means anything
constexpr auto long_wait = std::chrono::seconds{1};
constexpr int cost_of_degraded = 15;
constexpr int cost_of_critical = 40;
constexpr std::array<std::string_view, 3> state_words{"healthy", "degraded", "critical"};
constexpr std::array<std::string_view, 3> level_words{"info", "warning", "critical"};
constexpr std::array<std::string_view, 5> role_words{"unknown", "primary", "standby", "fenced", "foreign"};

std::int64_t in_ms(config::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

std::int64_t in_us(config::duration time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

std::string several(std::uint64_t count, std::string_view one, std::string_view more) {
    return std::to_string(count) + ' ' + std::string(count == 1 ? one : more);
}

/// Who is the primary, and none that is known to be gone; empty: nobody.
std::string serving(const health_view& view) {
    const auto primary = view.facts.topology->memory.primary;
    return primary ? server_name(view.facts.topology, *view.facts.settings, *primary) : std::string();
}

std::string percent(double share) { return std::to_string(static_cast<int>(share * 100)) + " %"; }

json::string_view view_of(std::string_view text) { return {text.data(), text.size()}; }

/// RFC 3339, in UTC, to the millisecond.
std::string date_of(config::time_point at, config::time_point now, std::int64_t now_ms) {
    const std::int64_t ms = now_ms - in_ms(now - at);
    const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> date{};
    std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    const std::string rest = std::to_string(1000 + ms % 1000).substr(1);
    return std::string(date.data()) + '.' + rest + 'Z';
}

void worsen(component_health& one, health_state state, std::string reason, std::string advice) {
    if (state < one.state || (state == one.state && !one.reason.empty())) return;
    one.state = state;
    one.reason = std::move(reason);
    one.advice = std::move(advice);
}

/// By class of errors, of all workers the one that lets least through.
json::object breakers_of(const health_view& view, std::size_t node) {
    json::object breakers;
    for (const worker_facts& worker : view.facts.workers) {
        for (const breaker_facts& each : worker.breakers) {
            if (each.place != node) continue;
            // The worst of all workers'; their order is from closed to open.
            const auto word = view_of(label_word(each.state));
            auto& shown = breakers[view_of(label_word(each.counted))];
            if (!shown.is_string() || each.state == config::metrics::breaker_state::open ||
                (shown == json::string("closed") && word != "closed"))
                shown = word;
        }
    }
    return breakers;
}

/// Down, or a primary that is not the elected one, or both.
void judge_away(
    component_health& one, const health_view& view, const health::node_view& seen,
    const health::check_summary& checks
) {
    const std::string primary = serving(view);
    const bool fenced = seen.role == node_role::fenced;
    const bool down = seen.condition == node_condition::down;
    if (down)
        worsen(
            one, health_state::critical, "it is down: " + checks.last_failure,
            fenced ? "Bring it back as a standby of " + (primary.empty() ? "the new primary" : primary) +
                         " (pg_rewind): as a primary it gets no requests any more."
            : primary.empty()
                ? "See why PostgreSQL does not answer there; requests wait for a server up to hold.timeout."
                : "See why PostgreSQL does not answer there; requests go to " + primary + " meanwhile."
        );
    if (fenced && !down)
        worsen(
            one, health_state::critical,
            seen.timeline < view.facts.topology->memory.timeline
                ? "it says that it is a primary, of an older timeline than " +
                      (primary.empty() ? "the cluster's" : primary + "'s")
                : "it says that it is a primary, beside " + primary,
            "Stop it and make it a standby of the elected primary (pg_rewind): what is written to it is lost."
        );
}

component_health server_health(const health_view& view, std::size_t node) {
    const health::node_view& seen = view.facts.topology->nodes[node];
    const health::check_summary checks = view.checks.summary(node);
    component_health one;
    one.name = "server:" + server_name(view.facts.topology, *view.facts.settings, node);
    one.vital = false;
    judge_away(one, view, seen, checks);
    if (seen.role == node_role::foreign)
        worsen(
            one, health_state::critical, "it belongs to another cluster",
            "Take it out of upstream.servers, or of the list that names it, or correct its address."
        );
    if (checks.remembered >= enough_checks && checks.success_rate() < least_success)
        worsen(
            one, health_state::critical,
            percent(checks.success_rate()) + " of its last " + std::to_string(checks.remembered) +
                " checks were answered: " + checks.last_failure,
            "Look at the server's log and load, and at the network towards it."
        );
    const auto ban = std::ranges::find(view.facts.bans, node, &ban_facts::place);
    const bool banned = ban != view.facts.bans.end();
    if (banned)
        worsen(
            one, health_state::degraded, "it is banned: no new request goes to it",
            "UNBAN it on the console when that is over."
        );
    if (seen.condition == node_condition::suspect)
        worsen(one, health_state::degraded, "its last check failed: " + checks.last_failure, {});
    if (seen.condition == node_condition::unknown)
        worsen(one, health_state::degraded, "it has not been reached yet", {});
    one.figures = {
        {"condition", view_of(label_word(seen.condition))},
        {"role", view_of(role_words[static_cast<std::size_t>(seen.role)])},
        {"read_only", seen.read_only},
        {"banned", banned},
        {"timeline", seen.timeline},
        {"lag_ms", in_ms(seen.lag)},
        {"latency_us", in_us(seen.latency)},
        {"checks", checks.total},
        {"checks_remembered", checks.remembered},
        {"success_rate", checks.success_rate()},
        {"failures_in_a_row", checks.failed_in_row},
        {"mean_latency_us", in_us(checks.latency)},
        {"unchanged_ms", checks.total == 0 ? 0 : in_ms(view.now - checks.since)}};
    if (!checks.last_failure.empty()) one.figures["last_failure"] = checks.last_failure;
    one.figures["breakers"] = breakers_of(view, node);
    one.stands = server_in_words(*view.facts.topology, node);
    if (seen.since != config::time_point{}) one.since = seen.since;
    return one;
}

component_health topology_health(const health_view& view) {
    component_health one;
    one.name = "topology";
    const health::topology& picture = *view.facts.topology;
    const health::server_roster servers = servers_of(view.facts.topology, *view.facts.settings);
    std::size_t up = 0;
    std::size_t all = 0;
    for (std::size_t node = 0; node < picture.nodes.size() && node < servers.size(); ++node) {
        if (servers[node].here == health::presence::gone) continue;
        ++all;
        if (picture.nodes[node].condition == node_condition::up) ++up;
    }
    bool asked = false;
    for (std::size_t node = 0; node < picture.nodes.size(); ++node)
        asked = asked || view.checks.total(node) != 0;
    if (!asked) worsen(one, health_state::degraded, "no server has been asked yet", {});
    if (asked && picture.primary() == nullptr)
        worsen(
            one, health_state::critical,
            "there is no primary: " + std::string(election_in_words(picture.reason)),
            "Requests wait up to hold.timeout. If no failover is under way, promote a standby or bring the "
            "primary back."
        );
    const bool banned = picture.memory.primary &&
                        std::ranges::find(view.facts.bans, *picture.memory.primary, &ban_facts::place) !=
                            view.facts.bans.end();
    if (banned)
        worsen(
            one, health_state::critical, "the primary is banned: requests wait for another one",
            "UNBAN it, or promote a standby; they wait up to hold.timeout."
        );
    if (up < all)
        worsen(
            one, health_state::degraded,
            std::to_string(up) + " of " + std::to_string(all) + " servers are up", {}
        );
    one.figures = {
        {"servers", all},
        {"up", up},
        {"timeline", picture.memory.timeline},
        {"reason", view_of(label_word(picture.reason))}};
    if (picture.memory.primary) one.figures["primary"] = serving(view);
    one.stands = serving(view) + " is the primary, " + std::to_string(up) + " of " + std::to_string(all) +
                 " servers are up";
    if (picture.since != config::time_point{}) one.since = picture.since;
    return one;
}

/// How long clients of this pool wait for a connection, at most.
config::duration longest_wait_of(const health_view& view, const pool_facts& pool) {
    const auto& configured = view.facts.settings->pool;
    const auto rule =
        config::pool_rule_for(configured.rules(), &config::pool_rule::wait_timeout, pool.database, pool.user);
    return rule.value_or(configured.wait_timeout());
}

component_health pool_health(const health_view& view) {
    component_health one;
    one.name = "pools";
    std::uint64_t waiting = 0;
    std::uint64_t servers = 0;
    std::uint64_t active = 0;
    std::uint64_t opening = 0;
    std::uint64_t opened = 0;
    std::uint64_t lost = 0;
    std::uint64_t rolled_back = 0;
    std::uint64_t reset = 0;
    std::set<std::pair<std::string_view, std::string_view>> pools;  // each worker has its part of one
    config::duration longest{};
    bool half_lost = false;  // somebody's patience
    bool paused = false;
    for (const worker_facts& worker : view.facts.workers) {
        for (const pool_facts& pool : worker.pools) {
            pools.emplace(pool.database, pool.user);
            waiting += pool.clients_waiting;
            active += pool.servers_active;
            servers += pool.servers_active + pool.servers_idle + pool.servers_tested;
            opening += pool.servers_login;
            longest = std::max(longest, pool.longest_wait);
            half_lost = half_lost || pool.longest_wait > longest_wait_of(view, pool) / 2;
            paused = paused || pool.paused;
        }
        opened += worker.connections.opened;
        lost += worker.connections.lost_in_use;
        rolled_back += worker.connections.rolled_back;
        reset += worker.connections.reset;
    }
    const std::string long_wait_words =
        "a client has waited " + std::to_string(in_ms(longest)) + " ms for a server connection";
    // What they wait for then is no connection but a server, and that is the topology's matter.
    const bool held = view.facts.topology->primary() == nullptr;
    if (half_lost)
        worsen(
            one, health_state::critical, long_wait_words,
            held ? ""
                 : "Raise pool.size, or find what holds the connections: SHOW PINS, SHOW CLIENTS, "
                   "pg_stat_activity."
        );
    if (longest > long_wait)
        worsen(
            one, health_state::degraded, long_wait_words,
            held ? "" : "Look at SHOW POOLS for who waits, and at SHOW PINS for who keeps."
        );
    if (paused) worsen(one, health_state::degraded, "a pool is paused", "RESUME on the console ends it.");
    one.figures = {
        {"pools", pools.size()},
        {"clients_waiting", waiting},
        {"longest_wait_ms", in_ms(longest)},
        {"servers", servers},
        {"servers_active", active},
        {"servers_opening", opening},
        {"paused", paused},
        {"reconnections", opened},
        {"lost_in_use", lost},
        {"rollbacks", rolled_back},
        {"resets", reset}};
    one.stands = several(servers, "server connection", "server connections") + ", " + std::to_string(active) +
                 " in use, nobody waits long";
    if (waiting != 0)
        one.suffers = several(waiting, "client waits", "clients wait") + ", the longest for " +
                      std::to_string(in_ms(longest)) + " ms";
    return one;
}

component_health client_health(const health_view& view) {
    component_health one;
    one.name = "clients";
    std::uint64_t clients = 0;
    std::uint64_t refused = 0;
    for (const worker_facts& worker : view.facts.workers) {
        clients += worker.memory.sessions - std::min(worker.memory.sessions, worker.consoles);
        refused += worker.refusals[static_cast<std::size_t>(config::metrics::refusal::client_limit)];
    }
    const std::uint64_t most = view.facts.settings->listen.max_clients();
    const std::string share = std::to_string(clients) + " of " + std::to_string(most) + " clients";
    if (clients >= most)
        worsen(
            one, health_state::critical, share + ": no other comes in",
            "Raise listen.max_clients, or find who opens them: SHOW CLIENTS."
        );
    if (clients * 10 >= most * 8) worsen(one, health_state::degraded, share, {});
    if (view.draining) worsen(one, health_state::degraded, "pgmend is on its way out", {});
    one.stands = share;
    if (clients >= most) one.suffers = several(refused, "was", "were") + " refused since the start";
    one.figures = {{"clients", clients}, {"most", most}, {"refused", refused}, {"draining", view.draining}};
    return one;
}

component_health memory_health(const health_view& view) {
    component_health one;
    one.name = "memory";
    const double bytes = view.facts.resident_bytes;
    const double share = view.memory_limit == 0 ? 0.0 : bytes / static_cast<double>(view.memory_limit);
    if (view.memory_pressed)
        worsen(
            one, health_state::critical, "it is nearly used up: new clients are refused with 53200",
            "Raise the limit of the cgroup or machine.memory, or lower listen.max_clients."
        );
    one.figures = {
        {"resident_bytes", static_cast<std::uint64_t>(bytes)},
        {"limit_bytes", view.memory_limit},
        {"share", share}};
    one.stands = std::to_string(static_cast<std::uint64_t>(bytes / 1048576)) + " MiB resident";
    if (view.memory_limit != 0) one.stands += " of " + std::to_string(view.memory_limit / 1048576);
    return one;
}

json::array json_history(const health_view& view, std::size_t node, std::size_t limit) {
    json::array all;
    for (const health::check_record& each : view.checks.latest(node, limit)) {
        json::object one{
            {"at", date_of(each.at, view.now, view.now_ms)}, {"result", view_of(label_word(each.result))}};
        if (each.result == health::probe_result::ok) one["latency_us"] = in_us(each.latency);
        if (!each.message.empty()) one["message"] = each.message;
        all.push_back(std::move(one));
    }
    return all;
}

}  // namespace

health_view view_of(const admin_facts& facts) {
    return {facts,         *facts.checks, facts.now, facts.now_ms, facts.memory_limit, facts.memory_pressed,
            facts.draining};
}

std::string_view word_of(health_state state) noexcept { return state_words[static_cast<std::size_t>(state)]; }

health_report assess_health(const health_view& view) {
    health_report report;
    report.components.push_back(topology_health(view));
    const health::server_roster servers = servers_of(view.facts.topology, *view.facts.settings);
    for (std::size_t node = 0; node < servers.size() && node < view.facts.topology->nodes.size(); ++node) {
        if (servers[node].here == health::presence::gone) continue;
        report.components.push_back(server_health(view, node));
    }
    report.components.push_back(pool_health(view));
    report.components.push_back(client_health(view));
    report.components.push_back(memory_health(view));
    for (const component_health& one : report.components) {
        const bool all = one.state == health_state::critical && one.vital;
        if (one.state != health_state::healthy) {
            report.state = std::max(report.state, all ? health_state::critical : health_state::degraded);
            report.score -= one.state == health_state::critical ? cost_of_critical : cost_of_degraded;
        }
    }
    report.score = std::max(report.score, 0);
    return report;
}

json::object json_report(
    const health_report& report, const health_view& view, const health_wish& wish,
    const std::vector<healing_event>& acts
) {
    json::object all{{"state", view_of(word_of(report.state))}, {"score", report.score}};
    json::array advice;
    json::object components;
    std::size_t node = 0;
    for (const component_health& one : report.components) {
        json::object shown{
            {"state", view_of(word_of(one.state))},
            {"level", view_of(level_words[static_cast<std::size_t>(one.state)])}};
        if (!one.reason.empty()) shown["reason"] = one.reason;
        if (wish.detailed) {
            for (const auto& figure : one.figures)
                shown.emplace(figure.key(), figure.value());
        }
        if (one.name.starts_with("server:")) {
            if (wish.history) shown["history"] = json_history(view, node, wish.limit);
            ++node;
        }
        if (!one.advice.empty()) advice.push_back(json::string(one.name + ": " + one.advice));
        components.emplace(one.name, std::move(shown));
    }
    all["components"] = std::move(components);
    all["recommendations"] = std::move(advice);
    if (wish.detailed) {
        json::array done;
        for (const healing_event& act : acts)
            done.push_back(json_event(act, view.now, view.now_ms));
        all["actions"] = std::move(done);
    }
    return all;
}

std::vector<healing_event> latest_acts(const admin_facts& facts, std::size_t most) {
    std::vector<healing_event> all;
    for (const worker_facts& worker : facts.workers) {
        all.insert(all.end(), worker.healings.begin(), worker.healings.end());
    }
    std::ranges::stable_sort(all, {}, &healing_event::at);
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(std::min(most, all.size())));
    return all;
}

json::object json_event(const healing_event& event, config::time_point now, std::int64_t now_ms) {
    json::object one{
        {"at", date_of(event.at, now, now_ms)},
        {"number", event.number},
        {"kind", view_of(healing_kind_words[static_cast<std::size_t>(event.kind)])},
        {"outcome", view_of(event.outcome)},
        {"reason", view_of(event.reason)},
        {"client", event.client},
        {"server", event.server},
        {"database", event.database},
        {"user", event.user},
        {"shape", event.shape},
        {"cause", event.cause},
        {"attempt", event.attempt},
        {"count", event.count},
        {"took_ms", event.took.count()}};
    return one;
}

}  // namespace pgmend::proxy
