#pragma once
// Whom pgmend tells of itself that it is not well. A part of settings.hpp, which says what a declaration is.

#include <cstdint>
#include <string>

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct alert_settings : section {
    using section::section;
    setting<std::string> webhook{
        this, "alerts.webhook", "", reload_class::live,
        "Where alerts are posted to as JSON: http://host:port/path. Empty: nowhere; they are still logged, "
        "and in "
        "the ledger. There is no https: give it something on this machine that speaks it further on."};
    setting<alert_level> level{
        this, "alerts.level", alert_level::warning, reload_class::live,
        "warning: what is degraded, and what is critical (HEALTH's words). critical: only that."};
    setting<milliseconds> interval{
        this,
        "alerts.interval",
        5s,
        between(100ms, 1h),
        reload_class::live,
        "How often pgmend looks at its own health for alerts."};
    setting<milliseconds> delay{
        this,
        "alerts.delay",
        15s,
        between(0ms, 24h),
        reload_class::live,
        "How long something has to be the matter until that is an alert, and to be well again until it is "
        "over."};
    setting<milliseconds> repeat{
        this,
        "alerts.repeat",
        4h,
        between(0ms, 720h),
        reload_class::live,
        "How often an alert that lasts is posted again. 0: never."};
    setting<milliseconds> wait{
        this,
        "alerts.wait",
        0ms,
        between(0ms, 24h),
        reload_class::live,
        "A client that waits longer than this for a server connection is a warning of its own. 0: only what "
        "GET /health calls degraded."};
    setting<std::uint32_t> error_percent{
        this,
        "alerts.error_percent",
        0,
        between(0, 100),
        reload_class::live,
        "So many percent of the requests between two looks that fail, of at least 20, are a warning. 0: "
        "never."};
    setting<std::uint32_t> pool_percent{
        this,
        "alerts.pool_percent",
        0,
        between(0, 100),
        reload_class::live,
        "So many percent of pool.size in use, of one database and user, are a warning. 0: never."};
    setting<milliseconds> timeout{
        this,
        "alerts.timeout",
        5s,
        between(100ms, 1min),
        reload_class::live,
        "How long one attempt to post an alert may take."};
    setting<std::uint32_t> attempts{
        this,
        "alerts.attempts",
        5,
        between(1, 100),
        reload_class::live,
        "How often it is attempted, with pauses that double from a second to a minute."};
};

}  // namespace pgmend::config
