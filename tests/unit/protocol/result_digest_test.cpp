#include "protocol/result_digest.hpp"

#include <catch2/catch.hpp>

#include "protocol/statement_store.hpp"
#include "tests/support/messages.hpp"

namespace pgmend::test {

using protocol::ambiguous_result;
using protocol::no_result_digest;
using protocol::result_digest;

namespace {

std::string column(std::string_view name, std::uint32_t table, std::uint32_t type, unsigned format) {
    return z(name) + u32(table) + u16(1) + u32(type) + u16(4) + u32(0xffffffff) + u16(format);
}

std::uint64_t digest(const std::string& body) { return result_digest(protocol::as_bytes(body)); }

}  // namespace

TEST_CASE("result digest: names and types count, tables and formats do not") {
    const std::uint64_t plain = digest(u16(1) + column("a", 100, 23, 0));
    CHECK(plain > no_result_digest);
    CHECK(digest(u16(1) + column("a", 200, 23, 1)) == plain);
    CHECK(digest(u16(1) + column("b", 100, 23, 0)) != plain);
    CHECK(digest(u16(1) + column("a", 100, 25, 0)) != plain);
    CHECK(digest(u16(2) + column("a", 100, 23, 0) + column("a", 100, 23, 0)) != plain);
    CHECK(digest(u16(0)) > no_result_digest);
    CHECK(digest(u16(0)) != plain);
}

TEST_CASE("result digest: what is not whole equals nothing") {
    const std::string whole = u16(1) + column("a", 100, 23, 0);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CHECK(digest(whole.substr(0, size)) == ambiguous_result);
    }
    CHECK(digest(whole + "x") == ambiguous_result);
}

}  // namespace pgmend::test
