#include "proxy/process/memory_guard.hpp"

#include <algorithm>

#include "config/log.hpp"
#include "config/process_stats.hpp"
#include "proxy/process/memory_room.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto interval = std::chrono::milliseconds{100};
/// From half of the limit on: what clients send in the meantime has to fit into the rest.
constexpr auto close_interval = std::chrono::milliseconds{10};
/// Memory comes back in steps, so what was closed at 90 % opens again a little lower.
constexpr std::uint64_t close_at_percent = 90;
constexpr std::uint64_t open_at_percent = 87;
/// Handshakes stop a little later than clients: who is let in no more is told so in TLS as long as that goes,
/// and administrators get in.
constexpr std::uint64_t handshakes_up_to_percent = 95;

}  // namespace

memory_guard::memory_guard(
    boost::asio::io_context& control, config::memory_limit wanted, const config::cgroup_limits& cgroup,
    config::metrics::cells& cells
)
    : timer_(control), cells_(cells), limit_(wanted.automatic ? cgroup.memory : wanted.bytes) {
    if (wanted.automatic) group_ = cgroup.memory_group;
    cells_.memory_limit_bytes.set(static_cast<std::int64_t>(limit_));
}

void memory_guard::start() {
    if (limit_ != 0) look();
}

std::uint64_t memory_guard::in_use() const {
    const auto resident = static_cast<std::uint64_t>(config::process_resident_memory_bytes());
    return group_.empty() ? resident : std::max(resident, config::cgroup_memory_in_use(group_));
}

void memory_guard::look() {
    const std::uint64_t used = in_use();
    cells_.memory_used_bytes.set(static_cast<std::int64_t>(used));
    memory_room::left.store(
        static_cast<std::int64_t>(limit_ / 100 * handshakes_up_to_percent) - static_cast<std::int64_t>(used),
        std::memory_order_relaxed
    );
    const bool was = pressed_->load(std::memory_order_relaxed);
    const std::uint64_t threshold = limit_ / 100 * (was ? open_at_percent : close_at_percent);
    const bool is = used > threshold;
    if (is != was) pressed_->store(is, std::memory_order_relaxed);
    if (is && !was) log::warning("memory_nearly_used_up", {{"used", used}, {"limit", limit_}});
    if (was && !is) log::info("memory_available_again", {{"used", used}, {"limit", limit_}});
    timer_.expires_after(used > limit_ / 2 ? close_interval : interval);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) look();
    });
}

}  // namespace pgmend::proxy
