#include "protocol/reply_digest.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace pgmend::protocol;

namespace {

std::string message(char type, std::string_view body) {
    std::string all(5, type);
    store_u32(reinterpret_cast<std::byte*>(all.data()) + 1, static_cast<std::uint32_t>(body.size() + 4));
    return all.append(body);
}

hash128 of(std::string_view answer) {
    reply_digest digest;
    CHECK(digest.take(as_bytes(answer)) == answer.size());
    return digest.value();
}

}  // namespace

TEST_CASE("reply digest: it does not matter in which pieces an answer comes") {
    const std::string answer = message('T', "columns") + message('D', std::string(3000, 'x')) +
                               message('D', "y") + message('C', "SELECT 2") + message('Z', "T");
    const hash128 whole = of(answer);
    for (std::size_t cut = 20; cut < 3000; ++cut) {
        reply_digest digest;
        digest.take(as_bytes(answer).first(cut));
        digest.take(as_bytes(answer).subspan(cut));
        REQUIRE(digest.value() == whole);
        REQUIRE(digest.counted() == answer.size());
    }
}

TEST_CASE("reply digest: every byte counts, but for parameters, notices and notifications") {
    const std::string answer = message('D', "row") + message('C', "SELECT 1") + message('Z', "T");
    const std::string told = message('S', "a b") + message('D', "row") + message('N', "careful") +
                             message('A', "news") + message('C', "SELECT 1") + message('Z', "T");
    CHECK(of(told) == of(answer));
    for (std::size_t i = 5; i < answer.size(); ++i) {
        std::string other = answer;
        other[i] = static_cast<char>(other[i] ^ 1);
        if (i >= 8 && i < 13) continue;  // a header
        if (i >= 21 && i < 26) continue;
        CHECK_FALSE(of(other) == of(answer));
    }
    CHECK_FALSE(of(message('D', "row") + message('Z', "T")) == of(answer));
}

TEST_CASE("reply digest: taking stops where it is asked to, in the middle of a message too") {
    const std::string answer = message('D', "0123456789") + message('N', "not yet") + message('Z', "T");
    reply_digest digest;
    CHECK(digest.take(as_bytes(answer), 9) == 9);
    CHECK(digest.whole());
    CHECK(digest.take(as_bytes(answer).subspan(9), 9) == 0);
    CHECK(digest.take(as_bytes(answer).subspan(9), 15) == 6);
    // The notice behind it has not been shown before.
    CHECK(digest.take(as_bytes(answer).subspan(15), 15) == 0);
    CHECK(digest.value() == of(message('D', "0123456789")));
}

TEST_CASE("reply digest: it knows when it is not of all that was shown") {
    reply_digest digest;
    CHECK(digest.whole());
    digest.take(as_bytes(message('D', "row")));
    CHECK(digest.whole());
    const std::string notice = message('N', "half of a notice");
    digest.take(as_bytes(notice).first(10));
    CHECK_FALSE(digest.whole());
    digest.begin();
    CHECK(digest.whole());
    CHECK(digest.counted() == 0);
    digest.leave_gap();
    CHECK_FALSE(digest.whole());
    digest.begin();
    digest.take(as_bytes(notice).first(3));  // no header
    CHECK_FALSE(digest.whole());
    // A notice at the end would be shown twice; one in front of something that counts is not.
    digest.begin();
    digest.take(as_bytes(notice));
    CHECK_FALSE(digest.whole());
    digest.take(as_bytes(message('S', "x")));
    CHECK_FALSE(digest.whole());
    digest.take(as_bytes(message('C', "ROLLBACK")));
    CHECK(digest.whole());
}
