// Goal: whoever accepts them, clients are even. Method: the rule by hand, and random comings and goings.

#include "proxy/client_counts.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using pgmend::proxy::client_counts;

TEST_CASE("client_counts: a client is whose it came to, unless another has two fewer", "[proxy]") {
    client_counts counts(2);
    CHECK(counts.place(0) == 0);
    CHECK(counts.place(0) == 0);
    CHECK(counts.place(0) == 1);
    CHECK(counts.place(0) == 0);
    CHECK(counts.place(0) == 1);
    CHECK(counts.place(1) == 1);
    CHECK(counts.of(0) == 3);
    CHECK(counts.of(1) == 3);
    counts.gone(0);
    counts.gone(0);
    CHECK(counts.place(1) == 0);
    CHECK(counts.place(1) == 1);
}

TEST_CASE("client_counts: one worker keeps all", "[proxy]") {
    client_counts counts(1);
    for (int i = 0; i < 5; ++i)
        CHECK(counts.place(0) == 0);
}

TEST_CASE("client_counts: all that come to one worker are even, whoever goes", "[proxy]") {
    std::mt19937 random(5);
    client_counts counts(4);
    for (int step = 0; step < 10000; ++step) {
        const unsigned some = random() % 4;
        if (random() % 2 == 0) {
            if (counts.of(some) != 0) counts.gone(some);
            continue;
        }
        const std::size_t before = counts.of(some);
        const unsigned whose = counts.place(some);
        std::size_t fewest = counts.of(0);
        for (unsigned i = 1; i < 4; ++i)
            fewest = std::min(fewest, counts.of(i));
        REQUIRE((whose == some ? before <= fewest + 2 : counts.of(whose) <= fewest + 1));
    }
    for (unsigned i = 0; i < 4; ++i)
        while (counts.of(i) != 0)
            counts.gone(i);
    for (int i = 0; i < 400; ++i)
        counts.place(2);
    for (unsigned i = 0; i < 4; ++i)
        CHECK(counts.of(i) >= 99);
}
