#include "proxy/session/recovery_plan.hpp"

namespace pgmend::proxy {

using protocol::transaction_status;

recovery_step plan_recovery(const loss& facts) noexcept {
    if (facts.inside_message) return {recovery::cut, recovery_reason::inside_message};
    const bool in_block = facts.status != transaction_status::idle;
    // An error of the server's own is its word that nothing happened, but for what no error undoes.
    const bool not_done = facts.refused && !facts.may_survive && !facts.committed;
    const bool may_be_done = facts.in_flight && facts.may_have_written && !not_done &&
                             facts.status != transaction_status::failed && (!in_block || facts.commit_sent);
    // What the client asked for itself is shown as PostgreSQL shows it, whatever else is lost with it.
    if (facts.refused && facts.outside_effects) return {recovery::end_session, recovery_reason::own_wish};
    if (facts.pinned) {
        return {
            recovery::end_session, may_be_done ? recovery_reason::write_in_flight : recovery_reason::pinned};
    }
    if (in_block) {
        if (may_be_done) return {recovery::outcome_unknown, recovery_reason::commit_in_flight};
        if (facts.commit_sent && facts.in_flight)
            return {recovery::fail_request, recovery_reason::block_lost};
        return {recovery::fail_block, recovery_reason::block_lost};
    }
    const bool harmless = not_done || !facts.may_have_written;
    if (harmless && !facts.shown && facts.recorded) {
        if (facts.may_retry) {
            return {
                recovery::send_again, not_done ? recovery_reason::not_executed : recovery_reason::read_only};
        }
        return {recovery::fail_request, recovery_reason::retries_exhausted};
    }
    if (may_be_done) return {recovery::outcome_unknown, recovery_reason::write_in_flight};
    return {
        recovery::fail_request, facts.shown ? recovery_reason::already_shown : recovery_reason::not_recorded};
}

}  // namespace pgmend::proxy
