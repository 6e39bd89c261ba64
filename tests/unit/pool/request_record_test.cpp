#include "pool/request_record.hpp"

#include <catch2/catch.hpp>
#include <string_view>

using pgmend::pool::request_record;
using pgmend::protocol::as_bytes;

TEST_CASE("request record: what was sent comes back as it was, and is given once", "[pool]") {
    request_record record;
    CHECK_FALSE(record.whole());
    record.add(as_bytes("lost before it begins"));
    record.begin(100);
    CHECK(record.whole());
    record.add(as_bytes("select "));
    record.add({});
    record.add(as_bytes("1"));
    CHECK(record.whole());
    const auto bytes = record.take();
    CHECK(pgmend::protocol::as_text(bytes) == "select 1");
    CHECK_FALSE(record.whole());
    record.begin(100);
    CHECK(record.take().empty());
}

TEST_CASE("request record: beyond its limit nothing is kept, also of what comes later", "[pool]") {
    request_record record;
    record.begin(8);
    record.add(as_bytes("12345678"));
    CHECK(record.whole());
    record.add(as_bytes("9"));
    CHECK_FALSE(record.whole());
    record.add(as_bytes("0"));
    CHECK_FALSE(record.whole());
    CHECK(record.take().empty());
    record.begin(8);
    record.add(as_bytes("again"));
    CHECK(record.whole());
    record.begin(0);
    CHECK_FALSE(record.whole());
}
