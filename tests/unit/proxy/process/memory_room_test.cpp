// What handshakes of TLS may take of the memory that is left, between two looks at it.

#include "proxy/process/memory_room.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;

namespace {

/// There is one room in a process: as this test finds it, so it is left.
class looked {
public:
    explicit looked(std::int64_t left) { memory_room::left = left; }
    looked(const looked&) = delete;
    looked& operator=(const looked&) = delete;
    ~looked() { memory_room::left = before_; }

private:
    std::int64_t before_ = memory_room::left;
};

}  // namespace

TEST_CASE("memory room: until it was looked at nothing is refused") {
    REQUIRE(memory_room::begin_handshake());
    const memory_room::handshake_in_progress going_on;
    CHECK(memory_room::promised == memory_room::handshake);
}

TEST_CASE("memory room: handshakes begin while there is memory for all that go on, whole") {
    const looked guard{2 * memory_room::handshake + memory_room::handshake - 1};
    {
        REQUIRE(memory_room::begin_handshake());
        const memory_room::handshake_in_progress first;
        REQUIRE(memory_room::begin_handshake());
        {
            const memory_room::handshake_in_progress second;
            CHECK_FALSE(memory_room::begin_handshake());
            CHECK_FALSE(memory_room::begin_handshake());
            CHECK(
                memory_room::promised == 2 * memory_room::handshake
            );  // who was refused is promised nothing
        }
        CHECK(memory_room::promised == memory_room::handshake);
    }
    CHECK(memory_room::promised == 0);
}

TEST_CASE("memory room: what a client keeps after its handshake counts before anybody has looked again") {
    const looked guard{2 * memory_room::handshake};
    for (int ended = 0; ended < 2; ++ended) {
        REQUIRE(memory_room::begin_handshake());
        const memory_room::handshake_in_progress going_on;
    }
    CHECK(memory_room::left == 2 * memory_room::handshake - 2 * memory_room::kept);
    REQUIRE(memory_room::begin_handshake());
    const memory_room::handshake_in_progress third;
    CHECK_FALSE(memory_room::begin_handshake());
}

TEST_CASE("memory room: more in use than is allowed lets no handshake begin, not even one") {
    const looked guard{-1};
    CHECK_FALSE(memory_room::begin_handshake());
    CHECK(memory_room::promised == 0);
}
