#include "protocol/reply_queue.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <string>
#include <vector>

using namespace pgmend::protocol;

namespace {

owed_reply reply(reply_kind kind, reply_action action = reply_action::forward) {
    owed_reply made;
    made.kind = kind;
    made.action = action;
    return made;
}

void push(reply_queue& queue, owed_reply what) {
    owed_reply& slot = queue.push(what.kind, what.action);
    what.group = slot.group;
    slot = std::move(what);
}

/// "pbdecsqf." for the kinds in order of the enumeration.
std::string kinds(reply_queue& queue) {
    std::string all;
    for (std::size_t i = 0; i < queue.size(); ++i) {
        all += "pbdecsqf."[static_cast<std::size_t>(queue.at(i).kind)];
    }
    return all;
}

reply_queue made_of(std::string_view letters) {
    reply_queue queue{1000};
    for (const char letter : letters) {
        const std::size_t kind = std::string_view{"pbdecsqf"}.find(letter);
        if (letter == '.') {
            queue.push_copy_end();
        } else {
            push(queue, reply(static_cast<reply_kind>(kind)));
        }
    }
    return queue;
}

std::string skip(reply_queue& queue) {
    std::string undone;
    queue.skip_to_sync(
        [](const owed_reply&) {},
        [&](owed_reply& one) { undone += "pbdecsqf."[static_cast<std::size_t>(one.kind)]; }
    );
    return undone;
}

struct statements {
    statement_store store{100};
    parameter_store parameters;
    statement_ref make(std::string_view text) {
        return store.intern(text, {}, {parameters.empty()->id, 0}, [](std::string_view) {
            statement_traits traits;
            traits.effects = session_effect::none;
            return traits;
        });
    }
};

}  // namespace

TEST_CASE("reply queue: what is pushed comes out in order, across any number of growths") {
    reply_queue queue{1000};
    std::deque<reply_kind> model;
    std::mt19937 random{5};
    for (int step = 0; step < 5000; ++step) {
        if (random() % 5 < 3 || model.empty()) {
            const auto kind = static_cast<reply_kind>(random() % 8);
            push(queue, reply(kind));
            model.push_back(kind);
        } else {
            REQUIRE(queue.front().kind == model.front());
            queue.pop();
            model.pop_front();
        }
        REQUIRE(queue.size() == model.size());
        REQUIRE(queue.full() == (model.size() >= 1000));
        for (std::size_t i = 0; i < model.size(); i += 37) {
            REQUIRE(queue.at(i).kind == model[i]);
        }
    }
}

TEST_CASE("reply queue: what was answered holds no statement any more") {
    statement_store store{0};  // keeps nothing that nobody holds
    const auto make = [&](std::string_view text) {
        return store.intern(text, {}, {}, [](std::string_view) { return statement_traits{}; });
    };
    reply_queue queue{10};
    client_statement client{"c"};
    owed_reply parsed = reply(reply_kind::parse);
    parsed.statement = make("a");
    parsed.previous = make("b");
    parsed.client = &client;
    push(queue, std::move(parsed));
    CHECK(store.size() == 2);
    queue.pop();
    CHECK(store.size() == 0);
    push(queue, reply(reply_kind::sync));
    CHECK(queue.front().client == nullptr);
}

TEST_CASE("reply queue: a server is settled when nothing is owed and no group is open") {
    reply_queue queue{10};
    CHECK(queue.settled());
    for (const auto kind :
         {reply_kind::parse, reply_kind::bind, reply_kind::describe, reply_kind::execute,
          reply_kind::close}) {
        push(queue, reply(kind));
        CHECK_FALSE(queue.settled());
        queue.pop();
        // Answered, but its group waits for a Sync.
        CHECK_FALSE(queue.settled());
        CHECK(queue.group_open());
        push(queue, reply(reply_kind::sync));
        CHECK_FALSE(queue.group_open());
        CHECK_FALSE(queue.settled());
        CHECK(queue.ready());
        CHECK(queue.settled());
    }
    push(queue, reply(reply_kind::query));
    CHECK_FALSE(queue.group_open());
    CHECK_FALSE(queue.settled());
    CHECK(queue.ready());
    CHECK(queue.settled());
}

TEST_CASE("reply queue: a simple query ends the group it stands in") {
    reply_queue queue = made_of("pq");
    queue.pop();
    CHECK(queue.ready());
    CHECK(queue.settled());
    // Unless more of the extended protocol was sent behind it.
    reply_queue more = made_of("qb");
    CHECK(more.ready());
    CHECK_FALSE(more.settled());
}

TEST_CASE("reply queue: ReadyForQuery answers Sync, a simple query or a function call, and nothing else") {
    for (const char letter : std::string_view{"sqf"}) {
        reply_queue queue = made_of({&letter, 1});
        CHECK(queue.ready());
        CHECK(queue.empty());
        CHECK_FALSE(queue.ready());
    }
    for (const char letter : std::string_view{"pbdec"}) {
        reply_queue queue = made_of({&letter, 1});
        CHECK_FALSE(queue.ready());
        CHECK(queue.size() == 1);
    }
}

TEST_CASE("reply queue: an error skips to the next Sync, the latest first, and takes queries with it") {
    reply_queue queue = made_of("pbdqfcesbs");
    CHECK(skip(queue) == "ecfqdbp");
    CHECK(kinds(queue) == "sbs");
    CHECK_FALSE(queue.skipping());
    CHECK(queue.ready());
    CHECK(kinds(queue) == "bs");
}

TEST_CASE("reply queue: with no Sync sent yet the server skips what follows until one comes") {
    reply_queue queue = made_of("pb");
    CHECK(skip(queue) == "bp");
    CHECK(queue.skipping());
    CHECK(queue.group_open());
    CHECK_FALSE(queue.settled());
    push(queue, reply(reply_kind::sync));
    CHECK_FALSE(queue.skipping());
    CHECK(queue.ready());
    CHECK(queue.settled());
}

TEST_CASE("reply queue: messages between two Syncs are of one group") {
    reply_queue queue = made_of("pbesqpeses");
    const auto group = [&](std::size_t i) { return queue.at(i).group; };
    CHECK(group(0) == group(3));
    CHECK(group(4) != group(3));
    CHECK(group(5) != group(4));
    CHECK(group(5) == group(7));
    CHECK(group(8) != group(7));
    CHECK(queue.group() != group(9));
}

TEST_CASE("reply queue: while the server copies in, Syncs sent before the end of the copy are not answered") {
    reply_queue queue = made_of("es.s");
    queue.begin_copy_in();
    CHECK(kinds(queue) == "e.s");
    CHECK_FALSE(queue.copying_in());  // its end is already on the way
    queue.end_copy();
    queue.pop();
    CHECK(kinds(queue) == "s");
    CHECK(queue.ready());
    CHECK(queue.settled());
    CHECK_FALSE(queue.in_doubt());
}

TEST_CASE("reply queue: a copy whose end was not sent yet reads every Sync until it is") {
    reply_queue queue = made_of("ess");
    queue.begin_copy_in();
    CHECK(kinds(queue) == "e");
    CHECK(queue.copying_in());
    CHECK(queue.group_open());
    CHECK_FALSE(queue.settled());
    queue.push_copy_end();
    CHECK_FALSE(queue.copying_in());
    push(queue, reply(reply_kind::sync));
    CHECK(kinds(queue) == "e.s");
    queue.end_copy();
    queue.pop();
    CHECK(queue.ready());
    CHECK(queue.settled());
}

TEST_CASE("reply queue: copying in by a simple query ends with its ReadyForQuery") {
    reply_queue queue = made_of("q");
    queue.begin_copy_in();
    CHECK(queue.copying_in());
    CHECK_FALSE(queue.settled());
    queue.push_copy_end();
    queue.end_copy();
    CHECK(queue.ready());
    CHECK(queue.settled());
    // The mark of a copy that had failed before the client's end of it came.
    reply_queue late = made_of("q.");
    CHECK(late.ready());
    CHECK(late.settled());
    // An end of copy out of nowhere is ignored by the server, and not owed anything.
    reply_queue none{10};
    none.push_copy_end();
    CHECK(none.empty());
    CHECK(none.settled());
}

TEST_CASE("reply queue: whether a Sync was ignored is in doubt only when one was sent and an error came") {
    SECTION("no error") {
        reply_queue queue = made_of("es.s");
        queue.begin_copy_in();
        queue.end_copy();
        CHECK_FALSE(queue.in_doubt());
    }
    SECTION("no Sync") {
        reply_queue queue = made_of("e.s");
        queue.begin_copy_in();
        queue.error_during_copy();
        CHECK_FALSE(queue.in_doubt());
    }
    SECTION("both") {
        reply_queue queue = made_of("es");
        queue.begin_copy_in();
        queue.error_during_copy();
        skip(queue);
        CHECK(queue.in_doubt());
        // One more ReadyForQuery may come, once or never.
        CHECK(queue.ready());
        CHECK(queue.in_doubt());
    }
    SECTION("of a copy that was over long ago") {
        reply_queue queue = made_of("es.s");
        queue.begin_copy_in();
        queue.end_copy();
        queue.pop();
        CHECK(queue.ready());
        push(queue, reply(reply_kind::execute));
        queue.error_during_copy();
        CHECK_FALSE(queue.in_doubt());
    }
}

TEST_CASE("reply queue: an orphaned queue forwards nothing, touches no client and keeps our own queries ours"
) {
    statements known;
    client_statement client{"c"};
    reply_queue queue{10};
    owed_reply parsed = reply(reply_kind::parse);
    parsed.client = &client;
    parsed.previous = known.make("a");
    push(queue, std::move(parsed));
    push(queue, reply(reply_kind::close, reply_action::synthesize));
    push(queue, reply(reply_kind::bind, reply_action::swallow));
    push(queue, reply(reply_kind::query, reply_action::own));
    push(queue, reply(reply_kind::sync));
    queue.orphan();
    CHECK(kinds(queue) == "pbqs");
    for (std::size_t i = 0; i < queue.size(); ++i) {
        CHECK(queue.at(i).client == nullptr);
        CHECK_FALSE(queue.at(i).previous);
        CHECK(queue.at(i).action == (i == 2 ? reply_action::own : reply_action::drop));
    }
}

TEST_CASE("reply queue: what is dropped unanswered leaves nothing behind for the next") {
    statement_store store{0};  // keeps nothing that nobody holds
    const auto make = [&](std::string_view text) {
        return store.intern(text, {}, {}, [](std::string_view) { return statement_traits{}; });
    };
    client_statement client{"c"};
    for (const bool by_copy : {false, true}) {
        reply_queue queue{100};
        push(queue, reply(reply_kind::query));
        for (int i = 0; i < 3; ++i) {
            owed_reply dropped =
                reply(by_copy ? reply_kind::sync : reply_kind::parse, reply_action::synthesize);
            dropped.statement = make("a" + std::to_string(i));
            dropped.previous = make("b" + std::to_string(i));
            dropped.client = &client;
            dropped.error = substitute_error::malformed;
            dropped.evicted = 7;
            dropped.named_on_server = dropped.failed = true;
            push(queue, std::move(dropped));
        }
        by_copy ? queue.begin_copy_in() : queue.orphan();
        CHECK(kinds(queue) == "q");
        CHECK(store.size() == 0);
        for (int i = 0; i < 8; ++i) {
            const owed_reply& next = queue.push(reply_kind::bind);
            CHECK_FALSE(next.statement);
            CHECK_FALSE(next.previous);
            CHECK(next.client == nullptr);
            CHECK(next.error == substitute_error::none);
            CHECK(next.evicted == 0);
            CHECK_FALSE(next.named_on_server);
            CHECK_FALSE(next.failed);
        }
    }
}

TEST_CASE("reply queue: what is undone goes back step by step") {
    statements known;
    client_statement client{"c"};
    const statement_ref a = known.make("a");
    const statement_ref b = known.make("b");
    reply_queue queue{10};
    client.statement = a;
    // Close, then Parse anew, both skipped.
    owed_reply closed = reply(reply_kind::close, reply_action::synthesize);
    closed.client = &client;
    closed.previous = std::exchange(client.statement, {});
    push(queue, std::move(closed));
    owed_reply parsed = reply(reply_kind::parse);
    parsed.client = &client;
    parsed.statement = b;
    parsed.previous = std::exchange(client.statement, b);
    push(queue, std::move(parsed));
    push(queue, reply(reply_kind::sync));
    std::vector<statement_ref> past;
    queue.skip_to_sync([](const owed_reply&) {}, [&](owed_reply& one) { past.push_back(one.previous); });
    REQUIRE(past.size() == 2);
    CHECK_FALSE(past[0]);
    CHECK(past[1] == a);
}

TEST_CASE("reply queue: what a later group has changed is not changed back, only its past is") {
    statements known;
    client_statement client{"c"};
    client_statement other{"o"};
    const statement_ref a = known.make("a");
    const statement_ref b = known.make("b");
    const statement_ref c = known.make("c");
    reply_queue queue{10};
    const auto parse = [&](client_statement& name, const statement_ref& before, const statement_ref& after) {
        owed_reply parsed = reply(reply_kind::parse);
        parsed.client = &name;
        parsed.statement = after;
        parsed.previous = before;
        push(queue, std::move(parsed));
    };
    parse(client, a, b);  // will be skipped
    parse(other, {}, c);  // so will this, and nobody changes it later
    push(queue, reply(reply_kind::sync));
    parse(client, b, c);  // a group of its own
    push(queue, reply(reply_kind::sync));
    std::vector<client_statement*> undone;
    queue.skip_to_sync(
        [](const owed_reply&) {},
        [&](owed_reply& one) {
            if (one.kind == reply_kind::parse) undone.push_back(one.client);
        }
    );
    CHECK(undone == std::vector<client_statement*>{&other});
    // If the later one is skipped too, the name stands for what it stood for before both.
    CHECK(queue.at(1).previous == a);
}

TEST_CASE("reply queue: closing a name that stands for nothing changes no other") {
    statements known;
    reply_queue queue{10};
    owed_reply unnamed = reply(reply_kind::parse);
    unnamed.statement = known.make("b");
    unnamed.previous = known.make("a");
    push(queue, std::move(unnamed));
    push(queue, reply(reply_kind::sync));
    owed_reply closed = reply(reply_kind::close, reply_action::synthesize);
    closed.named_on_server = true;  // a Close of a name, not of the unnamed statement
    push(queue, std::move(closed));
    push(queue, reply(reply_kind::sync));
    std::vector<statement_ref> past;
    queue.skip_to_sync(
        [](const owed_reply&) {},
        [&](owed_reply& one) {
            if (one.kind == reply_kind::parse) past.push_back(one.previous);
        }
    );
    REQUIRE(past.size() == 1);
    CHECK(past[0]->text == "a");
}

TEST_CASE("reply queue: a name is undecided while an earlier group may yet change it") {
    client_statement client{"c"};
    client_statement other{"o"};
    reply_queue queue{10};
    CHECK_FALSE(queue.undecided(&client));
    owed_reply parsed = reply(reply_kind::parse);
    parsed.client = &client;
    push(queue, std::move(parsed));
    CHECK_FALSE(queue.undecided(&client));  // of the same group: done or skipped together
    push(queue, reply(reply_kind::sync));
    CHECK(queue.undecided(&client));
    CHECK_FALSE(queue.undecided(&other));
    CHECK_FALSE(queue.undecided(nullptr));
    owed_reply again = reply(reply_kind::parse);
    again.client = &client;
    push(queue, std::move(again));
    CHECK_FALSE(queue.undecided(&client));
    queue.pop();
    CHECK(queue.ready());
    CHECK_FALSE(queue.undecided(&client));
    push(queue, reply(reply_kind::sync));
    push(queue, reply(reply_kind::query));
    CHECK(queue.undecided(nullptr));
}
