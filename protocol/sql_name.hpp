#pragma once
// Names as they stand in a text of SQL, made comparable with names as they stand in PostgreSQL's catalogs: by
// one number each. Different names may share one; a name never has two. Pure; any thread.

#include "protocol/sql_scanner.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgmend::protocol {

/// Bytes of a name that PostgreSQL keeps (NAMEDATALEN - 1).
inline constexpr std::size_t name_bytes_max = 63;

/// The number of a name. Letters of ASCII count alike in both cases; of other characters only that one stands
/// there, whatever its encoding, and nothing behind it; of a long name the first bytes count.
std::uint64_t name_number(std::string_view name) noexcept;

/// The name that a token spells, quotes undone and folded to lower case. Empty for tokens that are no names,
/// and for U&"…", whose escapes may stand for any name at all.
std::optional<std::string> spelled_name(const sql_token& token);

}  // namespace pgmend::protocol
