// The part of request_relay that sets a server up for one statement, right in front of it: what others drew
// from sequences is forgotten, what the client listens to is told, what must fail is made to fail there.

#include <algorithm>
#include <array>

#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::reply_action;
using protocol::reply_kind;
using protocol::substitute_error;

/// The client asks what it drew from a sequence, and others have drawn since: it must learn nothing of
/// theirs (55000). In front of a simple Query with `own`, within a group with `swallow`.
void request_relay::forget_sequences(reply_action action) {
    constexpr std::string_view forget = "DISCARD SEQUENCES";
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    if (action == reply_action::own) {
        writer.query(forget);
        owe(reply_kind::query, reply_action::own);
        server_->statements.drop_unnamed();
        inject(frames);
        return;
    }
    // Statement and portal under a name of ours: the client's unnamed ones stay as they are.
    constexpr std::array<std::byte, 2> no_types{};
    constexpr std::string_view end{"\0", 1};
    constexpr std::string_view nothing{"\0\0\0\0\0\0", 6};  // no formats, no parameters, no result formats
    constexpr std::string_view all_rows{"\0\0\0\0", 4};
    const auto piece = [](std::string_view text) { return protocol::as_bytes(text); };
    writer.close_statement(spare_name);
    writer.parse(spare_name, forget, no_types);
    writer.frame('B', {piece(spare_name), piece(end), piece(spare_name), piece(end), piece(nothing)});
    writer.frame('E', {piece(spare_name), piece(end), piece(all_rows)});
    writer.close_statement(spare_name);
    for (const auto kind :
         {reply_kind::close, reply_kind::parse, reply_kind::bind, reply_kind::execute, reply_kind::close}) {
        owe(kind, action);
    }
    inject(frames);
}

/// The client's block has failed, and its Query ends that before it does more: what is to be there by then
/// can only be brought outside of the failure.
void request_relay::leave_failure(bool chained) {
    std::vector<std::byte> frames;
    protocol::message_writer{frames}.query(chained ? "ROLLBACK AND CHAIN" : "ROLLBACK");
    owe(reply_kind::query, reply_action::own);
    server_->statements.drop_unnamed();
    inject(frames);
}

/// Behind `leave_failure`: a block like the client's, but for its savepoints, fails at once.
void request_relay::return_to_failure(bool chained) {
    constexpr std::string_view begins = "BEGIN; ";
    std::vector<std::byte> frames;
    protocol::message_writer{frames}.query(chained ? failing_block.substr(begins.size()) : failing_block);
    owe(reply_kind::query, reply_action::own);
    inject(frames);
}

/// The client asks what it listens to: its server, which then knows, is told first. Inside a transaction
/// the server would not say so before its end.
void request_relay::announce_channels() {
    const bool between = server_->status == protocol::transaction_status::idle && server_->owed.empty() &&
                         !server_->owed.group_open();
    if (!between) return;
    std::string text;
    for (const auto& [name, known] : facts_.shared->channels) {
        text += "LISTEN " + protocol::quote_identifier(name) + ";";
    }
    std::vector<std::byte> frames;
    protocol::message_writer{frames}.query(text);
    owe(reply_kind::query, reply_action::own);
    server_->statements.drop_unnamed();
    inject(frames);
    facts_.listens_again();
}

/// The client's message must fail, and with it the client's transaction, exactly where it stands: the server
/// is sent one that fails there, and its error gets PostgreSQL's words for the client's mistake.
request_relay::outcome request_relay::force_error(substitute_error error) {
    std::vector<std::byte> frame;
    if (error == substitute_error::no_unnamed_statement) {
        // Its server is to have none, either, and says so itself.
        protocol::message_writer{frame}.close_statement("");
        inject(frame);
        owe(reply_kind::close, reply_action::swallow);
        server_->statements.drop_unnamed();
        return forward(type_ == 'B' ? reply_kind::bind : reply_kind::describe);
    }
    protocol::message_writer{frame}.frame(
        'D', {protocol::as_bytes("Spgmend_none"), protocol::as_bytes({"\0", 1})}
    );
    inject(frame);
    owe(reply_kind::describe, reply_action::substitute).error = error;
    discard_message();
    return outcome::done;
}

/// A server that meets such a message there has lost its place in the stream, says so, and hangs up.
request_step request_relay::lost_in_copy() {
    constexpr std::string_view digits = "0123456789ABCDEF";
    const auto code = static_cast<unsigned char>(type_);
    std::string said = "unexpected message type 0x.. during COPY from stdin";
    const std::size_t at = said.find('.');
    said[at] = digits[code >> 4U];
    said[at + 1] = digits[code & 15U];
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.error(
        {.sqlstate = protocol::sqlstate::protocol_violation, .message = said}
    );
    const auto room = to_client_->make(frame.size());
    std::copy(frame.begin(), frame.end(), room.begin());
    violation_ = "terminating connection because protocol synchronization was lost";
    return {request_result::violation, at_};
}

}  // namespace pgmend::proxy
