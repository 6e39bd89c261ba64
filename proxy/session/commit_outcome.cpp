#include "proxy/session/commit_outcome.hpp"

#include <algorithm>
#include <array>
#include <charconv>
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

/// Whether what was written up to there is certain not to have survived. Every recovery in place ends with a
/// checkpoint, and no later one lies before it: so the last one is no earlier than the end of any of them.
bool ends_before(const pool::server_life& now, std::string_view lsn) {
    const auto written = health::read_lsn(lsn);
    const auto checkpoint = health::read_lsn(now.checkpoint);
    return written && checkpoint && *checkpoint <= *written;
}

}  // namespace

commit_outcome outcome_of(outcome_reason why) noexcept {
    switch (why) {
        case outcome_reason::status_committed:
        case outcome_reason::wal_survived:
            return commit_outcome::committed;
        case outcome_reason::status_aborted:
        case outcome_reason::not_assigned:
        case outcome_reason::given_again:
        case outcome_reason::wal_lost:
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
    // What is on an older timeline than the one that is asked is history, whatever is still at work there.
    const bool promoted = then.timeline.size() == now.timeline.size() && then.timeline < now.timeline;
    if (!promoted && (!facts.same_place || then.timeline != now.timeline))
        return outcome_reason::other_server;
    const bool started = !promoted && then.start != now.start;
    const bool ended = promoted || started;
    // A server that recovers without a new start closes every session and writes a checkpoint.
    const bool same_life = !ended && (facts.older_session || then.checkpoint == now.checkpoint);
    switch (facts.status) {
        case xact_status::committed:
            if (same_life) return outcome_reason::status_committed;
            // After a recovery the number may have been given to somebody else.
            if (started && ends_before(now, facts.lsn)) return outcome_reason::wal_lost;
            if (facts.wal == health::wal_finding::there) return outcome_reason::wal_survived;
            return facts.wal == health::wal_finding::gone ? outcome_reason::wal_lost
                                                          : outcome_reason::recovery_between;
        case xact_status::aborted:
            // Whoever has the number now: where ours had been carried out, it would say so.
            return outcome_reason::status_aborted;
        case xact_status::not_assigned:
            // In one life a transaction that has ended is among those that were given: this one has not. Only
            // a new start, or another timeline, is certain to have ended what the backend that had it can do.
            if (ended) return outcome_reason::not_assigned;
            return same_life ? outcome_reason::still_running : outcome_reason::recovery_between;
        case xact_status::in_progress:
            return ended ? outcome_reason::given_again : outcome_reason::still_running;
        case xact_status::forgotten:
            break;
    }
    return outcome_reason::forgotten;
}

health::wal_question wal_question_of(const outcome_facts& facts, std::string_view token) {
    health::wal_question asked;
    asked.system = facts.now.system;
    asked.token = token;
    const auto timeline = [](std::string_view digits, std::uint32_t& into) {
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), into, 16);
        return read.ec == std::errc{} && read.ptr == digits.data() + digits.size();
    };
    const bool known =
        timeline(facts.then.timeline, asked.timeline) && timeline(facts.now.timeline, asked.present);
    if (known && !token.empty()) asked.end = health::read_lsn(facts.lsn).value_or(0);
    return asked;
}

std::string_view life_query() noexcept {
    // In the client's role, which is to ask for the number, and with nothing else of its session.
    static const std::string text =
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout=0;"
        "SET LOCAL search_path=pg_catalog;SELECT " +
        std::string{life_columns} +
        ",CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN coalesce((SELECT "
        "pg_catalog.string_agg(proname,' ' ORDER BY proname) FROM pg_catalog.pg_proc WHERE proname IN "
        "('pg_logical_emit_message','gen_random_uuid','pg_xact_status','pg_terminate_backend',"
        "'pg_stat_get_activity') AND pronamespace='pg_catalog'::pg_catalog.regnamespace AND NOT "
        "pg_catalog.has_function_privilege(oid,'EXECUTE')),'') END" +
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
    // What it says is like no other record, so that it is known again after a recovery.
    return "SELECT e.x,CASE WHEN e.x IS NOT NULL THEN pg_catalog.pg_logical_emit_message(true,'pgmend',e.t) "
           "END,CASE WHEN e.x IS NOT NULL THEN e.t END FROM (SELECT "
           "pg_catalog.pg_current_xact_id_if_assigned() AS x,pg_catalog.gen_random_uuid()::pg_catalog.text "
           "AS t OFFSET 0) e";
}

bool is_evidence(std::string_view function) noexcept {
    return function == "pg_logical_emit_message" || function == "gen_random_uuid" ||
           function == "pg_xact_status";
}

bool take_life(const outcome_row& row, pool::server_life& life, std::string& missing) {
    // There is a number already: it is not asked at the beginning.
    if (row.size() != life_size + 1 || !row[life_size] || !copy_life(row, 0, life)) return false;
    missing = *row[life_size];
    for (std::string_view rest = missing; !rest.empty();) {
        const std::string_view function = rest.substr(0, rest.find(' '));
        if (is_evidence(function)) return false;
        rest.remove_prefix(std::min(rest.size(), function.size() + 1));
    }
    return true;
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
