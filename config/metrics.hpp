#pragma once
// The declaration of every metric: one member each, and beside it the enums whose words are its labels.
// deploy/METRICS.md and tests/unit/config/metrics.golden are made from it. Metrics, their labels and the
// enums' words are read by dashboards and alerts: renaming one is a change an operator sees.

#include <string>
#include <utility>

#include "config/metric.hpp"
#include "config/modes.hpp"
#include "config/process_stats.hpp"
#include "config/server_labels.hpp"
#include "config/server_source.hpp"

namespace pgmend::config::metrics {

/// Why a client was turned away before it was served.
enum class refusal : std::uint8_t {
    client_limit,  ///< as many clients as allowed are connected
    wait_timeout,  ///< no server connection became free in time
    draining,      ///< pgmend shuts down
    protocol,      ///< what came was not a startup packet
    tls_required,  ///< plain text where TLS is asked for
    descriptors,   ///< the process has no file descriptor left
    login_limit,   ///< pushed out by others on their way in
    rule,          ///< no rule lets it in, or one rejects it
    disabled,      ///< an administrator has disabled the database
    memory,        ///< the process uses nearly all the memory it may
    limit,         ///< as many clients of its user, database, address or application as allowed
    waiters,       ///< as many clients of its pool wait as may
    overload,      ///< its pool has been overloaded for some time, and it has waited its share
};
inline constexpr std::array<words, 13> refusal_words{
    "client_limit", "wait_timeout", "draining", "protocol", "tls_required", "descriptors", "login_limit",
    "rule",         "disabled",     "memory",   "limit",    "waiters",      "overload"};
constexpr const auto& label_words(refusal) { return refusal_words; }
static_assert(label_word(refusal::overload) == "overload");

/// How a client's login ended.
enum class login_result : std::uint8_t {
    ok,
    wrong_password,  ///< also an unknown user: a client must not learn the difference
    protocol,        ///< an answer that is not one
    timeout,
    vanished,     ///< the client closed
    unavailable,  ///< no server could tell the parameters a client is greeted with
};
inline constexpr std::array<words, 6> login_result_words{"ok",      "wrong_password", "protocol",
                                                         "timeout", "vanished",       "unavailable"};
constexpr const auto& label_words(login_result) { return login_result_words; }
static_assert(label_word(login_result::unavailable) == "unavailable");

/// What became of a Parse.
enum class parse_route : std::uint8_t {
    forwarded,  ///< the server had not seen the statement
    injected,   ///< sent by pgmend, as this server lacked what the client had prepared elsewhere
    answered,   ///< answered by pgmend, as the server has it already
};
inline constexpr std::array<words, 3> parse_route_words{"forwarded", "injected", "answered"};
constexpr const auto& label_words(parse_route) { return parse_route_words; }
static_assert(label_word(parse_route::answered) == "answered");

/// A client used a prepared statement that its server had lost, or whose result has changed: what was done.
enum class plan_outcome : std::uint8_t {
    renewed,         ///< parsed anew, and what the client had sent was sent again
    forwarded,       ///< the client got the server's error
    result_changed,  ///< the client was told by us: it had been told of another result
};
inline constexpr std::array<words, 3> plan_outcome_words{"renewed", "forwarded", "result_changed"};
constexpr const auto& label_words(plan_outcome) { return plan_outcome_words; }
static_assert(label_word(plan_outcome::result_changed) == "result_changed");

/// A server took no writes (25006) for a client: what was done.
enum class write_refusal : std::uint8_t {
    sent_again,    ///< the server takes none now, by its own word: the request waits, and is sent again
    own_wish,      ///< forwarded: the client's own READ ONLY, or its role's or database's
    no_primary,    ///< forwarded: a standby alone, where no primary has ever been, or none is wanted
    unrepeatable,  ///< forwarded: what of the request has been answered cannot be run again
    timed_out,     ///< forwarded: it has waited for hold.timeout
    crowded,       ///< forwarded: hold.max_waiters wait already
};
inline constexpr std::array<words, 6> write_refusal_words{"sent_again",   "own_wish",  "no_primary",
                                                          "unrepeatable", "timed_out", "crowded"};
constexpr const auto& label_words(write_refusal) { return write_refusal_words; }
static_assert(label_word(write_refusal::crowded) == "crowded");

/// Why a client keeps its server connection beyond a transaction.
enum class pin_reason : std::uint8_t {
    session_mode,
    replication,
    listen,
    temporary_table,
    advisory_lock,
    cursor,       ///< WITH HOLD
    sql_prepare,  ///< prepared by SQL text
    parameter,    ///< a setting that cannot be tracked
    role,         ///< SET SESSION AUTHORIZATION, or a role that was set unseen
    sequence,     ///< reads currval or lastval
    unknown,      ///< a statement that is not understood
};
inline constexpr std::array<words, 11> pin_reason_words{
    "session_mode", "replication", "listen", "temporary_table", "advisory_lock", "cursor",
    "sql_prepare",  "parameter",   "role",   "sequence",        "unknown"};
constexpr const auto& label_words(pin_reason) { return pin_reason_words; }
static_assert(label_word(pin_reason::unknown) == "unknown");

/// What became of a client whose server was lost, and why.
enum class recovery_reason : std::uint8_t {
    not_executed,       ///< sent again: the server said that it did nothing of it
    read_only,          ///< sent again: it writes nothing and nothing of its answer was shown
    nothing_sent,       ///< nothing of the client's had reached the server
    retries_exhausted,  ///< an error: it was sent again often enough, or the budget is spent
    already_shown,      ///< an error: a part of the answer was shown
    not_recorded,       ///< an error: the request is too long to be sent again
    block_lost,         ///< an error: its transaction is gone
    write_in_flight,    ///< 08007: a write was under way
    commit_in_flight,   ///< 08007: a commit was under way
    pinned,             ///< disconnected: the session's state was lost
    own_wish,           ///< disconnected: its own statement may have ended the server's session
    inside_message,     ///< disconnected: in the middle of a message
    replayable,         ///< run again: every answer that was shown must come out the same
    commit_asked,       ///< a commit was under way: the server is asked what became of it
};
inline constexpr std::array<words, 14> recovery_reason_words{
    "not_executed", "read_only",      "nothing_sent",    "retries_exhausted", "already_shown",
    "not_recorded", "block_lost",     "write_in_flight", "commit_in_flight",  "pinned",
    "own_wish",     "inside_message", "replayable",      "commit_asked"};
constexpr const auto& label_words(recovery_reason) { return recovery_reason_words; }
static_assert(label_word(recovery_reason::commit_asked) == "commit_asked");

/// What became of a transaction that was run again.
enum class replay_outcome : std::uint8_t {
    continued,  ///< all that was shown came out the same, and its client noticed nothing
    different,  ///< an answer came out otherwise: 40001
    given_up,   ///< no server could be had in time, or it was cancelled
};
inline constexpr std::array<words, 3> replay_outcome_words{"continued", "different", "given_up"};
constexpr const auto& label_words(replay_outcome) { return replay_outcome_words; }
static_assert(label_word(replay_outcome::given_up) == "given_up");

/// How it was known what became of a commit whose answer was lost, or why it was not.
enum class outcome_reason : std::uint8_t {
    status_committed,  ///< the server says so, and has not recovered since the number was given
    wal_survived,      ///< the server says so, and its WAL still has the transaction's own record
    // It was not carried out.
    status_aborted,    ///< the server says so
    not_assigned,      ///< a server that has recovered has not given the number to anybody yet
    given_again,       ///< it has given it to somebody who still works under it
    wal_lost,          ///< recovery has ended before the transaction's own record
    nothing_written,   ///< it had no number: nothing was there to be committed
    no_evidence,       ///< it is not known: the number had not come when the connection broke
    own_session,       ///< the session has state that was lost with the server
    other_server,      ///< another server, or another timeline, is the primary now
    foreign_server,    ///< of another system identifier
    recovery_between,  ///< it may have recovered since, and the number may be somebody else's
    still_running,     ///< the old backend has not ended: it may commit yet
    forgotten,         ///< the server does not know any more
    not_answered,      ///< no server could be asked in time
};
inline constexpr std::array<words, 15> outcome_reason_words{
    "status_committed", "wal_survived",     "status_aborted", "not_assigned", "given_again",
    "wal_lost",         "nothing_written",  "no_evidence",    "own_session",  "other_server",
    "foreign_server",   "recovery_between", "still_running",  "forgotten",    "not_answered"};
constexpr const auto& label_words(outcome_reason) { return outcome_reason_words; }
static_assert(label_word(outcome_reason::not_answered) == "not_answered");

/// Why it could not have been found out what became of a commit, had its answer been lost.
enum class evidence_gap : std::uint8_t {
    session_state,  ///< the transaction has changed its session, or may have: that is lost with the server
    old_server,     ///< before PostgreSQL 13 a server cannot be asked
    refused,        ///< the server has refused to tell
    life_unknown,   ///< nor what shows that it has not recovered since: privileges are missing
    not_alone,      ///< sent together with what it commits, with another one, or AND CHAIN
    no_number,      ///< the transaction had none, and may get one with the commit (NOTIFY)
};
inline constexpr std::array<words, 6> evidence_gap_words{"session_state", "old_server", "refused",
                                                         "life_unknown",  "not_alone",  "no_number"};
constexpr const auto& label_words(evidence_gap) { return evidence_gap_words; }
static_assert(label_word(evidence_gap::no_number) == "no_number");

/// Why what a client was in the middle of could not be run again. The hazards hold from their statement on,
/// for the rest of the request.
enum class replay_hindrance : std::uint8_t {
    switched_off,       ///< by replay.mode, or a rule
    not_recorded,       ///< longer than replay.max_bytes
    too_many,           ///< statements: replay.max_statements
    too_old,            ///< replay.max_age
    pinned,             ///< the session has older state that cannot be moved
    commit_sent,        ///< a commit, which may have taken effect
    wrote_outside,      ///< a write outside the block commits by itself
    outside_effects,    ///< reaches what no ROLLBACK undoes
    advisory_lock,      ///< another may have held it in between
    unknown_function,   ///< may hide any of these
    procedure,          ///< CALL or DO: may hide any of these
    two_phase,          ///< PREPARE TRANSACTION and its ends
    sql_statements,     ///< PREPARE, EXECUTE, DEALLOCATE, DISCARD
    listening,          ///< LISTEN, UNLISTEN
    not_in_block,       ///< cannot run in a block
    unknown_statement,  ///< not understood
    function_call,      ///< the protocol's FunctionCall
    entered_failed,     ///< the block was lost before
    pipelined,          ///< an answer was shown between two requests, with the next already under way
};
inline constexpr std::array<words, 19> replay_hindrance_words{
    "switched_off",      "not_recorded",  "too_many",        "too_old",       "pinned",
    "commit_sent",       "wrote_outside", "outside_effects", "advisory_lock", "unknown_function",
    "procedure",         "two_phase",     "sql_statements",  "listening",     "not_in_block",
    "unknown_statement", "function_call", "entered_failed",  "pipelined"};
constexpr const auto& label_words(replay_hindrance) { return replay_hindrance_words; }
static_assert(label_word(replay_hindrance::pipelined) == "pipelined");

/// Where a request went that might have been read from a standby, and why (reads.mode).
enum class read_route : std::uint8_t {
    standby,         ///< to a standby, as that is preferred
    no_primary,      ///< to a standby, as there is no primary
    not_a_read,      ///< to the primary, as the others: it may write, lock, or change its session
    about_server,    ///< it asks for what each server answers for itself
    not_alone,       ///< not one SELECT or a group of them that is here as a whole
    session_state,   ///< its session has state that is nowhere else, or listens
    not_judged,      ///< the database is to be asked first what its functions do
    own_write,       ///< no standby is known to have what its client has written
    lagging,         ///< each standby is further behind than reads.max_lag, or nobody knows how far
    no_standby,      ///< there is none that works
    no_connection,   ///< no connection to one was free
    other_settings,  ///< the standby's configuration would let it answer in another form
    standby_failed,  ///< a standby had it and was lost, or answered with an error
};
inline constexpr std::array<words, 13> read_route_words{
    "standby",   "no_primary", "not_a_read", "about_server",  "not_alone",      "session_state", "not_judged",
    "own_write", "lagging",    "no_standby", "no_connection", "other_settings", "standby_failed"};
constexpr const auto& label_words(read_route) { return read_route_words; }
static_assert(label_word(read_route::standby_failed) == "standby_failed");

/// What became of a client's CancelRequest.
enum class cancel_result : std::uint8_t {
    forwarded,
    unknown_key,
    idle,    ///< the client it names runs nothing
    failed,  ///< the server could not be reached
};
inline constexpr std::array<words, 4> cancel_result_words{"forwarded", "unknown_key", "idle", "failed"};
constexpr const auto& label_words(cancel_result) { return cancel_result_words; }
static_assert(label_word(cancel_result::failed) == "failed");

/// What became of what an alert has to say.
enum class notice_end : std::uint8_t {
    delivered,
    failed,    ///< one attempt; another one follows, or it is given up
    given_up,  ///< after alerts.attempts
    dropped,   ///< too many waited
};
inline constexpr std::array<words, 4> notice_end_words{"delivered", "failed", "given_up", "dropped"};
constexpr const auto& label_words(notice_end) { return notice_end_words; }
static_assert(label_word(notice_end::dropped) == "dropped");

/// What came of asking a server what its database's own functions do.
enum class catalog_result : std::uint8_t {
    loaded,
    unchanged,
    failed,     ///< the server refused
    too_large,  ///< more than catalog.max_bytes
};
inline constexpr std::array<words, 4> catalog_result_words{"loaded", "unchanged", "failed", "too_large"};
constexpr const auto& label_words(catalog_result) { return catalog_result_words; }
static_assert(label_word(catalog_result::too_large) == "too_large");

/// A side of the relay.
enum class side : std::uint8_t { client, server };
inline constexpr std::array<words, 2> side_words{"client", "server"};
constexpr const auto& label_words(side) { return side_words; }
static_assert(label_word(side::server) == "server");

/// What one worker counts. Owned by the worker and the metrics_registry together, moved by the worker's
/// thread alone; a cache line of its own, so that workers do not disturb one another.
struct alignas(64) cells : metric_set {
    // clang-format off
    gauge clients_connected{this, "pgmend_clients_connected", "Clients that are connected, logged in or not."};
    gauge clients_active{this, "pgmend_clients_active", "Clients that hold a server connection."};
    gauge clients_waiting{this, "pgmend_clients_waiting", "Clients whose request waits for a server connection."};
    counter clients_accepted{this, "pgmend_clients_accepted_total", "Client connections accepted."};
    counter_by<refusal> clients_refused{this, "pgmend_clients_refused_total", "reason", "Clients turned away, by why."};
    counter_by<limit_scope> limited_clients{this, "pgmend_limited_clients_total", "per", "Clients turned away by a limit on those of one user, database, address or application, by which of them."};
    counter_by<limit_scope> limited_requests{this, "pgmend_limited_requests_total", "per", "Requests refused by a limit on their rate, by what it counts."};
    counter_by<request_limit> ended_by_limit{this, "pgmend_ended_by_limit_total", "limit", "Statements and transactions ended by a limit on their time or on the size of their answer, by which."};
    counter_by<login_result> client_logins{this, "pgmend_client_logins_total", "result", "Logins of clients that ended, by how."};

    gauge_by<server_state> servers{this, "pgmend_servers", "state", "Server connections by what they are doing."};
    counter_by<connect_result> server_connects{this, "pgmend_server_connects_total", "result", "Attempts to open a server connection that ended, by how."};
    counter_by<server_close> server_closed{this, "pgmend_server_closed_total", "reason", "Established server connections closed."};

    counter_by<probe_result> probes{this, "pgmend_probes_total", "result", "Checks of servers that ended, by how."};
    histogram probe_seconds{this, "pgmend_probe_seconds", "Time a check of a server took that was answered."};
    gauge_by<node_condition> nodes{this, "pgmend_nodes", "condition", "Servers by what is known of their health."};
    counter_by<election_reason> elections{this, "pgmend_elections_total", "reason", "Times another server, or none, became the primary, by why."};
    gauge_by<server_source> servers_listed{this, "pgmend_servers_listed", "source", "Servers that are there to be used, healthy or not, by where they are named."};
    counter_by<list_result> server_lists{this, "pgmend_server_lists_total", "result", "Times a list of servers was asked for (upstream.srv, upstream.patroni), by what became of it; none but ok changes the servers."};
    gauge primary_known{this, "pgmend_primary_known", "1 while there is a primary to send requests to."};

    gauge servers_banned{this, "pgmend_servers_banned", "Servers that an administrator has banned: they get no new requests."};

    counter_by<hold_end> holds{this, "pgmend_holds_total", "outcome", "Requests and logins that were held while no server could take them, by how that ended."};
    gauge memory_limit_bytes{this, "pgmend_memory_limit_bytes", "Memory the process may use, by setting or cgroup; 0 when nothing limits it."};
    gauge memory_used_bytes{this, "pgmend_memory_used_bytes", "Memory in use as it is held against the limit; 0 without one."};
    histogram hold_seconds{this, "pgmend_hold_seconds", "Time a request or login was held until a server came."};
    gauge_by<breaker_state> breakers{this, "pgmend_breakers", "state", "Breakers, one for each server and class of errors, by what they let through."};
    counter_by<breaker_reason> breaker_changes{this, "pgmend_breaker_changes_total", "reason", "Changes of breakers, by why; failures_in_a_row, failure_rate, slow_rate and trial_failed open one."};
    counter breaker_waits{this, "pgmend_breaker_waits_total", "Logins to servers that were put off, as breakers let no more through."};
    gauge pool_size{this, "pgmend_pool_size", "Server connections that all pools together may have now; with pool.sizing: adaptive it moves."};
    counter_by<sizing_reason> pool_resizes{this, "pgmend_pool_resizes_total", "reason", "Times a pool with pool.sizing: adaptive was given another size, by why."};
    counter_by<share_reason> pool_shares{this, "pgmend_pool_shares_moved_total", "reason", "Server connections that one worker may have of a pool instead of another, by why."};
    gauge pools_holding{this, "pgmend_pools_holding", "Pools that hold what their clients ask for, as no server can take it."};

    counter_by<recovery_reason> recoveries{this, "pgmend_recoveries_total", "reason", "Clients whose server was lost while it worked for them, by what could be done."};
    counter_by<replay_outcome> replays{this, "pgmend_replays_total", "outcome", "Transactions that were run again after the loss of their server, by what became of them."};
    counter_by<replay_hindrance> unprotected{this, "pgmend_replays_refused_total", "reason", "Transactions lost with their server that could not be run again, by the first reason."};
    counter_by<outcome_reason> commit_outcomes{this, "pgmend_commit_outcomes_total", "reason", "Commits whose answer was lost, by how it was known what became of them, or why it was not."};
    counter evidence_asked{this, "pgmend_commit_evidence_total", "Transactions that wrote, whose number was asked for ahead of their COMMIT."};
    counter_by<evidence_gap> commits_unguarded{this, "pgmend_commits_unguarded_total", "reason", "Where guard.commit_outcome is on: commits of what may have been written that were sent while it could not be found out what becomes of them, by why."};
    counter_by<replay_hindrance> uncovered{this, "pgmend_uncovered_requests_total", "reason", "Transactions that could not have been run again if their server had been lost just before their end, by the first reason."};
    histogram retry_pause_seconds{this, "pgmend_retry_pause_seconds", "Pauses before a request whose server was lost was sent again, the first time excepted."};
    histogram recovery_seconds{this, "pgmend_recovery_seconds", "Time from the loss of a server until the request sent again was answered."};

    counter queries{this, "pgmend_queries_total", "Statements seen: simple queries and executions of the extended protocol."};
    counter transactions{this, "pgmend_transactions_total", "Times a server reached the end of a transaction, or of a statement outside one."};
    counter errors{this, "pgmend_errors_total", "Errors of servers passed on to clients."};
    counter client_bytes_received{this, "pgmend_client_bytes_received_total", "Bytes received from clients."};
    counter client_bytes_sent{this, "pgmend_client_bytes_sent_total", "Bytes sent to clients."};
    counter server_bytes_received{this, "pgmend_server_bytes_received_total", "Bytes received from servers."};
    counter server_bytes_sent{this, "pgmend_server_bytes_sent_total", "Bytes sent to servers."};
    histogram wait_seconds{this, "pgmend_wait_seconds", "Time a request waited for a server connection."};
    histogram request_seconds{this, "pgmend_request_seconds", "Time from the first byte of a request forwarded until the server was free of it."};

    counter statement_shapes_forgotten{this, "pgmend_statement_shapes_forgotten_total", "Shapes of statements that SHOW STATEMENTS tells apart no more, as others took their place."};
    counter_by<parse_route> prepared_statements_parsed{this, "pgmend_prepared_statements_parsed_total", "where", "Parse messages of the extended protocol, by what became of them."};
    counter_by<plan_outcome> stale_plans{this, "pgmend_stale_plans_total", "outcome", "Prepared statements that a server had lost, or whose result had changed, when a client used them."};
    counter_by<write_refusal> writes_refused{this, "pgmend_writes_refused_total", "outcome", "Times a server refused a client's write as read-only (25006), by what was done; sent_again counts every attempt."};
    gauge writes_held{this, "pgmend_writes_held", "Requests that wait until a server takes writes again."};
    gauge_by<pin_reason> pins{this, "pgmend_pins", "reason", "Clients that keep a server connection beyond their transaction."};
    counter_by<pin_reason> pins_made{this, "pgmend_pins_total", "reason", "Times a client began to keep a server connection."};
    counter_by<catalog_result> catalog_surveys{this, "pgmend_catalog_surveys_total", "result", "Times a server was asked what its database's own functions do, by what came of it."};
    counter restores{this, "pgmend_restores_total", "Times a client's parameters were sent to a server before its request."};
    histogram restore_seconds{this, "pgmend_restore_seconds", "Time from getting a server with other parameters until it had the client's."};
    gauge clients_listening{this, "pgmend_clients_listening", "Clients whose channels a shared connection listens to."};
    counter notifications{this, "pgmend_notifications_total", "Notifications passed from shared connections to clients."};
    counter listeners_lost{this, "pgmend_listeners_lost_total", "Shared listening connections that were lost."};
    counter leak_checks{this, "pgmend_session_leak_checks_total", "Times an idle server was asked whether something of a client's session was left in it."};
    counter leaks{this, "pgmend_session_leaks_total", "Idle servers in which something of a client's session was found."};
    counter_by<cleanup_action> cleanups{this, "pgmend_cleanups_total", "action", "What was done to server connections whose client left something behind."};
    counter_by<cancel_result> cancels{this, "pgmend_cancels_total", "result", "Cancel requests of clients, by what became of them."};
    counter_by<read_route> reads{this, "pgmend_reads_total", "route", "Where reads.mode lets standbys be read from: requests by where they went and why; all but standby and no_primary to the primary."};
    counter_by<side> backpressure_pauses{this, "pgmend_backpressure_pauses_total", "side", "Times reading was paused because this side did not take what was sent to it."};
    gauge alerts_firing{this, "pgmend_alerts_firing", "Alerts that are not over."};
    counter_by<notice_end> alert_notices{this, "pgmend_alert_notices_total", "result", "Messages to alerts.webhook, by what became of them; `failed` counts attempts."};
    // clang-format on
};

/// What is known of the process as a whole; read when scraped.
class process : public metric_set {
public:
    explicit process(std::string version) : version_(std::move(version)) {}

private:
    const std::string version_;
    const std::array<words, 1> version_label_{version_};
    // clang-format off
    sampled build_info_{this, metric_type::gauge, "pgmend_build_info", "version", version_label_, "Always 1; the version is the label.", [] { return 1.0; }};
    sampled start_time_{this, metric_type::gauge, "process_start_time_seconds", "When the process started, in seconds since 1970.", process_start_time_seconds};
    sampled resident_memory_{this, metric_type::gauge, "process_resident_memory_bytes", "Resident memory of the process.", process_resident_memory_bytes};
    sampled cpu_{this, metric_type::counter, "process_cpu_seconds_total", "CPU time the process has used, user and system together.", process_cpu_seconds};
    sampled open_fds_{this, metric_type::gauge, "process_open_fds", "File descriptors the process has open.", process_open_fds};
    // clang-format on
};

}  // namespace pgmend::config::metrics

namespace pgmend {
namespace metrics = config::metrics;
}
