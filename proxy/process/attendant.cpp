#include "proxy/process/attendant.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "proxy/process/inherited_sockets.hpp"

// NOLINTBEGIN(concurrency-mt-unsafe): nothing here runs beside another thread

namespace pgmend::proxy {

namespace {

constexpr int first_descriptor = 3;
constexpr std::array handed_on{SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGABRT};

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

/// What names the process a variable is for is about this one from now on.
void rename_process(const char* name, pid_t from) {
    if (variable(name) == std::to_string(from)) ::setenv(name, std::to_string(::getpid()).c_str(), 1);
}

/// The link becomes the last of the inherited descriptors. False where there is no room for it.
bool inherit(int link, pid_t parent) {
    rename_process("WATCHDOG_PID", parent);
    long count = 0;
    std::string names;
    if (variable("LISTEN_PID") == std::to_string(parent)) {
        count = std::strtol(variable("LISTEN_FDS").c_str(), nullptr, 10);
        names = variable("LISTEN_FDNAMES");
        if (names.empty()) {
            for (long i = 1; i < count; ++i)
                names += ':';
        }
        if (count > 0) names += ':';
    }
    const int last = first_descriptor + static_cast<int>(count);
    if (link != last) {
        if (::dup2(link, last) < 0) return false;
        ::close(link);
    }
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", std::to_string(count + 1).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.append(descriptor_name::attendant).c_str(), 1);
    return true;
}

bool is_attended() {
    return variable("LISTEN_PID") == std::to_string(::getpid()) &&
           (variable("LISTEN_FDNAMES") + ":").find(std::string{descriptor_name::attendant} + ":") !=
               std::string::npos;
}

/// The status of this process's own end. Who was told to end before it could do so in order has not failed.
int status_of(int status, int asked) {
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return WTERMSIG(status) == asked ? 0 : 128 + WTERMSIG(status);
}

/// The same when the service's process has ended.
std::optional<int> reap(pid_t service, int asked) {
    int status = 0;
    std::optional<int> result;
    for (pid_t ended = ::waitpid(-1, &status, WNOHANG); ended > 0; ended = ::waitpid(-1, &status, WNOHANG)) {
        if (ended == service) result = status_of(status, asked);
    }
    return result;
}

/// A copy of a listening socket here would keep its address in use.
void keep_open_only(int link, int signals) {
    const auto [low, high] = std::minmax(link, signals);
    ::close_range(first_descriptor, static_cast<unsigned>(low) - 1, 0);
    ::close_range(static_cast<unsigned>(low) + 1, static_cast<unsigned>(high) - 1, 0);
    ::close_range(static_cast<unsigned>(high) + 1, ~0U, 0);
}

/// Between the end of the service's process and its status.
constexpr int reaping_ms = 3000;

bool is_farewell(int signal) { return signal == SIGTERM || signal == SIGINT || signal == SIGUSR1; }

int watch(int link, int signals, pid_t service) {
    int asked = 0;  // the last signal after which the service is to be over
    std::array<pollfd, 2> both{pollfd{link, POLLIN, 0}, pollfd{signals, POLLIN, 0}};
    int patience = -1;
    for (;;) {
        const int ready = ::poll(both.data(), both.size(), patience);
        if (ready < 0 && errno != EINTR) return 1;
        // A process that was started by one of its own kind is reaped by that one, and we are not told how it
        // ended.
        if (ready == 0) return 1;
        attended_service next;
        ssize_t length = 0;
        while ((length = ::recv(link, &next, sizeof next, MSG_DONTWAIT)) == sizeof next) {
            if (next.pid == 0) return 0;
            service = next.pid;
            if (asked != 0 && next.told == 0) ::kill(service, asked);
        }
        if (length == 0) {
            both[0].fd = -1;  // nobody writes any more; how it ended follows
            patience = reaping_ms;
        }
        signalfd_siginfo signal{};
        while (::read(signals, &signal, sizeof signal) == sizeof signal) {
            const int number = static_cast<int>(signal.ssi_signo);
            if (number == SIGCHLD) continue;
            if (is_farewell(number)) asked = number;
            ::kill(service, number);
        }
        if (const auto status = reap(service, asked)) return *status;
    }
}

}  // namespace

int attend() {
    if (is_attended()) return -1;
    sigset_t wanted;
    sigset_t before;
    ::sigemptyset(&wanted);
    ::sigaddset(&wanted, SIGCHLD);
    for (const int signal : handed_on)
        ::sigaddset(&wanted, signal);
    ::sigprocmask(SIG_BLOCK, &wanted, &before);
    // One that takes over from another is nobody's child when that one ends.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    int link[2] = {-1, -1};
    const pid_t parent = ::getpid();
    const bool linked = ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) == 0;
    const int signals = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    const pid_t child = linked && signals >= 0 ? ::fork() : -1;
    if (child < 0) {
        std::fprintf(stderr, "pgmend: cannot attend: %s\n", std::strerror(errno));
        return 1;
    }
    if (child > 0) {
        keep_open_only(link[0], signals);
        ::prctl(PR_SET_NAME, "pgmend-attends", 0, 0, 0);
        return watch(link[0], signals, child);
    }
    ::close(link[0]);
    ::close(signals);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (inherit(link[1], parent)) return -1;
    std::fprintf(stderr, "pgmend: cannot be attended: %s\n", std::strerror(errno));
    return 1;
}

}  // namespace pgmend::proxy

// NOLINTEND(concurrency-mt-unsafe)
