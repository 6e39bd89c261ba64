// The rows of SHOW STATEMENTS and SHOW COVERAGE: what statements cost, and what would be lost with a server.

#include <algorithm>
#include <array>
#include <set>

#include "proxy/admin/admin_table.hpp"

namespace pgmend::proxy {

namespace {

using config::label_word;
using config::metrics::replay_hindrance;
using pool::traffic_stats;

constexpr std::size_t most_statements = 1000;  // rows: a console is no place for more
constexpr std::size_t most_hindering = 100;

cell number(std::uint64_t value) { return std::to_string(value); }

/// The shapes of all workers: each has numbered them for itself, the words are the same.
std::vector<statement_tally> statements_of(const admin_facts& facts) {
    std::map<std::string_view, statement_tally> by_text;
    for (const worker_facts& worker : facts.workers) {
        for (const statement_tally& each : worker.statements)
            by_text[each.text].absorb(each);
    }
    std::vector<statement_tally> all;
    for (auto& [text, tally] : by_text) {
        tally.text = text;
        all.push_back(std::move(tally));
    }
    return all;
}

std::string_view meaning_of(replay_hindrance why) {
    switch (why) {
        case replay_hindrance::switched_off:
            return "replay.mode, or `replay` in pool.rules, is off";
        case replay_hindrance::not_recorded:
            return "longer than replay.max_bytes";
        case replay_hindrance::too_many:
            return "more statements than replay.max_statements";
        case replay_hindrance::too_old:
            return "longer under way than replay.max_age";
        case replay_hindrance::pinned:
            return "its client keeps a server for older state: see SHOW PINS";
        case replay_hindrance::commit_sent:
            return "what becomes of its COMMIT cannot be found out: see pgmend_commits_unguarded_total";
        case replay_hindrance::wrote_outside:
            return "a write outside a block commits by itself: use BEGIN";
        case replay_hindrance::outside_effects:
            return "reaches what no ROLLBACK undoes";
        case replay_hindrance::advisory_lock:
            return "advisory locks: another may have held them in between";
        case replay_hindrance::unknown_function:
            return "reaches a function that may do anything";
        case replay_hindrance::procedure:
            return "CALL or DO may do anything";
        case replay_hindrance::two_phase:
            return "PREPARE TRANSACTION and what ends it";
        case replay_hindrance::sql_statements:
            return "PREPARE, EXECUTE, DEALLOCATE or DISCARD by SQL";
        case replay_hindrance::listening:
            return "LISTEN or UNLISTEN";
        case replay_hindrance::not_in_block:
            return "cannot run in a transaction block";
        case replay_hindrance::unknown_statement:
            return "not understood";
        case replay_hindrance::function_call:
            return "the protocol's FunctionCall";
        case replay_hindrance::entered_failed:
            return "its block was lost before";
        case replay_hindrance::pipelined:
            return "more was on its way before its answer was shown";
    }
    return {};
}

cell share(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0) return std::nullopt;
    // Rounded down: all is said of all alone.
    const std::uint64_t hundredths = part * 10'000 / whole;
    const std::string rest = std::to_string(100 + hundredths % 100).substr(1);
    return std::to_string(hundredths / 100) + '.' + rest;
}

/// What ended in one time, on one database.
struct ended {
    std::uint64_t all = 0;
    std::array<std::uint64_t, config::label_count<replay_hindrance>> uncovered{};

    void add(const traffic_stats& traffic) {
        all += traffic.transactions;
        for (std::size_t i = 0; i < uncovered.size(); ++i)
            uncovered[i] += traffic.uncovered[i];
    }
    /// What was counted before the time began; of pools that are no more it is none of this time's.
    void subtract(const traffic_stats& traffic) {
        all -= std::min(all, traffic.transactions);
        for (std::size_t i = 0; i < uncovered.size(); ++i)
            uncovered[i] -= std::min(uncovered[i], traffic.uncovered[i]);
    }
    std::uint64_t covered() const {
        std::uint64_t lost = 0;
        for (const std::uint64_t each : uncovered)
            lost += each;
        return all - std::min(all, lost);
    }
};

/// One database: what was covered, and the rest by its reasons.
class database_coverage {
public:
    database_coverage(const admin_facts& facts, const std::string& name) : name_(name) {
        for (const worker_facts& worker : facts.workers) {
            if (const auto it = worker.traffic.find(name); it != worker.traffic.end()) total_.add(it->second);
            if (const auto it = worker.coverage.find(name); it != worker.coverage.end()) {
                live_ += it->second.all;
                for (const auto& [why, count] : it->second.lost)
                    lost_[why] += count;
            }
        }
        const traffic_period& period = facts.period;
        if (const auto it = period.newer.find(name); it != period.newer.end()) recent_.add(it->second);
        if (const auto it = period.older.find(name); it != period.older.end()) recent_.subtract(it->second);
    }

    void add_rows(table_rows& rows) const {
        std::uint64_t lost = 0;
        for (const auto& [why, count] : lost_)
            lost += count;
        rows.push_back(row("covered", live_ - lost, recent_.covered(), total_.covered(), {}));
        for (std::size_t i = 0; i < total_.uncovered.size(); ++i) {
            const auto why = static_cast<replay_hindrance>(i);
            const auto now = lost_.find(label_word(why));
            const std::uint64_t live = now == lost_.end() ? 0 : now->second;
            if (live == 0 && total_.uncovered[i] == 0) continue;
            rows.push_back(
                row(label_word(why), live, recent_.uncovered[i], total_.uncovered[i], meaning_of(why))
            );
        }
        // What is at risk at this very moment only, such as a write whose answer is awaited.
        for (const auto& [why, count] : lost_) {
            const auto& known = config::metrics::replay_hindrance_words;
            if (std::ranges::find(known, why) == known.end())
                rows.push_back(row(why, count, 0, 0, "at this moment of its request"));
        }
    }

private:
    table_row row(
        std::string_view outcome, std::uint64_t live, std::uint64_t recent, std::uint64_t total,
        std::string_view meaning
    ) const {
        return {
            name_,
            std::string(outcome),
            number(live),
            number(recent),
            number(total),
            share(recent, recent_.all),
            share(total, total_.all),
            std::nullopt,
            meaning.empty() ? cell() : cell(meaning)};
    }

    const std::string& name_;
    ended total_;
    ended recent_;
    std::uint64_t live_ = 0;
    std::map<std::string_view, std::uint64_t> lost_;
};

}  // namespace

/// The ones that took most time first.
table_rows statement_rows(const admin_facts& facts) {
    std::vector<statement_tally> all = statements_of(facts);
    std::ranges::stable_sort(all, [](const auto& a, const auto& b) { return a.time > b.time; });
    if (all.size() > most_statements) all.resize(most_statements);
    table_rows rows;
    for (const statement_tally& each : all) {
        const auto total = static_cast<std::uint64_t>(each.time.count());
        const std::uint64_t timed = each.latency.total();
        rows.push_back(
            {number(each.calls), number(each.errors), number(each.retries), number(each.pins),
             number(total / 1'000'000), number(timed), number(timed == 0 ? 0 : total / timed / 1000),
             number(each.latency.percentile_us(50)), number(each.latency.percentile_us(95)),
             number(each.latency.percentile_us(99)), each.text}
        );
    }
    return rows;
}

/// By database; then, of all databases, the statements that were the first in their transactions to keep them
/// from being run again, the most frequent first.
table_rows coverage_rows(const admin_facts& facts) {
    std::set<std::string> databases;
    for (const worker_facts& worker : facts.workers) {
        for (const auto& [name, traffic] : worker.traffic)
            databases.insert(name);
    }
    table_rows rows;
    for (const std::string& name : databases)
        database_coverage{facts, name}.add_rows(rows);

    struct hindering {
        std::uint64_t times;
        replay_hindrance why;
        std::string text;
    };
    std::vector<hindering> found;
    for (const statement_tally& each : statements_of(facts)) {
        for (std::size_t i = 0; i < each.hinders.size(); ++i) {
            if (each.hinders[i] != 0)
                found.push_back({each.hinders[i], static_cast<replay_hindrance>(i), each.text});
        }
    }
    std::ranges::stable_sort(found, [](const auto& a, const auto& b) { return a.times > b.times; });
    if (found.size() > most_hindering) found.resize(most_hindering);
    for (const hindering& each : found) {
        rows.push_back(
            {std::nullopt, std::string(label_word(each.why)), std::nullopt, std::nullopt, number(each.times),
             std::nullopt, std::nullopt, each.text, std::string(meaning_of(each.why))}
        );
    }
    return rows;
}

}  // namespace pgmend::proxy
