// What can go wrong between a socket, the kernel's request for it and the loop; with both engines, as all of
// it is promised of sockets. Real sockets.

#include "pool/ring_stream.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/engines.hpp"

using namespace pgmend::pool;
namespace config = pgmend::config;
namespace test = pgmend::test;

namespace {

constexpr event_mask readable = 1;
constexpr event_mask writable = 2;
constexpr event_mask broken = 4;

void run_until(event_loop& loop, const std::function<bool()>& done) {
    const auto end = config::steady_clock::now() + std::chrono::seconds{20};
    std::function<void()> look = [&] {
        if (done() || config::steady_clock::now() > end) {
            loop.post([&] { loop.stop(); });
        } else {
            loop.post(look);
        }
    };
    loop.post(look);
    loop.run();
    REQUIRE(done());
}

std::array<int, 2> unix_pair() {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    return ends;
}

std::array<int, 2> tcp_pair() {
    const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listening, raw, length) == 0);
    REQUIRE(::listen(listening, 1) == 0);
    REQUIRE(::getsockname(listening, raw, &length) == 0);
    const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(one, raw, length) == 0);
    const int other = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    REQUIRE(other >= 0);
    ::close(listening);
    return {other, one};
}

/// A stream, its other end, and a reader that takes what it is told of.
struct guest final : event_sink {
    std::unique_ptr<stream> io;
    int other;
    std::string heard;
    event_mask seen = 0;
    int times = 0;
    io_status end = io_status::ok;
    int error = 0;
    std::size_t most = 1000;  ///< bytes of one read; zero: it does not read

    guest(event_loop& loop, std::array<int, 2> ends) : other(ends[1]) {
        io = make_socket_stream(loop, ends[0], false);
        io->watch(*this, {readable, writable, broken});
    }
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    ~guest() {
        io.reset();
        if (other >= 0) ::close(other);
    }
    void notify(event_mask bits) noexcept override {
        seen |= bits;
        ++times;
        if ((bits & readable) == 0 || most == 0 || over()) return;
        read();
    }
    io_result read() {
        std::vector<std::byte> room(most);
        const io_result got = io->read_some(room);
        if (got.status == io_status::ok) {
            heard.append(reinterpret_cast<const char*>(room.data()), got.bytes);
        } else if (got.status != io_status::would_block) {
            end = got.status;
            error = got.error;
            io->arm(interest::none);
        }
        return got;
    }
    void say(std::string_view text) const {
        REQUIRE(::write(other, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    void hang_up() { ::close(std::exchange(other, -1)); }
    bool over() const { return end != io_status::ok; }
};

std::string numbered(std::size_t size) {
    std::string text;
    for (std::size_t i = 0; text.size() < size; ++i) {
        text += std::to_string(i) + ',';
    }
    text.resize(size);
    return text;
}

}  // namespace

TEST_CASE("ring stream: what is not read at once is told again, and comes before what follows") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, unix_pair()};
    one.most = 0;
    one.say("first,");
    run_until(loop, [&] { return one.times >= 3; });
    one.say("second,");
    run_until(loop, [&] { return one.times >= 6; });
    one.most = 4;
    one.say("third");
    run_until(loop, [&] { return one.heard.size() >= 18; });
    CHECK(one.heard == "first,second,third");
    CHECK(one.read().status == io_status::would_block);
}

TEST_CASE("ring stream: bytes that came for one sink are the next one's if it did not read them") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, unix_pair()};
    guest heir{loop, unix_pair()};
    one.most = 0;
    one.say("for whoever reads");
    run_until(loop, [&] { return one.times > 0; });
    std::swap(one.io, heir.io);
    heir.io->watch(heir, {readable, writable, broken});
    one.io->watch(one, {readable, writable, broken});
    run_until(loop, [&] { return heir.heard.size() >= 17; });
    CHECK(heir.heard == "for whoever reads");
}

TEST_CASE(
    "ring stream: while it is armed for nothing it is silent, and nothing is lost or told in another order"
) {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, unix_pair()};
    one.most = 0;
    one.say("a");
    run_until(loop, [&] { return one.times > 0; });
    one.io->arm(interest::none);
    one.say("b");
    const int told = one.times;
    int turns = 0;
    run_until(loop, [&] { return ++turns > 10; });
    CHECK(one.times == told);
    one.say("c");
    one.most = 1;
    one.io->arm(interest::read_write);
    run_until(loop, [&] { return one.heard.size() >= 2; });
    one.io->arm(interest::read);
    one.say("d");
    run_until(loop, [&] { return one.heard.size() >= 4; });
    CHECK(one.heard == "abcd");
}

TEST_CASE("ring stream: armed for nothing and for reading again before anything was submitted or stopped") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, unix_pair()};
    for (int round = 0; round < 20; ++round) {
        // Now and then with a turn in between: begun, on, stopping.
        one.io->arm(interest::none);
        if (round % 3 == 0) run_until(loop, [] { return true; });
        one.io->arm(interest::read);
        one.io->arm(interest::none);
        one.io->arm(interest::read);
        if (round % 4 == 0) run_until(loop, [] { return true; });
        one.say(std::to_string(round) + ",");
        one.io->arm(interest::write);
        one.io->arm(interest::read);
        const std::string last = std::to_string(round) + ",";
        run_until(loop, [&] { return one.heard.ends_with(last); });
    }
    CHECK(one.heard == "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,");
}

TEST_CASE("ring stream: an end comes behind the bytes before it") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    const bool tcp = GENERATE(false, true);
    guest one{loop, tcp ? tcp_pair() : unix_pair()};
    one.most = 3;
    one.say("last words");
    one.hang_up();
    run_until(loop, [&] { return one.over(); });
    CHECK(one.heard == "last words");
    CHECK(one.end == io_status::eof);
    CHECK(one.read().status == io_status::eof);
    // A Unix socket is gone in both directions then.
    if (!tcp) CHECK((one.seen & broken) != 0);
    if (tcp) CHECK((one.seen & broken) == 0);
}

TEST_CASE("ring stream: half an end leaves the other half") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, tcp_pair()};
    one.say("question");
    REQUIRE(::shutdown(one.other, SHUT_WR) == 0);
    run_until(loop, [&] { return one.over(); });
    CHECK(one.heard == "question");
    CHECK(one.end == io_status::eof);
    CHECK((one.seen & broken) == 0);
    std::string answer = "answer";
    const iovec piece{answer.data(), answer.size()};
    CHECK(one.io->write_some({&piece, 1}).bytes == 6);
    char got[10];
    REQUIRE(::read(one.other, got, sizeof got) == 6);
    // And then the other half ends too.
    one.hang_up();
    CHECK(one.io->write_some({&piece, 1}).status == io_status::ok);  // it is answered by a reset
    run_until(loop, [&] { return (one.seen & broken) != 0; });
}

TEST_CASE("ring stream: a reset is told as one, also when nobody reads") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    const interest armed = GENERATE(interest::read, interest::none, interest::read_write);
    guest one{loop, tcp_pair()};
    one.most = armed == interest::none ? 0 : 100;
    run_until(loop, [] { return true; });
    one.io->arm(armed);
    run_until(loop, [] { return true; });
    const linger hard{1, 0};
    REQUIRE(::setsockopt(one.other, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    one.hang_up();
    run_until(loop, [&] { return (one.seen & broken) != 0; });
    one.most = 100;
    if (armed == interest::none) CHECK(one.read().status == io_status::error);
    CHECK(one.end == io_status::error);
    CHECK(one.error == ECONNRESET);
}

TEST_CASE("ring stream: after a send that failed, what the other side said last is read at once") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    guest one{loop, unix_pair()};
    run_until(loop, [] { return true; });
    one.say("FATAL");
    one.hang_up();
    std::string text = "x";
    const iovec piece{text.data(), 1};
    CHECK(one.io->write_some({&piece, 1}).error == EPIPE);
    CHECK(one.read().status == io_status::ok);
    CHECK(one.heard == "FATAL");
    CHECK(one.read().status == io_status::eof);
}

TEST_CASE("ring stream: closed with a request in the kernel, the other side sees the end") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    const int turns = GENERATE(0, 1, 2);
    guest one{loop, unix_pair()};
    for (int i = 0; i < turns; ++i) {
        run_until(loop, [] { return true; });
    }
    if (turns == 2) one.say("unread");
    one.io->close();
    run_until(loop, [&] {
        char got;
        return ::read(one.other, &got, 1) == 0 || errno == ECONNRESET;
    });
    CHECK(one.times == 0);
}

TEST_CASE("ring stream: who takes the address of one that was closed gets its own bytes and no others") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    for (int round = 0; round < 600; ++round) {
        auto before = std::make_unique<guest>(loop, unix_pair());
        if (round % 2 == 0) run_until(loop, [] { return true; });
        before->say("old");
        if (round % 3 == 0) run_until(loop, [] { return true; });
        before.reset();
        guest after{loop, unix_pair()};
        after.say("new");
        run_until(loop, [&] { return after.heard.size() >= 3; });
        REQUIRE(after.heard == "new");
    }
}

TEST_CASE("ring stream: more sockets have bytes than there are blocks, and each gets its own") {
    event_loop loop;
    const auto engine = GENERATE(from_range(test::engines()));
    const std::size_t memory = GENERATE(std::size_t{128 * 1024}, std::size_t{1024 * 1024});
    test::use(loop, engine, memory);
    std::vector<std::unique_ptr<guest>> all;
    for (int i = 0; i < 400; ++i) {
        all.push_back(std::make_unique<guest>(loop, unix_pair()));
    }
    for (int round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i]->heard.clear();
            all[i]->say(std::to_string(i));
        }
        run_until(loop, [&] {
            return std::all_of(all.begin(), all.end(), [&](const auto& each) {
                return each->heard == std::to_string(&each - all.data());
            });
        });
    }
    if (engine == test::engine::io_uring) {
        // They grew as far as they may.
        CHECK(loop.ring()->blocks() == memory / receive_ring::block_bytes);
    }
}

TEST_CASE("ring stream: some that are not read take nothing from the others") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())), 128 * 1024);
    std::vector<std::unique_ptr<guest>> deaf;
    for (int i = 0; i < 40; ++i) {
        deaf.push_back(std::make_unique<guest>(loop, unix_pair()));
        deaf.back()->most = 0;
        deaf.back()->say(std::string(5000, 'x'));
    }
    guest one{loop, unix_pair()};
    for (int i = 0; i < 100; ++i) {
        one.say("x");
        run_until(loop, [&] { return one.heard.size() > static_cast<std::size_t>(i); });
    }
    for (const auto& each : deaf) {
        each->most = 3000;
    }
    run_until(loop, [&] {
        return std::all_of(deaf.begin(), deaf.end(), [](const auto& each) {
            return each->heard.size() == 5000;
        });
    });
}

TEST_CASE("ring stream: long streams come whole and in order, however they are read and paused") {
    const auto engine = GENERATE(from_range(test::engines()));
    const unsigned seed = GENERATE(range(1U, 13U));
    const bool tcp = seed % 2 == 0;
    std::mt19937 dice{seed};
    event_loop loop;
    test::use(loop, engine, seed % 3 == 0 ? 128 * 1024 : 1024 * 1024);
    guest one{loop, tcp ? tcp_pair() : unix_pair()};
    const std::string text = numbered(3'000'000);
    std::size_t said = 0;
    int pause = 0;
    run_until(loop, [&] {
        if (one.other >= 0) {
            // Small pieces and large ones, so that it goes from one way of receiving to the other and back.
            const std::size_t size = dice() % 4 == 0 ? 1 + dice() % 200'000 : 1 + dice() % 3000;
            const ssize_t sent =
                ::send(one.other, text.data() + said, std::min(size, text.size() - said), MSG_DONTWAIT);
            if (sent > 0) said += static_cast<std::size_t>(sent);
            if (said == text.size()) one.hang_up();
        }
        one.most = dice() % 3 == 0 ? 1 + dice() % 100 : 64 * 1024;
        if (pause > 0 && --pause == 0 && !one.over()) one.io->arm(interest::read);
        if (pause == 0 && !one.over() && dice() % 16 == 0) {
            pause = static_cast<int>(1 + dice() % 3);
            one.io->arm(dice() % 2 == 0 ? interest::none : interest::write);
        }
        return one.over();
    });
    CHECK(one.end == io_status::eof);
    CHECK(one.heard.size() == text.size());
    CHECK((one.heard == text));
}

TEST_CASE("ring stream: a sink that closes the others while it is told leaves nothing behind") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    std::vector<std::unique_ptr<guest>> all;
    for (int i = 0; i < 10; ++i) {
        all.push_back(std::make_unique<guest>(loop, unix_pair()));
        all.back()->most = 0;
    }
    const bool left_over = GENERATE(false, true);
    for (const auto& each : all) {
        each->say("x");
    }
    if (left_over) {
        run_until(loop, [&] {
            return std::all_of(all.begin(), all.end(), [](const auto& each) { return each->times > 0; });
        });
    }
    struct closer final : event_sink {
        std::vector<std::unique_ptr<guest>>& all;
        int times = 0;
        explicit closer(std::vector<std::unique_ptr<guest>>& of) : all(of) {}
        void notify(event_mask) noexcept override {
            ++times;
            for (const auto& each : all) {
                each->io->close();
            }
        }
    } sink{all};
    for (const auto& each : all) {
        each->io->watch(sink, {readable, writable, broken});
    }
    int turns = 0;
    run_until(loop, [&] { return sink.times > 0 && ++turns > 5; });
    CHECK(sink.times == 1);
}

namespace {

constexpr int kill_it = -1;

/// Forbids one system call from here on, as container engines do.
void forbid(long call, int error) {
    const unsigned verdict =
        error == kill_it ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | static_cast<unsigned>(error);
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, verdict),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{4, program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(101);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(102);
}

}  // namespace

TEST_CASE("relay engine: epoll where io_uring is forbidden, missing or only half there, and it says why") {
    struct ban {
        long call;
        int error;
        const char* word;
    };
    const ban each = GENERATE(
        ban{SYS_io_uring_setup, EPERM, "seccomp"}, ban{SYS_io_uring_setup, ENOSYS, "none"},
        ban{SYS_io_uring_setup, EINVAL, "6.1"}, ban{SYS_io_uring_register, EPERM, "io_uring_register"},
        ban{SYS_io_uring_enter, EPERM, "io_uring"}, ban{SYS_io_uring_setup, kill_it, "killed"},
        ban{SYS_io_uring_enter, kill_it, "killed"}
    );
    const auto wanted = GENERATE(config::relay_engine::automatic, config::relay_engine::io_uring);
    const pid_t child = ::fork();
    if (child == 0) {
        forbid(each.call, each.error);
        const engine_choice choice = choose_engine(wanted, 1 << 20);
        const bool said = choice.reason.find(each.word) != std::string::npos;
        ::_exit(choice.ring ? 1 : said ? 0 : 2);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(choose_engine(config::relay_engine::epoll, 1 << 20).reason == "relay.engine");
}
