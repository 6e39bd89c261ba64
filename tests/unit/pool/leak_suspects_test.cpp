#include <catch2/catch.hpp>

#include "pool/leak_suspects.hpp"

using namespace pgmend::pool;

namespace {

recent_shapes ran(std::initializer_list<std::uint64_t> shapes) {
    recent_shapes recent;
    for (const std::uint64_t shape : shapes)
        recent.add(shape);
    return recent;
}

}  // namespace

TEST_CASE("leaks: a connection remembers the last different shapes, and what has none is none", "[pool]") {
    recent_shapes recent = ran({1, 1, 0, 2, 1});
    leak_suspects suspects;
    suspects.accuse(recent);
    CHECK(suspects.suspected(1));
    CHECK(suspects.suspected(2));
    CHECK_FALSE(suspects.suspected(0));
    for (std::uint64_t shape = 100; shape < 116; ++shape)
        recent.add(shape);
    leak_suspects later;
    later.accuse(recent);
    CHECK_FALSE(later.suspected(1));
    CHECK(later.suspected(100));
    recent.clear();
    leak_suspects nobody;
    nobody.accuse(recent);
    CHECK(nobody.empty());
}

TEST_CASE("leaks: the only suspect of a request is told once, several are not told apart", "[pool]") {
    recent_shapes recent;
    CHECK(recent.take_suspect() == 0);
    recent.suspect(7);
    recent.suspect(7);
    CHECK(recent.take_suspect() == 7);
    CHECK(recent.take_suspect() == 0);
    recent.suspect(7);
    recent.suspect(8);
    CHECK(recent.take_suspect() == 0);
    recent.suspect(8);
    CHECK(recent.take_suspect() == 8);
}

TEST_CASE("leaks: a suspect that leaks is convicted for good", "[pool]") {
    leak_suspects suspects;
    suspects.accuse(ran({7}));
    CHECK_FALSE(suspects.convicted(7));
    suspects.judge(7, true);
    CHECK(suspects.convicted(7));
    for (int i = 0; i < 1000; ++i)
        suspects.judge(7, false);
    CHECK(suspects.convicted(7));
    CHECK(suspects.suspected(7));
}

TEST_CASE(
    "leaks: a suspect that is innocent often enough is let go, and begins anew when accused again", "[pool]"
) {
    leak_suspects suspects;
    suspects.accuse(ran({7}));
    for (int i = 0; i < 49; ++i)
        suspects.judge(7, false);
    CHECK(suspects.suspected(7));
    suspects.accuse(ran({7}));
    for (int i = 0; i < 49; ++i)
        suspects.judge(7, false);
    CHECK(suspects.suspected(7));
    suspects.judge(7, false);
    CHECK(suspects.empty());
    suspects.judge(7, true);
    CHECK(suspects.empty());
}

TEST_CASE("leaks: there are never more than so many suspects", "[pool]") {
    leak_suspects suspects;
    for (std::uint64_t shape = 1; shape <= 1000; ++shape)
        suspects.accuse(ran({shape}));
    CHECK(suspects.suspected(1));
    CHECK_FALSE(suspects.suspected(1000));
    suspects.judge(1, true);
    suspects.accuse(ran({1}));
    CHECK(suspects.convicted(1));
}
