#pragma once
// A thread beside a worker's that does the arithmetic of TLS handshakes for it, so that those who are in do
// not wait for those who want to come in. It gives way to the worker where both want the same processor. Its
// queue is as long as there are logins under way (listen.max_logins), as each has one step at a time.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "pool/event_loop.hpp"
#include "pool/tls_handshake.hpp"

namespace pgmend::pool {

/// Belongs to the thread of `loop`, which it is destroyed before. The thread begins with the first step.
class handshake_helper final : public handshake_desk {
public:
    explicit handshake_helper(event_loop& loop) : loop_(loop) {}
    handshake_helper(const handshake_helper&) = delete;
    handshake_helper& operator=(const handshake_helper&) = delete;
    /// Ends the thread; steps that it has not begun are dropped.
    ~handshake_helper();

    /// False when there can be no thread.
    bool take(std::shared_ptr<handshake_step> step) noexcept override;

private:
    void work() noexcept;

    event_loop& loop_;
    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<std::shared_ptr<handshake_step>> steps_;
    bool over_ = false;
    std::thread thread_;
};

}  // namespace pgmend::pool
