#include "protocol/md5_auth.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::protocol;

namespace {
constexpr md5_salt salt{std::byte{0x01}, std::byte{0xff}, std::byte{0x00}, std::byte{0x7f}};
// echo -n 'secretapp' | md5sum
constexpr std::string_view stored = "md56a422f785c9e20873908ce25d1736ae2";
}  // namespace

TEST_CASE("md5_auth: the stored hash is the digest of password and user", "[protocol]") {
    CHECK(md5_hash("secret", "app") == std::string(stored));
    CHECK(is_md5_hash(md5_hash("", "")));
    CHECK(md5_hash("", "") == "md5d41d8cd98f00b204e9800998ecf8427e");
}

TEST_CASE("md5_auth: plain password and stored hash answer and verify alike", "[protocol]") {
    const std::string response = md5_response("secret", "app", salt);
    CHECK(response == "md510ede09c71c87f4c126bc06c77643a38");
    CHECK(response == md5_response(stored, "app", salt));
    CHECK(md5_verify("secret", "app", salt, response));
    CHECK(md5_verify(stored, "app", salt, response));
}

TEST_CASE("md5_auth: any other answer is refused", "[protocol]") {
    const std::string response = md5_response("secret", "app", salt);
    CHECK_FALSE(md5_verify("secret2", "app", salt, response));
    CHECK_FALSE(md5_verify("secret", "other", salt, response));
    CHECK_FALSE(md5_verify("secret", "app", md5_salt{}, response));
    CHECK_FALSE(md5_verify("secret", "app", salt, ""));
    CHECK_FALSE(md5_verify("secret", "app", salt, response + '\0'));
    // The stored hash itself is no answer: who has read it must not come in with it.
    CHECK_FALSE(md5_verify(stored, "app", salt, stored));
    for (std::size_t i = 0; i < response.size(); ++i) {
        CHECK_FALSE(md5_verify("secret", "app", salt, response.substr(0, i)));
        for (int bit = 0; bit < 8; ++bit) {
            std::string flipped = response;
            flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
            CHECK_FALSE(md5_verify("secret", "app", salt, flipped));
        }
    }
}

TEST_CASE("md5_auth: only 32 lower-case hex digits behind md5 are a stored hash", "[protocol]") {
    CHECK(is_md5_hash(stored));
    CHECK_FALSE(is_md5_hash("md5"));
    CHECK_FALSE(is_md5_hash("MD56a422f785c9e20873908ce25d1736ae2"));
    CHECK_FALSE(is_md5_hash("md56a422f785c9e20873908ce25d1736ae"));
    CHECK_FALSE(is_md5_hash("md56A422F785C9E20873908CE25D1736AE2"));
    CHECK_FALSE(is_md5_hash("md5xa422f785c9e20873908ce25d1736ae2"));
}
