#include "pool/server_statements.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::pool;

namespace {
constexpr auto absent = statement_presence::absent;
constexpr auto present = statement_presence::present;
constexpr auto uncertain = statement_presence::uncertain;
constexpr auto pending = statement_presence::pending;
}  // namespace

TEST_CASE(
    "server statements: a Parse that was sent is relied on in its own group, and elsewhere once it is certain"
) {
    server_statements known{10};
    CHECK(known.use(1, 5) == absent);
    known.insert(1, 5);
    CHECK(known.use(1, 5) == pending);
    CHECK(known.use(1, 6) == uncertain);
    known.confirm(1);
    CHECK(known.use(1, 6) == present);
    known.confirm(99);  // unknown: nothing happens
    CHECK(known.size() == 1);
}

TEST_CASE("server statements: a skipped Parse is forgotten, unless a later one was sent") {
    server_statements known{10};
    known.insert(1, 5);
    known.skipped(1);
    CHECK(known.use(1, 5) == absent);
    known.insert(1, 5);
    known.insert(1, 6);
    CHECK(known.size() == 1);
    known.skipped(1);
    CHECK(known.use(1, 6) == pending);
    known.confirm(1);
    CHECK(known.use(1, 7) == present);
}

TEST_CASE("server statements: parsed anew, it is uncertain again for other groups") {
    server_statements known{10};
    known.insert(1, 5);
    known.confirm(1);
    known.insert(1, 6);
    CHECK(known.use(1, 7) == uncertain);
}

TEST_CASE("server statements: a Close that was skipped leaves the statement where it was") {
    server_statements known{1};
    known.insert(1, 5);
    known.confirm(1);
    CHECK(known.evict(5) == 1);
    CHECK(known.use(1, 5) == absent);
    known.skipped(1);
    CHECK(known.use(1, 9) == present);
    // It is the first to go again, and is not counted twice.
    CHECK(known.size() == 1);
    known.insert(2, 9);
    CHECK(known.evict(9) == 1);
}

TEST_CASE(
    "server statements: what was parsed, closed and parsed in one group is known by what was carried out"
) {
    // Parse, Close, Parse, and how many of them the server did before the error.
    for (const auto& [carried_out, expected] :
         {std::pair{0, absent}, std::pair{1, present}, std::pair{2, absent}, std::pair{3, present}}) {
        server_statements known{1};
        known.insert(1, 5);
        CHECK(known.evict(5) == 1);
        known.insert(1, 5);
        CHECK(known.use(1, 5) == pending);
        for (int done = 0; done < carried_out; ++done) {
            if (done == 1) {
                known.closed(1);
            } else {
                known.confirm(1);
            }
        }
        for (int left = carried_out; left < 3; ++left) {
            CHECK(known.use(1, 6) == uncertain);
            known.skipped(1);
        }
        CHECK(known.use(1, 6) == expected);
        CHECK(known.size() == (expected == present ? 1 : 0));
    }
}

TEST_CASE("server statements: while its Close is under way in another group, nobody parses it again") {
    server_statements known{1};
    known.insert(1, 5);
    known.confirm(1);
    CHECK(known.evict(6) == 1);
    CHECK(known.use(1, 6) == absent);
    CHECK(known.use(1, 7) == uncertain);
    known.closed(1);
    CHECK(known.use(1, 7) == absent);
}

TEST_CASE("server statements: a later group's Close outlives what is skipped before it") {
    server_statements known{1};
    known.insert(1, 5);
    known.confirm(1);
    known.close(1, 6);
    known.insert(1, 6);
    CHECK(known.evict(7) == 1);
    known.skipped(1);
    known.skipped(1);
    CHECK(known.use(1, 7) == absent);
    known.closed(1);
    CHECK(known.use(1, 8) == absent);
}

TEST_CASE("server statements: the least recently used goes first, and only when there is no room") {
    server_statements known{3};
    known.insert(1, 0);
    known.insert(2, 0);
    CHECK(known.evict(0) == std::nullopt);
    known.insert(3, 0);
    CHECK(known.use(1, 0) == pending);
    known.insert(2, 0);  // also a use
    CHECK(known.evict(0) == 3);
    CHECK(known.size() == 2);
    CHECK(known.evict(0) == std::nullopt);
    known.insert(4, 0);
    CHECK(known.evict(0) == 1);
}

TEST_CASE("server statements: the unnamed one follows the same rules") {
    server_statements known{3};
    CHECK_FALSE(known.unnamed_is(7, 1));
    known.set_unnamed(7, 1);
    CHECK(known.unnamed_is(7, 1));
    CHECK_FALSE(known.unnamed_is(8, 1));
    CHECK_FALSE(known.unnamed_is(7, 2));
    known.confirm_unnamed(8);  // an earlier one's answer says nothing of this one
    CHECK_FALSE(known.unnamed_is(7, 2));
    known.confirm_unnamed(7);
    CHECK(known.unnamed_is(7, 2));
    known.set_unnamed(9, 2);
    CHECK_FALSE(known.unnamed_is(7, 2));
    CHECK_FALSE(known.unnamed_is(9, 3));
    known.drop_unnamed();
    CHECK_FALSE(known.unnamed_is(9, 2));
}

TEST_CASE("server statements: after DISCARD ALL nothing is known, the unnamed one included") {
    server_statements known{3};
    known.insert(1, 0);
    known.confirm(1);
    known.set_unnamed(7, 0);
    known.insert(2, 1);  // sent behind it, and carried out after it
    known.clear();
    CHECK(known.size() == 1);
    CHECK(known.use(1, 0) == absent);
    CHECK(known.use(2, 1) == pending);
    known.confirm(2);
    CHECK(known.use(2, 3) == present);
    CHECK_FALSE(known.unnamed_is(7, 0));
}

TEST_CASE("server statements: names are ours") { CHECK(server_statements::name_of(42) == "pgmend_42"); }
