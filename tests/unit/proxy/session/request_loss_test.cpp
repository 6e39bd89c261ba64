#include <catch2/catch.hpp>

#include "tests/unit/proxy/session/relay_fixture.hpp"

namespace pgmend::test {

using namespace pgmend::proxy;
using protocol::owed_reply;

namespace {

/// Hears what is undone, the latest first.
class undoing final : public pool::reply_sink {
public:
    std::string letters;
    std::optional<std::string> reported(std::string_view, std::string_view) override { return {}; }
    void own_row(protocol::byte_view) override {}
    void error(std::string_view, std::string_view, bool, bool) override {}
    bool farewell(std::string_view, std::string_view, bool) override { return false; }
    bool stale_plan(const protocol::statement_ref&, bool) override { return false; }
    void command_complete(std::string_view) override {}
    void ready() override {}
    void undone(owed_reply& reply) override { letters += "pbdecsqf."[static_cast<std::size_t>(reply.kind)]; }
};

/// A client that has said `bytes` to a server, and what it is owed when that is lost.
struct lost_client {
    relay_world world;
    std::unique_ptr<pool::server_connection> server = world.worker.server();
    relay_client client{world};
    undoing sink;

    explicit lost_client(const std::string& bytes) {
        client.server = server.get();
        client.say(bytes);
    }
    /// "E" for an error, "Z" for a ReadyForQuery, "e" for an error whose Sync is still to come.
    std::string lose(bool error_shown = false) {
        const auto left = client.relay.lose(*server, sink, error_shown);
        client.server = nullptr;
        std::string all;
        for (const bool error : left.ends)
            all += error ? "EZ" : "Z";
        return all + (left.open_group ? "e" : "");
    }
};

std::string group(bool with_sync = true) {
    return parse("", "select 1") + bind("", "") + execute() + (with_sync ? sync() : "");
}

}  // namespace

TEST_CASE("request loss: every ReadyForQuery that is owed comes, each with one error at most in front") {
    struct example {
        const char* what;
        std::string said;
        bool error_shown;
        std::string owed;
    };
    const example examples[]{
        {"nothing", "", false, ""},
        {"a query", query("select 1"), false, "EZ"},
        {"a query whose error was shown", query("select 1"), true, "Z"},
        {"two queries", query("select 1") + query("select 2"), false, "EZEZ"},
        {"the first one's error was shown", query("select 1") + query("select 2"), true, "ZEZ"},
        {"a group", group(), false, "EZ"},
        {"two groups", group() + group(), false, "EZEZ"},
        {"a group without its Sync", group(false), false, "e"},
        {"one with and one without", group() + group(false), false, "EZe"},
        {"the end of a group whose messages were answered", sync(), false, "EZ"},
        {"a query within a group is skipped with it", group(false) + query("select 1") + sync(), false, "EZ"},
        {"a query ahead of a group is not", query("select 1") + group(), false, "EZEZ"},
        {"a further Sync has nothing that could fail", group() + sync(), false, "EZZ"},
    };
    for (const auto& [what, said, error_shown, owed] : examples) {
        CAPTURE(what);
        lost_client lost{said};
        CHECK(lost.lose(error_shown) == owed);
    }
}

TEST_CASE("request loss: what is still to come of the lost group is skipped, and its Sync ends the error") {
    lost_client lost{group(false)};
    CHECK(lost.lose() == "e");
    CHECK(lost.client.say(bind("", "") + execute()) == request_result::need_more);
    CHECK(lost.client.told().empty());
    CHECK(lost.client.say(sync()) == request_result::need_more);
    CHECK(lost.client.told() == ready('I'));
    CHECK(lost.client.say(query("select 1")) == request_result::need_server);
}

TEST_CASE("request loss: in a lost block ReadyForQuery says so, and nothing is answered as if it were not") {
    lost_client lost{group()};
    REQUIRE(lost.lose() == "EZ");
    lost.client.relay.set_block(request_relay::lost_block::told);
    lost.client.say(sync());
    CHECK(lost.client.told() == ready('E'));
    CHECK(lost.client.say(parse("name", "select 1")) == request_result::need_server);
    CHECK(lost.client.told().empty());
}

TEST_CASE("request loss: the rest of a message that was sent in part is not taken for another one") {
    const std::string long_query = query(std::string(3000, ' ') + "select 1");
    lost_client lost{""};
    lost.world.held = 1000;
    relay_client client{lost.world};
    client.server = lost.server.get();
    client.say(long_query.substr(0, 2000));
    REQUIRE(client.relay.mid_message());
    CHECK(client.relay.lose(*lost.server, lost.sink, false).ends == std::vector<bool>{true});
    client.server = nullptr;
    CHECK(client.say(long_query.substr(2000)) == request_result::need_more);
    CHECK(client.unread.empty());
    CHECK(client.say(query("select 2")) == request_result::need_server);
}

TEST_CASE("request loss: all of it is undone, the latest first") {
    lost_client lost{parse("a", "select 1") + bind("", "a") + execute() + sync() + query("select 2")};
    lost.lose();
    CHECK(lost.sink.letters == "qsebp");
}

TEST_CASE("request loss: a request that begins anew is read from its beginning") {
    const std::string long_query = query(std::string(3000, ' ') + "select 1");
    lost_client lost{""};
    lost.world.held = 1000;
    relay_client client{lost.world};
    client.server = lost.server.get();
    client.say(group() + long_query.substr(0, 2000));
    CHECK(client.relay.may_have_written());  // a text that is not whole may be anything
    client.relay.rewind(*lost.server, lost.sink);
    CHECK_FALSE(client.relay.may_have_written());
    CHECK_FALSE(client.relay.mid_message());
    const auto again = lost.world.worker.server();
    client.server = again.get();
    client.sent();
    client.say(group() + long_query);
    CHECK(client.sent() == group() + long_query);
    CHECK(owed(*again) == "pbesq");
}

TEST_CASE("request loss: what a request may have done is told by its statements") {
    struct example {
        std::string said;
        bool wrote, committed, survives, outside;
    };
    const example examples[]{
        {query("select 1"), false, false, false, false},
        {query("begin") + query("select now()"), false, false, false, false},
        {query("set work_mem = '1MB'"), false, false, false, false},
        {query("insert into t values (1)"), true, false, false, false},
        {query("insert into t values (1)") + query("commit"), true, true, false, false},
        {query("insert into t values (1); commit; select 1"), true, true, true, false},
        {query("select * from t for update"), true, false, false, false},
        {query("vacuum"), true, false, true, false},
        {query("do $$ begin commit; end $$"), true, true, true, false},
        {query("call p()"), true, true, true, false},
        {query("select of_mine(1)"), true, false, true, false},
        {query("select pg_terminate_backend(1)"), true, false, true, true},
        {query("prepare transaction 'x'"), true, true, true, false},
        {query("not sql at all"), true, true, true, false},
        {function_call(764), true, false, true, false},
    };
    for (const auto& [said, wrote, committed, survives, outside] : examples) {
        CAPTURE(said);
        lost_client lost{said};
        const auto& relay = lost.client.relay;
        CHECK(relay.may_have_written() == wrote);
        CHECK(relay.commit_sent() == committed);
        CHECK(relay.may_survive() == survives);
        CHECK(relay.outside_effects() == outside);
    }
}

TEST_CASE("request loss: whether a block is open, and what was written outside one, follows what was sent") {
    const std::string insert = query("insert into t values (1)");
    const std::vector<std::tuple<std::string, bool, bool, bool>> examples{
        {query("select 1"), false, false, false},
        {insert, true, false, false},
        {query("begin") + insert, false, false, true},
        {query("begin") + insert + query("commit"), false, false, false},
        {query("begin") + insert + query("commit and chain") + insert, false, false, true},
        {query("rollback") + insert, true, false, false},
        {query("begin") + query("rollback") + insert, true, false, false},
        {query("rollback; insert into t values (1)"), true, false, false},
        {query("begin") + query("rollback to s") + query("commit"), false, true, false},
        {query("begin") + query("select 1; insert into t values (1)"), false, false, true},
        {query("do $$ begin commit; end $$"), true, false, false},
        {parse("", "begin") + bind("", "") + execute() + parse("", "insert into t values (1)") +
             bind("", "") + execute() + sync(),
         false, false, true},
        // A BEGIN that an error in front of it has the server skip opens nothing, and what follows runs
        // alone.
        {parse("", "select 1/0") + bind("", "") + execute() + parse("", "begin") + bind("", "") + execute() +
             sync() + insert,
         true, false, false},
        {parse("", "begin") + bind("later", "") + sync() + insert, true, false, false},
        {function_call(764), true, false, false},
    };
    for (const auto& [said, outside, back, open] : examples) {
        CAPTURE(said);
        lost_client lost{said};
        const auto& relay = lost.client.relay;
        CHECK(relay.wrote_outside() == outside);
        CHECK(relay.went_back() == back);
        CHECK(relay.block_open(*lost.server, false) == open);
    }
}

TEST_CASE(
    "request loss: behind an error that was shown, a block is what the answers before it have made of it"
) {
    using protocol::transaction_end;
    const auto run = [](const std::string& sql) { return parse("", sql) + bind("", "") + execute(); };
    /// The server carries out as many statements, then one fails.
    const auto open = [](const std::string& said, const std::vector<std::string>& tags, char status = 'I') {
        lost_client lost{""};
        lost.server->status = static_cast<protocol::transaction_status>(status);
        lost.client.say(said);
        auto& relay = lost.client.relay;
        auto& owed = lost.server->owed;
        for (const std::string& tag : tags) {
            const bool simple = owed.front().kind == protocol::reply_kind::query;
            while (!simple && owed.front().kind != protocol::reply_kind::execute)
                owed.pop();
            relay.answered(tag, owed.front().ends);
            if (!simple) owed.pop();
        }
        while (owed.front().kind != protocol::reply_kind::execute &&
               owed.front().kind != protocol::reply_kind::query)
            owed.pop();
        relay.failed(*lost.server);
        if (owed.front().kind == protocol::reply_kind::execute)
            owed.skip_to_sync([](const owed_reply&) {}, [](owed_reply&) {});
        return relay.block_open(*lost.server, true);
    };
    const std::string wrong = run("select 1/0");
    CHECK(open(run("begin") + wrong + run("commit") + sync(), {"BEGIN"}));
    CHECK(open(run("select 1") + run("begin") + wrong + run("commit") + sync(), {"SELECT 1", "BEGIN"}));
    CHECK(open(run("start transaction") + wrong + run("rollback") + sync(), {"START TRANSACTION"}));
    CHECK_FALSE(open(wrong + run("begin") + sync(), {}));
    CHECK(open(wrong + run("commit") + sync(), {}, 'T'));
    CHECK_FALSE(open(run("commit") + sync(), {}, 'T'));
    CHECK_FALSE(open(run("commit") + wrong + sync(), {"COMMIT"}, 'T'));
    CHECK_FALSE(open(run("rollback") + wrong + sync(), {"ROLLBACK"}, 'E'));
    CHECK(open(run("commit and chain") + wrong + sync(), {"COMMIT"}, 'T'));
    CHECK(open(run("rollback and chain") + wrong + sync(), {"ROLLBACK"}, 'E'));
    CHECK(open(run("rollback to savepoint a") + wrong + sync(), {"ROLLBACK"}, 'E'));
    CHECK(open(query("begin; select 1/0; commit"), {"BEGIN"}));
    CHECK_FALSE(open(query("rollback; select 1/0"), {"ROLLBACK"}, 'E'));
    // What stands behind the end of the group is carried out.
    CHECK_FALSE(open(run("begin") + wrong + sync() + query("rollback"), {"BEGIN"}));
    CHECK(open(wrong + sync() + run("begin") + sync(), {}));
}

TEST_CASE("request loss: within a group that was answered so far, the block is what was sent") {
    lost_client lost{parse("", "begin") + bind("", "") + execute()};
    answer_all(*lost.server);
    lost.client.say(parse("", "select 1"));
    answer_all(*lost.server);
    CHECK(lost.client.relay.block_open(*lost.server, false));
}

TEST_CASE("request loss: a request that speaks of READ ONLY in whatever way is its client's own") {
    const auto speaks = [](const std::string& said) {
        relay_world world;
        const auto server = world.worker.server();
        relay_client client{world};
        client.server = server.get();
        client.say(
            parse("begins", "Start Transaction read  only") + parse("writes", "insert into t values ($1)") +
            sync()
        );
        return client.relay.speaks_of_read_only(protocol::as_bytes(said));
    };
    CHECK(speaks(query("BEGIN READ ONLY")));
    CHECK(speaks(query("begin") + query("set transaction isolation level serializable, read\n--\nonly")));
    CHECK(speaks(query("SET LOCAL transaction_Read_Only = on")));
    CHECK(speaks(parse("", "begin read only") + bind("", "") + execute() + sync()));
    CHECK(speaks(query("select 1") + bind("", "begins") + execute() + sync()));
    CHECK_FALSE(speaks(""));
    CHECK_FALSE(speaks(query("BEGIN") + query("insert into t values (1)") + sync()));
    CHECK_FALSE(speaks(bind("", "writes", {"read only"}) + execute() + sync()));
    CHECK_FALSE(speaks(query("select read, only_one from reads")));
    CHECK_FALSE(speaks(query("read") + query("only")));
    CHECK_FALSE(speaks(bind("", "nobody's") + execute() + sync()));
}

TEST_CASE("request loss: the beginning of an answer is unsaid where nothing in it is final or told once") {
    const auto unsaid = [](const std::string& answer, const std::string& asked, std::size_t limit = 1000) {
        pool::gather flight{};
        flight.add(protocol::as_bytes(answer));
        pool::request_record record;
        record.begin(limit);
        record.add(protocol::as_bytes(asked));
        return may_be_unsaid(flight, record);
    };
    const std::string unnamed = group();
    const std::string named = parse("mine", "select 1") + bind("", "mine") + execute() + sync();
    const std::string rows = bind_complete() + row_description() + row({"1"});
    CHECK(unsaid("", unnamed));
    CHECK(unsaid(rows, unnamed));
    CHECK(unsaid(parse_complete() + rows, unnamed));
    CHECK(unsaid(rows.substr(0, rows.size() - 2), unnamed));
    CHECK(unsaid(rows, named));
    CHECK_FALSE(unsaid(parse_complete() + rows, named));
    CHECK(unsaid(rows + complete("SELECT 1"), unnamed));
    CHECK(unsaid(bind_complete() + complete("INSERT 0 1"), unnamed));
    CHECK_FALSE(unsaid(rows + complete("SELECT 1"), query("select 1")));
    CHECK_FALSE(unsaid(rows + complete("SELECT 1"), unnamed + query("select 1")));
    for (const auto* tag :
         {"COMMIT", "SET", "DISCARD ALL", "DEALLOCATE", "PREPARE TRANSACTION", "CREATE TABLE"}) {
        CAPTURE(tag);
        CHECK_FALSE(unsaid(bind_complete() + complete(tag), unnamed));
    }
    CHECK_FALSE(unsaid(rows + ready('I'), unnamed));
    CHECK_FALSE(unsaid(rows + parameter_status("TimeZone", "UTC"), unnamed));
    CHECK_FALSE(unsaid(notification() + rows, unnamed));
    CHECK_FALSE(unsaid(rows + error("57P01"), unnamed));
    CHECK_FALSE(unsaid(copy_in_response(), unnamed));
    CHECK_FALSE(unsaid(rows, unnamed, 10));
    CHECK_FALSE(unsaid(parse_complete(), close('S', "mine") + unnamed));
    // The first Bind would find the statement of the Parse behind it.
    const std::string older =
        bind("", "") + execute() + parse("", "select 2") + bind("", "") + execute() + sync();
    CHECK_FALSE(unsaid(bind_complete() + complete("INSERT 0 1") + parse_complete(), older));
    CHECK(unsaid(parse_complete() + bind_complete(), parse("", "select 1") + older));
}

}  // namespace pgmend::test
