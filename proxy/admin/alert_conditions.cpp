#include "proxy/admin/alert_conditions.hpp"

#include <algorithm>
#include <map>
#include <string>

namespace pgmend::proxy {

namespace {

constexpr std::uint64_t enough_requests = 20;  // before a share of them means anything

alert_condition warning(std::string name, std::string reason, std::string advice) {
    alert_condition made;
    made.name = std::move(name);
    made.reason = std::move(reason);
    made.advice = std::move(advice);
    return made;
}

std::string share_of(std::uint64_t part, std::uint64_t all) {
    return std::to_string(part) + " of " + std::to_string(all);
}

}  // namespace

std::vector<alert_condition> alert_conditions(
    const health_report& report, const admin_facts& facts, const request_tally& since
) {
    std::vector<alert_condition> found;
    for (const component_health& each : report.components) {
        if (each.state == health_state::healthy) continue;
        alert_condition& one = found.emplace_back();
        one.name = each.name;
        one.level = each.state == health_state::critical ? alert_level::critical : alert_level::warning;
        one.reason = each.reason;
        one.advice = each.advice;
    }
    const auto& terms = facts.settings->alerts;
    struct pool_use {
        std::uint64_t active = 0;
        config::duration longest_wait{};
    };
    std::map<std::string, pool_use> pools;
    for (const worker_facts& worker : facts.workers) {
        for (const pool_facts& pool : worker.pools) {
            pool_use& use = pools[pool.user + '@' + pool.database];
            use.active += pool.servers_active;
            use.longest_wait = std::max(use.longest_wait, pool.longest_wait);
        }
    }
    const std::uint64_t size = facts.settings->pool.size();
    for (const auto& [name, use] : pools) {
        if (terms.wait().count() != 0 && use.longest_wait > terms.wait())
            found.push_back(warning(
                "wait:" + name,
                "a client waits for a server connection for longer than " + terms.wait.shown() +
                    " (alerts.wait)",
                "Look at SHOW POOLS for who waits, and at SHOW PINS for who keeps."
            ));
        const std::uint64_t percent = terms.pool_percent();
        if (percent != 0 && use.active * 100 >= size * percent)
            found.push_back(warning(
                "pool:" + name,
                share_of(use.active, size) + " server connections are in use, " + std::to_string(percent) +
                    " % or more (alerts.pool_percent)",
                "Raise pool.size if the server has processors for it, or find long transactions: SHOW "
                "CLIENTS."
            ));
    }
    const std::uint64_t most = terms.error_percent();
    if (most != 0 && since.answered >= enough_requests && since.failed * 100 >= since.answered * most)
        found.push_back(warning(
            "errors",
            share_of(since.failed, since.answered) + " requests have failed, " + std::to_string(most) +
                " % or more (alerts.error_percent)",
            "SHOW STATEMENTS has the shapes that fail; the server's log has their errors."
        ));
    return found;
}

}  // namespace pgmend::proxy
