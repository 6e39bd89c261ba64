#pragma once
// Where statements that only read are carried out. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct read_settings : section {
    using section::section;
    setting<read_mode> mode{
        this, "reads.mode", read_mode::primary, reload_class::new_sessions,
        "Where a lone SELECT outside a transaction is carried out, if it surely only reads and no session's "
        "state clings to it. primary: there. prefer_primary: on a standby while there is no primary. "
        "prefer_standby: on a standby wherever that has all its client has written and lags no further than "
        "`reads.max_lag`. What a standby refuses, or loses, is carried out by the primary."};
    setting<milliseconds> max_lag{
        this,
        "reads.max_lag",
        10s,
        between(10ms, 24h),
        reload_class::live,
        "How far a standby may be behind the primary to be read from, by what health checks have seen of "
        "both. They look each `health.interval`: with less than twice that hardly any standby will do. "
        "While there is no primary: how far it was behind when there was one."};
};

}  // namespace pgmend::config
