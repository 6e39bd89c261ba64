#pragma once
// How pgmend ends, and what of the machine it may use. Part of settings.hpp.

#include "config/modes.hpp"
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
        "After SIGTERM, how long at most everything goes on as before, new clients included, until the last "
        "client has been gone for `shutdown.linger_quiet`; only then pgmend drains. For a sidecar that gets "
        "SIGTERM together with its application. Where a service manager keeps the sockets open, new clients "
        "are left for the next process. /ready says 503 meanwhile."};
    setting<milliseconds> linger_quiet{
        this,
        "shutdown.linger_quiet",
        std::chrono::seconds{1},
        between(milliseconds{0}, std::chrono::hours{1}),
        reload_class::live,
        "How long nobody must have been connected for `shutdown.linger` to be over. Behind a Service of "
        "Kubernetes or another balancer, more than it takes until no new clients are sent here: some "
        "seconds. Where no new ones can come, a second is enough."};
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
        "After another process has become the service (SIGUSR2, or SIGUSR1 with --attended, which is a "
        "restart by systemd), how long the clients of this one may stay before it drains."};
};

struct machine_settings : section {
    using section::section;
    setting<memory_limit> memory{
        this, "machine.memory", memory_limit{}, reload_class::restart,
        "Memory that pgmend may use; above 90 % of it, new clients are refused with 53200. Requests of more "
        "than 4 KiB that have to wait for a server are refused then too, and while messages on their way "
        "take half of it. All else goes on. `auto`: the limit of its cgroup (memory.max or memory.high), if "
        "there is one."};
    setting<std::string> cgroup_root{
        this, "machine.cgroup_root", "/sys/fs/cgroup", reload_class::restart,
        "Where cgroup v2 is mounted: what `auto` of `machine.memory` and `workers` is read from."};
};

struct relay_settings : section {
    using section::section;
    setting<relay_engine> engine{
        this, "relay.engine", relay_engine::epoll, reload_class::restart,
        "How a worker gets what its sockets receive. `io_uring` takes half the system calls of `epoll` and "
        "needs Linux 6.1. `auto`: io_uring where a trial at start finds that it works, else epoll. Where it "
        "does not work, as under the seccomp profiles of most container engines, `io_uring` means epoll "
        "too: nothing but the log tells (`relay_engine`, with the reason). The default is epoll: the calls "
        "that "
        "io_uring saves are 2 to 3 % of the CPU of a transaction, and nothing a kernel has can be more "
        "proven."};
    setting<byte_size> ring_memory{
        this,
        "relay.ring_memory",
        mib(1),
        between(kib(128), mib(64)),
        reload_class::restart,
        "With io_uring, the most memory of a worker that the kernel receives into. It begins with 128 KiB "
        "and "
        "doubles when all of it is taken at one time."};
};

}  // namespace pgmend::config
