#include "pool/buffer_pool.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace pgmend::pool {

buffer_pool::buffer_pool() : scratch_(std::make_unique<std::byte[]>(scratch_bytes)) {}

buffer_pool::~buffer_pool() {
    for (auto& blocks : free_) {
        for (std::byte* block : blocks) {
            delete[] block;
        }
    }
}

std::size_t buffer_pool::class_for(std::size_t bytes) noexcept {
    const std::size_t blocks = (std::max(bytes, smallest_block) + smallest_block - 1) / smallest_block;
    return static_cast<std::size_t>(std::bit_width(blocks - 1));
}

std::span<std::byte> buffer_pool::lease(std::size_t bytes) {
    ++leased_blocks_;
    const std::size_t index = class_for(bytes);
    const std::size_t size = smallest_block << index;
    leased_bytes_ += size;
    if (index < classes && !free_[index].empty()) {
        std::byte* block = free_[index].back();
        free_[index].pop_back();
        return {block, size};
    }
    return {new std::byte[size], size};
}

void buffer_pool::give_back(std::span<std::byte> block) noexcept {
    --leased_blocks_;
    leased_bytes_ -= block.size();
    const std::size_t index = class_for(block.size());
    if (index < classes && free_[index].size() * block.size() < kept_bytes_per_class) {
        free_[index].push_back(block.data());
    } else {
        delete[] block.data();
    }
}

void leased_buffer::append(protocol::byte_view bytes) {
    if (bytes.empty()) return;
    const auto space = reserve(bytes.size());
    std::memcpy(space.data(), bytes.data(), bytes.size());
    commit(bytes.size());
}

std::span<std::byte> leased_buffer::reserve(std::size_t bytes) {
    const auto space = [this] {
        return std::span{block_->bytes() + block_->end, block_->capacity - block_->end};
    };
    if (block_ != nullptr && block_->capacity - block_->end >= bytes) return space();
    const std::size_t content = size();
    if (block_ != nullptr && block_->capacity >= content + bytes) {
        std::memmove(block_->bytes(), block_->bytes() + block_->begin, content);
        block_->begin = 0;
        block_->end = content;
        return space();
    }
    const auto leased = pool_->lease(sizeof(block) + content + bytes);
    auto* larger = new (leased.data()) block{leased.size() - sizeof(block), 0, content};
    if (content != 0) std::memcpy(larger->bytes(), block_->bytes() + block_->begin, content);
    clear();
    block_ = larger;
    return space();
}

void leased_buffer::consume(std::size_t bytes) noexcept {
    if (bytes == size()) {
        clear();
    } else {
        block_->begin += bytes;
    }
}

void leased_buffer::clear() noexcept {
    if (block_ == nullptr) return;
    pool_->give_back({reinterpret_cast<std::byte*>(block_), sizeof(block) + block_->capacity});
    block_ = nullptr;
}

}  // namespace pgmend::pool
