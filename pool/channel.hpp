#pragma once
// The two halves of a connection's traffic above a stream: what has been read and not yet understood, and
// what has been decided and not yet written. Both own a block only while bytes are stuck in them. One worker
// thread.

#include <array>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string_view>

#include "pool/buffer_pool.hpp"
#include "pool/stream.hpp"

namespace pgmend::pool {

/// What one side has sent us and we have not consumed.
class inbound {
public:
    explicit inbound(buffer_pool& buffers) noexcept : held_(buffers) {}

    /// Reads once. On ok, `bytes()` is everything not yet consumed: the shared scratch when nothing was held
    /// back before (valid until this worker's next read), the held block otherwise. `want` is the least size
    /// of the next message that is read whole, so that the block grows once.
    io_result fill(stream& from, std::size_t want);
    std::span<std::byte> bytes() noexcept { return scratch_ != nullptr ? unread() : held_.view(); }
    /// Marks bytes at the front as dealt with.
    void consume(std::size_t count) noexcept;
    /// Saves what is left of the scratch; must be called before anybody else reads.
    void keep();
    /// Puts back bytes that were consumed, in front of everything.
    void put_back(protocol::byte_view front);
    bool empty() const noexcept { return scratch_ == nullptr && held_.empty(); }
    std::size_t size() const noexcept { return scratch_ != nullptr ? scratch_size_ : held_.size(); }
    void clear() noexcept;

private:
    std::span<std::byte> unread() noexcept { return {scratch_, scratch_size_}; }

    leased_buffer held_;
    std::byte* scratch_ = nullptr;  ///< what is left in the shared scratch; null when nothing is
    std::size_t scratch_size_ = 0;
};

/// Collects one flight in one direction, pieces in order: views of bytes that were read, and bytes made here.
/// One a worker, used by whoever is running; empty between events.
class gather {
public:
    /// Whether another view and `made` more bytes are sure to fit.
    bool has_room(std::size_t made) const noexcept {
        return count_ + spare_pieces <= pieces_.size() && used_ + made <= arena_.size();
    }
    bool empty() const noexcept { return count_ == 0; }
    /// The bytes must stay valid until the flight was written.
    void add(protocol::byte_view view) noexcept {
        if (view.empty()) return;
        bytes_ += view.size();
        if (count_ != 0) {
            iovec& last = pieces_[count_ - 1];
            if (static_cast<std::byte*>(last.iov_base) + last.iov_len == view.data()) {
                last.iov_len += view.size();
                return;
            }
        }
        if (count_ == pieces_.size()) std::abort();  // the caller did not ask has_room
        pieces_[count_++] = {const_cast<std::byte*>(view.data()), view.size()};
    }
    /// Room for `size` bytes made by the caller, who fills all of it. Needs has_room(size).
    std::span<std::byte> make(std::size_t size) noexcept;
    /// The first bytes are not to be sent after all.
    void drop_front(std::size_t bytes) noexcept;
    std::span<const iovec> pieces() const noexcept { return {pieces_.data(), count_}; }
    std::size_t bytes() const noexcept { return bytes_; }
    void clear() noexcept { count_ = used_ = bytes_ = 0; }

    static constexpr std::size_t arena_bytes = 16 * 1024;

private:
    static constexpr std::size_t spare_pieces = 8;  // of one message, at most
    std::size_t count_ = 0;
    std::size_t used_ = 0;
    std::size_t bytes_ = 0;
    std::array<iovec, 64> pieces_;
    std::array<std::byte, arena_bytes> arena_;
};

/// What we owe to one side's socket. While `blocked`, the source of these bytes is not to be read.
class outbound {
public:
    explicit outbound(buffer_pool& buffers) noexcept : waiting_(buffers) {}

    /// Sends the flight at once as far as the socket takes it, keeps a copy of the rest, empties the flight.
    /// Returns false when the stream is broken.
    bool send(stream& to, gather& flight);
    /// Tries again what was left over. Returns false when the stream is broken.
    bool drain(stream& to);
    bool blocked() const noexcept { return !waiting_.empty(); }
    void clear() noexcept { waiting_.clear(); }

private:
    leased_buffer waiting_;
};

}  // namespace pgmend::pool
