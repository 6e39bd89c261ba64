#include "config/log_line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace pgmend::config::log {

namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";
constexpr std::string_view ellipsis = "\xE2\x80\xA6";

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

/// The length of the UTF-8 sequence at the start of `text`; 0 where there is none. Overlong forms, surrogates
/// and what lies above U+10FFFF are none.
std::size_t sequence_length(std::string_view text) {
    const unsigned char first = byte_at(text, 0);
    if (first < 0x80) return 1;
    const std::size_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length == 0 || text.size() < length) return 0;
    for (std::size_t at = 1; at < length; ++at) {
        if ((byte_at(text, at) & 0xC0) != 0x80) return 0;
    }
    const unsigned char second = byte_at(text, 1);
    const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool surrogate = first == 0xED && second > 0x9F;
    const bool too_large = first == 0xF4 && second > 0x8F;
    return overlong || surrogate || too_large ? 0 : length;
}

void append_code(std::string& out, unsigned char code) {
    constexpr std::string_view digits = "0123456789abcdef";
    out.append("\\u00").push_back(digits[code >> 4]);
    out.push_back(digits[code & 0xF]);
}

/// One character, escaped as in a JSON string. Control characters above ASCII too: terminals obey them.
void append_character(std::string& out, std::string_view sequence) {
    const unsigned char first = byte_at(sequence, 0);
    if (first == '"' || first == '\\') {
        out.push_back('\\');
        out.append(sequence);
    } else if (first == '\n') {
        out.append("\\n");
    } else if (first < 0x20 || first == 0x7F) {
        append_code(out, first);
    } else if (first == 0xC2 && byte_at(sequence, 1) < 0xA0) {
        append_code(out, byte_at(sequence, 1));
    } else {
        out.append(sequence);
    }
}

void append_escaped(std::string& out, std::string_view text) {
    std::size_t budget = field_bytes_max;
    while (!text.empty()) {
        const std::size_t length = sequence_length(text);
        const std::size_t taken = length == 0 ? 1 : length;
        if (taken > budget) {
            out.append(ellipsis);
            return;
        }
        if (length == 0) {
            out.append(replacement_character);
        } else {
            append_character(out, text.substr(0, length));
        }
        text.remove_prefix(taken);
        budget -= taken;
    }
}

void append_quoted(std::string& out, std::string_view text) {
    out.push_back('"');
    append_escaped(out, text);
    out.push_back('"');
}

/// Whether text can stand in a text line as it is: printable ASCII that is not part of the line's structure.
bool plain(std::string_view text) {
    return !text.empty() && text.size() <= field_bytes_max && std::ranges::all_of(text, [](char c) {
        return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
    });
}

template <class Number>
void append_number(std::string& out, Number number) {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out.append(digits.data(), end);
}

/// Appends one value; the alternatives of `value::storage` are the overloads.
struct appender {
    std::string& out;
    format form;

    void operator()(std::string_view text) const {
        if (form == format::text && plain(text)) {
            out.append(text);
        } else {
            append_quoted(out, text);
        }
    }
    void operator()(std::int64_t number) const { append_number(out, number); }
    void operator()(std::uint64_t number) const { append_number(out, number); }
    void operator()(double number) const {
        // JSON has neither infinity nor "not a number".
        if (form == format::json && !std::isfinite(number)) {
            out.append("null");
        } else {
            append_number(out, number);
        }
    }
    void operator()(bool truth) const { out.append(truth ? "true" : "false"); }
    void operator()(redacted) const { out.append(form == format::json ? "\"[redacted]\"" : "[redacted]"); }
};

}  // namespace

std::string line_of(format form, std::string_view event_name, fields list) {
    std::string out;
    const appender append{out, form};
    if (form == format::json) out.append("\"event\":");
    append(event_name);
    for (const field& each : list) {
        if (form == format::json) {
            out.push_back(',');
            append_quoted(out, each.key);
            out.push_back(':');
        } else {
            out.append(" ").append(each.key).push_back('=');
        }
        std::visit(append, each.what.get());
    }
    return out;
}

}  // namespace pgmend::config::log
