#pragma once
// What a client has sent since its request began, byte for byte, so that it can be sent again to another
// server. Bounded; owned by the server connection, so that an idle client keeps nothing and a busy one
// allocates nothing. Pure; one worker thread.

#include <vector>

#include "protocol/bytes.hpp"

namespace pgmend::pool {

class request_record {
public:
    /// A request begins; at most `limit` bytes of it are kept.
    void begin(std::size_t limit) noexcept {
        bytes_.clear();
        limit_ = limit;
        whole_ = limit != 0;
    }
    void add(protocol::byte_view bytes) {
        if (!whole_) return;
        if (bytes.size() > limit_ - bytes_.size()) {
            whole_ = false;
            bytes_ = {};
            return;
        }
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    /// Nothing of the request is missing.
    bool whole() const noexcept { return whole_; }
    std::vector<std::byte> take() noexcept {
        whole_ = false;
        return std::move(bytes_);
    }

private:
    std::vector<std::byte> bytes_;
    std::size_t limit_ = 0;
    bool whole_ = false;
};

}  // namespace pgmend::pool
