#include "proxy/session/session_facts.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/statement_classifier.hpp"

using namespace pgmend::proxy;
using pgmend::protocol::parameter_set;
using pgmend::protocol::parameter_store;
using pgmend::protocol::session_effect;
using pgmend::protocol::statement_classifier;

namespace {

using column = std::optional<std::string>;

/// One client's session and the server it has, and what PostgreSQL's own parser says of each text.
struct session {
    parameter_store store;
    statement_classifier classifier{{}};
    session_facts facts;
    const parameter_set* server = nullptr;
    const parameter_set* reported_at_login = nullptr;

    session() {
        facts.startup = store.intern({{"application_name", "mine"}});
        facts.settings = facts.startup;
        facts.told = store.empty();
        server = facts.startup;
        reported_at_login = store.intern({{"application_name", "pgmend"}});
    }
    session_facts::server_view view() { return {server, reported_at_login}; }
    void note(std::string_view text, bool idle = true) { facts.note(classifier.classify(text), text, idle); }
    void run(std::string_view text, std::string_view tag) {
        note(text);
        facts.completed(tag, view(), store);
    }
    /// The answer to the review: the values of the parameters in question, then, if asked, which pins hold.
    void answer(std::vector<pin_reason> holds, std::vector<column> values = {}) {
        std::vector<column> columns = std::move(values);
        if (facts.review_query("me").find("pg_my_temp_schema") == std::string::npos) {
            facts.reviewed(columns, view(), store);
            return;
        }
        for (const auto reason :
             {pin_reason::temporary_table, pin_reason::advisory_lock, pin_reason::cursor,
              pin_reason::sql_prepare, pin_reason::listen, pin_reason::role}) {
            columns.emplace_back(std::find(holds.begin(), holds.end(), reason) != holds.end() ? "t" : "f");
        }
        facts.reviewed(columns, view(), store);
    }
    const parameter_set* set_to(std::string_view name, std::string_view value) {
        const std::string text{value};
        return store.with(facts.startup, name, &text);
    }
};

std::vector<pin_reason> pins_of(const session_facts& facts) {
    std::vector<pin_reason> pins;
    for (const auto reason : all_pin_reasons) {
        if (facts.pins.has(reason)) pins.push_back(reason);
    }
    return pins;
}

}  // namespace

TEST_CASE("session facts: what changes no session leaves no trace") {
    session s;
    for (const std::string_view text :
         {"select 1",
          "insert into t values (1)",
          "update t set a = 1",
          "begin",
          "commit",
          "rollback",
          "savepoint a",
          "select * from t for update",
          "copy t from stdin",
          "select now()",
          "set local work_mem = '1MB'",
          "set transaction isolation level serializable",
          "select set_config('work_mem', '1MB', true)",
          "select pg_advisory_xact_lock(1)",
          "declare c cursor for select 1",
          "fetch 1 from c",
          "notify a",
          "select nextval('s')",
          "explain select 1",
          "insert into t values (1) returning id",
          "show work_mem"}) {
        CAPTURE(text);
        s.note(text);
        CHECK_FALSE(s.facts.in_doubt());
        CHECK_FALSE(s.facts.unverified());
        CHECK(s.facts.pins.empty());
    }
}

TEST_CASE("session facts: each thing that cannot move pins the server, for its own reason") {
    struct example {
        std::string_view text;
        pin_reason reason;
        bool asked;  ///< whether the server can say that it is over
    };
    const example examples[]{
        {"prepare p as select 1", pin_reason::sql_prepare, true},
        {"listen a", pin_reason::listen, true},
        {"create temp table t (a int)", pin_reason::temporary_table, true},
        {"create temporary sequence s", pin_reason::temporary_table, true},
        {"select 1 as a into temp t", pin_reason::temporary_table, true},
        {"create temp view v as select 1", pin_reason::temporary_table, true},
        {"declare c cursor with hold for select 1", pin_reason::cursor, true},
        {"select pg_advisory_lock(1)", pin_reason::advisory_lock, true},
        {"select pg_try_advisory_lock_shared(1, 2)", pin_reason::advisory_lock, true},
        {"select setseed(0.5)", pin_reason::unknown, false},
        {"load 'plpgsql'", pin_reason::unknown, false},
        {"do $$ begin end $$", pin_reason::unknown, false},
        {"call p()", pin_reason::unknown, false},
        {"select my_function()", pin_reason::unknown, false},
        {"frobnicate", pin_reason::unknown, false},
        {"select currval('s')", pin_reason::sequence, false},
        {"select LastVal()", pin_reason::sequence, false},
        {"select set_config(name, 'x', false) from t", pin_reason::parameter, false},
    };
    for (const auto& [text, reason, asked] : examples) {
        CAPTURE(text);
        session s;
        s.note(text);
        CHECK(s.facts.pins.has(reason));
        CHECK(s.facts.unverified());
        CHECK(s.facts.in_doubt() == asked);
        if (asked) {
            s.answer({reason});
            CHECK(s.facts.pins.has(reason));
            CHECK_FALSE(s.facts.in_doubt());
            CHECK(s.facts.unverified());
        }
        // Running something harmless does not end it.
        s.note("select 1");
        CHECK(s.facts.pins.has(reason));
    }
}

TEST_CASE("session facts: a pin ends when the server says that nothing is left, and is asked only then") {
    struct example {
        std::string_view makes;
        std::string_view ends;
        pin_reason reason;
    };
    const example examples[]{
        {"prepare p as select 1", "deallocate p", pin_reason::sql_prepare},
        {"listen a", "unlisten *", pin_reason::listen},
        {"create temp table t (a int)", "drop table t", pin_reason::temporary_table},
        {"declare c cursor with hold for select 1", "close c", pin_reason::cursor},
        {"select pg_advisory_lock(1)", "select pg_advisory_unlock(1)", pin_reason::advisory_lock},
    };
    for (const auto& [makes, ends, reason] : examples) {
        CAPTURE(makes);
        session s;
        s.note(makes);
        s.answer({reason});
        s.note("select 1");
        CHECK_FALSE(s.facts.in_doubt());
        s.note(ends);
        CHECK(s.facts.in_doubt());
        SECTION("it is over") {
            s.answer({});
            CHECK(s.facts.pins.empty());
            CHECK_FALSE(s.facts.unverified());
        }
        SECTION("it is not") {
            s.answer({reason});
            CHECK(pins_of(s.facts) == std::vector{reason});
        }
    }
}

TEST_CASE("session facts: a role is a setting like others, and pins nobody") {
    for (const std::string_view text :
         {"set role other", "set \"role\" to 'other'", "select set_config('role', 'other', false)"}) {
        for (const std::string_view ends :
             {"reset role", "set role to default", "reset role; select 1", "discard all"}) {
            CAPTURE(text, ends);
            session s;
            s.note(text);
            CHECK(s.facts.pins.empty());
            CHECK(s.facts.review_query("me").ends_with("SELECT pg_catalog.current_setting('role',true);"));
            s.answer({}, {"other"});
            CHECK(s.facts.settings == s.set_to("role", "other"));
            CHECK(s.server == s.facts.settings);
            CHECK_FALSE(s.facts.unverified());
            // RESET ALL leaves it alone.
            s.run("reset all", "RESET");
            CHECK(s.facts.settings == s.set_to("role", "other"));
            CHECK(*s.server->find("role") == "other");
            s.run(
                ends, ends == "discard all"           ? "DISCARD ALL"
                      : ends == "set role to default" ? "SET"
                                                      : "RESET"
            );
            // Back to the login's own, whichever that is.
            if (s.facts.in_doubt()) s.answer({}, {"of the login"});
            CHECK(s.facts.settings == s.facts.startup);
            CHECK(s.server->find("role") == nullptr);
            CHECK_FALSE(s.facts.unverified());
        }
    }
    session local;
    local.note("set local role other");
    CHECK_FALSE(local.facts.in_doubt());
    session none;
    none.note("set role none");
    none.answer({}, {"none"});  // which the login's own need not be
    CHECK(*none.facts.settings->find("role") == "none");
}

TEST_CASE("session facts: what changes a role unseen is found by comparing it with the one that is known") {
    session s;
    s.facts.suspect();
    CHECK(s.facts.review_query("me").ends_with(" OR pg_catalog.current_setting('role',true)<>'none'"));
    s.answer({});
    s.note("set role other");
    s.answer({}, {"other"});
    s.facts.suspect();
    CHECK(s.facts.review_query("me").ends_with(" OR pg_catalog.current_setting('role',true)<>'other'"));
    s.answer({pin_reason::role});
    CHECK(pins_of(s.facts) == std::vector{pin_reason::role});
    // While a statement has named it, it is asked for and not compared.
    s.note("set role third");
    CHECK(s.facts.review_query("me").find("<>'other'") == std::string::npos);
}

TEST_CASE("session facts: a session authorization cannot move, and ends every role") {
    session s;
    s.note("set role other");
    s.answer({}, {"other"});
    s.note("set session authorization third");
    s.answer({pin_reason::role}, {"none"});
    CHECK(pins_of(s.facts) == std::vector{pin_reason::role});
    CHECK(*s.facts.settings->find("role") == "none");
    s.note("reset session authorization");
    s.answer({}, {"none"});
    CHECK(s.facts.pins.empty());
    CHECK_FALSE(s.facts.unverified());
}

TEST_CASE("session facts: what the server says counts, also where nobody expected it") {
    session s;
    s.note("listen a");
    s.answer({pin_reason::advisory_lock});
    CHECK(pins_of(s.facts) == std::vector{pin_reason::advisory_lock});
}

TEST_CASE("session facts: a pin that the server knows nothing of is not ended by its answer") {
    session s;
    s.facts.pins.add(pin_reason::session_mode);
    s.note("select my_function()");
    s.note("listen a");
    s.answer({});
    CHECK(pins_of(s.facts) == std::vector{pin_reason::session_mode, pin_reason::unknown});
}

TEST_CASE("session facts: a setting is what the server says it is, whatever was asked for") {
    session s;
    s.note("set work_mem = '2MB'");
    CHECK(s.facts.in_doubt());
    CHECK(s.facts.pins.empty());
    const std::string query = s.facts.review_query("me");
    CHECK(query == "SET LOCAL statement_timeout=0;SELECT pg_catalog.current_setting('work_mem',true);");
    s.answer({}, {"4MB"});
    CHECK(s.facts.settings == s.set_to("work_mem", "4MB"));
    CHECK(s.server == s.facts.settings);
    CHECK_FALSE(s.facts.unverified());
}

TEST_CASE("session facts: several settings are asked for together, each once, in the order of the answer") {
    session s;
    s.note("set b.x = '1'");
    s.note("select set_config('a.y', '2', false)");
    s.note("set b.x = '3'");
    CHECK(s.facts.review_query("me").ends_with(
        "SELECT pg_catalog.current_setting('a.y',true),pg_catalog.current_setting('b.x',true);"
    ));
    s.answer({}, {"2", "3"});
    CHECK(*s.facts.settings->find("a.y") == "2");
    CHECK(*s.facts.settings->find("b.x") == "3");
    // One that does not exist (rolled back, say) is not set to anything.
    s.note("set c.z = '4'");
    s.answer({}, {std::nullopt});
    CHECK(s.facts.settings->find("c.z") == nullptr);
}

TEST_CASE(
    "session facts: the question runs under nobody's statement_timeout, which is read before it is lifted"
) {
    session s;
    s.note("set statement_timeout = '1ms'; listen x");
    const std::string query = s.facts.review_query("me");
    CHECK(query.starts_with(
        "SELECT pg_catalog.current_setting('statement_timeout',true);SET LOCAL statement_timeout=0;"
        "SELECT EXISTS("
    ));
    session other;
    other.note("listen x");
    CHECK(other.facts.review_query("me").starts_with("SET LOCAL statement_timeout=0;SELECT EXISTS("));
    other.note("set work_mem = '1MB'");
    CHECK(other.facts.review_query("me").starts_with(
        "SET LOCAL statement_timeout=0;SELECT pg_catalog.current_setting('work_mem',true);SELECT EXISTS("
    ));
}

TEST_CASE("session facts: names in the question cannot break out of it") {
    session s;
    s.note("set \"a.b'c\" = '1'");
    CHECK(s.facts.review_query("o'hara").ends_with("current_setting('a.b''c',true);"));
    s.note("listen x");
    CHECK(s.facts.review_query("o'hara").find("session_user<>'o''hara'") != std::string::npos);
}

TEST_CASE("session facts: an answer of another shape settles nothing, and the server is kept") {
    for (const std::size_t columns : {std::size_t{0}, std::size_t{2}, std::size_t{6}, std::size_t{7}}) {
        session s;
        s.note("set work_mem = '2MB'");
        s.facts.reviewed(std::vector<column>(columns), s.view(), s.store);
        CHECK(s.facts.pins.has(pin_reason::parameter));
        CHECK_FALSE(s.facts.in_doubt());
        CHECK(s.facts.settings == s.facts.startup);
    }
    session s;
    s.note("listen a");
    s.facts.review_failed();
    CHECK(s.facts.pins.has(pin_reason::parameter));
    CHECK(s.facts.pins.has(pin_reason::listen));
    CHECK_FALSE(s.facts.in_doubt());
}

TEST_CASE("session facts: a reset that stands alone is certain by its tag") {
    session s;
    s.run("set work_mem = '2MB'", "SET");
    s.answer({}, {"2MB"});
    SECTION("one") {
        s.run("reset work_mem", "RESET");
        CHECK_FALSE(s.facts.in_doubt());
        CHECK(s.facts.settings == s.facts.startup);
        CHECK(s.server->find("work_mem") == nullptr);
    }
    SECTION("one, in other words") {
        s.run("set work_mem to default", "SET");
        CHECK_FALSE(s.facts.in_doubt());
        CHECK(s.facts.settings == s.facts.startup);
    }
    SECTION("all: the server knows nothing of what the client was started with") {
        s.run("reset all", "RESET");
        CHECK_FALSE(s.facts.in_doubt());
        CHECK(s.facts.settings == s.facts.startup);
        CHECK(s.server == s.store.empty());
    }
    SECTION("everything, pins included") {
        s.note("select my_function()");
        s.facts.pins.add(pin_reason::session_mode);
        s.run("discard all", "DISCARD ALL");
        CHECK_FALSE(s.facts.in_doubt());
        CHECK(s.facts.settings == s.facts.startup);
        CHECK(s.server == s.store.empty());
        CHECK(pins_of(s.facts) == std::vector{pin_reason::session_mode});
    }
}

TEST_CASE("session facts: a reset that failed, or said something else, resets nothing") {
    session s;
    s.run("set work_mem = '2MB'", "SET");
    s.answer({}, {"2MB"});
    const parameter_set* before = s.facts.settings;
    for (const std::string_view text : {"reset work_mem", "reset all", "discard all"}) {
        CAPTURE(text);
        s.note(text);
        s.facts.failed();
        s.facts.completed("RESET", s.view(), s.store);
        s.facts.completed("DISCARD ALL", s.view(), s.store);
        CHECK(s.facts.settings == before);
        CHECK(s.server == before);
        s.note(text);
        s.facts.completed("SELECT 1", s.view(), s.store);
        CHECK(s.facts.settings == before);
    }
}

TEST_CASE("session facts: a reset inside a transaction, or beside others, is asked for") {
    session s;
    s.run("set work_mem = '2MB'", "SET");
    s.answer({}, {"2MB"});
    SECTION("one, in a transaction") {
        s.note("reset work_mem", false);
        s.facts.completed("RESET", s.view(), s.store);
        CHECK(s.facts.in_doubt());
        CHECK(s.facts.settings != s.facts.startup);
    }
    SECTION("all, in a transaction: every name that may differ") {
        s.note("reset all", false);
        CHECK(
            s.facts.review_query("me").ends_with("pg_catalog.current_setting('application_name',true),"
                                                 "pg_catalog.current_setting('work_mem',true);")
        );
    }
    SECTION("all, in one text with others") {
        s.run("reset all; select 1", "SELECT 1");
        CHECK(s.facts.in_doubt());
    }
}

TEST_CASE("session facts: a reset whose answer has not come when the next statement is sent is asked for") {
    for (const std::string_view reset : {"reset work_mem", "reset all", "set work_mem to default"}) {
        CAPTURE(reset);
        session s;
        s.run("set work_mem = '2MB'", "SET");
        s.answer({}, {"2MB"});
        s.note(reset);
        s.note("select 1", false);
        s.facts.completed("RESET", s.view(), s.store);
        s.facts.completed("SELECT 1", s.view(), s.store);
        CHECK(s.facts.in_doubt());
    }
}

TEST_CASE("session facts: after RESET the client hears its own name, which the server does not know") {
    session s;
    CHECK(s.facts.reported("application_name", "x", *s.reported_at_login) == "x");
    s.note("reset application_name");
    s.facts.completed("RESET", s.view(), s.store);
    // PostgreSQL reports what changed between the tag and ReadyForQuery.
    CHECK(s.facts.reported("application_name", "pgmend", *s.reported_at_login) == "mine");
    CHECK(s.facts.reported("TimeZone", "UTC", *s.reported_at_login) == "UTC");
    s.facts.ready();
    CHECK(s.facts.reported("application_name", "x", *s.reported_at_login) == "x");
    s.note("reset all");
    s.facts.completed("RESET", s.view(), s.store);
    CHECK(s.facts.reported("application_name", "pgmend", *s.reported_at_login) == "mine");
    s.facts.ready();
    // In a transaction it is the last word that counts.
    s.note("reset application_name", false);
    CHECK(s.facts.reported("application_name", "pgmend", *s.reported_at_login) == "mine");
    CHECK(
        s.facts.reported("application_name", "set before", *s.reported_at_login) == "set before"
    );  // undone
    s.note("set application_name = 'new'", false);
    CHECK(s.facts.reported("application_name", "new", *s.reported_at_login) == "new");
}

TEST_CASE("session facts: a reset of application_name in a transaction goes back to the client's own") {
    session s;
    s.note("reset application_name", false);
    s.answer({}, {"pgmend"});
    CHECK(s.facts.settings == s.facts.startup);
    CHECK(*s.server->find("application_name") == "pgmend");
    // But a SET to the very same name is a SET.
    s.note("set application_name = 'pgmend'", false);
    s.answer({}, {"pgmend"});
    CHECK(*s.facts.settings->find("application_name") == "pgmend");
}

TEST_CASE("session facts: a parameter reported out of nowhere is asked for") {
    session s;
    s.facts.note_reported("TimeZone");
    CHECK(s.facts.in_doubt());
    CHECK(s.facts.review_query("me").ends_with(
        "SELECT pg_catalog.current_setting('timezone',true),EXISTS(SELECT 1 FROM pg_catalog.pg_settings "
        "WHERE source='session' AND pg_catalog.lower(name)='timezone');"
    ));
    SECTION("its session set it: a trigger, say") {
        s.answer({}, {"Asia/Tokyo", "t"});
        REQUIRE(s.facts.settings->find("timezone") != nullptr);
        CHECK(*s.facts.settings->find("timezone") == "Asia/Tokyo");
        CHECK(s.server == s.facts.settings);
    }
    SECTION("a statement names it as it is folded: its RESET undoes both") {
        s.note("set timezone = 'Asia/Tokyo'");
        s.answer({}, {"Asia/Tokyo"});
        CHECK(s.facts.settings->values.size() == s.facts.startup->values.size() + 1);
        s.run("reset timezone", "RESET");
        CHECK(s.facts.settings->find("timezone") == nullptr);
        CHECK(s.facts.settings == s.facts.startup);
    }
    SECTION("the server's configuration has changed: that is everybody's, and goes as it came") {
        s.answer({}, {"Asia/Tokyo", "f"});
        CHECK(s.facts.settings->find("timezone") == nullptr);
        CHECK(s.server->find("timezone") == nullptr);
        CHECK_FALSE(s.facts.in_doubt());
    }
    session none;
    for (const std::string_view name : {"in_hot_standby", "is_superuser", "server_version"}) {
        none.facts.note_reported(name);
    }
    CHECK_FALSE(none.facts.in_doubt());
}

TEST_CASE("session facts: a change of the schema is told once") {
    session s;
    CHECK_FALSE(s.facts.take_schema_change());
    s.note("create table t (a int)");
    CHECK(s.facts.take_schema_change());
    CHECK_FALSE(s.facts.take_schema_change());
    s.note("select 1");
    CHECK_FALSE(s.facts.take_schema_change());
}

TEST_CASE("session facts: temporary objects are told once, to the server that has them") {
    session s;
    s.note("create temp table t (a int)");
    CHECK(s.facts.take_temporary_objects());
    CHECK_FALSE(s.facts.take_temporary_objects());
    // Made by something nobody could see through, and found by asking.
    session hidden;
    hidden.note("listen a");
    hidden.answer({pin_reason::temporary_table});
    CHECK(hidden.facts.take_temporary_objects());
    session none;
    none.note("select 1");
    CHECK_FALSE(none.facts.take_temporary_objects());
}

TEST_CASE("pin set: reasons are told apart") {
    for (const auto reason : all_pin_reasons) {
        pin_set pins;
        CHECK(pins.empty());
        pins.add(reason);
        CHECK_FALSE(pins.empty());
        for (const auto other : all_pin_reasons) {
            CHECK(pins.has(other) == (other == reason));
        }
        pins.remove(reason);
        CHECK(pins == pin_set{});
    }
}

TEST_CASE(
    "session facts: others' sequences are forgotten before a question, unless the client has drawn itself"
) {
    session s;
    const auto asks = [&s](std::string_view text) {
        return s.facts.take_foreign_sequences(s.classifier.classify(text), text);
    };
    CHECK_FALSE(asks("select lastval()"));  // the server was nobody else's
    s.facts.server_taken(true);
    CHECK_FALSE(asks("select 1"));
    CHECK(asks("select lastval()"));
    CHECK_FALSE(asks("select lastval()"));  // once
    s.facts.server_taken(true);
    CHECK_FALSE(asks("insert into t values (1)"));
    CHECK_FALSE(asks("select currval('s')"));
    s.facts.server_taken(true);
    CHECK_FALSE(asks("select nextval('s')"));
    CHECK_FALSE(asks("select currval('s')"));
    s.facts.server_taken(false);
    CHECK_FALSE(asks("select currval('s')"));
}

TEST_CASE(
    "session facts: once it has been asked for in vain, what was drawn keeps the server from the drawing on"
) {
    sequence_habits habits;
    session first;
    first.facts.habits = &habits;
    first.note("insert into orders (a) values (1)");
    CHECK(first.facts.pins.empty());
    first.note("select lastval()");
    CHECK(first.facts.pins.has(pin_reason::sequence));

    session second;
    second.facts.habits = &habits;
    second.note("insert into lines (a) values (1)");
    CHECK(second.facts.pins.empty());
    second.note("insert into orders (a) values (2)");
    CHECK(second.facts.pins.has(pin_reason::sequence));

    session elsewhere;  // another application's
    elsewhere.facts.habits = &habits;
    elsewhere.facts.settings = elsewhere.set_to("application_name", "other");
    elsewhere.note("insert into orders (a) values (2)");
    CHECK(elsewhere.facts.pins.empty());
}
