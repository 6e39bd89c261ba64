#pragma once
// `pgmend --attended`: what a service manager takes for the service. A restart ends the manager's main
// process and waits for that, so a process with clients must not be it: the attendant forks pgmend, hands
// signals on, and ends when pgmend does, or sooner, when pgmend has left the service to the one that comes
// next (SIGUSR1). Before any thread.

#include <sys/types.h>

#include <cstdint>

namespace pgmend::proxy {

/// In the attendant: runs until its child ends or leaves; the exit status. In the child, or where an
/// attendant is there already: -1, and the link to it is an inherited descriptor
/// (`descriptor_name::attendant`).
int attend();

/// What pgmend writes on the link: which process is the service from now on.
struct attended_service {
    pid_t pid = 0;  ///< 0: none
    /// It has been told of the signals that came before this. If not, it is the attendant's to tell: one that
    /// ends the service may have come while the service was on its way from one process to the next.
    std::int32_t told = 0;
};

}  // namespace pgmend::proxy
