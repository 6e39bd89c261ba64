// The part of request_relay that knows prepared statements.
#include <catch2/catch.hpp>

#include "tests/unit/proxy/session/relay_fixture.hpp"

// The words of a client, sync() and bind() among them, are those of the operating system too.
namespace pgmend::test {

using namespace pgmend::proxy;
using pgmend::protocol::transaction_status;

namespace {

struct one_client {
    relay_world world;
    std::unique_ptr<pool::server_connection> server = world.worker.server();
    relay_client client{world};
    one_client() { client.server = server.get(); }

    /// The client has `name` for `text`, and the server has it under "pgmend_<id>".
    void prepared(std::string_view name, std::string_view text) {
        REQUIRE(client.say(parse(name, text) + sync()) == request_result::need_more);
        answer_all(*server);
        client.sent();
    }
};

const std::string forced_error = describe('S', "pgmend_none");
const std::string nobodys = close('S', "");  // in front of who speaks of an unnamed statement and has none

}  // namespace

TEST_CASE("prepared statements: a name becomes the server's, and everything else stays, however it is cut") {
    const std::string bytes = parse("a", "select $1", {23}) + describe('S', "a") +
                              bind("portal", "a", {"1", "22"}) + bind("", "a", {"333"}) + execute() + sync();
    const std::string expected = parse("pgmend_1", "select $1", {23}) + describe('S', "pgmend_1") +
                                 bind("portal", "pgmend_1", {"1", "22"}) + bind("", "pgmend_1", {"333"}) +
                                 execute() + sync();
    split_every_way(bytes, [&](const std::vector<std::string>& pieces) {
        one_client c;
        for (const auto& piece : pieces) {
            c.client.say(piece);
        }
        REQUIRE(c.client.to_server == expected);
        REQUIRE(owed(*c.server) == "pdbbes");
        REQUIRE(c.client.unread.empty());
    });
}

TEST_CASE("prepared statements: a long Parse and a long Bind are rewritten at their front alone") {
    const std::string large(5000, 'v');
    for (const std::size_t step : {std::size_t{1}, std::size_t{11}, std::size_t{600}}) {
        one_client c;
        c.prepared("a", "select $1");
        c.client.context.held_message = 700;
        const std::string bytes =
            bind("", "a", {large}) + parse("long", "select '" + large + "'") + bind("p", "long") + sync();
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            c.client.say(bytes.substr(at, step));
        }
        CHECK(
            c.client.sent() == bind("", "pgmend_1", {large}) + parse("pgmend_2", "select '" + large + "'") +
                                   bind("p", "pgmend_2") + sync()
        );
        CHECK(c.client.pins().has(pin_reason::unknown));
    }
}

TEST_CASE("prepared statements: two that are too long to be kept are never taken for one another") {
    one_client c;
    c.client.context.held_message = 100;
    const std::string one = parse("a", std::string(200, '1'));
    const std::string two = parse("b", std::string(200, '2'));
    // In parts: a message that is here whole is read whole.
    c.client.say(one.substr(0, 150));
    c.client.say(one.substr(150));
    c.client.say(two.substr(0, 150));
    c.client.say(two.substr(150));
    CHECK(
        c.client.sent() == parse("pgmend_1", std::string(200, '1')) + parse("pgmend_2", std::string(200, '2'))
    );
}

TEST_CASE("prepared statements: one that the server has is answered without it") {
    one_client c;
    c.prepared("a", "select 1");
    relay_client other{c.world};
    other.server = c.server.get();
    CHECK(
        other.say(parse("mine", "select 1") + bind("", "mine") + execute() + sync()) ==
        request_result::need_more
    );
    CHECK(other.sent() == bind("", "pgmend_1") + execute() + sync());
    CHECK(owed(*c.server) == "p+bes");
}

TEST_CASE("prepared statements: what differs in text, types, settings or schema is not shared") {
    one_client c;
    c.prepared("a", "select $1");
    relay_client other{c.world};
    other.server = c.server.get();
    SECTION("text") { other.say(parse("a", "select $1 ")); }
    SECTION("types") { other.say(parse("a", "select $1", {25})); }
    SECTION("settings") {
        const std::string path = "tenant";
        other.facts.settings = c.world.worker.parameters.with(other.facts.settings, "search_path", &path);
        other.say(parse("a", "select $1"));
    }
    SECTION("schema") {
        ++c.world.epoch;
        other.say(parse("a", "select $1"));
    }
    SECTION("a session in doubt") {
        other.say(query("set search_path = tenant"));
        other.sent();
        other.say(parse("a", "select $1"));
    }
    SECTION("a moment that is fixed when it is parsed") {
        c.prepared("now", "select 'now'::timestamptz");
        other.say(parse("a", "select 'now'::timestamptz"));
    }
    CHECK(types_of(other.to_server) == "P");
    CHECK(other.to_server.find("pgmend_1" + std::string(1, '\0')) == std::string::npos);
}

TEST_CASE("prepared statements: a session in doubt shares with nobody, not even with itself") {
    one_client c;
    c.client.say(query("set search_path = a"));
    answer_all(*c.server);
    c.client.sent();
    c.client.say(parse("one", "select 1") + parse("two", "select 1"));
    CHECK(c.client.sent() == parse("pgmend_1", "select 1") + parse("pgmend_2", "select 1"));
}

TEST_CASE("prepared statements: what a server lacks is sent ahead, once") {
    one_client c;
    c.prepared("a", "select $1");
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    c.client.say(bind("", "a", {"1"}) + describe('S', "a") + execute() + sync());
    CHECK(
        c.client.sent() == parse("pgmend_1", "select $1") + bind("", "pgmend_1", {"1"}) +
                               describe('S', "pgmend_1") + execute() + sync()
    );
    CHECK(owed(*other) == "p-bdes");
    answer_all(*other);
    c.client.say(bind("", "a", {"2"}));
    CHECK(c.client.sent() == bind("", "pgmend_1", {"2"}));
    // By a Describe too.
    const auto third = c.world.worker.server();
    c.client.server = third.get();
    c.client.say(describe('S', "a"));
    CHECK(c.client.sent() == parse("pgmend_1", "select $1") + describe('S', "pgmend_1"));
}

TEST_CASE("prepared statements: who decodes by what it was told is not given another result") {
    one_client c;
    c.prepared("a", "select * from t");
    const auto told = c.client.relay.statements().find("a")->statement;
    told.describe(77);
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    const std::string use = bind("", "a") + execute() + sync();
    const std::string used = bind("", "pgmend_1") + execute() + sync();
    const std::string asked = parse("pgmend_1", "select * from t") + describe('S', "pgmend_1");
    const std::uint64_t epoch = c.world.epoch;
    CHECK(c.client.say(use) == request_result::too_many);
    CHECK(c.client.relay.waits_for_answers());
    CHECK(c.client.sent() == asked);
    CHECK(owed(*other) == "p-d-");
    CHECK(c.client.say("") == request_result::too_many);
    CHECK(c.client.sent().empty());
    answer_all(*other);
    SECTION("the same: it goes on, and is not asked about again") {
        other->statements.checked(told->id, true);
        CHECK(c.client.say("") == request_result::need_more);
        CHECK(c.client.sent() == used);
        answer_all(*other);
        c.client.say(use);
        CHECK(c.client.sent() == used);
        CHECK(c.world.epoch == epoch);
    }
    SECTION("another: PostgreSQL's own words, and whoever prepares the text now gets another statement") {
        other->statements.checked(told->id, false);
        c.client.say("");
        CHECK(types_of(c.client.sent()) == "DES");
        CHECK(owed(*other) == "d~es");
        CHECK(other->owed.front().error == protocol::substitute_error::changed_result);
        CHECK(c.world.epoch == epoch + 1);
        answer_all(*other);
        // Told now, it may have the other result.
        c.client.say(bind("", "a") + describe('P', "") + execute() + sync());
        CHECK(c.client.sent() == bind("", "pgmend_1") + describe('P', "") + execute() + sync());
        answer_all(*other);
        c.client.say(use);
        CHECK(types_of(c.client.sent()) == "DES");
        CHECK(c.world.epoch == epoch + 1);
        answer_all(*other);
        c.client.say(parse("b", "select * from t") + sync());
        CHECK(c.client.relay.statements().find("b")->statement->id != told->id);
    }
}

TEST_CASE(
    "prepared statements: one that a server is being asked about, or has with another result, is not sent "
    "twice"
) {
    one_client c;
    c.prepared("a", "select * from t");
    const auto told = c.client.relay.statements().find("a")->statement;
    told.describe(77);
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    c.client.say(bind("", "a") + describe('P', "") + execute());
    CHECK(c.client.sent().starts_with(parse("pgmend_1", "select * from t") + describe('S', "pgmend_1")));
    CHECK(c.client.say(parse("b", "select * from t")) == request_result::too_many);
    CHECK(c.client.relay.waits_for_answers());
    CHECK(c.client.sent().empty());
    answer_all(*other);
    SECTION("its result is the same") {
        other->statements.checked(told->id, true);
        CHECK(c.client.say("") == request_result::need_more);
        CHECK(c.client.sent().empty());
    }
    SECTION("it is another: parsed anew, it has that of now") {
        other->statements.checked(told->id, false);
        CHECK(c.client.say("") == request_result::need_more);
        CHECK(c.client.sent() == close('S', "pgmend_1") + parse("pgmend_1", "select * from t"));
    }
    CHECK(c.client.relay.statements().find("b") != nullptr);
    answer_all(*other);
}

TEST_CASE("prepared statements: who is told in the same flight, or never was, waits for nothing") {
    one_client c;
    c.prepared("a", "select * from t");
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    c.client.say(bind("", "a") + execute() + sync());
    CHECK(types_of(c.client.sent()) == "PBES");
    c.client.relay.statements().find("a")->statement.describe(77);
    const auto third = c.world.worker.server();
    c.client.server = third.get();
    c.client.say(bind("", "a") + describe('P', "") + execute() + sync());
    CHECK(types_of(c.client.sent()) == "PDBDES");
    CHECK(owed(*third) == "p-d-bdes");
    // Of a statement that has been described, no further portal is.
    CHECK(third->owed.at(3).answer == protocol::description::unread);
    // One that names the format of each column is bound to the columns it knows.
    const auto fourth = c.world.worker.server();
    c.client.server = fourth.get();
    const std::string formats = z("") + z("a") + u16(0) + u16(1) + u32(1) + "x";
    const std::string rest = describe('P', "") + execute() + sync();
    CHECK(c.client.say(message('B', formats + u16(2) + u16(0) + u16(1)) + rest) == request_result::too_many);
    CHECK(types_of(c.client.sent()) == "PD");
    c.client.unread.clear();
    const auto fifth = c.world.worker.server();
    c.client.server = fifth.get();
    CHECK(c.client.say(message('B', formats + u16(1) + u16(1)) + rest) == request_result::need_more);
    CHECK(types_of(c.client.sent()) == "PDBDES");
    // Others are still not told.
    CHECK(c.client.say(bind("", "a")) == request_result::too_many);
}

TEST_CASE("prepared statements: what an earlier group may not have made is waited for") {
    one_client c;
    c.prepared("a", "select 1");
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    const std::string once = bind("", "a") + execute() + sync();
    CHECK(c.client.say(once + once) == request_result::too_many);
    const std::string bound = bind("", "pgmend_1") + execute() + sync();
    CHECK(c.client.sent() == parse("pgmend_1", "select 1") + bound);
    CHECK(owed(*other) == "p-bes");
    answer_all(*other);
    c.client.say("");
    CHECK(c.client.sent() == bound);
}

TEST_CASE("prepared statements: the unnamed one follows its client to another server") {
    one_client c;
    c.client.say(parse("", "select $1", {23}) + sync());
    answer_all(*c.server);
    CHECK(c.client.sent() == parse("", "select $1", {23}) + sync());
    c.client.say(bind("", "", {"1"}) + sync());
    CHECK(c.client.sent() == bind("", "", {"1"}) + sync());
    answer_all(*c.server);
    const auto other = c.world.worker.server();
    c.client.server = other.get();
    c.client.say(bind("", "", {"2"}) + describe('S', ""));
    CHECK(c.client.sent() == parse("", "select $1", {23}) + bind("", "", {"2"}) + describe('S', ""));
    CHECK(owed(*other) == "p-bd");
}

TEST_CASE("prepared statements: another client's unnamed one is not mine") {
    one_client c;
    c.client.say(parse("", "select 'mine'") + sync());
    answer_all(*c.server);
    relay_client other{c.world};
    other.server = c.server.get();
    other.say(parse("", "select 'other'") + sync());
    answer_all(*c.server);
    c.client.sent();
    c.client.say(bind("", ""));
    CHECK(c.client.sent() == parse("", "select 'mine'") + bind("", ""));
    // And without any, there is none, whatever the server has.
    relay_client third{c.world};
    third.server = c.server.get();
    third.say(bind("", ""));
    CHECK(third.sent() == nobodys + bind("", ""));
}

TEST_CASE("prepared statements: a simple Query drops the unnamed one") {
    one_client c;
    c.client.say(parse("", "select 1") + sync());
    answer_all(*c.server);
    c.client.say(query("select 2"));
    answer_all(*c.server);
    c.client.sent();
    c.client.say(bind("", "") + describe('S', "") + sync());
    CHECK(c.client.sent() == nobodys + bind("", "") + nobodys + describe('S', "") + sync());
    CHECK(owed(*c.server) == "c-bc-ds");
}

TEST_CASE("prepared statements: after anybody's simple Query the server has no unnamed one") {
    one_client c;
    const auto other_server = c.world.worker.server();
    relay_client other{c.world};
    other.server = other_server.get();
    other.say(parse("", "select 1") + sync());
    answer_all(*other_server);
    other.sent();
    // The same text, so the same statement, on the other client's server.
    c.client.say(parse("", "select 1") + sync());
    answer_all(*c.server);
    c.client.say(query("select 2"));
    answer_all(*c.server);
    other.server = c.server.get();
    other.say(bind("", ""));
    CHECK(other.sent() == parse("", "select 1") + bind("", ""));
}

TEST_CASE("prepared statements: unknown names are the server's to refuse, but for those that are ours") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(bind("", "b") + describe('S', "b"));
    CHECK(c.client.sent() == bind("", "b") + describe('S', "b"));
    // The server has pgmend_1, and the client does not.
    c.client.say(bind("", "pgmend_1") + describe('S', "pgmend_1"));
    CHECK(c.client.sent() == forced_error + forced_error);
    CHECK(owed(*c.server) == "bdd~d~");
}

TEST_CASE("prepared statements: a client may call its own by a name of ours") {
    one_client c;
    c.prepared("x", "select 1");
    c.prepared("pgmend_1", "select 2");
    c.client.say(bind("", "pgmend_1"));
    CHECK(c.client.sent() == bind("", "pgmend_2"));
}

TEST_CASE("prepared statements: Close is answered here, and the name is free again") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(close('S', "a") + sync());
    CHECK(c.client.sent() == sync());
    CHECK(owed(*c.server) == "c+s");
    answer_all(*c.server);
    c.client.say(bind("", "a") + sync());
    CHECK(c.client.sent() == bind("", "a") + sync());
    answer_all(*c.server);
    c.client.say(parse("a", "select 2") + sync());
    CHECK(c.client.sent() == parse("pgmend_2", "select 2") + sync());
    answer_all(*c.server);
    // Closing what does not exist is no error; a portal is the server's.
    c.client.say(close('S', "nothing") + close('S', "") + close('P', "a") + sync());
    CHECK(c.client.sent() == close('P', "a") + sync());
    CHECK(owed(*c.server) == "c+c+cs");
}

TEST_CASE("prepared statements: in one group a name may be closed and made anew") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(close('S', "a") + parse("a", "select 2") + bind("", "a") + sync());
    CHECK(c.client.sent() == parse("pgmend_2", "select 2") + bind("", "pgmend_2") + sync());
    CHECK(owed(*c.server) == "c+pbs");
}

TEST_CASE("prepared statements: a name in use is refused by the server itself, and keeps its meaning") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(parse("a", "select 2") + sync());
    // What is wrong with the text comes first, then that the name exists.
    CHECK(
        c.client.sent() ==
        close('S', "pgmend_0") + parse("pgmend_0", "select 2") + parse("pgmend_0", "select 2") + sync()
    );
    CHECK(owed(*c.server) == "c-p-ps");
    CHECK(c.client.relay.statements().find("a")->statement->text == "select 1");
}

TEST_CASE("prepared statements: no client has more than it may") {
    relay_world world;
    world.limit = 2;
    const auto server = world.worker.server();
    relay_client client{world};
    client.server = server.get();
    client.say(parse("a", "1") + parse("b", "2") + parse("c", "3") + sync());
    CHECK(client.sent() == parse("pgmend_1", "1") + parse("pgmend_2", "2") + forced_error + sync());
    CHECK(owed(*server) == "ppd~s");
    CHECK(client.relay.statements().find("c") == nullptr);
}

TEST_CASE("prepared statements: a server has no more than it may, the least used goes") {
    relay_world world;
    const auto server = world.worker.server(65536, 2);
    relay_client client{world};
    client.server = server.get();
    client.say(parse("a", "1") + parse("b", "2") + bind("", "a") + sync());
    answer_all(*server);
    client.sent();
    client.say(parse("c", "3") + bind("", "b") + sync());
    CHECK(
        client.sent() == close('S', "pgmend_2") + parse("pgmend_3", "3") + close('S', "pgmend_1") +
                             parse("pgmend_2", "2") + bind("", "pgmend_2") + sync()
    );
    CHECK(owed(*server) == "c-pc-p-bs");
    // If the Close is skipped, the statement is still there.
    CHECK(server->owed.at(0).evicted == 2);
    CHECK(server->owed.at(2).evicted == 1);
    CHECK(server->statements.size() == 2);
}

TEST_CASE("prepared statements: without a server, one that a server has accepted needs none") {
    one_client c;
    c.prepared("a", "select 1");
    relay_client other{c.world};
    CHECK(other.say(parse("mine", "select 1") + sync()) == request_result::need_more);
    CHECK(other.told() == parse_complete() + ready('I'));
    CHECK(other.relay.statements().find("mine") != nullptr);
    // One that none has accepted may be wrong, and so may a name that is taken.
    CHECK(other.say(parse("wrong", "selec")) == request_result::need_server);
    relay_client third{c.world};
    CHECK(third.say(parse("", "select 1")) == request_result::need_server);
    relay_client fourth{c.world};
    REQUIRE(fourth.say(parse("mine", "select 1")) == request_result::need_more);
    CHECK(fourth.say(parse("mine", "select 1")) == request_result::need_server);
}

TEST_CASE("prepared statements: what a name stands for is not decided before the answers that tell it") {
    one_client c;
    CHECK(
        c.client.say(parse("a", "select 1") + sync() + bind("", "a") + execute() + sync()) ==
        request_result::too_many
    );
    CHECK(c.client.sent() == parse("pgmend_1", "select 1") + sync());
    CHECK(c.client.relay.waits_for_answers());
    answer_all(*c.server);
    CHECK(c.client.say("") == request_result::need_more);
    CHECK(c.client.sent() == bind("", "pgmend_1") + execute() + sync());
}

TEST_CASE("prepared statements: a name in an unanswered group is not made anew before its answer") {
    one_client c;
    CHECK(c.client.say(parse("a", "selec") + sync() + parse("a", "select 1")) == request_result::too_many);
    CHECK(c.client.sent() == parse("pgmend_1", "selec") + sync());
    CHECK(c.client.say("") == request_result::too_many);
    CHECK(c.client.sent().empty());
    // Another name has nothing to do with it.
    one_client other;
    CHECK(
        other.client.say(parse("a", "selec") + sync() + parse("b", "select 1")) == request_result::need_more
    );
}

TEST_CASE("prepared statements: SQL that names one waits for what is under way") {
    one_client c;
    c.prepared("a", "select 1");
    CHECK(c.client.say(query("rollback") + query("execute a")) == request_result::too_many);
    CHECK(c.client.sent() == query("rollback"));
    answer_all(*c.server);
    CHECK(c.client.say("") == request_result::need_more);
    CHECK(types_of(c.client.sent()) == "CPSQCS");
}

TEST_CASE(
    "prepared statements: beside those of SQL a name is tried before it is taken, and closed by the server"
) {
    one_client c;
    c.client.say(query("prepare b as select 1"));
    answer_all(*c.server);
    c.client.sent();
    c.client.say(parse("a", "select 2") + sync());
    CHECK(
        c.client.sent() == parse("a", "select 2") + close('S', "a") + parse("pgmend_1", "select 2") + sync()
    );
    CHECK(owed(*c.server) == "p-c-ps");
    answer_all(*c.server);
    c.client.say(close('S', "b") + close('S', "a") + sync());
    CHECK(c.client.sent() == close('S', "b") + sync());
    CHECK(owed(*c.server) == "cc+s");
}

TEST_CASE("prepared statements: a server whose shared statements SQL may have touched is closed when free") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(query("deallocate pgmend_1"));
    CHECK(c.server->close_when_free);
    one_client other;
    other.client.say(query("deallocate b"));
    CHECK_FALSE(other.server->close_when_free);
}

TEST_CASE("prepared statements: SQL finds the ones of the protocol under the client's names") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(query("execute a"));
    CHECK(
        c.client.sent() ==
        close('S', "a") + parse("a", "select 1") + sync() + query("execute a") + close('S', "a") + sync()
    );
    CHECK(owed(*c.server) == "c!p!s!qc!s!");
    CHECK(c.client.relay.statements().find("a") != nullptr);
    answer_all(*c.server);
    // One that the client does not have is SQL's own business.
    c.client.say(query("execute b"));
    CHECK(c.client.sent() == query("execute b"));
}

TEST_CASE(
    "prepared statements: a Query in a group that SQL was helped in waits, as a Sync of ours would end the "
    "skipping"
) {
    one_client c;
    c.prepared("a", "select 1");
    c.client.sent();
    c.client.say(parse("p", "execute a") + bind("", "p"));
    CHECK(c.client.say(query("select 2")) == request_result::too_many);
    // The server says that the group has failed: what follows is skipped, as the server would.
    c.server->owed.skip_to_sync([](const auto&) {}, [](auto&) {});
    c.client.sent();
    CHECK(c.client.say("") == request_result::need_more);
    CHECK(c.client.sent().empty());
}

TEST_CASE("prepared statements: DEALLOCATE takes one of the protocol's away when it has succeeded") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(query("deallocate a"));
    CHECK(
        c.client.sent() ==
        close('S', "a") + parse("a", "") + sync() + query("deallocate a") + close('S', "a") + sync()
    );
    SECTION("it has") {
        c.client.relay.deallocated();
        CHECK(c.client.relay.statements().find("a") == nullptr);
    }
    SECTION("it has not") { CHECK(c.client.relay.statements().find("a") != nullptr); }
    answer_all(*c.server);
}

TEST_CASE("prepared statements: what is only named to be taken away stands for nothing, until it is to be run"
) {
    one_client c;
    c.prepared("a", "select 1");
    c.client.sent();
    c.client.say(parse("", "deallocate a") + bind("", ""));
    CHECK(c.client.sent() == parse("", "deallocate a") + close('S', "a") + parse("a", "") + bind("", ""));
    c.client.say(parse("", "execute a"));
    CHECK(c.client.sent() == close('S', "a") + parse("a", "select 1") + parse("", "execute a"));
    answer_all(*c.server);
}

TEST_CASE("prepared statements: each DEALLOCATE of a text takes its own away, in their order") {
    one_client c;
    c.prepared("a", "select 1");
    c.prepared("b", "select 2");
    c.client.say(query("deallocate a; deallocate nobody; deallocate b"));
    c.client.relay.deallocated();
    CHECK(c.client.relay.statements().find("a") == nullptr);
    CHECK(c.client.relay.statements().find("b") != nullptr);
    c.client.relay.deallocated();
    CHECK(c.client.relay.statements().find("b") != nullptr);
    c.client.relay.deallocated();
    CHECK(c.client.relay.statements().find("b") == nullptr);
    answer_all(*c.server);
}

TEST_CASE("prepared statements: behind a DEALLOCATE in the same group a name waits for its answer") {
    for (const std::string_view text : {"deallocate a", "deallocate all", "discard all"}) {
        CAPTURE(text);
        one_client c;
        c.prepared("a", "select 1");
        c.client.sent();
        CHECK(c.client.say(parse("", text) + bind("", "") + execute("")) == request_result::need_more);
        CHECK(c.client.say(bind("", "a")) == request_result::too_many);
        CHECK(c.client.relay.waits_for_answers());
        answer_all(*c.server);
        if (text == "deallocate a") {
            c.client.relay.deallocated();
        } else {
            c.client.relay.all_deallocated();
        }
        c.client.sent();
        CHECK(c.client.say("") == request_result::need_more);
        // The client's own name, which the server does not know.
        CHECK(c.client.sent() == bind("", "a"));
    }
}

TEST_CASE("prepared statements: what SQL found under a name goes when the name is closed, and comes anew") {
    one_client c;
    c.prepared("a", "select 1");
    c.client.say(parse("", "execute a") + bind("", "") + execute(""));
    c.client.sent();
    c.client.say(close('S', "a"));
    CHECK(c.client.sent() == close('S', "a"));
    c.client.say(parse("a", "select 2"));
    c.client.sent();
    c.client.say(bind("", ""));
    CHECK(c.client.sent() == close('S', "a") + parse("a", "select 2") + bind("", ""));
    c.client.say(sync());
    CHECK(c.client.sent() == sync() + close('S', "a") + sync());
    answer_all(*c.server);
}

TEST_CASE("prepared statements: in a failed transaction SQL is not helped: it fails by itself") {
    one_client c;
    c.prepared("a", "select 1");
    c.server->status = transaction_status::failed;
    c.client.say(query("execute a"));
    CHECK(c.client.sent() == query("execute a"));
}

TEST_CASE("prepared statements: SQL is helped behind what ends a failed transaction in the same group") {
    for (const std::string_view end : {"rollback", "rollback to savepoint s", "commit"}) {
        CAPTURE(end);
        one_client c;
        c.prepared("a", "select 1");
        c.client.sent();
        c.server->status = transaction_status::failed;
        c.client.say(parse("", end) + bind("", "") + execute(""));
        c.client.sent();
        c.client.say(parse("", "deallocate a") + bind("", ""));
        CHECK(c.client.sent() == parse("", "deallocate a") + close('S', "a") + parse("a", "") + bind("", ""));
        answer_all(*c.server);
        // Its ReadyForQuery says what is.
        c.client.say(bind("", ""));
        CHECK(c.client.sent() == bind("", ""));
        answer_all(*c.server);
    }
}

TEST_CASE(
    "prepared statements: SQL is helped too behind what has ended a failed transaction in its group by now"
) {
    one_client c;
    c.prepared("a", "select 1");
    c.client.sent();
    c.server->status = transaction_status::failed;
    c.client.say(parse("", "rollback") + bind("", "") + execute("") + flush());
    answer_all(*c.server);
    c.client.sent();
    c.client.say(parse("", "deallocate a") + bind("", ""));
    CHECK(c.client.sent() == parse("", "deallocate a") + close('S', "a") + parse("a", "") + bind("", ""));
}

TEST_CASE("prepared statements: SQL is helped in a Query that ends a failed transaction itself") {
    struct example {
        std::string said, in_front;
    };
    const std::string fails = "ROLLBACK TO SAVEPOINT pgmend_lost_block";
    const std::string empty = close('S', "a") + parse("a", "") + sync();
    const std::string full = close('S', "a") + parse("a", "select 1") + sync();
    const example examples[]{
        {"rollback; deallocate a", empty},
        {"rollback to savepoint s; deallocate a", empty},
        {"rollback; execute a", query("ROLLBACK") + full + query("BEGIN; " + fails)},
        {"rollback and chain; execute a", query("ROLLBACK AND CHAIN") + full + query(fails)},
        {"execute a; deallocate a", ""},
    };
    for (const auto& [said, in_front] : examples) {
        CAPTURE(said);
        one_client c;
        c.prepared("a", "select 1");
        c.client.sent();
        c.server->status = transaction_status::failed;
        c.client.say(query(said));
        const std::string sent = c.client.sent();
        CHECK(sent.substr(0, in_front.size() + query(said).size()) == in_front + query(said));
    }
}

TEST_CASE("prepared statements: flights fill and are sent, and nothing is lost or out of order") {
    one_client c;
    std::string expected;
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        const std::string name = "statement" + std::to_string(i);
        const std::string text = "select " + std::string(static_cast<std::size_t>(i) * 97 % 9000, ' ') + "1";
        REQUIRE(c.client.say(parse(name, text)) == request_result::need_more);
        const std::string ours =
            "pgmend_" + std::to_string(c.client.relay.statements().find(name)->statement->id);
        bytes += bind("", name, {std::to_string(i)}) + close('S', "nothing") + execute();
        expected += parse(ours, text) + bind("", ours, {std::to_string(i)}) + execute();
    }
    c.client.say(sync());
    answer_all(*c.server);
    c.client.sent();
    const auto other = c.world.worker.server(65536, 1000);
    c.client.server = other.get();
    c.client.flights = 0;
    c.client.say(bytes + sync());
    CHECK(c.client.sent() == expected + sync());
    CHECK(c.client.flights > 10);
    CHECK(other->owed.size() == 300 * 4 + 1);
}

}  // namespace pgmend::test
