#include "proxy/limits/token_bucket.hpp"

#include <algorithm>

namespace pgmend::proxy {

using rep = config::duration::rep;

bucket_terms bucket_terms::of(const config::request_rate& rate) noexcept {
    const rep period = std::chrono::duration_cast<config::duration>(rate.period).count();
    const rep count = std::max<rep>(rate.count, 1);
    return {(period + count - 1) / count, rate.burst};
}

token_bucket::verdict token_bucket::take(const bucket_terms& terms, config::time_point now) noexcept {
    const rep at = now.time_since_epoch().count();
    rep full_at = full_at_.load(std::memory_order_relaxed);
    for (;;) {
        const rep missing = std::max<rep>(full_at - at, 0);
        const rep left = terms.depth() - missing;
        if (left < terms.interval) return {false, 0, config::duration{terms.interval - left}};
        const rep then = at + missing + terms.interval;
        // Another worker may have taken one in the meantime; then it is seen and looked at again.
        if (full_at_.compare_exchange_weak(full_at, then, std::memory_order_relaxed))
            return {true, static_cast<std::uint64_t>((left - terms.interval) / terms.interval), {}};
    }
}

std::uint64_t token_bucket::remaining(const bucket_terms& terms, config::time_point now) const noexcept {
    const rep full_at = full_at_.load(std::memory_order_relaxed);
    const rep missing = std::max<rep>(full_at - now.time_since_epoch().count(), 0);
    return static_cast<std::uint64_t>(std::max<rep>(terms.depth() - missing, 0) / terms.interval);
}

}  // namespace pgmend::proxy
