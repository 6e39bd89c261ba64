// Goal: what a text changes is told exactly, in words that mean the same when they are said to another
// server; what cannot be told so is `other`.

#include "protocol/session_change.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace pgmend::protocol;
using kind = session_change_kind;

namespace {

std::string print(const std::vector<session_change>& changes) {
    std::string out;
    for (const auto& change : changes) {
        out += std::to_string(change.statement) + ":" + std::to_string(static_cast<int>(change.kind));
        out += (change.is_local ? " local [" : " [") + change.name + "] [" + change.value + "]; ";
    }
    return out;
}

std::string print(const session_change& change) { return print(std::vector<session_change>{change}); }

session_change one(kind what, std::string name = {}, std::string value = {}, bool is_local = false) {
    return {what, 0, is_local, std::move(name), std::move(value)};
}

struct row {
    const char* text;
    session_change change;
};

const row single[] = {
    {"SET Work_Mem = '1MB'", one(kind::set_parameter, "work_mem", "'1MB'")},
    {"set session statement_timeout to 1000", one(kind::set_parameter, "statement_timeout", "1000")},
    {"set x.y to -1.5", one(kind::set_parameter, "x.y", "-1.5")},
    {"set \"X\".\"Y\" to on", one(kind::set_parameter, "x.y", "'on'")},
    {"set enable_seqscan to true", one(kind::set_parameter, "enable_seqscan", "'true'")},
    {"set search_path to \"$user\", public, 'It''s'",
     one(kind::set_parameter, "search_path", "'$user', 'public', 'It''s'")},
    {"set search_path to ''", one(kind::set_parameter, "search_path", "''")},
    {"set DateStyle to ISO, DMY", one(kind::set_parameter, "datestyle", "'iso', 'dmy'")},
    {"set app.x to 'a\\b'", one(kind::set_parameter, "app.x", "E'a\\\\b'")},
    {"set app.x to E'a\\'\\\\b'", one(kind::set_parameter, "app.x", "E'a''\\\\b'")},
    {"set app.x to U&'d\\0061ta'", one(kind::set_parameter, "app.x", "'data'")},
    {"set schema 'a'", one(kind::set_parameter, "search_path", "'a'")},
    {"set time zone 'Europe/Berlin'", one(kind::set_parameter, "timezone", "'Europe/Berlin'")},
    {"set time zone -7", one(kind::set_parameter, "timezone", "-7")},
    {"set time zone local", one(kind::reset_parameter, "timezone")},
    {"set time zone default", one(kind::reset_parameter, "timezone")},
    {"set time zone interval '1' hour to minute", one(kind::other, "timezone")},
    {"set names 'latin1'", one(kind::set_parameter, "client_encoding", "'latin1'")},
    {"set names", one(kind::reset_parameter, "client_encoding")},
    {"set xml option document", one(kind::set_parameter, "xmloption", "'DOCUMENT'")},
    {"set local work_mem = 64", one(kind::set_parameter, "work_mem", "64", true)},
    {"set local work_mem to default", one(kind::reset_parameter, "work_mem", "", true)},
    {"set work_mem to default", one(kind::reset_parameter, "work_mem")},
    {"reset Work_mem", one(kind::reset_parameter, "work_mem")},
    {"reset time zone", one(kind::reset_parameter, "timezone")},
    {"reset all", one(kind::reset_all)},
    {"set transaction isolation level serializable", one(kind::set_transaction)},
    {"set transaction snapshot 'x'", one(kind::set_transaction)},
    {"set transaction_isolation to 'serializable'", one(kind::set_transaction)},
    {"reset transaction_isolation", one(kind::set_transaction)},
    {"set session characteristics as transaction isolation level repeatable read",
     one(kind::set_parameter, "default_transaction_isolation", "'repeatable read'")},
    {"set session characteristics as transaction read only",
     one(kind::set_parameter, "default_transaction_read_only", "1")},
    {"set role \"Bob\"", one(kind::set_role, "", "'Bob'")},
    {"set role none", one(kind::set_role, "", "'none'")},
    {"set local role 'bob'", one(kind::set_role, "", "'bob'", true)},
    {"set role to default", one(kind::reset_role)},
    {"reset role", one(kind::reset_role)},
    {"set session authorization bob", one(kind::set_session_authorization, "", "'bob'")},
    {"set session authorization default", one(kind::reset_session_authorization)},
    {"reset session authorization", one(kind::reset_session_authorization)},
    {"discard all", one(kind::discard_all)},
    {"discard plans", one(kind::discard_plans)},
    {"discard sequences", one(kind::discard_sequences)},
    {"discard temp", one(kind::discard_temp)},
    {"discard temporary", one(kind::discard_temp)},
    {"deallocate p", one(kind::deallocate, "p")},
    {"deallocate prepare \"P\"", one(kind::deallocate, "P")},
    {"deallocate all", one(kind::deallocate_all)},
    {"execute p(1)", one(kind::execute, "p")},
    {"create table t as execute p", one(kind::execute, "p")},
    {"explain analyze execute p", one(kind::execute, "p")},
    {"listen Chan", one(kind::listen, "chan")},
    {"unlisten chan", one(kind::unlisten, "chan")},
    {"unlisten *", one(kind::unlisten_all)},
    {"begin", one(kind::begin)},
    {"end", one(kind::commit)},
    {"prepare transaction 'x'", one(kind::commit)},
    {"abort", one(kind::rollback)},
    {"savepoint a", one(kind::savepoint, "a")},
    {"release a", one(kind::release, "a")},
    {"rollback to savepoint a", one(kind::rollback_to, "a")},
    {"select set_config('App.X', 'y', false)", one(kind::set_parameter, "app.x", "'y'")},
    {"select pg_catalog.set_config('app.x', 'y', true)", one(kind::set_parameter, "app.x", "'y'", true)},
    {"select set_config('role', 'bob', false)", one(kind::set_role, "", "'bob'")},
    {"select set_config('search_path', '\"$user\", Public', false)",
     one(kind::set_parameter, "search_path", "'$user', 'public'")},
    {"select set_config('search_path', '', false)", one(kind::set_parameter, "search_path", "''")},
    {"select set_config('search_path', 'a b', false)", one(kind::other, "search_path")},
    {"select set_config('search_path', 'a,', false)", one(kind::other, "search_path")},
    {"select set_config('search_path', '\"a', false)", one(kind::other, "search_path")},
    {"select set_config('datestyle', 'iso, dmy', false)",
     one(kind::set_parameter, "datestyle", "'iso, dmy'")},
    {"select set_config('transaction_isolation', 'serializable', false)", one(kind::set_transaction)},
    // A call whose value or whose very execution is unclear.
    {"select set_config('a.b', $1, false)", one(kind::other)},
    {"select set_config('a.b', null, false)", one(kind::other)},
    {"select set_config('a.b', 'x', 'f')", one(kind::other)},
    {"select set_config('a.b', 'x', false) from t", one(kind::other)},
    {"select set_config('a.b', 'x', false) where y", one(kind::other)},
    {"select set_config('a.b', 'x', false) limit 0", one(kind::other)},
    {"select case when x then set_config('a.b', 'x', false) end", one(kind::other)},
    {"select set_config('a.b', 'x', false) union select 'y'", one(kind::other)},
    {"with x as (select set_config('a.b', 'x', false)) select 1", one(kind::other)},
    {"values (set_config('a.b', 'x', false))", one(kind::other)},
    {"update pg_settings set setting = '1' where name = 'x'", one(kind::other)},
    // Unreadable.
    {"set", one(kind::other)},
    {"set x to 'a", one(kind::other)},
    {"set x to 0x1f", one(kind::other)},
};

}  // namespace

TEST_CASE("session_change: each statement's change is told exactly", "[protocol]") {
    for (const auto& each : single) {
        CAPTURE(each.text);
        CHECK(print(session_changes(each.text)) == print(each.change));
        // The same behind another statement, and with noise around it.
        auto second = each.change;
        if (std::string(each.text).find("'a") == std::string::npos && second.kind != kind::other) {
            second.statement = 1;
            CHECK(
                print(session_changes("select 1; /* x; */ " + std::string(each.text) + " -- '\n;")) ==
                print(second)
            );
        }
    }
}

TEST_CASE("session_change: a statement without change says nothing", "[protocol]") {
    for (const auto* text :
         {"", ";", "select 1", "insert into t values (1)", "create temp table t (a int)",
          "select pg_advisory_lock(1)", "explain select set_config('a.b', 'x', false)", "show work_mem",
          "select public.set_config_x(1)", "vacuum", "declare c cursor with hold for select 1", "do 'x'",
          "call p()"}) {
        CAPTURE(text);
        CHECK(session_changes(text).empty());
    }
}

TEST_CASE("session_change: changes stand in the order of the statements, numbered by them", "[protocol]") {
    const auto changes = session_changes(
        "begin; set a.b to 1; select 2; savepoint s; select set_config('c.d', 'e', true), set_config('f.g', "
        "'h', false);"
        "rollback to s; update pg_settings set setting = 1; commit; set session characteristics as "
        "transaction "
        "isolation level serializable, read write, not deferrable"
    );
    const std::vector<session_change> expected = {
        {kind::begin, 0, false, "", ""},
        {kind::set_parameter, 1, false, "a.b", "1"},
        {kind::savepoint, 3, false, "s", ""},
        {kind::set_parameter, 4, true, "c.d", "'e'"},
        {kind::set_parameter, 4, false, "f.g", "'h'"},
        {kind::rollback_to, 5, false, "s", ""},
        {kind::other, 6, false, "", ""},
        {kind::commit, 7, false, "", ""},
        {kind::set_parameter, 8, false, "default_transaction_isolation", "'serializable'"},
        {kind::set_parameter, 8, false, "default_transaction_read_only", "0"},
        {kind::set_parameter, 8, false, "default_transaction_deferrable", "0"},
    };
    CHECK(print(changes) == print(expected));
}

TEST_CASE("session_change: a mixture of clear and unclear calls says so", "[protocol]") {
    const auto changes =
        session_changes("select set_config('a.b', 'x', false), set_config('a.c', $1, false)");
    REQUIRE(changes.size() == 2);
    CHECK(changes[0] == one(kind::set_parameter, "a.b", "'x'"));
    CHECK(changes[1].kind == kind::other);
    // A function of somebody else's by that name is none of ours to explain.
    const auto foreign = session_changes("select mine.set_config('a.b', 'x', false)");
    REQUIRE(foreign.size() == 1);
    CHECK(foreign[0].kind == kind::other);
}

TEST_CASE("session_change: PREPARE is kept as text, comments gone", "[protocol]") {
    const auto changes = session_changes(
        "select 1; /* a */ prepare P1 (int) as\n select $1, 'x;y' -- b\n; prepare p2 as select 2"
    );
    REQUIRE(changes.size() == 2);
    CHECK(
        changes[0] == session_change{kind::prepare, 1, false, "p1", "prepare P1 (int) as select $1, 'x;y'"}
    );
    CHECK(changes[1] == session_change{kind::prepare, 2, false, "p2", "prepare p2 as select 2"});
}

TEST_CASE("session_change: limits end in `other`", "[protocol]") {
    CHECK(session_changes("set a.b to 1", 12).front().kind == kind::set_parameter);
    CHECK(session_changes("set a.b to 1 ", 12).front().kind == kind::other);
    CHECK(session_changes(std::string_view("set a.b to 1\0", 13)).front().kind == kind::other);
}

TEST_CASE("session_change: what is said again is read back as the same", "[protocol]") {
    for (const auto& each : single) {
        if (each.change.kind != kind::set_parameter) continue;
        CAPTURE(each.text);
        const std::string again = std::string(each.change.is_local ? "set local " : "set ") +
                                  quote_identifier(each.change.name) + " to " + each.change.value;
        const auto read = session_changes(again);
        REQUIRE(read.size() == 1);
        CHECK(print(read) == print(each.change));
    }
    CHECK(quote_identifier("a\"b") == "\"a\"\"b\"");
    CHECK(quote_literal("a'b") == "'a''b'");
    CHECK(quote_literal("a\\'b") == "E'a\\\\''b'");
    CHECK(quote_literal("") == "''");
}

TEST_CASE("session changes: a name is found as a word, in whatever case") {
    CHECK(names_word("drop database App", "app"));
    CHECK(names_word("drop database \"app\"", "app"));
    CHECK(names_word("app", "app"));
    CHECK_FALSE(names_word("drop database application", "app"));
    CHECK_FALSE(names_word("drop database my_app", "app"));
    CHECK(names_word("myapp app", "app"));
    CHECK_FALSE(names_word("anything", ""));
    CHECK(speaks_of_logins("ALTER ROLE x SET work_mem = 1"));
    CHECK(speaks_of_logins("drop user x"));
    CHECK_FALSE(speaks_of_logins("create table databases (users int)"));
}
