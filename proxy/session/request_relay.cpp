#include "proxy/session/request_relay.hpp"

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
constexpr std::size_t small_message = 10'000;      // PostgreSQL's PQ_SMALL_MESSAGE_LIMIT
constexpr std::size_t large_message = 0x3ffffffe;  // and PQ_LARGE_MESSAGE_LIMIT

/// The longest length PostgreSQL takes of each message, as it stands in it; zero: it knows no such message.
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
constexpr auto length_limit = make_limits();

/// PostgreSQL's own functions on large objects, which drivers call by FunctionCall; they leave nothing
/// behind.
bool is_large_object_function(std::uint32_t oid) noexcept {
    static constexpr std::array<std::uint32_t, 15> known{715, 764, 765, 767, 952,  953,  954, 955,
                                                         956, 957, 958, 964, 3170, 3171, 3172};
    return std::binary_search(known.begin(), known.end(), oid);
}

/// What a client may send while the server reads copy data.
bool belongs_to_copy(char type) noexcept {
    constexpr std::string_view types = "dcfHSX";
    return types.find(type) != types.npos;
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

/// Whether it may take a transaction out of its failure.
bool may_end_failure(const protocol::statement_traits& traits) noexcept {
    using protocol::transaction_control;
    return has(
        traits.control, transaction_control::commit | transaction_control::rollback |
                            transaction_control::prepare | transaction_control::savepoint
    );
}

/// Whether an error, or the end of the server's session, may leave something of it behind.
bool survives_errors(const protocol::statement_traits& traits) noexcept {
    using protocol::transaction_control;
    constexpr session_effect beyond = session_effect::outside_effects | session_effect::unknown |
                                      session_effect::hidden_beyond | session_effect::unknown_function |
                                      session_effect::call | session_effect::do_block |
                                      session_effect::sql_execute;
    constexpr transaction_control by_itself =
        transaction_control::hidden | transaction_control::prepare | transaction_control::prepared;
    return traits.cannot_run_in_block || has(traits.effects, beyond) || has(traits.control, by_itself) ||
           (traits.multiple && has(traits.control, transaction_control::commit));
}

/// Because of these a client may keep its server.
constexpr session_effect may_pin =
    ~(session_effect::transaction_lock | session_effect::changes_schema | session_effect::copy |
      session_effect::special_literal | session_effect::outside_effects | session_effect::cursor);

/// Whether a Bind takes a result of any number of columns: one that names the format of each fits one result.
bool takes_any_result(protocol::byte_view bind) noexcept {
    protocol::byte_reader reader{bind};
    reader.cstring();
    reader.cstring();
    reader.bytes(std::size_t{2} * reader.u16());
    for (std::uint16_t left = reader.u16(); left != 0 && !reader.failed(); --left) {
        const std::int32_t length = reader.i32();
        if (length > 0) reader.bytes(static_cast<std::size_t>(length));
    }
    return reader.u16() <= 1 && !reader.failed();
}

}  // namespace

request_step request_relay::read(
    std::span<std::byte> data, pool::server_connection* server, pool::gather& to_server,
    pool::gather& to_client
) {
    data_ = data;
    at_ = run_ = 0;
    server_ = server;
    to_server_ = &to_server;
    to_client_ = &to_client;
    long_frames_.clear();
    undecided_ = false;
    // Within a group that was answered as far as it was sent, the server's last word is older.
    if (server != nullptr && server->owed.empty() && !server->owed.group_open()) {
        block_open_ = server->status != protocol::transaction_status::idle;
        failure_left_ = false;
    }
    const request_step step = read_messages();
    close_run();
    return step;
}

request_step request_relay::read_messages() {
    for (;;) {
        if (body_left_ != 0) {
            pass_body(at_);
            if (at_ == data_.size()) return {request_result::need_more, at_, 0};
        }
        if (data_.size() - at_ < header_bytes) {
            return {request_result::need_more, at_, data_.size() == at_ ? 0 : header_bytes};
        }
        const std::byte* header = data_.data() + at_;
        type_ = static_cast<char>(header[0]);
        const std::size_t limit = length_limit[static_cast<unsigned char>(type_)];
        if (limit == 0) {
            violation_ = "invalid frontend message type";
            return {request_result::violation, at_};
        }
        const std::uint32_t length = protocol::load_u32(header + 1);
        if (length < 4 || length > limit) {
            violation_ = "invalid message length";
            return {request_result::violation, at_};
        }
        size_ = length + std::size_t{1};
        if (!to_server_->has_room(made_bytes) || !to_client_->has_room(made_bytes) || !long_frames_.empty()) {
            return {request_result::flight_full, at_};
        }
        if (server_ != nullptr && type_ != 'X') {
            const bool in_copy = server_->owed.copying_in();
            if (in_copy && !belongs_to_copy(type_)) return lost_in_copy();
            if (server_->cancels_under_way != 0 && server_->owed.empty()) {
                undecided_ = true;  // the cancel is for what went before, not for this
                return {request_result::too_many, at_};
            }
            if (barrier_ == barrier::now && !in_copy) {
                if (!server_->owed.empty()) return {request_result::too_many, at_};
                barrier_ = barrier::none;
                if (!materialized_.empty()) take_back_copies();
            }
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
            if (size_ != header_bytes)
                return stop(request_result::need_server);  // the server says what is wrong
            skip_to_sync_ = false;
            discard_message();
            const auto ready = to_client_->make(header_bytes + 1);
            static constexpr std::array<char, 5> header{'Z', 0, 0, 0, 5};
            std::memcpy(ready.data(), header.data(), header.size());
            ready[header.size()] = static_cast<std::byte>(lost_block_ == lost_block::none ? 'I' : 'E');
            return outcome::done;
        }
        case frontend_message::flush:
            if (size_ != header_bytes) return stop(request_result::need_server);
            break;
        case frontend_message::copy_data:
        case frontend_message::copy_done:
        case frontend_message::copy_fail:
            // PostgreSQL ignores what is still coming of a copy that failed.
            break;
        default:
            if (skip_to_sync_) break;
            // A server is not taken for a message that is still on its way.
            if (!whole() && size_ <= context_.held_message) return outcome::wait_whole;
            if (type_ != 'P' || lost_block_ != lost_block::none || !parse_without_server())
                return stop(request_result::need_server);
            break;
    }
    discard_message();
    return outcome::done;
}

void request_relay::discard_message() {
    body_left_ = size_;
    body_discard_ = true;
    pass_body(at_);
}

/// Passes the message on from its `skipped`th byte.
void request_relay::pass_rest(std::size_t skipped) {
    body_left_ = size_ - skipped;
    body_discard_ = false;
    pass_body(at_ + skipped);
}

/// Of Describe and Close only the whole message says whether a portal is meant.
bool request_relay::names_statement() const noexcept {
    if (type_ == 'P' || type_ == 'B') return true;
    return (type_ == 'D' || type_ == 'C') && whole() && !body().empty() && body().front() != std::byte{'P'};
}

request_relay::outcome request_relay::message() {
    const bool in_copy = server_->owed.copying_in();
    if (server_->owed.skipping() && type_ != 'S' && type_ != 'X') {
        discard_message();  // as the server would
        return outcome::done;
    }
    if (server_->owed.full() && type_ != 'd' && type_ != 'X') return stop(request_result::too_many);
    if (barrier_ == barrier::after_sync && names_statement()) {
        // In the group of the statement that forgets: what its name stands for is told by the answer.
        if (!server_->owed.empty()) return wait_for_answers();
        barrier_ = barrier::none;
    }
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
            if (in_copy) {
                server_->owed.sync_in_copy();
                return forward_plain();
            }
            if (write_open_ && !ends_write()) return wait_for_answers();
            controls_group_ = false;
            if (barrier_ == barrier::after_sync) barrier_ = barrier::now;
            portal_forgets_ = false;
            forward(reply_kind::sync);
            dematerialize();
            // A Sync with a body, which PostgreSQL will refuse, is not there as a whole yet.
            if (server_->evidence && server_->evidence->due && body_left_ == 0) ask_evidence();
            return outcome::done;
        case frontend_message::flush:
            // A server that is sent a wrong one skips to the next Sync, and owes nothing that would tell.
            if (size_ != header_bytes) return force_error(substitute_error::malformed);
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
            note_call();
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
    if (body_discard_ || from != at_) {
        close_run();
        run_ = body_discard_ ? from + now : from;
    }
    body_left_ -= now;
    at_ = from + now;
}

/// Puts what has been passed on and is not in the flight yet into it, in one piece.
void request_relay::close_run() noexcept {
    if (at_ > run_) to_server_->add(data_.subspan(run_, at_ - run_));
    run_ = at_;
}

/// The flight, for what is to follow all that was passed on so far.
pool::gather& request_relay::server_flight() noexcept {
    close_run();
    return *to_server_;
}

/// The message goes on as it is, however much of it is here.
void request_relay::pass_through() {
    body_left_ = size_;
    body_discard_ = false;
    pass_body(at_);
}

request_relay::outcome request_relay::forward(reply_kind kind) {
    owe(kind);
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
    // In doubt, nothing is shared.
    const auto* catalog = catalog_ != nullptr ? catalog_->current() : nullptr;
    const std::uint64_t judge = catalog != nullptr ? catalog->id() : 0;
    if (!facts_.parses_like_others()) return {facts_.settings->id, ++context_.doubts | 1ULL << 63, judge};
    return {facts_.settings->id, context_.schema_epoch, judge};
}

protocol::statement_traits request_relay::classify(std::string_view text) const noexcept {
    return context_.classifier.classify(text, scan(), catalog_ != nullptr ? catalog_->current() : nullptr);
}

/// A prepared statement may be older than what is known of the functions it reaches.
const protocol::statement_traits& request_relay::traits_of(const protocol::statement_ref& statement) const {
    const auto* catalog = catalog_ != nullptr ? catalog_->current() : nullptr;
    const std::uint64_t judge = catalog != nullptr ? catalog->id() : 0;
    if (statement->judged_by != judge && statement->traits.known())
        statement.judge(classify(statement->text), judge);
    return statement->traits;
}

void request_relay::note_schema(const protocol::statement_traits& traits, std::string_view text) {
    if (facts_.take_schema_change()) ++context_.schema_epoch;
    if (catalog_ == nullptr || catalog_->current() == nullptr) return;
    if (catalog_->current()->concerned_by(traits, text)) {
        catalog_->change_seen();
        if (catalog_change_ == catalog_change::none) catalog_change_ = catalog_change::changed;
    } else if (catalog_change_ == catalog_change::changed && !has(traits.effects, session_effect::changes_schema) && traits.control == protocol::transaction_control::none) {
        catalog_change_ = catalog_change::used_changed;
    }
}

std::uint64_t request_relay::shape_of(const protocol::statement_ref& statement) const {
    if (statement->shape == 0) {
        classify(statement->text);
        statement.note_shape(context_.classifier.last_shape());
    }
    return statement->shape == 1 ? 0 : statement->shape;
}

bool request_relay::judge_suspect(pool::server_connection& server, bool left) {
    const std::uint64_t suspect = server.ran.take_suspect();
    if (suspect == 0 || context_.suspects.convicted(suspect)) return false;
    context_.suspects.judge(suspect, left);
    return left;
}

void request_relay::note(
    const protocol::statement_traits& traits, std::string_view text, std::uint64_t shape
) {
    context_.metrics.queries.add();
    ends_ = protocol::transaction_end::unknown;
    server_->tally = context_.tallies.called(shape, traits.kind);
    if (server_->tally == 0) [[unlikely]]
        tally_new(text, shape);
    server_->ran.add(shape);
    if (!context_.suspects.empty() && facts_.pins.empty() && context_.suspects.suspected(shape)) {
        facts_.suspect();
        if (facts_.looks_into_suspicions()) server_->ran.suspect(shape);
    }
    if (may_write(traits)) {
        note_write(traits);
        if (server_->evidence) note_written(traits, text);
    }
    ++statements_sent_;
    if (traits.control != protocol::transaction_control::none) {
        note_blocks(traits);
        note_commit(traits);
        if (context_.guard != nullptr || server_->evidence) note_control(traits);
    }
    if (survives_errors(traits)) may_survive_ = true;
    if (has(traits.effects, session_effect::outside_effects)) outside_effects_ = true;
    const bool idle = server_->status == protocol::transaction_status::idle && server_->owed.empty() &&
                      !server_->owed.group_open();
    facts_.note(traits, text, idle);
    if (has(traits.effects, may_pin)) server_->pinned_by = server_->tally;
    if (has(traits.effects, session_effect::discard | session_effect::sql_deallocate)) {
        if (barrier_ == barrier::none) deallocating_.clear();
        barrier_ = barrier::after_sync;
    }
    if (has(traits.effects, session_effect::sql_deallocate)) expect_deallocations(text);
    note_schema(traits, text);
    const bool logins = has(traits.effects, session_effect::changes_schema) && context_.logins != nullptr &&
                        protocol::speaks_of_logins(text);
    if (logins) context_.logins->about_logins(text);
    if (facts_.take_temporary_objects()) server_->close_when_free = true;
}

/// Whether the client asks for a description before it executes what it binds now, as far as is known.
bool request_relay::described_ahead() const noexcept {
    if (!takes_any_result(body())) return false;
    std::size_t at = at_ + size_;
    while (at < data_.size() && data_.size() - at > header_bytes) {
        const auto type = static_cast<frontend_message>(data_[at]);
        if (type == frontend_message::describe) return data_[at + header_bytes] == std::byte{'P'};
        const std::size_t length = protocol::load_u32(data_.data() + at + 1);
        if (type != frontend_message::flush || length < 4) return false;
        at += length + 1;
    }
    return false;
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
    const protocol::statement_traits traits = whole() ? classify(text) : protocol::statement_traits{};
    const std::uint64_t shape = whole() ? context_.classifier.last_shape() : 0;
    const bool names_statements =
        has(traits.effects,
            session_effect::sql_prepare | session_effect::sql_execute | session_effect::sql_deallocate);
    // What its names stand for, and whether the transaction has failed, must be known first; and whether the
    // server skips to the client's Sync, before one of ours follows it.
    if ((names_statements || !materialized_.empty()) && !server_->owed.empty()) return wait_for_answers();
    if (waits_for_evidence(traits)) return wait_for_answers();
    if (facts_.asks_channels(text)) announce_channels();
    // Unless it begins with what ends the failed block, all of it fails.
    const bool failed = surely_failed();
    const bool may_run = !failed || (traits.multiple && may_end_failure(traits));
    const bool foreign = may_run && facts_.take_foreign_sequences(traits, text);
    const bool runs_own = has(traits.effects, session_effect::sql_execute) &&
                          !has(traits.control, protocol::transaction_control::savepoint);
    const bool chained = has(traits.control, protocol::transaction_control::chain);
    const bool outside = failed && (foreign || (may_run && runs_own));
    if (outside) leave_failure(chained);
    if (foreign) forget_sequences(reply_action::own);
    note(traits, text, shape);
    write_open_ = false;  // it commits what stands before it, too
    if (names_statements && may_run) materialize(text, reply_action::own);
    if (outside) return_to_failure(chained);
    // A simple Query drops the unnamed statement, ours and the server's.
    owed_reply& reply = owe(reply_kind::query);
    if (statements_.unnamed) names_.note(nullptr, statements_.unnamed);
    reply.previous = std::exchange(statements_.unnamed, {});
    reply.ends = ends_;
    reply.tally = server_->tally;
    portal_ = {};
    server_->statements.drop_unnamed();
    pass_through();
    if (body_left_ == 0) dematerialize();
    if (server_->evidence && server_->evidence->due && body_left_ == 0) ask_evidence();
    if (barrier_ == barrier::after_sync) barrier_ = barrier::now;
    return outcome::done;
}

}  // namespace pgmend::proxy
