#include "proxy/session/commit_outcome.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/session/old_backend.hpp"

namespace pgmend::proxy {

namespace {

// Numbers, and nothing that depends on the session's settings.
constexpr std::string_view life_columns =
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()),"
    "(extract(epoch FROM pg_catalog.pg_postmaster_start_time())*1000000)::pg_catalog.int8,"
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE "
    "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()),1,8) END,"
    "c.checkpoint_lsn,c.redo_lsn";
constexpr std::string_view from_control = " FROM pg_catalog.pg_control_checkpoint() c";
constexpr std::size_t life_size = 5;
constexpr std::string_view not_assigned = "not assigned";

bool copy_life(const outcome_row& row, std::size_t from, pool::server_life& life) {
    for (std::size_t i = from; i < from + life_size; ++i) {
        if (!row[i]) return false;
    }
    life.system = *row[from];
    life.start = *row[from + 1];
    life.timeline = *row[from + 2];
    life.checkpoint = *row[from + 3];
    life.redo = *row[from + 4];
    return true;
}

}  // namespace

commit_outcome outcome_of(outcome_reason why) noexcept {
    switch (why) {
        case outcome_reason::status_committed:
            return commit_outcome::committed;
        case outcome_reason::status_aborted:
        case outcome_reason::not_assigned:
        case outcome_reason::given_again:
        case outcome_reason::nothing_written:
            return commit_outcome::not_committed;
        case outcome_reason::no_evidence:
        case outcome_reason::own_session:
        case outcome_reason::other_server:
        case outcome_reason::foreign_server:
        case outcome_reason::recovery_between:
        case outcome_reason::still_running:
        case outcome_reason::forgotten:
        case outcome_reason::not_answered:
            break;
    }
    return commit_outcome::unknown;
}

outcome_reason decide_outcome(const outcome_facts& facts) {
    const pool::server_life& then = facts.then;
    const pool::server_life& now = facts.now;
    if (then.system != now.system) return outcome_reason::foreign_server;
    if (!facts.same_place || then.timeline != now.timeline) return outcome_reason::other_server;
    const bool started = then.start != now.start;
    // A server that recovers without a new start closes every session and writes a checkpoint.
    const bool same_life = !started && (facts.older_session || then.checkpoint == now.checkpoint);
    switch (facts.status) {
        case xact_status::committed:
            // After a recovery the number may have been given to somebody else.
            return same_life ? outcome_reason::status_committed : outcome_reason::recovery_between;
        case xact_status::aborted:
            // Whoever has the number now: where ours had been carried out, it would say so.
            return outcome_reason::status_aborted;
        case xact_status::not_assigned:
            // In one life a transaction that has ended is among those that were given: this one has not. Only
            // a new start is certain to have ended the backend that had it.
            if (started) return outcome_reason::not_assigned;
            return same_life ? outcome_reason::still_running : outcome_reason::recovery_between;
        case xact_status::in_progress:
            return started ? outcome_reason::given_again : outcome_reason::still_running;
        case xact_status::forgotten:
            break;
    }
    return outcome_reason::forgotten;
}

std::string_view life_query() noexcept {
    // In the client's role, which is to ask for the number, and with nothing else of its session.
    static const std::string text =
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout=0;"
        "SET LOCAL search_path=pg_catalog;SELECT " +
        std::string{life_columns} +
        ",pg_catalog.pg_current_xact_id_if_assigned() IS NULL AND (SELECT "
        "pg_catalog.bool_and(pg_catalog.has_function_privilege(oid,'EXECUTE')) FROM pg_catalog.pg_proc WHERE "
        "proname IN ('pg_logical_emit_message','pg_xact_status'))" +
        std::string{from_control};
    return text;
}

std::string outcome_query(std::string_view xid) {
    const std::string number = '\'' + std::string{xid} + "'::pg_catalog.xid8";
    return std::string{as_ourselves} + "SELECT CASE WHEN " + number +
           ">=pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN '" +
           std::string{not_assigned} + "' ELSE pg_catalog.pg_xact_status(" + number + ") END," +
           std::string{life_columns} + ",pg_catalog.current_setting('synchronous_standby_names')<>''" +
           std::string{from_control};
}

std::string_view evidence_query() noexcept {
    // A row that was written to a table without WAL leaves no record of the number; this one does.
    return "SELECT pg_catalog.pg_current_xact_id_if_assigned(),CASE WHEN "
           "pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN "
           "pg_catalog.pg_logical_emit_message(true,'pgmend',''::pg_catalog.text) END";
}

bool take_life(const outcome_row& row, pool::server_life& life) {
    return row.size() == life_size + 1 && row[life_size] == "t" && copy_life(row, 0, life);
}

bool take_outcome(const outcome_row& row, outcome_facts& facts, bool& waits_for_standbys) {
    if (row.size() != life_size + 2 || !copy_life(row, 1, facts.now)) return false;
    static constexpr std::array<std::pair<std::string_view, xact_status>, 4> words{{
        {"committed", xact_status::committed},
        {"aborted", xact_status::aborted},
        {"in progress", xact_status::in_progress},
        {not_assigned, xact_status::not_assigned},
    }};
    facts.status = xact_status::forgotten;
    for (const auto& [word, status] : words) {
        if (row[0] == word) facts.status = status;
    }
    waits_for_standbys = row[life_size + 1] != "f";
    return true;
}

}  // namespace pgmend::proxy
