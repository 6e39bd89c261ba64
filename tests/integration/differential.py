"""The same protocol script direct and through the subject: the transcripts are equal, message by message.

Each group runs quietly, then among neighbours that use the same servers and the same statement names, and where little of it
pins its server, once more so that each step meets a server that another client has changed."""

import os
import re

import transcripts
import wire
from harness import Failure, check
from movers import Movers
from registry import register
from transcripts import Script, Step
from wire import (COPY_DONE, FLUSH, SYNC, bind, close, copy_data, copy_fail, describe, execute, function_call, parse,
                  query, run)

TESTS = []
test = register(TESTS)
GROUPS = {}


def script(group, name, *steps, **options):
    GROUPS.setdefault(group, []).append(Script(name, list(steps), **options))


def q(*sql, who="a"):
    return Step(b"".join(query(one) for one in sql), "Z", len(sql), who)


def x(*messages, who="a"):
    return Step(b"".join(messages) + SYNC, "Z", 1, who)


def raw(*messages, until="Z", count=1, who="a"):
    return Step(b"".join(messages), until, count, who)


# ---- simple protocol ------------------------------------------------------------------------------------

script("simple protocol", "select, empty, several", q("SELECT 1"), q(""), q(";"), q("SELECT 1; SELECT 2"), q("-- x"),
       q("SELECT 1;;SELECT 2;"))
script("simple protocol", "several Queries at once", q("SELECT 1", "SELECT 2", "", "SELECT 1/0", "SELECT 3"))
script("simple protocol", "error in the middle of a multi-statement query", q("SELECT 1; SELECT 1/0; SELECT 2"),
       q("INSERT INTO items (name) VALUES ('a'); SELECT 1/0"), q("SELECT count(*) FROM items"))
script("simple protocol", "block, savepoints, failed block", q("BEGIN"), q("INSERT INTO items (name) VALUES ('x')"),
       q("SAVEPOINT a"), q("SELECT 1/0"), q("SELECT 1"), q("ROLLBACK TO a"), q("SELECT count(*) FROM items"),
       q("RELEASE a"), q("SELECT fail('x')"), q("COMMIT"), q("SELECT count(*) FROM items"))
script("simple protocol", "commit and chain, warnings", q("COMMIT"), q("BEGIN"), q("BEGIN"), q("COMMIT AND CHAIN"),
       q("SELECT 1"), q("ROLLBACK AND CHAIN"), q("ROLLBACK"), q("ROLLBACK"))
script("simple protocol", "transaction control inside a multi-statement query",
       q("BEGIN; SELECT 1; COMMIT; SELECT 2; BEGIN"), q("SELECT 3; ROLLBACK; SELECT 4"),
       q("SELECT 1; COMMIT; SELECT 1/0"), q("SELECT 5"))
script("simple protocol", "notices", q("SELECT say('hello')"), q("DO $$ BEGIN RAISE WARNING 'w'; END $$"),
       q("SET client_min_messages = error"), q("SELECT say('silent')"), q("RESET client_min_messages"),
       q("SELECT say('again')"), q("DROP TABLE IF EXISTS never_was"))
script("simple protocol", "fields of errors", q("SELECT fail('x')"), q("INSERT INTO items (name) VALUES ('item 1')"),
       q("INSERT INTO items (name, n) VALUES ('z', 2000)"), q("INSERT INTO items (n) VALUES (NULL)"),
       q("SELECT * FROM no_such_table"), q("SELECT 'x'::int"), q("SELECT 1 FROM items WHERE nme = 'x'"), q("SELEC"))
script("simple protocol", "deferred constraint fails at COMMIT", q("BEGIN"), q("INSERT INTO late VALUES (1), (1)"),
       q("COMMIT"), q("SELECT * FROM late"), q("INSERT INTO late VALUES (2), (2)"))
script("simple protocol", "a result of 3 MB and a row of 5 MB",
       q("SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i"), q("SELECT repeat('y', 5000000)"), q("SELECT 1"))
script("simple protocol", "cursors", q("BEGIN"), q("DECLARE c CURSOR FOR SELECT generate_series(1, 10)"), q("FETCH 3 c"),
       q("MOVE 2 c"), q("FETCH ALL c"), q("CLOSE c"), q("FETCH c"), q("ROLLBACK"), q("FETCH c"))
script("simple protocol", "not in a block", q("BEGIN"), q("VACUUM items"), q("ROLLBACK"), q("VACUUM items"))

# ---- extended protocol ----------------------------------------------------------------------------------

script("extended protocol", "unnamed statement and portal", x(run("SELECT $1::int + 1", ["41"])), x(run("")),
       x(run("INSERT INTO items (name) VALUES ($1) RETURNING id", ["n"])), x(run("UPDATE items SET n = 1 WHERE id < 3")))
script("extended protocol", "the unnamed statement is there after its Sync", x(parse("", "SELECT $1::text || '!'"),
       describe("S", "")), x(bind("", "", ["a"]), execute()), x(bind("", "", ["b"]), execute()), q("SELECT 1"),
       x(bind("", "", ["c"]), execute()))
script("extended protocol", "the unnamed statement after an error in its Parse", x(parse("", "SELECT 1")),
       x(parse("", "SELEC")), x(bind("", ""), execute()), x(parse("", "SELECT 2")), x(bind("", ""), execute()))
script("extended protocol", "named statements", x(parse("s1", "SELECT name FROM items WHERE id = $1"), describe("S", "s1")),
       x(bind("", "s1", ["1"]), execute()), x(bind("", "s1", ["2"]), describe("P", ""), execute()),
       x(close("S", "s1")), x(bind("", "s1", ["3"]), execute()), x(parse("s1", "SELECT 'new'"), bind("", "s1"), execute()))
script("extended protocol", "Parse of a name in use is 42P05", x(parse("s1", "SELECT 1")), x(parse("s1", "SELECT 1")),
       x(parse("s1", "SELECT 2")), x(bind("", "s1"), execute()), q("BEGIN"), x(parse("s1", "SELECT 3")), q("ROLLBACK"),
       x(bind("", "s1"), execute()))
script("extended protocol", "unknown names", x(bind("", "nope"), execute()), x(describe("S", "nope")),
       x(describe("P", "nope")), x(close("S", "nope")), x(close("P", "nope")), x(execute("nope")), x(bind("", "")),
       x(describe("S", "")), x(describe("P", "")))
script("extended protocol", "a failed Parse is not remembered", x(parse("s1", "SELECT broken")), x(bind("", "s1"), execute()),
       x(parse("s1", "SELECT 'good'")), x(bind("", "s1"), execute()))
script("extended protocol", "a Parse whose transaction failed is remembered as PostgreSQL does", q("BEGIN"),
       x(parse("s1", "SELECT 1")), q("SELECT 1/0"), x(parse("s2", "SELECT 2")), x(parse("s3", "ROLLBACK")), q("ROLLBACK"),
       x(bind("", "s1"), execute()), x(bind("", "s2"), execute()), x(bind("", "s3"), execute()))
script("extended protocol", "errors skip to Sync", x(run("SELECT 1/0"), run("SELECT 2"), parse("s1", "SELECT 3")),
       x(bind("", "s1"), execute()), x(run("SELECT 4"), run("SELECT fail('x')"), run("SELECT 5")))
script("extended protocol", "one implicit transaction to the Sync",
       x(run("INSERT INTO items (name) VALUES ('gone')"), run("SELECT 1/0")),
       q("SELECT count(*) FROM items WHERE name = 'gone'"),
       x(run("INSERT INTO items (name) VALUES ('kept')"), run("SELECT 1")),
       q("SELECT count(*) FROM items WHERE name = 'kept'"))
script("extended protocol", "portals with row limits", x(run("SELECT generate_series(1, 5)", limit=2), execute("", 2),
       execute("", 2), execute("", 2)), q("BEGIN"), x(parse("", "SELECT generate_series(1, 10)"), bind("c1", ""),
       describe("P", "c1"), execute("c1", 4)), x(execute("c1", 4)), x(parse("", "SELECT 'other'"), bind("", ""), execute()),
       x(execute("c1", 4)), x(execute("c1", 4)), x(close("P", "c1")), x(execute("c1")), q("ROLLBACK"))
script("extended protocol", "a portal ends with its transaction", x(parse("", "SELECT generate_series(1, 10)"), bind("p", ""),
       execute("p", 3)), x(execute("p", 3)), q("BEGIN"), x(parse("", "SELECT generate_series(1, 10)"), bind("p", ""),
       execute("p", 3)), q("COMMIT"), x(execute("p", 3)))
script("extended protocol", "a named portal in use is 42P03", q("BEGIN"), x(parse("", "SELECT 1"), bind("p", "")),
       x(bind("p", "")), q("ROLLBACK"))
script("extended protocol", "Flush without Sync", raw(parse("s1", "SELECT $1::int"), describe("S", "s1"), FLUSH, until="TE"),
       raw(bind("", "s1", ["5"]), describe("P", ""), FLUSH, until="TE"), raw(execute(), FLUSH, until="C"), x())
script("extended protocol", "an error seen by Flush, then Sync", raw(parse("s1", "SELECT nope"), describe("S", "s1"), FLUSH,
       until="E"), raw(parse("s2", "SELECT 1"), describe("S", "s2"), SYNC), x(describe("S", "s2")))
script("extended protocol", "pipeline of many Syncs with errors",
       Step(b"".join(run(sql) + SYNC for sql in ["SELECT 1", "SELECT 1/0", "BEGIN", "SELECT 2", "SELECT nope", "SELECT 3",
       "ROLLBACK", "INSERT INTO items (name) VALUES ('p')", "SELECT count(*) FROM items"]), "Z", 9))
script("extended protocol", "BEGIN in the batch of its first statement", x(run("BEGIN"), run("SELECT 1"),
       run("INSERT INTO items (name) VALUES ('b') RETURNING id")), x(run("COMMIT")), x(run("BEGIN"), run("SELECT 1/0")),
       x(run("SELECT 1")), x(run("ROLLBACK")))
script("extended protocol", "500 Executes in one Sync",
       x(parse("s1", "SELECT $1::int"), *[bind("", "s1", [str(i)]) + execute() for i in range(500)]))
script("extended protocol", "200 Syncs in flight",
       Step(parse("s1", "SELECT $1::int") + SYNC + b"".join(bind("", "s1", [str(i)]) + execute() + SYNC for i in range(199)),
            "Z", 200))
script("extended protocol", "Query among unsynced extended messages", raw(parse("s1", "SELECT 1"), bind("", "s1"), execute(),
       query("SELECT 2"), SYNC, count=2), x(bind("", "s1"), execute()))
script("extended protocol", "Query behind an unsynced error is skipped", raw(run("SELECT 1/0"), query("SELECT 2"), SYNC),
       q("SELECT 3"))
script("extended protocol", "wrong Binds", x(parse("s1", "SELECT $1::int")), x(bind("", "s1", [])), x(bind("", "s1", ["1", "2"])),
       x(bind("", "s1", ["x"]), execute()), x(bind("", "s1", [b"\0\0\0\x07"], [1], [1]), execute()),
       x(bind("", "s1", [b"\0"], [1]), execute()), x(bind("", "s1", ["1"], [7]), execute()))
script("extended protocol", "parse-time types", x(parse("s1", "SELECT $1", [23]), describe("S", "s1")),
       x(parse("s2", "SELECT $1", [25]), describe("S", "s2")), x(bind("", "s1", ["1"]), describe("P", ""), execute()),
       x(bind("", "s2", ["1"]), describe("P", ""), execute()), x(parse("s3", "SELECT $1", [999999])))
script("extended protocol", "several commands in one Parse", x(parse("", "SELECT 1; SELECT 2")), x(run("SELECT 1")))
script("extended protocol", "deferred constraint fails at Sync", x(run("INSERT INTO late VALUES (1), (1)")),
       x(run("SELECT count(*) FROM late")))
script("extended protocol", "one text under many names", *[x(parse(f"n{i}", "SELECT $1::int * 2"), bind("", f"n{i}", [str(i)]),
       execute()) for i in range(20)], x(close("S", "n3")), x(bind("", "n4", ["4"]), execute()), x(bind("", "n3", ["3"])))
script("extended protocol", "600 statements are all there", *[x(*[parse(f"m{i}", f"SELECT {i}, $1::int") for i in
       range(k, k + 100)]) for k in range(0, 600, 100)], *[x(bind("", f"m{i}", ["1"]), execute()) for i in
       (0, 1, 99, 100, 300, 599, 0)], x(*[bind("", f"m{i}", ["2"]) + execute() for i in range(0, 600, 2)]))
script("extended protocol", "Close and Parse of one name in a pipeline", x(parse("s1", "SELECT 1"), bind("", "s1"), execute(),
       close("S", "s1"), parse("s1", "SELECT 2"), bind("", "s1"), execute()), x(bind("", "s1"), execute()))
script("extended protocol", "Close behind an error did not happen", x(parse("s1", "SELECT 1")), x(run("SELECT 1/0"),
       close("S", "s1")), x(bind("", "s1"), execute()))
script("extended protocol", "DDL under a statement", q("CREATE TABLE ddl (a int)"), x(parse("s1", "SELECT * FROM ddl"),
       describe("S", "s1")), x(bind("", "s1"), execute()), q("ALTER TABLE ddl ADD b int"), x(parse("s2", "SELECT * FROM ddl"),
       describe("S", "s2"), bind("", "s2"), execute()), q("DROP TABLE ddl"), x(bind("", "s2"), execute()))
script("extended protocol", "FunctionCall", Step(function_call(1317, [b"12345"]), "Z"), q("BEGIN"),
       Step(function_call(1317, [b"abc"]), "Z"), Step(function_call(999999, []), "Z"), Step(function_call(1317, [b"abc"]), "Z"),
       q("ROLLBACK"), Step(function_call(1317, [b"abcd"]), "Z"))

# ---- sizes ----------------------------------------------------------------------------------------------

MB = "x" * (1 << 20)
BIG = "y" * (20 << 20)
script("large messages", "Bind of 1 MB", x(parse("", "SELECT length($1)"), bind("", "", [MB]), execute()), q("SELECT 1"))
script("large messages", "Parse of 1 MB", x(run(f"SELECT length('{MB}')")), x(parse("s1", f"SELECT length('{MB}') + 1")),
       x(bind("", "s1"), execute()), x(bind("", "s1"), execute()))
script("large messages", "Bind of 20 MB and back", x(parse("", "SELECT $1::text"), bind("", "", [BIG]), execute()),
       x(bind("", "", ["small"]), execute()))
script("large messages", "Parse of 20 MB", x(run(f"SELECT length('{BIG}')")), q("SELECT 1"))
script("large messages", "Query of 20 MB", q(f"SELECT length('{BIG}')"), q("SELECT 1"))
script("large messages", "CopyData of 5 MB", raw(query("COPY copied FROM STDIN"), until="G"),
       raw(copy_data("1\t" + "z" * (5 << 20) + "\n"), COPY_DONE), q("SELECT a, length(b) FROM copied"))
script("large messages", "Bind of 1 MB skipped after an error", x(run("SELECT 1/0"), parse("", "SELECT length($1)"),
       bind("", "", [MB]), execute()), x(run("SELECT 1")))
script("large messages", "an error while 20 MB are still on their way",
       x(parse("s1", "SELECT 1/$1::int"), bind("", "s1", ["0"]), execute(), *[bind("", "s1", ["1" * 1000]) + execute()] * 20000),
       q("SELECT 1"))

# ---- COPY -----------------------------------------------------------------------------------------------

ROW = copy_data("1\tone\n")
BAD = copy_data("x\tbad\n")
IN = "COPY copied FROM STDIN"
COUNT = q("SELECT count(*) FROM copied")
script("copy", "in and out", raw(query(IN), until="G"), raw(ROW, copy_data("2\ttwo\n"), COPY_DONE),
       q("COPY copied TO STDOUT"), q("COPY copied TO STDOUT (FORMAT binary)"), q("COPY nowhere TO STDOUT"))
script("copy", "in without waiting for CopyInResponse", raw(query(IN), ROW, ROW, COPY_DONE), COUNT)
script("copy", "CopyFail", raw(query(IN), until="G"), raw(ROW, copy_fail("changed my mind")), COUNT)
script("copy", "an error before CopyDone", raw(query(IN), until="G"), raw(ROW, BAD, until="E"), raw(ROW, COPY_DONE), COUNT)
script("copy", "an error before CopyDone, everything in one write", raw(query(IN), ROW, BAD, ROW, COPY_DONE), q("SELECT 1"),
       COUNT)
script("copy", "an error after CopyDone", raw(query("COPY late FROM STDIN"), until="G"), raw(copy_data("1\n1\n"), COPY_DONE),
       q("SELECT count(*) FROM late"))
script("copy", "an error before it begins", raw(query("COPY nowhere FROM STDIN"), ROW, COPY_DONE), COUNT)
script("copy", "in a block that fails", q("BEGIN"), raw(query(IN), ROW, BAD, COPY_DONE), q("SELECT 1"), q("ROLLBACK"), COUNT)
script("copy", "in a failed block", q("BEGIN"), q("SELECT 1/0"), raw(query(IN), ROW, COPY_DONE), q("ROLLBACK"), COUNT)
script("copy", "extended, Sync at the end", x(run(IN), ROW, COPY_DONE), COUNT)
script("copy", "extended, Sync inside", x(run(IN), SYNC, ROW, COPY_DONE), COUNT)
script("copy", "extended, waiting for CopyInResponse by Flush", raw(run(IN), FLUSH, until="G"), raw(ROW, COPY_DONE, FLUSH,
       until="C"), x(), COUNT)
script("copy", "extended, an error before CopyDone", x(run(IN), ROW, BAD, ROW, COPY_DONE), COUNT, x(run("SELECT 1")))
script("copy", "extended, an error and Sync inside", raw(run(IN), SYNC, until="G"), raw(BAD, ROW, COPY_DONE, SYNC), COUNT)
script("copy", "extended, CopyFail", x(run(IN), ROW, copy_fail("no")), COUNT)
script("copy", "extended, an error before it begins, Sync inside", raw(run("COPY nowhere FROM STDIN"), SYNC, ROW, COPY_DONE,
       SYNC, count=2), COUNT)
script("copy", "extended, prepared", x(parse("c1", IN)), x(bind("", "c1"), execute(), ROW, COPY_DONE), x(bind("", "c1"),
       execute(), ROW, COPY_DONE), COUNT)
script("copy", "extended, out", x(run("COPY items TO STDOUT")), x(run("COPY (SELECT 1/0) TO STDOUT")), x(run("SELECT 1")))
script("copy", "several in one Query", raw(query(f"{IN}; {IN}; SELECT 'end'"), until="G"), raw(ROW, COPY_DONE, until="G"),
       raw(ROW, ROW, COPY_DONE), COUNT)
script("copy", "Query inside a copy", raw(query(IN), until="G"), raw(ROW, query("SELECT 1"), until="Z"), q("SELECT 2"))
script("copy", "data nobody asked for is ignored", raw(ROW, COPY_DONE, query("SELECT 1")), x(ROW, run("SELECT 2")))
script("copy", "an error in the middle of what goes out",
       q("COPY (SELECT 1 / (5000 - i), repeat('x', 100) FROM generate_series(1, 6000) i) TO STDOUT"), q("SELECT 1"))

# ---- session state --------------------------------------------------------------------------------------

script("session state", "SET, SHOW, RESET", q("SET work_mem = '7MB'"), q("SHOW work_mem"), q("SELECT 1"), q("SHOW work_mem"),
       q("RESET work_mem"), q("SHOW work_mem"), q("SET no_such = 1"), q("SET work_mem = 'x'"), q("SHOW work_mem"))
script("session state", "SET is undone by rollback", q("BEGIN"), q("SET work_mem = '7MB'"), q("ROLLBACK"), q("SHOW work_mem"),
       q("BEGIN"), q("SET work_mem = '8MB'"), q("SAVEPOINT a"), q("SET work_mem = '9MB'"), q("ROLLBACK TO a"), q("COMMIT"),
       q("SHOW work_mem"), q("SET work_mem = '6MB'; SELECT 1/0"), q("SHOW work_mem"))
script("session state", "SET LOCAL", q("SET LOCAL work_mem = '7MB'"), q("BEGIN"), q("SET LOCAL work_mem = '7MB'"),
       q("SHOW work_mem"), q("COMMIT"), q("SHOW work_mem"))
script("session state", "reported parameters", q("SET DateStyle = 'german'"), q("SELECT '2020-02-01'::date"),
       q("SET TimeZone = 'Asia/Tokyo'"), q("SHOW TimeZone"), q("SET IntervalStyle = iso_8601"), q("SELECT '1 day'::interval"),
       q("SET application_name = 'somebody'"), q("SHOW application_name"), q("BEGIN"), q("SET DateStyle = 'SQL'"),
       q("ROLLBACK"), q("SHOW DateStyle"), q("RESET ALL"), q("SHOW DateStyle"), q("SET client_encoding = latin1"),
       q("SELECT 'ä'"), q("RESET client_encoding"))
script("session state", "SET by the extended protocol", x(run("SET extra_float_digits = 3")), x(run("SHOW extra_float_digits")),
       x(run("SET application_name = 'jdbc'")), x(run("SHOW application_name")), x(run("BEGIN"), run("SET work_mem = '7MB'")),
       x(run("COMMIT")), x(run("SHOW work_mem")), x(run("RESET ALL")), x(run("SHOW work_mem")))
script("session state", "search_path decides names", q("SELECT name FROM items WHERE id = 77"),
       q("SET search_path = elsewhere"), q("SELECT name FROM items WHERE id = 77"),
       x(parse("s1", "SELECT name FROM items"), bind("", "s1"), execute()), q("RESET search_path"),
       x(parse("s2", "SELECT count(*) FROM items"), bind("", "s2"), execute()), x(bind("", "s1"), execute(limit=1)),
       q("SELECT set_config('search_path', '', false)"), q("SELECT * FROM items"), q("SELECT count(*) FROM public.items"),
       q("SELECT set_config('search_path', 'elsewhere', true)"), q("SHOW search_path"))
script("session state", "set_config and functions", q("SELECT set_config('work_mem', '9MB', false)"), q("SHOW work_mem"),
       q("DO $$ BEGIN PERFORM set_config('app.hidden', 'x', false); END $$"), q("SELECT current_setting('app.hidden', true)"),
       q("UPDATE pg_settings SET setting = '5000' WHERE name = 'work_mem'"), q("SHOW work_mem"))
script("session state", "DISCARD ALL", q("SET work_mem = '7MB'"), x(parse("s1", "SELECT 1")), q("CREATE TEMP TABLE t (a int)"),
       q("LISTEN c"), q("DISCARD ALL"), q("SHOW work_mem"), x(bind("", "s1"), execute()), q("SELECT * FROM t"),
       q("SELECT pg_listening_channels()"), q("BEGIN"), q("DISCARD ALL"), q("ROLLBACK"), x(parse("s1", "SELECT 2"), bind("", "s1"),
       execute()))
script("session state", "DEALLOCATE", x(parse("s1", "SELECT 1")), x(parse("s2", "SELECT 2")), q("DEALLOCATE s1"),
       x(bind("", "s1"), execute()), x(bind("", "s2"), execute()), q("DEALLOCATE s1"), q("DEALLOCATE ALL"),
       x(bind("", "s2"), execute()), x(parse("s2", "SELECT 3"), bind("", "s2"), execute()), q("EXECUTE s2"),
       x(run("DEALLOCATE s2")), x(bind("", "s2"), execute()), x(parse("s2", "SELECT 4")), x(run("DEALLOCATE ALL")),
       x(parse("s2", "SELECT 5"), bind("", "s2"), execute()))
script("session state", "PREPARE in SQL", q("PREPARE p AS SELECT $1::int + 1"), q("EXECUTE p(1)"), q("SELECT 1"), q("EXECUTE p(2)"),
       x(bind("", "p", ["3"]), describe("P", ""), execute()), x(parse("p", "SELECT 1")), q("PREPARE p AS SELECT 1"),
       q("DEALLOCATE p"), q("EXECUTE p(1)"))
script("session state", "temporary tables", q("CREATE TEMP TABLE t (a int)"), q("INSERT INTO t VALUES (1)"), q("SELECT 1"),
       q("SELECT * FROM t"), x(run("INSERT INTO t VALUES (2)")), q("SELECT * FROM t"), q("DROP TABLE t"), q("SELECT * FROM t"),
       q("BEGIN"), q("CREATE TEMP TABLE u (a int) ON COMMIT DROP"), q("SELECT * FROM u"), q("COMMIT"), q("SELECT * FROM u"),
       q("SELECT 1 AS a INTO TEMP v"), q("SELECT * FROM v"), q("CREATE TABLE pg_temp.w (a int)"), q("SELECT * FROM w"))
script("session state", "WITH HOLD cursors", q("DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 10)"), q("FETCH 3 h"),
       q("SELECT 1"), q("FETCH 3 h"), q("BEGIN"), q("FETCH 3 h"), q("COMMIT"), q("CLOSE h"), q("FETCH h"),
       q("BEGIN; DECLARE h2 CURSOR WITH HOLD FOR SELECT generate_series(1, 5); COMMIT"), q("FETCH ALL h2"), q("CLOSE ALL"),
       q("FETCH h2"))
script("session state", "advisory locks", q("SELECT pg_advisory_lock(5)"), q("SELECT 1"), q("SELECT pg_try_advisory_lock(5)", who="b"),
       q("SELECT pg_advisory_unlock(5)"), q("SELECT pg_try_advisory_lock(5)", who="b"), q("SELECT pg_advisory_unlock(5)", who="b"),
       q("SELECT pg_advisory_unlock(5)"))
script("session state", "sequences", q("SELECT currval('items_id_seq')"), q("SELECT lastval()"), q("SELECT nextval('items_id_seq')"),
       q("SELECT currval('items_id_seq')"), q("SELECT lastval()"), q("INSERT INTO items (name) VALUES ('s')"), q("SELECT lastval()"))
script("session state", "roles", q("SET ROLE other"), q("SELECT current_user"), q("SET SESSION AUTHORIZATION app"),
       q("SELECT current_user, session_user"), q("RESET ROLE"), q("SELECT current_user"))
script("session state", "LISTEN and NOTIFY", q("LISTEN news"), q("SELECT 1"), q("NOTIFY news, 'first'", who="b"),
       raw(until="A"), q("SELECT pg_notify('news', 'own')"), q("UNLISTEN news"), q("NOTIFY news, 'nobody'", who="b"), q("SELECT 1"))
script("session state", "session characteristics", q("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
       q("INSERT INTO items (name) VALUES ('ro')"), q("SHOW transaction_read_only"),
       q("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"), q("INSERT INTO items (name) VALUES ('rw')"),
       q("SET default_transaction_isolation = serializable"), q("SHOW transaction_isolation"), q("RESET ALL"),
       q("SHOW transaction_isolation"))
script("session state", "the reset query of asyncpg's pool", q("SET work_mem = '7MB'; SET application_name = 'x'"), q("LISTEN c"),
       q("SELECT pg_advisory_lock(7)"), q("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"),
       q("SHOW work_mem"), q("SHOW application_name"))
script("session state", "statement_timeout", q("SET statement_timeout = 50"), q("SELECT pg_sleep(5)"), q("SHOW statement_timeout"),
       q("SET statement_timeout = 0"), q("SELECT pg_sleep(0.06)"))
script("session state", "large objects", q("BEGIN"), q("SELECT lo_create(4711) > 0"), q("SELECT lo_open(4711, 131072)"),
       q("SELECT lowrite(0, 'abc')"), q("ROLLBACK"), q("SELECT lo_unlink(4711)"))
script("session state", "prepared transactions", q("BEGIN"), q("INSERT INTO items (name) VALUES ('2pc')"),
       q("PREPARE TRANSACTION 'gid'"), q("SELECT count(*) FROM items WHERE name = '2pc'"), q("COMMIT PREPARED 'gid'"),
       q("SELECT count(*) FROM items WHERE name = '2pc'"), q("ROLLBACK PREPARED 'gid'"))
script("session state", "setseed", q("SELECT setseed(0.5)"), q("SELECT random()"), q("SELECT random()"))
script("session state", "standard_conforming_strings off", q("SET standard_conforming_strings = off"),
       q("SET escape_string_warning = off"), q(r"SELECT 'a\'; SELECT 2; --'"), q("RESET ALL"), q("SELECT 1"))

# ---- startup --------------------------------------------------------------------------------------------

SHOWS = [q(f"SHOW {name}") for name in ("search_path", "statement_timeout", "work_mem", "DateStyle", "TimeZone",
                                        "client_encoding", "application_name", "extra_float_digits")]
RESETS = [q("SET work_mem = '1MB'; SET search_path = x; SET DateStyle = german; SET TimeZone = 'Asia/Tokyo'"), q("RESET ALL"),
          *SHOWS, q("SET work_mem = '1MB'"), q("RESET work_mem"), q("SHOW work_mem"), q("SET search_path = x"), q("DISCARD ALL"),
          *SHOWS]
STARTS = {
    "nothing": {},
    "application_name": {"application_name": "an app"},
    "empty application_name": {"application_name": ""},
    "client_encoding utf-8": {"client_encoding": "utf-8"},
    "client_encoding quoted": {"client_encoding": "'utf-8'"},
    "client_encoding latin1": {"client_encoding": "LATIN1"},
    "datestyle, timezone, extra_float_digits": {"DateStyle": "ISO, DMY", "TimeZone": "europe/berlin", "extra_float_digits": "2"},
    "search_path": {"search_path": "elsewhere, public"},
    "statement_timeout": {"statement_timeout": "12345"},
    "options": {"options": "-c work_mem=7MB --statement_timeout=54321"},
    "options with backslashes": {"options": r"-c search_path=elsewhere,\ public -c application_name=with\ space"},
    "custom": {"my.var": "yay", "options": "-c other.var=yes"},
    "same value, other spelling": {"client_encoding": "UTF8", "datestyle": "iso, mdy", "IntervalStyle": "POSTGRES"},
    "unknown parameter": {"DOESNOTEXIST": "foo"},
    "bad value": {"work_mem": "lots"},
    "bad option": {"options": "-c nonsense"},
    "unknown in options": {"options": "-c doesnotexist=1"},
    "superuser parameter": {"log_statement": "all"},
    "idle_in_transaction_session_timeout, lock_timeout": {"idle_in_transaction_session_timeout": "60000", "lock_timeout": "777"},
}
for name, parameters in STARTS.items():
    extra = [q("SELECT current_setting('my.var', true), current_setting('other.var', true)")] if name == "custom" else []
    script("startup", name, *SHOWS, *extra, *RESETS, *extra, parameters=parameters)
script("startup", "pg_settings names the source", q("SELECT name, setting, source, reset_val FROM pg_settings WHERE name IN "
       "('work_mem', 'DateStyle', 'search_path') ORDER BY 1"), parameters={"work_mem": "9MB", "search_path": "elsewhere"})
script("startup", "unknown database", database="nowhere")
script("startup", "other database", q("SELECT current_database(), current_user"), user="other", database="other")
script("startup", "database without permission of its tables", q("SELECT * FROM items"), user="other", database="app")
script("startup", "no database given is the user's name", q("SELECT current_database()"), user="other", database=None)


def play_both(test, one, wanted, through, movers=None):
    def direct(script):
        return through(script, True)

    def proxied(script):
        return through(script, False)

    if one.name not in wanted:
        reset(test)
        wanted[one.name] = transcripts.comparable(transcripts.play(one, direct))
    reset(test)
    found = transcripts.comparable(transcripts.play(one, proxied, movers))
    late = [number for number, step in enumerate(wanted[one.name]) if "late b''" in step]
    check(not late, f"the script {one.name!r} itself hangs at step {late}")
    return transcripts.difference(wanted[one.name], found), transcripts.without_what_a_failed_block_hides(wanted[one.name], found)


def reset(test):
    if not hasattr(test, "resetter"):
        test.resetter = test.closing.enter_context(test.postgres.admin("app"))
    test.resetter.execute(transcripts.RESET)


def parsed_anew(test):
    """How often a client's statement was not on the server that it got."""
    if test.subject.kind != "pgmend":
        return 0
    found = re.search(r'_statements_parsed_total\{where="injected"\} (\d+)', test.subject.http("/metrics")[1])
    return int(found[1])


def compare(test, scripts, moves=False, moved=0.0):
    """With `moves` the clients have statements of their own, which the neighbours must make them meet other servers with. With
    `moved`, this share of the steps has to meet a server that was somebody else's."""
    only = os.environ.get("PGMEND_TEST_SCRIPT")
    transcripts.prepare_schema(test)
    wanted, differences, tolerated = {}, [], []

    def through(one, direct):
        return test.wire(one.user, one.database, one.parameters, direct=direct, timeout=10)

    def all_of(manner):
        for one in scripts:
            if (only and one.name != only) or sum("late b''" in words for words in differences) > 3:
                continue
            found, hidden = play_both(test, one, wanted, through)
            # Alone a client keeps its server, and there is nothing to be tolerated.
            if found and hidden and manner != "quiet":
                tolerated.append(f"[{manner}] {one.name}: {found}")
            elif found:
                differences.append(f"[{manner}] {one.name}: {found}")

    all_of("quiet")
    before = parsed_anew(test)
    try:
        with test.neighbours(5):
            all_of("crowded")
    except Failure as failure:
        differences.append(str(failure))
    if moves and not only and test.subject.kind == "pgmend":
        check(parsed_anew(test) > before, "no statement was ever on another server")
    if moved and test.subject.kind == "pgmend":
        share = all_moved(test, [one for one in scripts if one.name == (only or one.name)], wanted, differences, tolerated)
        check(only or share >= moved, f"only {share:.0%} of the steps met a server that was somebody else's")
    if len(tolerated) > 2 + 0.03 * len(scripts):
        differences += tolerated
    shown = "\n".join(differences[:12])
    check(not differences, f"{len(differences)} scripts differ (PGMEND_TEST_SCRIPT=NAME runs one; - direct, + here)\n{shown}")


def all_moved(test, scripts, wanted, differences, tolerated):
    """Returns the share of the steps that met what the movers had left."""
    subject, moves, steps = test.own("moved", pool_size=2), 0, 0
    for one in scripts:
        def through(script, direct, place=subject):
            return test.wire(script.user, script.database, script.parameters, direct=direct, timeout=10, on=None if direct else place)

        try:
            movers = Movers(lambda one=one: test.wire(one.user, one.database, {**one.parameters, "application_name": "mover"},
                                                      timeout=10, on=subject))
        except wire.Refused:
            continue  # nor is the script's client let in
        found, hidden = play_both(test, one, wanted, through, movers)
        moves, steps = moves + movers.moves, steps + len(one.steps)
        movers.close()
        if found:
            (tolerated if hidden else differences).append(f"[moved] {one.name}: {found}")
    return moves / max(steps, 1)


# Of these groups, how many of the steps can be made to meet a server that another client has changed.
MOVED = {"startup": 0.5, "extended protocol": 0.5, "session state": 0.3}

for group, scripts in GROUPS.items():
    test(f"differential: {group} gives the same transcripts as direct", pool=3, seconds=150,
         subjects=("pgmend", "direct", "pgbouncer"))(
        lambda t, scripts=scripts, group=group: compare(t, scripts, moves=group == "extended protocol", moved=MOVED.get(group, 0.0))
    )


@test("differential: random scripts give the same transcripts as direct", pool=3, seconds=150)
def random_scripts(t):
    count = 40 if t.quick else 150
    seed = t.run.options.seed
    compare(t, [transcripts.random_script(seed * 1000 + i) for i in range(count)], moves=True)
