// The rows of the SHOWs that tell of pgmend as a whole.

#include <algorithm>
#include <array>
#include <set>

#include "proxy/admin/admin_table.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

namespace {

using config::label_word;

cell number(std::uint64_t value) { return std::to_string(value); }
cell signed_number(std::int64_t value) { return std::to_string(value); }

template <class Read>
std::uint64_t sum(const admin_facts& facts, Read read) {
    std::uint64_t total = 0;
    for (const worker_facts& each : facts.workers)
        total += static_cast<std::uint64_t>(read(each));
    return total;
}

std::uint64_t refused(const admin_facts& facts, config::metrics::refusal why) {
    return sum(facts, [why](const worker_facts& each) {
        return each.refusals[static_cast<std::size_t>(why)];
    });
}

std::string hexadecimal(std::uint64_t value) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string text;
    do {
        text.insert(text.begin(), digits[value & 15U]);
    } while ((value >>= 4U) != 0);
    return text;
}

table_rows list_rows(const admin_facts& facts) {
    const auto databases = database_rows(facts).size();
    const auto users = rows_of(show_topic::users, facts).size();
    const auto pools = pool_rows(facts).size();
    const auto clients = sum(facts, [](const auto& each) { return each.memory.sessions; });
    const auto logins = sum(facts, [](const auto& each) { return each.logins; });
    const auto servers = sum(facts, [](const auto& each) { return each.memory.servers; });
    const std::uint64_t most_clients = facts.settings->listen.max_clients();
    // PgBouncer keeps freed objects; ours are free as long as the limits leave room.
    const std::uint64_t most_servers = pools * facts.settings->pool.size();
    return {
        {"databases", number(databases)},
        {"users", number(users)},
        {"peers", "0"},
        {"pools", number(pools)},
        {"peer_pools", "0"},
        {"free_clients", number(most_clients - std::min(most_clients, clients))},
        {"used_clients", number(clients)},
        {"login_clients", number(logins)},
        {"free_servers", number(most_servers - std::min(most_servers, servers))},
        {"used_servers", number(servers)},
        {"dns_names", number(facts.names.size())},
        {"dns_zones", "0"},
        {"dns_queries", "0"},
        {"dns_pending", "0"}};
}

table_rows user_rows(const admin_facts& facts) {
    struct counts {
        std::uint64_t servers = 0;
        std::uint64_t clients = 0;
    };
    std::map<std::string, counts> users;
    for (const auto& each : facts.settings->users())
        users[each.name];
    users[facts.settings->upstream.user()];
    for (const worker_facts& worker : facts.workers) {
        for (const pool_facts& pool : worker.pools) {
            counts& one = users[pool.user];
            one.servers += pool.servers_active + pool.servers_idle + pool.servers_tested +
                           pool.servers_login + pool.servers_being_canceled;
            one.clients += pool.clients_active + pool.clients_waiting;
        }
    }
    table_rows rows;
    const auto& limits = facts.settings->limits;
    for (const auto& [name, has] : users) {
        const auto most =
            config::client_limit_for(limits.rules(), config::limit_scope::user, name, limits.user_clients());
        // Of the user alone, whatever the database: PgBouncer shows nothing where it has no setting of its
        // own.
        const auto& rules = facts.settings->pool.rules();
        const auto size = config::pool_rule_for(rules, &config::pool_rule::size, {}, name);
        const auto reserve = config::pool_rule_for(rules, &config::pool_rule::reserve_size, {}, name);
        const auto mode = config::pool_rule_for(rules, &config::pool_rule::mode, {}, name);
        std::string mode_shown;
        if (mode) mode_shown = *mode == config::pool_mode::session ? "session" : "transaction";
        rows.push_back(
            {name, size ? number(*size) : "", reserve ? number(*reserve) : "",
             mode ? cell(mode_shown) : std::nullopt, "0", number(has.servers), number(most),
             number(has.clients)}
        );
    }
    return rows;
}

table_rows topology_rows(const admin_facts& facts) {
    table_rows rows;
    if (!facts.topology) return rows;
    const health::server_roster servers = servers_of(facts.topology, *facts.settings);
    for (std::size_t i = 0; i < facts.topology->nodes.size() && i < servers.size(); ++i) {
        const auto& [address, source, here, rank, said, leader, behind] = servers[i];
        if (here == health::presence::gone) continue;
        const health::node_view& node = facts.topology->nodes[i];
        constexpr std::array<std::string_view, 5> roles{"unknown", "primary", "standby", "fenced", "foreign"};
        std::string addresses;
        for (const resolved_name& name : facts.names) {
            if (name.host != address.host) continue;
            for (const std::string& each : name.addresses)
                addresses += (addresses.empty() ? "" : ",") + each;
        }
        std::uint64_t connections = 0;
        for (const worker_facts& worker : facts.workers) {
            connections +=
                static_cast<std::uint64_t>(std::ranges::count(worker.servers, i, &server_facts::place));
        }
        const auto ban = std::ranges::find(facts.bans, i, &ban_facts::place);
        std::string banned = "no";
        if (ban != facts.bans.end())
            banned = ban->left_s ? std::to_string(*ban->left_s) + " s left" : "until UNBAN";
        const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(node.lag);
        const auto latency = std::chrono::duration_cast<std::chrono::microseconds>(node.latency);
        rows.push_back(
            {config::print_server(address), std::string(label_word(node.condition)),
             std::string(roles[static_cast<std::size_t>(node.role)]), node.read_only ? "yes" : "no",
             number(node.timeline), hexadecimal(node.lsn >> 32U) + '/' + hexadecimal(node.lsn & 0xffffffffU),
             signed_number(lag.count()), signed_number(latency.count()), addresses, number(connections),
             banned, std::string(label_word(source)), here == health::presence::listed ? "yes" : "no",
             behind ? said + ", behind" : said,
             node.since == config::time_point{} ? cell() : cell(moment_of(moment_in_ms(node.since, facts))),
             server_in_words(*facts.topology, i)}
        );
    }
    return rows;
}

std::string_view meaning_of(pin_reason reason) {
    switch (reason) {
        case pin_reason::session_mode:
            return "pool.mode is session";
        case pin_reason::replication:
            return "a replication connection";
        case pin_reason::listen:
            return "LISTEN";
        case pin_reason::temporary_table:
            return "a temporary table";
        case pin_reason::advisory_lock:
            return "an advisory lock of the session";
        case pin_reason::cursor:
            return "a cursor WITH HOLD";
        case pin_reason::sql_prepare:
            return "prepared by SQL's PREPARE";
        case pin_reason::parameter:
            return "a setting that cannot be moved";
        case pin_reason::role:
            return "SET SESSION AUTHORIZATION, or a role that was set unseen";
        case pin_reason::sequence:
            return "currval or lastval";
        case pin_reason::unknown:
            return "a statement that may change its session in ways unknown";
    }
    return {};
}

table_rows pin_rows(const admin_facts& facts) {
    table_rows rows;
    for (const auto reason : all_pin_reasons) {
        const auto place = static_cast<std::size_t>(reason);
        std::int64_t now = 0;
        for (const worker_facts& each : facts.workers)
            now += each.pins[place].now;
        const auto made = sum(facts, [place](const worker_facts& each) { return each.pins[place].made; });
        rows.push_back(
            {std::string(label_word(reason)), signed_number(now), number(made),
             std::string(meaning_of(reason))}
        );
    }
    return rows;
}

table_rows limit_rows(const admin_facts& facts) {
    using config::metrics::refusal;
    const auto& settings = *facts.settings;
    const auto consoles = sum(facts, [](const auto& each) { return each.consoles; });
    const auto sessions = sum(facts, [](const auto& each) { return each.memory.sessions; });
    const auto logins = sum(facts, [](const auto& each) { return each.logins; });
    table_rows rows{
        {"clients", "all", number(sessions - std::min(sessions, consoles)),
         number(settings.listen.max_clients()), number(refused(facts, refusal::client_limit)),
         "listen.max_clients"},
        {"logins", "all", number(logins), number(settings.listen.max_logins()),
         number(refused(facts, refusal::login_limit)), "listen.max_logins"},
        {"consoles", "all", number(consoles), number(settings.admin.max_consoles() * facts.workers.size()),
         std::nullopt, "admin.max_consoles"}};
    for (const table_row& pool : pool_rows(facts)) {
        const std::string scope = *pool[1] + '@' + *pool[0];
        std::uint64_t servers = 0;
        for (const std::size_t column : {6U, 8U, 9U, 11U, 12U})
            servers += std::stoull(*pool[column]);
        const auto by_rule = [&](auto what, auto otherwise) {
            return config::pool_rule_for(settings.pool.rules(), what, *pool[0], *pool[1]).value_or(otherwise);
        };
        using config::pool_rule;
        const std::uint64_t size = by_rule(&pool_rule::size, settings.pool.size());
        rows.push_back(
            {"servers", scope, number(servers),
             number(size + by_rule(&pool_rule::reserve_size, settings.pool.reserve_size())), std::nullopt,
             "pool.size"}
        );
        const auto waited_ms = std::stoull(*pool[13]) * 1000 + std::stoull(*pool[14]) / 1000;
        const auto longest = by_rule(&pool_rule::wait_timeout, settings.pool.wait_timeout());
        rows.push_back(
            {"wait_timeout_ms", scope, number(waited_ms), std::to_string(longest.count()), std::nullopt,
             "pool.wait_timeout"}
        );
        rows.push_back(
            {"held_requests", scope, pool[3], number(settings.hold.max_waiters()), std::nullopt,
             "hold.max_waiters"}
        );
        const auto waiting = config::waiting_limit_for(settings.limits.rules(), *pool[0], *pool[1])
                                 .value_or(settings.limits.waiting_clients());
        if (waiting != 0)
            rows.push_back(
                {"waiting", scope, pool[3], number(waiting), std::nullopt, "limits.waiting_clients"}
            );
    }
    for (const worker_facts& worker : facts.workers) {
        for (const limit_facts& each : worker.limits)
            rows.push_back(
                {std::string(each.kind), each.subject, number(each.current), number(each.most),
                 number(each.refused), each.setting}
            );
    }
    return rows;
}

table_rows memory_rows(const admin_facts& facts) {
    const auto of = [&facts](auto read) { return sum(facts, read); };
    const auto sessions = of([](const auto& each) { return each.memory.sessions; });
    const auto servers = of([](const auto& each) { return each.memory.servers; });
    const auto session_bytes =
        of([](const auto& each) { return each.memory.sessions * each.memory.session_bytes; });
    const auto server_bytes =
        of([](const auto& each) { return each.memory.servers * each.memory.server_bytes; });
    return {
        {"process", std::nullopt, number(static_cast<std::uint64_t>(facts.resident_bytes)),
         "resident memory of all"},
        {"clients", number(sessions), number(session_bytes), "sessions, without what they prepared"},
        {"servers", number(servers), number(server_bytes), "server connections, without what they prepared"},
        {"buffers", number(of([](const auto& each) { return each.memory.buffer_blocks; })), std::nullopt,
         "blocks lent out while bytes are on their way"},
        {"parameter_sets", number(of([](const auto& each) { return each.memory.parameter_sets; })),
         std::nullopt, "distinct settings of sessions"},
        {"catalogs", number(of([](const auto& each) { return each.memory.catalogs; })), std::nullopt,
         "databases whose functions and triggers are known"}};
}

/// PgBouncer's table of its object caches: ours has no cache, so that nothing is free.
table_rows mem_rows(const admin_facts& facts) {
    table_rows rows;
    const auto row = [&rows](std::string_view name, std::uint64_t size, std::uint64_t used) {
        rows.push_back({std::string(name), number(size), number(used), "0", number(size * used)});
    };
    if (facts.workers.empty()) return rows;
    const memory_facts& sizes = facts.workers.front().memory;
    row("client_cache", sizes.session_bytes,
        sum(facts, [](const auto& each) { return each.memory.sessions; }));
    row("server_cache", sizes.server_bytes, sum(facts, [](const auto& each) { return each.memory.servers; }));
    return rows;
}

table_rows name_rows(const admin_facts& facts) {
    table_rows rows;
    for (const resolved_name& each : facts.names) {
        std::string addresses;
        for (const std::string& address : each.addresses)
            addresses += (addresses.empty() ? "" : ",") + address;
        rows.push_back({each.host, signed_number(each.next_look_s), addresses});
    }
    return rows;
}

}  // namespace

facts_wanted needs_of(show_topic topic) noexcept {
    const bool sockets = topic == show_topic::sockets || topic == show_topic::active_sockets;
    facts_wanted wanted;
    wanted.healings = topic == show_topic::healings || topic == show_topic::health;
    wanted.limits = topic == show_topic::limits;
    wanted.coverage = topic == show_topic::coverage;
    wanted.protection = topic == show_topic::protection;
    wanted.statements = wanted.coverage || topic == show_topic::statements;
    wanted.clients = sockets || topic == show_topic::clients;
    wanted.servers = wanted.clients || topic == show_topic::servers || topic == show_topic::topology;
    return wanted;
}

std::string help_text() {
    std::string topics;
    for (const show_word& each : show_words()) {
        if (each.topic == show_topic::help) continue;
        for (const char letter : each.word)
            topics += letter == '_' ? '_' : static_cast<char>(letter - 'a' + 'A');
        topics += '|';
    }
    return "\n\tSHOW HELP|" + topics.substr(0, topics.size() - 1) +
           "\n\tSET key = arg\n\tRELOAD\n\tPAUSE [<db>]\n\tRESUME [<db>]\n\tDISABLE <db>\n\tENABLE <db>"
           "\n\tRECONNECT [<db>]\n\tKILL [<db>]\n\tKILL_CLIENT <client_id>\n\tWAIT_CLOSE [<db>]"
           "\n\tBAN <server> [<seconds>] [FORCE]\n\tUNBAN <server>\n\tRESET STATEMENTS"
           "\n\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]";
}

table_rows rows_of(show_topic topic, const admin_facts& facts) {
    switch (topic) {
        case show_topic::help:
        case show_topic::parameter:
        case show_topic::peer_pools:
        case show_topic::dns_zones:
        case show_topic::peers:
            return {};
        case show_topic::version:
            return {{std::string("pgmend " PGMEND_VERSION)}};
        case show_topic::config:
            return config_rows(*facts.settings);
        case show_topic::databases:
            return database_rows(facts);
        case show_topic::pools:
            return pool_rows(facts);
        case show_topic::clients:
            return client_rows(facts, false, false);
        case show_topic::servers:
            return server_rows(facts, false, false);
        case show_topic::sockets:
        case show_topic::active_sockets: {
            const bool only_busy = topic == show_topic::active_sockets;
            table_rows rows = client_rows(facts, true, only_busy);
            std::ranges::move(server_rows(facts, true, only_busy), std::back_inserter(rows));
            return rows;
        }
        case show_topic::users:
            return user_rows(facts);
        case show_topic::stats:
        case show_topic::stats_totals:
        case show_topic::stats_averages:
        case show_topic::totals:
            return stats_rows(topic, facts);
        case show_topic::lists:
            return list_rows(facts);
        case show_topic::mem:
            return mem_rows(facts);
        case show_topic::state:
            return {
                {"active", facts.all_paused ? "no" : "yes"},
                {"paused", facts.all_paused ? "yes" : "no"},
                {"suspended", "no"}};
        case show_topic::dns_hosts:
            return name_rows(facts);
        case show_topic::topology:
            return topology_rows(facts);
        case show_topic::pins:
            return pin_rows(facts);
        case show_topic::limits:
            return limit_rows(facts);
        case show_topic::memory:
            return memory_rows(facts);
        case show_topic::breakers:
            return breaker_rows(facts);
        case show_topic::healings:
            return healing_rows(facts);
        case show_topic::statements:
            return statement_rows(facts);
        case show_topic::coverage:
            return coverage_rows(facts);
        case show_topic::protection:
            return protection_rows(facts);
        case show_topic::health:
            return health_rows(facts);
    }
    return {};
}

}  // namespace pgmend::proxy
