#include "pool/channel.hpp"

#include <algorithm>
#include <vector>

namespace pgmend::pool {

io_result inbound::fill(stream& from, std::size_t want) {
    if (held_.empty()) {
        const auto scratch = held_.pool().scratch();
        const io_result result = from.read_some(scratch);
        if (result.status == io_status::ok) {
            scratch_ = scratch.data();
            scratch_size_ = result.bytes;
        }
        return result;
    }
    const std::size_t missing = want > held_.size() ? want - held_.size() : 1;
    const auto space = held_.reserve(std::max<std::size_t>(missing, 1024));
    const io_result result = from.read_some(space);
    if (result.status == io_status::ok) held_.commit(result.bytes);
    return result;
}

void inbound::consume(std::size_t count) noexcept {
    if (scratch_ == nullptr) {
        held_.consume(count);
        return;
    }
    scratch_size_ -= count;
    scratch_ = scratch_size_ == 0 ? nullptr : scratch_ + count;
}

void inbound::keep() {
    if (scratch_ == nullptr) return;
    held_.append(unread());
    scratch_ = nullptr;
}

void inbound::put_back(protocol::byte_view front) {
    keep();
    std::vector<std::byte> all{front.begin(), front.end()};
    all.insert(all.end(), held_.view().begin(), held_.view().end());
    held_.clear();
    held_.append(all);
}

void inbound::clear() noexcept {
    held_.clear();
    scratch_ = nullptr;
}

std::span<std::byte> gather::make(std::size_t size) noexcept {
    if (used_ + size > arena_.size() || count_ == pieces_.size())
        std::abort();  // the caller did not ask has_room
    const auto room = std::span{arena_}.subspan(used_, size);
    used_ += size;
    add(room);
    return room;
}

void gather::drop_front(std::size_t bytes) noexcept {
    bytes_ -= bytes;
    std::size_t gone = 0;
    while (gone < count_ && pieces_[gone].iov_len <= bytes) {
        bytes -= pieces_[gone++].iov_len;
    }
    std::copy(pieces_.begin() + gone, pieces_.begin() + count_, pieces_.begin());
    count_ -= gone;
    if (bytes == 0) return;
    pieces_[0].iov_base = static_cast<std::byte*>(pieces_[0].iov_base) + bytes;
    pieces_[0].iov_len -= bytes;
}

bool outbound::send(stream& to, gather& flight) {
    std::size_t done = 0;
    if (!blocked()) {
        const io_result result = to.write_some(flight.pieces());
        if (result.status == io_status::ok && result.bytes == flight.bytes()) {
            flight.clear();
            return true;
        }
        if (result.status == io_status::error || result.status == io_status::eof) {
            flight.clear();
            return false;
        }
        done = result.bytes;
    }
    for (const iovec& piece : flight.pieces()) {
        const std::size_t skipped = std::min(done, piece.iov_len);
        done -= skipped;
        waiting_.append({static_cast<const std::byte*>(piece.iov_base) + skipped, piece.iov_len - skipped});
    }
    flight.clear();
    return true;
}

bool outbound::drain(stream& to) {
    while (blocked()) {
        const auto bytes = waiting_.view();
        const iovec piece{bytes.data(), bytes.size()};
        const io_result result = to.write_some({&piece, 1});
        if (result.status == io_status::would_block) return true;
        if (result.status != io_status::ok) return false;
        waiting_.consume(result.bytes);
    }
    return true;
}

}  // namespace pgmend::pool
