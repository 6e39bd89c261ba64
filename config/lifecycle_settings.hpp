#pragma once
// How pgmend ends, and what of the machine it may use. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

struct shutdown_settings : section {
    using section::section;
    setting<milliseconds> linger{
        this,
        "shutdown.linger",
        milliseconds{0},
        between(milliseconds{0}, std::chrono::hours{24}),
        reload_class::live,
        "After SIGTERM, how long everything goes on as before, new clients included, until the last client "
        "has been gone for a second; only then pgmend drains. For a sidecar that gets SIGTERM together with "
        "its application. Where a service manager keeps the sockets open, new clients are left for the next "
        "process. /ready says 503 meanwhile."};
    setting<milliseconds> drain_timeout{
        this,
        "shutdown.drain_timeout",
        std::chrono::seconds{25},
        between(milliseconds{0}, std::chrono::hours{24}),
        reload_class::live,
        "After SIGTERM (and `shutdown.linger`), how long clients may go on working before they are "
        "disconnected."};
    setting<milliseconds> takeover_linger{
        this,
        "shutdown.takeover_linger",
        std::chrono::hours{1},
        between(milliseconds{0}, std::chrono::hours{24}),
        reload_class::live,
        "After another process has taken over the listening sockets (SIGUSR2), how long the clients of this "
        "one may stay before it drains."};
};

struct machine_settings : section {
    using section::section;
    setting<memory_limit> memory{
        this, "machine.memory", memory_limit{}, reload_class::restart,
        "Memory that pgmend may use; above 90 % of it, new clients are refused with 53200 and those that are "
        "in go on. `auto`: the limit of its cgroup (memory.max or memory.high), if there is one."};
    setting<std::string> cgroup_root{
        this, "machine.cgroup_root", "/sys/fs/cgroup", reload_class::restart,
        "Where cgroup v2 is mounted: what `auto` of `machine.memory` and `workers` is read from."};
};

}  // namespace pgmend::config
