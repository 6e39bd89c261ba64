#pragma once
// libpq's require_auth: which ways of authentication a server may ask for. Source: PostgreSQL 16,
// fe-connect.c.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/units.hpp"

namespace pgmend::config {

enum class auth_kind : std::uint8_t {
    none = 1,  ///< the server lets us in without asking
    password = 2,
    md5 = 4,
    scram_sha_256 = 8,
    gss = 16,
    sspi = 32,
};

struct auth_requirement {
    std::string text;             ///< as written; empty: anything goes
    std::uint8_t allowed = 0xff;  ///< bits of auth_kind

    bool allows(auth_kind kind) const noexcept { return (allowed & static_cast<std::uint8_t>(kind)) != 0; }
    auto operator<=>(const auth_requirement&) const = default;
};

/// A list such as `scram-sha-256,md5`, or `!password,!none` for all but these.
parsed<auth_requirement> parse_auth_requirement(std::string_view text);

}  // namespace pgmend::config
