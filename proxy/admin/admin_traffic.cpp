// The rows of the SHOWs that tell of databases, pools, clients, servers and what went through them. Workers
// have pools of their own; here they are one.

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include "proxy/admin/admin_table.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

namespace {

using pool::traffic_stats;

cell number(std::uint64_t value) { return std::to_string(value); }

std::uint64_t microseconds(config::duration time) {
    const auto count = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    return count > 0 ? static_cast<std::uint64_t>(count) : 0;
}

std::uint64_t seconds(config::duration time) { return microseconds(time) / 1'000'000; }

/// As PgBouncer writes it: `2026-11-22 09:30:00 UTC`.
std::string moment(std::int64_t now_s, config::duration ago) {
    const auto when = static_cast<std::time_t>(now_s - static_cast<std::int64_t>(seconds(ago)));
    std::tm parts{};
    gmtime_r(&when, &parts);
    char text[40];
    const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    return {text, size};
}

struct address {
    std::string host;
    std::string port;
};

/// Takes `host:port` apart; a Unix socket has the port that we listen on, as in PgBouncer.
address split(const std::string& text, std::uint16_t unix_port) {
    const std::size_t colon = text.rfind(':');
    if (text.empty() || colon == text.npos) return {text, text.empty() ? "0" : std::to_string(unix_port)};
    std::string host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    return {std::move(host), text.substr(colon + 1)};
}

std::string pointer(std::uint64_t id) {
    if (id == 0) return {};
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (; id != 0; id >>= 4U)
        text.insert(text.begin(), digits[id & 15U]);
    return "0x" + text;
}

/// The columns that clients and servers share, from `state` on; those of SHOW SOCKETS alone are of
/// PgBouncer's buffers, and an idle connection of ours has none.
template <class Facts>
void add_rest(
    table_row& row, const Facts& one, std::uint64_t link, config::duration waited, int remote_pid,
    const admin_facts& facts, bool in_sockets
) {
    const address remote = split(one.ends.remote, facts.port);
    const address local = split(one.ends.local, facts.port);
    const std::uint64_t wait_us = microseconds(waited);
    for (const std::string& each :
         {remote.host, remote.port, local.host, local.port, moment(facts.now_s, one.connected),
          moment(facts.now_s, one.requested), std::to_string(wait_us / 1'000'000),
          std::to_string(wait_us % 1'000'000), std::string(one.close_needed ? "1" : "0"), pointer(one.id),
          pointer(link), std::to_string(remote_pid), one.ends.tls, one.application_name,
          std::to_string(one.prepared), std::to_string(one.id)}) {
        row.emplace_back(each);
    }
    if (in_sockets) row.insert(row.end(), 7, "0");
}

std::string_view word_of(client_state state) {
    switch (state) {
        case client_state::active:
            return "active";
        case client_state::idle:
            return "idle";
        case client_state::waiting:
            return "waiting";
    }
    return {};
}

std::string_view word_of(shown_server state, bool in_sockets) {
    switch (state) {
        case shown_server::active:
            return "active";
        case shown_server::idle:
            return "idle";
        case shown_server::tested:
            return "tested";
        case shown_server::login:
            return in_sockets ? "login" : "new";
        case shown_server::being_canceled:
            return "being_canceled";
    }
    return {};
}

struct database_counts {
    std::uint64_t servers = 0;
    std::uint64_t clients = 0;
};

using totals_by_database = std::map<std::string, traffic_stats>;

totals_by_database traffic_of(const admin_facts& facts) {
    totals_by_database totals;
    for (const worker_facts& worker : facts.workers)
        for (const auto& [database, traffic] : worker.traffic)
            totals[database] += traffic;
    return totals;
}

/// The numbers of SHOW STATS.
using traffic_numbers = std::array<std::uint64_t, 12>;

traffic_numbers numbers_of(const traffic_stats& traffic) {
    return {
        traffic.assignments,
        traffic.transactions,
        traffic.queries,
        traffic.received,
        traffic.sent,
        microseconds(traffic.transaction_time),
        microseconds(traffic.query_time),
        microseconds(traffic.wait_time),
        traffic.client_parses,
        traffic.server_parses,
        traffic.binds,
        traffic.logins};
}

/// Of one period: counts are for each second, times for each transaction, query or assignment.
traffic_numbers averages_of(const traffic_stats& older, const traffic_stats& newer, double seconds) {
    traffic_numbers averages{};
    if (seconds <= 0) return averages;
    const auto before = numbers_of(older);
    const auto after = numbers_of(newer);
    const auto risen = [&](std::size_t place) {
        return after[place] - std::min(before[place], after[place]);
    };
    constexpr std::size_t assignments = 0, transactions = 1, queries = 2, first_time = 5, times = 3;
    constexpr std::array<std::size_t, times> each_of{transactions, queries, assignments};
    for (std::size_t i = 0; i < averages.size(); ++i)
        averages[i] = static_cast<std::uint64_t>(static_cast<double>(risen(i)) / seconds);
    for (std::size_t i = 0; i < times; ++i) {
        const std::uint64_t count = risen(each_of[i]);
        averages[first_time + i] = count == 0 ? 0 : risen(first_time + i) / count;
    }
    return averages;
}

const traffic_stats& of(const totals_by_database& all, const std::string& database) {
    static const traffic_stats none;
    const auto found = all.find(database);
    return found == all.end() ? none : found->second;
}

table_rows total_rows(const admin_facts& facts) {
    traffic_stats total, older, newer;
    for (const auto& [database, traffic] : traffic_of(facts))
        total += traffic;
    for (const auto& [database, traffic] : facts.period.older)
        older += traffic;
    for (const auto& [database, traffic] : facts.period.newer)
        newer += traffic;
    constexpr std::array<std::string_view, 12> names{
        "server_assignment_count",
        "xact_count",
        "query_count",
        "client_bytes",
        "server_bytes",
        "xact_time",
        "query_time",
        "wait_time",
        "ps_client_parse_count",
        "ps_server_parse_count",
        "ps_bind_count",
        "client_login_count"};
    table_rows rows;
    const auto add = [&rows, &names](std::string_view prefix, const traffic_numbers& numbers) {
        for (std::size_t i = 0; i < names.size(); ++i)
            rows.push_back({std::string(prefix) + std::string(names[i]), number(numbers[i])});
    };
    add("total_", numbers_of(total));
    add("avg_", averages_of(older, newer, facts.period.seconds));
    return rows;
}

}  // namespace

table_rows stats_rows(show_topic topic, const admin_facts& facts) {
    if (topic == show_topic::totals) return total_rows(facts);
    table_rows rows;
    for (const auto& [database, traffic] : traffic_of(facts)) {
        table_row row{database};
        if (topic != show_topic::stats_averages)
            for (const std::uint64_t each : numbers_of(traffic))
                row.push_back(number(each));
        if (topic != show_topic::stats_totals) {
            const auto averages = averages_of(
                of(facts.period.older, database), of(facts.period.newer, database), facts.period.seconds
            );
            for (const std::uint64_t each : averages)
                row.push_back(number(each));
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

table_rows client_rows(const admin_facts& facts, bool in_sockets, bool only_busy) {
    table_rows rows;
    for (const worker_facts& worker : facts.workers) {
        for (const client_facts& one : worker.clients) {
            if (only_busy && !one.busy) continue;
            std::string state(word_of(one.state));
            if (in_sockets) state = one.state == client_state::waiting ? "cl_waiting" : "cl_active";
            table_row row{"C", one.user, one.database, std::string(one.replication), std::move(state)};
            add_rest(row, one, one.server, one.waited, one.ends.remote_pid, facts, in_sockets);
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

table_rows server_rows(const admin_facts& facts, bool in_sockets, bool only_busy) {
    table_rows rows;
    for (const worker_facts& worker : facts.workers) {
        for (const server_facts& one : worker.servers) {
            if (only_busy && !one.busy) continue;
            const std::string state = (in_sockets ? "sv_" : "") + std::string(word_of(one.state, in_sockets));
            table_row row{"S", one.user, one.database, std::string(one.replication), state};
            add_rest(row, one, one.client, {}, static_cast<int>(one.pid), facts, in_sockets);
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

table_rows pool_rows(const admin_facts& facts) {
    std::map<std::pair<std::string, std::string>, pool_facts> pools;
    for (const worker_facts& worker : facts.workers) {
        for (const pool_facts& one : worker.pools) {
            pool_facts& all = pools[{one.database, one.user}];
            all.clients_active += one.clients_active;
            all.clients_waiting += one.clients_waiting;
            all.cancels += one.cancels;
            all.servers_active += one.servers_active;
            all.servers_being_canceled += one.servers_being_canceled;
            all.servers_idle += one.servers_idle;
            all.servers_tested += one.servers_tested;
            all.servers_login += one.servers_login;
            all.size += one.size;
            all.longest_wait = std::max(all.longest_wait, one.longest_wait);
        }
    }
    const bool several = servers_of(facts.topology, *facts.settings).size() > 1;
    const auto& configured = facts.settings->pool;
    table_rows rows;
    for (const auto& [name, all] : pools) {
        const std::uint64_t wait_us = microseconds(all.longest_wait);
        const auto mode =
            config::pool_rule_for(configured.rules(), &config::pool_rule::mode, name.first, name.second);
        const bool session = mode.value_or(configured.mode()) == config::pool_mode::session;
        rows.push_back(
            {name.first, name.second, number(all.clients_active), number(all.clients_waiting),
             number(all.cancels), "0", number(all.servers_active), "0", number(all.servers_being_canceled),
             number(all.servers_idle), "0", number(all.servers_tested), number(all.servers_login),
             number(wait_us / 1'000'000), number(wait_us % 1'000'000), session ? "session" : "transaction",
             several ? cell("disable") : std::nullopt, number(all.size)}
        );
    }
    return rows;
}

table_rows database_rows(const admin_facts& facts) {
    std::map<std::string, database_counts> databases;
    databases[facts.settings->upstream.database()];
    for (const std::string& each : facts.paused)
        databases[each];
    for (const std::string& each : facts.disabled)
        databases[each];
    for (const worker_facts& worker : facts.workers) {
        for (const auto& [database, traffic] : worker.traffic)
            databases[database];
        for (const pool_facts& pool : worker.pools) {
            database_counts& counts = databases[pool.database];
            counts.clients += pool.clients_active + pool.clients_waiting;
            counts.servers += pool.servers_active + pool.servers_idle + pool.servers_tested +
                              pool.servers_login + pool.servers_being_canceled;
        }
    }
    const auto& settings = *facts.settings;
    health::server_roster servers = servers_of(facts.topology, settings);
    std::erase_if(servers, [](const auto& each) { return each.here == health::presence::gone; });
    std::string hosts;
    for (const auto& [address, source, here, rank, said, leader, behind] : servers)
        hosts += (hosts.empty() ? "" : ",") + (address.host.empty() ? address.address : address.host);
    const auto has = [](const std::vector<std::string>& list, const std::string& name) {
        return std::ranges::find(list, name) != list.end();
    };
    table_rows rows;
    for (const auto& [name, counts] : databases) {
        const bool paused = facts.all_paused || has(facts.paused, name);
        const auto most = config::client_limit_for(
            settings.limits.rules(), config::limit_scope::database, name, settings.limits.database_clients()
        );
        const auto by_rule = [&settings, &database = name](auto what, auto otherwise) {
            return config::pool_rule_for(settings.pool.rules(), what, database, {}).value_or(otherwise);
        };
        using config::pool_rule;
        const auto lifetime = std::chrono::duration_cast<std::chrono::seconds>(
            by_rule(&pool_rule::lifetime, settings.pool.lifetime())
        );
        const bool session = by_rule(&pool_rule::mode, settings.pool.mode()) == config::pool_mode::session;
        rows.push_back(
            {name, hosts, servers.empty() ? "0" : std::to_string(servers.front().address.port), name,
             std::nullopt, number(by_rule(&pool_rule::size, settings.pool.size())),
             number(by_rule(&pool_rule::min_size, settings.pool.min_size())),
             number(by_rule(&pool_rule::reserve_size, settings.pool.reserve_size())),
             std::to_string(lifetime.count()), session ? "session" : "transaction",
             servers.size() > 1 ? cell("disable") : std::nullopt, "0", number(counts.servers), number(most),
             number(counts.clients), paused ? "1" : "0", has(facts.disabled, name) ? "1" : "0"}
        );
    }
    return rows;
}

}  // namespace pgmend::proxy
