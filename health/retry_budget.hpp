#pragma once
// Keeps retries from multiplying an outage: every retry beyond the first of a request costs a token, every
// request that goes well gives back a tenth, and there are retries only while the bucket is more than half
// full (gRPC's "retry throttling", proposal A6). Pure; one thread.

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pgmend::health {

class retry_budget {
public:
    /// `percent` of the clients, but ten tokens at least.
    explicit retry_budget(std::uint32_t percent) noexcept : percent_(percent) { scale(0); }

    /// As many clients are connected now. A bucket that grows is filled up by as much.
    void scale(std::size_t clients) noexcept {
        const auto size = static_cast<std::int64_t>(std::max<std::size_t>(10, clients * percent_ / 100)) * 10;
        tenths_ = std::min(tenths_ + std::max<std::int64_t>(size - size_, 0), size);
        size_ = size;
    }
    void succeeded() noexcept {
        if (tenths_ < size_) ++tenths_;
    }
    /// Takes a token if there may be a retry.
    bool take() noexcept {
        if (tenths_ * 2 <= size_) return false;
        tenths_ -= 10;
        return true;
    }
    std::int64_t tokens() const noexcept { return tenths_ / 10; }

private:
    std::uint32_t percent_;
    std::int64_t size_ = 0;  ///< in tenths
    std::int64_t tenths_ = 0;
};

}  // namespace pgmend::health
