#pragma once
// The environment of a simulated run: a virtual clock, the queues of the subject, the timers of the world
// around it (network, servers, clients, faults), the dice, and a running hash of everything that happened, so
// that two runs of one seed can be compared. One thread; one environment a run.

#include <functional>
#include <string_view>
#include <utility>

#include "config/environment.hpp"
#include "config/event_queue.hpp"
#include "tests/sim/prng.hpp"

namespace pgmend::sim {

using config::duration;
using config::time_point;

/// Where readiness of streams comes from: what epoll is to the production loop.
class readiness_source {
public:
    /// Notifies the sinks of every stream that is ready now, once each. False when none was.
    virtual bool dispatch() = 0;
    virtual bool any_ready() const noexcept = 0;

protected:
    ~readiness_source() = default;
};

/// Why a run of the loop ended.
enum class run_end {
    done,      ///< the caller's condition holds
    quiet,     ///< nothing is left that could ever happen
    deadline,  ///< virtual time is up
    spinning,  ///< the loop turns without anything moving: somebody is woken and does nothing about it
};

class sim_environment final : public config::environment {
public:
    explicit sim_environment(std::uint64_t seed) noexcept;

    time_point now() const noexcept override { return now_; }
    void schedule(config::timer_node& timer, time_point when) override { timers_.schedule(timer, when); }
    void cancel(config::timer_node& timer) noexcept override { timers_.cancel(timer); }
    void defer(config::deferred_node& node) noexcept override { deferred_.push(node); }
    void withdraw(config::deferred_node& node) noexcept override { deferred_.remove(node); }
    std::uint64_t random() noexcept override { return subject_dice_.next(); }

    /// Timers of the world; they are no leftovers of the subject and are not counted as such.
    void schedule_world(config::timer_node& timer, time_point when) { world_.schedule(timer, when); }
    void cancel_world(config::timer_node& timer) noexcept { world_.cancel(timer); }
    /// The world's dice; the subject draws from its own, so that its draws do not move the faults.
    prng& dice() noexcept { return world_dice_; }

    /// The network; must outlive every run.
    void attach(readiness_source& source) noexcept { source_ = &source; }
    /// Turns the loop until `done`, at most until `deadline` of virtual time.
    run_end run(const std::function<bool()>& done, time_point deadline);

    /// Mixes a fact into the hash of the run.
    void note(std::uint64_t fact) noexcept { hash_ = (std::rotl(hash_, 23) ^ fact) * 0x9fb21c651e98df25ULL; }
    void note_text(std::string_view text) noexcept;
    /// Something moved: bytes, a connection, an end. Keeps `spinning` away.
    void progress() noexcept { idle_turns_ = 0; }
    std::uint64_t event_hash() const noexcept { return hash_; }
    std::uint64_t turns() const noexcept { return turns_; }
    /// Timers the subject has not cancelled.
    std::size_t subject_timers() const noexcept { return timers_.size(); }

private:
    static constexpr std::uint32_t idle_turns_max = 5'000;
    /// What one turn of the loop costs; time that never moved would hide every race with a deadline.
    static constexpr duration turn_cost = std::chrono::microseconds(1);

    /// False when there is none.
    bool jump_to_next_event(time_point deadline);

    time_point now_;
    config::deferred_queue deferred_;
    config::timer_queue timers_;
    config::timer_queue world_;
    prng subject_dice_;
    prng world_dice_;
    readiness_source* source_ = nullptr;
    std::uint64_t hash_ = 0x8445d61a4e774912ULL;
    std::uint64_t turns_ = 0;
    std::uint32_t idle_turns_ = 0;
};

/// A timer of the world with its action. Cancels itself when destroyed.
class world_timer final : private config::timer_node {
public:
    world_timer(sim_environment& env, std::function<void()> action) : env_(env), action_(std::move(action)) {
        fire = [](config::timer_node& node) noexcept {
            auto& self = static_cast<world_timer&>(node);
            self.env_.progress();
            self.action_();
        };
    }
    world_timer(const world_timer&) = delete;
    world_timer& operator=(const world_timer&) = delete;
    ~world_timer() { env_.cancel_world(*this); }

    void at(time_point moment) { env_.schedule_world(*this, moment); }
    void after(duration delay) { at(env_.now() + delay); }
    void stop() noexcept { env_.cancel_world(*this); }
    bool running() const noexcept { return scheduled(); }

private:
    sim_environment& env_;
    std::function<void()> action_;
};

}  // namespace pgmend::sim
