#pragma once
// The files that libpq reads beside the connection string: pg_service.conf and the password file. Their
// texts are read here; where they lie and whether they may be used is with the reader of files below.
// Source: PostgreSQL documentation, "The Password File" and "The Connection Service File".

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "config/units.hpp"

namespace pgmend::config {

inline constexpr std::size_t small_file_max = 1 << 20;

/// A regular file, whole, at most `limit` bytes. The problem names neither the path nor anything read.
parsed<std::string> read_small_file(const std::string& path, std::size_t limit = small_file_max);

/// True when somebody besides the owner may read or write the file: libpq leaves such password files alone.
bool is_open_to_others(const std::string& path) noexcept;

/// The parameters of one service in a pg_service.conf; no value when it is not in there.
std::optional<std::map<std::string, std::string>> find_service(std::string_view text, std::string_view name);

/// The first password whose line fits; `*` fits anything.
std::optional<std::string> find_password(
    std::string_view text, const std::string& host, std::uint16_t port, const std::string& database,
    const std::string& user
);

}  // namespace pgmend::config
