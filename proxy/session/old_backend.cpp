#include "proxy/session/old_backend.hpp"

#include <chrono>
#include <cstdlib>

namespace pgmend::proxy {

namespace {

/// From the start of a backend until we are logged in: what began earlier is somebody else's, behind an
/// address that has moved.
constexpr std::chrono::milliseconds longest_login = std::chrono::minutes{5};

}  // namespace

std::string eviction_query(
    const old_backend& old, config::time_point now, std::string_view version, bool patient
) {
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(now - old.logged_in_at);
    const bool waits = std::atoi(std::string{version}.c_str()) >= 14;  // the server can wait for the end
    std::string query{as_ourselves};
    // One that waits for a standby would commit by that; of one that we may not look at nothing is known.
    query += "SELECT CASE WHEN backend_start IS NULL OR wait_event='SyncRep' THEN ";
    query += patient ? "pg_catalog.pg_sleep(0.1) IS NULL" : "false";
    query += " ELSE pg_catalog.pg_terminate_backend(pid";
    // Where it has only been told to end, it is asked again, until it is not there any more.
    query += waits ? ",1000)" : ") AND pg_catalog.pg_sleep(0.1) IS NULL";
    query +=
        " END FROM pg_catalog.pg_stat_get_activity(" + std::to_string(old.pid) +
        ") WHERE (backend_start IS NULL OR backend_start BETWEEN pg_catalog.clock_timestamp()-interval '" +
        std::to_string((age + longest_login).count()) + " milliseconds' AND " +
        "pg_catalog.clock_timestamp()-interval '" + std::to_string(age.count()) +
        " milliseconds') AND pid<>pg_catalog.pg_backend_pid()";
    return query;
}

}  // namespace pgmend::proxy
