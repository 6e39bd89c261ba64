#include "protocol/reply_digest.hpp"

#include <algorithm>

#include "protocol/frame.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pgmend::protocol {

struct reply_digest::state {
    XXH3_state_t hash;
};

reply_digest::reply_digest() noexcept = default;
reply_digest::~reply_digest() = default;

std::size_t reply_digest::take(byte_view bytes, std::uint64_t most) {
    if (bytes.empty()) return 0;
    if (!state_) state_ = std::make_unique<state>();
    if (counted_ == 0) XXH3_128bits_reset(&state_->hash);
    const std::byte* at = bytes.data();
    const std::byte* const end = at + bytes.size();
    const std::byte* run = at;  // begin of what counts and is not in the hash yet
    std::uint64_t room = most - std::min(most, counted_);
    while (at != end && room != 0) {
        const auto here = static_cast<std::size_t>(end - at);
        if (body_left_ == 0) {
            if (here < frame_header_size) {
                gaps_ = true;  // not a message: nothing is proven by it
                break;
            }
            const char type = static_cast<char>(*at);
            body_left_ = std::size_t{load_u32(at + 1)} + 1;
            counts_ = type != 'N' && type != 'S' && type != 'A';
            notice_last_ = type == 'N' || (notice_last_ && !counts_);
        }
        std::size_t now = std::min(body_left_, here);
        if (counts_) {
            now = static_cast<std::size_t>(std::min<std::uint64_t>(now, room));
            room -= now;
            counted_ += now;
        } else {
            add(run, at);
            run = at + now;
        }
        body_left_ -= now;
        at += now;
    }
    add(run, at);
    return static_cast<std::size_t>(at - bytes.data());
}

void reply_digest::add(const std::byte* from, const std::byte* to) noexcept {
    if (to > from) XXH3_128bits_update(&state_->hash, from, static_cast<std::size_t>(to - from));
}

hash128 reply_digest::value() const noexcept {
    if (counted_ == 0) return {};
    const XXH128_hash_t hash = XXH3_128bits_digest(&state_->hash);
    return {hash.low64, hash.high64};
}

}  // namespace pgmend::protocol
