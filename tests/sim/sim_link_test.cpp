// The simulated network behaves as sockets under level-triggered epoll do.

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "tests/sim/sim_network.hpp"

using namespace pgmend;
using namespace pgmend::sim;
using namespace std::chrono_literals;

namespace {

/// Counts notifications, and reads what there is when told to.
struct watcher final : pool::event_sink {
    void notify(pool::event_mask bits) noexcept override {
        ++times;
        seen |= bits;
        if (stream != nullptr && reads) {
            std::byte block[64];
            const auto result = stream->read_some(block);
            last = result;
            if (result.status == pool::io_status::ok) {
                text.append(reinterpret_cast<const char*>(block), result.bytes);
            } else {
                stream->arm(pool::interest::none);
            }
        }
    }
    int times = 0;
    pool::event_mask seen = 0;
    bool reads = true;
    pool::stream* stream = nullptr;
    pool::io_result last{pool::io_status::would_block};
    std::string text;
};

struct pair_of_streams {
    explicit pair_of_streams(link_traits traits = {50us, 0us, 1024, 0}) : network(env) {
        network.listen(where, link_group::server, traits, [this](auto stream) {
            server = std::move(stream);
        });
        client = network.connect(where);
        settle();
    }
    void settle(duration time = 10ms) {
        env.run([] { return false; }, env.now() + time);
    }
    std::size_t send(pool::stream& from, std::string text) {
        const iovec piece{text.data(), text.size()};
        return from.write_some({&piece, 1}).bytes;
    }
    void watch(pool::stream& stream, watcher& by, pool::interest what) {
        by.stream = &stream;
        stream.watch(by, {1, 2});
        stream.arm(what);
    }
    sim_link& link() { return static_cast<sim_stream&>(*client).link(); }

    pool::endpoint where{"db", 5432};
    sim_environment env{1};
    sim_network network;
    std::unique_ptr<pool::stream> server;
    std::unique_ptr<pool::stream> client;
};

}  // namespace

TEST_CASE("sim_link: bytes arrive after the latency, not before", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    REQUIRE(pair.send(*pair.client, "hello") == 5);
    pair.settle(40us);
    CHECK(reader.times == 0);
    pair.settle(20us);
    CHECK(reader.text == "hello");
}

TEST_CASE("sim_link: readiness is reported as long as it holds", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    reader.reads = false;
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.send(*pair.client, "x");
    pair.settle(100us);
    CHECK(reader.times > 10);
    CHECK(reader.seen == 1);
}

TEST_CASE("sim_link: a full buffer takes no more and is writable again when its reader took some", "[sim]") {
    pair_of_streams pair;
    watcher writer;
    CHECK(pair.send(*pair.client, std::string(2000, 'x')) == 1024);
    pair.settle();
    pair.watch(*pair.client, writer, pool::interest::write);
    pair.settle(100us);
    CHECK(writer.times == 0);
    std::byte block[10];
    CHECK(pair.server->read_some(block).bytes == 10);
    pair.settle(10us);
    CHECK(writer.times > 0);
    CHECK(pair.send(*pair.client, std::string(2000, 'x')) == 10);
}

TEST_CASE("sim_link: an orderly close lets the bytes before it be read", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.send(*pair.client, "last words");
    pair.client.reset();
    pair.settle();
    CHECK(reader.text == "last words");
    CHECK(reader.last.status == pool::io_status::eof);
}

TEST_CASE("sim_link: closing with unread bytes resets the connection", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.send(*pair.server, "never read");
    pair.settle();
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.client.reset();
    pair.settle();
    CHECK(reader.last.status == pool::io_status::error);
    CHECK(reader.last.error == ECONNRESET);
}

TEST_CASE("sim_link: writing to a closed connection fails once the reset has come", "[sim]") {
    pair_of_streams pair;
    pair.client.reset();
    pair.settle();
    CHECK(pair.send(*pair.server, "too late") == 8);
    pair.settle();
    const iovec piece{pair.where.host.data(), 1};
    const auto result = pair.server->write_some({&piece, 1});
    CHECK(result.status == pool::io_status::error);
    CHECK(result.error == EPIPE);
}

TEST_CASE("sim_link: a cut after some bytes delivers exactly those", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    const auto how = GENERATE(cut_kind::orderly, cut_kind::reset);
    pair.link().toward(end_side::acceptor).cut_after(3, how);
    pair.send(*pair.client, "abcdef");
    pair.settle();
    CHECK(reader.text == "abc");
    CHECK(reader.last.status == (how == cut_kind::orderly ? pool::io_status::eof : pool::io_status::error));
    CHECK_FALSE(pair.link().alive());
}

TEST_CASE("sim_link: a stalled direction delivers later, the other one meanwhile", "[sim]") {
    pair_of_streams pair;
    watcher to_server;
    watcher to_client;
    pair.watch(*pair.server, to_server, pool::interest::read);
    pair.watch(*pair.client, to_client, pool::interest::read);
    pair.link().toward(end_side::acceptor).stall(pair.env.now() + 5ms);
    pair.send(*pair.client, "held");
    pair.send(*pair.server, "free");
    pair.settle(4ms);
    CHECK(to_server.text.empty());
    CHECK(to_client.text == "free");
    pair.settle(2ms);
    CHECK(to_server.text == "held");
}

TEST_CASE("sim_link: a stall after some bytes holds back all behind them, for its time", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.link().toward(end_side::acceptor).stall_after(3, 5ms);
    pair.send(*pair.client, "abcdef");
    pair.settle(4ms);
    CHECK(reader.text == "abc");
    pair.send(*pair.client, "ghi");
    pair.settle(2ms);
    CHECK(reader.text == "abcdefghi");
}

TEST_CASE(
    "sim_network: the link that is opened next is known before it carries anything, and afterwards by what "
    "it carried",
    "[sim]"
) {
    pair_of_streams pair;
    pair.client.reset();
    pair.server.reset();
    pair.network.when_opened(link_group::server, 2, [](sim_link& link) {
        link.toward(end_side::acceptor).cut_after(2, cut_kind::reset);
    });
    pair.client = pair.network.connect(pair.where);
    pair.settle();
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.send(*pair.client, "abc");
    pair.settle();
    CHECK(reader.text == "ab");
    CHECK(pair.link().was_cut());
    pair.client.reset();
    pair.server.reset();
    const auto carried = pair.network.carried(link_group::server);
    REQUIRE(carried.size() == 2);
    CHECK(carried[0].toward == std::array<std::uint64_t, 2>{0, 0});
    CHECK(carried[1].toward == std::array<std::uint64_t, 2>{0, 2});
}

TEST_CASE("sim_link: a slow direction keeps its rate", "[sim]") {
    pair_of_streams pair;
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    pair.link().toward(end_side::acceptor).slow_down(10'000);
    pair.send(*pair.client, std::string(50, 'x'));
    pair.settle(4ms);
    CHECK(reader.text.empty());
    pair.settle(2ms);
    CHECK(reader.text.size() == 50);
}

TEST_CASE("sim_link: a fragmenting network splits reads", "[sim]") {
    pair_of_streams pair({50us, 0us, 1024, 1});
    watcher reader;
    pair.watch(*pair.server, reader, pool::interest::read);
    std::string sent;
    for (int round = 0; round < 60; ++round) {
        std::size_t moved = 0;
        while (moved < 2)
            moved += pair.send(*pair.client, std::string("ab").substr(moved));
        sent += "ab";
        pair.settle();
    }
    CHECK(reader.text == sent);
    CHECK(reader.times > 75);
}

TEST_CASE("sim_network: a connection is refused where nobody listens", "[sim]") {
    pair_of_streams pair;
    watcher writer;
    writer.reads = false;
    auto lost = pair.network.connect({"nowhere", 1});
    CHECK(lost->connected().status == pool::io_status::would_block);
    pair.watch(*lost, writer, pool::interest::write);
    pair.settle(100us);
    CHECK((writer.seen & 2U) != 0);
    CHECK(lost->connected().error == ECONNREFUSED);
}

TEST_CASE("sim_network: a hanging server opens when it is over", "[sim]") {
    pair_of_streams pair;
    pair.network.hang_servers(pair.env.now() + 5ms);
    auto patient = pair.network.connect(pair.where);
    pair.settle(4ms);
    CHECK(patient->connected().status == pool::io_status::would_block);
    pair.settle(2ms);
    CHECK(patient->connected().status == pool::io_status::ok);
}

TEST_CASE("ready_list: a stream closed by a sink before it in the turn is not notified", "[sim]") {
    pair_of_streams pair;
    struct closer final : pool::event_sink {
        void notify(pool::event_mask) noexcept override {
            ++times;
            other->reset();
        }
        std::unique_ptr<pool::stream>* other = nullptr;
        int times = 0;
    } closing;
    watcher never;
    pair.send(*pair.client, "x");
    pair.send(*pair.server, "y");
    pair.settle();
    closing.other = &pair.client;
    pair.server->watch(closing, {1, 2});
    pair.server->arm(pool::interest::read);
    pair.watch(*pair.client, never, pool::interest::read);
    pair.env.run([&] { return closing.times > 0; }, pair.env.now() + 1s);
    CHECK(never.times == 0);
}

TEST_CASE("sim_environment: a loop that is woken for nothing is found out", "[sim]") {
    pair_of_streams pair;
    watcher idle;
    idle.reads = false;
    pair.send(*pair.client, "x");
    pair.watch(*pair.server, idle, pool::interest::read);
    CHECK(pair.env.run([] { return false; }, pair.env.now() + 1h) == run_end::spinning);
}

TEST_CASE("sim_environment: nothing left to happen is told apart from time being up", "[sim]") {
    sim_environment env(1);
    CHECK(env.run([] { return false; }, env.now() + 1h) == run_end::quiet);
    int fired = 0;
    world_timer timer(env, [&] { ++fired; });
    timer.after(2h);
    CHECK(env.run([] { return false; }, env.now() + 1h) == run_end::deadline);
    CHECK(fired == 0);
    CHECK(env.run([] { return false; }, env.now() + 2h) == run_end::quiet);
    CHECK(fired == 1);
}

TEST_CASE("prng: a seed means the same numbers for ever", "[sim]") {
    prng dice(42);
    CHECK(dice.next() == 1546998764402558742ULL);
    CHECK(dice.next() == 6990951692964543102ULL);
}
