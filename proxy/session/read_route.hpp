#pragma once
// Whether a request goes to a standby (HEALING section 8, reads.mode). Only what surely reads and nothing
// else leaves the primary, and only for a standby that has all its client has written. Decides and does
// nothing; every outcome has its reason. Pure.

#include <optional>
#include <string_view>

#include "config/metrics.hpp"
#include "config/modes.hpp"
#include "protocol/statement_traits.hpp"
#include "proxy/servers/standby_source.hpp"

namespace pgmend::proxy {

using config::metrics::read_route;

/// What is known when a client's request needs a server, and the client has none.
struct read_facts {
    config::read_mode mode = config::read_mode::primary;
    bool primary_there = true;
    /// Why what is in front of the client's bytes is not to be read from a standby, if it is not.
    std::optional<read_route> front;
    bool plain_session = false;  ///< nothing of the session is anywhere but here
    bool judged = false;         ///< by what is known of the database now
    bool refused = false;        ///< a standby has answered this request with an error
    bool lost = false;           ///< a server was lost under it
    bool caught_up = false;      ///< some standby has all that the client has written
    standby_state standbys = standby_state::none;
};

/// Nothing where there is nothing to decide: the primary is there, and preferred.
std::optional<read_route> route_of(const read_facts& facts) noexcept;

constexpr bool leads_to_standby(read_route route) noexcept {
    return route == read_route::standby || route == read_route::no_primary;
}

/// Why a statement is not to be carried out by a standby; nothing where it may be. `text` is what the traits
/// are of.
std::optional<read_route> what_keeps_at_primary(
    const protocol::statement_traits& traits, std::string_view text
) noexcept;

}  // namespace pgmend::proxy
