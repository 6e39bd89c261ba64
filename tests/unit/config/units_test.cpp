#include "config/units.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace pgmend::config;
using namespace std::chrono_literals;

TEST_CASE("units: durations are read with their unit", "[config]") {
    CHECK(parse_duration("250ms").value == 250ms);
    CHECK(parse_duration("15s").value == 15s);
    CHECK(parse_duration("5min").value == 5min);
    CHECK(parse_duration("1h").value == 1h);
    CHECK(parse_duration("2d").value == 48h);
    CHECK(parse_duration("15 s").value == 15s);
    CHECK(parse_duration("0").value == 0ms);
    CHECK(parse_duration("0s").value == 0ms);
}

TEST_CASE("units: a duration without a known unit is refused with a reason", "[config]") {
    CHECK(parse_duration("15").problem == "needs a unit: ms, s, min, h, d");
    CHECK(parse_duration("15m").problem == "has an unknown unit; known are ms, s, min, h, d");
    CHECK(parse_duration("15S").problem == "has an unknown unit; known are ms, s, min, h, d");
    CHECK(parse_duration("1min30s").problem == "has an unknown unit; known are ms, s, min, h, d");
    for (const char* text : {"", "s", "-1s", "+1s", "1.5s", " 1s", "abc"}) {
        INFO(text);
        CHECK(parse_duration(text).problem == "is not a whole number with a unit");
    }
    for (const char* text : {"99999999999999999999s", "9223372036854775807d", "4611686018428ms"}) {
        INFO(text);
        CHECK(parse_duration(text).problem == "is too large");
    }
}

TEST_CASE("units: durations are printed in the largest exact unit", "[config]") {
    CHECK(print_duration(0ms) == "0");
    CHECK(print_duration(1ms) == "1ms");
    CHECK(print_duration(1500ms) == "1500ms");
    CHECK(print_duration(90s) == "90s");
    CHECK(print_duration(120s) == "2min");
    CHECK(print_duration(3600s) == "1h");
    CHECK(print_duration(36h) == "36h");
    CHECK(print_duration(48h) == "2d");
}

TEST_CASE("units: sizes are read and printed with binary units only", "[config]") {
    CHECK(parse_size("64KiB").value == byte_size{65536});
    CHECK(parse_size("1MiB").value == mib(1));
    CHECK(parse_size("2GiB").value == gib(2));
    CHECK(parse_size("512B").value == byte_size{512});
    CHECK(parse_size("0").value == byte_size{0});
    CHECK(parse_size("64").problem == "needs a unit: B, KiB, MiB, GiB");
    CHECK(parse_size("64KB").problem == "has an unknown unit; known are B, KiB, MiB, GiB");
    CHECK(parse_size("64k").problem == "has an unknown unit; known are B, KiB, MiB, GiB");
    CHECK(parse_size("17179869184GiB").problem == "is too large");
    CHECK(parse_size("17179869183GiB").value == byte_size{17179869183ULL << 30});
    CHECK(print_size(byte_size{1}) == "1B");
    CHECK(print_size(byte_size{65536}) == "64KiB");
    CHECK(print_size(byte_size{65537}) == "65537B");
    CHECK(print_size(gib(3)) == "3GiB");
}

TEST_CASE("units: whatever is printed is read back as the same value", "[config]") {
    std::uint64_t value = 1;
    for (int i = 0; i < 42; ++i, value *= 2) {
        for (const std::uint64_t each : {value - 1, value, value + 1, value * 1000 / 7, value * 3}) {
            const milliseconds time(static_cast<milliseconds::rep>(each % 4'000'000'000'000));
            CHECK(parse_duration(print_duration(time)).value == time);
            CHECK(parse_size(print_size(byte_size{each})).value == byte_size{each});
        }
    }
    for (std::uint32_t bits = 0; bits <= 0777; ++bits)
        CHECK(parse_mode(print_mode(file_mode{bits})).value == file_mode{bits});
}

TEST_CASE("units: counts have digits only and no leading zero", "[config]") {
    CHECK(parse_count("0").value == 0U);
    CHECK(parse_count("18446744073709551615").value == 18446744073709551615U);
    CHECK(parse_count("18446744073709551616").problem == "is too large");
    CHECK(parse_count("010").problem == "must not begin with 0");
    for (const char* text : {"", "-1", "+1", "1.0", "1e3", "0x10", "1_000", " 1", "1 ", "abc"}) {
        INFO(text);
        CHECK(parse_count(text).problem == "is not a whole number");
    }
}

TEST_CASE("units: permission bits are octal", "[config]") {
    CHECK(parse_mode("0777").value == file_mode{0777});
    CHECK(parse_mode("770").value == file_mode{0770});
    CHECK(parse_mode("0").value == file_mode{0});
    CHECK(parse_mode("0888").problem == "is not an octal number");
    CHECK(parse_mode("").problem == "is not an octal number");
    CHECK(parse_mode("-7").problem == "is not an octal number");
    CHECK(parse_mode("01777").problem == "is more than 0777");
    CHECK(print_mode(file_mode{0600}) == "0600");
}
