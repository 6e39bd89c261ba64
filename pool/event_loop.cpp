#include "pool/event_loop.hpp"

#include <openssl/rand.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "pool/receive_ring.hpp"
#include "pool/system_call.hpp"

namespace pgmend::pool {

namespace {
constexpr int longest_wait_ms = 1000;  // an idle loop still ticks, so that its life can be seen from outside
}  // namespace

event_loop::event_loop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      now_(config::steady_clock::now()) {
    if (epoll_ < 0 || wake_ < 0) throw std::system_error(errno, std::generic_category(), "event loop");
    wake_watch_.ready = [](loop_watch&, std::uint32_t) noexcept {};
    // By its edge: a wake-up is told once and never read, so that one written after its work was already done
    // (by a turn that other events began) does not keep the loop turning.
    if (const int error = add(wake_, EPOLLIN | EPOLLET, wake_watch_); error != 0) {
        throw std::system_error(error, std::generic_category(), "event loop");
    }
}

event_loop::~event_loop() {
    ::close(wake_);
    ::close(epoll_);
}

std::string event_loop::use_ring(std::size_t most_bytes) {
    std::string why;
    ring_ = receive_ring::open(epoll_, most_bytes, why);
    return why;
}

std::uint64_t event_loop::random() noexcept {
    if (random_left_ == 0) {
        // Without it every key and nonce could be told beforehand.
        if (RAND_bytes(reinterpret_cast<unsigned char*>(random_.data()), sizeof random_) != 1) std::abort();
        random_left_ = random_.size();
    }
    return std::exchange(random_[--random_left_], 0);
}

int event_loop::add(int descriptor, std::uint32_t events, loop_watch& watch) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &watch;
    return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno;
}

void event_loop::modify(int descriptor, std::uint32_t events, loop_watch& watch) noexcept {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &watch;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event);
}

void event_loop::remove(int descriptor, loop_watch& watch) noexcept {
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
    for (std::size_t i = batch_at_; i < batch_size_; ++i) {
        if (batch_[i].data.ptr == &watch) batch_[i].data.ptr = nullptr;
    }
}

void event_loop::post(std::function<void()> work) {
    {
        const std::lock_guard lock{posted_mutex_};
        posted_.push_back(std::move(work));
    }
    has_posted_.store(true, std::memory_order_release);
    wake();
}

void event_loop::wake() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

void event_loop::stop() {
    stopped_.store(true, std::memory_order_release);
    wake();
}

void event_loop::run() {
    if (ring_) {
        while (!stopped_.load(std::memory_order_acquire)) {
            ring_turn();
        }
    } else {
        while (!stopped_.load(std::memory_order_acquire)) {
            turn();
        }
    }
    stopped_.store(false, std::memory_order_relaxed);
}

int event_loop::timeout_ms() const noexcept {
    if (!deferred_.empty()) return 0;
    if (timers_.empty()) return longest_wait_ms;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.next() - now_).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, longest_wait_ms));
}

void event_loop::run_posted() {
    std::vector<std::function<void()>> work;
    {
        const std::lock_guard lock{posted_mutex_};
        has_posted_.store(false, std::memory_order_relaxed);
        work.swap(posted_);
    }
    for (auto& item : work) {
        item();
    }
}

inline void event_loop::begin_turn() noexcept {
    now_ = config::steady_clock::now();
    turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// Sinks that act at once (idle servers) do so here; gates only defer, so sessions run after all of them.
inline void event_loop::tell_ready(int count) noexcept {
    batch_size_ = static_cast<std::size_t>(std::max(count, 0));
    for (batch_at_ = 0; batch_at_ < batch_size_; ++batch_at_) {
        auto* watch = static_cast<loop_watch*>(batch_[batch_at_].data.ptr);
        if (watch != nullptr) watch->ready(*watch, batch_[batch_at_].events);
    }
    batch_size_ = 0;
}

inline void event_loop::end_turn() {
    if (has_posted_.load(std::memory_order_acquire)) run_posted();
    if (!timers_.empty() && timers_.next() <= now_) timers_.fire_due(now_);
    deferred_.run_all();
}

void event_loop::turn() {
    const int count = system_call::epoll_wait(epoll_, batch_.data(), events_per_wait, timeout_ms());
    begin_turn();
    tell_ready(count);
    end_turn();
}

/// What has been received is with its streams before anybody is told of anything.
void event_loop::ring_turn() {
    const bool has_events = ring_->wait(ring_->unread() ? 0 : timeout_ms());
    begin_turn();
    ring_->tell();
    if (has_events) tell_ready(system_call::epoll_wait(epoll_, batch_.data(), events_per_wait, 0));
    end_turn();
    ring_->end_turn();
}

}  // namespace pgmend::pool
