#pragma once
// Who may do what on the console. Pure.

#include <cstdint>
#include <string_view>

#include "config/settings.hpp"

namespace pgmend::proxy {

enum class admin_role : std::uint8_t {
    none,
    stats,  ///< sees everything, changes nothing
    admin,
};

/// The databases that are the console, in our own words and in PgBouncer's.
constexpr bool is_console(std::string_view database) noexcept {
    return database == "pgmend" || database == "pgbouncer";
}

/// What `user` may do. `same_machine`: it came over a Unix socket or the loopback interface.
admin_role role_of(const config::settings& settings, std::string_view user, bool same_machine) noexcept;

/// A loopback address, as text.
bool is_loopback(std::string_view address) noexcept;

}  // namespace pgmend::proxy
