#include "pool/reply_pump.hpp"

#include "protocol/result_digest.hpp"
#include "tests/unit/pool/pumped_replies.hpp"

using namespace pgmend::test;

TEST_CASE("reply pump: the answer to a simple query goes to the client untouched") {
    const std::string bytes = row_description() + row({"1"}) + row({"22"}) + notice("hm") +
                              complete("SELECT 2") + parameter_status("TimeZone", "UTC") + ready('T');
    const outcome what = pump(bytes, owing({{reply_kind::query, forward}}));
    CHECK(what.to_client == bytes);
    CHECK(what.told == calls{"complete SELECT 2", "reported TimeZone=UTC", "ready"});
    CHECK(what.status == transaction_status::in_block);
    CHECK(what.settled);
}

TEST_CASE("reply pump: a group is answered message by message") {
    const std::string bytes = parse_complete() + bind_complete() + row_description() + row({"x"}) +
                              complete("SELECT 1") + close_complete() + ready('I');
    const outcome what = pump(
        bytes, owing(
                   {{reply_kind::parse, forward},
                    {reply_kind::bind, forward},
                    {reply_kind::describe, forward},
                    {reply_kind::execute, forward},
                    {reply_kind::close, forward},
                    {reply_kind::sync, forward}}
               )
    );
    CHECK(what.to_client == bytes);
    CHECK(what.told == calls{"complete SELECT 1", "ready"});
    CHECK(what.settled);
}

TEST_CASE("reply pump: each way an Execute and a Describe may end is an end") {
    for (const std::string& end : {portal_suspended(), empty_query(), complete("INSERT 0 1")}) {
        const outcome what = pump(
            row({"1"}) + end + ready('I'),
            owing({{reply_kind::execute, forward}, {reply_kind::sync, forward}})
        );
        CHECK(what.to_client == row({"1"}) + end + ready('I'));
        CHECK(what.settled);
    }
    for (const std::string& end : {no_data(), row_description(), parameter_description() + no_data()}) {
        const outcome what =
            pump(end + ready('I'), owing({{reply_kind::describe, forward}, {reply_kind::sync, forward}}));
        CHECK(what.to_client == end + ready('I'));
        CHECK(what.settled);
    }
}

TEST_CASE("reply pump: what was swallowed is not seen, what was invented stands where it belongs") {
    const std::string bytes =
        close_complete() + parse_complete() + bind_complete() + complete("SELECT 0") + ready('I');
    const outcome what = pump(
        bytes, owing(
                   {{reply_kind::close, swallow},
                    {reply_kind::parse, swallow},
                    {reply_kind::parse, synthesize},
                    {reply_kind::bind, forward},
                    {reply_kind::close, synthesize},
                    {reply_kind::execute, forward},
                    {reply_kind::close, synthesize},
                    {reply_kind::parse, synthesize},
                    {reply_kind::sync, forward}}
               )
    );
    CHECK(
        what.to_client == parse_complete() + bind_complete() + close_complete() + complete("SELECT 0") +
                              close_complete() + parse_complete() + ready('I')
    );
    CHECK(what.settled);
}

TEST_CASE("reply pump: an invented answer never lands inside a message that has not come whole") {
    const std::string wide = message('T', std::string(200, 'c'));
    const outcome what = pump(
        parameter_description() + wide + ready('I'),
        owing({{reply_kind::describe, forward}, {reply_kind::close, synthesize}, {reply_kind::sync, forward}})
    );
    CHECK(what.to_client == parameter_description() + wide + close_complete() + ready('I'));
}

TEST_CASE("reply pump: nothing of our own queries reaches the client") {
    const std::string theirs = parameter_status("application_name", "x");
    const outcome what = pump(
        row_description() + row({"t", "f"}) + notice("for nobody") + theirs + complete("SELECT 1") +
            notification() + ready('I') + row({"client's"}) + complete("SELECT 1") + ready('I'),
        owing({{reply_kind::query, own}, {reply_kind::query, forward}})
    );
    CHECK(what.to_client == notification() + row({"client's"}) + complete("SELECT 1") + ready('I'));
    CHECK(what.told == calls{"own_row 12", "ready", "complete SELECT 1", "ready"});
}

TEST_CASE("reply pump: an error of our own query is ours") {
    const outcome what = pump(error("42704", "no such") + ready('I'), owing({{reply_kind::query, own}}));
    CHECK(what.to_client.empty());
    CHECK(what.told == calls{"own error 42704 no such", "ready"});
    CHECK(what.settled);
}

TEST_CASE("reply pump: an error of what was swallowed is the client's all the same") {
    const outcome what = pump(
        error("42P01") + ready('E'),
        owing({{reply_kind::parse, swallow}, {reply_kind::bind, forward}, {reply_kind::sync, forward}})
    );
    CHECK(what.to_client == error("42P01") + ready('E'));
    CHECK(what.told == calls{"error 42P01 no", "undone bind", "undone parse failed", "ready"});
    CHECK(what.status == transaction_status::failed);
    CHECK(what.settled);
}

TEST_CASE("reply pump: an error skips to the next Sync, and what was invented in between is not said") {
    const std::string bytes = parse_complete() + error("22P02") + ready('I') + bind_complete() + ready('I');
    const outcome what = pump(
        bytes, owing(
                   {{reply_kind::parse, forward},
                    {reply_kind::bind, forward},
                    {reply_kind::close, synthesize},
                    {reply_kind::execute, forward},
                    {reply_kind::sync, forward},
                    {reply_kind::bind, forward},
                    {reply_kind::sync, forward}}
               )
    );
    CHECK(what.to_client == bytes);
    CHECK(
        what.told ==
        calls{"error 22P02 no", "undone execute", "undone close", "undone bind failed", "ready", "ready"}
    );
    CHECK(what.settled);
}

TEST_CASE("reply pump: of a description it is remembered what was told, or compared") {
    using pgmend::protocol::description;
    const auto described = [](std::string_view name) {
        return message('T', u16(1) + z(name) + u32(1) + u16(1) + u32(23) + u16(4) + u32(0xffffffff) + u16(0));
    };
    test_worker worker;
    const auto server = worker.server();
    known_statements known;
    recorder sink;
    const auto statement = known.make("one");
    const auto say = [&](const std::string& bytes, reply_action action, description answer,
                         bool at_once = true) {
        owed_reply asked = reply(reply_kind::describe, action);
        asked.statement = statement;
        asked.answer = answer;
        push(*server, std::move(asked));
        byte_source source;
        std::string told;
        const std::size_t step = at_once ? bytes.size() : 1;
        std::size_t want = 0;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            source.bytes += bytes.substr(at, step);
            while (!source.bytes.empty()) {
                REQUIRE(server->in.fill(source, want).status == io_status::ok);
                const auto done = pump_replies(*server, sink, worker.flight, worker.parameters, {1 << 20});
                REQUIRE(done.result == pump_result::drained);
                take_flight(worker.flight, told);
                server->in.consume(done.consumed);
                want = done.want;
                server->in.keep();
            }
        }
        CHECK(server->owed.empty());
        return told;
    };
    CHECK(say(described("a"), forward, description::unread) == described("a"));
    CHECK(statement->described == 0);
    CHECK(say(described("a"), forward, description::told, false) == described("a"));
    const auto first = statement->described;
    CHECK(first > pgmend::protocol::no_result_digest);
    const auto group = server->owed.group();
    server->statements.insert(statement->id, group);
    server->statements.confirm(statement->id);
    server->statements.check(statement->id);
    CHECK(server->statements.use(statement->id, group) == statement_presence::unchecked);
    CHECK(say(described("a"), swallow, description::checked, false).empty());
    CHECK(server->statements.use(statement->id, group) == statement_presence::present);
    CHECK(say(described("b"), swallow, description::checked).empty());
    CHECK(server->statements.use(statement->id, group) == statement_presence::changed);
    CHECK(say(no_data(), swallow, description::checked).empty());
    CHECK(server->statements.use(statement->id, group) == statement_presence::changed);
    CHECK(statement->described == first);
    // A client was told otherwise: nothing equals what clients were told any more.
    CHECK(say(described("b"), forward, description::told) == described("b"));
    CHECK(statement->described == pgmend::protocol::ambiguous_result);
}

TEST_CASE("reply pump: a comparison that an error has kept from being made has failed") {
    test_worker worker;
    const auto server = worker.server();
    known_statements known;
    const auto statement = known.make("one");
    server->statements.insert(statement->id, 0);
    server->statements.confirm(statement->id);
    server->statements.check(statement->id);
    owed_reply asked = reply(reply_kind::describe, swallow);
    asked.statement = statement;
    asked.answer = pgmend::protocol::description::checked;
    push(*server, std::move(asked));
    recorder sink;
    byte_source source;
    source.bytes = error("42P01");
    REQUIRE(server->in.fill(source, 0).status == io_status::ok);
    pump_replies(*server, sink, worker.flight, worker.parameters, {1 << 20});
    CHECK(server->statements.use(statement->id, 0) == statement_presence::changed);
}

TEST_CASE("reply pump: a stale plan is told to whoever may send the group again, and to the client otherwise"
) {
    const auto stale = [](std::string_view sqlstate, std::string_view routine) {
        return message(
            'E', "S" + z("ERROR") + "V" + z("ERROR") + "C" + z(sqlstate) + "M" + z("no") +
                     (routine.empty() ? "" : "R" + z(routine)) + '\0'
        );
    };
    const auto met = [](const std::string& bytes, bool plans_again, bool parsed_before = false) {
        test_worker worker;
        const auto server = worker.server();
        known_statements known;
        pgmend::protocol::client_statement name{"mine"};
        if (parsed_before) push(*server, reply(reply_kind::parse, forward));
        owed_reply bound = reply(reply_kind::bind, forward);
        bound.statement = known.make("one");
        bound.client = &name;
        push(*server, std::move(bound));
        push(*server, reply(reply_kind::execute, forward));
        push(*server, reply(reply_kind::sync, forward));
        recorder sink;
        sink.plans_again = plans_again;
        byte_source source;
        source.bytes = bytes;
        std::string told;
        REQUIRE(server->in.fill(source, 0).status == io_status::ok);
        const auto step = pump_replies(*server, sink, worker.flight, worker.parameters, {1 << 20});
        CHECK(step.result == pump_result::drained);
        take_flight(worker.flight, told);
        CHECK(server->owed.size() == 1);
        return std::pair{types_of(told), sink.calls};
    };
    const std::string changed = stale("0A000", "RevalidateCachedQuery");
    auto [told, seen] = met(changed, true);
    CHECK(told.empty());
    CHECK(seen == calls{"stale one", "undone execute", "undone bind"});
    std::tie(told, seen) = met(stale("26000", ""), true);
    CHECK(told.empty());
    CHECK(seen == calls{"stale one", "undone execute", "undone bind"});
    std::tie(told, seen) = met(changed, false);
    CHECK(told == "E");
    CHECK(seen == calls{"stale one", "error 0A000 no", "undone execute", "undone bind failed"});
    // Not every feature that is not supported is a plan.
    std::tie(told, seen) = met(stale("0A000", "transformUpdateStmt"), true);
    CHECK(told == "E");
    CHECK(seen == calls{"error 0A000 no", "undone execute", "undone bind failed"});
    std::tie(told, seen) = met(parse_complete() + changed, false, true);
    CHECK(told == "1E");
    CHECK(seen.front() == "stale one told");
}

TEST_CASE("reply pump: an error before the client's Sync leaves the server skipping until it comes") {
    const outcome what = pump(error("42601"), owing({{reply_kind::parse, forward}}));
    CHECK(what.to_client == error("42601"));
    CHECK(what.owed == 0);
    CHECK_FALSE(what.settled);
}

TEST_CASE("reply pump: an error at Sync is answered by ReadyForQuery all the same") {
    const outcome what = pump(error("23503") + ready('I'), owing({{reply_kind::sync, forward}}));
    CHECK(what.to_client == error("23503") + ready('I'));
    CHECK(what.settled);
}

TEST_CASE("reply pump: what was skipped is not believed to be done") {
    known_statements known;
    test_worker worker;
    const auto server = worker.server();
    server->statements.insert(77, 0);
    server->statements.confirm(77);
    std::vector<statement_ref> made;
    for (const std::string_view text : {"one", "two"}) {
        owed_reply parsed = reply(reply_kind::parse);
        made.push_back(parsed.statement = known.make(text));
        parsed.named_on_server = true;
        server->statements.insert(parsed.statement->id, server->owed.group());
        push(*server, std::move(parsed));
    }
    owed_reply unnamed = reply(reply_kind::parse);
    made.push_back(unnamed.statement = known.make("three"));
    server->statements.set_unnamed(unnamed.statement->id, server->owed.group());
    push(*server, std::move(unnamed));
    owed_reply closed = reply(reply_kind::close, swallow);
    closed.evicted = 99;
    server->statements.insert(99, 0);
    server->statements.confirm(99);
    server->statements.close(99, server->owed.group());
    push(*server, std::move(closed));
    const auto group = server->owed.group();
    push(*server, reply(reply_kind::sync));
    byte_source source;
    source.bytes = parse_complete() + error("42601") + ready('I');
    recorder sink;
    REQUIRE(server->in.fill(source, 0).status == io_status::ok);
    REQUIRE(pump_replies(*server, sink, worker.flight, worker.parameters, {}).result == pump_result::drained);
    const auto later = server->owed.group();
    CHECK(server->statements.use(made[0]->id, later) == statement_presence::present);
    CHECK(server->statements.use(made[1]->id, group) == statement_presence::absent);
    CHECK_FALSE(server->statements.unnamed_is(made[2]->id, group));
    CHECK(made[0]->proven);
    CHECK_FALSE(made[1]->proven);
    // Closing another to make room was skipped too: it is still there.
    CHECK(server->statements.use(99, later) == statement_presence::present);
    CHECK(server->statements.use(77, later) == statement_presence::present);
}

TEST_CASE("reply pump: an error that names a statement names it as the client does") {
    known_statements known;
    client_statement client{"mine"};
    const statement_ref statement = known.make("select 1");
    const std::string ours = "\"" + statement->server_name + "\"";
    const auto owing_parse = [&](pgmend::protocol::substitute_error why) {
        return [&client, statement, why](test_worker&, server_connection& server) {
            owed_reply parsed = reply(reply_kind::parse);
            parsed.client = &client;
            parsed.statement = statement;
            parsed.error = why;
            push(server, std::move(parsed));
            push(server, reply(reply_kind::sync));
        };
    };
    using pgmend::protocol::substitute_error;
    const outcome stale = pump(
        error("0A000", "statement " + ours + " is stale") + ready('I'), owing_parse(substitute_error::none)
    );
    CHECK(stale.to_client == error("0A000", "statement \"mine\" is stale") + ready('I'));
    const outcome taken = pump(
        error("42P05", "prepared statement \"pgmend_0\" already exists") + ready('I'),
        owing_parse(substitute_error::duplicate_statement)
    );
    CHECK(taken.to_client == error("42P05", "prepared statement \"mine\" already exists") + ready('I'));
    const outcome other =
        pump(error("42601", "syntax error") + ready('I'), owing_parse(substitute_error::none));
    CHECK(other.to_client == error("42601", "syntax error") + ready('I'));
}

TEST_CASE("reply pump: after DISCARD ALL and DEALLOCATE ALL nothing is believed to be prepared") {
    for (const std::string_view tag : {"DISCARD ALL", "DEALLOCATE ALL", "DEALLOCATE"}) {
        test_worker worker;
        const auto server = worker.server();
        server->statements.insert(1, 0);
        server->statements.confirm(1);
        push(*server, reply(reply_kind::query));
        byte_source source;
        source.bytes = complete(tag);
        recorder sink;
        server->in.fill(source, 0);
        pump_replies(*server, sink, worker.flight, worker.parameters, {});
        CHECK((server->statements.size() == 0) == (tag != "DEALLOCATE"));
    }
}

TEST_CASE("reply pump: a message bound to fail gets our words, and only then") {
    const preparation group = [](test_worker&, server_connection& server) {
        owed_reply made = reply(reply_kind::describe, substitute);
        made.error = pgmend::protocol::substitute_error::unknown_statement;
        push(server, std::move(made));
        push(server, reply(reply_kind::sync));
    };
    const outcome ours =
        pump(error("26000", "prepared statement \"pgmend_none\" does not exist") + ready('I'), group);
    CHECK(ours.to_client == error("26000", "prepared statement does not exist") + ready('I'));
    CHECK(ours.settled);
    // In a failed block the server's own words are the right ones.
    const outcome failed = pump(error("25P02", "aborted") + ready('E'), group);
    CHECK(failed.to_client == error("25P02", "aborted") + ready('E'));
    const outcome dead = pump(fatal("57P01", "bye"), group);
    CHECK(dead.to_client == fatal("57P01", "bye"));
    // It may not succeed.
    CHECK(pump(no_data(), group).result == pump_result::violation);
}

TEST_CASE("reply pump: nothing is forwarded to a client that is gone") {
    const outcome what = pump(
        row({"1"}) + complete("SELECT 1") + ready('I') + error("22012") + ready('I'),
        owing({{reply_kind::query, drop}, {reply_kind::execute, drop}, {reply_kind::sync, drop}})
    );
    CHECK(what.to_client.empty());
    CHECK(what.settled);
    CHECK(what.told == calls{"ready", "error 22012 no", "undone execute failed", "ready"});
}

TEST_CASE("reply pump: what the server says unasked goes to the client") {
    const outcome what =
        pump(notification() + notice("hello") + parameter_status("a", "b") + fatal("57P01"), owing({}));
    CHECK(what.to_client == notification() + notice("hello") + parameter_status("a", "b") + fatal("57P01"));
    CHECK(what.told == calls{"reported a=b", "fatal 57P01 no"});
}

TEST_CASE("reply pump: the client may be told another value, and only that one changes") {
    test_worker worker;
    const auto server = worker.server();
    push(*server, reply(reply_kind::query));
    recorder sink;
    sink.told_instead = "mine";
    byte_source source;
    source.bytes = complete("RESET") + parameter_status("application_name", "") +
                   parameter_status("TimeZone", "UTC") + ready('I');
    server->in.fill(source, 0);
    pump_replies(*server, sink, worker.flight, worker.parameters, {});
    std::string to_client;
    take_flight(worker.flight, to_client);
    CHECK(
        to_client == complete("RESET") + parameter_status("application_name", "mine") +
                         parameter_status("TimeZone", "UTC") + ready('I')
    );
    // What the server reported is kept as it said it.
    REQUIRE(server->reported->find("application_name") != nullptr);
    CHECK(server->reported->find("application_name")->empty());
    CHECK(*server->reported->find("TimeZone") == "UTC");
}

TEST_CASE("reply pump: what is no news is not told, and still known of the server") {
    test_worker worker;
    const auto server = worker.server();
    push(*server, reply(reply_kind::query));
    recorder sink;
    sink.no_news = true;
    byte_source source;
    source.bytes = complete("SET") + parameter_status("TimeZone", "UTC") + ready('I');
    server->in.fill(source, 0);
    pump_replies(*server, sink, worker.flight, worker.parameters, {});
    std::string to_client;
    take_flight(worker.flight, to_client);
    CHECK(to_client == complete("SET") + ready('I'));
    CHECK(*server->reported->find("TimeZone") == "UTC");
}

TEST_CASE("reply pump: what is not owed is a violation") {
    const auto none = owing({});
    for (const std::string& bytes :
         {parse_complete(), bind_complete(), close_complete(), no_data(), portal_suspended(), ready('I'),
          copy_in_response(), message('W', "x"), message('?'), message('K', "12345678"),
          message('R', u32(0))}) {
        CAPTURE(types_of(bytes));
        CHECK(pump(bytes, none).result == pump_result::violation);
    }
    CHECK(pump(parse_complete(), owing({{reply_kind::bind, forward}})).result == pump_result::violation);
    CHECK(pump(ready('I'), owing({{reply_kind::bind, forward}})).result == pump_result::violation);
    CHECK(pump(ready('X'), owing({{reply_kind::sync, forward}})).result == pump_result::violation);
    CHECK(pump(message('Z', "II"), owing({{reply_kind::sync, forward}})).result == pump_result::violation);
    CHECK(pump('D' + u32(3), owing({{reply_kind::query, forward}})).result == pump_result::violation);
    CHECK(
        pump('D' + u32(0x80000000), owing({{reply_kind::query, forward}})).result == pump_result::violation
    );
    CHECK(pump(message('S', "cut"), owing({})).result == pump_result::violation);
}

TEST_CASE("reply pump: what came before a violation has reached the client") {
    const outcome what = pump(row({"1"}) + bind_complete(), owing({{reply_kind::query, forward}}));
    CHECK(what.result == pump_result::violation);
    CHECK(what.to_client == row({"1"}));
}

TEST_CASE("reply pump: a body larger than any buffer passes through") {
    const std::string large = message('D', std::string(300'000, 'v'));
    const std::string bytes = row_description() + large + large + complete("SELECT 2") + ready('I');
    for (const std::size_t step : {std::size_t{1000}, std::size_t{65'536}, bytes.size()}) {
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < bytes.size(); at += step) {
            pieces.push_back(bytes.substr(at, step));
        }
        const outcome what = pump_pieces(pieces, owing({{reply_kind::query, forward}}), 4096);
        CHECK(what.to_client == bytes);
        CHECK(what.settled);
    }
}

TEST_CASE("reply pump: a notice and an error longer than may be held pass through in parts") {
    const std::string text(10'000, 'n');
    const std::string bytes = notice(text) + error("22012", text) + ready('I');
    const auto prepare = owing({{reply_kind::query, forward}});
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < bytes.size(); at += 100) {
        pieces.push_back(bytes.substr(at, 100));
    }
    const outcome what = pump_pieces(pieces, prepare, 1000);
    CHECK(what.to_client == bytes);
    REQUIRE(what.told.size() == 2);
    CHECK(what.told[0].starts_with("error 22012"));
    CHECK(what.settled);
}

TEST_CASE("reply pump: of an error longer than may be held the same is understood however it is cut") {
    const std::string bytes = error("22012", std::string(300, 'n')) + ready('I');
    const outcome what = pump(bytes, owing({{reply_kind::query, forward}}), 100);
    CHECK(what.to_client == bytes);
    REQUIRE(what.told.size() == 2);
    CHECK(what.told[0].starts_with("error 22012"));
}

TEST_CASE("reply pump: a message that is held says how large it is") {
    test_worker worker;
    const auto server = worker.server();
    push(*server, reply(reply_kind::query));
    recorder sink;
    byte_source source;
    const std::string tag = complete("SELECT 1");
    source.bytes = tag.substr(0, 6);
    server->in.fill(source, 0);
    const pump_step step = pump_replies(*server, sink, worker.flight, worker.parameters, {});
    CHECK(step.result == pump_result::drained);
    CHECK(step.consumed == 0);
    CHECK(step.want == tag.size());
    CHECK(worker.flight.empty());
}

TEST_CASE("reply pump: many small rows that are not for the client, and many invented answers, fit") {
    std::vector<std::pair<reply_kind, reply_action>> group;
    std::string bytes;
    std::string expected;
    for (int i = 0; i < 500; ++i) {
        group.push_back({reply_kind::parse, swallow});
        group.push_back({reply_kind::bind, forward});
        group.push_back({reply_kind::close, synthesize});
        bytes += parse_complete() + bind_complete();
        expected += bind_complete() + close_complete();
    }
    for (int i = 0; i < 5000; ++i) {
        group.push_back({reply_kind::parse, synthesize});
        expected += parse_complete();
    }
    group.push_back({reply_kind::sync, forward});
    bytes += ready('I');
    expected += ready('I');
    const outcome what = pump_pieces({bytes}, owing(group));
    CHECK(what.to_client == expected);
    CHECK(what.settled);
}

TEST_CASE("reply pump: invented answers that fill more than a flight wait for no byte of the server") {
    std::vector<std::pair<reply_kind, reply_action>> group{{reply_kind::execute, forward}};
    std::string expected = complete("SELECT 1");
    for (int i = 0; i < 5000; ++i) {
        group.push_back({reply_kind::parse, synthesize});
        expected += parse_complete();
    }
    const outcome what = pump_pieces({complete("SELECT 1")}, owing(group));
    CHECK(what.to_client == expected);
    CHECK(what.owed == 0);
}

TEST_CASE("reply pump: a server's farewell is the sink's to deal with, and answers nothing") {
    const auto group = owing({{reply_kind::execute, forward}, {reply_kind::sync, forward}});
    const std::string warning = message('N', error_body("WARNING", "57P02", "another process crashed"));
    const outcome taken = pump(row({"1"}) + warning + fatal("57P01", "bye"), group, 1 << 20, true);
    CHECK(taken.to_client == row({"1"}));
    CHECK(taken.told == calls{"farewell 57P02 notice", "farewell 57P01 error"});
    CHECK(taken.owed == 2);  // whoever takes it must know what is still owed
    // An error that is none, a FATAL that is no farewell, and a sink that does not take it.
    const std::string plain = error("57P01") + ready('I');
    CHECK(pump(plain, group, 1 << 20, true).to_client == plain);
    CHECK(pump(fatal("25P03"), group, 1 << 20, true).to_client == fatal("25P03"));
    CHECK(pump(warning + fatal("57P01"), group).to_client == warning + fatal("57P01"));
}
