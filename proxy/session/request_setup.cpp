// The part of request_relay that sets a server up for one statement, right in front of it: what others drew
// from sequences is forgotten, what the client listens to is told.

#include <array>

#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::reply_action;
using protocol::reply_kind;

/// The client asks what it drew from a sequence, and others have drawn since: it must learn nothing of
/// theirs (55000). In front of a simple Query with `own`, within a group with `swallow`.
void request_relay::forget_sequences(reply_action action) {
    if (server_->status == protocol::transaction_status::failed) return;
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

/// The client asks what it listens to: its server, which then knows, is told first. Inside a transaction
/// the server would not say so before its end.
void request_relay::announce_channels() {
    const bool between = server_->status == protocol::transaction_status::idle && server_->owed.empty() &&
                         !server_->owed.group_open();
    if (!between) return;
    std::string text;
    for (const auto& [name, live] : facts_.shared->channels) {
        text += "LISTEN " + protocol::quote_identifier(name) + ";";
    }
    std::vector<std::byte> frames;
    protocol::message_writer{frames}.query(text);
    owe(reply_kind::query, reply_action::own);
    server_->statements.drop_unnamed();
    inject(frames);
    facts_.listens_again();
}

}  // namespace pgmend::proxy
