#pragma once
// Messages of both directions in few words, as strings of bytes, for tests of the machines that read and
// write them. Written apart from protocol/, so that a mistake there is not made twice.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.hpp"

namespace pgmend::test {

inline std::string u16(unsigned value) {
    return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}
inline std::string u32(std::uint32_t value) { return u16(value >> 16) + u16(value & 0xffff); }
/// A zero-terminated string.
inline std::string z(std::string_view text) { return std::string{text} + '\0'; }
inline std::string message(char type, std::string_view body = {}) {
    return type + u32(static_cast<std::uint32_t>(body.size() + 4)) + std::string{body};
}

// What a client says.
inline std::string query(std::string_view text) { return message('Q', z(text)); }
inline std::string parse(
    std::string_view name, std::string_view text, std::vector<std::uint32_t> types = {}
) {
    std::string body = z(name) + z(text) + u16(static_cast<unsigned>(types.size()));
    for (const std::uint32_t type : types) {
        body += u32(type);
    }
    return message('P', body);
}
/// One text parameter for each of `values`; all results as text.
inline std::string bind(
    std::string_view portal, std::string_view statement, const std::vector<std::string>& values = {}
) {
    std::string body = z(portal) + z(statement) + u16(0) + u16(static_cast<unsigned>(values.size()));
    for (const auto& value : values) {
        body += u32(static_cast<std::uint32_t>(value.size())) + value;
    }
    return message('B', body + u16(0));
}
inline std::string describe(char what, std::string_view name) { return message('D', what + z(name)); }
inline std::string close(char what, std::string_view name) { return message('C', what + z(name)); }
inline std::string execute(std::string_view portal = {}, std::uint32_t rows = 0) {
    return message('E', z(portal) + u32(rows));
}
inline std::string sync() { return message('S'); }
inline std::string flush() { return message('H'); }
inline std::string terminate() { return message('X'); }
inline std::string copy_data(std::string_view data) { return message('d', data); }
inline std::string copy_done() { return message('c'); }
inline std::string copy_fail(std::string_view why) { return message('f', z(why)); }
inline std::string function_call(std::uint32_t function) {
    return message('F', u32(function) + u16(0) + u16(0) + u16(0));
}

// What a server says.
inline std::string parse_complete() { return message('1'); }
inline std::string bind_complete() { return message('2'); }
inline std::string close_complete() { return message('3'); }
inline std::string no_data() { return message('n'); }
inline std::string portal_suspended() { return message('s'); }
inline std::string empty_query() { return message('I'); }
inline std::string ready(char status) { return message('Z', std::string(1, status)); }
inline std::string complete(std::string_view tag) { return message('C', z(tag)); }
inline std::string parameter_description() { return message('t', u16(0)); }
inline std::string row_description() { return message('T', u16(0)); }
inline std::string row(std::initializer_list<std::string_view> values) {
    std::string body = u16(static_cast<unsigned>(values.size()));
    for (const std::string_view value : values) {
        body += u32(static_cast<std::uint32_t>(value.size())) + std::string{value};
    }
    return message('D', body);
}
inline std::string parameter_status(std::string_view name, std::string_view value) {
    return message('S', z(name) + z(value));
}
inline std::string error_body(std::string_view severity, std::string_view sqlstate, std::string_view text) {
    return "S" + z(severity) + "V" + z(severity) + "C" + z(sqlstate) + "M" + z(text) + '\0';
}
inline std::string error(std::string_view sqlstate, std::string_view text = "no") {
    return message('E', error_body("ERROR", sqlstate, text));
}
inline std::string fatal(std::string_view sqlstate, std::string_view text = "no") {
    return message('E', error_body("FATAL", sqlstate, text));
}
inline std::string notice(std::string_view text) { return message('N', error_body("NOTICE", "00000", text)); }
inline std::string notification() { return message('A', u32(7) + z("channel") + z("")); }
inline std::string copy_in_response() { return message('G', std::string(1, '\0') + u16(0)); }
inline std::string copy_out_response() { return message('H', std::string(1, '\0') + u16(0)); }

/// The types of the messages in `bytes`, in order: "PBES". A trailing '?' stands for an unfinished message.
inline std::string types_of(std::string_view bytes) {
    std::string types;
    while (bytes.size() >= 5) {
        const auto* at = reinterpret_cast<const std::byte*>(bytes.data());
        const std::size_t size = protocol::load_u32(at + 1) + std::size_t{1};
        if (size > bytes.size() || size < 5) break;
        types += bytes.front();
        bytes.remove_prefix(size);
    }
    return bytes.empty() ? types : types + '?';
}

/// Calls `feed(pieces)` for `bytes` whole, cut in two at every place, and cut into single bytes.
template <class Feed>
void split_every_way(const std::string& bytes, Feed&& feed) {
    feed(std::vector<std::string>{bytes});
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
        feed(std::vector<std::string>{bytes.substr(0, cut), bytes.substr(cut)});
    }
    std::vector<std::string> single;
    for (const char byte : bytes) {
        single.emplace_back(1, byte);
    }
    feed(single);
}

}  // namespace pgmend::test
