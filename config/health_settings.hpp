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
    setting<std::string> user{
        this, "health.user", "", reload_class::restart,
        "Who looks at the servers; empty: `upstream.user`. Needs no privilege but to log in to "
        "`upstream.database`. Needed where the only secret known of `upstream.user` is a SCRAM verifier, by "
        "which "
        "libpq cannot log in; without it servers are watched from outside, and their role is what logins of "
        "clients show."};
    setting<std::string> password{this,
                                  "health.password",
                                  "",
                                  reload_class::restart,
                                  "Password of `health.user`. Lets no client in.",
                                  secrecy::secret};
    setting<std::string> password_file{
        this, "health.password_file", "", reload_class::live,
        "File with the password of `health.user`, one a line, tried in turn. Read again when it changes."};
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
    setting<milliseconds> deadline{
        this,
        "retry.deadline",
        60s,
        between(0ms, 24h),
        reload_class::new_sessions,
        "How long after its server was first lost a request may still be sent again."};
    setting<milliseconds> delay_min{
        this,
        "retry.delay_min",
        5ms,
        between(1ms, 1min),
        reload_class::new_sessions,
        "Shortest pause before a request is sent again that has been sent again before. The first time is "
        "at once."};
    setting<milliseconds> delay_max{
        this,
        "retry.delay_max",
        500ms,
        between(1ms, 1min),
        reload_class::new_sessions,
        "Longest such pause: each is drawn between the shortest and three times the one before."};
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

struct breaker_settings : section {
    using section::section;
    setting<std::uint32_t> failures{
        this,
        "breaker.failures",
        5,
        between(0, 10'000),
        reload_class::restart,
        "Failures in a row after which a server is not chosen for a while. Counted for each server: logins "
        "and lost connections, and, apart from these, errors of classes 53, 58 and XX. A server without an "
        "alternative is still tried, one login at a time. 0: never."};
    setting<std::uint32_t> failure_rate{
        this,
        "breaker.failure_rate",
        50,
        between(0, 100),
        reload_class::restart,
        "Percent of failures within `breaker.window` that do the same. 0: never."};
    setting<std::uint32_t> slow_rate{
        this,
        "breaker.slow_rate",
        80,
        between(0, 100),
        reload_class::restart,
        "Percent of logins within `breaker.window` that were slow that do the same. 0: never."};
    setting<milliseconds> slow_login{
        this,
        "breaker.slow_login",
        2s,
        between(1ms, 1h),
        reload_class::restart,
        "A login to a server that takes as long is slow."};
    setting<milliseconds> window{
        this, "breaker.window", 30s, between(100ms, 1h), reload_class::restart, "How far back rates reach."};
    setting<std::uint32_t> min_calls{
        this,
        "breaker.min_calls",
        20,
        between(1, 1'000'000),
        reload_class::restart,
        "With fewer calls within the window, rates say nothing."};
    setting<milliseconds> cooldown{
        this,
        "breaker.cooldown",
        30s,
        between(1ms, 1h),
        reload_class::restart,
        "How long an open breaker stays so, more or less by a quarter; twice as long after each trial that "
        "failed. A health check that succeeds ends it."};
    setting<milliseconds> cooldown_max{this,
                                       "breaker.cooldown_max",
                                       5min,
                                       between(1ms, 24h),
                                       reload_class::restart,
                                       "The longest it grows to."};
    setting<std::uint32_t> half_open_trials{
        this,
        "breaker.half_open_trials",
        3,
        between(1, 1000),
        reload_class::restart,
        "Logins that a half open breaker lets through at one time, and that must succeed before it closes."};
};

struct ledger_settings : section {
    using section::section;
    setting<std::uint32_t> events{
        this,
        "ledger.events",
        1000,
        between(0, 1'000'000),
        reload_class::restart,
        "Acts of healing that are remembered to be shown, the latest ones; all are counted and logged. As "
        "many health "
        "checks are remembered of each server."};
};

}  // namespace pgmend::config
