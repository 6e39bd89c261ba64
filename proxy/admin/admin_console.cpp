#include "proxy/admin/admin_console.hpp"

#include <algorithm>
#include <array>

#include "config/log.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t flush_bytes = 64 * 1024;

constexpr std::array<table_column, 1> number_column{table_column{"?column?", cell_type::int4}};
constexpr std::array<table_column, 1> version_column{table_column{"version"}};

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

}  // namespace

pool::task<> serve_console(client_session& session, std::string user, admin_role role) {
    admin_console console{session, std::move(user), role};
    co_await console.run();
}

admin_console::admin_console(client_session& session, std::string user, admin_role role)
    : session_(session), worker_(session.worker_), user_(std::move(user)), role_(role) {}

admin_console::~admin_console() { worker_.admin().console_ends(); }

pool::task<> admin_console::run() {
    session_.phase_ = session_phase::console;
    if (session_.draining_) session_.gate_.set(client_session::drained);
    welcome();
    bool more = co_await flush();
    while (more) {
        more = co_await read_message();
        if (more) more = co_await answer_message();
        const bool due = type_ == 'Q' || type_ == 'S' || type_ == 'H' || out_.size() > flush_bytes;
        if (more && due) more = co_await flush();
    }
    if (last_words_) {
        session_.send_made(out_);
    } else {
        session_.out_.clear();
    }
    session_.close_when_sent();
}

void admin_console::welcome() {
    protocol::message_writer writer{out_};
    writer.parameter_status("server_version", PGMEND_VERSION "/pgmend");
    writer.parameter_status("client_encoding", "UTF8");
    writer.parameter_status("server_encoding", "UTF8");
    writer.parameter_status("DateStyle", "ISO");
    writer.parameter_status("TimeZone", "GMT");
    writer.parameter_status("integer_datetimes", "on");
    writer.parameter_status("standard_conforming_strings", "on");
    writer.parameter_status("is_superuser", role_ == admin_role::admin ? "on" : "off");
    const auto pid = static_cast<std::uint32_t>(worker_.env().random() >> 33) | 1U;
    session_.key_ = worker_.register_key(session_, pid, false);
    writer.backend_key_data(pid, session_.key_.view());
    ready();
    log::info(
        "console_opened", {{"client", session_.peer_},
                           {"user", user_},
                           {"role", role_ == admin_role::admin ? "admin" : "stats"}}
    );
}

/// False when the connection is over.
pool::task<bool> admin_console::wait() {
    const auto bits = co_await session_.gate_.wait();
    constexpr auto over = client_session::killed | client_session::client_broken | client_session::terminated;
    if ((bits & over) != 0) co_return false;
    if ((bits & client_session::drained) != 0) {
        protocol::message_writer{out_}.error(
            {.severity = "FATAL",
             .sqlstate = protocol::sqlstate::admin_shutdown,
             .message = "terminating connection due to administrator command"}
        );
        last_words_ = true;
        co_return false;
    }
    if ((bits & client_session::console_cancelled) != 0 && ticket_) ticket_->cancel();
    if ((bits & client_session::client_writable) != 0 && !session_.out_.drain(*session_.io_)) co_return false;
    readable_ = (bits & client_session::client_readable) != 0;
    co_return true;
}

pool::task<bool> admin_console::read_message() {
    for (;;) {
        std::size_t want = protocol::frame_header_size;
        const auto bytes = session_.in_.bytes();
        if (bytes.size() >= want) {
            const bool valid = protocol::valid_length(bytes.data());
            const auto header = protocol::decode_header(bytes.data());
            if (!valid || header.size() > worker_.held_message()) {
                protocol::message_writer{out_}.error(
                    {.severity = "FATAL",
                     .sqlstate = protocol::sqlstate::protocol_violation,
                     .message = "invalid message length"}
                );
                last_words_ = true;
                co_return false;
            }
            want = header.size();
            if (bytes.size() >= want) {
                type_ = header.type;
                const auto body = bytes.subspan(protocol::frame_header_size, header.body);
                body_.assign(body.begin(), body.end());
                session_.in_.consume(want);
                co_return true;
            }
        }
        const pool::io_result result = session_.in_.fill(*session_.io_, want);
        session_.in_.keep();
        if (result.status == pool::io_status::ok) continue;
        if (result.status != pool::io_status::would_block) co_return false;
        session_.io_->arm(pool::interest::read);
        if (!co_await wait()) co_return false;
    }
}

pool::task<bool> admin_console::flush() {
    for (std::size_t at = 0; at < out_.size();) {
        const std::size_t size = std::min(flush_bytes, out_.size() - at);
        worker_.flight_to_client().add(protocol::byte_view{out_}.subspan(at, size));
        if (!session_.to_client()) co_return false;
        at += size;
        while (session_.out_.blocked()) {
            session_.io_->arm(pool::interest::write);
            if (co_await wait()) continue;
            last_words_ = false;  // they would stand in the middle of a message
            co_return false;
        }
    }
    out_.clear();
    co_return true;
}

/// False when the connection is over.
pool::task<bool> admin_console::answer_message() {
    if (skip_to_sync_ && type_ != 'S' && type_ != 'X') co_return true;
    switch (type_) {
        case 'X':
            co_return false;
        case 'Q':
            co_return co_await simple_query();
        case 'P':
            parse();
            co_return true;
        case 'B':
            bind();
            co_return true;
        case 'D':
            describe();
            co_return true;
        case 'E':
            co_return co_await execute();
        case 'C':
            close();
            co_return true;
        case 'S':
            skip_to_sync_ = false;
            if (block_ == block::none) portals_.clear();
            ready();
            co_return true;
        case 'H':  // every message is answered at once
        case 'd':  // what is left of a COPY that never began
        case 'c':
        case 'f':
            co_return true;
        default:
            protocol::message_writer{out_}.error(
                {.severity = "FATAL",
                 .sqlstate = protocol::sqlstate::protocol_violation,
                 .message = "invalid frontend message type"}
            );
            last_words_ = true;
            co_return false;
    }
}

pool::task<bool> admin_console::simple_query() {
    protocol::byte_reader reader{body_};
    const std::string text{reader.cstring()};
    portals_.clear();
    const admin_parse parsed = parse_admin(text);
    if (parsed.error) {
        write_error(*parsed.error);
    } else if (parsed.commands.empty()) {
        protocol::message_writer{out_}.empty('I');
    }
    for (const admin_command& command : parsed.commands) {
        if (!co_await carry_out(command)) co_return false;
        write_notice();
        if (answer_.error) {
            write_error(*answer_.error);
            break;
        }
        const auto columns = columns_for(command);
        if (!columns.empty()) write_columns(out_, columns, {});
        for (const table_row& row : answer_.rows)
            write_row(out_, columns, row, {});
        protocol::message_writer{out_}.command_complete(tag_for(command));
    }
    ready();
    co_return true;
}

/// Its answer is in answer_. False when the connection is over.
pool::task<bool> admin_console::carry_out(const admin_command& command) {
    answer_ = {};
    if (answer_here(command)) co_return true;
    session_.gate_.clear(client_session::console_cancelled | client_session::console_answered);
    ticket_ = std::make_shared<admin_ticket>(
        worker_.options().index, session_.gate_, client_session::console_answered
    );
    admin_request request{command, user_};
    worker_.options().console(std::move(request), ticket_);
    while (!ticket_->answer()) {
        if (!co_await wait()) {
            ticket_->leave();
            co_return false;
        }
        if (!readable_ || ticket_->answer()) continue;
        // Who goes away while it waits is noticed; what it has to say besides is kept.
        const pool::io_result result = session_.in_.fill(*session_.io_, 0);
        session_.in_.keep();
        if (result.status == pool::io_status::eof || result.status == pool::io_status::error) {
            ticket_->leave();
            co_return false;
        }
        if (session_.in_.size() > worker_.held_message()) session_.io_->arm(pool::interest::none);
    }
    answer_ = std::move(*ticket_->answer());
    ticket_.reset();
    if (answer_.error && block_ == block::open) block_ = block::failed;
    co_return true;
}

bool admin_console::answer_here(const admin_command& command) {
    using protocol::sqlstate::active_sql_transaction;
    end_tag_ = {};
    if (command.verb == admin_verb::commit || command.verb == admin_verb::rollback) {
        if (block_ == block::failed) end_tag_ = "ROLLBACK";
        block_ = block::none;
        return true;
    }
    if (block_ == block::failed) {
        answer_.error = admin_error{
            protocol::sqlstate::in_failed_transaction,
            "current transaction is aborted, commands ignored until end of transaction block",
            {}};
        return true;
    }
    const std::string tag{tag_of(command)};
    const bool changes = changes_something(command);
    if (changes && role_ != admin_role::admin) {
        answer_.error = admin_error{
            protocol::sqlstate::insufficient_privilege, "permission denied for " + tag,
            "User " + quoted(user_) + " may look (admin.stats_users) and not change (admin.users)."};
    } else if (changes && block_ == block::open) {
        answer_.error = admin_error{
            active_sql_transaction, tag + " cannot run inside a transaction block",
            "Nothing on the console can be rolled back: switch autocommit on."};
    }
    if (answer_.error) {
        if (block_ == block::open) block_ = block::failed;
        return true;
    }
    switch (command.verb) {
        case admin_verb::begin:
            block_ = block::open;
            return true;
        case admin_verb::select_number:
            answer_.rows.push_back({command.argument});
            return true;
        case admin_verb::select_version:
            answer_.rows.push_back({std::string("pgmend " PGMEND_VERSION)});
            return true;
        case admin_verb::set:
            if (!console_parameter(command.argument)) return false;
            answer_.notice = "SET ignored";
            answer_.notice_detail =
                "The console has no session parameters; results are UTF8, dates ISO, times GMT.";
            return true;
        case admin_verb::show:
            if (command.topic == show_topic::help) {
                answer_.notice = "Console usage";
                answer_.notice_detail = help_text();
                return true;
            }
            if (command.topic != show_topic::parameter) return false;
            answer_.rows.push_back({std::string(*console_parameter(command.argument))});
            return true;
        case admin_verb::commit:
        case admin_verb::rollback:
        case admin_verb::pause:
        case admin_verb::resume:
        case admin_verb::reconnect:
        case admin_verb::disable:
        case admin_verb::enable:
        case admin_verb::kill:
        case admin_verb::kill_client:
        case admin_verb::wait_close:
        case admin_verb::reload:
        case admin_verb::reset_statements:
        case admin_verb::ban:
        case admin_verb::unban:
        case admin_verb::shutdown:
            return false;
    }
    return false;
}

std::vector<table_column> admin_console::columns_for(const admin_command& command) {
    if (command.verb == admin_verb::select_number) return {number_column.begin(), number_column.end()};
    if (command.verb == admin_verb::select_version) return {version_column.begin(), version_column.end()};
    if (command.verb != admin_verb::show) return {};
    if (command.topic == show_topic::parameter) return {table_column{command.argument}};
    const auto columns = columns_of(command.topic);
    return {columns.begin(), columns.end()};
}

std::string_view admin_console::tag_for(const admin_command& command) const {
    return end_tag_.empty() ? tag_of(command) : end_tag_;
}

void admin_console::write_error(const admin_error& error) {
    protocol::message_writer{out_}.error(
        {.sqlstate = error.sqlstate, .message = error.message, .hint = error.hint}
    );
    if (block_ == block::open) block_ = block::failed;
}

void admin_console::write_notice() {
    if (answer_.notice.empty()) return;
    protocol::message_writer{out_}.notice(
        {.severity = "NOTICE",
         .sqlstate = "00000",
         .message = answer_.notice,
         .detail = answer_.notice_detail}
    );
}

void admin_console::ready() {
    protocol::message_writer{out_}.ready_for_query(static_cast<protocol::transaction_status>(block_));
}

}  // namespace pgmend::proxy
