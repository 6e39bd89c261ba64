#pragma once
// One simulated connection: two directions of bounded, delayed, breakable bytes, and the two streams at its
// ends. Behaves as a TCP socket under level-triggered epoll does; the faults are what networks do to such
// sockets. One thread.

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "pool/stream.hpp"
#include "tests/sim/sim_environment.hpp"

namespace pgmend::sim {

class sim_link;
class sim_stream;

/// How a connection behaves while nothing is wrong with it.
struct link_traits {
    duration latency{};          ///< one way
    duration jitter{};           ///< up to this much between the pieces of one write
    std::size_t buffer = 65536;  ///< bytes a direction holds until its reader takes them
    std::size_t fragment = 0;  ///< reads move, and arrivals bring, at most this many bytes; 0: no such limit
};

enum class end_side : std::uint8_t { opener = 0, acceptor = 1 };
inline end_side other(end_side side) {
    return side == end_side::opener ? end_side::acceptor : end_side::opener;
}

/// What one connection has carried, which outlives it: each place in it is one where it may break another
/// time.
struct link_traffic {
    std::array<std::uint64_t, 2> toward{};  ///< bytes that arrived at the opener and at the acceptor
};

enum class cut_kind : std::uint8_t {
    reset,    ///< both ends get ECONNRESET, bytes under way are gone
    orderly,  ///< both ends get EOF, as if the other one had closed
    half,     ///< the reader gets EOF and what is still written to it is lost; the other direction goes on
};

/// Streams that may be ready, in the order they became so: epoll's ready list.
class ready_list final : public readiness_source {
public:
    explicit ready_list(sim_environment& env) noexcept : env_(env) {}
    void add(sim_stream& stream);
    void remove(sim_stream& stream) noexcept;
    bool dispatch() override;
    bool any_ready() const noexcept override;
    /// Order the streams of one turn by dice instead of by arrival.
    void shuffle(bool on) noexcept { shuffle_ = on; }

private:
    sim_environment& env_;
    bool shuffle_ = false;
    std::vector<sim_stream*> waiting_;
    std::vector<sim_stream*> batch_;
};

/// One end of a link.
class sim_stream final : public pool::stream {
public:
    sim_stream(std::shared_ptr<sim_link> link, end_side side);
    ~sim_stream() override;

    pool::io_result read_some(std::span<std::byte> into) noexcept override;
    pool::io_result write_some(std::span<const iovec> pieces) noexcept override;
    void watch(pool::event_sink& sink, pool::readiness bits) noexcept override;
    void arm(pool::interest what) noexcept override;
    pool::io_result connected() noexcept override;
    void close() noexcept override;

    sim_link& link() noexcept { return *link_; }
    /// What would be notified now, given what is armed.
    pool::event_mask ready_bits() const noexcept;

private:
    friend class ready_list;
    friend class sim_link;

    std::shared_ptr<sim_link> link_;
    end_side side_;
    bool open_ = true;
    bool listed_ = false;
    pool::interest armed_;
    bool told_broken_ = false;  ///< while armed for nothing: a broken stream is reported once
    pool::event_sink* sink_ = nullptr;
    pool::readiness bits_;
};

/// Bytes of one direction. They are accepted from the writer, arrive later, and are then read.
class pipe {
public:
    pipe(sim_link& link, end_side reader);

    std::size_t space() const noexcept;
    std::size_t readable() const noexcept { return arrived_; }
    bool ended() const noexcept { return end_ != ending::none && arrived_ == 0; }
    bool broken() const noexcept { return end_ == ending::reset; }

    pool::io_result read(std::span<std::byte> into);
    std::size_t write(std::string_view bytes);
    /// The writer is done: EOF, or a reset, once everything before it has arrived.
    void finish(bool with_reset);
    /// Nothing more arrives; what is under way is gone.
    void end_now(bool with_reset);
    /// EOF, and whatever the writer goes on to write is lost.
    void half_close();
    void reader_left() noexcept { reader_gone_ = true; }

    void stall(time_point until);
    void slow_down(std::uint64_t bytes_per_second) noexcept { rate_ = bytes_per_second; }
    /// The link is cut when this many more bytes have arrived.
    void cut_after(std::uint64_t bytes, cut_kind how);
    /// Once this many more bytes have arrived, the next ones take so much longer.
    void stall_after(std::uint64_t bytes, duration how_long);
    std::uint64_t total_arrived() const noexcept { return total_arrived_; }

private:
    enum class ending : std::uint8_t { none, eof, reset };
    struct segment {
        time_point at;
        std::size_t bytes;  ///< 0: the end of the direction
        ending end;
    };
    void send(std::size_t bytes, ending end);
    void arrive();
    void take_segment(segment next);
    std::size_t limit_piece(std::size_t bytes);

    sim_link& link_;
    end_side reader_;
    std::string bytes_;
    std::size_t head_ = 0;     ///< first unread byte in bytes_
    std::size_t arrived_ = 0;  ///< readable bytes behind head_
    std::deque<segment> under_way_;
    ending end_ = ending::none;
    bool reader_gone_ = false;
    bool finished_ = false;
    time_point stalled_until_{};
    time_point last_arrival_{};
    std::uint64_t rate_ = 0;
    std::uint64_t total_arrived_ = 0;
    bool half_closed_ = false;
    bool cut_armed_ = false;
    std::uint64_t cut_at_ = 0;
    cut_kind cut_how_ = cut_kind::reset;
    bool stall_armed_ = false;
    std::uint64_t stall_at_ = 0;
    duration stall_for_{};
    world_timer timer_;
};

class sim_link {
public:
    sim_link(sim_environment& env, ready_list& ready, std::uint64_t id, const link_traits& traits);
    sim_link(const sim_link&) = delete;
    sim_link& operator=(const sim_link&) = delete;
    ~sim_link();

    /// Bytes that `reader` reads.
    pipe& toward(end_side reader) noexcept { return reader == end_side::opener ? to_opener_ : to_acceptor_; }
    void cut(cut_kind how);
    void cut_half(pipe& direction);
    bool was_cut() const noexcept { return cut_; }
    /// Called when it is cut.
    void when_cut(std::function<void()> note) { cut_note_ = std::move(note); }
    /// What it carries is written here when it is no more.
    const std::shared_ptr<link_traffic>& traffic() const noexcept { return traffic_; }
    /// Both ends are still held by somebody and nothing has cut it.
    bool alive() const noexcept;
    /// The end is not closed by whoever holds it.
    bool held(end_side side) const noexcept { return ends_[static_cast<std::size_t>(side)] != nullptr; }

    /// The opening succeeded or failed with an errno.
    void opened(int error);
    bool opening() const noexcept { return opening_; }
    int open_error() const noexcept { return open_error_; }

    std::uint64_t id() const noexcept { return id_; }
    const link_traits& traits() const noexcept { return traits_; }
    sim_environment& env() noexcept { return env_; }

private:
    friend class sim_stream;
    friend class pipe;
    void changed(end_side whose);
    void end_closed(end_side side);

    sim_environment& env_;
    ready_list& ready_;
    std::uint64_t id_;
    link_traits traits_;
    bool opening_ = true;
    bool cut_ = false;
    std::function<void()> cut_note_;
    std::shared_ptr<link_traffic> traffic_ = std::make_shared<link_traffic>();
    int open_error_ = 0;
    sim_stream* ends_[2] = {nullptr, nullptr};
    pipe to_opener_;
    pipe to_acceptor_;
};

}  // namespace pgmend::sim
