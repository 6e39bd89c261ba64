#include "proxy/admin/http_query.hpp"

#include <algorithm>
#include <charconv>

namespace pgmend::proxy {

std::optional<std::string_view> parameter(std::string_view query, std::string_view name) noexcept {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view one = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const std::size_t equals = std::min(one.find('='), one.size());
        if (one.substr(0, equals) == name) return equals < one.size() ? one.substr(equals + 1) : "true";
    }
    return std::nullopt;
}

std::optional<std::string> text_parameter(std::string_view query, std::string_view name) {
    const auto value = parameter(query, name);
    if (!value) return std::nullopt;
    std::string text;
    for (std::size_t at = 0; at < value->size(); ++at) {
        const char c = (*value)[at];
        if (c != '%') {
            text += c == '+' ? ' ' : c;
            continue;
        }
        unsigned char byte = 0;
        const char* digits = value->data() + at + 1;
        if (at + 2 >= value->size()) return std::nullopt;
        const auto [end, error] = std::from_chars(digits, digits + 2, byte, 16);
        if (error != std::errc{} || end != digits + 2) return std::nullopt;
        text += static_cast<char>(byte);
        at += 2;
    }
    return text;
}

bool wanted(std::string_view query, std::string_view name) noexcept {
    const std::string_view value = parameter(query, name).value_or("");
    return value == "true" || value == "1" || value == "yes" || value == "on";
}

std::optional<std::size_t> limit_of(std::string_view query, std::size_t otherwise) noexcept {
    const std::string_view value = parameter(query, "limit").value_or("");
    if (value.empty()) return otherwise;
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size() || number > most_entries)
        return std::nullopt;
    return number;
}

}  // namespace pgmend::proxy
