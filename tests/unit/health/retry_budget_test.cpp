#include "health/retry_budget.hpp"

#include <catch2/catch.hpp>

using pgmend::health::retry_budget;

TEST_CASE("retry budget: half of it may be spent at once, then only what successes earn", "[health]") {
    retry_budget budget{20};
    CHECK(budget.tokens() == 10);
    int taken = 0;
    while (budget.take())
        ++taken;
    CHECK(taken == 5);
    for (int i = 0; i < 9; ++i) {
        budget.succeeded();
    }
    CHECK(budget.take());  // above half by nine tenths of a token
    CHECK_FALSE(budget.take());
    for (int i = 0; i < 1000; ++i) {
        budget.succeeded();
    }
    CHECK(budget.tokens() == 10);
}

TEST_CASE("retry budget: it grows and shrinks with the clients", "[health]") {
    retry_budget budget{20};
    budget.scale(1000);
    CHECK(budget.tokens() == 200);
    int taken = 0;
    while (budget.take())
        ++taken;
    CHECK(taken == 100);
    budget.scale(1000);
    CHECK_FALSE(budget.take());
    budget.scale(10);
    CHECK(budget.tokens() == 10);
    retry_budget none{0};
    none.scale(100'000);
    CHECK(none.tokens() == 10);
}

TEST_CASE(
    "retry budget: over any row of requests, retries stay within half the bucket and a tenth of the "
    "successes",
    "[health]"
) {
    for (unsigned seed = 1; seed < 500; ++seed) {
        retry_budget budget{50};
        budget.scale(100);
        unsigned state = seed * 2654435761U;
        int successes = 0;
        int retries = 0;
        for (int i = 0; i < 400; ++i) {
            state = state * 1664525U + 1013904223U;
            if ((state >> 16) % 3 == 0) {
                budget.succeeded();
                ++successes;
            } else if (budget.take()) {
                ++retries;
            }
            REQUIRE(retries <= 25 + successes / 10 + 1);
        }
    }
}
