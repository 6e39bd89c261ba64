#pragma once
// How servers are watched, waited for, and what is done when one is lost. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct health_settings : section {
    using section::section;
    setting<milliseconds> interval{
        this,
        "health.interval",
        1s,
        between(50ms, 1h),
        reload_class::restart,
        "Time between two checks of a server that is well. A refused or lost connection causes one at once."};
    setting<milliseconds> recovery_interval{
        this,
        "health.recovery_interval",
        50ms,
        between(5ms, 1min),
        reload_class::restart,
        "Time between two checks of a server that is not well, and of all servers while there is no "
        "primary."};
    setting<milliseconds> timeout{
        this,
        "health.timeout",
        1s,
        between(10ms, 1min),
        reload_class::restart,
        "Longest time one check may take, login included."};
    setting<std::uint32_t> failures{
        this,
        "health.failures",
        3,
        between(1, 100),
        reload_class::restart,
        "Unanswered checks in a row after which a server counts as down; a refused connection is enough by "
        "itself."};
    setting<std::uint32_t> successes{
        this,
        "health.successes",
        1,
        between(1, 100),
        reload_class::restart,
        "Answered checks in a row after which a server that was down counts as up."};
    setting<milliseconds> evidence_age{
        this,
        "health.evidence_age",
        5s,
        between(100ms, 1h),
        reload_class::restart,
        "How long the role a server has told is believed without being told again."};
};

struct hold_settings : section {
    using section::section;
    setting<milliseconds> timeout{
        this,
        "hold.timeout",
        60s,
        between(1ms, 24h),
        reload_class::live,
        "How long requests and logins wait while no server can take them; then they fail with 57P03."};
    setting<std::uint32_t> max_waiters{
        this,
        "hold.max_waiters",
        10'000,
        between(0, 1'000'000),
        reload_class::live,
        "Requests of one pool that may wait so at one time; one more fails with 57P03 at once."};
};

struct retry_settings : section {
    using section::section;
    setting<std::uint32_t> attempts{
        this,
        "retry.attempts",
        3,
        between(0, 100),
        reload_class::live,
        "How often a request whose server was lost is sent again, where that is safe. 0: never."};
    setting<byte_size> max_bytes{
        this,
        "retry.max_bytes",
        kib(64),
        between(kib(1), mib(64)),
        reload_class::live,
        "Longest request that is kept while it runs, so that it can be sent again."};
    setting<std::uint32_t> budget{
        this,
        "retry.budget",
        20,
        between(0, 1000),
        reload_class::restart,
        "Retries, beyond the first of each request, that may be spent before successes earn new ones: "
        "percent "
        "of the connected clients, ten at least."};
};

struct ledger_settings : section {
    using section::section;
    setting<std::uint32_t> events{
        this,
        "ledger.events",
        1000,
        between(0, 1'000'000),
        reload_class::restart,
        "Acts of healing that are remembered to be shown, the latest ones; all are counted and logged."};
};

}  // namespace pgmend::config
