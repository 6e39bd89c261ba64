// The part of client_session that keeps to the limits of the policy and of memory: which of its requests may
// begin.

#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

using protocol::transaction_status;

/// Of the client, without its port.
std::string_view client_session::address() const {
    std::string_view text = peer_;
    text = text.substr(0, text.rfind(':'));
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    return text;
}

client_identity client_session::identity() const {
    client_identity who;
    who.user = pool_->login().user;
    who.database = pool_->login().database;
    who.address = local_ ? std::string_view("local") : address();
    if (const auto* name = facts_.startup->find("application_name")) who.application_name = *name;
    return who;
}

void client_session::limits_changed() {
    // Without parameters it is not in yet, or replicates and is counted as it was when it came.
    if (pool_ == nullptr || facts_.startup == nullptr) return;
    worker_.limits().resettle(identity(), limits_, worker_.env().now());
}

/// Cuts `bytes`, what the client has sent, to what may be read now: up to the next request that has to be let
/// in. Empty: nothing. False when the session is over.
bool client_session::next_request(std::span<std::byte>& bytes) {
    request_gate& gate = limits_->gate;
    // What is refused is thrown away to its end, even if there is no limit any more.
    if (!limits_->rates() && !gate.dropping()) return true;
    if (!gate.started()) {
        if (phase_ != session_phase::idle || !requests_.at_message()) return true;
        gate.start();
    }
    for (;;) {
        if (gate.dropping()) {
            if (!throw_away()) return false;
            bytes = {};
            if (gate.dropping() || in_.empty() || out_.blocked()) return true;
            bytes = in_.bytes();
        }
        if (enter_refused_block()) {
            bytes = {};
            return true;
        }
        const bool in_block = requests_.block() != request_relay::lost_block::none ||
                              (server_ != nullptr && (requests_.block_open(*server_, request_failed_) ||
                                                      server_->owed.copying_in()));
        if (gate.at_beginning(bytes) && !in_block) {
            const auto verdict = limits_->admit(worker_.env().now());
            if (verdict.account != nullptr) {
                const bool may_refuse = may_refuse_now();
                if (may_refuse && !refuse_over_limit(verdict)) return false;
                if (may_refuse && !out_.blocked()) continue;
                bytes = {};
                return true;
            }
            gate.let_in();
        }
        bytes = bytes.first(gate.reach(bytes));
        return true;
    }
}

/// What is here of a request that was refused.
bool client_session::throw_away() {
    const auto gone = limits_->gate.drop(in_.bytes());
    in_.consume(gone.count);
    want_ = 0;
    if (!gone.ready) return true;
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.ready_for_query(status_told());
    return send_made(frame);
}

/// Of a client whose request was refused.
transaction_status client_session::status_told() const noexcept {
    const bool in_block = requests_.block() != request_relay::lost_block::none;
    return in_block ? transaction_status::failed : transaction_status::idle;
}

/// An error must not overtake the answers to what came before it.
bool client_session::may_refuse_now() {
    if (phase_ == session_phase::idle) return true;
    if (server_ != nullptr && at_safe_point()) {
        gate_.set(client_readable);  // behind the end of the request
    } else {
        too_many_owed_ = true;
    }
    return false;
}

/// The request in front is not carried out; what there is of it is thrown away as it comes.
bool client_session::refuse_over_limit(const client_limits::overdrawn& why) {
    const limit_refusal told = worker_.limits().request_refused(why, worker_.env().now());
    worker_.metrics().limited_requests.add(told.scope);
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.error(
        {.sqlstate = protocol::sqlstate::configuration_limit_exceeded,
         .message = told.message,
         .detail = told.detail,
         .hint = told.hint}
    );
    // What stands behind a BEGIN was meant for its block, and must not run outside it.
    if (requests_.begins_block(in_.bytes())) requests_.set_block(request_relay::lost_block::told);
    if (limits_->gate.refuse(in_.bytes())) writer.ready_for_query(status_told());
    return send_made(frames);
}

/// A client that keeps its server believes in a block whose BEGIN was refused: the server is put into a
/// failed one. True when that is under way.
bool client_session::enter_refused_block() {
    if (server_ == nullptr || phase_ != session_phase::idle ||
        requests_.block() == request_relay::lost_block::none)
        return false;
    phase_ = session_phase::active;
    request_began_ = worker_.env().now();
    begin_record(*server_);
    enter_lost_block();
    return true;
}

/// Memory is short, and it is requests without a server that it goes into. Nothing of this one has been sent
/// anywhere, whether all of it is here or not.
bool client_session::shed_request() {
    const bool waits = phase_ == session_phase::waiting;
    if (mishap_ || out_.blocked() || (!waits && phase_ != session_phase::idle)) return true;
    worker_.metrics().clients_refused.add(config::metrics::refusal::memory);
    if (waits) pool_->withdraw(*this);
    phase_ = session_phase::idle;
    want_ = 0;
    refusal why;
    why.sqlstate = protocol::sqlstate::out_of_memory;
    why.message = "too little memory is left for a request of this size to wait for a server";
    why.detail = "The limit is machine.memory, or that of pgmend's cgroup.";
    return refuse_front(why);
}

}  // namespace pgmend::proxy
