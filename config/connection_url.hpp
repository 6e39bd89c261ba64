#pragma once
// What a DATABASE_URL says. The text is parsed by libpq, after whatever libpq 15 does not know has been taken
// out, so that a URL that works for an application works here; this header shows nothing of libpq.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/upstreams.hpp"

namespace pgmend::config {

/// One setting that the URL decides.
struct url_value {
    std::string key;        ///< of the setting: `upstream.tls.mode`
    std::string parameter;  ///< as it is called in the URL: `sslmode`
    std::string text;       ///< in the spelling of the configuration: `15s`, not `15`
};

struct connection_target {
    server_list servers;
    std::vector<url_value> values;
    std::vector<std::string> problems;  ///< not empty: the string cannot be used; never contains secrets
    std::vector<std::string> warnings;  ///< one for each parameter that has no effect here
};

/// Looks up an environment variable; PGHOST and its kin fill in what the string leaves open.
using environment_lookup = std::function<std::optional<std::string>(const std::string&)>;

/// Parses a URL (`postgres://`, `postgresql://`, also with a driver suffix such as `+psycopg`) or a keyword
/// string (`host=... user=...`). Never throws.
connection_target parse_connection_url(std::string_view text, const environment_lookup& environment);

/// The same string with every password replaced; `***` altogether when its shape is not understood.
std::string redact_connection_url(std::string_view text);

}  // namespace pgmend::config
