#include "tests/sim/wire.hpp"

#include "protocol/bytes.hpp"

namespace pgmend::sim {

message_builder& message_builder::value(const text_or_null& text) {
    if (!text) return u32(0xffffffffU);
    return u32(static_cast<std::uint32_t>(text->size())).raw(*text);
}

void message_builder::end() {
    protocol::store_u32(
        reinterpret_cast<std::byte*>(out_.data() + start_), static_cast<std::uint32_t>(out_.size() - start_)
    );
}

std::optional<message> next_message(std::string_view bytes, std::size_t& at) {
    if (bytes.size() - at < 5) return std::nullopt;
    const auto length = protocol::load_u32(reinterpret_cast<const std::byte*>(bytes.data() + at + 1));
    if (length < 4) return message{};
    if (bytes.size() - at - 1 < length) return std::nullopt;
    message found{bytes[at], std::string(bytes.substr(at + 5, length - 4))};
    at += 1 + length;
    return found;
}

error_fields read_error(std::string_view body) {
    error_fields fields;
    protocol::byte_reader reader(protocol::as_bytes(body));
    while (const auto field = reader.u8()) {
        const auto text = reader.cstring();
        if (field == 'V') fields.severity = text;
        if (field == 'C') fields.code = text;
        if (field == 'M') fields.text = text;
    }
    return fields;
}

std::string describe(const message& what) {
    std::string line(1, what.type == 0 ? '?' : what.type);
    if (what.type == 'E' || what.type == 'N') {
        const auto fields = read_error(what.body);
        return line + " " + fields.severity + " " + fields.code + " " + fields.text;
    }
    line += " [" + std::to_string(what.body.size()) + "] ";
    for (const char byte : what.body.substr(0, 120))
        line += byte >= ' ' && byte < 127 ? byte : '.';
    return line;
}

namespace frontend {

namespace {

/// The first packet of a connection has no type byte: built as a message, its type is taken off again.
std::string untyped(std::string built) { return built.substr(1); }

std::string empty(protocol::frontend_message type) {
    std::string out;
    message_builder(out, type).end();
    return out;
}

}  // namespace

std::string startup(const std::vector<name_value>& parameters, std::uint32_t version) {
    std::string out;
    message_builder builder(out, '\0');
    builder.u32(version);
    for (const auto& [name, value] : parameters)
        builder.string(name).string(value);
    builder.u8(0).end();
    return untyped(std::move(out));
}

std::string ssl_request() {
    std::string out;
    message_builder(out, '\0').u32(80877103).end();
    return untyped(std::move(out));
}

std::string cancel_request(std::uint32_t pid, std::string_view key) {
    std::string out;
    message_builder(out, '\0').u32(80877102).u32(pid).raw(std::string(key)).end();
    return untyped(std::move(out));
}

std::string query(std::string_view sql) {
    std::string out;
    message_builder(out, protocol::frontend_message::query).string(sql).end();
    return out;
}

std::string parse(std::string_view name, std::string_view sql, const std::vector<std::uint32_t>& types) {
    std::string out;
    message_builder builder(out, protocol::frontend_message::parse);
    builder.string(name).string(sql).u16(static_cast<unsigned>(types.size()));
    for (const auto type : types)
        builder.u32(type);
    builder.end();
    return out;
}

std::string bind(
    std::string_view portal, std::string_view statement, const std::vector<text_or_null>& values
) {
    std::string out;
    message_builder builder(out, protocol::frontend_message::bind);
    builder.string(portal).string(statement).u16(0).u16(static_cast<unsigned>(values.size()));
    for (const auto& value : values)
        builder.value(value);
    builder.u16(0).end();
    return out;
}

std::string describe(char what, std::string_view name) {
    std::string out;
    message_builder(out, protocol::frontend_message::describe)
        .u8(static_cast<unsigned>(what))
        .string(name)
        .end();
    return out;
}

std::string close(char what, std::string_view name) {
    std::string out;
    message_builder(out, protocol::frontend_message::close)
        .u8(static_cast<unsigned>(what))
        .string(name)
        .end();
    return out;
}

std::string execute(std::string_view portal, std::uint32_t row_limit) {
    std::string out;
    message_builder(out, protocol::frontend_message::execute).string(portal).u32(row_limit).end();
    return out;
}

std::string sync() { return empty(protocol::frontend_message::sync); }
std::string flush() { return empty(protocol::frontend_message::flush); }
std::string terminate() { return empty(protocol::frontend_message::terminate); }
std::string copy_done() { return empty(protocol::frontend_message::copy_done); }

std::string copy_data(std::string_view data) {
    std::string out;
    message_builder(out, protocol::frontend_message::copy_data).raw(std::string(data)).end();
    return out;
}

std::string copy_fail(std::string_view reason) {
    std::string out;
    message_builder(out, protocol::frontend_message::copy_fail).string(reason).end();
    return out;
}

std::string function_call(std::uint32_t function, const std::vector<text_or_null>& arguments) {
    std::string out;
    message_builder builder(out, protocol::frontend_message::function_call);
    builder.u32(function).u16(0).u16(static_cast<unsigned>(arguments.size()));
    for (const auto& argument : arguments)
        builder.value(argument);
    builder.u16(0).end();
    return out;
}

}  // namespace frontend
}  // namespace pgmend::sim
