#pragma once
// What a client was shown, as a digest: so that the same can be proven of a second answer to the same
// request, however it comes in pieces. ParameterStatus, notices and notifications are left out: they come
// when they come. But where a notice was the last, it would be shown twice. Pure; one worker thread.

#include <cstdint>
#include <limits>
#include <memory>

#include "protocol/hash.hpp"

namespace pgmend::protocol {

class reply_digest {
public:
    reply_digest() noexcept;
    ~reply_digest();
    reply_digest(const reply_digest&) = delete;
    reply_digest& operator=(const reply_digest&) = delete;

    /// A request begins: nothing of its answer has been shown.
    void begin() noexcept {
        counted_ = 0;
        body_left_ = 0;
        gaps_ = notice_last_ = false;
    }
    /// Something was shown that was not taken.
    void leave_gap() noexcept { gaps_ = true; }
    /// Takes whole messages of a server, cut anywhere but in their headers, until `most` bytes have been
    /// counted since the beginning; returns how many of these were gone through, uncounted ones included.
    std::size_t take(byte_view bytes, std::uint64_t most = std::numeric_limits<std::uint64_t>::max());
    /// Bytes taken so far, without those that do not count.
    std::uint64_t counted() const noexcept { return counted_; }
    /// Whether what was taken is all that was shown, and ends where something else can follow it.
    bool whole() const noexcept { return !gaps_ && !notice_last_ && (body_left_ == 0 || counts_); }
    hash128 value() const noexcept;

private:
    struct state;
    void add(const std::byte* from, const std::byte* to) noexcept;

    std::unique_ptr<state> state_;  ///< made for the first answer that is taken
    std::uint64_t counted_ = 0;
    std::size_t body_left_ = 0;  ///< of the message under way
    bool counts_ = true;         ///< that message
    bool gaps_ = false;
    bool notice_last_ = false;
};

}  // namespace pgmend::protocol
