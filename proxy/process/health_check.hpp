#pragma once
// `pgmend --health-check`: asks the pgmend with the same settings whether it is alive, for a container
// without shell and curl.

#include <string>

#include "config/settings.hpp"

namespace pgmend::proxy {

/// GET /live on http.host and http.port: empty when that says 200, else what is wrong. Blocks for at most
/// some seconds.
std::string check_health(const config::settings& settings);

}  // namespace pgmend::proxy
