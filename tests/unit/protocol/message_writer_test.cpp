#include "protocol/message_writer.hpp"

#include <array>
#include <catch2/catch.hpp>

#include "protocol/error_response.hpp"
#include "tests/support/messages.hpp"

using namespace pgmend::protocol;
namespace test = pgmend::test;

namespace {

/// What `write` makes, behind bytes that were there before.
template <class Write>
std::string made(Write&& write) {
    std::vector<std::byte> out(3, std::byte{'-'});
    message_writer writer{out};
    write(writer);
    const std::string bytes{as_text(out)};
    REQUIRE(bytes.starts_with("---"));
    return bytes.substr(3);
}

}  // namespace

TEST_CASE("message writer: what goes to clients is PostgreSQL's format") {
    CHECK(made([](auto& w) {
              w.authentication(5, as_bytes("salt"));
          }) == test::message('R', test::u32(5) + "salt"));
    CHECK(made([](auto& w) { w.authentication(0); }) == test::message('R', test::u32(0)));
    CHECK(made([](auto& w) {
              w.backend_key_data(0x01020304, as_bytes("keys"));
          }) == test::message('K', test::u32(0x01020304) + "keys"));
    CHECK(made([](auto& w) {
              w.parameter_status("TimeZone", "UTC");
          }) == test::parameter_status("TimeZone", "UTC"));
    CHECK(made([](auto& w) { w.ready_for_query(transaction_status::idle); }) == test::ready('I'));
    CHECK(made([](auto& w) { w.ready_for_query(transaction_status::in_block); }) == test::ready('T'));
    CHECK(made([](auto& w) { w.ready_for_query(transaction_status::failed); }) == test::ready('E'));
    CHECK(made([](auto& w) { w.command_complete("SELECT 1"); }) == test::complete("SELECT 1"));
    const std::array<std::string_view, 2> options{"_pq_.a", "_pq_.b"};
    CHECK(
        made([&](auto& w) { w.negotiate_protocol_version(2, options); }) ==
        test::message('v', test::u32(0x00030002) + test::u32(2) + test::z("_pq_.a") + test::z("_pq_.b"))
    );
}

TEST_CASE("message writer: what goes to servers is PostgreSQL's format") {
    CHECK(made([](auto& w) { w.query("select 1"); }) == test::query("select 1"));
    const std::string types = test::u16(1) + test::u32(23);
    CHECK(made([&](auto& w) {
              w.parse("name", "select $1", as_bytes(types));
          }) == test::parse("name", "select $1", {23}));
    CHECK(made([](auto& w) { w.close_statement("name"); }) == test::close('S', "name"));
    CHECK(made([](auto& w) { w.copy_fail("why"); }) == test::copy_fail("why"));
    CHECK(made([](auto& w) { w.sync(); }) == test::sync());
    CHECK(made([](auto& w) { w.terminate(); }) == test::terminate());
    CHECK(made([](auto& w) { w.password("p"); }) == test::message('p', test::z("p")));
    CHECK(made([](auto& w) {
              w.sasl_initial_response("SCRAM", "data");
          }) == test::message('p', test::z("SCRAM") + test::u32(4) + "data"));
    CHECK(made([](auto& w) { w.sasl_response("data"); }) == test::message('p', "data"));
}

TEST_CASE("message writer: an error has its fields in order and leaves out the empty ones") {
    CHECK(made([](auto& w) {
              w.error({.sqlstate = "53300", .message = "full"});
          }) == test::error("53300", "full"));
    CHECK(
        made([](auto& w) {
            w.error({.severity = "FATAL", .sqlstate = "57P01", .message = "m", .detail = "d", .hint = "h"});
        }) ==
        test::message(
            'E', "S" + test::z("FATAL") + "V" + test::z("FATAL") + "C" + test::z("57P01") + "M" +
                     test::z("m") + "D" + test::z("d") + "H" + test::z("h") + '\0'
        )
    );
    CHECK(made([](auto& w) {
              w.notice({.severity = "NOTICE", .sqlstate = "00000", .message = "n"});
          }) == test::notice("n"));
}

TEST_CASE("message writer: frames stand behind one another") {
    CHECK(made([](auto& w) {
              w.query("a");
              w.sync();
              w.query("");
          }) == test::query("a") + test::sync() + test::query(""));
}
