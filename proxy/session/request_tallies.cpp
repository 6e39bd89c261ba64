// The part of request_relay that says where statements are counted, and which of them are to blame when their
// transaction cannot be run again.

#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::statement_ref;

void request_relay::tally_new(std::string_view text, std::uint64_t shape) {
    bool forgot = false;
    server_->tally = context_.tallies.admit(shape, text, scan(), forgot);
    if (forgot) context_.metrics.statement_shapes_forgotten.add();
}

statement_tallies::place request_relay::awaited_tally(pool::server_connection& server) const {
    for (std::size_t i = 0; i < server.owed.size(); ++i) {
        const owed_reply& reply = server.owed.at(i);
        if (reply.action == reply_action::own) continue;
        if (reply.kind == reply_kind::query || reply.kind == reply_kind::execute) return reply.tally;
        // Nothing executes what failed: it was not sent yet, or never will be.
        if (reply.kind == reply_kind::sync && i != 0) break;
    }
    if (server.owed.empty()) return server.tally;
    const statement_ref& statement = server.owed.front().statement;
    return context_.tallies.place_of(statement ? shape_of(statement) : 0);
}

/// The request cannot be run again any more, because of the statement that is sent now.
void request_relay::blame(replay_hindrance why) noexcept {
    context_.tallies.hindered(server_->tally, why);
    if (!facts_.pins.empty()) return;  // it could not be before
    context_.metrics.uncovered.add(why);
    if (traffic_ != nullptr) ++traffic_->uncovered[static_cast<std::size_t>(why)];
}

/// It may write, or do anything else.
void request_relay::note_write(const protocol::statement_traits& traits) {
    const auto why = hazard_of(traits);
    if (!unprotected()) {
        if (why) {
            blame(*why);
        } else if (!block_open_ && !guards_group()) {
            blame(replay_hindrance::wrote_outside);
        }
    }
    may_have_written_ = true;
    if (!block_open_) {
        write_open_ = write_open_ || (!wrote_outside_ && !controls_group_);
        wrote_outside_ = true;
    }
    note_hazard(why);
}

/// A FunctionCall is sent: it may do anything, and commits what stands before it, too.
void request_relay::note_call() {
    may_have_written_ = may_survive_ = true;
    wrote_outside_ = wrote_outside_ || !block_open_;
    write_open_ = false;
    if (server_->evidence) server_->evidence->written(false, false, false);
    server_->tally = context_.tallies.place_of(0);
    if (hazard_ == no_hazard) blame(replay_hindrance::function_call);
    note_hazard(replay_hindrance::function_call);
}

}  // namespace pgmend::proxy
