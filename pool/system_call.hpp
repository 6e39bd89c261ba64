#pragma once
// The relay's system calls without the C library's wrappers. Those are cancellation points: in a program with
// threads each costs two locked instructions and some thirty others, for a cancellation that nobody here asks
// for. Errors are told by errno, as by the wrappers. Any thread.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

namespace pgmend::pool::system_call {

inline ssize_t recv(int descriptor, void* into, std::size_t size) noexcept {
    return ::syscall(SYS_recvfrom, descriptor, into, size, 0, nullptr, nullptr);
}
inline ssize_t send(int descriptor, const void* from, std::size_t size) noexcept {
    return ::syscall(SYS_sendto, descriptor, from, size, MSG_NOSIGNAL, nullptr, 0);
}
inline ssize_t sendmsg(int descriptor, const msghdr& message) noexcept {
    return ::syscall(SYS_sendmsg, descriptor, &message, MSG_NOSIGNAL);
}
inline int epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms) noexcept {
    return static_cast<int>(::syscall(SYS_epoll_pwait, epoll, events, most, timeout_ms, nullptr, 0));
}

}  // namespace pgmend::pool::system_call
