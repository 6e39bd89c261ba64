#pragma once
// Why an authentication exchange or a first packet was refused, in PostgreSQL's words. Pure; any thread.

#include <string>
#include <string_view>

#include "protocol/sqlstate.hpp"

namespace pgmend::protocol {

/// Ready for an ErrorResponse. `sqlstate` and `detail` point to constants; `message` may name a user, never a
/// secret.
struct auth_error {
    std::string_view sqlstate;
    std::string message;
    std::string_view detail = {};
};

/// What PostgreSQL says of a wrong password, an unknown user and an expired one alike.
inline auth_error password_failed(std::string_view user) {
    return {
        sqlstate::invalid_password, "password authentication failed for user \"" + std::string(user) + '"'};
}

}  // namespace pgmend::protocol
