// The part of request_relay that deals with the loss of a server: what the client is still owed, and how its
// request begins anew.

#include "protocol/frame.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;

namespace {

/// Nothing of it happened: the latest first, so that each name goes back to what it was.
void undo_all(pool::server_connection& server, pool::reply_sink& sink) {
    for (std::size_t i = server.owed.size(); i-- > 0;) {
        sink.undone(server.owed.at(i));
    }
}

/// The types of whole messages one behind the other; the last one may be cut off. False where one is not
/// among `allowed`.
bool only(std::string_view allowed, protocol::byte_view messages) noexcept {
    while (messages.size() >= protocol::frame_header_size) {
        if (allowed.find(static_cast<char>(messages[0])) == allowed.npos) return false;
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        if (size >= messages.size()) return true;
        messages = messages.subspan(size);
    }
    return messages.empty();
}

/// Whether names of prepared statements are made or given up: what was answered of that is done.
bool names_statements(protocol::byte_view messages) noexcept {
    constexpr std::size_t header = protocol::frame_header_size;
    while (messages.size() > header) {
        const char type = static_cast<char>(messages[0]);
        if (type == 'C' || (type == 'P' && messages[header] != std::byte{0})) return true;
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        if (size >= messages.size()) return false;
        messages = messages.subspan(size);
    }
    return false;
}

}  // namespace

bool may_be_unsaid(const pool::gather& answer, const pool::request_record& request) noexcept {
    // CommandComplete of a simple Query stands behind its commit.
    const std::string_view allowed = names_statements(request.bytes()) ? "2tTnDsIN" : "12tTnDsIN";
    for (const iovec& piece : answer.pieces()) {
        if (!only(allowed, {static_cast<const std::byte*>(piece.iov_base), piece.iov_len})) return false;
    }
    return request.whole();
}

request_relay::unanswered request_relay::lose(
    pool::server_connection& server, pool::reply_sink& sink, bool error_shown
) {
    unanswered left;
    bool in_group = false;
    for (std::size_t i = 0; i < server.owed.size(); ++i) {
        const owed_reply& reply = server.owed.at(i);
        if (reply.action == reply_action::own) continue;
        switch (reply.kind) {
            case reply_kind::query:
            case reply_kind::function_call:
                left.ends.push_back(true);
                break;
            case reply_kind::sync:
                left.ends.push_back(in_group);
                in_group = false;
                break;
            case reply_kind::copy_end:
                break;
            case reply_kind::parse:
            case reply_kind::bind:
            case reply_kind::describe:
            case reply_kind::execute:
            case reply_kind::close:
                // What is ours alone has the client's own message behind it.
                in_group = in_group || reply.action != reply_action::swallow;
                break;
        }
    }
    // Part of it was answered and its end was not: the end has failed, also where nothing else is owed.
    if (!left.ends.empty()) left.ends.front() = !error_shown;
    left.open_group = in_group || (server.owed.group_open() && !server.owed.skipping());
    skip_to_sync_ = in_group || server.owed.group_open();
    body_discard_ = true;
    undo_all(server, sink);
    portal_ = {};
    barrier_ = barrier::none;
    undecided_ = flush_seen_ = portal_forgets_ = false;
    materialized_.clear();
    deallocating_.clear();
    return left;
}

void request_relay::rewind(pool::server_connection& server, pool::reply_sink& sink) {
    lose(server, sink, false);
    skip_to_sync_ = body_discard_ = false;
    body_left_ = 0;
    request_over();
}

protocol::statement_kind request_relay::kind_in_front(std::span<const std::byte> data) const {
    constexpr std::size_t header = protocol::frame_header_size;
    if (data.size() < header || static_cast<char>(data[0]) != 'Q') return protocol::statement_kind::unknown;
    const std::size_t size = protocol::load_u32(data.data() + 1) + std::size_t{1};
    if (size <= header || data.size() < size) return protocol::statement_kind::unknown;
    const auto text = protocol::as_text(protocol::byte_view{data}.subspan(header, size - header - 1));
    return context_.classifier.classify(text, scan()).kind;
}

}  // namespace pgmend::proxy
