#pragma once
// What of a session a server can be asked about: whether anything is left that only this server has. The
// answer is one row of booleans. Pure.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/session_change.hpp"

namespace pgmend::pool {

/// The columns of the answer, in order.
inline constexpr std::array<std::string_view, 6> leftover_words{
    "temporary table", "advisory lock", "cursor", "prepared statement", "channel", "role"};

inline std::string leftover_query(std::string_view login_user) {
    return "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_class WHERE "
           "relnamespace=pg_catalog.pg_my_temp_schema()),"
           "EXISTS(SELECT 1 FROM pg_catalog.pg_locks WHERE locktype='advisory' AND "
           "pid=pg_catalog.pg_backend_pid()),"
           "EXISTS(SELECT 1 FROM pg_catalog.pg_cursors WHERE is_holdable),"
           "EXISTS(SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE from_sql),"
           "EXISTS(SELECT 1 FROM pg_catalog.pg_listening_channels()),"
           "current_user<>session_user OR session_user<>" +
           protocol::quote_literal(login_user);
}

}  // namespace pgmend::pool
