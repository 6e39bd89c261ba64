#include "proxy/session/recovery_plan.hpp"

namespace pgmend::proxy {

using protocol::transaction_status;

/// Whether something of what was lost may have taken effect. What the server last said of its state is older
/// than what was sent since, so the blocks count that the client has sent.
bool committed_perhaps(const loss& facts) noexcept {
    // An error of the server's own is its word that nothing happened, but for what no error undoes.
    const bool not_done = facts.refused && !facts.may_survive && !facts.committed;
    if (!facts.in_flight || !facts.may_have_written || not_done || facts.not_ended) return false;
    const bool nothing = facts.lone_commit && facts.nothing_written;
    const bool may_commit =
        facts.commit_sent && !nothing && (facts.status != transaction_status::failed || facts.went_back);
    return facts.wrote_outside || may_commit;
}

bool asks_for_replay(const loss& facts) noexcept {
    const bool in_block = facts.status != transaction_status::idle;
    return in_block || (facts.in_flight && (facts.shown || facts.block_open || facts.not_ended));
}

recovery_step plan_recovery(const loss& facts) noexcept {
    if (!facts.hindrance && facts.may_retry && asks_for_replay(facts) && !committed_perhaps(facts))
        return {recovery::replay, recovery_reason::replayable, true};
    if (facts.lone_commit && facts.outcome_askable && !facts.wrote_outside && facts.may_retry &&
        committed_perhaps(facts)) {
        return {recovery::ask_outcome, recovery_reason::commit_asked};
    }
    if (facts.inside_message) return {recovery::cut, recovery_reason::inside_message};
    const bool in_block = facts.status != transaction_status::idle;
    const bool not_done = facts.refused && !facts.may_survive && !facts.committed;
    const bool may_be_done = committed_perhaps(facts);
    // What the client asked for itself is shown as PostgreSQL shows it, whatever else is lost with it.
    if (facts.refused && facts.outside_effects) return {recovery::end_session, recovery_reason::own_wish};
    if (facts.pinned) {
        return {
            recovery::end_session, may_be_done ? recovery_reason::write_in_flight : recovery_reason::pinned};
    }
    if (in_block) {
        if (may_be_done)
            return {recovery::outcome_unknown, recovery_reason::commit_in_flight, facts.block_open};
        if (facts.commit_sent && facts.in_flight && !facts.block_open)
            return {recovery::fail_request, recovery_reason::block_lost};
        return {recovery::fail_block, recovery_reason::block_lost, true};
    }
    const bool harmless = not_done || !facts.may_have_written;
    if (harmless && !facts.shown && facts.recorded) {
        if (facts.may_retry) {
            return {
                recovery::send_again, not_done ? recovery_reason::not_executed : recovery_reason::read_only};
        }
        return {recovery::fail_request, recovery_reason::retries_exhausted, facts.block_open};
    }
    if (may_be_done) return {recovery::outcome_unknown, recovery_reason::write_in_flight, facts.block_open};
    if (facts.block_open && facts.in_flight) return {recovery::fail_block, recovery_reason::block_lost, true};
    return {
        recovery::fail_request, facts.shown ? recovery_reason::already_shown : recovery_reason::not_recorded};
}

}  // namespace pgmend::proxy
