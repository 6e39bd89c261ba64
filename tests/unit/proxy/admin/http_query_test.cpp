// What stands behind the '?' of a path.
#include "proxy/admin/http_query.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;

TEST_CASE("query: parameters by name, alone or with a value", "[proxy]") {
    CHECK(parameter("a=1&b=2&c", "b") == "2");
    CHECK(parameter("a=1&b=2&c", "c") == "true");
    CHECK(parameter("a=", "a") == "");
    CHECK_FALSE(parameter("aa=1", "a"));
    CHECK_FALSE(parameter("", "a"));
    CHECK((wanted("a&b=yes", "a") && wanted("a&b=yes", "b") && !wanted("a=no", "a") && !wanted("", "a")));
}

TEST_CASE("query: texts are read as browsers write them, and nothing is guessed", "[proxy]") {
    CHECK(text_parameter("a=x+y%20z%26%c3%A9", "a") == "x y z&\xc3\xa9");
    CHECK(text_parameter("a=%2", "a") == std::nullopt);
    CHECK(text_parameter("a=%", "a") == std::nullopt);
    CHECK(text_parameter("a=%g0", "a") == std::nullopt);
    CHECK(text_parameter("a=%-1", "a") == std::nullopt);
    CHECK(text_parameter("b=1", "a") == std::nullopt);
}

TEST_CASE("query: a limit is a number within bounds", "[proxy]") {
    CHECK(limit_of("limit=5", 7) == 5);
    CHECK(limit_of("", 7) == 7);
    CHECK(limit_of("limit=10000", 7) == most_entries);
    for (const char* wrong : {"limit=10001", "limit=-1", "limit=x", "limit=5x", "limit"})
        CHECK_FALSE(limit_of(wrong, 7));
}
