// The rows of the SHOWs that tell what was healed, and what breakers do.

#include <algorithm>
#include <chrono>
#include <ctime>

#include "proxy/admin/admin_table.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

namespace {

using config::label_word;

cell number(std::uint64_t value) { return std::to_string(value); }

/// Nothing where there is none.
cell words(std::string_view text) {
    if (text.empty()) return std::nullopt;
    return std::string(text);
}

std::int64_t milliseconds(config::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

/// `2026-11-22 09:30:00.250 UTC`.
std::string moment_of(std::int64_t when_ms) {
    const auto when = static_cast<std::time_t>(when_ms / 1000);
    std::tm parts{};
    gmtime_r(&when, &parts);
    char text[40];
    const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    const std::string fraction = std::to_string(1000 + when_ms % 1000);
    return std::string(text, size) + '.' + fraction.substr(1) + " UTC";
}

}  // namespace

table_rows breaker_rows(const admin_facts& facts) {
    table_rows rows;
    const health::server_roster servers = servers_of(facts.topology, *facts.settings);
    for (std::size_t worker = 0; worker < facts.workers.size(); ++worker) {
        for (const breaker_facts& each : facts.workers[worker].breakers) {
            if (each.place >= servers.size() || servers[each.place].here == health::presence::gone) continue;
            rows.push_back(
                {config::print_server(servers[each.place].address), std::string(label_word(each.counted)),
                 std::string(label_word(each.state)), words(each.reason), number(each.in_a_row),
                 number(each.recent.calls), number(each.recent.failures), number(each.recent.slow),
                 number(each.trials), number(each.opened),
                 number(static_cast<std::uint64_t>(milliseconds(each.open_for))), number(worker)}
            );
        }
    }
    return rows;
}

/// Of all workers, the oldest first.
table_rows healing_rows(const admin_facts& facts) {
    struct entry {
        const healing_facts* what;
        std::size_t worker;
    };
    std::vector<entry> all;
    for (std::size_t worker = 0; worker < facts.workers.size(); ++worker) {
        for (const healing_facts& each : facts.workers[worker].healings)
            all.push_back({&each, worker});
    }
    std::ranges::stable_sort(all, [](const entry& a, const entry& b) { return a.what->ago > b.what->ago; });
    table_rows rows;
    for (const auto& [what, worker] : all) {
        const healing_event& event = what->event;
        rows.push_back(
            {moment_of(facts.now_ms - milliseconds(what->ago)), std::string(label_word(event.kind)),
             words(event.server), words(event.database), words(event.user), words(event.client),
             words(event.outcome), words(event.reason), words(event.cause), words(event.shape),
             number(event.attempt), number(event.count),
             number(static_cast<std::uint64_t>(event.took.count())), number(worker)}
        );
    }
    return rows;
}

}  // namespace pgmend::proxy
