#pragma once
// `pgmend --health-check`: asks the pgmend with the same settings whether it is alive, for a container
// without shell and curl.

#include <chrono>
#include <string>

#include "config/settings.hpp"

namespace pgmend::proxy {

/// GET /live on http.host and http.port: empty when that says 200, else what is wrong. With `patience` it is
/// GET /startup, again until that is over: what starts after pgmend waits by this until clients are let in.
/// Blocks for that long, and at most some seconds more.
std::string check_health(const config::settings& settings, std::chrono::seconds patience);

}  // namespace pgmend::proxy
