#pragma once
// A socket of a loop with a ring. While it is armed for reading alone, as nearly always, io_uring receives
// for it and epoll does not know it. Whatever else it waits for, and once the other side has ended or many
// bytes come at a time, it is an ordinary socket_stream: one behaviour, whichever engine. Sends are plain.
// One worker thread.

#include "pool/receive_ring.hpp"
#include "pool/socket_stream.hpp"

namespace pgmend::pool {

class ring_stream final : public socket_stream {
public:
    /// As socket_stream; the loop has a ring.
    ring_stream(event_loop& loop, int descriptor, bool connecting);
    ~ring_stream() override { close(); }

    io_result read_some(std::span<std::byte> into) noexcept override;
    io_result write_some(std::span<const iovec> pieces) noexcept override;
    void arm(interest what) noexcept override;
    void close() noexcept override;
    /// The kernel receives for it no more, for reasons of its own.
    bool refused_by_ring() const noexcept { return plain_; }

private:
    friend class receive_ring;

    /// The request in the kernel.
    enum class receiving : std::uint8_t { off, begun, on, stopping };

    receive_ring& ring() const noexcept { return *loop_.ring(); }
    bool reads() const noexcept { return armed_ == interest::read || armed_ == interest::read_write; }
    bool by_ring() const noexcept {
        return armed_ == interest::read && !connecting_ && !ended_ && !plain_ && !many_;
    }
    bool has_bytes() const noexcept { return arrival_ != no_arrival || left_over_; }
    void settle() noexcept;
    void tell() noexcept;

    static constexpr std::uint16_t no_arrival = 0xffff;
    // In what is left of the size class of a socket_stream.
    std::uint16_t arrival_ = no_arrival;  ///< its place among those of this turn
    std::uint8_t generation_ = 0;         ///< tells it from who had this address before
    receiving receiving_ : 2 = receiving::off;
    bool left_over_ : 1 = false;  ///< the ring keeps bytes that were not read in their turn
    bool in_epoll_ : 1 = false;
    bool ended_ : 1 = false;        ///< the other side has; nothing more comes through the ring
    bool plain_ : 1 = false;        ///< refused_by_ring
    bool many_ : 1 = false;         ///< large reads are cheaper for what comes now
    bool send_failed_ : 1 = false;  ///< what the other side said last has come, or never will
};

}  // namespace pgmend::pool
