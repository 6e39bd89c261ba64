#pragma once
// What happens to servers, to connections to them and to those who wait for one, in the words of labels, logs
// and tables. Part of metrics.hpp.

#include <array>
#include <cstdint>
#include <string_view>

#include "config/metric.hpp"

namespace pgmend::config::metrics {

using words = std::string_view;
using config::label_word;

/// What a server connection is doing.
enum class server_state : std::uint8_t {
    connecting,  ///< from the first packet until it may be handed out
    idle,
    active,    ///< serves a client
    cleaning,  ///< is made as new after a client
};
inline constexpr std::array<words, 4> server_state_words{"connecting", "idle", "active", "cleaning"};
constexpr const auto& label_words(server_state) { return server_state_words; }
static_assert(label_word(server_state::cleaning) == "cleaning");

/// How an attempt to open a server connection ended.
enum class connect_result : std::uint8_t {
    ok,
    refused,  ///< nobody listens, or the host cannot be reached
    timeout,
    tls_failed,
    login_failed,  ///< the server does not accept our credentials
    server_error,  ///< the server answered with another error
    lost,          ///< the connection broke before it was ready
    wrong_role,    ///< logged in, but not the kind of server that is wanted
};
inline constexpr std::array<words, 8> connect_result_words{
    "ok", "refused", "timeout", "tls_failed", "login_failed", "server_error", "lost", "wrong_role"};
constexpr const auto& label_words(connect_result) { return connect_result_words; }
static_assert(label_word(connect_result::wrong_role) == "wrong_role");

/// Why an established server connection was closed.
enum class server_close : std::uint8_t {
    lifetime,      ///< old enough
    idle_timeout,  ///< unused for long enough
    lost_idle,     ///< the server closed it while nobody used it
    lost_in_use,   ///< it broke under a client
    unclean,       ///< it could not be made as new
    protocol,      ///< the server broke the protocol
    shutdown,
    repartition,    ///< made room for a client with other startup parameters
    lost_in_login,  ///< never got as far as being established
    unfit,          ///< its server is down, demoted or fenced
    paused,         ///< PAUSE or KILL on the console
    reconnect,      ///< RECONNECT on the console
    resized,        ///< the pool was made smaller
};
inline constexpr std::array<words, 13> server_close_words{
    "lifetime",    "idle_timeout",  "lost_idle", "lost_in_use", "unclean",   "protocol", "shutdown",
    "repartition", "lost_in_login", "unfit",     "paused",      "reconnect", "resized"};
constexpr const auto& label_words(server_close) { return server_close_words; }
static_assert(label_word(server_close::resized) == "resized");

/// What was done to a server connection whose client left something behind.
enum class cleanup_action : std::uint8_t {
    rollback,
    discard,  ///< DISCARD ALL
    cancel,   ///< the running statement was cancelled
    close,
};
inline constexpr std::array<words, 4> cleanup_action_words{"rollback", "discard", "cancel", "close"};
constexpr const auto& label_words(cleanup_action) { return cleanup_action_words; }
static_assert(label_word(cleanup_action::close) == "close");

/// How a check of a server ended.
enum class probe_result : std::uint8_t {
    ok,
    refused,   ///< nobody listens, or the host cannot be reached
    starting,  ///< it starts, stops or recovers (57P01 to 57P03)
    full,      ///< alive, with no connection to spare (53300)
    rejected,  ///< alive, but it does not let the check in
    timeout,
    lost,  ///< the connection broke
};
inline constexpr std::array<words, 7> probe_result_words{"ok",       "refused", "starting", "full",
                                                         "rejected", "timeout", "lost"};
constexpr const auto& label_words(probe_result) { return probe_result_words; }
static_assert(label_word(probe_result::lost) == "lost");

/// What the checks and the traffic together say of a server.
enum class node_condition : std::uint8_t {
    unknown,  ///< not asked yet
    up,
    suspect,  ///< checks go unanswered, not yet often enough
    down,
};
inline constexpr std::array<words, 4> node_condition_words{"unknown", "up", "suspect", "down"};
constexpr const auto& label_words(node_condition) { return node_condition_words; }
static_assert(label_word(node_condition::down) == "down");

/// Why there is this primary, or none.
enum class election_reason : std::uint8_t {
    kept,             ///< the same as before
    only_claimant,    ///< the one server that says it is a primary
    newer_timeline,   ///< it was promoted: the one before is fenced
    present_is_down,  ///< another one on the same timeline, as the one before is gone
    split,            ///< two primaries on one timeline: the present one is kept
    none_claims,      ///< no server that can be reached says it is a primary
    all_fenced,       ///< only primaries of an older timeline or of another cluster
};
inline constexpr std::array<words, 7> election_reason_words{
    "kept", "only_claimant", "newer_timeline", "present_is_down", "split", "none_claims", "all_fenced"};
constexpr const auto& label_words(election_reason) { return election_reason_words; }
static_assert(label_word(election_reason::all_fenced) == "all_fenced");

/// What a breaker lets through: the one of a server and a class of errors.
enum class breaker_state : std::uint8_t {
    closed,     ///< everything
    half_open,  ///< a few trials
    open,       ///< nothing; one login at a time where there is no other server
};
inline constexpr std::array<words, 3> breaker_state_words{"closed", "half_open", "open"};
constexpr const auto& label_words(breaker_state) { return breaker_state_words; }
static_assert(label_word(breaker_state::open) == "open");

/// Which failures a breaker counts.
enum class breaker_class : std::uint8_t {
    local,     ///< refused, reset, timed out, no TLS
    resource,  ///< the server says that it lacks something (53), or is in trouble itself (58, XX)
};
inline constexpr std::array<words, 2> breaker_class_words{"local", "resource"};
constexpr const auto& label_words(breaker_class) { return breaker_class_words; }
static_assert(label_word(breaker_class::resource) == "resource");

/// Why a breaker has changed; the first four open it.
enum class breaker_reason : std::uint8_t {
    failures_in_a_row,
    failure_rate,
    slow_rate,
    trial_failed,
    cooled_down,      ///< half open: it was open for long enough
    probe_succeeded,  ///< half open: the health check got an answer
    trial_succeeded,  ///< half open: a login that could not wait went well
    trials_passed,    ///< closed
};
inline constexpr std::array<words, 8> breaker_reason_words{
    "failures_in_a_row", "failure_rate",    "slow_rate",       "trial_failed",
    "cooled_down",       "probe_succeeded", "trial_succeeded", "trials_passed"};
constexpr const auto& label_words(breaker_reason) { return breaker_reason_words; }
static_assert(label_word(breaker_reason::trials_passed) == "trials_passed");

/// Why a pool that finds its size by trying has another one now.
enum class sizing_reason : std::uint8_t {
    trial_more,   ///< clients wait: whether more connections serve more of them
    trial_fewer,  ///< whether fewer serve as many
    no_gain,      ///< back to fewer: the others only made each other slower
    needed,       ///< back to more: the fewer served less
    server_full,  ///< the server has no more connections to give
};
inline constexpr std::array<words, 5> sizing_reason_words{
    "trial_more", "trial_fewer", "no_gain", "needed", "server_full"};
constexpr const auto& label_words(sizing_reason) { return sizing_reason_words; }
static_assert(label_word(sizing_reason::server_full) == "server_full");

/// Why a worker gives another one a part of a pool.
enum class share_reason : std::uint8_t {
    unused,      ///< it has connections that nobody uses, or need not be opened
    given_back,  ///< all work, but it has more than it was given, and the other less
};
inline constexpr std::array<words, 2> share_reason_words{"unused", "given_back"};
constexpr const auto& label_words(share_reason) { return share_reason_words; }
static_assert(label_word(share_reason::given_back) == "given_back");

/// How the wait of a request for a server ended that came back, or did not.
enum class hold_end : std::uint8_t {
    released,   ///< a server came
    timed_out,  ///< hold.timeout was over
    crowded,    ///< more waited than hold.max_waiters
};
inline constexpr std::array<words, 3> hold_end_words{"released", "timed_out", "crowded"};
constexpr const auto& label_words(hold_end) { return hold_end_words; }
static_assert(label_word(hold_end::crowded) == "crowded");

}  // namespace pgmend::config::metrics
