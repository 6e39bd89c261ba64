#include "config/connection_text.hpp"

#include <algorithm>
#include <charconv>

namespace pgmend::config {

namespace {

constexpr std::string_view blanks = " \t\r\n\f\v";

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// What follows `://` when the scheme is one of ours.
std::optional<std::string_view> after_scheme(std::string_view text) {
    if (text.starts_with("jdbc:")) text.remove_prefix(5);
    const std::size_t end = text.find("://");
    if (end == text.npos) return std::nullopt;
    // SQLAlchemy names its driver behind a plus: postgresql+psycopg://
    const std::string_view scheme = text.substr(0, std::min(end, text.find('+')));
    if (scheme != "postgres" && scheme != "postgresql") return std::nullopt;
    return text.substr(end + 3);
}

/// True when a scheme stands before anything that could belong to a keyword string.
bool looks_like_url(std::string_view text) {
    const std::size_t end = text.find("://");
    return end != text.npos && text.find_first_of("= \t\r\n'") > end;
}

connection_text split_url(std::string_view rest) {
    connection_text parts;
    parts.url = true;
    // As libpq looks for it: up to '@' it is user and password, where '?' means nothing.
    const std::size_t credentials = rest.find_first_of("@/");
    const std::size_t from = credentials != rest.npos && rest[credentials] == '@' ? credentials : 0;
    const std::size_t question = rest.find('?', from);
    parts.base = "postgresql://" + std::string(rest.substr(0, question));
    if (question == rest.npos) return parts;
    rest.remove_prefix(question + 1);
    while (!rest.empty()) {
        const std::string_view each = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(rest.size(), each.size() + 1));
        if (each.empty()) continue;
        const std::size_t equals = each.find('=');
        const std::string_view name = each.substr(0, equals);
        const std::string_view value = equals == each.npos ? std::string_view() : each.substr(equals + 1);
        parts.parameters.push_back(
            {percent_decode(name).value_or(std::string(name)),
             percent_decode(value).value_or(std::string(value)), std::string(each), equals != each.npos}
        );
    }
    return parts;
}

/// Reads one value of a keyword string and moves `at` behind it; nothing when a quote stays open.
std::optional<std::string> read_value(std::string_view text, std::size_t& at) {
    const bool quoted = at < text.size() && text[at] == '\'';
    if (quoted) ++at;
    std::string value;
    for (; at < text.size(); ++at) {
        if (quoted && text[at] == '\'') {
            ++at;
            return value;
        }
        if (!quoted && blanks.find(text[at]) != blanks.npos) return value;
        if (text[at] == '\\' && ++at == text.size()) break;
        value += text[at];
    }
    if (quoted) return std::nullopt;
    return value;
}

parsed<connection_text> split_keywords(std::string_view text) {
    using result = parsed<connection_text>;
    connection_text parts;
    const auto skip = [text](std::size_t at) {
        return std::min(text.find_first_not_of(blanks, at), text.size());
    };
    for (std::size_t at = skip(0); at < text.size(); at = skip(at)) {
        const std::size_t end = std::min(text.find_first_of(" \t\r\n\f\v=", at), text.size());
        const std::string name(text.substr(at, end - at));
        at = skip(end);
        if (at == text.size() || text[at] != '=') return result::failure("lacks a '=' behind a keyword");
        at = skip(at + 1);
        auto value = read_value(text, at);
        if (!value) return result::failure("has a quote that is never closed");
        parts.parameters.push_back({name, std::move(*value), {}, true});
    }
    return result::of(std::move(parts));
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
    std::string decoded;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            decoded += text[at];
            continue;
        }
        unsigned byte = 0;
        if (text.size() - at < 3) return std::nullopt;
        const auto [end, error] = std::from_chars(text.data() + at + 1, text.data() + at + 3, byte, 16);
        if (error != std::errc{} || end != text.data() + at + 3 || byte == 0) return std::nullopt;
        decoded += static_cast<char>(byte);
        at += 2;
    }
    return decoded;
}

parsed<connection_text> split_connection_text(std::string_view text) {
    using result = parsed<connection_text>;
    // Copied URLs bring a newline with them.
    text = trim(text);
    if (text.find('\0') != text.npos) return result::failure("contains a NUL character");
    if (const auto rest = after_scheme(text)) return result::of(split_url(*rest));
    if (looks_like_url(text)) return result::failure("begins with neither postgres:// nor postgresql://");
    if (text.find('=') == text.npos)
        return result::failure("is neither a postgres:// URL nor key=value pairs");
    return split_keywords(text);
}

std::string join_connection_text(const connection_text& parts) {
    std::string text = parts.base;
    for (const connection_parameter& each : parts.parameters) {
        if (parts.url) {
            text += (&each == &parts.parameters.front() ? "?" : "&") + each.raw;
            continue;
        }
        text += each.name + "='";
        for (const char byte : each.value) {
            if (byte == '\'' || byte == '\\') text += '\\';
            text += byte;
        }
        text += "' ";
    }
    return text;
}

}  // namespace pgmend::config
