#pragma once
// The life of a server connection, and the moves that are legal in it. Pure.

#include <cstdint>

namespace pgmend::pool {

enum class server_state : std::uint8_t {
    connecting,  ///< being opened and logged in to
    idle,        ///< in the pool, clean
    active,      ///< lent to a client
    cleaning,    ///< its client has left something behind
    closed,
};

constexpr bool may_become(server_state from, server_state to) noexcept {
    switch (from) {
        case server_state::connecting:
            return to == server_state::idle || to == server_state::active || to == server_state::closed;
        case server_state::idle:
            return to == server_state::active || to == server_state::closed;
        case server_state::active:
            return to == server_state::idle || to == server_state::cleaning || to == server_state::closed ||
                   to == server_state::active;
        case server_state::cleaning:
            return to == server_state::idle || to == server_state::active || to == server_state::closed;
        case server_state::closed:
            return false;
    }
    return false;
}

}  // namespace pgmend::pool
