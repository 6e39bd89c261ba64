#include "pool/receive_ring.hpp"

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "pool/ring_stream.hpp"

namespace pgmend::pool {

namespace {

constexpr unsigned entries = 256;
// Tickets that are no stream's.
constexpr std::uint64_t epoll_ticket = 1;
constexpr std::uint64_t stop_ticket = 2;
constexpr unsigned generation_shift = 56;
constexpr std::uint64_t address_bits = (std::uint64_t{1} << generation_shift) - 1;

/// What a person can do about it.
std::string reason(const char* call, int error) {
    std::string text = std::string(call) + ": " + std::generic_category().message(error);
    if (error == EPERM || error == EACCES) text += " (seccomp, or kernel.io_uring_disabled)";
    if (error == ENOSYS) text += " (the kernel has none, or seccomp)";
    if (error == EINVAL) text += " (it needs Linux 6.1)";
    return text;
}

/// Ends of the request that are not the socket's.
bool is_of_ring(int error) noexcept {
    switch (error) {
        case EAGAIN:
        case EBADF:
        case EFAULT:
        case EINTR:
        case EINVAL:
        case ENOMEM:
        case ENOTSUP:
        case EOVERFLOW:
        case EPERM:
            return true;
        default:
            return false;
    }
}

void* map(std::size_t bytes) noexcept {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

std::unique_ptr<receive_ring> receive_ring::open(int epoll, std::size_t most_bytes, std::string& why) {
    const std::size_t blocks =
        std::bit_floor(std::clamp<std::size_t>(most_bytes / block_bytes, first_blocks, none / 2));
    std::unique_ptr<receive_ring> ring{new receive_ring{epoll, blocks}};
    if (const int error = ring->open_ring(); error != 0) {
        why = reason("io_uring_setup", error);
        return nullptr;
    }
    if (const int error = ring->open_blocks(); error != 0) {
        why = reason("io_uring_register", error);
        return nullptr;
    }
    return ring;
}

int receive_ring::open_ring() noexcept {
    io_uring_params wanted{};
    wanted.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                   IORING_SETUP_CQSIZE;
    wanted.cq_entries = static_cast<unsigned>(std::max<std::size_t>(1024, 2 * capacity_));
    const int outcome = io_uring_queue_init_params(entries, &ring_, &wanted);
    if (outcome != 0) return -outcome;
    opened_ = true;
    // One look-up of a descriptor less for each wait; not all kernels, and no harm without.
    io_uring_register_ring_fd(&ring_);
    return 0;
}

int receive_ring::open_blocks() noexcept {
    memory_ = static_cast<std::byte*>(map(capacity_ * block_bytes));
    table_ = static_cast<io_uring_buf_ring*>(map(capacity_ * sizeof(io_uring_buf)));
    if (memory_ == nullptr || table_ == nullptr) return ENOMEM;
    io_uring_buf_reg wanted{};
    wanted.ring_addr = reinterpret_cast<std::uint64_t>(table_);
    wanted.ring_entries = static_cast<std::uint32_t>(capacity_);
    const int outcome = io_uring_register_buf_ring(&ring_, &wanted, 0);
    if (outcome != 0) return -outcome;
    io_uring_buf_ring_init(table_);
    provide(first_blocks);
    return 0;
}

receive_ring::~receive_ring() {
    if (opened_) io_uring_queue_exit(&ring_);
    if (memory_ != nullptr) ::munmap(memory_, capacity_ * block_bytes);
    if (table_ != nullptr) ::munmap(table_, capacity_ * sizeof(io_uring_buf));
}

void receive_ring::provide(std::size_t blocks) noexcept {
    const std::size_t until = std::min(capacity_, provided_ + blocks);
    while (provided_ < until) {
        give_back(static_cast<std::uint16_t>(provided_++), 0);
    }
}

/// Passwords come in here like all else: what was received does not stay.
void receive_ring::give_back(std::uint16_t block, std::size_t used) noexcept {
    std::memset(block_at(block), 0, used);
    const int mask = static_cast<int>(capacity_ - 1);
    io_uring_buf_ring_add(table_, block_at(block), block_bytes, block, mask, 0);
    io_uring_buf_ring_advance(table_, 1);
}

std::uint64_t receive_ring::ticket(const ring_stream& stream) const noexcept {
    return reinterpret_cast<std::uint64_t>(&stream) | static_cast<std::uint64_t>(stream.generation_)
                                                          << generation_shift;
}

void receive_ring::begin(ring_stream& stream) {
    // A ticket that somebody gone has still out is not given again.
    do {
        stream.generation_ = ++generation_;
    } while (std::find(gone_.begin(), gone_.end(), ticket(stream)) != gone_.end());
    stream.receiving_ = ring_stream::receiving::begun;
    begins_.push_back(&stream);
}

void receive_ring::stop(ring_stream& stream) {
    if (stream.receiving_ == ring_stream::receiving::on) {
        stops_.push_back(ticket(stream));
        stream.receiving_ = ring_stream::receiving::stopping;
        return;
    }
    std::replace(begins_.begin(), begins_.end(), &stream, static_cast<ring_stream*>(nullptr));
    stream.receiving_ = ring_stream::receiving::off;
}

void receive_ring::go_on(ring_stream& stream) noexcept {
    const auto found = std::find(stops_.begin(), stops_.end(), ticket(stream));
    if (found == stops_.end()) return;  // under way: it begins again when it has stopped
    *found = 0;
    stream.receiving_ = ring_stream::receiving::on;
}

void receive_ring::forget(ring_stream& stream) {
    using receiving = ring_stream::receiving;
    if (stream.receiving_ != receiving::off) {
        if (stream.receiving_ != receiving::stopping) stop(stream);
        if (stream.receiving_ == receiving::stopping) gone_.push_back(ticket(stream));
        stream.receiving_ = receiving::off;
    }
    if (stream.left_over_) leftovers_.erase(&stream);
    stream.left_over_ = false;
    std::replace(telling_.begin(), telling_.end(), &stream, static_cast<ring_stream*>(nullptr));
    if (stream.arrival_ == none) return;
    arrival& unread = arrivals_[stream.arrival_];
    for (std::uint16_t block = unread.first; block != none;) {
        const std::uint16_t next = notes_[block].next;
        give_back(block, notes_[block].size);
        block = next;
    }
    unread.stream = nullptr;
    stream.arrival_ = none;
}

std::size_t receive_ring::take(ring_stream& stream, std::span<std::byte> into) noexcept {
    if (stream.left_over_) {
        leftover& left = leftovers_.find(&stream)->second;
        const std::size_t count = std::min(into.size(), left.bytes.size() - left.at);
        std::memcpy(into.data(), left.bytes.data() + left.at, count);
        left.at += count;
        if (left.at == left.bytes.size()) {
            leftovers_.erase(&stream);
            stream.left_over_ = false;
        }
        return count;
    }
    arrival& unread = arrivals_[stream.arrival_];
    std::size_t total = 0;
    while (unread.first != none && total < into.size()) {
        const std::uint16_t block = unread.first;
        const std::size_t left = notes_[block].size - unread.offset;
        const std::size_t count = std::min(left, into.size() - total);
        std::memcpy(into.data() + total, block_at(block) + unread.offset, count);
        total += count;
        if (count < left) {
            unread.offset = static_cast<std::uint16_t>(unread.offset + count);
            break;
        }
        unread.first = notes_[block].next;
        unread.offset = 0;
        give_back(block, notes_[block].size);
    }
    if (unread.first == none) {
        unread.stream = nullptr;
        stream.arrival_ = none;
    }
    return total;
}

/// The next free entry. Where all are taken, what is there goes first: nothing is received by that that
/// `reap` does not see before anybody reads.
io_uring_sqe* receive_ring::next_entry() {
    for (;;) {
        if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) return entry;
        const int outcome = io_uring_submit(&ring_);
        if (outcome >= 0 || outcome == -EINTR) continue;
        if (outcome != -EAGAIN && outcome != -EBUSY)
            throw std::system_error(-outcome, std::generic_category(), "io_uring");
        reap();
    }
}

void receive_ring::prepare() {
    // By index: to make room for entries it is reaped, and what comes may stop and begin more.
    for (std::size_t i = 0; i < stops_.size(); ++i) {
        if (stops_[i] == 0) continue;
        io_uring_sqe* entry = next_entry();
        io_uring_prep_cancel64(entry, stops_[i], 0);
        io_uring_sqe_set_data64(entry, stop_ticket);
    }
    stops_.clear();
    for (std::size_t i = 0; i < begins_.size(); ++i) {
        if (begins_[i] == nullptr) continue;
        io_uring_sqe* entry = next_entry();
        ring_stream* stream = begins_[i];
        if (stream == nullptr) {
            io_uring_prep_nop(entry);
            io_uring_sqe_set_data64(entry, stop_ticket);
            continue;
        }
        io_uring_prep_recv_multishot(entry, stream->descriptor_, nullptr, 0, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = 0;
        io_uring_sqe_set_data64(entry, ticket(*stream));
        stream->receiving_ = ring_stream::receiving::on;
    }
    begins_.clear();
    if (!epoll_polled_) {
        // For one event: as it is asked for anew each time, epoll says again what still holds.
        io_uring_sqe* entry = next_entry();
        io_uring_prep_poll_add(entry, epoll_, POLLIN);
        io_uring_sqe_set_data64(entry, epoll_ticket);
        epoll_polled_ = true;
    }
}

bool receive_ring::wait(int timeout_ms) {
    ask_epoll_ = false;
    prepare();
    int outcome;
    if (timeout_ms == 0) {
        outcome = io_uring_submit_and_get_events(&ring_);
    } else {
        __kernel_timespec most{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000LL};
        io_uring_cqe* first = nullptr;
        outcome = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &most, nullptr);
    }
    const bool passing =
        outcome >= 0 || outcome == -ETIME || outcome == -EINTR || outcome == -EAGAIN || outcome == -EBUSY;
    if (!passing) throw std::system_error(-outcome, std::generic_category(), "io_uring");
    reap();
    return ask_epoll_;
}

void receive_ring::reap() {
    for (;;) {
        unsigned head = 0;
        unsigned count = 0;
        const io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(&ring_, head, cqe) {
            ++count;
            take_in(*cqe);
        }
        io_uring_cq_advance(&ring_, count);
        if (!io_uring_cq_has_overflow(&ring_)) return;
        io_uring_get_events(&ring_);
    }
}

void receive_ring::take_in(const io_uring_cqe& cqe) {
    if (cqe.user_data == epoll_ticket) {
        epoll_polled_ = false;
        ask_epoll_ = true;
        return;
    }
    if (cqe.user_data == stop_ticket) return;
    const bool last = (cqe.flags & IORING_CQE_F_MORE) == 0;
    const bool has_block = (cqe.flags & IORING_CQE_F_BUFFER) != 0;
    const auto block = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    const auto filled = static_cast<std::size_t>(std::max(cqe.res, 0));
    if (!gone_.empty()) {
        if (const auto found = std::find(gone_.begin(), gone_.end(), cqe.user_data); found != gone_.end()) {
            if (has_block) give_back(block, filled);
            if (last) gone_.erase(found);
            return;
        }
    }
    auto& stream = *reinterpret_cast<ring_stream*>(cqe.user_data & address_bits);
    if (has_block && filled > 0) {
        received(stream, block, filled);
    } else if (has_block) {
        give_back(block, 0);
    }
    if (last) ended(stream, cqe.res);
}

void receive_ring::received(ring_stream& stream, std::uint16_t block, std::size_t size) {
    if (stream.left_over_) {
        leftover& left = leftovers_.find(&stream)->second;
        left.bytes.insert(left.bytes.end(), block_at(block), block_at(block) + size);
        give_back(block, size);
        return;
    }
    notes_[block] = {none, static_cast<std::uint16_t>(size)};
    if (stream.arrival_ == none) {
        stream.arrival_ = static_cast<std::uint16_t>(arrivals_.size());
        arrivals_.push_back({&stream, block, block, 0, 0});
    } else {
        arrival& unread = arrivals_[stream.arrival_];
        notes_[unread.last].next = block;
        unread.last = block;
    }
    arrival& unread = arrivals_[stream.arrival_];
    if (size < block_bytes || ++unread.full != many_blocks || stream.many_) return;
    stream.many_ = true;
    stream.settle();
}

/// The request is over. `outcome` as io_uring has it.
void receive_ring::ended(ring_stream& stream, int outcome) {
    stream.receiving_ = ring_stream::receiving::off;
    if (outcome == -ENOBUFS && stream.arrival_ == none) provide(provided_);
    if (outcome > 0 || outcome == -ENOBUFS || outcome == -ECANCELED) {
        if (stream.by_ring()) begin(stream);
        return;
    }
    if (outcome != 0 && is_of_ring(-outcome)) {
        stream.plain_ = true;
    } else {
        stream.ended_ = true;
        if (outcome != 0 && stream.error_ == 0) stream.error_ = static_cast<std::int16_t>(-outcome);
    }
    stream.settle();
    ask_epoll_ = true;
}

void receive_ring::tell() noexcept {
    for (const arrival& each : arrivals_) {
        if (each.stream != nullptr) each.stream->tell();
    }
    if (leftovers_.empty()) return;
    for (const auto& [stream, left] : leftovers_) {
        telling_.push_back(stream);
    }
    for (std::size_t i = 0; i < telling_.size(); ++i) {
        if (telling_[i] != nullptr) telling_[i]->tell();
    }
    telling_.clear();
}

void receive_ring::end_turn() {
    for (const arrival& each : arrivals_) {
        if (each.stream == nullptr) continue;
        ring_stream& stream = *each.stream;
        leftover left;
        for (std::uint16_t block = each.first; block != none;) {
            const std::size_t from = block == each.first ? each.offset : 0;
            left.bytes.insert(left.bytes.end(), block_at(block) + from, block_at(block) + notes_[block].size);
            const std::uint16_t next = notes_[block].next;
            give_back(block, notes_[block].size);
            block = next;
        }
        stream.arrival_ = none;
        stream.left_over_ = true;
        leftovers_.insert_or_assign(&stream, std::move(left));
    }
    arrivals_.clear();
}

bool receive_ring::unread() const noexcept {
    return std::any_of(leftovers_.begin(), leftovers_.end(), [](const auto& each) {
        return each.first->sink_ != nullptr && each.first->reads();
    });
}

}  // namespace pgmend::pool
