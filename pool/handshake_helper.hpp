#pragma once
// A thread beside a worker's that does the arithmetic of TLS handshakes for it, so that those who are in do
// not wait for those who want to come in. It gives way to the worker where both want the same processor. Its
// queue is as long as there are logins under way (listen.max_logins), as each has one step at a time.
//
// The way to another thread and back makes a handshake a fifth dearer. So the worker does them itself as long
// as that takes a small part of its time: then hardly anybody can have waited for one.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "pool/event_loop.hpp"
#include "pool/tls_handshake.hpp"

namespace pgmend::pool {

/// How much of its time a thread may spend on something: one part in `parts`, and `at_once` after a quiet
/// while. Pure.
class time_share {
public:
    constexpr time_share(int parts, config::duration at_once) noexcept : parts_(parts), at_once_(at_once) {}
    bool has_room(config::time_point now) noexcept;
    void took(config::duration what) noexcept { spent_ += what; }

private:
    int parts_;
    config::duration at_once_;
    config::duration spent_{};  ///< and not yet made good by the time that has gone by since
    config::time_point seen_{};
};

/// Belongs to the thread of `loop`, which it is destroyed before. The thread begins with the first step.
class handshake_helper final : public handshake_desk {
public:
    explicit handshake_helper(event_loop& loop) : loop_(loop) {}
    handshake_helper(const handshake_helper&) = delete;
    handshake_helper& operator=(const handshake_helper&) = delete;
    /// Ends the thread; steps that it has not begun are dropped.
    ~handshake_helper();

    bool take(std::shared_ptr<handshake_step> step) noexcept override;

private:
    bool start() noexcept;
    void work() noexcept;

    event_loop& loop_;
    time_share own_{200, std::chrono::microseconds{500}};
    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<std::shared_ptr<handshake_step>> steps_;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace pgmend::pool
