// The part of client_session that ends a client's stay: its last words, and what is still owed to one that
// sends no more.

#include <utility>

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {
constexpr config::duration closing_time = std::chrono::seconds{5};
}  // namespace

bool client_session::fail(
    std::string_view sqlstate, std::string_view message, std::string_view detail, std::string_view hint
) {
    if (std::exchange(server_said_goodbye_, false)) {
        // The client has the server's own FATAL, and nothing follows one.
        give_back(false);
        close_when_sent();
        return false;
    }
    const bool half_sent = server_ != nullptr && server_->body_left != 0 && server_->body_forward;
    if (half_sent || (replaying() && mishap_->replay->inside_message)) {
        give_back(false);  // nothing can be said inside a message
        return false;
    }
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.error(
        {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint}
    );
    log::debug("client_failed", {{"client", peer_}, {"sqlstate", sqlstate}, {"message", message}});
    send_made(frame);
    give_back(false);
    close_when_sent();
    return false;
}

void client_session::close_when_sent() {
    phase_ = session_phase::closing;
    if (!out_.blocked()) return;
    closing_timer_ = std::make_unique<pool::gate_timer>(worker_.env(), gate_, timed_out);
    closing_timer_->after(closing_time);
    io_->arm(pool::interest::write);
}

bool client_session::step_closing(pool::event_mask bits) {
    if ((bits & timed_out) != 0 || !out_.drain(*io_)) out_.clear();
    if (out_.blocked()) io_->arm(pool::interest::write);
    return out_.blocked();
}

/// The client sends no more: it has closed one direction of its connection, or both, which looks the same.
/// What it has asked for is answered, as PostgreSQL does. Where nothing is on its way to the client,
/// something harmless is: the kernel of one that is gone refuses it, and the session ends. False when there
/// is nothing to wait for.
/// `all_read`: else it sends no more than what is still to be read.
bool client_session::half_close(bool all_read) {
    half_closed_ = all_read;
    if (!goes_on_half_closed()) return false;
    const bool inside_message =
        (server_ != nullptr && server_->body_left != 0) || (replaying() && mishap_->replay->inside_message);
    const std::string* encoding = facts_.told->find("client_encoding");
    if (inside_message || out_.blocked() || encoding == nullptr) return true;
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.parameter_status("client_encoding", *encoding);
    return send_made(frame);
}

/// Whether something of what the client has asked for is still to be answered.
bool client_session::goes_on_half_closed() {
    if (out_.blocked() || holding() || replaying() || too_many_owed_) return true;
    if (server_ == nullptr) return false;
    protocol::reply_queue& owed = server_->owed;
    if (server_->out.blocked()) return true;
    if (owed.empty() || owed.copying_in()) return false;
    if (requests_.mid_message()) {
        // A COPY is not over before its end has come whole.
        const std::size_t unfinished =
            owed.at(owed.size() - 1).kind == protocol::reply_kind::copy_end ? 2 : 1;
        return owed.size() > unfinished && owed.front().group != owed.at(owed.size() - unfinished).group;
    }
    // It will not send the Sync of its group any more: the server is asked for what it keeps back until then.
    return !owed.group_open() || answer_ahead(true);
}

}  // namespace pgmend::proxy
