#include "protocol/bytes.hpp"

#include <array>
#include <catch2/catch.hpp>

#include "protocol/frame.hpp"
#include "tests/support/messages.hpp"

using namespace pgmend::protocol;
namespace test = pgmend::test;

TEST_CASE("bytes: integers are stored with the highest byte first") {
    std::array<std::byte, 4> room{};
    store_u32(room.data(), 0x01020304);
    CHECK(as_text(room) == "\x01\x02\x03\x04");
    CHECK(load_u32(room.data()) == 0x01020304);
    store_u16(room.data(), 0xfffe);
    CHECK(as_text(room) == "\xff\xfe\x03\x04");
    CHECK(load_u16(room.data()) == 0xfffe);
}

TEST_CASE("bytes: a reader takes what is there, front to back") {
    const std::string body = "\x07" + test::u16(0x8001) + test::u32(0xffffffff) + test::z("name") + "xyz";
    byte_reader reader{as_bytes(body)};
    CHECK(reader.u8() == 7);
    CHECK(reader.u16() == 0x8001);
    CHECK(reader.i32() == -1);
    CHECK(reader.cstring() == "name");
    CHECK(as_text(reader.bytes(2)) == "xy");
    CHECK_FALSE(reader.done());
    CHECK(as_text(reader.rest()) == "z");
    CHECK(reader.bytes(1).size() == 1);
    CHECK(reader.done());
}

TEST_CASE("bytes: a read past the end fails and everything after it is empty") {
    const std::string body = test::u16(1) + test::z("rest");
    byte_reader reader{as_bytes(body).first(3)};
    CHECK(reader.u32() == 0);
    CHECK(reader.failed());
    CHECK_FALSE(reader.done());
    // Three bytes were there, but a failed reader gives none of them any more.
    CHECK(reader.u8() == 0);
    CHECK(reader.cstring().empty());
    CHECK(reader.bytes(1).empty());
    CHECK(reader.rest().empty());
}

TEST_CASE("bytes: a string without its zero fails, an empty one does not") {
    byte_reader open{as_bytes("abc")};
    CHECK(open.cstring().empty());
    CHECK(open.failed());
    byte_reader nothing{byte_view{}};
    CHECK(nothing.cstring().empty());
    CHECK(nothing.failed());
    byte_reader empty{as_bytes(std::string_view{"\0", 1})};
    CHECK(empty.cstring().empty());
    CHECK(empty.done());
}

TEST_CASE("bytes: reading no bytes never fails") {
    byte_reader reader{byte_view{}};
    CHECK(reader.bytes(0).empty());
    CHECK(reader.done());
}

TEST_CASE("frame: a length counts itself and is bounded") {
    const auto valid = [](std::uint32_t length) {
        const std::string header = 'D' + test::u32(length);
        return valid_length(as_bytes(header).data());
    };
    CHECK_FALSE(valid(0));
    CHECK_FALSE(valid(3));
    CHECK(valid(4));
    CHECK(valid(0x7fffffff));
    CHECK_FALSE(valid(0x80000000));
    CHECK_FALSE(valid(0xffffffff));
    const std::string header = 'T' + test::u32(10);
    const frame_header decoded = decode_header(as_bytes(header).data());
    CHECK(decoded.type == 'T');
    CHECK(decoded.body == 6);
    CHECK(decoded.size() == 11);
}
