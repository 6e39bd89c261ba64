// The part of client_session that deals with prepared statements whose plan a server no longer takes: DDL has
// changed what they return, or something has taken them away (HEALING section 6, class F). An error undoes
// all of a group, so where it was the first word of the request, the request is sent again.

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/statement_shape.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

using config::metrics::plan_outcome;
using protocol::reply_action;
using protocol::reply_kind;

/// Outside a transaction, all of the request is one group that has ended, and can be sent again.
bool client_session::may_plan_again() noexcept {
    pool::server_connection& server = *server_;
    if (phase_ != session_phase::active || !taken_for_request_ || shown_ || !server.request.whole())
        return false;
    if (server.status != protocol::transaction_status::idle || server.owed.group_open()) return false;
    if (requests_.mid_message() || (mishap_ && mishap_->planned_again)) return false;
    for (std::size_t i = 0; i + 1 < server.owed.size(); ++i) {
        const reply_kind kind = server.owed.at(i).kind;
        if (kind == reply_kind::sync || kind == reply_kind::query || kind == reply_kind::function_call)
            return false;
    }
    const protocol::owed_reply& end = server.owed.at(server.owed.size() - 1);
    return end.kind == reply_kind::sync && end.action == reply_action::forward;
}

bool client_session::stale_plan(const protocol::statement_ref& statement, bool untold) {
    // Whoever prepares its text from now on means what it is now.
    if (statement.outdate()) ++worker_.relay().schema_epoch;
    const bool again = untold && may_plan_again();
    const plan_outcome outcome = again ? plan_outcome::renewed : plan_outcome::forwarded;
    worker_.metrics().stale_plans.add(outcome);
    healing_event act;
    act.at = worker_.env().now();
    act.kind = healing_kind::plan_renewed;
    act.outcome = label_word(outcome);
    act.client = peer_;
    act.database = pool_->login().database;
    act.user = pool_->login().user;
    act.server = server_->where.to_string();
    act.shape = statement_shape(
        statement->text, {facts_.told->standard_conforming_strings, facts_.told->ambiguous_encoding}
    );
    act.cause = "the server has it no more, or with another result";
    log::info(
        "plan_stale",
        {{"client", act.client}, {"server", act.server}, {"statement", act.shape}, {"outcome", act.outcome}}
    );
    worker_.ledger().add(std::move(act));
    if (!again) return false;
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    mishap_->stale = statement;
    mishap_->planned_again = true;
    server_->owed.at(server_->owed.size() - 1).action = reply_action::swallow;
    phase_ = session_phase::replanning;
    return true;
}

/// The server has come to the end of the group, or has closed the statement: then the client is read again.
bool client_session::plan_again() {
    if (const auto stale = std::exchange(mishap_->stale, {})) {
        std::vector<std::byte> frames;
        protocol::message_writer writer{frames};
        writer.close_statement(stale->server_name);
        writer.sync();
        server_->statements.close(stale->id, server_->owed.group());
        server_->owed.push(reply_kind::close, reply_action::own).evicted = stale->id;
        server_->owed.push(reply_kind::sync, reply_action::own);
        worker_.flight_to_server().add(frames);
        // A failed send is met again, with the server's words, when it is read.
        if (!to_server()) gate_.set(server_readable);
        return true;
    }
    requests_.rewind(*server_, *this);
    facts_.rewound();
    const std::vector<std::byte> request = server_->request.take();
    begin_record(*server_);
    read_again(request);
    phase_ = session_phase::active;
    return consume_requests();
}

}  // namespace pgmend::proxy
