#include "pool/reply_pump.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "pool/error_instead.hpp"
#include "protocol/error_response.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/result_digest.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::pool {

using protocol::backend_message;
using protocol::byte_view;
using protocol::frame_header;
using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {

constexpr std::size_t made_bytes = 1024;  // room for the longest frame made here
constexpr std::size_t name_bytes = 256;   // of a client's name for a statement in an error of ours

/// How much of a message must be seen before it can be dealt with.
enum class attention : std::uint8_t { invalid, header, row, description, whole };

constexpr std::array<attention, 256> make_table() {
    std::array<attention, 256> table{};
    for (const char c : {'d', 'c', 't', 'n', '1', '2', '3', 's', 'I', 'V', 'G', 'H', 'W'})
        table[static_cast<unsigned char>(c)] = attention::header;
    for (const char c : {'Z', 'C', 'S', 'E', 'N', 'A'})
        table[static_cast<unsigned char>(c)] = attention::whole;
    table['D'] = attention::row;
    table['T'] = attention::description;
    return table;
}
constexpr auto attention_of = make_table();

/// One call of pump_replies.
class pump {
public:
    pump(
        server_connection& server, reply_sink& sink, gather& flight, protocol::parameter_store& parameters,
        pump_limits limits
    )
        : server_(server), sink_(sink), flight_(flight), parameters_(parameters), limits_(limits) {}

    pump_step run() {
        data_ = server_.in.bytes();
        rest_of_body();
        close_run();
        if (server_.owed.ours_is_next() && !emit_synthesized(server_, flight_))
            return finish(pump_result::flight_full);
        while (data_.size() - at_ >= protocol::frame_header_size) {
            if (!flight_.has_room(made_bytes)) return finish(pump_result::flight_full);
            const std::byte* header_bytes = data_.data() + at_;
            if (!protocol::valid_length(header_bytes)) return finish(pump_result::violation);
            const frame_header header = protocol::decode_header(header_bytes);
            const attention needed = attention_of[static_cast<unsigned char>(header.type)];
            if (needed == attention::invalid) return finish(pump_result::violation);
            if (needed == attention::header || (needed != attention::whole && !for_us(needed))) {
                if (!by_header(header)) return finish(pump_result::violation);
                continue;
            }
            const std::size_t available = data_.size() - at_;
            // Of one that is longer than may be held, as much is looked at as may: not what happened to come.
            const std::size_t wanted = std::min(header.size(), limits_.held_message);
            if (wanted > available) return finish(pump_result::drained, wanted);
            const std::size_t seen = wanted - protocol::frame_header_size;
            body_ = byte_view{header_bytes + protocol::frame_header_size, seen};
            if (server_.hold_ready && header.type == 'Z' && held_back()) return finish(pump_result::drained);
            if (!by_body(header)) return finish(pump_result::violation);
        }
        const bool all = data_.size() == at_;
        // Of ours there is more to say than the flight could take, and no byte will come to remind of it.
        if (unsaid_ && all) [[unlikely]]
            return finish(pump_result::flight_full);
        return finish(pump_result::drained, all ? 0 : protocol::frame_header_size);
    }

private:
    /// Whether a row, or a description, is to be looked at.
    bool for_us(attention what) noexcept {
        if (server_.owed.empty()) return false;
        const owed_reply& reply = server_.owed.front();
        return what == attention::row
                   ? reply.action == reply_action::own
                   : reply.kind == reply_kind::describe && reply.answer != protocol::description::unread;
    }
    bool forwarding() noexcept {
        if (server_.owed.empty()) return true;
        const reply_action action = server_.owed.front().action;
        return action == reply_action::forward || action == reply_action::substitute;
    }

    void rest_of_body() noexcept {
        if (server_.body_left == 0) return;
        const std::size_t now = std::min(server_.body_left, data_.size());
        server_.body_left -= now;
        at_ = now;
        if (!server_.body_forward) run_ = now;
    }

    /// Puts the bytes up to here, all of them the client's, into the flight.
    void close_run() noexcept {
        if (at_ > run_) flight_.add(data_.subspan(run_, at_ - run_));
        run_ = at_;
    }

    /// Moves past a message that is forwarded or not; its body may reach beyond what has been read.
    void advance(const frame_header& header, bool forward) noexcept {
        if (!forward) close_run();
        const std::size_t available = data_.size() - at_;
        if (header.size() <= available) {
            at_ += header.size();
        } else {
            at_ = data_.size();
            server_.body_left = header.size() - available;
            server_.body_forward = forward;
        }
        if (!forward) run_ = at_;
    }

    /// The front of the queue has its answer. False when it was not what was owed.
    bool complete(const frame_header& header, reply_kind expected) {
        if (server_.owed.empty() || server_.owed.front().kind != expected) return false;
        owed_reply& reply = server_.owed.front();
        if (reply.action == reply_action::substitute) return false;  // it was bound to fail
        if (expected == reply_kind::execute && header.type != 'C' && forwarding()) sink_.ended_without_tag();
        advance(header, forwarding());
        if (expected == reply_kind::parse) confirm(reply);
        if (reply.evicted != 0) server_.statements.closed(reply.evicted);
        server_.owed.pop();
        close_run_if_synthesized();
        return true;
    }

    void close_run_if_synthesized() {
        if (!server_.owed.ours_is_next()) return;
        close_run();
        unsaid_ = !emit_synthesized(server_, flight_);
    }

    bool front_is(reply_kind kind) noexcept {
        return !server_.owed.empty() && server_.owed.front().kind == kind;
    }

    bool by_header(const frame_header& header) {
        switch (static_cast<backend_message>(header.type)) {
            case backend_message::parse_complete:
                return complete(header, reply_kind::parse);
            case backend_message::bind_complete:
                return complete(header, reply_kind::bind);
            case backend_message::close_complete:
                return complete(header, reply_kind::close);
            case backend_message::portal_suspended:
                return complete(header, reply_kind::execute);
            case backend_message::no_data:
                if (for_us(attention::description)) described(protocol::no_result_digest);
                return complete(header, reply_kind::describe);
            case backend_message::row_description:
                if (front_is(reply_kind::describe)) return complete(header, reply_kind::describe);
                break;
            case backend_message::empty_query_response:
                if (front_is(reply_kind::execute)) return complete(header, reply_kind::execute);
                break;
            case backend_message::copy_in_response:
                if (server_.owed.empty()) return false;
                server_.owed.begin_copy_in();
                break;
            case backend_message::copy_both_response:
                return false;  // only walsenders say so, and those are relayed blindly
            default:
                break;
        }
        const bool forward = forwarding();
        advance(header, forward);
        if (forward) pass_rows();
        return true;
    }

    /// Rows and copy data of the client's: of these only the headers are looked at, many in a row.
    void pass_rows() noexcept {
        const std::byte* next = data_.data() + at_;
        for (std::size_t left = data_.size() - at_; left >= protocol::frame_header_size;) {
            const auto type = static_cast<backend_message>(next[0]);
            if (type != backend_message::data_row && type != backend_message::copy_data) break;
            const std::size_t size = protocol::load_u32(next + 1) + std::size_t{1};
            if (size < protocol::frame_header_size || size > left) break;  // dealt with like any other
            next += size;
            left -= size;
        }
        at_ = static_cast<std::size_t>(next - data_.data());
    }

    bool by_body(const frame_header& header) {
        switch (static_cast<backend_message>(header.type)) {
            case backend_message::ready_for_query:
                return ready_for_query(header);
            case backend_message::command_complete:
                return command_complete(header);
            case backend_message::parameter_status:
                return parameter_status(header);
            case backend_message::error_response:
                return error_response(header);
            case backend_message::row_description:
                described(
                    body_.size() == header.body ? protocol::result_digest(body_) : protocol::ambiguous_result
                );
                return complete(header, reply_kind::describe);
            case backend_message::data_row:
                sink_.own_row(body_);
                advance(header, false);
                return true;
            case backend_message::notice_response:
                if (leaves(false)) {
                    advance(header, false);
                    return true;
                }
                [[fallthrough]];
            default: {  // notices and notifications belong to the client unless our own query caused them
                const bool ours = !server_.owed.empty() && server_.owed.front().action == reply_action::own &&
                                  header.type == 'N';
                const auto body = data_.subspan(at_ + protocol::frame_header_size, body_.size());
                advance(header, !ours && (header.type != 'A' || sink_.notification(body)));
                return true;
            }
        }
    }

    /// Whether the end of the request has to wait; what comes before it goes into the flight.
    bool held_back() {
        if (body_.size() != 1 || body_[0] != std::byte{'I'} || !forwarding()) return false;
        bool wait = false;
        const byte_view first = sink_.before_ready(wait);
        if (!first.empty()) {
            close_run();
            flight_.add(first);
        }
        return wait;
    }

    bool ready_for_query(const frame_header& header) {
        if (body_.size() != 1) return false;
        const char code = static_cast<char>(body_[0]);
        if (code != 'I' && code != 'T' && code != 'E') return false;
        server_.status = static_cast<transaction_status>(code);
        const bool forward = forwarding();
        if (!server_.owed.ready()) return false;
        advance(header, forward);
        sink_.ready();
        close_run_if_synthesized();
        return true;
    }

    /// The server has said what the result of a prepared statement is like.
    void described(std::uint64_t digest) {
        const owed_reply& reply = server_.owed.front();
        if (reply.answer == protocol::description::checked) {
            server_.statements.checked(reply.statement->id, digest == reply.statement->described);
        } else if (reply.action == reply_action::forward) {
            reply.statement.describe(digest);
        }
    }

    /// A client's statement is not there, or not what it was: nothing told yet, all may be sent again.
    bool stale_plan(const protocol::error_view& error) {
        const owed_reply& reply = server_.owed.front();
        const bool by_name = reply.kind == reply_kind::bind || reply.kind == reply_kind::describe;
        if (!by_name || reply.client == nullptr || !reply.statement) return false;
        const bool gone = error.sqlstate == protocol::sqlstate::invalid_sql_statement_name;
        const bool changed = error.sqlstate == protocol::sqlstate::feature_not_supported &&
                             error.routine.starts_with("RevalidateCached");
        if (!gone && !changed) return false;
        close_run();
        return sink_.stale_plan(reply.statement, flight_.empty());
    }

    /// It takes no writes now, for which its client may wait; of a standby any error may be its own.
    bool refused_write(const protocol::error_view& error, const frame_header& header) {
        const bool refusal = server_.standby || error.sqlstate == protocol::sqlstate::read_only_transaction;
        if (!refusal || error.fatal()) return false;
        if (body_.size() != header.body) return false;
        close_run();
        if (!sink_.refused_write({data_.data() + at_, header.size()})) return false;
        advance(header, false);
        const reply_kind kind = server_.owed.front().kind;
        if (kind != reply_kind::query && kind != reply_kind::function_call && kind != reply_kind::sync) {
            server_.owed.front().failed = true;
            skip_group();
        }
        server_.owed.front().action = reply_action::swallow;
        return true;
    }

    bool command_complete(const frame_header& header) {
        protocol::byte_reader reader{body_};
        const std::string_view tag = reader.cstring();
        if (tag == "DISCARD ALL" || tag == "DEALLOCATE ALL") server_.statements.clear();
        server_.owed.end_copy();
        if (forwarding()) sink_.command_complete(tag);
        if (front_is(reply_kind::execute)) return complete(header, reply_kind::execute);
        advance(header, forwarding());
        return true;
    }

    bool parameter_status(const frame_header& header) {
        protocol::byte_reader reader{body_};
        const std::string_view name = reader.cstring();
        const std::string value{reader.cstring()};
        if (!reader.done()) return false;
        server_.reported = parameters_.with(server_.reported, name, &value);
        const bool own = !server_.owed.empty() && server_.owed.front().action == reply_action::own;
        const std::optional<std::string> told = own ? std::nullopt : sink_.reported(name, value);
        if (told && *told != value) {
            std::vector<std::byte> frame;
            protocol::message_writer{frame}.parameter_status(name, *told);
            put(frame);
        }
        advance(header, told == value);
        return true;
    }

    /// Whether the message in `body_` says that the server goes, and the sink takes it.
    bool leaves(bool is_error) {
        const auto said = protocol::read_error(body_);
        // PostgreSQL itself warns; a function's notice may have any code.
        if (is_error ? !said.fatal() : said.severity != "WARNING") return false;
        const bool going = said.sqlstate == protocol::sqlstate::admin_shutdown ||
                           said.sqlstate == protocol::sqlstate::crash_shutdown ||
                           said.sqlstate == protocol::sqlstate::cannot_connect_now;
        return going && sink_.farewell(said.sqlstate, said.message, is_error);
    }

    bool error_response(const frame_header& header) {
        if (leaves(true)) {
            advance(header, false);
            return true;
        }
        const protocol::error_view error = protocol::read_error(body_);
        if (server_.owed.empty()) {
            // Nothing was asked: it says good-bye, or it is not where we think it is.
            server_.close_when_free = true;
            advance(header, true);
            sink_.error(error.sqlstate, error.message, error.fatal(), false);
            return true;
        }
        owed_reply& reply = server_.owed.front();
        const reply_action action = reply.action;
        const bool own = action == reply_action::own;
        if (action == reply_action::forward && !server_.standby && stale_plan(error)) {
            advance(header, false);
            skip_group();
            return true;
        }
        const bool clients =
            action == reply_action::forward || (server_.standby && action == reply_action::substitute);
        if (clients && refused_write(error, header)) return true;
        sink_.error(error.sqlstate, error.message, error.fatal(), own);
        // Our words only where the server said what we made it say; 25P02 or FATAL are its own.
        bool substitute = action == reply_action::substitute && error.sqlstate == "26000";
        bool last = false;
        if (substitute) {
            put(error_instead(reply.error));
        } else if (const auto words = own ? byte_view{} : sink_.instead_of(error, last); !words.empty()) {
            put(words);
            substitute = true;
        } else if (!own && action != reply_action::drop && reply.client != nullptr) {
            substitute = rename_statement(reply, header);
        }
        advance(header, !own && !substitute && action != reply_action::drop);
        if (last || (own && sink_.leaving())) data_ = data_.first(at_);
        server_.owed.error_during_copy();
        server_.owed.end_copy();
        switch (reply.kind) {
            case reply_kind::parse:
            case reply_kind::bind:
            case reply_kind::describe:
            case reply_kind::execute:
            case reply_kind::close:
                reply.failed = true;
                skip_group();
                break;
            case reply_kind::sync:
            case reply_kind::query:
            case reply_kind::function_call:
            case reply_kind::copy_end:
                break;
        }
        return true;
    }

    void skip_group() {
        server_.owed.skip_to_sync(
            [this](const owed_reply& skipped) { take_back(skipped); },
            [this](owed_reply& skipped) { sink_.undone(skipped); }
        );
    }

    /// The server did not do it after all.
    void take_back(const owed_reply& skipped) {
        if (skipped.evicted != 0) server_.statements.skipped(skipped.evicted);
        if (skipped.answer == protocol::description::checked)
            server_.statements.checked(skipped.statement->id, false);  // not proven to be the same
        if (!skipped.statement || skipped.kind != reply_kind::parse) return;
        if (skipped.named_on_server) {
            server_.statements.skipped(skipped.statement->id);
        } else if (skipped.action != reply_action::synthesize) {
            server_.statements.drop_unnamed();
        }
    }

    void confirm(const owed_reply& parsed) {
        if (!parsed.statement) return;
        parsed.statement.prove();
        if (parsed.named_on_server) {
            server_.statements.confirm(parsed.statement->id);
        } else {
            server_.statements.confirm_unnamed(parsed.statement->id);
        }
    }

    /// PostgreSQL's words with the server's name of a statement: the client knows it by its own. False when
    /// the message does not speak of it, or is not whole.
    bool rename_statement(const owed_reply& reply, const frame_header& header) {
        const std::string server_name = reply.error == protocol::substitute_error::duplicate_statement
                                            ? std::string{"\"pgmend_0\""}
                                        : reply.statement ? '"' + reply.statement->server_name + '"'
                                                          : std::string{};
        const std::string_view text = protocol::as_text(body_);
        const std::size_t at = server_name.empty() ? text.npos : text.find(server_name);
        if (at == text.npos || body_.size() != header.body || !flight_.has_room(body_.size() + made_bytes))
            return false;
        close_run();
        const std::string quoted = '"' + reply.client->name().substr(0, name_bytes) + '"';
        const std::size_t size =
            protocol::frame_header_size + text.size() - server_name.size() + quoted.size();
        const auto frame = flight_.make(size);
        frame[0] = std::byte{'E'};
        protocol::store_u32(frame.data() + 1, static_cast<std::uint32_t>(size - 1));
        char* to = reinterpret_cast<char*>(frame.data()) + protocol::frame_header_size;
        to = std::copy_n(text.data(), at, to);
        to = std::copy(quoted.begin(), quoted.end(), to);
        std::copy(text.begin() + static_cast<std::ptrdiff_t>(at + server_name.size()), text.end(), to);
        return true;
    }

    /// A whole message of ours, in the place of the server's; it fits where there is room at all.
    void put(byte_view frame) {
        close_run();
        const auto room = flight_.make(frame.size());
        std::copy(frame.begin(), frame.end(), room.begin());
    }

    pump_step finish(pump_result result, std::size_t want = 0) {
        close_run();
        return {result, at_, want};
    }

    server_connection& server_;
    reply_sink& sink_;
    gather& flight_;
    protocol::parameter_store& parameters_;
    pump_limits limits_;
    std::span<std::byte> data_;
    byte_view body_;
    std::size_t run_ = 0;  ///< begin of the bytes to forward that are not in the flight yet
    std::size_t at_ = 0;
    bool unsaid_ = false;  ///< it is our turn to answer, and the flight is full
};

}  // namespace

bool emit_synthesized(server_connection& server, gather& flight) {
    if (server.body_left != 0) return true;  // not inside a message that has not come whole
    while (server.owed.ours_is_next()) {
        if (!flight.has_room(made_bytes)) return false;
        owed_reply& reply = server.owed.front();
        const char type = reply.kind == reply_kind::parse ? '1' : '3';
        const auto frame = flight.make(protocol::frame_header_size);
        frame[0] = static_cast<std::byte>(type);
        protocol::store_u32(frame.data() + 1, 4);
        server.owed.pop();
    }
    return true;
}

pump_step pump_replies(
    server_connection& server, reply_sink& sink, gather& flight, protocol::parameter_store& parameters,
    pump_limits limits
) {
    return pump{server, sink, flight, parameters, limits}.run();
}

}  // namespace pgmend::pool
