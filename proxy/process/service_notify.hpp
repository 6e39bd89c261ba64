#pragma once
// What a service manager is told, in sd_notify(3)'s protocol: one datagram to $NOTIFY_SOCKET for each change
// of state, and WATCHDOG=1 as long as the workers are alive. Without $NOTIFY_SOCKET nothing is sent. Control
// thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace pgmend::proxy {

class service_notify {
public:
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    explicit service_notify(boost::asio::io_context& control);
    ~service_notify();
    service_notify(const service_notify&) = delete;
    service_notify& operator=(const service_notify&) = delete;

    /// Serving. From now on the watchdog is fed, twice in its time, while `alive` says so.
    void ready(std::function<bool()> alive);
    /// Reading files again; `reloaded` must follow.
    void reloading() const;
    void reloaded() const { send("READY=1\n"); }
    void stopping() const { send("STOPPING=1\n"); }
    /// Another process is the service from now on; nothing more is said by this one.
    void hand_over(int successor);
    /// The same where the manager need not know which.
    void fall_silent();
    /// The manager keeps a copy of the descriptor and gives it to every process it starts for this service,
    /// until the service is stopped (FileDescriptorStoreMax=) or, of a socket to a process, that has ended.
    void store(int descriptor, std::string_view name) const;
    /// It closes its copies of that name.
    void forget(std::string_view name) const;
    /// Returns when the manager has done all it was told, or does not get there within five seconds.
    void settle() const;

private:
    void send(const std::string& state, int descriptor = -1) const;
    void feed();

    boost::asio::steady_timer timer_;
    std::chrono::microseconds interval_{0};  ///< 0: no watchdog
    std::function<bool()> alive_;
    std::string address_;  ///< of the socket; a leading NUL is an abstract name
    int socket_ = -1;
};

}  // namespace pgmend::proxy
