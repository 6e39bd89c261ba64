#include "pool/socket_stream.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/engines.hpp"

using namespace pgmend::pool;
namespace config = pgmend::config;
namespace test = pgmend::test;

namespace {

constexpr event_mask readable = 1;
constexpr event_mask writable = 2;

/// Runs the loop until `done`, at most for a while.
void run_until(event_loop& loop, const std::function<bool()>& done) {
    const auto end = config::steady_clock::now() + std::chrono::seconds{10};
    // Posted work runs once a turn; it posts itself again until the time has come.
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

struct recording_sink final : event_sink {
    event_mask seen = 0;
    int times = 0;
    std::function<void()> then;
    void notify(event_mask bits) noexcept override {
        seen |= bits;
        ++times;
        if (then) then();
    }
};

struct pair {
    event_loop loop;
    int other = -1;
    std::unique_ptr<pgmend::pool::stream> stream;
    recording_sink sink;

    explicit pair(test::engine engine = GENERATE(from_range(test::engines()))) {
        test::use(loop, engine);
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
        other = ends[1];
        stream = make_socket_stream(loop, ends[0], false);
        stream->watch(sink, {readable, writable});
    }
    ~pair() {
        stream.reset();
        if (other >= 0) ::close(other);
    }
    void say(std::string_view text) const {
        REQUIRE(::write(other, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    }
    /// What comes within a while; as much as `size` or until the end.
    std::string hear(std::size_t size) {
        std::string text;
        run_until(loop, [&] {
            std::byte room[100];
            const io_result got = stream->read_some(room);
            if (got.status == io_status::ok) text.append(reinterpret_cast<const char*>(room), got.bytes);
            return text.size() >= size || got.status == io_status::eof || got.status == io_status::error;
        });
        return text;
    }
    void hang_up() { ::close(std::exchange(other, -1)); }
};

std::string read_text(stream& from) {
    std::byte room[100];
    const io_result result = from.read_some(room);
    if (result.status != io_status::ok) return {};
    return std::string(reinterpret_cast<const char*>(room), result.bytes);
}

/// A listening TCP socket on the loopback and its port.
struct listening {
    int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    std::uint16_t port = 0;
    listening() {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(descriptor, 8) == 0);
        socklen_t length = sizeof address;
        REQUIRE(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0);
        port = ntohs(address.sin_port);
    }
    ~listening() { ::close(descriptor); }
};

struct literal_book final : address_book {
    std::vector<socket_address> lookup(const endpoint& to) override { return literal_addresses(to); }
};

}  // namespace

TEST_CASE("socket stream: pieces leave in order, copied together or not") {
    const std::vector<std::vector<std::size_t>> flights{
        {3}, {3, 4}, {3, 1021}, {3, 1022}, {1024, 1}, {1, 1024}, {1, 0, 2}, {500, 500, 500}, {4000, 9}};
    const auto engine = GENERATE(from_range(test::engines()));
    for (const auto& sizes : flights) {
        pair p{engine};
        std::string whole;
        std::vector<std::string> pieces;
        for (const std::size_t size : sizes) {
            pieces.emplace_back(size, static_cast<char>('a' + pieces.size()));
            whole += pieces.back();
        }
        std::vector<iovec> list;
        for (std::string& piece : pieces) {
            list.push_back({piece.data(), piece.size()});
        }
        const io_result sent = p.stream->write_some(list);
        REQUIRE(sent.status == io_status::ok);
        CHECK(sent.bytes == whole.size());
        std::string got(whole.size() + 1, '\0');
        REQUIRE(::read(p.other, got.data(), got.size()) == static_cast<ssize_t>(whole.size()));
        got.pop_back();
        CHECK(got == whole);
    }
}

TEST_CASE("socket stream: bytes go both ways and nothing to read is no error") {
    pair p;
    CHECK(p.stream->connected().status == io_status::ok);
    std::byte room[10];
    CHECK(p.stream->read_some(room).status == io_status::would_block);
    p.say("hello");
    CHECK(p.hear(5) == "hello");
    const std::string one = "ab";
    const std::string two = "cde";
    const iovec pieces[]{{const_cast<char*>(one.data()), 2}, {const_cast<char*>(two.data()), 3}};
    const io_result sent = p.stream->write_some(pieces);
    CHECK(sent.status == io_status::ok);
    CHECK(sent.bytes == 5);
    char got[10];
    REQUIRE(::read(p.other, got, sizeof got) == 5);
    CHECK(std::string(got, 5) == "abcde");
    p.hang_up();
    CHECK(p.hear(1).empty());
    CHECK(p.stream->read_some(room).status == io_status::eof);
}

TEST_CASE("socket stream: writing to nobody is an error and no signal") {
    pair p;
    p.hang_up();
    const std::string text = "x";
    const iovec piece{const_cast<char*>(text.data()), 1};
    const io_result result = p.stream->write_some({&piece, 1});
    CHECK(result.status == io_status::error);
    CHECK(result.error == EPIPE);
    const iovec two[]{piece, piece};
    CHECK(p.stream->write_some(two).status == io_status::error);
}

TEST_CASE("socket stream: what the other side does not take blocks, and room is reported") {
    pair p;
    const std::string much(1'000'000, 'x');
    const iovec piece{const_cast<char*>(much.data()), much.size()};
    std::size_t sent = 0;
    for (;;) {
        const io_result result = p.stream->write_some({&piece, 1});
        if (result.status == io_status::would_block) break;
        REQUIRE(result.status == io_status::ok);
        sent += result.bytes;
    }
    p.stream->arm(interest::write);
    std::vector<char> room(sent);
    std::size_t got = 0;
    while (got < sent) {
        const ssize_t part = ::read(p.other, room.data(), room.size());
        REQUIRE(part > 0);
        got += static_cast<std::size_t>(part);
    }
    run_until(p.loop, [&] { return (p.sink.seen & writable) != 0; });
    CHECK((p.sink.seen & readable) == 0);
}

TEST_CASE("socket stream: it reports what it is armed for, as long as it holds, and nothing else") {
    pair p;
    p.say("x");
    run_until(p.loop, [&] { return p.sink.times >= 3; });  // level-triggered: again and again
    CHECK(p.sink.seen == readable);
}

TEST_CASE("socket stream: armed for nothing it is silent until it is armed again") {
    pair p;
    p.stream->arm(interest::none);
    p.say("x");
    int turns = 0;
    bool was_silent = false;
    run_until(p.loop, [&] {
        if (++turns == 5) {
            was_silent = p.sink.times == 0;
            p.stream->arm(interest::read);
        }
        return p.sink.times > 0;
    });
    CHECK(was_silent);
    CHECK(read_text(*p.stream) == "x");
}

TEST_CASE("socket stream: a hang-up is reported as readable, also while paused, and does not spin") {
    pair p;
    p.stream->arm(interest::none);
    p.hang_up();
    int turns = 0;
    run_until(p.loop, [&] { return ++turns >= 20; });
    CHECK((p.sink.seen & readable) != 0);
    CHECK(p.sink.times == 1);
    // Armed again, it is met by reading.
    p.stream->arm(interest::read);
    std::byte room[1];
    CHECK(p.stream->read_some(room).status == io_status::eof);
}

TEST_CASE("socket stream: with nobody to tell, what arrives does not spin the loop") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    const auto io = make_socket_stream(loop, ends[0], false);
    stream& stream = *io;
    REQUIRE(::write(ends[1], "x", 1) == 1);
    struct : config::timer_node {
        event_loop* loop = nullptr;
    } end;
    end.loop = &loop;
    end.fire = [](config::timer_node& node) noexcept { static_cast<decltype(end)&>(node).loop->stop(); };
    loop.schedule(end, loop.now() + std::chrono::milliseconds{30});
    loop.run();
    CHECK(loop.turns() < 10);
    CHECK(read_text(stream) == "x");
    ::close(ends[1]);
}

TEST_CASE("socket stream: closed inside its own notification, and closed twice, nothing more is said") {
    pair p;
    p.say("x");
    p.sink.then = [&] {
        read_text(*p.stream);
        p.stream->close();
    };
    int turns = 0;
    run_until(p.loop, [&] { return ++turns >= 10; });
    CHECK(p.sink.times == 1);
    p.stream->close();
    std::byte room[1];
    CHECK(p.stream->read_some(room).status == io_status::error);
    CHECK(p.stream->connected().status == io_status::error);
    char got;
    CHECK(::read(p.other, &got, 1) == 0);
}

TEST_CASE("socket network: a connect succeeds in its own time") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    literal_book book;
    socket_network net{loop, book, {}};
    const listening server;
    const auto io = net.connect({"127.0.0.1", server.port});
    recording_sink sink;
    io->watch(sink, {readable, writable});
    io->arm(interest::write);
    run_until(loop, [&] { return io->connected().status != io_status::would_block; });
    CHECK(io->connected().status == io_status::ok);
    CHECK(io->connected().status == io_status::ok);
}

TEST_CASE(
    "socket network: a cancel goes to the address its connection has reached, whatever else the name means"
) {
    struct two_servers final : address_book {
        std::vector<socket_address> lookup(const endpoint& /*to*/) override {
            auto both = literal_addresses({"127.0.0.1", first.port});
            both.push_back(literal_addresses({"127.0.0.1", second.port}).front());
            return both;
        }
        const listening first, second;
    } book;
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    socket_network net{loop, book, {}};
    const endpoint name{"two.example", 5432};
    const auto port_of = [](const stream& io) {
        sockaddr_in peer{};
        socklen_t length = sizeof peer;
        ::getpeername(io.descriptor(), reinterpret_cast<sockaddr*>(&peer), &length);
        return ntohs(peer.sin_port);
    };
    const auto ready = [&](const std::unique_ptr<stream>& io) {
        recording_sink sink;
        io->watch(sink, {readable, writable});
        io->arm(interest::write);
        run_until(loop, [&] { return io->connected().status == io_status::ok; });
        io->arm(interest::none);
        return port_of(*io);
    };
    for (const std::uint16_t wanted : {book.first.port, book.first.port}) {
        const std::unique_ptr<stream> io = net.connect(name);
        CHECK(ready(io) == wanted);
        const std::unique_ptr<stream> cancel = net.connect_beside(*io, name);
        CHECK(ready(cancel) == wanted);
        io->close();
        const std::unique_ptr<stream> other = net.connect_beside(*io, name);
        CHECK(ready(other) != wanted);
    }
}

TEST_CASE("socket network: a refused connect says so, once and for good") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    literal_book book;
    socket_network net{loop, book, {}};
    std::uint16_t port;
    {
        const listening gone;
        port = gone.port;
    }
    const auto io = net.connect({"127.0.0.1", port});
    recording_sink sink;
    io->watch(sink, {readable, writable});
    io->arm(interest::write);
    run_until(loop, [&] { return io->connected().status != io_status::would_block; });
    const io_result outcome = io->connected();
    CHECK(outcome.status == io_status::error);
    CHECK(outcome.error == ECONNREFUSED);
    CHECK(io->connected().error == ECONNREFUSED);
}

TEST_CASE("socket network: what cannot be begun is a stream that has failed, and its watcher is told") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    literal_book book;
    socket_network net{loop, book, {}};
    for (const endpoint& to :
         {endpoint{"no.such.name", 5432}, endpoint{"/no/such/folder", 5432},
          endpoint{"/" + std::string(200, 'x'), 5432}}) {
        const auto io = net.connect(to);
        REQUIRE(io != nullptr);
        recording_sink sink;
        io->watch(sink, {readable, writable});
        CHECK(sink.seen == (readable | writable));
        CHECK(io->connected().status == io_status::error);
        CHECK(io->connected().error != 0);
        std::byte room[1];
        CHECK(io->read_some(room).status == io_status::error);
        io->arm(interest::read);
        io->close();
    }
}

TEST_CASE("addresses: literals are known at once, names are not") {
    CHECK(literal_addresses({"127.0.0.1", 5432}).size() == 1);
    CHECK(literal_addresses({"::1", 5432}).size() == 1);
    CHECK(literal_addresses({"localhost", 5432}).empty());
    CHECK(literal_addresses({"", 5432}).empty());
    const auto folder = literal_addresses({"/run/postgresql", 6543});
    REQUIRE(folder.size() == 1);
    const std::string raw(reinterpret_cast<const char*>(folder[0].bytes.data()), folder[0].bytes.size());
    CHECK(raw.find("/run/postgresql/.s.PGSQL.6543") == 2);
    const auto abstract = literal_addresses({"@name", 6543});
    REQUIRE(abstract.size() == 1);
    const std::string hidden(
        reinterpret_cast<const char*>(abstract[0].bytes.data()), abstract[0].bytes.size()
    );
    CHECK(hidden.substr(2) == std::string("\0name/.s.PGSQL.6543", 19));
    CHECK(literal_addresses({"/" + std::string(200, 'x'), 5432}).empty());
}

TEST_CASE("endpoint: written as people write it") {
    CHECK(endpoint{"db", 5432}.to_string() == "db:5432");
    CHECK(endpoint{"::1", 5432}.to_string() == "[::1]:5432");
    CHECK(endpoint{"/run", 5432}.to_string() == "/run/.s.PGSQL.5432");
    CHECK(endpoint{"/run", 1}.is_unix_socket());
    CHECK(endpoint{"@x", 1}.is_unix_socket());
    CHECK_FALSE(endpoint{"run", 1}.is_unix_socket());
}
