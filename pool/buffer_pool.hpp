#pragma once
// Buffers of one worker: the scratch that every read goes through, and blocks leased only while bytes are in
// flight (an idle connection owns none). One worker thread.

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "protocol/bytes.hpp"

namespace pgmend::pool {

/// Hands out blocks of 4 KiB, 8 KiB, … 1 MiB and keeps a bounded number of returned ones; larger blocks come
/// from the heap.
class buffer_pool {
public:
    static constexpr std::size_t scratch_bytes = 64 * 1024;
    static constexpr std::size_t smallest_block = 4 * 1024;

    buffer_pool();
    buffer_pool(const buffer_pool&) = delete;
    buffer_pool& operator=(const buffer_pool&) = delete;
    ~buffer_pool();

    /// Valid until the next read of this worker.
    std::span<std::byte> scratch() noexcept { return {scratch_.get(), scratch_bytes}; }
    /// Blocks lent out now.
    std::size_t leased_blocks() const noexcept { return leased_blocks_; }
    /// And their bytes: what this worker holds of messages on their way.
    std::size_t leased_bytes() const noexcept { return leased_bytes_; }

private:
    friend class leased_buffer;
    static constexpr std::size_t classes = 9;
    static constexpr std::size_t kept_bytes_per_class = 1024 * 1024;

    static std::size_t class_for(std::size_t bytes) noexcept;
    std::span<std::byte> lease(std::size_t bytes);
    void give_back(std::span<std::byte> block) noexcept;

    std::unique_ptr<std::byte[]> scratch_;
    std::array<std::vector<std::byte*>, classes> free_;
    std::size_t leased_blocks_ = 0;
    std::size_t leased_bytes_ = 0;
};

/// A contiguous queue of bytes in a leased block; owns no block while empty, and is small then: every idle
/// connection has some. Views into it are valid until the next call that is not const.
class leased_buffer {
public:
    explicit leased_buffer(buffer_pool& pool) noexcept : pool_(&pool) {}
    leased_buffer(const leased_buffer&) = delete;
    leased_buffer& operator=(const leased_buffer&) = delete;
    ~leased_buffer() { clear(); }

    buffer_pool& pool() const noexcept { return *pool_; }
    bool empty() const noexcept { return size() == 0; }
    std::size_t size() const noexcept { return block_ == nullptr ? 0 : block_->end - block_->begin; }
    std::span<std::byte> view() noexcept {
        return block_ == nullptr ? std::span<std::byte>{}
                                 : std::span{block_->bytes() + block_->begin, size()};
    }

    void append(protocol::byte_view bytes);
    /// Free space behind the content, at least `bytes` of it; `commit` what was written there.
    std::span<std::byte> reserve(std::size_t bytes);
    void commit(std::size_t bytes) noexcept { block_->end += bytes; }
    /// Drops bytes from the front; the block goes back when none are left.
    void consume(std::size_t bytes) noexcept;
    void clear() noexcept;

private:
    /// Stands at the front of the leased bytes.
    struct block {
        std::size_t capacity;  ///< behind this header
        std::size_t begin;
        std::size_t end;
        std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    };

    buffer_pool* pool_;
    block* block_ = nullptr;
};

}  // namespace pgmend::pool
