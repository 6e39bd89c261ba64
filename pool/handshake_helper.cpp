#include "pool/handshake_helper.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace pgmend::pool {

namespace {
constexpr int nicer = 5;  // than the worker; new clients still come in on a machine that is busy
}  // namespace

handshake_helper::~handshake_helper() {
    {
        const std::lock_guard lock{mutex_};
        over_ = true;
    }
    more_.notify_one();
    if (thread_.joinable()) thread_.join();
}

bool time_share::has_room(config::time_point now) noexcept {
    const config::duration regained = (now - seen_) / parts_;
    seen_ = now;
    spent_ -= std::min(spent_, regained);
    return spent_ < at_once_;
}

/// False when there can be no further thread; perhaps there can the next time.
bool handshake_helper::start() noexcept {
    if (thread_.joinable()) return true;
    try {
        thread_ = std::thread{[this] { work(); }};
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

bool handshake_helper::take(std::shared_ptr<handshake_step> step) noexcept {
    const auto began = config::steady_clock::now();
    if (own_.has_room(began) || !start()) {
        step->run();
        own_.took(config::steady_clock::now() - began);
        return false;
    }
    {
        const std::lock_guard lock{mutex_};
        steps_.push_back(std::move(step));
    }
    more_.notify_one();
    return true;
}

void handshake_helper::work() noexcept {
    ::prctl(PR_SET_NAME, "pgmend-tls", 0, 0, 0);
    // On Linux a thread has a nice value of its own, and may always raise it.
    const auto self = static_cast<id_t>(::gettid());
    ::setpriority(PRIO_PROCESS, self, ::getpriority(PRIO_PROCESS, self) + nicer);
    for (std::unique_lock lock{mutex_};;) {
        more_.wait(lock, [this] { return over_ || !steps_.empty(); });
        if (over_) return;
        auto step = std::move(steps_.front());
        steps_.pop_front();
        lock.unlock();
        step->run();
        loop_.post([step = std::move(step)] { step->give_back(); });
        lock.lock();
    }
}

}  // namespace pgmend::pool
