#include "tests/sim/sim_link.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pgmend::sim {

namespace {

/// Fragmentation is for finding bugs at message borders; a stream that has moved this much has met them all.
constexpr std::uint64_t fragmented_bytes_max = 32'768;

bool wants(pool::interest armed, pool::interest what) {
    return (static_cast<unsigned>(armed) & static_cast<unsigned>(what)) != 0;
}

}  // namespace

// ---- pipe

pipe::pipe(sim_link& link, end_side reader)
    : link_(link), reader_(reader), timer_(link.env(), [this] { arrive(); }) {}

std::size_t pipe::space() const noexcept {
    const std::size_t held = bytes_.size() - head_;
    const std::size_t room = link_.traits().buffer;
    return held < room ? room - held : 0;
}

std::size_t pipe::limit_piece(std::size_t bytes) {
    const std::size_t fragment = link_.traits().fragment;
    if (fragment == 0 || total_arrived_ > fragmented_bytes_max || link_.env().dice().chance(1, 3))
        return bytes;
    return std::min(bytes, link_.env().dice().size_between(1, fragment));
}

pool::io_result pipe::read(std::span<std::byte> into) {
    if (arrived_ > 0) {
        const std::size_t count = limit_piece(std::min(arrived_, into.size()));
        std::memcpy(into.data(), bytes_.data() + head_, count);
        head_ += count;
        arrived_ -= count;
        if (head_ == bytes_.size()) {
            bytes_.clear();
            head_ = 0;
        } else if (head_ > bytes_.size() / 2) {
            bytes_.erase(0, head_);
            head_ = 0;
        }
        link_.env().progress();
        link_.changed(other(reader_));
        return {pool::io_status::ok, count};
    }
    if (end_ == ending::eof) return {pool::io_status::eof};
    if (end_ == ending::reset) return {pool::io_status::error, 0, ECONNRESET};
    return {pool::io_status::would_block};
}

std::size_t pipe::write(std::string_view bytes) {
    if (half_closed_) {
        link_.env().progress();
        return bytes.size();
    }
    // As the kernel does it: a write is cut short by a full buffer alone.
    const std::size_t count = std::min(bytes.size(), space());
    bytes_.append(bytes.substr(0, count));
    link_.env().progress();
    link_.env().note((link_.id() << 20) ^ count);
    link_.env().note_text(bytes.substr(0, std::min<std::size_t>(count, 64)));
    send(count, ending::none);
    return count;
}

void pipe::send(std::size_t bytes, ending end) {
    auto& env = link_.env();
    const auto& traits = link_.traits();
    do {
        // A fragmenting network delivers one write in pieces, so that readers meet every partial message at
        // rest.
        const std::size_t piece = limit_piece(bytes);
        auto at = std::max(env.now() + traits.latency, last_arrival_);
        if (traits.jitter.count() > 0 && env.dice().chance(1, 4)) {
            at += std::chrono::nanoseconds(env.dice().between(0, traits.jitter.count()));
        }
        if (rate_ > 0) at += std::chrono::nanoseconds(piece * 1'000'000'000 / rate_);
        last_arrival_ = at;
        under_way_.push_back({at, piece, end});
        bytes -= piece;
    } while (bytes > 0);
    if (!timer_.running()) timer_.at(std::max(under_way_.front().at, stalled_until_));
}

void pipe::arrive() {
    auto& env = link_.env();
    if (env.now() < stalled_until_) return timer_.at(stalled_until_);
    while (!under_way_.empty() && under_way_.front().at <= env.now() && env.now() >= stalled_until_) {
        const segment next = under_way_.front();
        under_way_.pop_front();
        take_segment(next);
    }
    if (!under_way_.empty()) timer_.at(std::max(under_way_.front().at, stalled_until_));
    link_.changed(reader_);
}

void pipe::take_segment(segment next) {
    if (next.end != ending::none) {
        end_ = next.end;
        return;
    }
    if (stall_armed_ && total_arrived_ + next.bytes > stall_at_) {
        stall_armed_ = false;
        const std::size_t first =
            stall_at_ > total_arrived_ ? static_cast<std::size_t>(stall_at_ - total_arrived_) : 0;
        under_way_.push_front({next.at, next.bytes - first, ending::none});
        next.bytes = first;
        stall(link_.env().now() + stall_for_);
    }
    if (reader_gone_) {
        // Bytes for a socket that was closed are answered with a reset.
        link_.toward(other(reader_)).end_now(true);
        return end_now(true);
    }
    if (cut_armed_ && total_arrived_ + next.bytes >= cut_at_) {
        const std::size_t last =
            cut_at_ > total_arrived_ ? static_cast<std::size_t>(cut_at_ - total_arrived_) : 0;
        arrived_ += last;
        total_arrived_ += last;
        return cut_how_ == cut_kind::half ? link_.cut_half(*this) : link_.cut(cut_how_);
    }
    arrived_ += next.bytes;
    total_arrived_ += next.bytes;
}

void pipe::finish(bool with_reset) {
    if (finished_ || end_ != ending::none) return;
    finished_ = true;
    send(0, with_reset ? ending::reset : ending::eof);
}

void pipe::end_now(bool with_reset) {
    if (end_ == ending::reset || (end_ == ending::eof && !with_reset)) return;
    end_ = with_reset ? ending::reset : ending::eof;
    under_way_.clear();
    bytes_.resize(head_ + arrived_);
    timer_.stop();
    link_.changed(reader_);
    link_.changed(other(reader_));
}

void pipe::half_close() {
    half_closed_ = true;
    end_now(false);
}

void pipe::stall(time_point until) {
    stalled_until_ = std::max(stalled_until_, until);
    if (timer_.running()) timer_.at(std::max(under_way_.front().at, stalled_until_));
}

void pipe::cut_after(std::uint64_t bytes, cut_kind how) {
    cut_armed_ = true;
    cut_at_ = total_arrived_ + bytes;
    cut_how_ = how;
}

void pipe::stall_after(std::uint64_t bytes, duration how_long) {
    stall_armed_ = true;
    stall_at_ = total_arrived_ + bytes;
    stall_for_ = how_long;
}

// ---- sim_link

sim_link::sim_link(sim_environment& env, ready_list& ready, std::uint64_t id, const link_traits& traits)
    : env_(env),
      ready_(ready),
      id_(id),
      traits_(traits),
      to_opener_(*this, end_side::opener),
      to_acceptor_(*this, end_side::acceptor) {}

sim_link::~sim_link() { traffic_->toward = {to_opener_.total_arrived(), to_acceptor_.total_arrived()}; }

bool sim_link::alive() const noexcept {
    return !cut_ && !opening_ && ends_[0] != nullptr && ends_[1] != nullptr;
}

void sim_link::cut(cut_kind how) {
    if (cut_) return;
    cut_ = true;
    env_.note(0xc07 + id_);
    if (cut_note_) cut_note_();
    to_opener_.end_now(how == cut_kind::reset);
    to_acceptor_.end_now(how == cut_kind::reset);
    // What is written afterwards finds nobody.
    to_opener_.reader_left();
    to_acceptor_.reader_left();
}

void sim_link::cut_half(pipe& direction) {
    if (cut_) return;
    cut_ = true;
    env_.note(0x4a1f + id_);
    if (cut_note_) cut_note_();
    direction.half_close();
}

void sim_link::opened(int error) {
    opening_ = false;
    open_error_ = error;
    env_.note((id_ << 8) ^ static_cast<unsigned>(error));
    changed(end_side::opener);
}

void sim_link::changed(end_side whose) {
    sim_stream* end = ends_[static_cast<std::size_t>(whose)];
    if (end != nullptr && end->ready_bits() != 0) ready_.add(*end);
}

void sim_link::end_closed(end_side side) {
    ends_[static_cast<std::size_t>(side)] = nullptr;
    pipe& inbound = toward(side);
    inbound.reader_left();
    // Linux resets a connection that is closed with unread bytes in it.
    toward(other(side)).finish(inbound.readable() > 0);
    env_.note(0xc105e + id_);
    env_.progress();
}

// ---- sim_stream

// As the production streams: an accepted one starts armed for reading, one that connects for writing.
sim_stream::sim_stream(std::shared_ptr<sim_link> link, end_side side)
    : link_(std::move(link)),
      side_(side),
      armed_(side == end_side::opener ? pool::interest::write : pool::interest::read) {
    link_->ends_[static_cast<std::size_t>(side_)] = this;
}

sim_stream::~sim_stream() { close(); }

pool::io_result sim_stream::read_some(std::span<std::byte> into) noexcept {
    if (!open_) return {pool::io_status::error, 0, EBADF};
    if (link_->opening_) return {pool::io_status::would_block};
    if (link_->open_error_ != 0) return {pool::io_status::error, 0, link_->open_error_};
    return link_->toward(side_).read(into);
}

pool::io_result sim_stream::write_some(std::span<const iovec> pieces) noexcept {
    if (!open_) return {pool::io_status::error, 0, EBADF};
    if (link_->opening_) return {pool::io_status::would_block};
    if (link_->open_error_ != 0) return {pool::io_status::error, 0, link_->open_error_};
    pipe& out = link_->toward(other(side_));
    if (out.broken()) return {pool::io_status::error, 0, EPIPE};
    std::size_t moved = 0;
    for (const iovec& piece : pieces) {
        if (piece.iov_len == 0) continue;
        if (out.space() == 0) break;
        const std::size_t count = out.write({static_cast<const char*>(piece.iov_base), piece.iov_len});
        moved += count;
        if (count < piece.iov_len) break;
    }
    if (moved == 0) return {pool::io_status::would_block};
    return {pool::io_status::ok, moved};
}

void sim_stream::watch(pool::event_sink& sink, pool::readiness bits) noexcept {
    sink_ = &sink;
    bits_ = bits;
    if (ready_bits() != 0) link_->ready_.add(*this);
}

void sim_stream::arm(pool::interest what) noexcept {
    if (what == armed_) return;
    armed_ = what;
    told_broken_ = false;
    if (ready_bits() != 0) link_->ready_.add(*this);
}

pool::io_result sim_stream::connected() noexcept {
    if (!open_) return {pool::io_status::error, 0, EBADF};
    if (link_->opening_) return {pool::io_status::would_block};
    if (link_->open_error_ != 0) return {pool::io_status::error, 0, link_->open_error_};
    return {pool::io_status::ok};
}

void sim_stream::close() noexcept {
    if (!open_) return;
    open_ = false;
    link_->ready_.remove(*this);
    link_->end_closed(side_);
}

pool::event_mask sim_stream::ready_bits() const noexcept {
    if (!open_ || sink_ == nullptr || link_->opening_) return 0;
    const pipe& in = link_->toward(side_);
    const pipe& out = link_->toward(other(side_));
    // epoll reports errors whatever is armed.
    if (link_->open_error_ != 0 || in.broken() || out.broken()) {
        return told_broken_ ? 0 : bits_.on_readable | bits_.on_writable;
    }
    pool::event_mask bits = 0;
    if (wants(armed_, pool::interest::read) && (in.readable() > 0 || in.ended())) bits |= bits_.on_readable;
    if (wants(armed_, pool::interest::write) && out.space() > 0) bits |= bits_.on_writable;
    return bits;
}

// ---- ready_list

void ready_list::add(sim_stream& stream) {
    if (stream.listed_) return;
    stream.listed_ = true;
    waiting_.push_back(&stream);
}

void ready_list::remove(sim_stream& stream) noexcept {
    if (!stream.listed_) return;
    stream.listed_ = false;
    std::replace(waiting_.begin(), waiting_.end(), &stream, static_cast<sim_stream*>(nullptr));
    std::replace(batch_.begin(), batch_.end(), &stream, static_cast<sim_stream*>(nullptr));
}

bool ready_list::any_ready() const noexcept {
    return std::any_of(waiting_.begin(), waiting_.end(), [](const sim_stream* stream) {
        return stream != nullptr && stream->ready_bits() != 0;
    });
}

bool ready_list::dispatch() {
    if (waiting_.empty()) return false;
    batch_.swap(waiting_);
    if (shuffle_) {
        for (std::size_t left = batch_.size(); left > 1; --left) {
            std::swap(batch_[left - 1], batch_[env_.dice().below(left)]);
        }
    }
    bool any = false;
    // The readiness is taken at the start of the turn for each stream, but acted on one after the other: a
    // sink may close or change streams behind it in the batch, and a closed one must not be notified.
    for (std::size_t place = 0; place < batch_.size(); ++place) {
        sim_stream* stream = batch_[place];
        if (stream == nullptr) continue;
        const pool::event_mask bits = stream->ready_bits();
        if (bits == 0) continue;
        any = true;
        env_.note((stream->link_->id() << 4) ^ bits);
        stream->told_broken_ = stream->armed_ == pool::interest::none;
        stream->sink_->notify(bits);
    }
    // Level-triggered: whoever is still ready is notified again at the next turn.
    for (sim_stream* stream : batch_) {
        if (stream == nullptr) continue;
        stream->listed_ = false;
        if (stream->ready_bits() != 0) add(*stream);
    }
    batch_.clear();
    return any;
}

}  // namespace pgmend::sim
