#include "proxy/login/client_key.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgmend::proxy;

TEST_CASE("client key: it matches itself and nothing that differs in one bit or byte") {
    for (const std::uint8_t size : {std::uint8_t{4}, std::uint8_t{32}}) {
        client_key key;
        key.pid = 1234;
        key.secret_size = size;
        for (std::size_t i = 0; i < size; ++i) {
            key.secret[i] = static_cast<std::byte>(i * 7 + 1);
        }
        REQUIRE(key.view().size() == size);
        CHECK(key.matches(1234, key.view()));
        CHECK_FALSE(key.matches(1235, key.view()));
        CHECK_FALSE(key.matches(0, key.view()));
        for (std::size_t i = 0; i < size; ++i) {
            std::vector<std::byte> other(key.view().begin(), key.view().end());
            other[i] ^= std::byte{0x80};
            CHECK_FALSE(key.matches(1234, other));
        }
        std::vector<std::byte> longer(key.view().begin(), key.view().end());
        longer.push_back(std::byte{});
        CHECK_FALSE(key.matches(1234, longer));
        longer.resize(size - 1U);
        CHECK_FALSE(key.matches(1234, longer));
        CHECK_FALSE(key.matches(1234, {}));
    }
}

TEST_CASE("client key: differences that cancel out are differences all the same") {
    client_key key;
    key.pid = 1;
    std::vector<std::byte> other(4);
    other[0] = std::byte{1};  // and the pid differs in the same bit
    CHECK_FALSE(key.matches(0, other));
    other[1] = std::byte{1};
    CHECK_FALSE(key.matches(1, other));
}

TEST_CASE("client key: the worker stands in the upper bits of its first four bytes") {
    client_key key;
    key.secret[0] = std::byte{0xfc};
    key.secret[3] = std::byte{0x01};
    CHECK(key.id() == 0xfc000001);
    CHECK(client_key::worker_of(key.id()) == 63);
    CHECK(client_key::worker_of(0x03ffffff) == 0);
    CHECK(client_key::worker_of(0x04000000) == 1);
}
