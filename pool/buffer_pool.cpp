#include "pool/buffer_pool.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

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
    if (index < classes && !free_[index].empty()) {
        std::byte* block = free_[index].back();
        free_[index].pop_back();
        return {block, size};
    }
    return {new std::byte[size], size};
}

void buffer_pool::give_back(std::span<std::byte> block) noexcept {
    --leased_blocks_;
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
    if (block_.size() - end_ >= bytes && !block_.empty()) return block_.subspan(end_);
    const std::size_t content = size();
    if (block_.size() >= content + bytes) {
        std::memmove(block_.data(), block_.data() + begin_, content);
    } else {
        const auto larger = pool_->lease(content + bytes);
        if (content != 0) std::memcpy(larger.data(), block_.data() + begin_, content);
        if (!block_.empty()) pool_->give_back(block_);
        block_ = larger;
    }
    begin_ = 0;
    end_ = content;
    return block_.subspan(end_);
}

void leased_buffer::consume(std::size_t bytes) noexcept {
    begin_ += bytes;
    if (begin_ == end_) clear();
}

void leased_buffer::clear() noexcept {
    if (!block_.empty()) pool_->give_back(block_);
    block_ = {};
    begin_ = end_ = 0;
}

}  // namespace pgmend::pool
