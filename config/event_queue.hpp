#pragma once
// The two queues every environment needs: deferred work in order of arrival, timers in order of time.
// Shared by the production loop and the simulator, so that both order events alike. Pure; one thread.

#include <vector>

#include "config/environment.hpp"

namespace pgmend::config {

/// A FIFO of intrusive nodes.
class deferred_queue {
public:
    void push(deferred_node& node) noexcept {
        if (node.queued) return;
        node.queued = true;
        node.next = nullptr;
        node.previous = last_;
        (last_ != nullptr ? last_->next : first_) = &node;
        last_ = &node;
    }
    void remove(deferred_node& node) noexcept {
        if (!node.queued) return;
        (node.previous != nullptr ? node.previous->next : first_) = node.next;
        (node.next != nullptr ? node.next->previous : last_) = node.previous;
        node.next = node.previous = nullptr;
        node.queued = false;
    }
    /// Runs the nodes queued when it was called and those they defer, until none is left.
    void run_all() noexcept {
        while (first_ != nullptr) {
            deferred_node& node = *first_;
            remove(node);
            node.run(node);
        }
    }
    bool empty() const noexcept { return first_ == nullptr; }

private:
    deferred_node* first_ = nullptr;
    deferred_node* last_ = nullptr;
};

/// A binary heap of intrusive timers; equal times fire in the order they were scheduled.
class timer_queue {
public:
    void schedule(timer_node& timer, time_point when);
    void cancel(timer_node& timer) noexcept;
    /// Fires every timer that is due at `now`, each once.
    void fire_due(time_point now) noexcept;
    bool empty() const noexcept { return heap_.empty(); }
    /// The earliest deadline; only while not empty.
    time_point next() const noexcept { return heap_.front().timer->when; }
    std::size_t size() const noexcept { return heap_.size(); }

private:
    struct entry {
        timer_node* timer;
        std::uint64_t order;
    };
    static bool earlier(const entry& a, const entry& b) noexcept {
        return a.timer->when != b.timer->when ? a.timer->when < b.timer->when : a.order < b.order;
    }
    void sift_up(std::size_t place) noexcept;
    void sift_down(std::size_t place) noexcept;
    void put(std::size_t place, entry value) noexcept;

    std::vector<entry> heap_;
    std::uint64_t orders_ = 0;
    /// While timers fire: none is scheduled before this, so that an eager one does not keep the others from
    /// their turn.
    time_point firing_at_ = time_point::min();
};

}  // namespace pgmend::config
