#include "pool/channel.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "tests/unit/pool/memory_stream.hpp"

using namespace pgmend::pool;
using pgmend::protocol::as_bytes;
using pgmend::protocol::as_text;
using pgmend::test::memory_pipe;
using pgmend::test::memory_stream;

namespace {

struct line {
    std::shared_ptr<memory_pipe> in = std::make_shared<memory_pipe>();
    std::shared_ptr<memory_pipe> out = std::make_shared<memory_pipe>();
    memory_stream stream{in, out};

    void arrive(std::string_view text) {
        const auto bytes = as_bytes(text);
        in->bytes.insert(in->bytes.end(), bytes.begin(), bytes.end());
    }
    std::string left() const { return std::string{as_text(out->bytes)}; }
};

std::string text_of(const gather& flight) {
    std::string all;
    for (const iovec& piece : flight.pieces()) {
        all.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    return all;
}

}  // namespace

TEST_CASE("inbound: what is read and used up at once never leaves the scratch") {
    buffer_pool buffers;
    inbound in{buffers};
    line from;
    from.arrive("hello");
    CHECK(in.fill(from.stream, 0).status == io_status::ok);
    CHECK(in.bytes().data() == buffers.scratch().data());
    CHECK(as_text(in.bytes()) == "hello");
    in.consume(5);
    CHECK(in.empty());
    in.keep();
    CHECK(buffers.leased_blocks() == 0);
}

TEST_CASE("inbound: what is left over is kept from other readers and joined with what follows") {
    buffer_pool buffers;
    inbound a{buffers};
    inbound b{buffers};
    line from_a;
    line from_b;
    from_a.arrive("first ");
    a.fill(from_a.stream, 0);
    a.consume(2);
    a.keep();
    CHECK(buffers.leased_blocks() == 1);
    from_b.arrive("XXXXXXXXXXXX");
    b.fill(from_b.stream, 0);
    CHECK(as_text(a.bytes()) == "rst ");
    from_a.arrive("second");
    CHECK(a.fill(from_a.stream, 10).status == io_status::ok);
    CHECK(as_text(a.bytes()) == "rst second");
    CHECK(a.size() == 10);
    CHECK(as_text(b.bytes()) == "XXXXXXXXXXXX");
    b.clear();
    CHECK(b.empty());
    a.consume(10);
    CHECK(a.empty());
    CHECK(buffers.leased_blocks() == 0);
}

TEST_CASE("inbound: the block for a large message is made once") {
    buffer_pool buffers;
    inbound in{buffers};
    line from;
    from.arrive("P");
    in.fill(from.stream, 0);
    in.keep();
    const std::string large(500'000, 'x');
    from.arrive(large);
    from.in->step = 1000;
    in.fill(from.stream, large.size() + 1);
    const auto* block = in.bytes().data();
    while (in.size() < large.size() + 1) {
        REQUIRE(in.fill(from.stream, large.size() + 1).status == io_status::ok);
        REQUIRE(in.bytes().data() == block);
    }
    CHECK(as_text(in.bytes()) == "P" + large);
}

TEST_CASE("inbound: nothing to read and the end change nothing") {
    buffer_pool buffers;
    inbound in{buffers};
    line from;
    CHECK(in.fill(from.stream, 0).status == io_status::would_block);
    CHECK(in.empty());
    from.arrive("a");
    in.fill(from.stream, 0);
    in.keep();
    CHECK(in.fill(from.stream, 0).status == io_status::would_block);
    CHECK(as_text(in.bytes()) == "a");
    from.in->ended = true;
    CHECK(in.fill(from.stream, 0).status == io_status::eof);
    CHECK(as_text(in.bytes()) == "a");
}

TEST_CASE("gather: neighbouring bytes are one piece, others are not") {
    const std::string text = "abcdef";
    const auto bytes = as_bytes(text);
    gather flight;
    CHECK(flight.empty());
    flight.add({});
    CHECK(flight.empty());
    flight.add(bytes.subspan(0, 2));
    flight.add(bytes.subspan(2, 1));
    CHECK(flight.pieces().size() == 1);
    flight.add(bytes.subspan(4, 2));
    CHECK(flight.pieces().size() == 2);
    CHECK(text_of(flight) == "abcef");
    CHECK(flight.bytes() == 5);
    flight.clear();
    CHECK(flight.empty());
    CHECK(flight.bytes() == 0);
}

TEST_CASE("gather: made bytes stand in order with the views and do not overlap") {
    gather flight;
    const std::string view = "<view>";
    const auto fill = [&flight](char with, std::size_t size) {
        const auto room = flight.make(size);
        REQUIRE(room.size() == size);
        std::fill(room.begin(), room.end(), static_cast<std::byte>(with));
    };
    fill('a', 3);
    fill('b', 2);
    CHECK(flight.pieces().size() == 1);
    flight.add(as_bytes(view));
    fill('c', 4);
    CHECK(text_of(flight) == "aaabb<view>cccc");
    CHECK(flight.pieces().size() == 3);
}

TEST_CASE("gather: while there is room, one more message always fits") {
    gather flight;
    const std::string apart = "a.b.";
    std::size_t messages = 0;
    while (flight.has_room(100)) {
        // A message in six pieces: made bytes between views that do not touch.
        for (int i = 0; i < 3; ++i) {
            flight.make(33);
            flight.add(as_bytes(apart).subspan(static_cast<std::size_t>(i % 2) * 2, 1));
        }
        REQUIRE(flight.pieces().size() <= 64);
        ++messages;
    }
    CHECK(messages >= 8);
    flight.clear();
    // Made bytes in one piece fill the store to its end and not beyond.
    std::size_t made = 0;
    while (flight.has_room(1000)) {
        flight.make(1000);
        made += 1000;
    }
    CHECK(made + 1000 > gather::arena_bytes);
    CHECK(made <= gather::arena_bytes);
    CHECK(flight.pieces().size() == 1);
    CHECK_FALSE(gather{}.has_room(gather::arena_bytes + 1));
}

TEST_CASE("outbound: a flight the socket takes leaves nothing behind") {
    buffer_pool buffers;
    outbound out{buffers};
    line to;
    gather flight;
    flight.add(as_bytes("one"));
    flight.add(as_bytes("two"));
    CHECK(out.send(to.stream, flight));
    CHECK(flight.empty());
    CHECK_FALSE(out.blocked());
    CHECK(to.left() == "onetwo");
    CHECK(to.out->writes == 1);
    CHECK(buffers.leased_blocks() == 0);
}

TEST_CASE("outbound: what the socket does not take is kept, at every place of the flight") {
    for (std::size_t room = 0; room <= 9; ++room) {
        buffer_pool buffers;
        outbound out{buffers};
        line to;
        to.out->room = room;
        {
            // The views are gone when the rest is written.
            std::string one = "abc";
            std::string two = "defghi";
            gather flight;
            flight.add(as_bytes(one));
            flight.add(as_bytes(two));
            REQUIRE(out.send(to.stream, flight));
        }
        CHECK(to.left() == std::string("abcdefghi").substr(0, room));
        CHECK(out.blocked() == (room < 9));
        // Behind what waits, not before it.
        gather more;
        more.add(as_bytes("jkl"));
        to.out->room = 11;
        REQUIRE(out.send(to.stream, more));
        CHECK(to.left() == (room < 9 ? std::string("abcdefghi").substr(0, room) : "abcdefghijk"));
        CHECK(out.blocked());
        REQUIRE(out.drain(to.stream));
        CHECK(to.left() == "abcdefghijk");
        CHECK(out.blocked());
        to.out->room = 100;
        REQUIRE(out.drain(to.stream));
        CHECK_FALSE(out.blocked());
        CHECK(to.left() == "abcdefghijkl");
        CHECK(buffers.leased_blocks() == 0);
    }
}

TEST_CASE("outbound: a broken stream is said so, when sending and when draining") {
    buffer_pool buffers;
    outbound out{buffers};
    line to;
    gather flight;
    to.out->ended = true;
    flight.add(as_bytes("x"));
    CHECK_FALSE(out.send(to.stream, flight));
    CHECK(flight.empty());
    line other;
    outbound blocked{buffers};
    other.out->room = 0;
    flight.add(as_bytes("x"));
    CHECK(blocked.send(other.stream, flight));
    other.out->ended = true;
    CHECK_FALSE(blocked.drain(other.stream));
    blocked.clear();
    CHECK_FALSE(blocked.blocked());
    CHECK(buffers.leased_blocks() == 0);
}

TEST_CASE("inbound: what is put back is read first, whatever was there") {
    buffer_pool buffers;
    {
        line from;
        inbound in{buffers};
        in.put_back(as_bytes("first "));
        CHECK(as_text(in.bytes()) == "first ");
        from.arrive("second ");
        REQUIRE(in.fill(from.stream, 0).status == io_status::ok);
        in.put_back(as_bytes("zeroth "));
        CHECK(as_text(in.bytes()) == "zeroth first second ");
        in.consume(in.size());
        from.arrive("scratch");
        REQUIRE(in.fill(from.stream, 0).status == io_status::ok);
        in.consume(3);
        in.put_back(as_bytes("back "));
        CHECK(as_text(in.bytes()) == "back atch");
        in.clear();
        in.put_back({});
        CHECK(in.empty());
    }
    CHECK(buffers.leased_blocks() == 0);
}
