#include "protocol/base64.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace pgmend::protocol {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t foreign = 255;

constexpr std::array<std::uint8_t, 256> make_values() {
    std::array<std::uint8_t, 256> values{};
    for (auto& value : values) {
        value = foreign;
    }
    for (std::size_t i = 0; i < alphabet.size(); ++i) {
        values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
    }
    return values;
}
constexpr auto values = make_values();

}  // namespace

std::string base64_encode(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4, '=');
    char* to = text.data();
    const auto byte = [&bytes](std::size_t at) {
        return std::uint32_t{static_cast<unsigned char>(bytes[at])};
    };
    std::size_t at = 0;
    for (; bytes.size() - at >= 3; at += 3) {
        const std::uint32_t group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[(group >> 12) & 63U];
        *to++ = alphabet[(group >> 6) & 63U];
        *to++ = alphabet[group & 63U];
    }
    if (at == bytes.size()) return text;
    const bool two = bytes.size() - at == 2;
    const std::uint32_t group = byte(at) << 16 | (two ? byte(at + 1) << 8 : 0);
    *to++ = alphabet[group >> 18];
    *to++ = alphabet[(group >> 12) & 63U];
    if (two) *to = alphabet[(group >> 6) & 63U];
    return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t digits = text.size();
    while (digits > 0 && text.size() - digits < 2 && text[digits - 1] == '=') {
        --digits;
    }
    std::string bytes(digits * 3 / 4, '\0');
    char* to = bytes.data();
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text.substr(0, digits)) {
        const std::uint8_t value = values[static_cast<unsigned char>(c)];
        if (value == foreign) return std::nullopt;
        group = (group << 6) | value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *to++ = static_cast<char>((group >> bits) & 255U);
        }
    }
    if ((group & ((1U << bits) - 1)) != 0) return std::nullopt;
    return bytes;
}

}  // namespace pgmend::protocol
