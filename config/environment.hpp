#pragma once
// The seam to time, timers, deferred work and randomness. Production implements it with a worker's event
// loop, the simulator with a virtual clock; everything that decides or waits is written against it.
// All calls belong to the thread that owns the environment.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace pgmend::config {

using steady_clock = std::chrono::steady_clock;
using time_point = steady_clock::time_point;
using duration = steady_clock::duration;

/// A deadline. Intrusive: owned by whoever waits, never allocated by the environment. It must be cancelled
/// or have fired before it is destroyed. `fire` runs on the environment's thread.
struct timer_node {
    void (*fire)(timer_node&) noexcept = nullptr;
    time_point when{};
    std::size_t place = none;  ///< position in the environment's queue; `none` while not scheduled

    static constexpr std::size_t none = static_cast<std::size_t>(-1);
    bool scheduled() const noexcept { return place != none; }
};

/// A piece of work that runs after the current event has been dealt with, in the order it was deferred.
/// Intrusive and idempotent: deferring a node that is already queued does nothing. A queued node must be
/// withdrawn before it is destroyed.
struct deferred_node {
    void (*run)(deferred_node&) noexcept = nullptr;
    deferred_node* next = nullptr;
    deferred_node* previous = nullptr;
    bool queued = false;
};

class environment {
public:
    environment() = default;
    environment(const environment&) = delete;
    environment& operator=(const environment&) = delete;
    virtual ~environment() = default;

    /// Monotonic time, read once per wake-up: constant while one event is dealt with.
    virtual time_point now() const noexcept = 0;
    /// Schedules or moves `timer`. A time in the past fires at the next turn of the loop, never inside the
    /// call.
    virtual void schedule(timer_node& timer, time_point when) = 0;
    virtual void cancel(timer_node& timer) noexcept = 0;
    virtual void defer(deferred_node& node) noexcept = 0;
    virtual void withdraw(deferred_node& node) noexcept = 0;
    /// 64 random bits; cryptographically strong in production, from the seed in the simulator.
    virtual std::uint64_t random() noexcept = 0;
};

}  // namespace pgmend::config
