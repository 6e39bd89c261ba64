// The part of request_relay that deals with the loss of a server: what the client is still owed, and how its
// request begins anew.

#include <algorithm>
#include <array>

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

/// Whether a CommandComplete is of a statement whose effects are those of its transaction, and which says
/// nothing of the session.
bool of_data(protocol::byte_view message) noexcept {
    const std::string_view tag = protocol::as_text(message.subspan(protocol::frame_header_size));
    static constexpr std::array<std::string_view, 5> known{
        "INSERT ", "UPDATE ", "DELETE ", "SELECT ", "MERGE "};
    return std::any_of(known.begin(), known.end(), [tag](std::string_view each) {
        return tag.starts_with(each);
    });
}

/// The types of whole messages one behind the other; the last one may be cut off. False where one is not
/// among `allowed`.
bool only(std::string_view allowed, protocol::byte_view messages) noexcept {
    while (messages.size() >= protocol::frame_header_size) {
        const char type = static_cast<char>(messages[0]);
        if (allowed.find(type) == allowed.npos || (type == 'C' && !of_data(messages))) return false;
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        if (size >= messages.size()) return true;
        messages = messages.subspan(size);
    }
    return messages.empty();
}

/// Whether a Bind or Describe is about the unnamed statement.
bool of_unnamed(protocol::byte_view message) noexcept {
    protocol::byte_reader reader{message.subspan(protocol::frame_header_size)};
    if (static_cast<char>(message[0]) == 'B') {
        reader.cstring();
        return reader.cstring().empty() && !reader.failed();
    }
    return static_cast<char>(reader.u8()) == 'S' && reader.cstring().empty() && !reader.failed();
}

struct asked {
    bool names =
        false;  ///< names of prepared statements are made or given up: what was answered of that is done
    bool simple = false;  ///< a simple Query or FunctionCall is among it
};

asked what_was_asked(protocol::byte_view messages) noexcept {
    constexpr std::size_t header = protocol::frame_header_size;
    asked found;
    // An unnamed statement from before the request, which a Parse of the request takes the place of.
    bool uses_older = false;
    bool parsed = false;
    while (messages.size() > header) {
        const char type = static_cast<char>(messages[0]);
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        const auto message = messages.first(std::min(size, messages.size()));
        if (type == 'B' || type == 'D') uses_older = uses_older || (!parsed && of_unnamed(message));
        if (type == 'P') {
            const bool unnamed = messages[header] == std::byte{0};
            found.names = found.names || !unnamed || uses_older;
            parsed = parsed || unnamed;
        }
        found.names = found.names || type == 'C';
        found.simple = found.simple || type == 'Q' || type == 'F';
        if (size >= messages.size()) break;
        messages = messages.subspan(size);
    }
    return found;
}

}  // namespace

bool may_be_unsaid(const pool::gather& answer, const pool::request_record& request) noexcept {
    // CommandComplete of a simple Query stands behind its commit; in the extended protocol the commit comes
    // with Sync.
    const asked what = what_was_asked(request.bytes());
    std::string_view allowed = "12tTnDsINC";
    if (what.names) allowed.remove_prefix(1);
    if (what.simple) allowed.remove_suffix(1);
    for (const iovec& piece : answer.pieces()) {
        if (!only(allowed, {static_cast<const std::byte*>(piece.iov_base), piece.iov_len})) return false;
    }
    return request.whole();
}

namespace {

/// "read" and "only" with nothing but blanks, comments' signs and the like between them.
bool says_read_only(std::string_view text) noexcept {
    const auto is = [&](std::size_t at, std::string_view word) {
        return text.size() - at >= word.size() &&
               std::equal(
                   word.begin(), word.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char a, char b) { return a == (b | 0x20); }
               );
    };
    const auto is_letter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
    for (std::size_t at = 0; at + 8 <= text.size(); ++at) {
        if (!is(at, "read")) continue;
        std::size_t next = at + 4;
        while (next < text.size() && !is_letter(text[next]))
            ++next;
        if (next >= text.size() || !is(next, "only")) continue;
        if (next + 4 == text.size() || !(is_letter(text[next + 4]) || text[next + 4] == '_')) return true;
    }
    return false;
}

}  // namespace

bool request_relay::speaks_of_read_only(protocol::byte_view messages) noexcept {
    constexpr std::size_t header = protocol::frame_header_size;
    while (messages.size() > header) {
        const char type = static_cast<char>(messages[0]);
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        if (size > messages.size() || size < header) return true;
        const auto body = messages.subspan(header, size - header);
        if ((type == 'Q' || type == 'P') && says_read_only(protocol::as_text(body))) return true;
        if (type == 'B') {
            protocol::byte_reader reader{body};
            reader.cstring();
            const auto name = reader.cstring();
            const auto* known = statements_.find(name);
            const auto& bound = known != nullptr ? known->statement : statements_.unnamed;
            if ((known != nullptr || name.empty()) && bound && says_read_only(bound->text)) return true;
        }
        messages = messages.subspan(size);
    }
    return false;
}

/// What the client believes of its transaction, by what it has sent: answers may be far behind.
void request_relay::note_blocks(const protocol::statement_traits& traits) noexcept {
    using protocol::transaction_control;
    const bool inside = block_open_;
    const auto control = traits.control;
    if (control != transaction_control::none) {
        controls_group_ = true;
        if (write_open_ && hazard_ == no_hazard) blame(replay_hindrance::wrote_outside);
        write_open_ = false;
    }
    const bool ends = protocol::has(
        control, transaction_control::commit | transaction_control::rollback | transaction_control::prepare
    );
    // Of several statements in one text it is not known which of them stand in a block.
    const bool mixed = traits.multiple ||
                       protocol::has(control, transaction_control::hidden | transaction_control::prepared);
    if (mixed && (!inside || ends)) wrote_outside_ = true;
    if (protocol::has(control, transaction_control::savepoint)) went_back_ = true;
    failure_left_ = failure_left_ || ends || protocol::has(control, transaction_control::savepoint);
    if (ends) block_open_ = protocol::has(control, transaction_control::chain);
    if (!ends && protocol::has(control, transaction_control::begin))
        block_open_ = block_open_ || begins_surely();
}

/// Whether a BEGIN that is sent now is carried out if what stands before it is answered: an error in front of
/// it would have the server skip it, and what follows its group would run outside of the block.
bool request_relay::begins_surely() const noexcept {
    const bool extended = type_ == 'P' || type_ == 'B' || type_ == 'E';
    if (!extended) return true;
    // A portal with a name may be run later, or never.
    if (type_ == 'B' && !body().empty() && body().front() != std::byte{0}) return false;
    for (std::size_t i = server_->owed.size(); i > 0; --i) {
        const reply_kind kind = server_->owed.at(i - 1).kind;
        if (kind == reply_kind::execute) return false;
        if (kind == reply_kind::sync || kind == reply_kind::query || kind == reply_kind::function_call) break;
    }
    return true;
}

bool request_relay::block_open(pool::server_connection& server, bool failed) const noexcept {
    using protocol::transaction_end;
    const bool before = server.status != protocol::transaction_status::idle;
    if (!failed) return server.owed.empty() && !server.owed.group_open() ? before : block_open_;
    bool open =
        answered_block_ == answered_block::as_before ? before : answered_block_ == answered_block::open;
    // Behind the end of the group that has failed, which stands in front.
    for (std::size_t i = 1; i < server.owed.size(); ++i) {
        const transaction_end ends = server.owed.at(i).ends;
        if (ends != transaction_end::unknown)
            open = ends == transaction_end::begun || ends == transaction_end::chained;
    }
    return open;
}

void request_relay::answered(std::string_view tag, protocol::transaction_end ends) noexcept {
    using protocol::transaction_end;
    if (tag == "BEGIN" || tag == "START TRANSACTION" || ends == transaction_end::chained) {
        answered_block_ = answered_block::open;
    } else if (tag != "ROLLBACK" || ends != transaction_end::unknown) {
        answered_block_ = answered_block::over;  // and not a ROLLBACK TO SAVEPOINT
    }
}

/// A COMMIT that fails ends its block.
void request_relay::failed(pool::server_connection& server) noexcept {
    using protocol::transaction_end;
    if (server.owed.empty()) return;
    const transaction_end ends = server.owed.front().ends;
    if (ends == transaction_end::idle || ends == transaction_end::chained)
        answered_block_ = answered_block::over;
}

bool request_relay::end_answered_group(pool::server_connection& server, bool& ready_owed) {
    ready_owed = !server.owed.empty();
    if (!ready_owed) return server.owed.end_group();
    const reply_kind kind = server.owed.front().kind;
    return (kind == reply_kind::sync || kind == reply_kind::query) && server.owed.ready();
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
                // Behind what fails in the same group the server skips it, up to the Sync.
                if (!in_group) left.ends.push_back(true);
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
    names_.rewind(statements_);
    skip_to_sync_ = body_discard_ = false;
    body_left_ = 0;
    request_over();
}

request_relay::belief request_relay::begin_again() {
    belief what{names_.rewind(statements_), skip_to_sync_};
    skip_to_sync_ = body_discard_ = false;
    body_left_ = 0;
    request_over();
    return what;
}

std::size_t request_relay::stand_by(belief what, std::span<const std::byte> data, bool begun) noexcept {
    believe(statements_, std::move(what.names));
    skip_to_sync_ = what.skips;
    body_left_ = 0;
    if (!begun) return 0;
    const std::size_t size = protocol::load_u32(data.data() + 1) + std::size_t{1};
    const std::size_t here = std::min(size, data.size());
    body_left_ = size - here;
    body_discard_ = true;
    return here;
}

std::size_t request_relay::refuse_front(std::span<const std::byte> data, bool& needs_ready) noexcept {
    constexpr std::size_t header_bytes = protocol::frame_header_size;
    needs_ready = false;
    if (data.size() < header_bytes) return 0;
    const char type = static_cast<char>(data[0]);
    if (type != 'Q' && type != 'F') {
        skip_to_sync_ = true;
        return 0;
    }
    needs_ready = true;
    const std::size_t size = protocol::load_u32(data.data() + 1) + std::size_t{1};
    const std::size_t here = std::min(size, data.size());
    body_left_ = size - here;
    body_discard_ = true;
    return here;
}

protocol::statement_kind request_relay::kind_in_front(std::span<const std::byte> data) const {
    constexpr std::size_t header = protocol::frame_header_size;
    if (data.size() < header) return protocol::statement_kind::unknown;
    const char type = static_cast<char>(data[0]);
    const std::size_t size = protocol::load_u32(data.data() + 1) + std::size_t{1};
    if ((type != 'Q' && type != 'P') || size <= header || data.size() < size)
        return protocol::statement_kind::unknown;
    protocol::byte_reader reader{protocol::byte_view{data}.subspan(header, size - header)};
    if (type == 'P') reader.cstring();
    const std::string_view text = reader.cstring();
    if (reader.failed()) return protocol::statement_kind::unknown;
    return context_.classifier.classify(text, scan()).kind;
}

bool request_relay::begins_block(std::span<const std::byte> data) const {
    if (kind_in_front(data) != protocol::statement_kind::begin) return false;
    constexpr std::size_t header = protocol::frame_header_size;
    const bool simple = static_cast<char>(data[0]) == 'Q';
    while (data.size() >= header) {
        const char type = static_cast<char>(data[0]);
        const std::size_t size = protocol::load_u32(data.data() + 1) + std::size_t{1};
        if (size >= data.size()) return false;
        data = data.subspan(size);
        if (simple || type == 'S') return true;
    }
    return false;
}

}  // namespace pgmend::proxy
