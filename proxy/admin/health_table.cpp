// The rows of SHOW HEALTH: what is asked at night, in one table. Which part, how it is and since when, who
// notices, what pgmend did, what to do.

#include <algorithm>
#include <set>

#include "proxy/admin/admin_table.hpp"
#include "proxy/admin/health_report.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto recent = std::chrono::minutes{15};  ///< what is told of as being over
constexpr auto quiet = std::chrono::minutes{1};    ///< between one trouble and the next
constexpr std::size_t acts_looked_at = 1000;

cell words(std::string text) {
    if (text.empty()) return std::nullopt;
    return text;
}

void append(std::string& all, const std::string& part) {
    if (!part.empty()) all.append(all.empty() ? "" : "; ").append(part);
}

std::string several(std::uint64_t count, std::string_view one, std::string_view more) {
    return std::to_string(count) + ' ' + std::string(count == 1 ? one : more);
}

bool is_trouble(const healing_event& act) {
    if (act.kind == healing_kind::alert || act.kind == healing_kind::settings ||
        act.kind == healing_kind::listed)
        return false;
    // Finding the first primary after the start is none.
    return act.kind != healing_kind::primary || !act.cause.starts_with("none was known");
}

/// The acts from the first one after a minute of quiet; the oldest first.
std::vector<healing_event> latest_trouble(const admin_facts& facts) {
    std::vector<healing_event> acts = latest_acts(facts, acts_looked_at);
    std::erase_if(acts, [](const healing_event& act) { return !is_trouble(act); });
    auto first = acts.end();
    while (first != acts.begin()) {
        const auto before = std::prev(first);
        const bool over =
            first == acts.end() ? facts.now - before->at > recent : first->at - before->at > quiet;
        if (over) break;
        first = before;
    }
    acts.erase(acts.begin(), first);
    return acts;
}

/// Whether the client was told an error.
bool was_told(const healing_event& act) {
    if (act.kind == healing_kind::hold) return act.cause.ends_with("gave up");
    return act.kind == healing_kind::server_lost && act.outcome != "sent_again" && act.outcome != "replayed";
}

std::string deeds_of(const std::vector<healing_event>& acts) {
    std::uint64_t released = 0;
    std::uint64_t again = 0;
    std::uint64_t replayed = 0;
    std::uint64_t plans = 0;
    std::chrono::milliseconds longest{};
    std::string elected;
    std::set<std::string> fenced;
    std::set<std::string> spared;
    for (const healing_event& act : acts) {
        if (act.kind == healing_kind::hold && act.outcome == "released") {
            released += act.count;
            longest = std::max(longest, act.took);
        }
        if (act.kind == healing_kind::server_lost && act.outcome == "sent_again") ++again;
        if (act.kind == healing_kind::replay && act.outcome == "continued") ++replayed;
        if (act.kind == healing_kind::plan_renewed && act.outcome == "renewed") ++plans;
        if (act.kind == healing_kind::primary && act.outcome == "elected") elected = act.server;
        if (act.kind == healing_kind::server && act.outcome == "fenced") fenced.insert(act.server);
        if (act.kind == healing_kind::breaker && act.outcome == "open") spared.insert(act.server);
    }
    std::string all;
    if (released != 0)
        append(
            all, "held " + several(released, "request", "requests") + " for up to " +
                     std::to_string(longest.count()) + " ms"
        );
    if (again != 0) append(all, "sent " + several(again, "statement", "statements") + " again");
    if (replayed != 0) append(all, "ran " + several(replayed, "transaction", "transactions") + " again");
    if (plans != 0) append(all, "prepared " + several(plans, "statement", "statements") + " anew");
    if (!elected.empty()) append(all, "chose " + elected + " as the primary");
    for (const std::string& each : fenced)
        append(all, "fenced " + each);
    for (const std::string& each : spared)
        append(all, "spared " + each + " (SHOW BREAKERS)");
    return all;
}

}  // namespace

table_rows health_rows(const admin_facts& facts) {
    table_rows rows;
    if (facts.checks == nullptr || !facts.topology) return rows;
    const health_view view = view_of(facts);
    const health_report report = assess_health(view);
    const std::vector<healing_event> trouble = latest_trouble(facts);
    const auto when = [&facts](const std::optional<config::time_point>& since) {
        return since ? cell(moment_of(moment_in_ms(*since, facts))) : cell();
    };
    std::string held;
    std::string suffers;
    std::string reason;
    std::string advice;
    std::optional<config::time_point> since;
    const component_health* worst = nullptr;
    for (const component_health& one : report.components) {
        append(suffers, one.suffers);
        if (one.state == health_state::healthy) continue;
        const bool vital = one.vital && one.state == health_state::critical;
        if (worst == nullptr || (vital && !(worst->vital && worst->state == health_state::critical)))
            worst = &one;
        if (!one.advice.empty()) advice.append(advice.empty() ? "" : " ").append(one.advice);
    }
    if (worst != nullptr) {
        reason = worst->name + ": " + worst->reason;
        since = worst->since;
    }
    if (facts.topology->primary() == nullptr && suffers.find(" wait") != std::string::npos)
        held = "holds what clients ask for until a server can take it";
    if (!trouble.empty()) since = trouble.front().at;
    const auto told = static_cast<std::uint64_t>(std::ranges::count_if(trouble, was_told));
    if (told != 0) append(suffers, several(told, "client was", "clients were") + " told an error");
    std::string done = held;
    append(done, deeds_of(trouble));
    if (reason.empty()) reason = trouble.empty() ? "all is well" : "all is well again";
    rows.push_back(
        {"all", std::string(word_of(report.state)), when(since), reason,
         suffers.empty() ? "nobody waits, and nobody was told an error" : suffers, words(done),
         advice.empty() ? "nothing" : advice}
    );
    for (const component_health& one : report.components) {
        std::string spared;
        for (const worker_facts& worker : facts.workers) {
            for (const breaker_facts& each : worker.breakers) {
                const bool here =
                    one.name == "server:" + server_name(facts.topology, *facts.settings, each.place);
                if (here && each.state != config::metrics::breaker_state::closed && spared.empty())
                    spared = "spares it: a breaker is " + std::string(config::label_word(each.state)) + ", " +
                             std::string(config::label_word(each.counted)) + ", " + std::string(each.reason);
            }
        }
        rows.push_back(
            {one.name, std::string(word_of(one.state)), when(one.since),
             words(one.state == health_state::healthy ? one.stands : one.reason), words(one.suffers),
             words(spared), words(one.advice)}
        );
    }
    return rows;
}

}  // namespace pgmend::proxy
