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
    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. `patience`: how long a manager that does not
    /// listen is waited for, at most, before it is told something that must not get lost.
    explicit service_notify(
        boost::asio::io_context& control, std::chrono::milliseconds patience = std::chrono::seconds{5}
    );
    ~service_notify();
    service_notify(const service_notify&) = delete;
    service_notify& operator=(const service_notify&) = delete;

    /// Whether there is one that can be told anything.
    bool listening() const noexcept { return socket_ >= 0; }
    /// Serving. From now on the watchdog is fed, twice in its time, while `alive` says so.
    void ready(std::function<bool()> alive);
    /// Reading files again; `reloaded` must follow.
    void reloading() const;
    void reloaded() { send("READY=1\n"); }
    void stopping() const { deliver("STOPPING=1\n", -1, false); }
    /// Another process is the service from now on; nothing more is said by this one.
    void hand_over(int successor);
    /// The same where the manager need not know which.
    void fall_silent();
    /// The manager keeps a copy of the descriptor and gives it to every process it starts for this service,
    /// until the service is stopped (FileDescriptorStoreMax=) or, of a socket to a process, that has ended.
    void store(int descriptor, std::string_view name);
    /// It closes its copies of that name.
    void forget(std::string_view name);
    /// Waits until the manager has done all it was told. False when it does not get there in time, or when
    /// anything it was to be told since the last time has not reached it.
    bool settle();

private:
    /// What must not get lost.
    void send(const std::string& state, int descriptor = -1);
    bool deliver(const std::string& state, int descriptor, bool wait) const;
    void feed();

    boost::asio::steady_timer timer_;
    std::chrono::milliseconds patience_;
    std::chrono::microseconds interval_{0};  ///< 0: no watchdog
    std::function<bool()> alive_;
    std::string address_;  ///< of the socket; a leading NUL is an abstract name
    int socket_ = -1;
    bool deaf_ = false;    ///< the last message did not reach it: it is not waited for again until one does
    bool missed_ = false;  ///< a message has not reached it since it settled last
};

}  // namespace pgmend::proxy
