#include "pool/handshake_helper.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

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

bool handshake_helper::take(std::shared_ptr<handshake_step> step) noexcept {
    if (!thread_.joinable()) {
        try {
            thread_ = std::thread{[this] { work(); }};
        } catch (const std::system_error&) {
            return false;  // the machine's limit; perhaps next time
        }
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
