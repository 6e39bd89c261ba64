#include "config/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace pgmend::config {

namespace {

struct unit {
    std::string_view name;
    std::uint64_t factor;
};

// Rising, so that printing can search from the end for the largest unit that is exact.
constexpr std::array duration_units = {
    unit{"ms", 1}, unit{"s", 1000}, unit{"min", 60'000}, unit{"h", 3'600'000}, unit{"d", 86'400'000}};
constexpr std::array size_units = {
    unit{"B", 1}, unit{"KiB", 1ULL << 10}, unit{"MiB", 1ULL << 20}, unit{"GiB", 1ULL << 30}};

bool digits_only(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

template <std::size_t N>
std::string names(const std::array<unit, N>& units) {
    std::string list;
    for (const unit& each : units)
        list.append(list.empty() ? "" : ", ").append(each.name);
    return list;
}

/// `limit` is the largest product that the type of the value can carry.
template <std::size_t N>
parsed<std::uint64_t> parse_with_unit(
    std::string_view text, const std::array<unit, N>& units, std::uint64_t limit
) {
    using result = parsed<std::uint64_t>;
    const std::size_t split = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::string_view digits = text.substr(0, split);
    std::string_view name = text.substr(split);
    if (digits.empty() || name.starts_with('.')) return result::failure("is not a whole number with a unit");
    if (name.starts_with(' ')) name.remove_prefix(1);
    std::uint64_t number = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc{})
        return result::failure("is too large");
    if (name.empty() && number == 0) return result::of(0);
    if (name.empty()) return result::failure("needs a unit: " + names(units));
    for (const unit& each : units) {
        if (each.name != name) continue;
        if (number > limit / each.factor) return result::failure("is too large");
        return result::of(number * each.factor);
    }
    return result::failure("has an unknown unit; known are " + names(units));
}

template <std::size_t N>
std::string print_with_unit(std::uint64_t value, const std::array<unit, N>& units) {
    if (value == 0) return "0";
    const unit* best = &units.front();
    for (const unit& each : units)
        if (value % each.factor == 0) best = &each;
    return std::to_string(value / best->factor) + std::string(best->name);
}

}  // namespace

parsed<milliseconds> parse_duration(std::string_view text) {
    // Half of what fits, so that a deadline can be added to a clock without overflow.
    constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / 2'000'000;
    auto number = parse_with_unit(text, duration_units, limit);
    if (!number.value) return parsed<milliseconds>::failure(std::move(number.problem));
    return parsed<milliseconds>::of(milliseconds(static_cast<milliseconds::rep>(*number.value)));
}

std::string print_duration(milliseconds value) {
    return print_with_unit(static_cast<std::uint64_t>(value.count()), duration_units);
}

parsed<byte_size> parse_size(std::string_view text) {
    auto number = parse_with_unit(text, size_units, std::numeric_limits<std::uint64_t>::max());
    if (!number.value) return parsed<byte_size>::failure(std::move(number.problem));
    return parsed<byte_size>::of(byte_size{*number.value});
}

std::string print_size(byte_size value) { return print_with_unit(value.bytes, size_units); }

parsed<std::uint64_t> parse_count(std::string_view text) {
    using result = parsed<std::uint64_t>;
    if (!digits_only(text)) return result::failure("is not a whole number");
    if (text.size() > 1 && text.front() == '0') return result::failure("must not begin with 0");
    std::uint64_t number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{})
        return result::failure("is too large");
    return result::of(number);
}

parsed<file_mode> parse_mode(std::string_view text) {
    using result = parsed<file_mode>;
    std::uint32_t bits = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, bits, 8);
    if (text.empty() || error != std::errc{} || stopped != end)
        return result::failure("is not an octal number");
    if (bits > 0777) return result::failure("is more than 0777");
    return result::of(file_mode{bits});
}

std::string print_mode(file_mode value) {
    std::string text = "0000";
    std::uint32_t bits = value.bits;
    for (std::size_t place = text.size(); bits != 0 && place-- > 0; bits >>= 3)
        text[place] = static_cast<char>('0' + (bits & 7));
    return text;
}

}  // namespace pgmend::config
