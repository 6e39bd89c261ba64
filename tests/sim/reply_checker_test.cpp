// The judge of one connection knows the right answer to anything, and which rows were promised.

#include <algorithm>

#include <catch2/catch.hpp>

#include "tests/sim/reply_checker.hpp"

using namespace pgmend::sim;
namespace fe = pgmend::sim::frontend;

namespace {

/// A connection and the server that answers it; answers can be changed on their way.
struct conversation {
    judge court;
    reply_checker checker{court, "c1.1", {{"user", "app"}, {"database", "app"}}};
    sim_database database;
    backend_model server{database, 9, "key!", {}};
    bool faults = false;

    conversation() {
        server.welcome();
        hear();
    }
    void send(const std::string& bytes) {
        std::size_t at = 0;
        const auto sent = *next_message(bytes, at);
        checker.sent(sent);
        server.receive(sent);
        server.produce(1'000'000);
    }
    /// Gives the server's answers to the checker, all or the first ones.
    void hear(std::size_t count = 1'000'000) {
        std::size_t at = 0;
        for (; count > 0; --count) {
            const auto next = next_message(server.out, at);
            if (!next) break;
            checker.received(*next, faults);
        }
        server.out.clear();
    }
    answer hear_error(const std::string& code, const std::string& severity = "ERROR") {
        std::string out;
        message_builder(out, 'E').u8('V').string(severity).u8('C').string(code).u8(0).end();
        std::size_t at = 0;
        return checker.received(*next_message(out, at), faults);
    }
    answer hear_ready(const std::string& status) {
        std::string out;
        message_builder(out, 'Z').raw(status).end();
        std::size_t at = 0;
        return checker.received(*next_message(out, at), faults);
    }
    std::optional<oracle> convicted() const {
        return court.first() ? std::optional(court.first()->which) : std::nullopt;
    }
};

}  // namespace

TEST_CASE(
    "reply_checker: who asks for a newer protocol is told, once and only when there is a reason", "[sim]"
) {
    const auto hear = [](std::uint32_t asked, std::uint32_t told, int times, std::size_t key_size) {
        judge court;
        reply_checker checker{court, "c1.1", {{"user", "app"}}};
        checker.asks_minor(asked);
        std::string out;
        for (int more = times; more > 0; --more)
            message_builder(out, 'v').u32((3U << 16) + told).u32(0).end();
        message_builder(out, 'K').raw(std::string(key_size, 'k')).end();
        std::size_t at = 0;
        while (const auto next = next_message(out, at))
            checker.received(*next, false);
        return !court.convicted();
    };
    CHECK(hear(0, 0, 0, 8));
    CHECK(hear(2, 0, 1, 8));
    CHECK(hear(2, 0, 0, 36));
    CHECK(hear(9, 2, 1, 36));
    CHECK_FALSE(hear(0, 0, 0, 36));  // a long key is nothing for an old client
    CHECK_FALSE(hear(2, 0, 1, 36));
    CHECK_FALSE(hear(2, 0, 2, 8));
    CHECK_FALSE(hear(2, 2, 1, 8));
    CHECK_FALSE(hear(9, 0, 0, 8));
}

TEST_CASE("reply_checker: protocol options that nobody knows are named, all of them", "[sim]") {
    const auto hear = [](const std::vector<std::string>& named) {
        judge court;
        reply_checker checker{court, "c1.1", {{"user", "app"}, {"_pq_.one", "1"}, {"_pq_.two", "2"}}};
        std::string out;
        message_builder negotiation(out, 'v');
        negotiation.u32(3U << 16).u32(static_cast<std::uint32_t>(named.size()));
        for (const auto& name : named)
            negotiation.string(name);
        negotiation.end();
        std::size_t at = 0;
        checker.received(*next_message(out, at), false);
        return !court.convicted();
    };
    CHECK(hear({"_pq_.one", "_pq_.two"}));
    CHECK_FALSE(hear({"_pq_.one"}));
    CHECK_FALSE(hear({}));
}

TEST_CASE("reply_checker: PostgreSQL's own answers are right", "[sim]") {
    conversation talk;
    talk.send(fe::query("SELECT 'c1.1#1'; SET TimeZone TO 'X'; INSERT INTO kv VALUES ('c1.1#k', 'v')"));
    CHECK_FALSE(talk.checker.satisfied());
    talk.hear();
    CHECK(talk.checker.satisfied());
    CHECK_FALSE(talk.convicted());
    REQUIRE(talk.checker.possible_rows().size() == 1);
    CHECK(talk.checker.possible_rows()[0].size() == 1);
}

TEST_CASE("reply_checker: without an answer a commit is possible, not certain", "[sim]") {
    conversation talk;
    talk.send(fe::query("INSERT INTO kv VALUES ('c1.1#k', 'v')"));
    CHECK(talk.checker.possible_rows().size() == 2);
    // CommandComplete comes after the commit.
    talk.hear(1);
    CHECK(talk.checker.possible_rows().size() == 1);
}

TEST_CASE("reply_checker: in a pipeline CommandComplete promises nothing, ReadyForQuery does", "[sim]") {
    conversation talk;
    talk.send(fe::parse("", "INSERT INTO kv VALUES ('c1.1#k', 'v')"));
    talk.send(fe::bind("", ""));
    talk.send(fe::execute(""));
    talk.send(fe::sync());
    std::size_t at = 0;
    for (int left = 3; left > 0; --left)
        talk.checker.received(*next_message(talk.server.out, at), false);
    CHECK(talk.checker.possible_rows().size() == 2);
    talk.checker.received(*next_message(talk.server.out, at), false);
    CHECK(talk.checker.possible_rows().size() == 1);
}

TEST_CASE("reply_checker: who was told an error has nothing committed, unless it was told unknown", "[sim]") {
    conversation talk;
    talk.faults = true;
    talk.send(fe::query("INSERT INTO kv VALUES ('c1.1#k', 'v')"));
    SECTION("a retryable error") {
        CHECK(talk.hear_error("40001") == answer::excused);
        REQUIRE(talk.checker.possible_rows().size() == 1);
        CHECK(talk.checker.possible_rows()[0].empty());
    }
    SECTION("an unknown outcome") {
        CHECK(talk.hear_error("08007") == answer::excused);
        CHECK(talk.checker.possible_rows().size() == 2);
    }
    SECTION("the connection is ended") {
        CHECK(talk.hear_error("57P01", "FATAL") == answer::farewell);
        CHECK(talk.checker.possible_rows().size() == 2);
    }
}

TEST_CASE("reply_checker: what a pipeline has behind a failed group runs without it", "[sim]") {
    conversation talk;
    talk.faults = true;
    for (const char* key : {"c1.1#1", "c1.1#2", "c1.1#3"}) {
        talk.send(fe::parse("", std::string("INSERT INTO kv VALUES ('") + key + "', 'v')"));
        talk.send(fe::bind("", ""));
        talk.send(fe::execute(""));
        talk.send(fe::sync());
    }
    talk.hear(4);  // the first is done
    CHECK(talk.hear_error("57P01") == answer::excused);
    const auto possible = talk.checker.possible_rows();
    const auto may_be = [&possible](const reply_checker::rows& rows) {
        return std::find(possible.begin(), possible.end(), rows) != possible.end();
    };
    CHECK(possible.size() == 2);
    CHECK(may_be({{"c1.1#1", "v"}}));
    CHECK(may_be({{"c1.1#1", "v"}, {"c1.1#3", "v"}}));
}

TEST_CASE("reply_checker: the same errors are wrong while nothing has gone wrong", "[sim]") {
    conversation talk;
    talk.send(fe::query("SELECT 1"));
    CHECK(talk.hear_error("40001") == answer::wrong);
    CHECK(talk.convicted() == oracle::wrong_reply);
}

TEST_CASE("reply_checker: a cancel nobody asked for is known as such", "[sim]") {
    conversation talk;
    talk.faults = true;
    talk.send(fe::query("SELECT 1"));
    CHECK(talk.hear_error("57014") == answer::wrong);
    CHECK(talk.convicted() == oracle::foreign_cancel);
}

TEST_CASE("reply_checker: a cancellable statement may end either way", "[sim]") {
    conversation talk;
    std::size_t at = 0;
    const auto sleep = *next_message(fe::query("SELECT pg_sleep(1)"), at);
    talk.checker.sent_cancellable(sleep);
    CHECK_FALSE(talk.checker.satisfied());
    talk.server.receive(sleep);
    if (GENERATE(false, true)) {
        talk.server.cancel();
    } else {
        talk.server.wake();
        talk.server.produce(1000);
    }
    talk.hear();
    CHECK(talk.checker.satisfied());
    CHECK_FALSE(talk.convicted());
}

TEST_CASE(
    "reply_checker: who was told of a loss goes on, and is judged by what its session is then", "[sim]"
) {
    conversation talk;
    talk.faults = true;
    const auto lost = [&talk](const char* status) {
        CHECK(talk.hear_error("40003") == answer::excused);
        CHECK_FALSE(talk.checker.satisfied());
        CHECK(talk.hear_ready(status) == answer::fine);
        CHECK(talk.checker.satisfied());
        return talk.checker.goes_on();
    };
    talk.send(fe::query("SET work_mem TO '7MB'; INSERT INTO kv VALUES ('c1.1#1', 'v')"));
    talk.hear();
    SECTION("in the failed block that it believes in") {
        talk.send(fe::query("BEGIN"));
        talk.send(fe::query("INSERT INTO kv VALUES ('c1.1#2', 'v'); SET work_mem TO '8MB'"));
        talk.send(fe::query("SAVEPOINT a"));
        talk.hear();
        talk.send(fe::query("SELECT v FROM kv WHERE k = 'c1.1#2'"));
        talk.server.out.clear();
        SECTION("which is not there any more") {
            CHECK_FALSE(lost("I"));
            CHECK(talk.convicted() == oracle::wrong_reply);
            return;
        }
        SECTION("and without its savepoints") {
            REQUIRE(lost("E"));
            talk.server.lose(true);
            talk.send(fe::query("SELECT 'c1.1#3'"));
            talk.send(fe::query("ROLLBACK TO SAVEPOINT a"));
            talk.send(fe::query("ROLLBACK"));
        }
    }
    SECTION("outside of a block") {
        talk.send(fe::query("INSERT INTO kv VALUES ('c1.1#2', 'v')"));
        talk.server.out.clear();
        talk.server.receive({'Q', std::string("DELETE FROM kv WHERE k = 'c1.1#2'") + '\0'});
        talk.server.out.clear();
        REQUIRE(lost("I"));
    }
    talk.send(fe::query("SHOW work_mem"));
    talk.hear();
    CHECK(talk.checker.satisfied());
    CHECK_FALSE(talk.convicted());
    REQUIRE(talk.checker.possible_rows().size() == 1);
    CHECK(talk.checker.possible_rows()[0] == reply_checker::rows{{"c1.1#1", "v"}});
}

TEST_CASE("reply_checker: of what is not known to have been done nobody says what the session is", "[sim]") {
    conversation talk;
    talk.faults = true;
    std::string code = "40003";
    SECTION("a write whose outcome is unknown") {
        talk.send(fe::query("INSERT INTO kv VALUES ('c1.1#1', 'v')"));
        code = "08007";
    }
    SECTION("what outlives its transaction") { talk.send(fe::query("PREPARE mine AS SELECT 1")); }
    SECTION("two commits in one request") {
        talk.send(
            fe::query("BEGIN; INSERT INTO kv VALUES ('c1.1#1', 'v'); COMMIT; INSERT INTO kv VALUES "
                      "('c1.1#2', 'v')")
        );
    }
    CHECK(talk.hear_error(code) == answer::excused);
    CHECK(talk.hear_ready("I") == answer::fine);
    CHECK_FALSE(talk.checker.goes_on());
    CHECK_FALSE(talk.convicted());
}

TEST_CASE(
    "reply_checker: also an error that a fault explains is given once, and ReadyForQuery follows", "[sim]"
) {
    conversation talk;
    talk.faults = true;
    talk.send(fe::query("SELECT 'c1.1#1'"));
    CHECK(talk.hear_error("08006") == answer::excused);
    SECTION("two errors") {
        CHECK(talk.hear_error("08006") == answer::wrong);
        CHECK(talk.convicted() == oracle::unexpected_reply);
    }
    SECTION("an answer behind it") {
        talk.hear(1);
        CHECK(talk.convicted() == oracle::wrong_reply);
    }
}
