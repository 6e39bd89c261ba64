#pragma once
// The data plane's own loop: level-triggered epoll, one thread a worker. It costs no system call beyond the
// wait itself and reads the clock once per wake-up; Asio's price per read is measured in FRONTIER ("two
// planes"). With a ring it waits there, and for epoll through it. Everything but `post` and `stop` belongs to
// the thread that calls `run`.

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/event_queue.hpp"

namespace pgmend::pool {

class receive_ring;

/// A descriptor known to the loop. `ready` gets epoll's event bits.
struct loop_watch {
    void (*ready)(loop_watch&, std::uint32_t events) noexcept = nullptr;
};

class event_loop final : public config::environment {
public:
    /// Throws std::system_error when the kernel refuses an epoll or event descriptor.
    event_loop();
    ~event_loop() override;

    /// From now on sockets receive through io_uring, into at most so many bytes of this loop's. To be called
    /// on the thread that calls `run`, before there are sockets. Says why not, or nothing when it went well.
    std::string use_ring(std::size_t most_bytes);
    /// Null with epoll alone.
    receive_ring* ring() noexcept { return ring_.get(); }

    config::time_point now() const noexcept override { return now_; }
    void schedule(config::timer_node& timer, config::time_point when) override {
        timers_.schedule(timer, when);
    }
    void cancel(config::timer_node& timer) noexcept override { timers_.cancel(timer); }
    void defer(config::deferred_node& node) noexcept override { deferred_.push(node); }
    void withdraw(config::deferred_node& node) noexcept override { deferred_.remove(node); }
    std::uint64_t random() noexcept override;

    /// Registers a descriptor for epoll's `events`; returns an errno, 0 when it went well.
    int add(int descriptor, std::uint32_t events, loop_watch& watch) noexcept;
    void modify(int descriptor, std::uint32_t events, loop_watch& watch) noexcept;
    /// Forgets a descriptor that is about to be closed, also in the batch of events under way.
    void remove(int descriptor, loop_watch& watch) noexcept;

    /// Runs `work` on the loop's thread soon. Any thread.
    void post(std::function<void()> work);
    /// Runs until `stop`; may be called again then.
    void run();
    /// Any thread.
    void stop();
    /// Turns of the loop so far. Any thread; proof of life.
    std::uint64_t turns() const noexcept { return turns_.load(std::memory_order_relaxed); }

private:
    void turn();
    void ring_turn();
    void begin_turn() noexcept;
    void tell_ready(int count) noexcept;
    void end_turn();
    void run_posted();
    int timeout_ms() const noexcept;
    void wake() noexcept;

    int epoll_;
    int wake_;
    std::unique_ptr<receive_ring> ring_;
    loop_watch wake_watch_;
    config::time_point now_;
    config::timer_queue timers_;
    config::deferred_queue deferred_;
    static constexpr std::size_t events_per_wait = 256;
    std::array<epoll_event, events_per_wait> batch_;  ///< under way; the watches of removed ones become null
    std::size_t batch_at_ = 0;
    std::size_t batch_size_ = 0;
    /// Drawn ahead, as a draw costs more than what is drawn; forgotten when they are given away.
    std::array<std::uint64_t, 64> random_{};
    std::size_t random_left_ = 0;
    std::atomic<std::uint64_t> turns_{0};
    std::atomic<bool> stopped_{false};
    std::atomic<bool> has_posted_{false};
    std::mutex posted_mutex_;
    std::vector<std::function<void()>> posted_;
};

}  // namespace pgmend::pool
