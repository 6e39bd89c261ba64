#pragma once
// What io_uring receives for the sockets of one loop. Each socket that is read has one request in the kernel
// (a multishot receive) that stays until it ends; bytes come in blocks of a common ring of buffers. The
// blocks are lent for one turn of the loop only: what nobody has read by its end is copied to the stream's
// own memory, so that a client that is not read starves no other.
//
// The kernel receives nothing but inside `wait` (IORING_SETUP_DEFER_TASKRUN), and `wait` returns when all
// that was received is with its streams. So a plain recv between two waits takes the bytes that come next.
// One thread, the one that opened it.

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace pgmend::pool {

class ring_stream;

class receive_ring {
public:
    static constexpr std::size_t block_bytes = 4096;
    static constexpr std::size_t first_blocks = 32;
    /// Full blocks of one socket in one turn that say more is to come than blocks are good for.
    static constexpr std::size_t many_blocks = 8;

    /// `epoll` is waited for besides. Null where the kernel refuses: `why` says what and why.
    static std::unique_ptr<receive_ring> open(int epoll, std::size_t most_bytes, std::string& why);
    receive_ring(const receive_ring&) = delete;
    receive_ring& operator=(const receive_ring&) = delete;
    ~receive_ring();

    // For the loop.
    /// Submits what was asked for, waits, and gives what was received to its streams. True when epoll is to
    /// be asked.
    bool wait(int timeout_ms);
    /// Tells of what was received, and again of what was not read.
    void tell() noexcept;
    /// Takes the blocks back.
    void end_turn();
    /// Something that its reader waits for is here already.
    bool unread() const noexcept;

    // For streams.
    void begin(ring_stream& stream);
    /// Before it was submitted, or behind it.
    void stop(ring_stream& stream);
    /// Back to receiving, if it was not stopped yet.
    void go_on(ring_stream& stream) noexcept;
    /// Its descriptor is about to be closed.
    void forget(ring_stream& stream);
    /// Moves bytes of a stream that has some.
    std::size_t take(ring_stream& stream, std::span<std::byte> into) noexcept;
    /// Blocks the kernel may fill now. For tests.
    std::size_t blocks() const noexcept { return provided_; }

private:
    static constexpr std::uint16_t none = 0xffff;
    /// A block that was filled.
    struct block_note {
        std::uint16_t next;
        std::uint16_t size;
    };
    /// What one stream has received in this turn and not read.
    struct arrival {
        ring_stream* stream;  ///< null: read, or closed
        std::uint16_t first;
        std::uint16_t last;
        std::uint16_t offset;  ///< in the first
        std::uint16_t full;    ///< blocks without room left
    };
    struct leftover {
        std::vector<std::byte> bytes;
        std::size_t at = 0;
    };

    receive_ring(int epoll, std::size_t blocks) noexcept : epoll_(epoll), capacity_(blocks), notes_(blocks) {}
    int open_ring() noexcept;
    int open_blocks() noexcept;
    io_uring_sqe* next_entry();
    void prepare();
    void reap();
    void take_in(const io_uring_cqe& cqe);
    void received(ring_stream& stream, std::uint16_t block, std::size_t size);
    void ended(ring_stream& stream, int outcome);
    void provide(std::size_t blocks) noexcept;
    void give_back(std::uint16_t block, std::size_t used) noexcept;
    std::byte* block_at(std::uint16_t block) noexcept { return memory_ + block * block_bytes; }
    std::uint64_t ticket(const ring_stream& stream) const noexcept;

    io_uring ring_{};
    bool opened_ = false;
    int epoll_;
    bool epoll_polled_ = false;  ///< a request of ours waits for it
    bool ask_epoll_ = false;
    std::size_t capacity_;      ///< blocks there may be
    std::size_t provided_ = 0;  ///< blocks there are
    std::byte* memory_ = nullptr;
    io_uring_buf_ring* table_ = nullptr;
    std::vector<block_note> notes_;
    std::vector<arrival> arrivals_;
    std::unordered_map<ring_stream*, leftover> leftovers_;
    std::vector<ring_stream*> telling_;  ///< of leftovers, while they are told of
    std::vector<ring_stream*> begins_;   ///< with the next wait; null: withdrawn
    std::vector<std::uint64_t> stops_;   ///< the same, of tickets; zero: withdrawn
    /// Tickets of streams that are gone while the kernel still had their request.
    std::vector<std::uint64_t> gone_;
    std::uint8_t generation_ = 0;
};

}  // namespace pgmend::pool
