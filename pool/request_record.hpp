#pragma once
// What a client has sent since its request began, byte for byte, so that it can be sent again to another
// server. Bounded; owned by the server connection, so that an idle client keeps nothing and a busy one
// allocates nothing. Pure; one worker thread.

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "protocol/bytes.hpp"

namespace pgmend::pool {

class request_record {
public:
    /// A request begins; at most `limit` bytes of it are kept.
    void begin(std::size_t limit) noexcept {
        used_ = 0;
        if (bytes_.size() > limit) bytes_.resize(limit);
        limit_ = limit;
        whole_ = limit != 0;
    }
    void add(protocol::byte_view bytes) {
        if (!whole_ || bytes.empty()) return;
        if (bytes.size() > bytes_.size() - used_ && !grow(bytes.size())) return;
        std::memcpy(bytes_.data() + used_, bytes.data(), bytes.size());
        used_ += bytes.size();
    }
    /// Nothing of the request is missing.
    bool whole() const noexcept { return whole_; }
    /// What is kept of it.
    protocol::byte_view bytes() const noexcept { return {bytes_.data(), used_}; }
    std::vector<std::byte> take() noexcept {
        whole_ = false;
        bytes_.resize(std::exchange(used_, 0));
        return std::exchange(bytes_, {});
    }

private:
    static constexpr std::size_t step = 512;

    /// False when the request has become too long.
    bool grow(std::size_t more) {
        if (more > limit_ - used_) {
            whole_ = false;
            used_ = 0;
            bytes_ = {};
            return false;
        }
        bytes_.resize(std::min(std::max({2 * bytes_.size(), used_ + more, step}), limit_));
        return true;
    }

    std::vector<std::byte> bytes_;  ///< of which `used_` are in use
    std::size_t used_ = 0;
    std::size_t limit_ = 0;
    bool whole_ = false;
};

}  // namespace pgmend::pool
