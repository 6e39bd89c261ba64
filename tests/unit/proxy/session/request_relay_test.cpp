#include "proxy/session/request_relay.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "tests/unit/proxy/session/relay_fixture.hpp"

// The words of a client, sync() and bind() among them, are those of the operating system too.
namespace pgmend::test {

using namespace pgmend::proxy;
using pgmend::protocol::transaction_status;

namespace {

struct one_client {
    relay_world world;
    std::unique_ptr<pgmend::pool::server_connection> server = world.worker.server();
    relay_client client{world};
    one_client() { client.server = server.get(); }
};

/// Says `bytes` in every possible way to a client made by `prepare`; what arrives must always be the same.
template <class Prepare>
std::string said_every_way(const std::string& bytes, Prepare&& prepare) {
    std::string expected;
    std::string expected_owed;
    bool first = true;
    split_every_way(bytes, [&](const std::vector<std::string>& pieces) {
        relay_world world;
        prepare(world);
        const auto server = world.worker.server();
        relay_client client{world};
        client.server = server.get();
        for (const auto& piece : pieces) {
            client.say(piece);
        }
        REQUIRE(client.unread.empty());
        REQUIRE_FALSE(client.relay.mid_message());
        if (first) {
            expected = client.to_server;
            expected_owed = owed(*server);
            first = false;
        }
        REQUIRE(client.to_server == expected);
        REQUIRE(owed(*server) == expected_owed);
        REQUIRE(client.to_client.empty());
    });
    return expected_owed + " " + expected;
}

}  // namespace

TEST_CASE("request relay: what needs no change goes on untouched, however it is cut") {
    const auto nothing = [](relay_world&) {};
    const std::pair<std::string, std::string> messages[]{
        {query("select 1"), "q"},
        {query(""), "q"},
        {parse("", "select $1", {23}), "p"},
        {bind("p", "unknown", {"1"}), "b"},
        {bind("", "unknown"), "b"},
        {describe('P', ""), "d"},
        {describe('S', "unknown"), "d"},
        {execute("p", 10), "e"},
        {execute(""), "e"},
        {close('P', "p"), "c"},
        {sync(), "s"},
        {flush(), ""},
        {copy_data("1\n2\n"), ""},
        {function_call(764), "f"},
    };
    for (const auto& [message, owes] : messages) {
        CAPTURE(types_of(message), message.size());
        CHECK(said_every_way(message, nothing) == owes + " " + message);
    }
    std::string all;
    for (const auto& [message, owes] : messages) {
        all += message;
    }
    CHECK(said_every_way(all, nothing).ends_with(" " + all));
}

TEST_CASE("request relay: a body larger than may be held passes through in parts") {
    const std::string large(5000, 'x');
    for (const std::string& message :
         {query("select '" + large + "'"), copy_data(large), parse("", "select '" + large + "'"),
          bind("p", "unknown", {large}), function_call(764)}) {
        for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{700}, message.size()}) {
            one_client c;
            c.client.context.held_message = 100;
            for (std::size_t at = 0; at < message.size(); at += step) {
                c.client.say(message.substr(at, step));
            }
            CHECK(c.client.sent() == message);
            CHECK(c.client.unread.empty());
        }
    }
}

TEST_CASE("request relay: what is too long to be read pins the server") {
    one_client c;
    c.client.context.held_message = 100;
    SECTION("a query") {
        const std::string text = query(std::string(500, ' ') + "select 1");
        c.client.say(text.substr(0, 200));
        CHECK(c.client.relay.mid_message());
        c.client.say(text.substr(200));
        CHECK_FALSE(c.client.relay.mid_message());
    }
    SECTION("a statement, unnamed") { c.client.say(parse("", std::string(500, ' ')).substr(0, 400)); }
    SECTION("a statement with a name") { c.client.say(parse("a", std::string(500, ' ')).substr(0, 400)); }
    CHECK(c.client.pins().has(pin_reason::unknown));
}

TEST_CASE("request relay: what is not the protocol is refused, and nothing of it goes on") {
    const std::string refused[]{
        "?" + u32(4),
        "p" + u32(4),
        std::string("\0\0\0\0\0", 5),
        "Q" + u32(0),
        "Q" + u32(3),
        "S" + u32(3),
        "H" + u32(0),
        "d" + u32(2),
        "Q" + u32(0x3fffffff),
        "Q" + u32(0xffffffff),
        "S" + u32(10'001),
        "X" + u32(10'001),
        "D" + u32(10'001),
        message('Q', ""),
        message('Q', "no zero"),
        parse(std::string(513, 'n'), "select 1"),
        test::bind(std::string(513, 'n'), ""),
        test::bind("", std::string(513, 'n')),
    };
    for (const std::string& bytes : refused) {
        CAPTURE(types_of(bytes), bytes.size());
        one_client c;
        CHECK(c.client.say(sync() + bytes) == request_result::violation);
        CHECK_FALSE(c.client.relay.violation().empty());
        CHECK(c.client.sent() == sync());
    }
    for (const std::string& bytes : {"Q" + u32(0x3ffffffe), "S" + u32(10'000), "X" + u32(10'000)}) {
        one_client c;
        CHECK(c.client.say(bytes) != request_result::violation);
    }
}

TEST_CASE("request relay: malformed bodies within their length are the server's to judge") {
    for (const std::string& bytes :
         {message('P', ""), message('P', "name without zero"), message('P', z("a")), message('B', ""),
          message('B', z("only one")), message('D', ""), message('D', "S"), message('D', "Sx"),
          message('C', ""), message('C', "S"), message('E', ""), message('F', ""), message('F', "abc"),
          message('D', 'S' + z("a") + "more"), message('C', 'S' + z("a") + "more")}) {
        CAPTURE(types_of(bytes), bytes.size());
        one_client c;
        CHECK(c.client.say(bytes) == request_result::need_more);
        CHECK(c.client.sent() == bytes);
        CHECK(c.server->owed.size() == 1);
    }
}

TEST_CASE("request relay: Terminate ends it, also while too much is owed") {
    one_client c;
    CHECK(c.client.say(terminate()) == request_result::terminate);
    CHECK(c.client.sent().empty());
    c.client.server = nullptr;
    CHECK(c.client.say("") == request_result::terminate);
}

TEST_CASE("request relay: without a server only what needs none is answered") {
    relay_world world;
    relay_client client{world};
    CHECK(client.say(sync()) == request_result::need_more);
    CHECK(client.told() == ready('I'));
    CHECK(client.say(flush() + copy_data("x") + copy_done() + copy_fail("y")) == request_result::need_more);
    CHECK(client.told().empty());
    for (const std::string& message :
         {query("select 1"), parse("", "select 1"), parse("a", "select 1"), bind("", ""), describe('S', ""),
          close('S', "a"), execute(), function_call(1)}) {
        relay_client other{world};
        CHECK(other.say(sync() + message) == request_result::need_server);
        CHECK(other.unread == message);
        CHECK(other.told() == ready('I'));
    }
}

TEST_CASE("request relay: a refused query is dropped whole, as it comes, and what follows is read") {
    const std::string refused = query("select '" + std::string(300, 'x') + "'");
    const std::string next = sync();
    for (const std::size_t here : {std::size_t{5}, std::size_t{100}, refused.size()}) {
        relay_world world;
        relay_client client{world};
        client.unread = refused.substr(0, here);
        bool needs_ready = false;
        const std::string start = client.unread;
        const std::size_t consumed =
            client.relay.refuse_front(std::as_bytes(std::span{start.data(), start.size()}), needs_ready);
        CHECK(needs_ready);
        CHECK(consumed == here);
        client.unread.erase(0, consumed);
        CHECK_FALSE(client.relay.mid_message());
        CHECK(client.say(refused.substr(here) + next) == request_result::need_more);
        CHECK(client.told() == ready('I'));
        CHECK(client.unread.empty());
    }
}

TEST_CASE("request relay: a refused group is skipped to its Sync, and no further") {
    relay_world world;
    relay_client client{world};
    const std::string group = parse("", "select 1") + bind("", "") + execute() + query("select 2");
    REQUIRE(client.say(group) == request_result::need_server);
    bool needs_ready = true;
    CHECK(
        client.relay.refuse_front(
            std::as_bytes(std::span{client.unread.data(), client.unread.size()}), needs_ready
        ) == 0
    );
    CHECK_FALSE(needs_ready);
    CHECK(client.say(flush()) == request_result::need_more);
    CHECK(client.told().empty());
    CHECK(client.say(sync() + query("select 3")) == request_result::need_server);
    CHECK(client.told() == ready('I'));
    CHECK(client.unread == query("select 3"));
}

TEST_CASE("request relay: what the server skips after an error is not sent, and not owed") {
    one_client c;
    c.client.say(parse("", "selec"));
    c.server->owed.skip_to_sync([](const auto&) {}, [](auto&) {});
    c.client.sent();
    CHECK(c.client.say(bind("", "") + execute() + query("select 1") + flush()) == request_result::need_more);
    CHECK(c.client.sent().empty());
    CHECK(c.server->owed.empty());
    c.client.say(sync() + query("select 2"));
    CHECK(c.client.sent() == sync() + query("select 2"));
    CHECK(owed(*c.server) == "sq");
}

TEST_CASE("request relay: no more replies are owed than may be, and copy data is owed none") {
    relay_world world;
    const auto server = world.worker.server(3);
    relay_client client{world};
    client.server = server.get();
    CHECK(client.say(query("1") + query("2") + query("3") + query("4")) == request_result::too_many);
    CHECK(client.sent() == query("1") + query("2") + query("3"));
    CHECK(client.unread == query("4"));
    CHECK_FALSE(client.relay.may_go_on(*server));
    REQUIRE(server->owed.ready());
    CHECK(client.relay.may_go_on(*server));
    CHECK(client.say("") == request_result::need_more);
    CHECK(client.sent() == query("4"));
    CHECK(client.say(copy_data("x")) == request_result::need_more);
    CHECK(client.sent() == copy_data("x"));
}

TEST_CASE("request relay: while the server copies in, Sync is passed on and owed no answer") {
    one_client c;
    c.client.say(execute("p"));
    c.server->owed.begin_copy_in();
    c.client.sent();
    c.client.say(copy_data("1\n") + sync() + flush() + copy_data("2\n") + copy_done() + sync());
    CHECK(c.client.sent() == copy_data("1\n") + sync() + flush() + copy_data("2\n") + copy_done() + sync());
    CHECK(owed(*c.server) == "e.s");
    CHECK_FALSE(c.server->owed.in_doubt());
}

TEST_CASE("request relay: while the server copies in, nothing is sent that makes it lose its place") {
    for (const std::string& other :
         {query("select 1"), parse("", "select 1"), bind("", ""), function_call(1)}) {
        one_client c;
        c.client.say(query("copy t from stdin"));
        c.server->owed.begin_copy_in();
        CHECK(c.client.say(copy_data("1\n") + other) == request_result::violation);
        char said[64];
        std::snprintf(
            said, sizeof said, "unexpected message type 0x%02X during COPY from stdin",
            static_cast<unsigned>(other[0])
        );
        CHECK(c.client.told().find(said) != std::string::npos);
        CHECK(
            c.client.relay.violation() == "terminating connection because protocol synchronization was lost"
        );
    }
    // What waits for the answers owed is looked at again as soon as one of them turns out to be a copy.
    one_client c;
    CHECK(
        c.client.say(query("copy t from stdin") + query("discard all") + sync()) == request_result::too_many
    );
    CHECK_FALSE(c.client.relay.may_go_on(*c.server));
    c.server->owed.begin_copy_in();
    CHECK(c.client.relay.may_go_on(*c.server));
    c.client.sent();
    CHECK(c.client.say("") == request_result::need_more);
    CHECK(c.client.sent() == sync());
}

TEST_CASE("request relay: a Sync sent while copying may be answered after all, if the copy had failed") {
    for (const bool extended : {true, false}) {
        one_client c;
        c.client.say(extended ? execute("p") : query("copy t from stdin"));
        c.server->owed.begin_copy_in();
        c.client.say(copy_data("bad") + sync());
        // The server's error was on its way already.
        c.server->owed.error_during_copy();
        c.server->owed.end_copy();
        if (extended) {
            c.server->owed.skip_to_sync([](const auto&) {}, [](auto&) {});
        } else {
            CHECK(c.server->owed.ready());
        }
        CHECK(c.server->owed.in_doubt());
        CHECK(c.server->owed.ready());
    }
}

TEST_CASE("request relay: functions on large objects leave nothing behind, others may") {
    for (const std::uint32_t function : {715U, 764U, 952U, 958U, 964U, 3172U}) {
        one_client c;
        c.client.say(function_call(function));
        CHECK(c.client.pins().empty());
    }
    for (const std::uint32_t function : {0U, 714U, 766U, 959U, 2077U, 3173U}) {
        one_client c;
        c.client.say(function_call(function));
        CHECK(c.client.pins().has(pin_reason::unknown));
    }
    one_client c;
    c.client.say(message('F', "ab"));
    CHECK(c.client.pins().has(pin_reason::unknown));
}

TEST_CASE("request relay: whether a lost request may have taken effect") {
    using status = transaction_status;
    struct example {
        std::string messages;
        bool idle, in_block, failed;
    };
    const auto extended = [](std::string_view text) {
        return parse("", text) + bind("", "") + execute() + sync();
    };
    const example examples[]{
        {query("select 1"), false, false, false},
        {query("begin"), false, false, false},
        {query("show work_mem"), false, false, false},
        {query("insert into t values (1)"), true, false, false},
        {query("select my_function()"), true, false, false},
        {query("insert into t values (1)") + query("commit"), true, true, false},
        {query("commit"), false, false, false},
        {query("begin; insert into t values (1); commit"), true, true, false},
        {query("call p()"), true, true, false},
        {query("frobnicate"), true, true, false},
        {extended("select 1"), false, false, false},
        {extended("insert into t values (1)"), true, false, false},
        {extended("insert into t values (1)") + extended("commit"), true, true, false},
        {function_call(764), true, false, false},
    };
    for (const auto& [messages, idle, in_block, failed] : examples) {
        CAPTURE(messages);
        one_client c;
        c.client.say(messages);
        const auto unknown = [&c](status last) {
            const auto& relay = c.client.relay;
            return last != status::failed && relay.may_have_written() &&
                   (last == status::idle || relay.commit_sent());
        };
        CHECK(unknown(status::idle) == idle);
        CHECK(unknown(status::in_block) == in_block);
        CHECK(unknown(status::failed) == failed);
        c.client.relay.request_over();
        CHECK_FALSE(unknown(status::idle));
        CHECK_FALSE(unknown(status::in_block));
    }
}

TEST_CASE("request relay: what changes the session is noted when it is executed, not when it is prepared") {
    one_client c;
    c.client.say(parse("", "listen a"));
    CHECK(c.client.pins().empty());
    c.client.say(bind("", ""));
    CHECK(c.client.pins().empty());
    c.client.say(execute());
    CHECK(c.client.pins().has(pin_reason::listen));
    // What the unnamed portal was made from is not what another is.
    one_client other;
    other.client.say(parse("", "listen a") + bind("", "") + execute("portal"));
    CHECK(other.client.pins().empty());
    // A simple Query takes the unnamed portal away.
    one_client gone;
    gone.client.say(parse("", "listen a") + bind("", "") + query("select 1") + execute());
    CHECK(gone.client.pins().empty());
    // A portal with a name may be executed in many ways: noted when it is bound.
    one_client named;
    named.client.say(parse("", "listen a") + bind("portal", ""));
    CHECK(named.client.pins().has(pin_reason::listen));
}

TEST_CASE("request relay: behind a statement that forgets the prepared ones, others wait for its end") {
    for (const std::string_view text : {"discard all", "deallocate all", "deallocate x"}) {
        one_client c;
        CAPTURE(text);
        CHECK(c.client.say(query(text) + query("select 1")) == request_result::too_many);
        CHECK(c.client.sent() == query(text));
        CHECK_FALSE(c.client.relay.may_go_on(*c.server));
        answer_all(*c.server);
        CHECK(c.client.relay.may_go_on(*c.server));
        CHECK(c.client.say("") == request_result::need_more);
        CHECK(c.client.sent() == query("select 1"));
    }
    // In a group they wait for its Sync and not before: the server answers nothing until then.
    one_client c;
    const std::string group =
        parse("", "discard all") + bind("", "") + execute() + describe('P', "") + sync();
    CHECK(c.client.say(group + query("select 1")) == request_result::too_many);
    CHECK(c.client.sent() == group);
}

TEST_CASE("request relay: a change of the schema makes later statements new ones") {
    one_client c;
    const std::uint64_t before = c.world.epoch;
    c.client.say(query("select 1"));
    CHECK(c.world.epoch == before);
    c.client.say(query("create table t (a int)"));
    CHECK(c.world.epoch > before);
}

TEST_CASE("request relay: temporary objects are the trait of the server that has them") {
    one_client c;
    c.client.say(query("create temp table t (a int)"));
    CHECK(c.server->close_when_free);
    const auto next = c.world.worker.server();
    c.client.server = next.get();
    c.client.say(query("select 1") + query("insert into t values (1)"));
    CHECK_FALSE(next->close_when_free);
}

TEST_CASE("request relay: a cancel under way is not for the next request") {
    one_client c;
    c.server->cancels_under_way = 1;
    CHECK(c.client.say(query("select 1")) == request_result::too_many);
    CHECK(c.client.sent().empty());
    c.server->cancels_under_way = 0;
    CHECK(c.client.say("") == request_result::need_more);
    CHECK(c.client.sent() == query("select 1"));
}

TEST_CASE("request relay: any bytes at all are dealt with, and every call gets on") {
    std::mt19937 random{3};
    const std::string letters = "BCDEFHPQSXcdf?";
    for (int run = 0; run < 3000; ++run) {
        one_client c;
        c.client.context.held_message = 200;
        std::string bytes;
        for (int i = 0; i < 6; ++i) {
            std::string body;
            for (std::size_t n = random() % 40; n > 0; --n) {
                body += static_cast<char>(random() % 3 == 0 ? 0 : random() % 256);
            }
            bytes += message(letters[random() % letters.size()], body);
        }
        if (random() % 4 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
        std::size_t at = 0;
        while (at < bytes.size()) {
            const std::size_t step = 1 + random() % 50;
            const request_result result = c.client.say(bytes.substr(at, step));
            at += step;
            if (result != request_result::need_more) break;
        }
    }
}

TEST_CASE("request relay: what others drew from sequences is forgotten ahead of the question") {
    one_client one;
    one.client.facts.server_taken(true);
    one.client.say(query("select lastval()"));
    CHECK(one.client.sent() == query("DISCARD SEQUENCES") + query("select lastval()"));
    CHECK(owed(*one.server) == "q!q");
    answer_all(*one.server);

    one.client.facts.server_taken(true);
    one.client.say(parse("", "select currval('s')") + bind("", "") + execute() + sync());
    const std::string sent = one.client.sent();
    const auto forgets = sent.find("DISCARD SEQUENCES");
    REQUIRE(forgets != sent.npos);
    CHECK(forgets < sent.find(bind("", "")));
    CHECK(owed(*one.server) == "pc-p-b-e-c-bes");
    answer_all(*one.server);

    // Not in a block that has failed, where it would fail; behind what ends it all the same.
    one.client.facts.server_taken(true);
    one.server->status = transaction_status::failed;
    one.client.say(query("select lastval()"));
    CHECK(one.client.sent() == query("select lastval()"));
    answer_all(*one.server);
    one.client.say(parse("", "rollback") + bind("", "") + execute());
    one.client.sent();
    one.client.say(parse("", "select lastval()") + bind("", "") + execute() + sync());
    CHECK(one.client.sent().find("DISCARD SEQUENCES") != std::string::npos);
    answer_all(*one.server);

    // Nor where the end of the failed block stands in the same Query: there it is left, and entered again.
    const std::string fails = "ROLLBACK TO SAVEPOINT pgmend_lost_block";
    for (const auto& [end, front, back] : std::vector<std::array<std::string, 3>>{
             {"rollback", "ROLLBACK", "BEGIN; " + fails},
             {"commit", "ROLLBACK", "BEGIN; " + fails},
             {"rollback and chain", "ROLLBACK AND CHAIN", fails}}) {
        one_client other;
        other.client.facts.server_taken(true);
        other.server->status = transaction_status::failed;
        const std::string asks = query(end + "; select lastval()");
        other.client.say(asks);
        CHECK(other.client.sent() == query(front) + query("DISCARD SEQUENCES") + query(back) + asks);
        CHECK(owed(*other.server) == "q!q!q!q");
    }
}

namespace {

const statement_tally& tally_of(const relay_world& world, std::string_view text) {
    static const statement_tally none;
    for (const statement_tally* each : world.tallies.all()) {
        if (each->text == text) return *each;
    }
    return none;
}

std::uint32_t times(const statement_tally& tally, replay_hindrance why) {
    return tally.hinders[static_cast<std::size_t>(why)];
}

}  // namespace

TEST_CASE("request relay: statements are counted by their shape, by either protocol") {
    one_client c;
    c.client.say(query("select 1") + query("select  2 -- two") + query("begin"));
    const auto select = c.server->owed.at(0).tally;
    CHECK(c.server->owed.at(1).tally == select);
    CHECK(c.server->owed.at(2).tally != select);
    CHECK(c.client.relay.awaited_tally(*c.server) == select);
    CHECK(tally_of(c.world, "select ?").calls == 2);
    CHECK(tally_of(c.world, "BEGIN").calls == 1);
    answer_all(*c.server);
    CHECK(std::exchange(c.server->tally, 0) != 0);
    c.client.say(parse("a", "select 3") + sync());
    answer_all(*c.server);
    CHECK(c.server->tally == 0);
    CHECK(c.client.relay.awaited_tally(*c.server) == 0);
    // A Parse that fails is the failure of what was to be executed.
    c.client.say(parse("", "select 4") + bind("", "") + execute() + sync());
    CHECK(c.client.relay.awaited_tally(*c.server) == select);
    answer_all(*c.server);
    c.client.say(bind("", "a") + execute() + sync());
    CHECK(c.server->tally == select);
    CHECK(tally_of(c.world, "select ?").calls == 4);
}

TEST_CASE("request relay: the first rows of a named portal are its statement's, further ones are nobody's") {
    one_client c;
    c.client.say(parse("a", "select 1") + bind("p", "a") + execute("p", 1) + sync());
    const auto first = c.server->owed.at(2).tally;
    CHECK(c.server->tally == first);
    CHECK(tally_of(c.world, "select ?").calls == 1);
    answer_all(*c.server);
    c.server->tally = 0;
    c.client.say(execute("p", 1) + sync());
    CHECK(c.server->tally == c.world.tallies.place_of(0));
    CHECK(tally_of(c.world, "select ?").calls == 1);
}

TEST_CASE("request relay: the first statement that keeps its transaction from being run again is blamed") {
    one_client c;
    c.client.say(query("begin"));
    c.server->status = transaction_status::in_block;
    answer_all(*c.server);
    c.client.say(query("insert into t values (1)"));
    CHECK_FALSE(c.client.relay.unprotected());
    c.client.say(query("select pg_advisory_xact_lock(1)") + query("call p()"));
    CHECK(c.client.relay.unprotected());
    CHECK(
        times(tally_of(c.world, "select pg_advisory_xact_lock ( ? )"), replay_hindrance::advisory_lock) == 1
    );
    for (const auto why : {replay_hindrance::procedure, replay_hindrance::wrote_outside})
        CHECK(times(tally_of(c.world, "call p ( )"), why) == 0);
    answer_all(*c.server);
    c.server->status = transaction_status::idle;
    c.client.relay.request_over();
    CHECK_FALSE(c.client.relay.unprotected());
    c.client.say(query("insert into t values (2)"));
    CHECK(c.client.relay.unprotected());
    CHECK(times(tally_of(c.world, "insert into t values ( ? )"), replay_hindrance::wrote_outside) == 1);
}

}  // namespace pgmend::test
