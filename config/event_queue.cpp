#include "config/event_queue.hpp"

#include <algorithm>

namespace pgmend::config {

void timer_queue::put(std::size_t place, entry value) noexcept {
    heap_[place] = value;
    value.timer->place = place;
}

void timer_queue::sift_up(std::size_t place) noexcept {
    const entry moving = heap_[place];
    while (place > 0) {
        const std::size_t parent = (place - 1) / 2;
        if (!earlier(moving, heap_[parent])) break;
        put(place, heap_[parent]);
        place = parent;
    }
    put(place, moving);
}

void timer_queue::sift_down(std::size_t place) noexcept {
    const entry moving = heap_[place];
    for (;;) {
        std::size_t child = 2 * place + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && earlier(heap_[child + 1], heap_[child])) ++child;
        if (!earlier(heap_[child], moving)) break;
        put(place, heap_[child]);
        place = child;
    }
    put(place, moving);
}

void timer_queue::schedule(timer_node& timer, time_point when) {
    cancel(timer);
    timer.when = std::max(when, firing_at_);
    heap_.push_back({&timer, orders_++});
    timer.place = heap_.size() - 1;
    sift_up(timer.place);
}

void timer_queue::cancel(timer_node& timer) noexcept {
    if (!timer.scheduled()) return;
    const std::size_t place = timer.place;
    timer.place = timer_node::none;
    const entry last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    put(place, last);
    sift_up(place);
    sift_down(last.timer->place);
}

void timer_queue::fire_due(time_point now) noexcept {
    // What is scheduled while they fire waits for the next turn, however early it is due.
    const std::uint64_t scheduled_before = orders_;
    firing_at_ = now;
    while (!heap_.empty() && heap_.front().timer->when <= now && heap_.front().order < scheduled_before) {
        timer_node& timer = *heap_.front().timer;
        cancel(timer);
        timer.fire(timer);
    }
    firing_at_ = time_point::min();
}

}  // namespace pgmend::config
