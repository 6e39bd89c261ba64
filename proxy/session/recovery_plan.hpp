#pragma once
// A server was lost: what becomes of its client (HEALING section 6, classes A to D). Decides
// and does nothing; every outcome has its reason. Pure.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "config/metrics.hpp"
#include "protocol/message_type.hpp"

namespace pgmend::proxy {

using config::metrics::recovery_reason;

/// What is known when a server is lost.
struct loss {
    bool pinned = false;          ///< it held state of this client's session that cannot be moved
    bool inside_message = false;  ///< the client has been sent a part of a message
    bool in_flight = false;       ///< something of the client's is unanswered
    bool refused = false;         ///< by its own FATAL error: what was in flight was not carried out
    bool shown = false;           ///< the client has seen something of this request's answers
    bool recorded = false;        ///< all of the request can be sent again
    protocol::transaction_status status = protocol::transaction_status::idle;  ///< as last reported
    bool may_have_written = false;
    bool commit_sent = false;
    bool wrote_outside = false;  ///< and something of that outside a block, as the client sent it
    bool went_back = false;      ///< to a savepoint, so that a block known as failed may have been committed
    bool block_open = false;     ///< the client, by what it has sent, is in a block
    bool committed = false;      ///< one has been answered, but not ReadyForQuery behind it
    bool lone_commit = false;    ///< one is all that is unanswered, and all of the request that commits
    bool not_ended = false;  ///< what was written outside of a block is not committed: its Sync was not sent
    bool nothing_written = false;  ///< by the server's word: its transaction had no number
    bool outcome_askable = false;  ///< the transaction's number is known, and nothing but it must be asked
    bool may_survive = false;  ///< holds what a FATAL does not undo: it commits by itself, or acts elsewhere
    bool outside_effects = false;  ///< it may have ended the server's session itself
    std::uint32_t attempts = 0;    ///< times this request was sent again already
    bool may_retry = false;        ///< by the limits on attempts, time and budget
    /// Why the request cannot be run again and proven to be the same.
    std::optional<config::metrics::replay_hindrance> hindrance =
        config::metrics::replay_hindrance::switched_off;
};

enum class recovery : std::uint8_t {
    send_again,       ///< the request begins anew on another server
    replay,           ///< the same, and what was shown of it must come out the same again
    ask_outcome,      ///< a server is asked what became of its COMMIT
    fail_block,       ///< an error now or at the next statement, then a failed block until ROLLBACK
    fail_request,     ///< an error; the session goes on outside a transaction
    outcome_unknown,  ///< the same with 08007
    end_session,      ///< FATAL
    cut,              ///< nothing more can be said
};
inline constexpr std::array<std::string_view, 8> recovery_words{
    "sent_again",     "replayed",        "outcome_asked", "block_failed",
    "request_failed", "outcome_unknown", "session_ended", "cut"};
constexpr const auto& label_words(recovery) { return recovery_words; }

struct recovery_step {
    recovery what;
    recovery_reason why;
    bool block_left =
        false;  ///< the client is in a block that is gone: what it sends is refused until it ends it
};

/// Whether there is something of the client's that only running it again could save.
bool asks_for_replay(const loss& facts) noexcept;

recovery_step plan_recovery(const loss& facts) noexcept;

/// Whether a write or a commit that was under way may have taken effect, or not.
bool committed_perhaps(const loss& facts) noexcept;

}  // namespace pgmend::proxy
