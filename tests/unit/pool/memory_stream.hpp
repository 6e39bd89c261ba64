#pragma once
// Two ends of a connection in memory, with room and steps as small as a test likes. Readiness is delivered by
// `deliver`, level-triggered as a real loop would.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "pool/stream.hpp"

namespace pgmend::test {

/// One direction.
struct memory_pipe {
    std::vector<std::byte> bytes;
    std::size_t room = 1 << 20;  ///< what the pipe holds
    std::size_t step = 1 << 20;  ///< what one call moves at most
    std::size_t writes = 0;      ///< calls that moved something
    bool ended = false;
};

class memory_stream final : public pool::stream {
public:
    memory_stream(std::shared_ptr<memory_pipe> in, std::shared_ptr<memory_pipe> out)
        : in_(std::move(in)), out_(std::move(out)) {}
    ~memory_stream() override { memory_stream::close(); }

    pool::io_result read_some(std::span<std::byte> into) noexcept override {
        const std::size_t count = std::min({into.size(), in_->bytes.size(), in_->step});
        if (count == 0) return {in_->ended ? pool::io_status::eof : pool::io_status::would_block};
        std::memcpy(into.data(), in_->bytes.data(), count);
        in_->bytes.erase(in_->bytes.begin(), in_->bytes.begin() + static_cast<std::ptrdiff_t>(count));
        return {pool::io_status::ok, count};
    }
    pool::io_result write_some(std::span<const iovec> pieces) noexcept override {
        if (out_->ended) return {pool::io_status::error, 0, EPIPE};
        std::size_t left = std::min(out_->step, out_->room - std::min(out_->room, out_->bytes.size()));
        std::size_t moved = 0;
        for (const iovec& piece : pieces) {
            const std::size_t count = std::min(left, piece.iov_len);
            const auto* from = static_cast<const std::byte*>(piece.iov_base);
            out_->bytes.insert(out_->bytes.end(), from, from + count);
            left -= count;
            moved += count;
        }
        if (moved == 0) return {pool::io_status::would_block};
        ++out_->writes;
        return {pool::io_status::ok, moved};
    }
    void watch(pool::event_sink& sink, pool::readiness bits) noexcept override {
        sink_ = &sink;
        bits_ = bits;
    }
    void arm(pool::interest what) noexcept override { armed_ = what; }
    pool::io_result connected() noexcept override { return {pool::io_status::ok}; }
    void close() noexcept override {
        in_->ended = true;
        out_->ended = true;
    }

    /// Notifies of what holds and is armed for.
    void deliver() {
        const auto armed = static_cast<unsigned>(armed_);
        pool::event_mask bits = 0;
        if ((armed & 1U) != 0 && (!in_->bytes.empty() || in_->ended)) bits |= bits_.on_readable;
        if ((armed & 2U) != 0 && out_->bytes.size() < out_->room) bits |= bits_.on_writable;
        if (bits != 0 && sink_ != nullptr) sink_->notify(bits);
    }
    pool::interest armed() const noexcept { return armed_; }

private:
    std::shared_ptr<memory_pipe> in_;
    std::shared_ptr<memory_pipe> out_;
    pool::event_sink* sink_ = nullptr;
    pool::readiness bits_;
    pool::interest armed_ = pool::interest::none;
};

}  // namespace pgmend::test
