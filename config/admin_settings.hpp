#pragma once
// The settings of the admin console. A part of settings.hpp, which says what a declaration is.

#include <cstdint>
#include <string>

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct admin_settings : section {
    using section::section;
    setting<std::string> users{
        this, "admin.users", "", reload_class::new_sessions,
        "Users who may do anything on the console (the database `pgmend`, or `pgbouncer`), with commas "
        "between them, and may ask everything over HTTP. They prove who they are as everywhere else, over "
        "HTTP by their password. Where this and `admin.stats_users` are "
        "empty, `upstream.user` may, from the same machine alone."};
    setting<std::string> stats_users{
        this, "admin.stats_users", "", reload_class::new_sessions,
        "Users who may look at everything there, and over HTTP, and change nothing, such as an exporter's."};
    setting<std::uint32_t> max_consoles{
        this,
        "admin.max_consoles",
        10,
        between(1, 1'000),
        reload_class::live,
        "Consoles open at one time, for each worker. They come on top of `listen.max_clients`: a crowd of "
        "clients does not lock administrators out."};
    setting<milliseconds> stats_period{
        this,
        "admin.stats_period",
        60s,
        between(1s, 1h),
        reload_class::restart,
        "The time that the averages of SHOW STATS are of, and what SHOW COVERAGE calls recent."};
    setting<std::uint32_t> statements{
        this,
        "admin.statements",
        1'000,
        between(16, 100'000),
        reload_class::restart,
        "Shapes of statements that SHOW STATEMENTS tells apart, for each worker; up to a kilobyte each. A "
        "new one takes the place of one that is not used, whose numbers go to those of all others."};
};

}  // namespace pgmend::config
