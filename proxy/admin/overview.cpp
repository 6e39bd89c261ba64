#include "proxy/admin/overview.hpp"

#include "proxy/admin/table_json.hpp"

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

constexpr std::size_t most_rows = 200;

json::array table(show_topic topic, const admin_facts& facts) {
    table_rows rows = rows_of(topic, facts);
    if (rows.size() > most_rows) rows.resize(most_rows);
    return json_rows(columns_of(topic), rows);
}

}  // namespace

json::object json_overview(const overview_view& view) {
    const admin_facts& facts = view.health.facts;
    const health_wish wish{true, false, 0};
    json::object report = json_report(assess_health(view.health), view.health, wish, {});
    report.erase("actions");
    return {
        {"you", {{"user", view.who.user}, {"role", view.who.role == admin_role::admin ? "admin" : "stats"}}},
        {"process",
         {{"id", view.process},
          {"version", PGMEND_VERSION},
          {"now_ms", view.health.now_ms},
          {"started_ms", view.started_ms},
          {"port", facts.port},
          {"workers", facts.workers.size()},
          {"paused", facts.all_paused},
          {"draining", view.health.draining}}},
        {"health", std::move(report)},
        {"topology", table(show_topic::topology, facts)},
        {"breakers", table(show_topic::breakers, facts)},
        {"databases", table(show_topic::databases, facts)},
        {"pools", table(show_topic::pools, facts)}};
}

}  // namespace pgmend::proxy
