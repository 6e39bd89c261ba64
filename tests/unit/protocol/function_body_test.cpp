#include <catch2/catch.hpp>

#include <algorithm>

#include "protocol/function_body.hpp"
#include "protocol/sql_name.hpp"

using namespace pgmend::protocol;

namespace {

bool hides(std::string_view body, std::string_view language = "plpgsql") {
    return judge_body(language, body).hides;
}

bool mentions(std::string_view body, std::string_view name) {
    const auto names = judge_body("plpgsql", body).names;
    return std::binary_search(names.begin(), names.end(), name_number(name));
}

}  // namespace

TEST_CASE("function body: what only computes, reads and writes rows hides nothing") {
    const char* body = GENERATE(
        "BEGIN RETURN NEW; END", "BEGIN NEW.updated_at := now(); RETURN NEW; END",
        "BEGIN UPDATE t SET a = 1 WHERE b = 2; RETURN NULL; END",
        "BEGIN INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a; END",
        "BEGIN MERGE INTO t USING s ON a = b WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN DO "
        "NOTHING; END",
        "DECLARE load int; BEGIN load := 1; PERFORM pg_notify('c', 'set_config(1,2,3)'); END",
        "BEGIN /* SET x = 1; set_config('a','b',false) */ RETURN 'SET x = 1'; END -- LISTEN a",
        "BEGIN PERFORM pg_advisory_xact_lock(1); PERFORM nextval('s'); PERFORM lower('A'); END",
        "BEGIN CREATE TEMP TABLE x (a int) ON COMMIT DROP; END"
    );
    CAPTURE(body);
    CHECK_FALSE(hides(body));
}

TEST_CASE("function body: every way to change the session is seen") {
    const char* body = GENERATE(
        "BEGIN PERFORM set_config('app.x', 'y', false); END",
        "BEGIN PERFORM pg_catalog.set_config('a', 'b', $1); END",
        "BEGIN x := \"set_config\"('a', 'b', is_local => false); END", "BEGIN SET app.x = 'y'; END",
        "BEGIN IF a THEN SET SESSION app.x = 'y'; END IF; END", "BEGIN LOOP set role other; END LOOP; END",
        "<<label>> SET x = 1", "BEGIN RESET ALL; END", "BEGIN LISTEN c; END",
        "BEGIN PREPARE p AS SELECT 1; END", "BEGIN DISCARD ALL; END", "BEGIN LOAD 'x'; END",
        "BEGIN EXECUTE q; END", "BEGIN FOR r IN EXECUTE q LOOP NULL; END LOOP; END",
        "BEGIN RETURN QUERY EXECUTE q; END", "BEGIN DO $x$ BEGIN NULL; END $x$; END",
        "BEGIN PERFORM pg_advisory_lock(1); END", "BEGIN PERFORM setseed(0.5); END",
        "BEGIN PERFORM query_to_xml('SELECT 1', true, true, ''); END",
        "BEGIN CREATE TEMP TABLE x (a int); END", "BEGIN CREATE TEMPORARY TABLE x AS SELECT 1; END",
        "BEGIN CREATE TABLE pg_temp.x (a int); END", "BEGIN CREATE LOCAL TEMP VIEW x AS SELECT 1; END",
        "SELECT * INTO TEMP x FROM t", "BEGIN x := 'a\\'; SET y = 1; --'; END", "BEGIN x := 'never closed",
        "SELECT U&\"s\\0065t_config\"('a','b',false)"
    );
    CAPTURE(body);
    CHECK(hides(body));
}

TEST_CASE("function body: what ends with its transaction is harmless, and only that") {
    CHECK_FALSE(hides("BEGIN PERFORM set_config('app.x', f(1, 2), true); END"));
    CHECK_FALSE(hides("BEGIN PERFORM set_config('app.x', a[1], is_local => TRUE); END"));
    CHECK_FALSE(hides("BEGIN SET LOCAL app.x = 1; END"));
    CHECK_FALSE(hides("BEGIN SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; END"));
    CHECK_FALSE(hides("BEGIN SET CONSTRAINTS ALL DEFERRED; END"));
    CHECK(hides("BEGIN PERFORM set_config('app.x', 'y', NOT true); END"));
    CHECK(hides("BEGIN PERFORM set_config('app.x', 'y', a OR true); END"));
    CHECK(hides("BEGIN PERFORM set_config(true, false, x => true); END"));
    CHECK(hides("BEGIN PERFORM set_config('x', 'y', true"));
    CHECK(hides("BEGIN PERFORM set_config(variadic true); END"));
}

TEST_CASE("function body: DDL is seen, and names are") {
    CHECK(judge_body("sql", "CREATE TABLE t (a int)").changes_schema);
    CHECK(judge_body("plpgsql", "BEGIN IF a THEN DROP TABLE t; END IF; END").changes_schema);
    CHECK(judge_body("plpgsql", "BEGIN EXECUTE 'CREATE TABLE x()'; END").changes_schema);
    CHECK_FALSE(judge_body("sql", "SELECT create_order(1)").changes_schema);
    CHECK(mentions("BEGIN INSERT INTO \"Audit\" VALUES (1); END", "audit"));
    CHECK(mentions("BEGIN PERFORM a.Helper(1); END", "helper"));
    CHECK_FALSE(mentions("BEGIN RETURN 'helper'; END", "helper"));
}

TEST_CASE("function body: another language is not read") {
    CHECK(hides("return 1", "plpython3u"));
    CHECK(hides("", "unread"));
    CHECK(judge_body("plperl", "").changes_schema);
}

TEST_CASE("function body: names count by what PostgreSQL keeps of them") {
    const std::string longest(63, 'a');
    CHECK(name_number(longest + "tail") == name_number(longest));
    CHECK(name_number("Tabelle") == name_number("tabelle"));
    CHECK(
        name_number("gr\xc3\xb6\xc3\x9f"
                    "e") == name_number("gr\xf6\xdf"
                                        "e")
    );
    CHECK(name_number("a") != name_number("b"));
    CHECK(name_number("gr\xc3\xb6") != name_number("gr"));
}
