#pragma once
// Startup parameters as PostgreSQL takes them: `options` first, then each name, whatever it is. Source:
// PostgreSQL 15, process_startup_options and process_postgres_switches in postinit.c and postgres.c. Pure.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/prng.hpp"
#include "tests/sim/wire.hpp"

namespace pgmend::sim {

/// Session defaults under their canonical names, from a startup packet's parameters; the error of a login
/// that they keep from succeeding.
std::optional<error_fields> take_startup(
    const std::vector<name_value>& parameters, std::map<std::string, std::string>& defaults
);

/// Parameters of any name, for a client that wants to see what became of them.
struct drawn_startup {
    std::vector<name_value> parameters;
    std::vector<std::string> names;  ///< that were set, to be shown
};
/// `bad`: PostgreSQL refuses them.
drawn_startup draw_any_startup(prng& dice, bool bad);

}  // namespace pgmend::sim
