#pragma once
// How transactions whose server was lost are run again. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct replay_settings : section {
    using section::section;
    setting<replay_mode> mode{
        this, "replay.mode", replay_mode::on, reload_class::new_sessions,
        "on: a transaction whose server is lost before its COMMIT was sent is run again on another one, and "
        "goes on where every answer that was shown comes out the same. off: it fails. `replay` in "
        "`pool.rules` says it for certain databases and users."};
    setting<byte_size> max_bytes{
        this,
        "replay.max_bytes",
        mib(1),
        between(kib(1), mib(64)),
        reload_class::live,
        "Longest transaction that is kept while it runs, by what its client has sent."};
    setting<std::uint32_t> max_statements{
        this,
        "replay.max_statements",
        10'000,
        between(1, 10'000'000),
        reload_class::live,
        "Statements of a transaction beyond which it is not run again."};
    setting<milliseconds> max_age{
        this,
        "replay.max_age",
        5min,
        between(1ms, 24h),
        reload_class::live,
        "Age of a transaction beyond which it is not run again."};
};

}  // namespace pgmend::config
