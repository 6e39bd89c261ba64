#include "pool/tls_handshake.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "pool/event_loop.hpp"
#include "pool/handshake_helper.hpp"
#include "pool/tls_stream.hpp"
#include "tests/unit/pool/memory_stream.hpp"
#include "tests/unit/pool/test_certificates.hpp"

using namespace pgmend::pool;
using namespace pgmend::test;

namespace {

struct contexts {
    std::shared_ptr<const tls_context> server, strict_server, client, known_client;

    contexts() {
        const temporary_folder folder;
        const certificate authority("authority", "", nullptr);
        authority.save(folder.file("ca.crt"), folder.file("ca.key"));
        tls_files files{folder.file("server.crt"), folder.file("server.key"), ""};
        certificate("db.test", "DNS:db.test", &authority).save(files.cert, files.key);
        server = tls_context::towards_clients(files, tls_mode::require);
        files.ca = folder.file("ca.crt");
        strict_server = tls_context::towards_clients(files, tls_mode::verify_full);
        client = tls_context::towards_servers({}, tls_mode::require);
        const tls_files shown{folder.file("client.crt"), folder.file("client.key"), ""};
        certificate("app", "", &authority).save(shown.cert, shown.key);
        known_client = tls_context::towards_servers(shown, tls_mode::require);
    }
};

const contexts& made() {
    static const contexts all;
    return all;
}

/// Keeps steps until it is told to do them, or has no time for any.
struct slow_desk final : handshake_desk {
    std::deque<std::shared_ptr<handshake_step>> steps;
    std::size_t taken = 0;
    bool full = false;
    bool take(std::shared_ptr<handshake_step> step) noexcept override {
        if (full) {
            step->run();
            return false;
        }
        ++taken;
        steps.push_back(std::move(step));
        return true;
    }
    void work() {
        while (!steps.empty()) {
            const auto step = std::move(steps.front());
            steps.pop_front();
            step->run();
            step->give_back();
        }
    }
};

struct counting_sink final : event_sink {
    std::size_t told = 0;
    void notify(event_mask) noexcept override { ++told; }
};

struct pair {
    std::shared_ptr<memory_pipe> up = std::make_shared<memory_pipe>(), down = std::make_shared<memory_pipe>();
    slow_desk desk;
    counting_sink server_sink, client_sink;
    memory_stream* server_below;
    memory_stream* client_below;
    std::unique_ptr<tls_stream> server, client;

    explicit pair(
        const std::shared_ptr<const tls_context>& server_context = made().server,
        const std::shared_ptr<const tls_context>& client_context = made().client
    ) {
        auto server_plain = std::make_unique<memory_stream>(up, down);
        auto client_plain = std::make_unique<memory_stream>(down, up);
        server_below = server_plain.get();
        client_below = client_plain.get();
        server = std::make_unique<tls_stream>(std::move(server_plain), server_context);
        client = std::make_unique<tls_stream>(std::move(client_plain), client_context, "db.test");
        server->hand_over_to(&desk);
        server->watch(server_sink, {1, 2});
        client->watch(client_sink, {1, 2});
        server->arm(interest::read);
        client->arm(interest::read);
    }
    /// Woken as a session is: the server asks only when it was told to.
    io_status shake_hands(const std::string& behind = {}) {
        io_status ours = io_status::would_block, theirs = server->handshake().status;
        for (int turn = 0; turn < 200'000 && theirs == io_status::would_block; ++turn) {
            if (ours == io_status::would_block) {
                ours = client->handshake().status;
                if (ours == io_status::ok && !behind.empty()) say(*client, behind);
            }
            server_below->deliver();
            client_below->deliver();
            desk.work();
            if (std::exchange(server_sink.told, 0) != 0) theirs = server->handshake().status;
        }
        return theirs;
    }
    static void say(tls_stream& to, std::string_view text) {
        const iovec one[] = {{const_cast<char*>(text.data()), text.size()}};
        CHECK(to.write_some(one).bytes == text.size());
    }
    static std::string hear(tls_stream& from) {
        std::array<std::byte, 1000> block;
        const io_result got = from.read_some(block);
        return {reinterpret_cast<const char*>(block.data()), got.status == io_status::ok ? got.bytes : 0};
    }
};

}  // namespace

TEST_CASE("tls_handshake: done elsewhere it comes out the same, at every size of fragment", "[pool]") {
    for (const std::size_t step : std::initializer_list<std::size_t>{1, 7, 100, 1000, 100'000}) {
        INFO("bytes at once: " << step);
        pair both(made().strict_server, made().known_client);
        both.up->step = both.down->step = step;
        REQUIRE(both.shake_hands() == io_status::ok);
        CHECK(both.desk.taken >= 2);
        CHECK(both.server->version() == "TLSv1.3");
        CHECK(both.server->peer()->common_name == "app");
        both.up->step = both.down->step = 100'000;
        while (both.client->handshake().status == io_status::would_block)
            both.client_below->deliver();
        pair::say(*both.client, "question");
        CHECK(pair::hear(*both.server) == "question");
        pair::say(*both.server, "answer");
        CHECK(pair::hear(*both.client) == "answer");
    }
}

TEST_CASE("tls_handshake: what comes together with its end is not left lying", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands("startup") == io_status::ok);
    // As much as a step gets to see was taken from the stream below: no readiness will tell of it.
    if (both.up->bytes.empty()) CHECK(both.server->buffered() != 0);
    CHECK(pair::hear(*both.server) == "startup");
    CHECK(both.server->buffered() == 0);
}

TEST_CASE("tls_handshake: much that comes behind its end arrives whole", "[pool]") {
    pair both(made().strict_server, made().known_client);
    both.client->handshake();
    both.server->handshake();
    both.desk.work();
    REQUIRE(both.client->handshake().status == io_status::ok);
    const std::string text(30'000, 'x');
    pair::say(*both.client, text);
    both.up->step = 900;
    both.server->handshake();
    both.desk.work();
    both.up->step = 100'000;
    both.server->handshake();
    both.desk.work();
    REQUIRE(both.server->handshake().status == io_status::ok);
    CHECK(both.up->bytes.size() > 10'000);
    std::string heard;
    while (both.server->buffered() != 0 || !both.up->bytes.empty()) {
        const std::string part = pair::hear(*both.server);
        if (part.empty() && both.server->buffered() == 0 && both.up->bytes.empty()) break;
        REQUIRE(both.server->failure().empty());
        heard += part;
    }
    CHECK(heard == text);
}

TEST_CASE("tls_handshake: nothing is read while a step is under way", "[pool]") {
    pair both;
    CHECK(both.server->handshake().status == io_status::would_block);
    CHECK(both.desk.taken == 0);
    CHECK(both.client->handshake().status == io_status::would_block);
    CHECK(both.server->handshake().status == io_status::would_block);
    REQUIRE(both.desk.taken == 1);
    const std::byte more[] = {std::byte{22}, std::byte{3}};
    both.up->bytes.assign(std::begin(more), std::end(more));
    both.server_below->deliver();
    CHECK(both.server->handshake().status == io_status::would_block);
    both.server_below->deliver();
    CHECK(both.server_sink.told == 0);
    CHECK(both.up->bytes.size() == 2);
    both.desk.work();
    both.server_below->deliver();
    CHECK(both.server_sink.told == 1);
}

TEST_CASE(
    "tls_handshake: a stream that closes meanwhile has nothing to do with its step any more", "[pool]"
) {
    pair both;
    both.client->handshake();
    both.server->handshake();
    REQUIRE(both.desk.steps.size() == 1);
    SECTION("closed") {
        both.server->close();
        both.server_sink.told = 0;
        both.desk.work();
        CHECK(both.server_sink.told == 0);
        CHECK(both.server->failure() == "closed");
        CHECK(both.down->bytes.empty());
    }
    SECTION("gone") {
        both.server.reset();
        both.desk.work();
    }
    SECTION("the work was done but not given back") {
        both.desk.steps.front()->run();
        both.server.reset();
        both.desk.steps.front()->give_back();
    }
    CHECK(both.desk.steps.size() <= 1);
}

TEST_CASE("tls_handshake: failures have the same words as without a desk", "[pool]") {
    SECTION("no TLS") {
        pair both;
        both.up->bytes.assign(200, std::byte{0});
        both.server_below->deliver();
        CHECK(both.shake_hands() == io_status::error);
        CHECK(both.server->failure() == "wrong version number");
    }
    SECTION("no certificate; the client is told why by an alert") {
        pair both(made().strict_server, made().client);
        CHECK(both.shake_hands() == io_status::error);
        CHECK(both.server->failure() == "peer did not return a certificate");
        CHECK(pair::hear(*both.client).empty());
        CHECK(both.client->failure() == "tlsv13 alert certificate required");
    }
    SECTION("the client gives up before a word") {
        pair both;
        both.client->close();
        CHECK(both.server->handshake().status == io_status::error);
        CHECK(both.server->failure() == "the connection ended without TLS saying so");
    }
    SECTION("the client leaves half way") {
        pair both;
        both.client->handshake();
        both.up->bytes.resize(100);
        both.up->ended = true;
        CHECK(both.server->handshake().status == io_status::would_block);
        both.desk.work();
        CHECK(both.server->handshake().status == io_status::error);
        CHECK(both.server->failure() == "the connection ended without TLS saying so");
    }
}

TEST_CASE("tls_handshake: where the desk has no time the stream does it itself", "[pool]") {
    pair both;
    both.desk.full = true;
    REQUIRE(both.shake_hands("startup") == io_status::ok);
    CHECK(both.desk.taken == 0);
    CHECK(pair::hear(*both.server) == "startup");
}

TEST_CASE("time_share: a part of the time, and a little at once", "[pool]") {
    using std::chrono::microseconds, std::chrono::milliseconds;
    time_share share(200, microseconds(500));
    pgmend::config::time_point now{std::chrono::hours(1)};
    for (const auto pause : {milliseconds(0), milliseconds(100), milliseconds(3'600'000)}) {
        INFO("ms of pause: " << pause.count());
        now += pause;
        std::size_t done = 0;
        for (; share.has_room(now); ++done)
            share.took(microseconds(300));
        CHECK(done == 2);
    }
    std::size_t done = 0;
    for (int ms = 0; ms < 60'000; ++ms) {
        now += milliseconds(1);
        if (!share.has_room(now)) continue;
        share.took(microseconds(300));
        ++done;
    }
    CHECK(done >= 998);
    CHECK(done <= 1002);
}

TEST_CASE("handshake_helper: a crowd gets through, and all is told on the loop's own thread", "[pool]") {
    event_loop loop;
    handshake_helper helper(loop);
    struct thread_sink final : event_sink {
        std::thread::id own = std::this_thread::get_id();
        std::size_t told = 0, told_elsewhere = 0;
        void notify(event_mask) noexcept override {
            ++told;
            told_elsewhere += std::this_thread::get_id() == own ? 0 : 1;
        }
    };
    std::deque<pair> crowd(12);
    thread_sink sink;
    for (pair& each : crowd) {
        each.server->hand_over_to(&helper);
        each.server->watch(sink, {1, 2});
    }
    std::function<void()> turn = [&] {
        std::size_t done = 0;
        for (pair& each : crowd) {
            each.client->handshake();
            done += each.server->handshake().status == io_status::ok ? 1 : 0;
        }
        if (done == crowd.size()) return loop.stop();
        loop.post(turn);
    };
    loop.post(turn);
    loop.run();
    // This thread does the first steps itself, but not all of so many.
    CHECK(sink.told > 0);
    CHECK(sink.told_elsewhere == 0);
}

TEST_CASE("handshake_helper: its end waits for nobody", "[pool]") {
    event_loop loop;
    std::deque<pair> crowd(20);
    {
        handshake_helper helper(loop);
        for (pair& each : crowd) {
            each.server->hand_over_to(&helper);
            each.client->handshake();
            CHECK(each.server->handshake().status == io_status::would_block);
        }
    }
    for (pair& each : crowd)
        CHECK(each.server->handshake().status == io_status::would_block);
}
