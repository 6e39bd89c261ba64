#pragma once
// pg_ident.conf: which name in a certificate may be which user. Source: PostgreSQL 15, hba.c and "User Name
// Maps". Control plane builds it, any thread asks it.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/units.hpp"

namespace pgmend::config {

class ident_map {
public:
    ident_map() = default;

    /// Whether `name` may log in as `user` by the map called `map`; without a map they have to be equal.
    bool allows(std::string_view map, const std::string& name, std::string_view user) const;

    struct pattern;
    struct entry {
        std::string map;
        std::string name;                        ///< in the certificate, unless there is a pattern
        std::shared_ptr<const pattern> matcher;  ///< of a name that begins with a slash
        std::string user;                        ///< `\1` stands for what the pattern's group has matched
    };
    void add(entry added) { entries_.push_back(std::move(added)); }

private:
    std::vector<entry> entries_;
};

/// The whole text of a pg_ident.conf. The problem begins with the number of the line.
parsed<ident_map> parse_ident_map(std::string_view text);

}  // namespace pgmend::config
