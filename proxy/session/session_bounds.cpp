// The part of client_session that holds a client's statements and transactions to their limits of time and
// size: request_clock says what is over, here it is done. What has a limit is cancelled at its server, which
// has the last word: an answer that is complete by then is no error.

#include <algorithm>

#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace sqlstate = protocol::sqlstate;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {

std::string_view sqlstate_of(request_limit which) {
    switch (which) {
        case request_limit::query_timeout:
            return sqlstate::query_canceled;
        case request_limit::idle_transaction_timeout:
            return sqlstate::idle_in_transaction_session_timeout;
        case request_limit::transaction_timeout:
            return sqlstate::transaction_timeout;
        case request_limit::result_size:
            break;
    }
    return sqlstate::configuration_limit_exceeded;
}

}  // namespace

void client_session::note_sent() {
    if (!limits_->bounds.any() || holding()) return;
    limits_->clock.sent(worker_.env().now());
    await_limit();
}

void client_session::note_ready(bool all_answered) noexcept {
    if (!limits_->bounds.any()) return;
    limits_->clock.ready(
        server_->status != transaction_status::idle, !all_answered, server_->cancels_under_way != 0,
        worker_.env().now()
    );
    await_limit();
}

/// What is in the flight to the client counts as its answer.
void client_session::note_answers() {
    if (!limits_->bounds.any() || holding() || replaying()) return;
    const bool too_much = limits_->clock.answered(
        limits_->bounds, worker_.flight_to_client().bytes(), server_->owed.empty(), worker_.env().now()
    );
    // A server that cannot be asked to stop is given up when the clock looks again: not inside its answer.
    if (too_much) server_->pool.cancel(*server_);
    await_limit();
}

/// One timer, which is not moved when it is early: between statements that is most of the time.
void client_session::await_limit() {
    const auto due = limits_->clock.due(limits_->bounds);
    if (!due) return;
    if (!limits_->timer) limits_->timer = std::make_unique<pool::gate_timer>(worker_.env(), gate_, limit_due);
    if (!limits_->timer->running() || limits_->timer->deadline() > *due) limits_->timer->at(*due);
}

/// Whether what is under way has to come to its end: it is ours, or a commit, which a cancel would only keep
/// from waiting for its standbys.
bool client_session::must_not_be_ended() {
    if (phase_ != session_phase::active || replaying() || resolving() || only_evidence_owed()) return true;
    for (std::size_t i = 0; i < server_->owed.size(); ++i) {
        const auto& reply = server_->owed.at(i);
        if (reply.kind == reply_kind::query || reply.kind == reply_kind::execute)
            return reply.ends != protocol::transaction_end::unknown;
    }
    return false;
}

/// False when the session is over.
bool client_session::keep_limits() {
    if (server_said_goodbye_) return fail({}, {});
    if (!limits_) return true;
    if (server_ == nullptr && !holding()) {
        limits_->clock.stop();
        return true;
    }
    const auto now = worker_.env().now();
    if (server_ != nullptr && server_->owed.empty()) limits_->clock.answered(limits_->bounds, 0, true, now);
    const bool ours = server_ == nullptr || must_not_be_ended();
    const auto verdict = limits_->clock.look(limits_->bounds, ours, now);
    if (verdict.what == request_clock::deed::end) return end_by_limit(verdict.why);
    if (verdict.what == request_clock::deed::cancel && !cancel_for_limit(verdict.why)) return false;
    if (verdict.again) limits_->timer->at(*verdict.again);
    return true;
}

/// False when the session is over: a server that gave no key cannot be asked to stop.
bool client_session::cancel_for_limit(request_limit why) {
    return server_->pool.cancel(*server_) || end_by_limit(why);
}

/// The client is told and closed. Always false.
bool client_session::end_by_limit(request_limit why) {
    const auto words = worker_.limits().ended(*limits_, why, false, worker_.env().now());
    worker_.metrics().ended_by_limit.add(why);
    const bool unknown = committed_perhaps(loss_facts());
    if (!server_->owed.empty()) server_->pool.cancel(*server_);
    const std::string message = words ? words->message : "a limit was met";
    if (unknown) {
        return fail(
            sqlstate::transaction_resolution_unknown, message,
            "Whether the last statement or commit took effect is not known."
        );
    }
    if (!words) return fail(sqlstate_of(why), message);
    return fail(sqlstate_of(why), words->message, words->detail, words->hint);
}

/// An error that our own cancel has caused says why.
protocol::byte_view client_session::instead_of(const protocol::error_view& error, bool& ends) {
    ends = false;
    if (!limits_ || error.sqlstate != sqlstate::query_canceled || error.fatal() || replaying()) return {};
    const auto cause = limits_->clock.cancelled();
    if (!cause) return {};
    const auto words = worker_.limits().ended(*limits_, cause->which, cause->late, worker_.env().now());
    if (!words) return {};
    worker_.metrics().ended_by_limit.add(cause->which);
    const bool of_transaction = cause->which == request_limit::transaction_timeout;
    ends = of_transaction && !cause->late;
    limits_->words.clear();
    protocol::message_writer{limits_->words}.error(
        {.severity = ends ? "FATAL" : "ERROR",
         .sqlstate = of_transaction && !ends ? sqlstate::query_canceled : sqlstate_of(cause->which),
         .message = words->message,
         .detail = words->detail,
         .hint = words->hint}
    );
    if (!ends) return limits_->words;
    // The connection ends with it, as PostgreSQL's does.
    server_said_goodbye_ = true;
    gate_.set(limit_due);
    return limits_->words;
}

}  // namespace pgmend::proxy
