// The extended protocol of the console: statements and portals over single commands. Source: PostgreSQL
// protocol, "Extended Query".

#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/admin/admin_console.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t most_portals = 1'000;

admin_error no_such(std::string_view kind, std::string_view name, std::string_view sqlstate) {
    return {sqlstate, std::string(kind) + " \"" + std::string(name) + "\" does not exist", {}};
}

const admin_error malformed{protocol::sqlstate::protocol_violation, "malformed message", {}};

}  // namespace

void admin_console::extended_error(const admin_error& error) {
    write_error(error);
    skip_to_sync_ = true;
}

void admin_console::parse() {
    protocol::byte_reader reader{body_};
    const std::string name{reader.cstring()};
    const std::string text{reader.cstring()};
    if (reader.failed()) return extended_error(malformed);
    if (!name.empty() && statements_.contains(name)) {
        return extended_error(
            {protocol::sqlstate::duplicate_prepared_statement,
             "prepared statement \"" + name + "\" already exists",
             {}}
        );
    }
    if (statements_.size() >= worker_.settings().limits.client_prepared_statements()) {
        return extended_error(
            {protocol::sqlstate::program_limit_exceeded, "too many prepared statements",
             "The limit is limits.client_prepared_statements."}
        );
    }
    admin_parse parsed = parse_admin(text);
    if (parsed.error) return extended_error(*parsed.error);
    if (parsed.commands.size() > 1) {
        return extended_error(
            {protocol::sqlstate::syntax_error,
             "cannot insert multiple commands into a prepared statement",
             {}}
        );
    }
    statements_[name].commands = std::move(parsed.commands);
    protocol::message_writer{out_}.empty('1');
}

void admin_console::bind() {
    protocol::byte_reader reader{body_};
    const std::string name{reader.cstring()};
    const std::string_view from = reader.cstring();
    const auto found = statements_.find(from);
    if (reader.failed()) return extended_error(malformed);
    if (found == statements_.end())
        return extended_error(
            no_such("prepared statement", from, protocol::sqlstate::invalid_sql_statement_name)
        );
    reader.bytes(2 * std::size_t{reader.u16()});  // formats of parameters
    if (const auto given = reader.u16(); given != 0) {
        return extended_error(
            {protocol::sqlstate::protocol_violation,
             "bind message supplies " + std::to_string(given) +
                 " parameters, but prepared statement requires 0",
             "Commands of the console take no parameters: write the value into the text."}
        );
    }
    std::vector<std::uint16_t> formats(reader.u16());
    for (std::uint16_t& each : formats)
        each = reader.u16();
    if (!reader.done()) return extended_error(malformed);
    if (!name.empty() && portals_.contains(name)) {
        return extended_error(
            {protocol::sqlstate::duplicate_cursor, "cursor \"" + name + "\" already exists", {}}
        );
    }
    if (portals_.size() >= most_portals)
        return extended_error({protocol::sqlstate::program_limit_exceeded, "too many portals", {}});
    portal made;
    made.commands = found->second.commands;
    made.formats = std::move(formats);
    portals_.insert_or_assign(name, std::move(made));
    protocol::message_writer{out_}.empty('2');
}

void admin_console::describe() {
    protocol::byte_reader reader{body_};
    const char what = static_cast<char>(reader.u8());
    const std::string_view name = reader.cstring();
    if (!reader.done() || (what != 'S' && what != 'P')) return extended_error(malformed);
    const std::vector<admin_command>* commands = nullptr;
    std::vector<std::uint16_t> formats;
    if (what == 'S') {
        const auto found = statements_.find(name);
        if (found == statements_.end())
            return extended_error(
                no_such("prepared statement", name, protocol::sqlstate::invalid_sql_statement_name)
            );
        commands = &found->second.commands;
        constexpr std::byte no_parameters[2]{};
        protocol::message_writer{out_}.frame('t', {protocol::byte_view{no_parameters}});
    } else {
        const auto found = portals_.find(name);
        if (found == portals_.end())
            return extended_error(no_such("portal", name, protocol::sqlstate::invalid_cursor_name));
        commands = &found->second.commands;
        formats = found->second.formats;
    }
    const auto columns = commands->empty() ? std::vector<table_column>{} : columns_for(commands->front());
    if (columns.empty()) {
        protocol::message_writer{out_}.empty('n');
    } else {
        write_columns(out_, columns, formats);
    }
}

pool::task<bool> admin_console::execute() {
    protocol::byte_reader reader{body_};
    const std::string_view name = reader.cstring();
    const std::uint32_t most = reader.u32();
    const auto found = portals_.find(name);
    if (!reader.done() || found == portals_.end()) {
        extended_error(
            reader.done() ? no_such("portal", name, protocol::sqlstate::invalid_cursor_name) : malformed
        );
        co_return true;
    }
    portal& chosen = found->second;
    if (chosen.commands.empty()) {
        protocol::message_writer{out_}.empty('I');
        co_return true;
    }
    const admin_command& command = chosen.commands.front();
    if (!chosen.rows) {
        if (!co_await carry_out(command)) co_return false;
        write_notice();
        if (answer_.error) {
            extended_error(*answer_.error);
            co_return true;
        }
        chosen.rows = std::move(answer_.rows);
    }
    send_rows(command, chosen, most);
    co_return true;
}

void admin_console::send_rows(const admin_command& command, portal& from, std::uint32_t most) {
    const auto columns = columns_for(command);
    const std::size_t left = from.rows->size() - from.sent;
    const std::size_t count = most == 0 ? left : std::min<std::size_t>(most, left);
    for (const std::size_t end = from.sent + count; from.sent < end; ++from.sent)
        write_row(out_, columns, (*from.rows)[from.sent], from.formats);
    protocol::message_writer writer{out_};
    if (from.sent < from.rows->size()) {
        writer.empty('s');
    } else {
        writer.command_complete(tag_for(command));
    }
}

void admin_console::close() {
    protocol::byte_reader reader{body_};
    const char what = static_cast<char>(reader.u8());
    const std::string name{reader.cstring()};
    if (!reader.done() || (what != 'S' && what != 'P')) return extended_error(malformed);
    if (what == 'S') {
        statements_.erase(name);
    } else {
        portals_.erase(name);
    }
    protocol::message_writer{out_}.empty('3');
}

}  // namespace pgmend::proxy
