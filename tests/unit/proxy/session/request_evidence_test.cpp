#include <catch2/catch.hpp>

#include "proxy/session/commit_outcome.hpp"
#include "tests/unit/proxy/session/relay_fixture.hpp"

namespace pgmend::test {

using namespace pgmend::proxy;
using pgmend::protocol::transaction_status;

namespace {

std::string extended(const char* text) { return parse("", text) + bind("", "") + execute(""); }

/// A client in a block, of whose server everything is known that must be known ahead of it.
struct guarded_client {
    relay_world world;
    commit_guard guard{world.store, world.worker.env};
    std::unique_ptr<pgmend::pool::server_connection> server = world.worker.server();
    relay_client client{world};
    guarded_client() {
        client.context.guard = &guard;
        client.server = server.get();
        const std::string version = "15.8";
        server->reported =
            world.worker.parameters.with(world.worker.parameters.empty(), "server_version", &version);
    }
    pool::commit_evidence& evidence() { return *server->evidence; }
    /// The server answers what it owes, the evidence too.
    void answer(transaction_status status, const char* xid = "") {
        answer_all(*server);
        server->status = status;
        if (!server->evidence || !evidence().asked) return;
        if (evidence().asked_life) {
            evidence().life_known = true;
        } else {
            evidence().xid = xid;
            evidence().none_yet = evidence().xid.empty();
        }
        evidence().asked = false;
    }
    /// The server has said what its life is.
    void alive() {
        client.say(query("begin"));
        answer(transaction_status::in_block);
        client.say(query("rollback"));
        answer(transaction_status::idle);
        client.relay.request_over();
        client.sent();
    }
    /// The server answers what it owes but the Sync of the client's, the evidence too.
    void answer_group(const char* xid) {
        while (server->owed.front().kind != pgmend::protocol::reply_kind::sync) {
            const auto& reply = server->owed.front();
            if (reply.kind == pgmend::protocol::reply_kind::parse && reply.named_on_server)
                server->statements.confirm(reply.statement->id);
            server->owed.pop();
            if (server->owed.empty()) break;
        }
        evidence().xid = xid;
        evidence().none_yet = evidence().xid.empty();
    }
    void begin() {
        client.say(query("begin"));
        answer(transaction_status::in_block);
        client.sent();
    }
    std::string owes() { return owed(*server); }
};

}  // namespace

TEST_CASE("evidence: what is known of the server's life is asked ahead of a block, and not for each") {
    guarded_client c;
    c.client.say(query("begin"));
    CHECK(c.owes() == "q!q");
    CHECK(c.client.sent() == query(std::string{life_query()}) + query("begin"));
    c.answer(transaction_status::in_block);
    c.client.say(query("commit"));
    c.answer(transaction_status::idle);
    c.client.sent();
    c.client.say(query("begin"));
    CHECK(c.client.sent() == query("begin"));
    c.answer(transaction_status::idle);
    c.client.say(query("select 1"));
    CHECK(c.owes() == "q");
}

TEST_CASE(
    "evidence: the number is asked behind the first statement that may have written, once it is known no more"
) {
    guarded_client c;
    c.begin();
    c.client.say(query("select 1"));
    CHECK(c.owes() == "q");
    c.answer(transaction_status::in_block);
    c.client.say(query("update t set a = 1"));
    CHECK(c.owes() == "qp!b!e!c!s!");
    c.answer(transaction_status::in_block);
    CHECK(c.evidence().nothing_written());
    c.client.say(query("update t set a = 2"));
    CHECK(c.owes() == "qb!e!c!s!");
    c.answer(transaction_status::in_block, "773");
    c.client.say(parse("", "update t set a = 3") + bind("", "") + execute("") + sync());
    CHECK(c.owes() == "pbes");
    c.answer(transaction_status::in_block);
    c.client.sent();
    c.client.say(query("commit"));
    CHECK(c.client.sent() == query("commit"));
    CHECK(c.client.relay.lone_commit(*c.server));
    CHECK_FALSE(c.evidence().nothing_written());
    CHECK(c.evidence().xid == "773");
}

TEST_CASE("evidence: a COMMIT waits for it, unless its client does not wait for what stands before it") {
    guarded_client c;
    c.begin();
    SECTION("the answer to the write has come, and the evidence not yet") {
        c.client.say(query("insert into t values (1)"));
        c.server->owed.ready();
        c.client.sent();
        CHECK(c.client.say(query("commit")) == request_result::too_many);
        CHECK(c.client.relay.waits_for_answers());
        CHECK(c.client.sent().empty());
        c.answer(transaction_status::in_block, "773");
        c.client.say("");
        CHECK(c.client.sent() == query("commit"));
    }
    SECTION("the same in the extended protocol") {
        c.client.say(query("insert into t values (1)"));
        c.server->owed.ready();
        c.client.sent();
        CHECK(
            c.client.say(parse("", "commit") + bind("", "") + execute("") + sync()) ==
            request_result::too_many
        );
        c.answer(transaction_status::in_block, "773");
        c.client.say("");
        CHECK(types_of(c.client.sent()) == "PBES");
        CHECK(c.client.relay.lone_commit(*c.server));
    }
    SECTION("it was sent with what it commits") {
        c.client.say(query("insert into t values (1)") + query("commit"));
        CHECK(c.client.unread.empty());
        CHECK(c.owes() == "qp!b!e!c!s!q");
        CHECK_FALSE(c.client.relay.lone_commit(*c.server));
    }
}

TEST_CASE("evidence: where the server must not be asked right behind a statement, it is asked ahead of COMMIT"
) {
    guarded_client c;
    c.begin();
    for (const char* text : {"copy t from stdin", "lock table t", "notify a"}) {
        CAPTURE(text);
        c.client.say(query(text));
        CHECK(c.owes() == "q");
        c.answer(transaction_status::in_block);
    }
    c.client.sent();
    CHECK(c.client.say(query("commit")) == request_result::too_many);
    CHECK(types_of(c.client.sent()) == "PBECS");
    c.answer(transaction_status::in_block);
    CHECK_FALSE(c.evidence().nothing_written());  // NOTIFY gets its number with the commit
    c.client.say("");
    CHECK(c.client.sent() == query("commit"));
}

TEST_CASE("evidence: nobody is asked behind a BEGIN that is not answered") {
    guarded_client c;
    const bool extended = GENERATE(true, false);
    if (extended) {
        c.client.say(
            parse("", "begin") + bind("", "") + execute("") + parse("", "insert into t values (1)") +
            bind("", "") + execute("") + sync()
        );
        CHECK(c.owes() == "q!pbepbes");
    } else {
        c.client.say(query("begin") + query("insert into t values (1)"));
        CHECK(c.owes() == "q!qq");
    }
    c.answer(transaction_status::in_block);
    c.client.sent();
    SECTION("but ahead of COMMIT") {
        CHECK(c.client.say(query("commit")) == request_result::too_many);
        CHECK(types_of(c.client.sent()) == "PBECS");
        c.answer(transaction_status::in_block, "773");
        c.client.say("");
        CHECK(c.client.sent() == query("commit"));
    }
    SECTION("or behind whatever comes next") {
        c.client.say(query("select 1"));
        CHECK(c.owes() == "qp!b!e!c!s!");
    }
    SECTION("nor behind one that follows another block") {
        c.client.say(query("commit") + query("begin") + query("insert into t values (2)"));
        c.answer(transaction_status::in_block, "773");
        c.client.say("");
        CHECK(c.owes() == "qqq");
    }
}

TEST_CASE("evidence: nor behind what may have done anything unseen") {
    guarded_client c;
    c.client.facts.forget_requests();  // it keeps no server for that
    c.begin();
    c.client.say(query("select what_it_likes()"));
    CHECK(c.client.facts.pins.empty());
    CHECK(c.owes() == "q");
    c.answer(transaction_status::in_block);
    c.client.say(query("insert into t values (1)"));
    CHECK(c.owes() == "q");
    c.answer(transaction_status::in_block);
    c.client.sent();
    c.client.say(query("commit"));
    CHECK(c.client.sent() == query("commit"));
}

TEST_CASE("evidence: who has refused to tell is not asked again for a while, and nobody else pays for that") {
    guarded_client c;
    c.begin();
    CHECK(c.guard.refused(*c.server));
    CHECK_FALSE(c.guard.refused(*c.server));
    c.client.say(query("insert into t values (1)"));
    CHECK(c.owes() == "q");
    c.answer(transaction_status::in_block);
    pool::server_connection elsewhere{
        c.server->pool, c.world.worker.buffers, pool::endpoint{"127.0.0.1", 5433}, 10, 10};
    CHECK(c.guard.refuses(*c.server));
    CHECK_FALSE(c.guard.refuses(elsewhere));
    c.world.worker.env.pass(std::chrono::minutes{9});
    CHECK(c.guard.refuses(*c.server));
    c.world.worker.env.pass(std::chrono::minutes{2});
    CHECK_FALSE(c.guard.refuses(*c.server));
    c.client.say(query("insert into t values (2)"));
    CHECK(c.owes() == "qp!b!e!c!s!");
}

TEST_CASE("evidence: a COMMIT whose outcome could not be found out is counted, with its reason") {
    using gap = config::metrics::evidence_gap;
    guarded_client c;
    const auto counted = [&c](gap why) { return c.world.worker.metrics.commits_unguarded.value(why); };
    const auto uncovered = [&c] {
        return c.world.worker.metrics.uncovered.value(config::metrics::replay_hindrance::commit_sent);
    };
    const std::string write = query("insert into t values (1)");
    SECTION("what is known, or has written nothing, is not") {
        c.begin();
        c.client.say(write);
        c.answer(transaction_status::in_block, GENERATE("773", ""));
        c.client.say(query("commit"));
        CHECK(c.owes() == "q");
        CHECK(uncovered() == 0);
        for (std::size_t i = 0; i < config::label_count<gap>; ++i) {
            CHECK(counted(static_cast<gap>(i)) == 0);
        }
    }
    SECTION("sent with what it commits") {
        c.client.say(query("begin") + write + query("commit"));
        CHECK(counted(gap::not_alone) == 1);
        CHECK(uncovered() == 1);
    }
    SECTION("an old server") {
        const std::string version = "12.22";
        c.server->reported =
            c.world.worker.parameters.with(c.world.worker.parameters.empty(), "server_version", &version);
        c.begin();
        c.client.say(write);
        c.answer(transaction_status::in_block);
        c.client.say(query("commit"));
        CHECK(counted(gap::old_server) == 1);
        CHECK(uncovered() == 1);
    }
    SECTION("one that refuses, and one that cannot tell of its life") {
        c.begin();
        c.evidence().life_known = false;
        const bool refuses = GENERATE(true, false);
        if (refuses) c.guard.refused(*c.server);
        c.client.say(write);
        c.answer(transaction_status::in_block);
        c.client.say(query("commit"));
        CHECK(counted(refuses ? gap::refused : gap::life_unknown) == 1);
        CHECK(uncovered() == 1);
    }
    SECTION("NOTIFY has its number with the commit alone") {
        c.begin();
        c.client.say(query("notify a"));
        c.answer(transaction_status::in_block);
        CHECK(c.client.say(query("commit")) == request_result::too_many);
        c.answer(transaction_status::in_block);
        c.client.say("");
        CHECK(counted(gap::no_number) == 1);
    }
    SECTION("what changes its session, and where the rest is counted already") {
        c.begin();
        c.client.say(query("set work_mem = '1MB'"));
        c.answer(transaction_status::in_block);
        c.client.say(write);
        c.answer(transaction_status::in_block, "773");
        const bool counted_before = GENERATE(true, false);
        if (counted_before) {
            c.client.say(query("select pg_advisory_xact_lock(1)"));
            c.answer(transaction_status::in_block);
        }
        c.client.say(query("commit"));
        CHECK(counted(gap::session_state) == 1);
        CHECK(uncovered() == (counted_before ? 0 : 1));
    }
}

TEST_CASE("evidence: of a write outside of a block it is asked ahead of its Sync, with a Flush behind it") {
    guarded_client c;
    // What the server's life is has to be known first, and is waited for.
    CHECK(c.client.say(extended("insert into t values (1)") + sync()) == request_result::too_many);
    CHECK(c.client.relay.waits_for_answers());
    CHECK(c.client.sent() == query(std::string{life_query()}));
    CHECK(c.client.say("") == request_result::too_many);
    CHECK(c.client.sent().empty());
    c.answer(transaction_status::idle);
    c.client.say("");
    CHECK(types_of(c.client.sent()) == "PBEPBEHS");
    CHECK(c.owes() == "pbep!b!e!s");
    CHECK(c.client.relay.lone_write(*c.server));
    CHECK_FALSE(c.client.relay.write_not_ended());
    c.answer_group("773");
    CHECK(c.client.relay.lone_write(*c.server));
    const auto frames = c.client.relay.commit_answer(*c.server);
    CHECK(std::string{reinterpret_cast<const char*>(frames.data()), frames.size()} == ready('I'));
    c.server->owed.ready();
    c.evidence().group_over();
    c.client.relay.request_over();
    // With the next one, neither is sent again.
    c.client.say(extended("update t set a = 1") + extended("select 1") + sync());
    CHECK(types_of(c.client.sent()) == "PBEPBEBEHS");
    CHECK(c.evidence().xid.empty());
    CHECK(c.client.relay.lone_write(*c.server));
    c.answer_group("");
    CHECK(c.evidence().nothing_written());
}

TEST_CASE("evidence: strictly, a Sync that commits is sent when it is known") {
    guarded_client c;
    c.guard.writes = config::write_guard::strict;
    c.alive();
    CHECK(c.client.say(extended("insert into t values (1)") + sync()) == request_result::too_many);
    CHECK(types_of(c.client.sent()) == "PBEPBEH");
    CHECK(c.client.relay.write_not_ended());
    CHECK_FALSE(c.client.relay.lone_write(*c.server));
    CHECK(c.client.say("") == request_result::too_many);
    CHECK(c.client.sent().empty());
    SECTION("by its answer") { c.answer_group("773"); }
    SECTION("or is not to be known any more, as something has failed") {
        c.server->owed.skip_to_sync([](const auto&) {}, [](auto&) {});
    }
    c.client.say("");
    CHECK(types_of(c.client.sent()) == "S");
    CHECK(c.owes() == "s");
    CHECK(c.client.relay.lone_write(*c.server));
    CHECK_FALSE(c.client.relay.write_not_ended());
}

TEST_CASE("evidence: a write outside of a block is alone only with its whole group, and with no other") {
    guarded_client c;
    c.alive();
    const std::string write = extended("insert into t values (1)");
    const auto lone = [&c] { return c.client.relay.lone_write(*c.server); };
    SECTION("its Sync has not come") {
        c.client.say(write);
        CHECK(c.client.relay.write_not_ended());
        CHECK_FALSE(lone());
    }
    SECTION("something was sent behind it") {
        const std::string more = GENERATE(
            extended("select 1") + sync(), query("select 1"), parse("", "select 1"), std::string("Q\0\0\0", 4)
        );
        c.client.say(write + sync() + more);
        CHECK(lone() == (more.size() == 4));
    }
    SECTION("something was written before it, whether that is answered or not") {
        c.client.say(write + sync());
        if (GENERATE(true, false)) {
            c.answer_group("773");
            c.server->owed.ready();
            c.evidence().group_over();
        }
        c.client.sent();
        c.client.say(write + sync());
        CHECK(types_of(c.client.sent()) == "PBES");
        CHECK_FALSE(lone());
        CHECK_FALSE(c.client.relay.write_not_ended());
    }
    SECTION("a simple Query has written before it") {
        c.client.say(query("insert into t values (1)"));
        answer_all(*c.server);
        c.client.say(write);
        CHECK_FALSE(c.client.relay.write_not_ended());
        c.client.say(sync());
        CHECK_FALSE(lone());
    }
    SECTION("a simple Query commits what stands before it") {
        c.client.say(write + query("select 1"));
        CHECK_FALSE(c.client.relay.write_not_ended());
        CHECK_FALSE(lone());
    }
    SECTION("its group begins or ends a transaction") {
        const char* control = GENERATE("begin", "commit", "rollback");
        CAPTURE(control);
        c.client.say(write + extended(control) + sync());
        CHECK_FALSE(lone());
    }
    SECTION("it commits by itself") {
        const char* text = GENERATE(
            "vacuum t", "create database d", "create index concurrently i on t (a)", "call p()",
            "do 'begin end'", "select what_it_likes()", "copy t from stdin"
        );
        CAPTURE(text);
        c.client.facts.forget_requests();  // it keeps no server for that
        c.client.say(extended(text) + sync());
        CHECK(c.owes() == "pbes");
        CHECK_FALSE(lone());
    }
}

TEST_CASE("evidence: a write outside of a block that cannot be asked about is counted, with its reason") {
    using gap = config::metrics::evidence_gap;
    guarded_client c;
    c.alive();
    const std::string write = extended("insert into t values (1)");
    const auto counted = [&c](gap why) { return c.world.worker.metrics.commits_unguarded.value(why); };
    const auto uncovered = [&c] {
        return c.world.worker.metrics.uncovered.value(config::metrics::replay_hindrance::wrote_outside);
    };
    SECTION("one that is asked about is not") {
        c.client.say(write + sync());
        CHECK(uncovered() == 0);
        CHECK(c.world.worker.metrics.evidence_asked.value() == 1);
    }
    SECTION("a server that refuses") {
        c.guard.refused(*c.server);
        c.client.say(write + sync());
        CHECK(counted(gap::refused) == 1);
        CHECK(uncovered() == 1);
    }
    SECTION("one that cannot tell of its life") {
        c.evidence().life_known = false;
        c.client.say(write + sync());
        CHECK(counted(gap::life_unknown) == 1);
    }
    SECTION("behind another one") {
        c.client.say(write + sync() + extended("copy t from stdin") + sync());
        CHECK(c.owes() == "pbep!b!e!spbes");
        CHECK(
            uncovered() == 0
        );  // the first one may have been told, and what is behind it is not asked about
    }
    SECTION("a session that keeps its server") {
        c.client.pins().add(pin_reason::temporary_table);
        c.client.say(write + sync());
        CHECK(counted(gap::session_state) == 1);
        CHECK(uncovered() == 0);
    }
}

TEST_CASE("evidence: it is of one block, whatever comes late") {
    guarded_client c;
    c.begin();
    c.client.say(
        query("insert into t values (1)") + query("rollback") + query("begin") +
        query("insert into t values (2)")
    );
    CHECK(c.evidence().asked);
    CHECK_FALSE(c.evidence().still_meant());
    c.client.say(query("commit"));
    CHECK(c.client.unread.empty());
    CHECK(c.evidence().xid.empty());
}

TEST_CASE("evidence: nobody is asked where nothing could come of it") {
    guarded_client c;
    SECTION("a read-only block") {
        c.begin();
        c.client.say(query("select 1"));
        c.answer(transaction_status::in_block);
        c.client.sent();
        c.client.say(query("commit"));
        CHECK(c.client.sent() == query("commit"));
    }
    SECTION("no block, in the simple protocol") {
        c.client.say(query("insert into t values (1)"));
        CHECK(c.owes() == "q");
        CHECK_FALSE(c.server->evidence);
    }
    SECTION("no block, and that is switched off") {
        c.guard.writes = config::write_guard::off;
        c.client.say(extended("insert into t values (1)") + sync());
        CHECK(c.owes() == "pbes");
        CHECK_FALSE(c.server->evidence);
    }
    SECTION("no block, and only read") {
        c.client.say(extended("select 1") + sync());
        CHECK(c.owes() == "pbes");
        CHECK_FALSE(c.server->evidence);
    }
    SECTION("a server too old to know of transactions' numbers") {
        const std::string version = "12.22";
        c.server->reported =
            c.world.worker.parameters.with(c.world.worker.parameters.empty(), "server_version", &version);
        c.client.say(query("begin"));
        CHECK(c.owes() == "q");
    }
    SECTION("a server that cannot tell") {
        c.begin();
        c.evidence().life_known = false;
        c.client.say(query("insert into t values (1)"));
        CHECK(c.owes() == "q");
    }
    SECTION("a session that is bound to its server") {
        c.begin();
        c.client.pins().add(pin_reason::temporary_table);
        c.client.say(query("insert into t values (1)"));
        CHECK(c.owes() == "q");
    }
    SECTION("a block that has failed") {
        c.begin();
        c.answer(transaction_status::failed);
        c.client.say(query("insert into t values (1)"));
        CHECK(c.owes() == "q");
    }
}

TEST_CASE("evidence: what is owed of a COMMIT is answered as PostgreSQL would") {
    guarded_client c;
    c.begin();
    const auto answer = [&c] {
        const auto frames = c.client.relay.commit_answer(*c.server);
        return std::string{reinterpret_cast<const char*>(frames.data()), frames.size()};
    };
    SECTION("a simple one") {
        c.client.say(query("commit"));
        CHECK(types_of(answer()) == "CZ");
        CHECK(answer().find("COMMIT") != std::string::npos);
    }
    SECTION("libpq's extended one") {
        c.client.say(parse("", "end") + bind("", "") + describe('P', "") + execute("") + sync());
        CHECK(types_of(answer()) == "12nCZ");
        c.server->owed.pop();
        CHECK(types_of(answer()) == "2nCZ");
    }
    SECTION("one that is described as a statement") {
        c.client.say(parse("", "commit") + describe('S', "") + bind("", "") + execute("") + sync());
        CHECK(types_of(answer()) == "1tn2CZ");
    }
    SECTION("two, one with more behind it, one whose end was not sent") {
        const char* what = GENERATE("two", "more", "open", "chain", "together");
        const std::string text{what};
        CAPTURE(what);
        if (text == "two") c.client.say(query("commit") + query("begin") + query("commit"));
        if (text == "more") c.client.say(query("commit") + query("select 1"));
        if (text == "open") c.client.say(parse("", "commit") + bind("", "") + execute(""));
        if (text == "chain") c.client.say(query("commit and chain"));
        if (text == "together") c.client.say(query("insert into t values (1); commit"));
        CHECK_FALSE(c.client.relay.lone_commit(*c.server));
    }
}

}  // namespace pgmend::test
