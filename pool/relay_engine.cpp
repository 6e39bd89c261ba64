#include "pool/relay_engine.hpp"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <string_view>
#include <system_error>

#include "pool/event_loop.hpp"
#include "pool/ring_stream.hpp"

namespace pgmend::pool {

namespace {

constexpr config::duration trial_time = std::chrono::seconds{2};

/// Reads until the end, and stops its loop there.
struct trial_reader final : event_sink {
    event_loop& loop;
    stream* from = nullptr;
    std::string text;
    bool ended = false;

    explicit trial_reader(event_loop& on) noexcept : loop(on) {}
    void notify(event_mask) noexcept override {
        std::array<std::byte, 64> room;
        const io_result got = from->read_some(room);
        if (got.status == io_status::would_block) return;
        if (got.status == io_status::ok) {
            text.append(reinterpret_cast<const char*>(room.data()), got.bytes);
            return;
        }
        ended = got.status == io_status::eof;
        loop.stop();
    }
};

struct trial_end final : config::timer_node {
    explicit trial_end(event_loop& on) noexcept : loop(on) {
        fire = [](config::timer_node& node) noexcept { static_cast<trial_end&>(node).loop.stop(); };
    }
    event_loop& loop;
};

/// Some filters of system calls kill who asks instead of saying no: somebody else asks first. Empty when it
/// has lived through it, whatever it was answered.
std::string ask_first() {
    const pid_t child = ::fork();
    if (child < 0) return "fork: " + std::generic_category().message(errno);
    if (child == 0) {
        // Nothing but system calls: the other threads' locks are as they were.
        ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        io_uring_params wanted{};
        const long ring = ::syscall(SYS_io_uring_setup, 1, &wanted);
        ::syscall(SYS_io_uring_register, ring, IORING_REGISTER_PROBE, nullptr, 0);
        ::syscall(SYS_io_uring_enter, ring, 0, 0, 0, nullptr, 0);
        ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? "who asks for it is killed (seccomp)" : std::string();
}

/// Empty when all went well.
std::string try_ring(std::size_t ring_bytes) {
    constexpr std::string_view word = "trial";
    event_loop loop;
    if (std::string why = loop.use_ring(ring_bytes); !why.empty()) return why;
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return "socketpair: " + std::generic_category().message(errno);
    ring_stream stream{loop, ends[0], false};
    trial_reader reader{loop};
    reader.from = &stream;
    stream.watch(reader, {1, 0, 0});
    trial_end end{loop};
    loop.schedule(end, loop.now() + trial_time);
    const bool said = ::write(ends[1], word.data(), word.size()) == static_cast<ssize_t>(word.size());
    ::close(ends[1]);
    loop.run();
    loop.cancel(end);
    const bool through_ring = !stream.refused_by_ring();
    stream.close();
    if (!said || reader.text != word || !reader.ended) return "it did not receive what was sent";
    if (!through_ring) return "it has no multishot receive";
    return {};
}

}  // namespace

engine_choice choose_engine(config::relay_engine wanted, std::size_t ring_bytes) {
    if (wanted == config::relay_engine::epoll) return {false, "relay.engine"};
    try {
        std::string why = ask_first();
        if (why.empty()) why = try_ring(ring_bytes);
        if (!why.empty()) return {false, "io_uring does not work here: " + why};
    } catch (const std::exception& error) {
        return {false, std::string("io_uring does not work here: ") + error.what()};
    }
    return {true, wanted == config::relay_engine::io_uring ? "relay.engine" : "it works here"};
}

}  // namespace pgmend::pool
