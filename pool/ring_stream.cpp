#include "pool/ring_stream.hpp"

#include <unistd.h>

namespace pgmend::pool {

static_assert(
    sizeof(ring_stream) == sizeof(socket_stream), "an idle client costs the same with either engine"
);

ring_stream::ring_stream(event_loop& loop, int descriptor, bool connecting)
    : socket_stream(loop, descriptor, connecting, unregistered{}) {
    settle();
}

/// Who receives now: the ring, or whoever epoll calls.
void ring_stream::settle() noexcept {
    if (by_ring()) {
        if (in_epoll_) loop_.remove(descriptor_, *this);
        in_epoll_ = false;
        if (receiving_ == receiving::off) ring().begin(*this);
        if (receiving_ == receiving::stopping) ring().go_on(*this);
        return;
    }
    if (receiving_ == receiving::begun || receiving_ == receiving::on) ring().stop(*this);
    if (in_epoll_) {
        loop_.modify(descriptor_, epoll_bits(armed_), *this);
    } else if (const int error = loop_.add(descriptor_, epoll_bits(armed_), *this); error != 0) {
        if (error_ == 0) error_ = static_cast<std::int16_t>(error);
        if (sink_ != nullptr) sink_->notify(bits_.on_readable | bits_.on_writable);
    } else {
        in_epoll_ = true;
    }
}

io_result ring_stream::read_some(std::span<std::byte> into) noexcept {
    if (descriptor_ >= 0 && has_bytes()) return {io_status::ok, ring().take(*this, into)};
    if (receiving_ == receiving::on && !send_failed_) return {io_status::would_block};
    const io_result result = socket_stream::read_some(into);
    if (many_ && (result.status != io_status::ok || result.bytes < receive_ring::block_bytes)) {
        many_ = false;
        if (descriptor_ >= 0) settle();
    }
    return result;
}

io_result ring_stream::write_some(std::span<const iovec> pieces) noexcept {
    const io_result result = socket_stream::write_some(pieces);
    if (result.status == io_status::error) send_failed_ = true;
    return result;
}

void ring_stream::arm(interest what) noexcept {
    if (what == armed_ || descriptor_ < 0) return;
    armed_ = what;
    told_broken_ = told_ended_ = false;
    settle();
}

void ring_stream::close() noexcept {
    sink_ = nullptr;
    if (descriptor_ < 0) return;
    ring().forget(*this);
    if (in_epoll_) loop_.remove(descriptor_, *this);
    in_epoll_ = false;
    ::close(descriptor_);
    descriptor_ = -1;
}

/// Bytes are here.
void ring_stream::tell() noexcept {
    if (sink_ == nullptr) {
        arm(interest::none);
    } else if (reads()) {
        sink_->notify(bits_.on_readable);
    }
}

}  // namespace pgmend::pool
