#include "protocol/message_writer.hpp"

namespace pgmend::protocol {

namespace {

constexpr std::byte zero_byte[1]{};
constexpr byte_view zero{zero_byte};

struct u32_bytes {
    std::byte bytes[4];
    explicit u32_bytes(std::uint32_t value) noexcept { store_u32(bytes, value); }
    operator byte_view() const noexcept { return bytes; }
};

}  // namespace

void message_writer::frame(char type, std::initializer_list<byte_view> pieces) {
    std::size_t body = 0;
    for (const byte_view piece : pieces) {
        body += piece.size();
    }
    const std::size_t start = out_.size();
    out_.resize(start + 5 + body);
    std::byte* to = out_.data() + start;
    *to++ = static_cast<std::byte>(type);
    store_u32(to, static_cast<std::uint32_t>(body + 4));
    to += 4;
    for (const byte_view piece : pieces) {
        if (piece.empty()) continue;
        std::memcpy(to, piece.data(), piece.size());
        to += piece.size();
    }
}

void message_writer::authentication(std::uint32_t code, byte_view data) {
    frame('R', {u32_bytes{code}, data});
}

void message_writer::backend_key_data(std::uint32_t pid, byte_view secret) {
    frame('K', {u32_bytes{pid}, secret});
}

void message_writer::parameter_status(std::string_view name, std::string_view value) {
    frame('S', {as_bytes(name), zero, as_bytes(value), zero});
}

void message_writer::ready_for_query(transaction_status status) {
    const std::byte code[1]{static_cast<std::byte>(status)};
    frame('Z', {byte_view{code}});
}

void message_writer::fields_frame(char type, const error_fields& fields) {
    std::string body;
    const auto field = [&body](char code, std::string_view text) {
        if (text.empty()) return;
        body += code;
        body += text;
        body += '\0';
    };
    field('S', fields.severity);
    field('V', fields.severity);
    field('C', fields.sqlstate);
    field('M', fields.message);
    field('D', fields.detail);
    field('H', fields.hint);
    field('R', fields.routine);
    frame(type, {as_bytes(body), zero});
}

void message_writer::command_complete(std::string_view tag) { frame('C', {as_bytes(tag), zero}); }

void message_writer::negotiate_protocol_version(
    std::uint32_t newest_minor, std::span<const std::string_view> unknown_options
) {
    std::string names;
    for (const auto name : unknown_options) {
        names += name;
        names += '\0';
    }
    const u32_bytes version{(3U << 16) | newest_minor};
    const u32_bytes count{static_cast<std::uint32_t>(unknown_options.size())};
    frame('v', {version, count, as_bytes(names)});
}

void message_writer::query(std::string_view text) { frame('Q', {as_bytes(text), zero}); }

void message_writer::parse(std::string_view name, std::string_view text, byte_view types) {
    frame('P', {as_bytes(name), zero, as_bytes(text), zero, types});
}

void message_writer::bind_text(std::string_view value) {
    // Portal, statement, no formats, one parameter; behind its value, results as text.
    constexpr std::byte head[]{{}, {}, {}, {}, {}, std::byte{1}};
    constexpr std::byte tail[2]{};
    const u32_bytes length{static_cast<std::uint32_t>(value.size())};
    frame('B', {byte_view{head}, length, as_bytes(value), byte_view{tail}});
}

void message_writer::execute_all() {
    const u32_bytes no_limit{0};
    frame('E', {zero, no_limit});
}

void message_writer::close_statement(std::string_view name) {
    frame('C', {as_bytes("S"), as_bytes(name), zero});
}

void message_writer::describe_statement(std::string_view name) {
    frame('D', {as_bytes("S"), as_bytes(name), zero});
}

void message_writer::copy_fail(std::string_view reason) { frame('f', {as_bytes(reason), zero}); }

void message_writer::password(std::string_view secret) { frame('p', {as_bytes(secret), zero}); }

void message_writer::sasl_initial_response(std::string_view mechanism, std::string_view data) {
    const u32_bytes length{static_cast<std::uint32_t>(data.size())};
    frame('p', {as_bytes(mechanism), zero, length, as_bytes(data)});
}

void message_writer::sasl_response(std::string_view data) { frame('p', {as_bytes(data)}); }

}  // namespace pgmend::protocol
