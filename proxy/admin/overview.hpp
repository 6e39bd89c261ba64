#pragma once
// Everything the dashboard shows at one moment, in one answer. Pure.

#include <boost/json/object.hpp>

#include <string>

#include "proxy/admin/health_report.hpp"
#include "proxy/admin/http_door.hpp"

namespace pgmend::proxy {

struct overview_view {
    const health_view& health;
    const http_verdict& who;
    std::string process;          ///< a word of this process alone
    std::int64_t started_ms = 0;  ///< since 1970
};

/// Who asks and what they may do, the process, the health report, and the tables of topology, breakers,
/// databases and pools (so many rows of each).
boost::json::object json_overview(const overview_view& view);

}  // namespace pgmend::proxy
