#include "proxy/session/old_backend.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace std::chrono_literals;

namespace {

std::string asked(std::string_view version, bool patient) {
    const old_backend old{"db:5432", 4711, pgmend::config::time_point{10s}};
    return eviction_query(old, pgmend::config::time_point{12s}, version, patient);
}
bool says(const std::string& text, std::string_view what) { return text.find(what) != text.npos; }

}  // namespace

TEST_CASE("old backend: it is ended with nothing in the way of whoever had the connection before") {
    CHECK(asked("15.8", true).starts_with(as_ourselves));
    CHECK(says(asked("15.8", false), "pg_stat_get_activity(4711)"));
    CHECK(says(asked("15.8", false), "interval '302000 milliseconds' AND"));
    CHECK(says(asked("15.8", false), "interval '2000 milliseconds')"));
}

TEST_CASE("old backend: it counts as gone when it is, and not when it has only been told") {
    CHECK(says(asked("14.0", false), "ELSE pg_catalog.pg_terminate_backend(pid,1000) END"));
    for (const auto* version : {"13.22", "10.3", ""}) {
        CHECK(says(
            asked(version, false),
            "ELSE pg_catalog.pg_terminate_backend(pid) AND pg_catalog.pg_sleep(0.1) IS NULL END"
        ));
    }
    CHECK(says(asked("15.8", true), "THEN pg_catalog.pg_sleep(0.1) IS NULL ELSE"));
    CHECK(says(asked("15.8", false), "THEN false ELSE"));
}
