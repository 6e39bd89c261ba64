#pragma once
// Who the servers are, by place, for people: as the picture has it, or the configuration where there is none
// yet. Pure.

#include <string>

#include "config/settings.hpp"
#include "health/topology.hpp"

namespace pgmend::proxy {

/// Those that are gone included. `picture` may be null.
health::server_roster servers_of(const health::topology_snapshot& picture, const config::settings& settings);
/// `host:port`; empty where the place has never been taken.
std::string server_name(
    const health::topology_snapshot& picture, const config::settings& settings, std::size_t place
);
/// What the server at this place is and does, in words: `up, the primary`, `down: connection refused`.
std::string server_in_words(const health::topology& picture, std::size_t place);
/// Why nobody, or somebody, is the primary, in words.
std::string_view election_in_words(health::election_reason reason) noexcept;

}  // namespace pgmend::proxy
