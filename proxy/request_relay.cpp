#include "proxy/request_relay.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"

namespace pgmend::proxy {

using protocol::frontend_message;
using protocol::has;
using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::session_effect;
using protocol::statement_ref;
using protocol::substitute_error;

namespace {

constexpr std::size_t header_bytes = protocol::frame_header_size;
constexpr std::size_t made_bytes = 1024;           // most that is made for one message, injected texts apart
constexpr std::size_t small_message = 10'000;      // PostgreSQL's PQ_SMALL_MESSAGE_LIMIT
constexpr std::size_t large_message = 0x3ffffffe;  // and PQ_LARGE_MESSAGE_LIMIT
constexpr std::size_t longest_name = 512;          // of a portal or statement; PostgreSQL cuts at 63
constexpr std::string_view decoy_name = "pgmend_0";
constexpr std::string_view deallocate_decoy = "DEALLOCATE \"pgmend_0\"";

/// The longest body PostgreSQL takes of each message; zero: it knows no such message.
constexpr std::array<std::size_t, 256> make_limits() {
    std::array<std::size_t, 256> limits{};
    for (const char c : {'B', 'F', 'P', 'Q', 'd'}) {
        limits[static_cast<unsigned char>(c)] = large_message;
    }
    for (const char c : {'C', 'D', 'E', 'H', 'S', 'X', 'c', 'f'}) {
        limits[static_cast<unsigned char>(c)] = small_message;
    }
    return limits;
}
constexpr auto body_limit = make_limits();

/// PostgreSQL's own functions on large objects, which drivers call by FunctionCall; they leave nothing
/// behind.
bool is_large_object_function(std::uint32_t oid) noexcept {
    static constexpr std::array<std::uint32_t, 15> known{715, 764, 765, 767, 952,  953,  954, 955,
                                                         956, 957, 958, 964, 3170, 3171, 3172};
    return std::binary_search(known.begin(), known.end(), oid);
}

bool may_write(const protocol::statement_traits& traits) noexcept {
    using protocol::statement_kind;
    switch (traits.kind) {
        case statement_kind::begin:
        case statement_kind::commit:
        case statement_kind::rollback:
        case statement_kind::savepoint:
        case statement_kind::release:
        case statement_kind::rollback_to:
        case statement_kind::set:
        case statement_kind::reset:
        case statement_kind::show:
            return false;
        default:
            return !traits.read_only;
    }
}

void put(std::byte*& to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    to += text.size();
    *to++ = std::byte{0};
}

}  // namespace

request_step request_relay::read(
    std::span<std::byte> data, pool::server_connection* server, pool::gather& to_server,
    pool::gather& to_client
) {
    data_ = data;
    at_ = 0;
    server_ = server;
    to_server_ = &to_server;
    to_client_ = &to_client;
    scratch_.clear();
    std::size_t want = 0;
    for (;;) {
        if (body_left_ != 0) {
            pass_body(at_);
            if (at_ == data_.size()) return {request_result::need_more, at_, 0};
        }
        if (data_.size() - at_ < header_bytes) {
            want = data_.size() == at_ ? 0 : header_bytes;
            return {request_result::need_more, at_, want};
        }
        const std::byte* header = data_.data() + at_;
        type_ = static_cast<char>(header[0]);
        const std::size_t limit = body_limit[static_cast<unsigned char>(type_)];
        if (limit == 0) {
            violation_ = "invalid frontend message type";
            return {request_result::violation, at_};
        }
        const std::uint32_t length = protocol::load_u32(header + 1);
        if (length < 4 || length - 4 > limit) {
            violation_ = "invalid message length";
            return {request_result::violation, at_};
        }
        size_ = length + std::size_t{1};
        if (!to_server.has_room(made_bytes) || !to_client.has_room(made_bytes)) {
            return {request_result::flight_full, at_};
        }
        const outcome what = server_ == nullptr ? without_server() : message();
        if (what == outcome::wait_whole)
            return {request_result::need_more, at_, std::min(size_, context_.held_message)};
        if (what == outcome::stop) return {result_, at_};
    }
}

request_relay::outcome request_relay::without_server() {
    switch (static_cast<frontend_message>(type_)) {
        case frontend_message::terminate:
            return stop(request_result::terminate);
        case frontend_message::sync: {
            skip_to_sync_ = false;
            at_ += size_;
            const auto ready = to_client_->make(header_bytes + 1);
            static constexpr std::array<char, 6> idle{'Z', 0, 0, 0, 5, 'I'};
            std::memcpy(ready.data(), idle.data(), idle.size());
            return outcome::done;
        }
        case frontend_message::flush:
        case frontend_message::copy_data:
        case frontend_message::copy_done:
        case frontend_message::copy_fail:
            // PostgreSQL ignores what is still coming of a copy that failed.
            break;
        default:
            if (!skip_to_sync_) return stop(request_result::need_server);
            break;
    }
    body_left_ = size_;
    body_discard_ = true;
    pass_body(at_);
    return outcome::done;
}

request_relay::outcome request_relay::message() {
    const bool in_copy = server_->owed.copying_in();
    if (server_->owed.full() && type_ != 'd' && type_ != 'X') return stop(request_result::too_many);
    switch (static_cast<frontend_message>(type_)) {
        case frontend_message::query:
            return query();
        case frontend_message::parse:
            return parse();
        case frontend_message::bind:
            return bind();
        case frontend_message::describe:
            return describe();
        case frontend_message::close:
            return close();
        case frontend_message::execute:
            return execute();
        case frontend_message::sync:
            // During COPY FROM STDIN the server ignores it.
            return in_copy ? forward_plain() : forward(reply_kind::sync);
        case frontend_message::flush:
            flush_seen_ = true;
            return forward_plain();
        case frontend_message::copy_data:
            return forward_plain();
        case frontend_message::copy_done:
        case frontend_message::copy_fail:
            server_->owed.push_copy_end();
            return forward_plain();
        case frontend_message::function_call: {
            if (data_.size() - at_ < header_bytes + 4 && size_ >= header_bytes + 4)
                return outcome::wait_whole;
            const std::uint32_t function =
                size_ >= header_bytes + 4 ? protocol::load_u32(data_.data() + at_ + header_bytes) : 0;
            if (!is_large_object_function(function)) facts_.pins.add(pin_reason::unknown);
            may_have_written_ = true;
            return forward(reply_kind::function_call);
        }
        case frontend_message::terminate:
            return stop(request_result::terminate);
        case frontend_message::password:
            break;
    }
    return violate("invalid frontend message type");
}

void request_relay::pass_body(std::size_t from) {
    const std::size_t now = std::min(body_left_, data_.size() - from);
    if (!body_discard_) to_server_->add(data_.subspan(from, now));
    body_left_ -= now;
    at_ = from + now;
}

/// The message goes on as it is, however much of it is here.
void request_relay::pass_through() {
    body_left_ = size_;
    body_discard_ = false;
    pass_body(at_);
}

request_relay::outcome request_relay::forward(reply_kind kind) {
    owed_reply reply;
    reply.kind = kind;
    owe(std::move(reply));
    pass_through();
    return outcome::done;
}

request_relay::outcome request_relay::forward_plain() {
    pass_through();
    return outcome::done;
}

protocol::scan_settings request_relay::scan() const noexcept {
    return {facts_.told->standard_conforming_strings, facts_.told->ambiguous_encoding};
}

protocol::parse_conditions request_relay::conditions() const noexcept {
    // In doubt, nothing is shared: no other session has this address.
    if (facts_.in_doubt()) return {facts_.settings, reinterpret_cast<std::uintptr_t>(this)};
    return {facts_.settings, context_.schema_epoch};
}

void request_relay::note(const protocol::statement_traits& traits, std::string_view text) {
    context_.metrics.queries.add();
    if (may_write(traits)) may_have_written_ = true;
    if (has(traits.control, protocol::transaction_control::commit | protocol::transaction_control::prepare |
                                protocol::transaction_control::prepared |
                                protocol::transaction_control::hidden)) {
        commit_sent_ = true;
    }
    const bool idle = server_->status == protocol::transaction_status::idle && server_->owed.empty() &&
                      !server_->owed.group_open();
    facts_.note(traits, text, idle);
    if (facts_.take_schema_change()) ++context_.schema_epoch;
    if (facts_.had_temporary_objects()) server_->had_temporary_objects = true;
}

request_relay::outcome request_relay::query() {
    if (!whole() && size_ <= context_.held_message) return outcome::wait_whole;
    std::string_view text;
    if (whole()) {
        text = protocol::as_text(body());
        if (text.empty() || text.back() != '\0') return violate("invalid string in message");
        text.remove_suffix(1);
    } else {
        text = protocol::as_text(body());
    }
    const protocol::statement_traits traits =
        whole() ? context_.classifier.classify(text, scan()) : protocol::statement_traits{};
    owed_reply reply;
    reply.kind = reply_kind::query;
    reply.previous = statements_.unnamed;
    if (has(traits.effects, session_effect::sql_deallocate) && deallocate(text)) {
        std::vector<std::byte> frame;
        protocol::message_writer{frame}.query(deallocate_decoy);
        inject(frame);
        at_ += size_;
    } else {
        note(traits, text);
        pass_through();
    }
    // A simple Query drops the unnamed statement, ours and the server's.
    statements_.unnamed = {};
    portal_ = {};
    server_->statements.set_unnamed(0);
    owe(std::move(reply));
    return outcome::done;
}

/// DEALLOCATE of a statement that was prepared by the protocol, whose name the server does not know: the
/// client's entry goes, and the server is given something of its own to deallocate, so that the answer is its
/// own.
bool request_relay::deallocate(std::string_view text) {
    if (server_->status == protocol::transaction_status::failed) return false;
    const auto changes = protocol::session_changes(text);
    if (changes.size() != 1 || changes[0].kind != protocol::session_change_kind::deallocate) return false;
    protocol::client_statement* entry = statements_.find(changes[0].name);
    if (entry == nullptr) return false;
    entry->statement = {};
    inject_decoy();
    return true;
}

void request_relay::inject_decoy() {
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.close_statement(decoy_name);
    writer.parse(decoy_name, "", std::array<std::byte, 2>{});
    inject(frames);
    owe_swallowed(reply_kind::close);
    owe_swallowed(reply_kind::parse);
}

void request_relay::owe_swallowed(reply_kind kind) {
    owed_reply reply;
    reply.kind = kind;
    reply.action = reply_action::swallow;
    owe(std::move(reply));
}

/// Makes room for one more statement on the server.
void request_relay::evict() {
    const auto evicted = server_->statements.evict();
    if (!evicted) return;
    std::vector<std::byte> closing;
    protocol::message_writer{closing}.close_statement(pool::server_statements::name_of(*evicted));
    inject(closing);
    owe_swallowed(reply_kind::close);
}

bool request_relay::inject(const std::vector<std::byte>& frames) {
    if (to_server_->has_room(frames.size())) {
        const auto room = to_server_->make(frames.size());
        std::copy(frames.begin(), frames.end(), room.begin());
        return true;
    }
    if (!scratch_.empty()) return false;
    scratch_ = frames;
    to_server_->add(scratch_);
    return true;
}

/// Sends ahead what the server lacks. False when the flight must go first; nothing has happened then.
bool request_relay::provide(const statement_ref& statement, bool named) {
    pool::server_statements& prepared = server_->statements;
    if (named ? prepared.use(statement->id) : prepared.unnamed() == statement->id) return true;
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.parse(named ? statement->server_name : "", statement->text, protocol::as_bytes(statement->types));
    if (!to_server_->has_room(frames.size() + made_bytes) && !scratch_.empty()) return false;
    if (named) {
        evict();
        prepared.insert(statement->id);
    } else {
        prepared.set_unnamed(statement->id);
    }
    inject(frames);
    context_.metrics.prepared_statements_parsed.add(config::metrics::parse_route::injected);
    owed_reply reply;
    reply.kind = reply_kind::parse;
    reply.action = reply_action::swallow;
    reply.named_on_server = named;
    reply.statement = statement;
    owe(std::move(reply));
    return true;
}

/// The client's message must fail, and with it the client's transaction, exactly where it stands: the server
/// is sent one that fails there, and its error gets PostgreSQL's words for the client's mistake.
request_relay::outcome request_relay::force_error(substitute_error error, std::string_view name) {
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.frame(
        'D', {protocol::as_bytes("Spgmend_none"), protocol::as_bytes({"\0", 1})}
    );
    inject(frame);
    owed_reply reply;
    reply.kind = reply_kind::describe;
    reply.action = reply_action::substitute;
    reply.error = error;
    reply.client_name = std::make_unique<std::string>(name);
    owe(std::move(reply));
    body_left_ = size_;
    body_discard_ = true;
    pass_body(at_);
    return outcome::done;
}

request_relay::outcome request_relay::parse() {
    if (!whole() && size_ <= context_.held_message) return outcome::wait_whole;
    protocol::byte_reader reader{body()};
    const std::string_view name = reader.cstring();
    if (reader.failed() || name.size() > longest_name) {
        return whole() ? forward(reply_kind::parse) : violate("statement name too long");
    }
    const bool held = whole();
    const std::string_view text = held ? reader.cstring() : std::string_view{};
    if (held && reader.failed()) return forward(reply_kind::parse);  // the server says what is wrong with it
    const protocol::byte_view types = reader.rest();
    if (!name.empty() && statements_.find(name) != nullptr) {
        return force_error(substitute_error::duplicate_statement, name);
    }
    if (!name.empty() && statements_.size() >= context_.client_statements) {
        return force_error(substitute_error::too_many_statements, name);
    }
    statement_ref statement;
    bool rewritten = false;
    if (held) {
        const auto classify = [this](std::string_view sql) {
            return context_.classifier.classify(sql, scan());
        };
        statement = context_.statements.intern(text, types, conditions(), classify);
        if (has(statement->traits.effects, session_effect::sql_deallocate) && deallocate(text)) {
            statement = context_.statements.intern(deallocate_decoy, types, conditions(), classify);
            rewritten = true;
        }
    } else {
        // Too long to be kept: it lives on this server alone, and the client with it.
        const auto unknown = [](std::string_view) { return protocol::statement_traits{}; };
        statement =
            context_.statements.intern({}, {}, {nullptr, reinterpret_cast<std::uintptr_t>(this)}, unknown);
        facts_.pins.add(pin_reason::unknown);
    }

    owed_reply reply;
    reply.kind = reply_kind::parse;
    reply.statement = statement;
    if (name.empty()) {
        reply.previous = std::exchange(statements_.unnamed, statement);
        server_->statements.set_unnamed(statement->id);
    } else {
        protocol::client_statement& entry = statements_.entry(name);
        reply.client = &entry;
        reply.previous = std::exchange(entry.statement, statement);
        if (server_->statements.use(statement->id)) {
            reply.action = reply_action::synthesize;
            owe(std::move(reply));
            at_ += size_;
            context_.metrics.prepared_statements_parsed.add(config::metrics::parse_route::answered);
            return outcome::done;
        }
        evict();
        server_->statements.insert(statement->id);
        reply.named_on_server = true;
    }
    context_.metrics.prepared_statements_parsed.add(config::metrics::parse_route::forwarded);
    owe(std::move(reply));
    if (name.empty() && !rewritten) {
        pass_through();
        return outcome::done;
    }
    if (rewritten) {
        std::vector<std::byte> frame;
        protocol::message_writer{frame}.parse(
            name.empty() ? std::string_view{} : statement->server_name, statement->text, types
        );
        inject(frame);
        at_ += size_;
        return outcome::done;
    }
    // Another name in front, the client's bytes behind it.
    const std::string& server_name = statement->server_name;
    const std::size_t new_size = size_ - name.size() + server_name.size();
    const auto front = to_server_->make(header_bytes + server_name.size() + 1);
    std::byte* to = front.data();
    *to++ = std::byte{'P'};
    protocol::store_u32(to, static_cast<std::uint32_t>(new_size - 1));
    to += 4;
    put(to, server_name);
    const std::size_t skipped = header_bytes + name.size() + 1;
    body_left_ = size_ - skipped;
    body_discard_ = false;
    pass_body(at_ + skipped);
    return outcome::done;
}

request_relay::outcome request_relay::bind() {
    protocol::byte_reader reader{body()};
    const std::string_view portal = reader.cstring();
    const std::string_view name = reader.cstring();
    if (reader.failed()) {
        if (whole()) return forward(reply_kind::bind);
        if (data_.size() - at_ > 2 * longest_name) return violate("portal or statement name too long");
        return outcome::wait_whole;
    }
    if (portal.size() > longest_name || name.size() > longest_name)
        return violate("portal or statement name too long");
    statement_ref statement;
    if (name.empty()) {
        statement = statements_.unnamed;
        if (!statement) return force_error(substitute_error::no_unnamed_statement, name);
    } else if (const protocol::client_statement* entry = statements_.find(name)) {
        statement = entry->statement;
    } else if (name.starts_with(protocol::server_name_prefix)) {
        return force_error(substitute_error::unknown_statement, name);
    } else {
        return forward(reply_kind::bind);  // the server's own error names it as the client does
    }
    if (!provide(statement, !name.empty())) return stop(request_result::flight_full);
    if (statement->text == deallocate_decoy) inject_decoy();
    if (portal.empty()) {
        portal_ = statement;
    } else {
        note(statement->traits, statement->text);
    }
    if (name.empty()) return forward(reply_kind::bind);
    const std::string& server_name = statement->server_name;
    const std::size_t new_size = size_ - name.size() + server_name.size();
    const auto front = to_server_->make(header_bytes + portal.size() + 1 + server_name.size() + 1);
    std::byte* to = front.data();
    *to++ = std::byte{'B'};
    protocol::store_u32(to, static_cast<std::uint32_t>(new_size - 1));
    to += 4;
    put(to, portal);
    put(to, server_name);
    owed_reply reply;
    reply.kind = reply_kind::bind;
    owe(std::move(reply));
    const std::size_t skipped = header_bytes + portal.size() + 1 + name.size() + 1;
    body_left_ = size_ - skipped;
    body_discard_ = false;
    pass_body(at_ + skipped);
    return outcome::done;
}

request_relay::outcome request_relay::describe() {
    if (!whole()) return outcome::wait_whole;
    protocol::byte_reader reader{body()};
    const char what = static_cast<char>(reader.u8());
    const std::string_view name = reader.cstring();
    if (!reader.done() || what != 'S' || name.size() > longest_name) return forward(reply_kind::describe);
    if (name.empty()) {
        if (!statements_.unnamed) return force_error(substitute_error::no_unnamed_statement, name);
        if (!provide(statements_.unnamed, false)) return stop(request_result::flight_full);
        return forward(reply_kind::describe);
    }
    const protocol::client_statement* entry = statements_.find(name);
    if (entry == nullptr) {
        if (name.starts_with(protocol::server_name_prefix)) {
            return force_error(substitute_error::unknown_statement, name);
        }
        return forward(reply_kind::describe);
    }
    if (!provide(entry->statement, true)) return stop(request_result::flight_full);
    const std::string& server_name = entry->statement->server_name;
    const auto frame = to_server_->make(header_bytes + 1 + server_name.size() + 1);
    std::byte* to = frame.data();
    *to++ = std::byte{'D'};
    protocol::store_u32(to, static_cast<std::uint32_t>(frame.size() - 1));
    to += 4;
    *to++ = std::byte{'S'};
    put(to, server_name);
    owed_reply reply;
    reply.kind = reply_kind::describe;
    owe(std::move(reply));
    at_ += size_;
    return outcome::done;
}

request_relay::outcome request_relay::close() {
    if (!whole()) return outcome::wait_whole;
    protocol::byte_reader reader{body()};
    const char what = static_cast<char>(reader.u8());
    const std::string_view name = reader.cstring();
    if (!reader.done() || what != 'S') {
        if (name.empty()) portal_ = {};
        return forward(reply_kind::close);
    }
    // The server keeps its statement for others; closing what does not exist is no error either.
    owed_reply reply;
    reply.kind = reply_kind::close;
    reply.action = reply_action::synthesize;
    if (name.empty()) {
        reply.previous = std::exchange(statements_.unnamed, {});
    } else if (protocol::client_statement* entry = statements_.find(name)) {
        reply.client = entry;
        reply.previous = std::exchange(entry->statement, {});
    }
    owe(std::move(reply));
    at_ += size_;
    return outcome::done;
}

request_relay::outcome request_relay::execute() {
    if (data_.size() - at_ < std::min(size_, header_bytes + 1)) return outcome::wait_whole;
    const bool unnamed = size_ > header_bytes && data_[at_ + header_bytes] == std::byte{0};
    if (unnamed && portal_) {
        note(portal_->traits, portal_->text);
    } else {
        context_.metrics.queries.add();
    }
    return forward(reply_kind::execute);
}

std::size_t request_relay::refuse_front(std::span<const std::byte> data, bool& needs_ready) noexcept {
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

}  // namespace pgmend::proxy
