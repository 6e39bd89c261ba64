#pragma once
// An environment whose time passes when a test says so.

#include "config/event_queue.hpp"

namespace pgmend::test {

class test_environment final : public config::environment {
public:
    config::time_point now() const noexcept override { return now_; }
    void schedule(config::timer_node& timer, config::time_point when) override {
        timers.schedule(timer, when);
    }
    void cancel(config::timer_node& timer) noexcept override { timers.cancel(timer); }
    void defer(config::deferred_node& node) noexcept override { deferred.push(node); }
    void withdraw(config::deferred_node& node) noexcept override { deferred.remove(node); }
    std::uint64_t random() noexcept override { return ++random_; }

    /// What was deferred runs.
    void run() { deferred.run_all(); }
    /// Time passes, timers fire, what they deferred runs.
    void pass(config::duration time) {
        now_ += time;
        timers.fire_due(now_);
        deferred.run_all();
    }

    config::timer_queue timers;
    config::deferred_queue deferred;

private:
    config::time_point now_ = config::time_point{} + std::chrono::hours{1000};
    std::uint64_t random_ = 0;
};

}  // namespace pgmend::test
