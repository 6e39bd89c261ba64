// The rows of the SHOWs that tell what was healed, what breakers do, and what could be found out of a COMMIT.

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <map>
#include <set>

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

}  // namespace

std::string moment_of(std::int64_t when_ms) {
    const auto when = static_cast<std::time_t>(when_ms / 1000);
    std::tm parts{};
    gmtime_r(&when, &parts);
    char text[40];
    const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    const std::string fraction = std::to_string(1000 + when_ms % 1000);
    return std::string(text, size) + '.' + fraction.substr(1) + " UTC";
}

std::int64_t moment_in_ms(config::time_point when, const admin_facts& facts) {
    return facts.now_ms - milliseconds(facts.now - when);
}

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

namespace {

struct protection_rule {
    std::string_view word;
    std::string_view needs;  ///< functions, a space between
    std::string_view meaning;
};
constexpr std::array<protection_rule, 3> protection_rules{{
    {"commit_evidence", "gen_random_uuid pg_logical_emit_message",
     "the number of a transaction is known before its COMMIT"},
    {"commit_status", "pg_xact_status", "what became of a number is told by its server"},
    {"old_backend", "pg_stat_get_activity pg_terminate_backend",
     "the backend that had the transaction is ended first"},
}};

bool is_among(std::string_view name, std::string_view names) {
    return (' ' + std::string{names} + ' ').find(' ' + std::string{name} + ' ') != std::string::npos;
}

/// Those of `needed` that are `missing`.
std::string lacking(std::string_view needed, std::string_view missing) {
    std::string names;
    while (!needed.empty()) {
        const std::string_view one = needed.substr(0, needed.find(' '));
        needed.remove_prefix(std::min(needed.size(), one.size() + 1));
        if (is_among(one, missing)) names.append(names.empty() ? "" : ", ").append(one);
    }
    return names;
}

std::uint64_t seconds(config::duration time) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(milliseconds(time), 0) / 1000);
}

void add_protection(table_rows& rows, const protection_facts& one) {
    const auto add = [&](std::string_view rule, std::string_view works, const std::string& why,
                         std::string_view meaning) {
        rows.push_back(
            {one.server, one.database, one.user, std::string(rule), std::string(works), words(why),
             std::string(meaning), number(seconds(one.ago))}
        );
    };
    const bool refused = !one.sqlstate.empty();
    add("server_life", refused ? "no" : "yes",
        refused ? one.sqlstate +
                      ": pg_control_system, pg_control_checkpoint or another function may not be called"
                : std::string{},
        "whether the server has recovered since is known");
    for (const protection_rule& rule : protection_rules) {
        const std::string lacks = lacking(rule.needs, one.missing);
        add(rule.word,
            refused         ? "not_known"
            : lacks.empty() ? "yes"
                            : "no",
            lacks.empty() ? std::string{} : "may not be called: " + lacks, rule.meaning);
    }
}

}  // namespace

/// What the workers know of a login is one: the latest that any of them heard.
table_rows protection_rows(const admin_facts& facts) {
    table_rows rows;
    const auto all = [&rows](std::string_view works, std::string why, cell database, cell user) {
        rows.push_back(
            {std::nullopt, std::move(database), std::move(user), "commit_outcome", std::string(works),
             std::move(why), "what became of a COMMIT whose answer is lost is found out", std::nullopt}
        );
    };
    if (facts.settings->guard.commit_outcome() == config::guard_mode::off) {
        all("no", "guard.commit_outcome is off", std::nullopt, std::nullopt);
        return rows;
    }
    std::map<std::array<std::string, 3>, const protection_facts*> latest;
    std::set<std::pair<std::string, std::string>> asked;
    std::set<std::pair<std::string, std::string>> logins;
    for (const worker_facts& worker : facts.workers) {
        for (const protection_facts& each : worker.protections) {
            auto& known = latest[{each.server, each.database, each.user}];
            if (known == nullptr || each.ago < known->ago) known = &each;
            asked.emplace(each.database, each.user);
        }
        for (const pool_facts& pool : worker.pools)
            logins.emplace(pool.database, pool.user);
    }
    for (const auto& [key, each] : latest)
        add_protection(rows, *each);
    for (const auto& login : logins) {
        if (!asked.contains(login))
            all("not_known", "no transaction block has begun yet", login.first, login.second);
    }
    for (const wal_access& each : facts.wal) {
        rows.push_back(
            {each.server, std::nullopt, each.user, "wal_record",
             !each.works   ? "not_known"
             : *each.works ? "yes"
                           : "no",
             words(each.why), "the same is known across crashes, restarts and promotions",
             number(seconds(each.ago))}
        );
    }
    return rows;
}

/// Of all workers, the oldest first.
table_rows healing_rows(const admin_facts& facts) {
    struct entry {
        const healing_event* what;
        std::size_t worker;
    };
    std::vector<entry> all;
    for (std::size_t worker = 0; worker < facts.workers.size(); ++worker) {
        for (const healing_event& each : facts.workers[worker].healings)
            all.push_back({&each, worker});
    }
    std::ranges::stable_sort(all, [](const entry& a, const entry& b) { return a.what->at < b.what->at; });
    table_rows rows;
    for (const auto& [what, worker] : all) {
        const healing_event& event = *what;
        rows.push_back(
            {moment_of(moment_in_ms(event.at, facts)), std::string(label_word(event.kind)),
             words(event.server), words(event.database), words(event.user), words(event.client),
             words(event.outcome), words(event.reason), words(event.cause), words(event.shape),
             number(event.attempt), number(event.count),
             number(static_cast<std::uint64_t>(event.took.count())), number(worker)}
        );
    }
    return rows;
}

}  // namespace pgmend::proxy
