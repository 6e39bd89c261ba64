#pragma once
// What must be sent to a server before anybody else may have it (HEALING section 4, "Cleanup"). Pure.

#include <string_view>
#include <vector>

#include "protocol/message_type.hpp"

namespace pgmend::pool {

struct reset_facts {
    protocol::transaction_status status = protocol::transaction_status::idle;
    bool commit_abandoned = false;  ///< the policy for open transactions that have not failed
    bool session_touched = false;   ///< pins, settings that were never verified, or session mode
    bool had_temporary_objects = false;
    bool in_doubt = false;  ///< another ReadyForQuery may still come
};

enum class reset_reason : unsigned char {
    clean,
    open_transaction,
    session_state,
    temporary_objects,
    in_doubt
};

struct reset_plan {
    bool close = false;
    /// Simple queries, each sent as a message of its own, in order.
    std::vector<std::string_view> queries;
    /// After it, settings are those of the connection's start and nothing is prepared.
    bool forgets_session = false;
    reset_reason reason = reset_reason::clean;
};

inline reset_plan plan_reset(const reset_facts& facts) {
    using protocol::transaction_status;
    reset_plan plan;
    if (facts.in_doubt) return {.close = true, .reason = reset_reason::in_doubt};
    // What had a temporary schema shows it for ever (PREPARE TRANSACTION is refused there).
    if (facts.had_temporary_objects) return {.close = true, .reason = reset_reason::temporary_objects};
    if (facts.status != transaction_status::idle) {
        const bool commit = facts.commit_abandoned && facts.status == transaction_status::in_block;
        plan.queries.push_back(commit ? "COMMIT" : "ROLLBACK");
        plan.reason = reset_reason::open_transaction;
    }
    if (facts.session_touched) {
        plan.queries.push_back("DISCARD ALL");
        plan.forgets_session = true;
        plan.reason = reset_reason::session_state;
    }
    return plan;
}

}  // namespace pgmend::pool
