#pragma once
// Values with units, both ways: `250ms`, `64KiB`, `0777`. Pure; used at start-up and by the documents.

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pgmend::config {

using std::chrono::milliseconds;

/// A number of bytes. A type of its own, so that a size is never taken for a count.
struct byte_size {
    std::uint64_t bytes = 0;
    auto operator<=>(const byte_size&) const = default;
};

constexpr byte_size kib(std::uint64_t count) { return byte_size{count << 10}; }
constexpr byte_size mib(std::uint64_t count) { return byte_size{count << 20}; }
constexpr byte_size gib(std::uint64_t count) { return byte_size{count << 30}; }

/// Permission bits of a file, written in octal.
struct file_mode {
    std::uint32_t bits = 0;
    auto operator<=>(const file_mode&) const = default;
};

/// A value, or the reason why the text is none. The reason never repeats the text: it may be a secret.
template <class T>
struct parsed {
    std::optional<T> value;
    std::string problem;

    static parsed of(T value) { return parsed{std::move(value), {}}; }
    static parsed failure(std::string problem) { return parsed{std::nullopt, std::move(problem)}; }
};

/// Whole numbers with a unit of ms, s, min, h or d. A bare number is refused, except 0.
parsed<milliseconds> parse_duration(std::string_view text);
/// In the largest unit that is exact: 90s, 2min, 1h.
std::string print_duration(milliseconds value);

/// Whole numbers with a unit of B, KiB, MiB or GiB. A bare number is refused, except 0.
parsed<byte_size> parse_size(std::string_view text);
std::string print_size(byte_size value);

/// Decimal digits without sign, point or leading zero (which YAML would read as octal).
parsed<std::uint64_t> parse_count(std::string_view text);

/// One to four octal digits, with or without a leading zero.
parsed<file_mode> parse_mode(std::string_view text);
std::string print_mode(file_mode value);

}  // namespace pgmend::config
