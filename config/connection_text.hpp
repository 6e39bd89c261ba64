#pragma once
// A connection string taken apart into its parameters and put together again, in both of libpq's forms. It
// decides nothing: which parameters stay is the business of connection_url. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/units.hpp"

namespace pgmend::config {

struct connection_parameter {
    std::string name;      ///< decoded; as written where the encoding is broken
    std::string value;     ///< decoded likewise
    std::string raw;       ///< as it stands in the text, for the URL form
    bool complete = true;  ///< false when a URL's parameter lacks its '='
};

struct connection_text {
    bool url = false;
    std::string base;  ///< of a URL, all before the '?', with the scheme libpq wants
    std::vector<connection_parameter> parameters;
};

/// Takes `postgres://…`, `postgresql://…` (with a driver suffix, or `jdbc:` in front) or `key=value …`.
parsed<connection_text> split_connection_text(std::string_view text);

/// What libpq is given.
std::string join_connection_text(const connection_text& parts);

/// Empty when a '%' is not followed by two hex digits, or stands for NUL.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace pgmend::config
