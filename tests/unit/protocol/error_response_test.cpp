#include "protocol/error_response.hpp"

#include <catch2/catch.hpp>

#include "tests/support/messages.hpp"

using namespace pgmend::protocol;
namespace test = pgmend::test;

TEST_CASE("error response: the fields are read, unknown ones passed over") {
    const std::string body = "S" + test::z("FEHLER") + "V" + test::z("ERROR") + "C" + test::z("22012") + "q" +
                             test::z("?") + "M" + test::z("Division durch Null") + "D" + test::z("so") + '\0';
    const error_view error = read_error(as_bytes(body));
    CHECK(error.severity == "ERROR");
    CHECK(error.sqlstate == "22012");
    CHECK(error.message == "Division durch Null");
    CHECK(error.detail == "so");
    CHECK_FALSE(error.fatal());
}

TEST_CASE("error response: the untranslated severity wins in whatever order") {
    const std::string late = "V" + test::z("FATAL") + "S" + test::z("ERROR") + '\0';
    CHECK(read_error(as_bytes(late)).severity == "FATAL");
    const std::string early = "S" + test::z("ERROR") + "V" + test::z("FATAL") + '\0';
    CHECK(read_error(as_bytes(early)).severity == "FATAL");
    const std::string old = "S" + test::z("ERROR") + '\0';
    CHECK(read_error(as_bytes(old)).severity == "ERROR");
}

TEST_CASE("error response: fatal and panic are the end of a connection, others are not") {
    const auto is_fatal = [](std::string_view severity) {
        const std::string body = test::error_body(severity, "57P01", "m");
        return read_error(as_bytes(body)).fatal();
    };
    CHECK(is_fatal("FATAL"));
    CHECK(is_fatal("PANIC"));
    CHECK_FALSE(is_fatal("ERROR"));
    CHECK_FALSE(is_fatal("WARNING"));
    CHECK_FALSE(is_fatal(""));
}

TEST_CASE("error response: a body cut anywhere gives what was whole and never more") {
    const std::string body = test::error_body("FATAL", "57P01", "going down");
    for (std::size_t size = 0; size <= body.size(); ++size) {
        // A copy of its own, so that a read beyond it is one the sanitizer sees.
        const std::vector<char> cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(size));
        const error_view error = read_error(as_bytes({cut.data(), cut.size()}));
        CHECK((error.severity.empty() || error.severity == "FATAL"));
        CHECK((error.sqlstate.empty() || error.sqlstate == "57P01"));
        CHECK(error.message.empty() == (size < body.size() - 1));
    }
}
