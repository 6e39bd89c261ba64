#include "pool/buffer_pool.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>

using namespace pgmend::pool;
using pgmend::protocol::as_bytes;
using pgmend::protocol::as_text;

TEST_CASE("leased buffer: it owns a block only while it holds bytes") {
    buffer_pool pool;
    leased_buffer buffer{pool};
    CHECK(buffer.empty());
    CHECK(pool.leased_blocks() == 0);
    buffer.append({});
    CHECK(pool.leased_blocks() == 0);
    buffer.append(as_bytes("hello"));
    CHECK(pool.leased_blocks() == 1);
    CHECK(pool.leased_bytes() == buffer_pool::smallest_block);
    buffer.consume(4);
    CHECK(as_text(buffer.view()) == "o");
    CHECK(pool.leased_blocks() == 1);
    buffer.consume(1);
    CHECK(buffer.empty());
    CHECK(pool.leased_blocks() == 0);
    CHECK(pool.leased_bytes() == 0);
    buffer.append(as_bytes(std::string(3 * buffer_pool::smallest_block, 'x')));
    CHECK(pool.leased_bytes() == 4 * buffer_pool::smallest_block);
    buffer.clear();
    CHECK(pool.leased_blocks() == 0);
    CHECK(pool.leased_bytes() == 0);
    {
        leased_buffer other{pool};
        other.append(as_bytes("y"));
    }
    CHECK(pool.leased_blocks() == 0);
}

TEST_CASE("leased buffer: reserved space is as large as asked for and keeps the content") {
    buffer_pool pool;
    leased_buffer buffer{pool};
    buffer.append(as_bytes("content"));
    buffer.consume(3);
    for (const std::size_t size :
         {std::size_t{1}, buffer_pool::smallest_block - 4, buffer_pool::smallest_block, std::size_t{100'000},
          std::size_t{3'000'000}}) {
        const auto space = buffer.reserve(size);
        CHECK(space.size() >= size);
        CHECK(as_text(buffer.view()) == "tent");
        std::fill(space.begin(), space.end(), std::byte{'-'});
        CHECK(as_text(buffer.view()) == "tent");
        CHECK(pool.leased_blocks() == 1);
    }
}

TEST_CASE("leased buffer: room in front is used before a larger block is") {
    buffer_pool pool;
    leased_buffer buffer{pool};
    const std::string filler(buffer_pool::smallest_block - 1, 'a');
    buffer.append(as_bytes(filler));
    buffer.append(as_bytes("b"));
    const auto* block = buffer.view().data();
    buffer.consume(filler.size());
    buffer.append(as_bytes(filler));
    CHECK(buffer.view().data() == block);
    CHECK(as_text(buffer.view()) == "b" + filler);
}

TEST_CASE("leased buffer: any mixture of appending and consuming is a queue") {
    buffer_pool pool;
    std::mt19937 random{7};
    leased_buffer buffer{pool};
    std::string model;
    char next = 0;
    for (int step = 0; step < 5000; ++step) {
        if (random() % 2 == 0) {
            std::string bytes(random() % 9000, '\0');
            for (char& byte : bytes) {
                byte = ++next;
            }
            buffer.append(as_bytes(bytes));
            model += bytes;
        } else if (!model.empty()) {
            const std::size_t count = random() % (model.size() + 1);
            buffer.consume(count);
            model.erase(0, count);
        }
        REQUIRE(as_text(buffer.view()) == model);
        REQUIRE((pool.leased_blocks() == 0) == model.empty());
    }
}

TEST_CASE("buffer pool: blocks that came back are lent again, and two are never the same") {
    buffer_pool pool;
    const std::byte* first;
    {
        leased_buffer buffer{pool};
        buffer.append(as_bytes("x"));
        first = buffer.view().data();
    }
    leased_buffer a{pool};
    leased_buffer b{pool};
    a.append(as_bytes("a"));
    b.append(as_bytes("b"));
    CHECK(a.view().data() == first);
    CHECK(b.view().data() != first);
    CHECK(pool.leased_blocks() == 2);
}

TEST_CASE("buffer pool: the scratch is one and belongs to nobody") {
    buffer_pool pool;
    CHECK(pool.scratch().size() == buffer_pool::scratch_bytes);
    CHECK(pool.scratch().data() == pool.scratch().data());
    CHECK(pool.leased_blocks() == 0);
}
