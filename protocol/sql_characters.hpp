#pragma once
// What PostgreSQL's scanner takes each byte for. Shared by `sql_scanner` and by `sql_key`, which cuts the
// plainest tokens itself. Source: scan.l of PostgreSQL 15. Pure.

#include <array>
#include <cstdint>
#include <string_view>

namespace pgmend::protocol {

enum sql_character : std::uint8_t {
    blank = 1,
    name_start = 2,  // letters, underscore, every byte above 127
    name_part = 4,   // those, digits and $
    digit = 8,
    op = 16,
    self = 32,  // tokens of their own
};

namespace detail {

constexpr std::array<std::uint8_t, 256> sql_classes() {
    std::array<std::uint8_t, 256> classes{};
    for (const char c : std::string_view(" \t\n\r\f"))
        classes[static_cast<unsigned char>(c)] |= blank;
    for (unsigned c = 0; c < 256; ++c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        if (letter) classes[c] |= name_start | name_part;
        if (c >= '0' && c <= '9') classes[c] |= digit | name_part;
    }
    classes['$'] |= name_part;
    for (const char c : std::string_view("~!@#^&|`?+-*/%<>="))
        classes[static_cast<unsigned char>(c)] |= op;
    for (const char c : std::string_view(",()[].;:"))
        classes[static_cast<unsigned char>(c)] |= self;
    return classes;
}
inline constexpr auto classes = sql_classes();

}  // namespace detail

constexpr bool is(unsigned char c, std::uint8_t any) noexcept { return (detail::classes[c] & any) != 0; }
constexpr unsigned char lower(unsigned char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<unsigned char>(c + 32) : c;
}

namespace detail {

constexpr std::array<char, 256> folded_name_parts() {
    std::array<char, 256> folded{};
    for (unsigned c = 0; c < 256; ++c) {
        const auto byte = static_cast<unsigned char>(c);
        if (is(byte, name_part)) folded[c] = static_cast<char>(lower(byte));
    }
    return folded;
}
inline constexpr auto folded = folded_name_parts();

}  // namespace detail

/// A byte of a name in lower case; zero for what is no part of one.
constexpr char folded_name_part(char c) noexcept { return detail::folded[static_cast<unsigned char>(c)]; }

}  // namespace pgmend::protocol
