// The part of request_relay that knows prepared statements: the client's names become the server's, what a
// server lacks is sent ahead.

#include <algorithm>
#include <array>
#include <cstring>

#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::has;
using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::session_change_kind;
using protocol::session_effect;
using protocol::statement_ref;
using protocol::substitute_error;

namespace {

constexpr std::size_t header_bytes = protocol::frame_header_size;
constexpr std::size_t longest_name = 512;  // of a portal or statement; PostgreSQL cuts at 63

/// Such a statement is described as the one it names is when it is parsed: that is each client's own.
bool begins_with_execute(std::string_view text) noexcept {
    constexpr std::string_view word = "execute";
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\f"), text.size()));
    return text.size() > word.size() &&
           std::equal(word.begin(), word.end(), text.begin(), [](char wanted, char c) {
               return wanted == static_cast<char>(c | 0x20);
           });
}

void put(std::byte*& to, std::string_view text) noexcept {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    to += text.size();
    *to++ = std::byte{0};
}

}  // namespace

void request_relay::inject(const std::vector<std::byte>& frames) {
    pool::gather& flight = server_flight();
    if (flight.has_room(frames.size() + made_bytes)) {
        const auto room = flight.make(frames.size());
        std::copy(frames.begin(), frames.end(), room.begin());
        return;
    }
    // Too long for the flight's own store; it lives until the flight was sent.
    long_frames_.push_back(frames);
    flight.add(long_frames_.back());
}

/// Makes room for one more statement on the server.
void request_relay::evict() {
    const auto evicted = server_->statements.evict(server_->owed.group());
    if (!evicted) return;
    std::vector<std::byte> closing;
    protocol::message_writer{closing}.close_statement(pool::server_statements::name_of(*evicted));
    inject(closing);
    owe(reply_kind::close, reply_action::swallow).evicted = *evicted;
}

/// Sends ahead what the server lacks, and asks what its result is like where clients were told that. One that
/// is not told again in this flight (`told`) decodes by what it was told, and waits for the answer.
request_relay::provided request_relay::provide(const statement_ref& statement, bool named, bool told) {
    pool::server_statements& prepared = server_->statements;
    const std::uint32_t group = server_->owed.group();
    bool check = false;
    if (named) {
        switch (prepared.use(statement->id, group)) {
            case pool::statement_presence::present:
            case pool::statement_presence::pending:
                return provided::ready;
            case pool::statement_presence::uncertain:
            case pool::statement_presence::unchecked:
                return provided::wait;
            case pool::statement_presence::changed:
                if (told || described_ahead()) return provided::ready;
                if (statement.outdate()) ++context_.schema_epoch;
                context_.metrics.stale_plans.add(config::metrics::plan_outcome::result_changed);
                return provided::changed;
            case pool::statement_presence::absent:
                break;
        }
        check = statement->described != 0;
        evict();
        prepared.insert(statement->id, group);
    } else {
        if (prepared.unnamed_is(statement->id, group)) return provided::ready;
        prepared.set_unnamed(statement->id, group);
    }
    std::vector<std::byte> frame;
    protocol::message_writer writer{frame};
    writer.parse(named ? statement->server_name : "", statement->text, protocol::as_bytes(statement->types));
    if (check) writer.describe_statement(statement->server_name);
    inject(frame);
    count_parse(config::metrics::parse_route::injected);
    owed_reply& reply = owe(reply_kind::parse, reply_action::swallow);
    reply.named_on_server = named;
    reply.statement = statement;
    if (!check) return provided::ready;
    owed_reply& asked = owe(reply_kind::describe, reply_action::swallow);
    asked.statement = statement;
    asked.answer = protocol::description::checked;
    prepared.check(statement->id);
    return told || described_ahead() ? provided::ready : provided::wait;
}

/// A Parse of a name in use. PostgreSQL notices only after everything else that may be wrong with it, so it
/// is sent twice under a name of ours: what is wrong comes first, and then that the name exists, in the
/// client's name.
request_relay::outcome request_relay::duplicate(
    protocol::client_statement& entry, std::string_view text, protocol::byte_view types
) {
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.close_statement(spare_name);
    writer.parse(spare_name, text, types);
    writer.parse(spare_name, text, types);
    inject(frames);
    owe(reply_kind::close, reply_action::swallow);
    owe(reply_kind::parse, reply_action::swallow);
    owed_reply& reply = owe(reply_kind::parse);
    reply.error = substitute_error::duplicate_statement;
    reply.client = &entry;
    reply.previous = entry.statement;
    discard_message();
    return outcome::done;
}

/// The unread part of a Parse; false when it must go to the server as it is.
bool request_relay::split_parse(parse_parts& parts) const noexcept {
    protocol::byte_reader reader{body()};
    parts.name = reader.cstring();
    if (reader.failed()) return false;
    parts.text = reader.cstring();
    parts.types = reader.rest();
    return !reader.failed();
}

request_relay::outcome request_relay::parse() {
    if (!whole()) {
        if (size_ <= context_.held_message) return outcome::wait_whole;
        return parse_oversize();
    }
    parse_parts parts;
    if (!split_parse(parts)) return forward(reply_kind::parse);  // the server says what is wrong with it
    if (facts_.asks_channels(parts.text)) announce_channels();
    const auto judge = [this](std::string_view sql) { return classify(sql); };
    protocol::parse_conditions meaning = conditions();
    if (begins_with_execute(parts.text)) {
        if (failure_may_be_over() || names_undecided(parts.text)) return wait_for_answers();
        materialize(parts.text, reply_action::swallow);
        meaning.epoch = ++context_.doubts | 1ULL << 63;
        // Its result is what the name stands for here, whatever becomes of that: no other server could be
        // told.
        if (!parts.name.empty()) facts_.pins.add(pin_reason::unknown);
    }
    if (parts.name.empty()) {
        const statement_ref statement = context_.statements.intern(parts.text, parts.types, meaning, judge);
        if (waits_for_evidence(statement->traits)) return wait_for_answers();
        server_->statements.set_unnamed(statement->id, server_->owed.group());
        count_parse(config::metrics::parse_route::forwarded);
        owed_reply& reply = owe(reply_kind::parse);
        reply.statement = statement;
        names_.note(nullptr, statements_.unnamed);
        reply.previous = std::exchange(statements_.unnamed, statement);
        pass_through();
        return outcome::done;
    }
    if (parts.name.size() > longest_name) return violate("statement name too long");
    protocol::client_statement* entry = statements_.known(parts.name);
    if (depends_on_answers(parts.name, entry)) return wait_for_answers();
    if (entry != nullptr && entry->statement) return duplicate(*entry, parts.text, parts.types);
    if (statements_.size() >= context_.client_statements)
        return force_error(substitute_error::too_many_statements);
    const statement_ref statement = context_.statements.intern(parts.text, parts.types, meaning, judge);
    const auto presence = server_->statements.use(statement->id, server_->owed.group());
    // One that is being asked about is there already, and must not be sent once more.
    const bool decided =
        presence != pool::statement_presence::uncertain && presence != pool::statement_presence::unchecked;
    if (!decided || waits_for_evidence(statement->traits)) return wait_for_answers();
    if (facts_.pins.has(pin_reason::sql_prepare)) probe_name(parts);
    return parse_shared(parts.name, statement);
}

/// SQL's PREPARE and the protocol share their names, and the server alone knows those of SQL: it is asked
/// whether this one is free, by using it.
void request_relay::probe_name(const parse_parts& parts) {
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.parse(parts.name, parts.text, parts.types);
    writer.close_statement(parts.name);
    inject(frames);
    owe(reply_kind::parse, reply_action::swallow);
    owe(reply_kind::close, reply_action::swallow);
}

/// A named Parse: the statement's shared name in front, the client's bytes behind it; or our own answer.
request_relay::outcome request_relay::parse_shared(std::string_view name, const statement_ref& statement) {
    const std::uint32_t group = server_->owed.group();
    const auto presence = server_->statements.use(statement->id, group);
    protocol::client_statement& entry = statements_.entry(name);
    const auto owe_parse = [&](reply_action action) {
        owed_reply& reply = owe(reply_kind::parse, action);
        reply.named_on_server = action == reply_action::forward;
        reply.statement = statement;
        reply.client = &entry;
        names_.note(&entry, entry.statement);
        reply.previous = std::exchange(entry.statement, statement);
    };
    // In a failed block a Parse must fail, and whether one has failed is only known when nothing is under
    // way.
    const bool ours_to_answer =
        server_->owed.empty() && server_->status != protocol::transaction_status::failed;
    const bool current = presence == pool::statement_presence::present;
    const bool there = current || presence == pool::statement_presence::changed;
    if (presence == pool::statement_presence::pending || (current && ours_to_answer)) {
        owe_parse(reply_action::synthesize);
        discard_message();
        count_parse(config::metrics::parse_route::answered);
        return outcome::done;
    }
    if (there) {
        std::vector<std::byte> closing;
        protocol::message_writer{closing}.close_statement(statement->server_name);
        inject(closing);
        server_->statements.close(statement->id, group);
        owe(reply_kind::close, reply_action::swallow).evicted = statement->id;
    } else {
        evict();
    }
    server_->statements.insert(statement->id, group);
    count_parse(config::metrics::parse_route::forwarded);
    owe_parse(reply_action::forward);
    const std::string& server_name = statement->server_name;
    const std::size_t new_size = size_ - name.size() + server_name.size();
    const auto front = server_flight().make(header_bytes + server_name.size() + 1);
    std::byte* to = front.data();
    *to++ = std::byte{'P'};
    protocol::store_u32(to, static_cast<std::uint32_t>(new_size - 1));
    to += 4;
    put(to, server_name);
    pass_rest(header_bytes + name.size() + 1);
    return outcome::done;
}

/// Too long to be kept: it lives on this server alone, and the client with it.
request_relay::outcome request_relay::parse_oversize() {
    protocol::byte_reader reader{body()};
    const std::string_view name = reader.cstring();
    if (reader.failed() && data_.size() - at_ <= 2 * longest_name) return outcome::wait_whole;
    if (reader.failed() || name.size() > longest_name) return violate("statement name too long");
    const auto unknown = [](std::string_view) { return protocol::statement_traits{}; };
    const protocol::parse_conditions nobody_else{0, ++context_.doubts | 1ULL << 63};
    const statement_ref statement = context_.statements.intern({}, {}, nobody_else, unknown);
    facts_.pins.add(pin_reason::unknown);
    if (!name.empty()) {
        if (statements_.find(name) != nullptr)
            return violate("a statement too long to be kept was prepared twice");
        return parse_shared(name, statement);
    }
    server_->statements.set_unnamed(statement->id, server_->owed.group());
    owed_reply& reply = owe(reply_kind::parse);
    reply.statement = statement;
    names_.note(nullptr, statements_.unnamed);
    reply.previous = std::exchange(statements_.unnamed, statement);
    pass_through();
    return outcome::done;
}

/// Whether what `name` stands for is told by answers that have not come yet. `known` is its entry, if any.
bool request_relay::depends_on_answers(std::string_view name, const protocol::client_statement* known) {
    return (name.empty() || known != nullptr) && server_->owed.undecided(known);
}

/// The same for the names that SQL mentions.
bool request_relay::names_undecided(std::string_view text) {
    const auto changes = protocol::session_changes(text);
    return std::any_of(changes.begin(), changes.end(), [this](const auto& change) {
        return !change.name.empty() && depends_on_answers(change.name, statements_.known(change.name));
    });
}

/// A named Parse while the client has no server: a statement that a server has accepted under the same
/// conditions needs none. (A client that prepares while others wait in their transactions would otherwise
/// wait for them.)
bool request_relay::parse_without_server() {
    parse_parts parts;
    if (!whole() || !split_parse(parts) || parts.name.empty() || parts.name.size() > longest_name)
        return false;
    if (statements_.find(parts.name) != nullptr || statements_.size() >= context_.client_statements ||
        begins_with_execute(parts.text))
        return false;
    const statement_ref statement = context_.statements.find_proven(parts.text, parts.types, conditions());
    if (!statement) return false;
    statements_.entry(parts.name).statement = statement;
    const auto answer = to_client_->make(header_bytes);
    answer[0] = std::byte{'1'};
    protocol::store_u32(answer.data() + 1, 4);
    count_parse(config::metrics::parse_route::answered);
    return true;
}

void request_relay::count_parse(config::metrics::parse_route route) noexcept {
    using config::metrics::parse_route;
    context_.metrics.prepared_statements_parsed.add(route);
    if (traffic_ == nullptr) return;
    if (route != parse_route::injected) ++traffic_->client_parses;
    if (route != parse_route::answered) ++traffic_->server_parses;
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
    protocol::client_statement* entry = statements_.known(name);
    if (depends_on_answers(name, entry)) return wait_for_answers();
    const statement_ref* statement = name.empty()       ? &statements_.unnamed
                                     : entry != nullptr ? &entry->statement
                                                        : nullptr;
    if (statement == nullptr || !*statement) {
        if (name.empty()) return force_error(substitute_error::no_unnamed_statement);
        if (name.starts_with(protocol::server_name_prefix))
            return force_error(substitute_error::unknown_statement);
        return forward(reply_kind::bind);  // the server's own error names it as the client does
    }
    const protocol::prepared_statement& prepared = **statement;
    if (waits_for_evidence(prepared.traits)) return wait_for_answers();
    if (!names_provided(*statement)) return wait_for_answers();
    if (facts_.asks_channels(prepared.text)) announce_channels();
    const bool there = !name.empty() && server_->statements.use(prepared.id, server_->owed.group()) ==
                                            pool::statement_presence::present;
    if (!there) {
        const provided provision = provide(*statement, !name.empty(), false);
        if (provision == provided::wait) return wait_for_answers();
        if (provision == provided::changed) return force_error(substitute_error::changed_result);
    }
    if (!surely_failed() && facts_.take_foreign_sequences(traits_of(*statement), prepared.text))
        forget_sequences(reply_action::swallow);
    if (traffic_ != nullptr) ++traffic_->binds;
    if (portal.empty()) {
        portal_ = *statement;
    } else {
        if (has(prepared.traits.effects, session_effect::sql_execute)) keep_copies(prepared.text);
        note(traits_of(*statement), prepared.text, shape_of(*statement));
        portal_forgets_ = portal_forgets_ || barrier_ == barrier::after_sync;
    }
    if (name.empty()) return forward(reply_kind::bind);
    const std::string& server_name = prepared.server_name;
    const std::size_t new_size = size_ - name.size() + server_name.size();
    const auto front = server_flight().make(header_bytes + portal.size() + 1 + server_name.size() + 1);
    std::byte* to = front.data();
    *to++ = std::byte{'B'};
    protocol::store_u32(to, static_cast<std::uint32_t>(new_size - 1));
    to += 4;
    put(to, portal);
    put(to, server_name);
    owed_reply& reply = owe(reply_kind::bind);
    reply.client = entry;
    reply.statement = *statement;
    pass_rest(header_bytes + portal.size() + 1 + name.size() + 1);
    return outcome::done;
}

request_relay::outcome request_relay::describe() {
    if (!whole()) return outcome::wait_whole;
    protocol::byte_reader reader{body()};
    const char what = static_cast<char>(reader.u8());
    const std::string_view name = reader.cstring();
    if (!reader.done() || what != 'S' || name.size() > longest_name) {
        const bool of_unnamed = what == 'P' && name.empty() && portal_;
        if (of_unnamed && !names_provided(portal_)) return wait_for_answers();
        if (of_unnamed && portal_->described == 0) {
            owed_reply& reply = owe(reply_kind::describe);
            reply.statement = portal_;
            reply.answer = protocol::description::told;
            reply.of_portal = true;
            pass_through();
            return outcome::done;
        }
        owe(reply_kind::describe).of_portal = what == 'P';
        pass_through();
        return outcome::done;
    }
    protocol::client_statement* entry = statements_.known(name);
    if (depends_on_answers(name, entry)) return wait_for_answers();
    if (name.empty()) {
        if (!statements_.unnamed) return force_error(substitute_error::no_unnamed_statement);
        if (!names_provided(statements_.unnamed)) return wait_for_answers();
        if (provide(statements_.unnamed, false, true) != provided::ready) return wait_for_answers();
        return forward(reply_kind::describe);
    }
    if (entry == nullptr || !entry->statement) {
        if (name.starts_with(protocol::server_name_prefix))
            return force_error(substitute_error::unknown_statement);
        return forward(reply_kind::describe);
    }
    if (!names_provided(entry->statement)) return wait_for_answers();
    if (provide(entry->statement, true, true) != provided::ready) return wait_for_answers();
    const std::string& server_name = entry->statement->server_name;
    const auto frame = server_flight().make(header_bytes + 1 + server_name.size() + 1);
    std::byte* to = frame.data();
    *to++ = std::byte{'D'};
    protocol::store_u32(to, static_cast<std::uint32_t>(frame.size() - 1));
    to += 4;
    *to++ = std::byte{'S'};
    put(to, server_name);
    owed_reply& reply = owe(reply_kind::describe);
    reply.client = entry;
    reply.statement = entry->statement;
    reply.answer = protocol::description::told;
    discard_message();
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
    protocol::client_statement* entry = statements_.known(name);
    if (depends_on_answers(name, entry)) return wait_for_answers();
    if (entry != nullptr && !entry->statement) entry = nullptr;
    if (facts_.pins.has(pin_reason::sql_prepare) && !name.empty() && entry == nullptr &&
        !name.starts_with(protocol::server_name_prefix)) {
        return forward(reply_kind::close);  // it may be one of SQL's
    }
    // The server keeps its statement for others; closing what does not exist is no error either.
    owed_reply& reply = owe(reply_kind::close, reply_action::synthesize);
    reply.named_on_server = !name.empty();
    if (name.empty()) {
        names_.note(nullptr, statements_.unnamed);
        reply.previous = std::exchange(statements_.unnamed, {});
    } else if (entry != nullptr) {
        reply.client = entry;
        names_.note(entry, entry->statement);
        reply.previous = statements_.close(*entry);
        close_copy(*entry);
    }
    discard_message();
    return outcome::done;
}

request_relay::outcome request_relay::execute() {
    if (data_.size() - at_ < std::min(size_, header_bytes + 1)) return outcome::wait_whole;
    const bool unnamed = size_ > header_bytes && data_[at_ + header_bytes] == std::byte{0};
    if (unnamed && portal_) {
        if (waits_for_evidence(portal_->traits)) return wait_for_answers();
        if (!names_provided(portal_)) return wait_for_answers();
        note(traits_of(portal_), portal_->text, shape_of(portal_));
    } else {
        context_.metrics.queries.add();
        if (portal_forgets_) barrier_ = barrier::after_sync;
        // It may run on what was asked about before.
        if (server_->evidence && may_have_written_) server_->evidence->written(true, true, false);
        ends_ = protocol::transaction_end::unknown;
        // Further rows of a portal: which one it is was not kept.
        if (server_->tally == 0) server_->tally = context_.tallies.place_of(0);
    }
    owed_reply& reply = owe(reply_kind::execute);
    reply.ends = ends_;
    reply.tally = server_->tally;
    pass_through();
    return outcome::done;
}

}  // namespace pgmend::proxy
