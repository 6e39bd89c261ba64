#pragma once
// The backend that worked for a client on a connection that was lost: it may live on, with its locks, and
// must be gone before anything is run again (HEALING section 6). Decides and does nothing. Pure.

#include <cstdint>
#include <string>
#include <string_view>

#include "config/environment.hpp"

namespace pgmend::proxy {

/// In front of what we ask for ourselves on a connection that others have used: neither the settings of its
/// role and database, nor what the last statement has left, is in the way. Its role is the one it was logged
/// in with, no snapshot is waited for, names are PostgreSQL's own.
inline constexpr std::string_view as_ourselves =
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout=0;SET LOCAL ROLE NONE;"
    "SET LOCAL search_path=pg_catalog;";

struct old_backend {
    std::string where;
    std::uint32_t pid = 0;
    config::time_point logged_in_at{};
};

/// Ends the backend, known by its pid and by having been there when we logged in: whoever was given the same
/// pid since then began later. Answers no row where there is none, true where it is gone, else something
/// else: then it is asked again. `patient`: one of which nothing may be seen, or that waits for a standby,
/// which would commit by being ended, is waited for. `version`: of the server, as it reports it.
std::string eviction_query(
    const old_backend& old, config::time_point now, std::string_view version, bool patient
);

}  // namespace pgmend::proxy
