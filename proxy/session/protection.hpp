#pragma once
// With what privileges the outcome of a lost COMMIT could be found out, as far as servers have told. Values.

#include <optional>
#include <string>

#include "config/environment.hpp"

namespace pgmend::proxy {

/// What a server said to whoever is logged in to one of its databases as one user.
struct protection_facts {
    std::string server;
    std::string database;
    std::string user;
    std::string missing;   ///< functions that may not be called, by name, a space between; empty: none
    std::string sqlstate;  ///< it did not say even that: what it answered
    config::duration ago{};
};

/// Whether one server lets its WAL be read.
struct wal_access {
    std::string server;
    std::string user;
    std::optional<bool> works;  ///< nothing: it was not asked, or could not be reached
    std::string why;            ///< it does not, or is not known
    config::duration ago{};
};

}  // namespace pgmend::proxy
