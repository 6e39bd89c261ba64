#include "proxy/process/service_notify.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace pgmend::proxy {

namespace {

constexpr int barrier_within_ms = 5'000;

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

service_notify::service_notify(boost::asio::io_context& control)
    : timer_(control), address_(variable("NOTIFY_SOCKET")) {
    if (address_.empty() || address_.size() >= sizeof(sockaddr_un::sun_path)) return;
    if (address_.front() == '@') address_.front() = '\0';
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
    send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\n");
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

void service_notify::store(int descriptor, std::string_view name) const {
    send(std::string{"FDSTORE=1\nFDNAME="}.append(name).append("\n"), descriptor);
}

void service_notify::forget(std::string_view name) const {
    send(std::string{"FDSTOREREMOVE=1\nFDNAME="}.append(name).append("\n"));
}

/// The manager takes one message after the other, and closes what comes with the barrier when it gets there.
void service_notify::settle() const {
    int barrier[2] = {-1, -1};
    if (socket_ < 0 || ::pipe2(barrier, O_CLOEXEC) != 0) return;
    send("BARRIER=1\n", barrier[1]);
    ::close(barrier[1]);
    pollfd closed{barrier[0], POLLIN, 0};
    ::poll(&closed, 1, barrier_within_ms);
    ::close(barrier[0]);
}

/// A manager that does not listen just now is no reason to stop.
void service_notify::send(const std::string& state, int descriptor) const {
    if (socket_ < 0) return;
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
    [[maybe_unused]] const auto sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
}

void service_notify::feed() {
    if (alive_()) send("WATCHDOG=1\n");
    timer_.expires_after(interval_);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && socket_ >= 0) feed();
    });
}

}  // namespace pgmend::proxy
