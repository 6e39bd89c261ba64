#pragma once
// The one place where a session waits: a set of event bits and the coroutine parked on it. Readiness of two
// streams, deadlines, kills, hand-overs and shutdown are all bits, so that a session handles them in one loop
// and in one fixed order, and cancellation is never an exception (HOUSE "cancellation is a bit"). A gate
// belongs to one environment's thread.

#include <coroutine>
#include <cstdint>

#include "config/environment.hpp"

namespace pgmend::pool {

using event_mask = std::uint32_t;

/// Receives readiness of streams. Called from the loop while it collects events: a sink that acts at once (an
/// idle server connection that died) is done before any parked coroutine runs, because gates only defer.
class event_sink {
public:
    virtual void notify(event_mask bits) noexcept = 0;

protected:
    ~event_sink() = default;
};

class event_gate final : public event_sink, private config::deferred_node {
public:
    explicit event_gate(config::environment& env) noexcept : env_(env) {
        run = [](config::deferred_node& node) noexcept { static_cast<event_gate&>(node).resume(); };
    }
    event_gate(const event_gate&) = delete;
    event_gate& operator=(const event_gate&) = delete;
    ~event_gate() { env_.withdraw(*this); }

    /// Adds bits; the parked coroutine runs soon, never inside this call.
    void set(event_mask bits) noexcept {
        pending_ |= bits;
        if (parked_) env_.defer(*this);
    }
    void clear(event_mask bits) noexcept { pending_ &= ~bits; }
    event_mask pending() const noexcept { return pending_; }
    void notify(event_mask bits) noexcept override { set(bits); }

    struct awaiter {
        event_gate& gate;
        bool await_ready() const noexcept { return gate.pending_ != 0; }
        void await_suspend(std::coroutine_handle<> waiter) noexcept { gate.parked_ = waiter; }
        /// All bits that came since the last wait; they are cleared.
        event_mask await_resume() noexcept {
            const event_mask bits = gate.pending_;
            gate.pending_ = 0;
            return bits;
        }
    };
    /// One waiter at a time.
    awaiter wait() noexcept { return {*this}; }

private:
    void resume() noexcept {
        if (!parked_) return;
        const auto waiter = parked_;
        parked_ = nullptr;
        waiter.resume();
    }

    config::environment& env_;
    event_mask pending_ = 0;
    std::coroutine_handle<> parked_;
};

/// A deadline that sets a bit on a gate.
class gate_timer final : private config::timer_node {
public:
    gate_timer(config::environment& env, event_gate& gate, event_mask bit) noexcept
        : env_(env), gate_(gate), bit_(bit) {
        fire = [](config::timer_node& node) noexcept {
            auto& self = static_cast<gate_timer&>(node);
            self.gate_.set(self.bit_);
        };
    }
    gate_timer(const gate_timer&) = delete;
    gate_timer& operator=(const gate_timer&) = delete;
    ~gate_timer() { env_.cancel(*this); }

    void at(config::time_point deadline) { env_.schedule(*this, deadline); }
    void after(config::duration delay) { env_.schedule(*this, env_.now() + delay); }
    void stop() noexcept {
        env_.cancel(*this);
        gate_.clear(bit_);
    }
    bool running() const noexcept { return scheduled(); }
    /// While it is running.
    config::time_point deadline() const noexcept { return when; }

private:
    config::environment& env_;
    event_gate& gate_;
    event_mask bit_;
};

}  // namespace pgmend::pool
