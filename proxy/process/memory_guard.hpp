#pragma once
// Watches the memory of the process against its limit (`machine.memory`, or the cgroup's), so that clients
// are turned away before the kernel kills everybody's. Control thread; workers read one atomic.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "config/cgroup_limits.hpp"
#include "config/metrics.hpp"

namespace pgmend::proxy {

class memory_guard {
public:
    /// `cells` must outlive it.
    memory_guard(
        boost::asio::io_context& control, config::memory_limit wanted, const config::cgroup_limits& cgroup,
        config::metrics::cells& cells
    );

    /// Begins to look; the control thread must run. Does nothing without a limit.
    void start();
    void stop() { timer_.cancel(); }
    std::uint64_t limit() const noexcept { return limit_; }
    /// True while no new client should be let in. Shared with the workers; never null.
    std::shared_ptr<const std::atomic<bool>> pressed() const noexcept { return pressed_; }

private:
    void look();
    std::uint64_t in_use() const;

    boost::asio::steady_timer timer_;
    config::metrics::cells& cells_;
    std::uint64_t limit_ = 0;
    std::filesystem::path group_;  ///< empty: the process's own resident memory counts
    std::shared_ptr<std::atomic<bool>> pressed_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace pgmend::proxy
