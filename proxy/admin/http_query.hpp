#pragma once
// What stands behind the '?' of a path. Pure.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace pgmend::proxy {

/// The value of a parameter, as it came; `true` where it stands alone, nothing where it is not there.
std::optional<std::string_view> parameter(std::string_view query, std::string_view name) noexcept;
/// The same with %XX and + read; nothing also for what is badly written.
std::optional<std::string> text_parameter(std::string_view query, std::string_view name);
/// Whether a parameter says yes.
bool wanted(std::string_view query, std::string_view name) noexcept;

/// The most entries that `limit` may ask for.
inline constexpr std::size_t most_entries = 10'000;
/// `limit`: how many entries. Nothing for what is no such number.
std::optional<std::size_t> limit_of(std::string_view query, std::size_t otherwise) noexcept;

}  // namespace pgmend::proxy
