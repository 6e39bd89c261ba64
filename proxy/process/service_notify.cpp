#include "proxy/process/service_notify.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace pgmend::proxy {

namespace {

constexpr int signals_waited_through = 5;

std::string variable(const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets variables by then
    return value == nullptr ? "" : value;
}

/// How often the watchdog is to be fed; 0 when there is none, or it watches another process.
std::chrono::microseconds watchdog_interval() {
    const std::string pid = variable("WATCHDOG_PID");
    if (!pid.empty() && std::strtol(pid.c_str(), nullptr, 10) != ::getpid()) return {};
    const long long limit = std::strtoll(variable("WATCHDOG_USEC").c_str(), nullptr, 10);
    return std::chrono::microseconds{limit > 1 ? limit / 2 : 0};
}

}  // namespace

service_notify::service_notify(boost::asio::io_context& control, std::chrono::milliseconds patience)
    : timer_(control), patience_(patience), address_(variable("NOTIFY_SOCKET")) {
    if (address_.empty() || address_.size() >= sizeof(sockaddr_un::sun_path)) return;
    if (address_.front() == '@') address_.front() = '\0';
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const timeval limit{patience_.count() / 1000, static_cast<suseconds_t>(patience_.count() % 1000 * 1000)};
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    interval_ = watchdog_interval();
}

service_notify::~service_notify() {
    if (socket_ >= 0) ::close(socket_);
}

void service_notify::ready(std::function<bool()> alive) {
    alive_ = std::move(alive);
    send("READY=1\n");
    if (socket_ >= 0 && interval_.count() > 0) feed();
}

void service_notify::reloading() const {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto usec = static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000;
    deliver("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\n", -1, false);
}

void service_notify::hand_over(int successor) {
    send("MAINPID=" + std::to_string(successor) + "\n");
    fall_silent();
}

void service_notify::fall_silent() {
    timer_.cancel();
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
}

void service_notify::store(int descriptor, std::string_view name) {
    send(std::string{"FDSTORE=1\nFDNAME="}.append(name).append("\n"), descriptor);
}

void service_notify::forget(std::string_view name) {
    send(std::string{"FDSTOREREMOVE=1\nFDNAME="}.append(name).append("\n"));
}

/// The manager takes one message after the other, and closes what comes with the barrier when it gets there.
bool service_notify::settle() {
    int barrier[2] = {-1, -1};
    if (socket_ < 0 || ::pipe2(barrier, O_CLOEXEC) != 0) return false;
    send("BARRIER=1\n", barrier[1]);
    ::close(barrier[1]);
    const bool all_told = !missed_;
    missed_ = false;
    pollfd closed{barrier[0], POLLIN, 0};
    int ready = all_told ? -1 : 0;
    // A signal is a reason to go on waiting, many are none to do so for ever.
    for (int times = 0; ready < 0 && times < signals_waited_through; ++times)
        ready = ::poll(&closed, 1, static_cast<int>(patience_.count()));
    ::close(barrier[0]);
    return ready > 0;
}

/// A manager that does not listen at all is no reason to stop, nor to be waited for each time.
void service_notify::send(const std::string& state, int descriptor) {
    if (socket_ < 0) return;
    deaf_ = !deliver(state, descriptor, !deaf_);
    missed_ = missed_ || deaf_;
}

bool service_notify::deliver(const std::string& state, int descriptor, bool wait) const {
    if (socket_ < 0) return false;
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address_.data(), address_.size());
    iovec text{const_cast<char*>(state.data()), state.size()};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof descriptor)] = {};
    msghdr message{};
    message.msg_name = &to;
    message.msg_namelen = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    if (descriptor >= 0) {
        message.msg_control = room;
        message.msg_controllen = sizeof room;
        cmsghdr* const rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    ssize_t sent = -1;
    do {
        sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

void service_notify::feed() {
    if (alive_()) deliver("WATCHDOG=1\n", -1, false);
    timer_.expires_after(interval_);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && socket_ >= 0) feed();
    });
}

}  // namespace pgmend::proxy
