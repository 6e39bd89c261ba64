#pragma once
// What of a session a server can be asked about: whether anything is left that only this server has. The
// answer is one row of booleans. Pure.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/session_change.hpp"

namespace pgmend::pool {

/// The columns of the answer, in order.
inline constexpr std::array<std::string_view, 6> leftover_words{
    "temporary table", "advisory lock", "cursor", "prepared statement", "channel", "role"};

/// As `current_setting('role')` says it.
inline constexpr std::string_view no_role = "none";

/// `role`: the one that SET ROLE is known to have left; nullopt: whichever it is, it is no leftover.
inline std::string leftover_query(std::string_view login_user, std::optional<std::string_view> role) {
    std::string query =
        "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_class WHERE "
        "relnamespace=pg_catalog.pg_my_temp_schema()),"
        "EXISTS(SELECT 1 FROM pg_catalog.pg_locks WHERE locktype='advisory' AND "
        "pid=pg_catalog.pg_backend_pid()),"
        "EXISTS(SELECT 1 FROM pg_catalog.pg_cursors WHERE is_holdable),"
        "EXISTS(SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE from_sql),"
        "EXISTS(SELECT 1 FROM pg_catalog.pg_listening_channels()),"
        "session_user<>" +
        protocol::quote_literal(login_user);
    if (role) query += " OR pg_catalog.current_setting('role',true)<>" + protocol::quote_literal(*role);
    return query;
}

}  // namespace pgmend::pool
