"""Real clients, unchanged: libpq's programs, psycopg 3, psycopg2, asyncpg; node's are in node_clients.py."""

import asyncio
import concurrent.futures
import pathlib
import re

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras

from harness import HERE, PASSWORDS, POSTGRES_BIN, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


# ---- psql and pgbench -----------------------------------------------------------------------------------


@test("psql: a script of blocks, COPY, errors and \\gdesc gives the same output as direct")
def psql_script(t):
    script = t.directory / "script.sql"
    script.write_text(r"""
CREATE TABLE psql_t (id serial PRIMARY KEY, name text);
INSERT INTO psql_t (name) SELECT 'n' || i FROM generate_series(1, 5) i;
BEGIN;
UPDATE psql_t SET name = 'changed' WHERE id = 1;
SAVEPOINT s;
SELECT 1/0;
ROLLBACK TO s;
COMMIT;
COPY psql_t (name) FROM STDIN;
six
seven
\.
COPY psql_t (name, id) FROM STDIN;
eight	eight
\.
SELECT * FROM psql_t ORDER BY id \gdesc
SELECT * FROM psql_t ORDER BY id;
COPY psql_t TO STDOUT;
\set FETCH_COUNT 3
SELECT generate_series(1, 10);
\unset FETCH_COUNT
SELECT 'a' AS x, 'b' AS y \gset
\echo :x :y
DO $$ BEGIN RAISE NOTICE 'note'; END $$;
SELECT 1 \; SELECT 2 \; SELECT 3;
\d psql_t
DROP TABLE psql_t;
""")
    command = [POSTGRES_BIN / "psql", "-X", "-a", "-f", script]
    through = t.program(*command)
    direct = t.program(*command, env=dict(t.environment(), PGHOST=t.postgres.host, PGPORT=str(t.postgres.port)))
    same(through, direct)
    check("division by zero" in direct and "six" in direct, direct)


def pgbench(t, *arguments, seconds=4, clients=64, threads=2):
    seconds = 2 if t.quick else seconds
    peak = []
    process = t.start(POSTGRES_BIN / "pgbench", "-n", "-c", clients, "-j", threads, "-T", seconds, *arguments, stdout=-1,
                      stderr=-2, text=True)
    while process.poll() is None:
        peak.append(sum(t.server_counts().values()))
        try:
            process.wait(0.1)
        except Exception:
            continue
    output = process.stdout.read()
    same(process.returncode, 0, f"pgbench {arguments} ends well\n{output[-2000:]}")
    failed = re.search(r"number of failed transactions: (\d+)", output)
    check(failed and failed.group(1) == "0", output)
    check(not re.search(r"error|FATAL|aborted", output), output)
    check(int(re.search(r"actually processed: (\d+)", output).group(1)) > 50, output)
    if t.subject.pool_size:
        check(max(peak) <= t.subject.pool_size, f"{max(peak)} server connections")
        check(max(peak) >= 2, "the clients were not served side by side")


def pgbench_tables(t):
    if not t.admin("SELECT to_regclass('pgbench_accounts')")[0][0]:
        t.program(POSTGRES_BIN / "pgbench", "-i", "-q", "-s", "2")


for mode in ("simple", "extended", "prepared"):

    @test(f"pgbench -M {mode}: 64 clients share 8 servers without an error")
    def pgbench_mode(t, mode=mode):
        pgbench_tables(t)
        # pgbench prepares by a call that blocks its thread: with clients of one thread in open transactions on all
        # servers, the next one's Parse would wait for ever for what only that thread could end.
        pgbench(t, "-M", mode, threads=64 if mode == "prepared" else 2)
        pgbench(t, "-M", mode, "-S", seconds=2)
        rows = t.admin("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)")
        same(rows, [(True,)], "balances agree with history")


@test("pgbench -C: every transaction on a connection of its own")
def pgbench_connect(t):
    pgbench_tables(t)
    pgbench(t, "-C", "-S")


@test("pgbench: pipelines in a custom script")
def pgbench_pipeline(t):
    script = t.directory / "pipeline.sql"
    script.write_text("\\startpipeline\nBEGIN;\nSELECT 1;\nSELECT generate_series(1, 20);\nCOMMIT;\nSELECT 3;\n"
                      "\\endpipeline\n")
    pgbench(t, "-M", "prepared", "-f", script, seconds=3)
    pgbench(t, "-M", "extended", "-f", script, seconds=3)


# ---- pg_dump and pg_restore -----------------------------------------------------------------------------

DUMPED = """
CREATE SCHEMA dumped;
CREATE TABLE dumped.parent (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE dumped.child (id int REFERENCES dumped.parent, data jsonb, at timestamptz DEFAULT '2020-01-01');
CREATE VIEW dumped.both AS SELECT name, data FROM dumped.parent JOIN dumped.child USING (id);
CREATE FUNCTION dumped.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
INSERT INTO dumped.parent (name) SELECT 'p' || i FROM generate_series(1, 500) i;
INSERT INTO dumped.child (id, data) SELECT i, '{"a": [1, 2]}' FROM generate_series(1, 500) i;
"""


@test("pg_dump and pg_restore work while others run, and poison nobody's search_path", pool=4, workers=2)
def dump_and_restore(t):
    with t.postgres.admin("app") as admin:
        admin.execute("DROP SCHEMA IF EXISTS dumped CASCADE; SET ROLE app; " + DUMPED)
        admin.execute("RESET ROLE")
    archive = t.directory / "dump"
    with t.neighbours(5):
        plain = t.program(POSTGRES_BIN / "pg_dump", "--schema=dumped")
        t.program(POSTGRES_BIN / "pg_dump", "--schema=dumped", "-Fd", "-j", "2", "-f", archive)
        bystander = t.wire()
        for _ in range(20):
            same(bystander.rows("SHOW search_path"), [['"$user", public']])
            bystander.rows("SELECT pg_sleep(0)")
        same(t.admin("SELECT count(*) FROM pg_namespace WHERE nspname = 'dumped'"), [(1,)])
        t.admin("DROP SCHEMA dumped CASCADE")
        t.program(POSTGRES_BIN / "pg_restore", "-d", "app", "-j", "2", archive)
        others = [t.wire() for _ in range(10)]
        for other in others:
            same(other.rows("SHOW search_path"), [['"$user", public']], "nobody's search_path was changed")
            same(other.rows("CREATE TABLE unqualified (a int); SELECT 1; DROP TABLE unqualified"), [["1"]])
            same(other.rows("SHOW row_security"), [["on"]])
            same(other.rows("SHOW statement_timeout"), [["0"]])
        again = t.program(POSTGRES_BIN / "pg_dump", "--schema=dumped")
    same([line for line in again.splitlines() if "restrict" not in line],
         [line for line in plain.splitlines() if "restrict" not in line], "the restored schema dumps the same")
    t.admin("DROP SCHEMA dumped CASCADE")


@test("pg_dump beside 64 busy clients of the same 8 servers is the same as direct", slow=True, seconds=120)
def dump_in_a_crowd(t):
    with t.postgres.admin("app") as admin:
        admin.execute("DROP SCHEMA IF EXISTS dumped CASCADE; SET ROLE app; " + DUMPED)
        admin.execute("RESET ROLE")
    command = [POSTGRES_BIN / "pg_dump", "--schema=dumped"]
    direct = t.program(*command, env=dict(t.environment(), PGHOST=t.postgres.host, PGPORT=str(t.postgres.port)))
    with t.neighbours(64), t.watched() as most:
        through = t.program(*command)
    same(*([line for line in dump.splitlines() if "restrict" not in line] for dump in (through, direct)))
    check("CREATE VIEW" in direct and "p499" in direct, direct[-500:])
    check(t.direct or 1 < most["app@app"] <= 8, f"{most}")
    t.admin("DROP SCHEMA dumped CASCADE")


# ---- psycopg 3 ------------------------------------------------------------------------------------------


@test("psycopg 3: transactions, errors, executemany, types")
def psycopg3_plain(t):
    with t.neighbours(6):
        connection = t.psycopg()
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS p3 (id serial, v text)")
        cursor.execute("TRUNCATE p3")
        connection.commit()
        cursor.executemany("INSERT INTO p3 (v) VALUES (%s) RETURNING id", [(f"v{i}",) for i in range(100)],
                           returning=True)
        same(cursor.execute("SELECT count(*) FROM p3").fetchone(), (100,))
        connection.rollback()
        same(cursor.execute("SELECT count(*) FROM p3").fetchone(), (0,))
        try:
            cursor.execute("SELECT 1/0")
            raise AssertionError("no error")
        except psycopg.errors.DivisionByZero as error:
            same(error.sqlstate, "22012")
        try:
            cursor.execute("SELECT 1")
            raise AssertionError("no error")
        except psycopg.errors.InFailedSqlTransaction:
            connection.rollback()
        with connection.transaction():
            try:
                with connection.transaction():
                    cursor.execute("INSERT INTO p3 (v) VALUES ('inner')")
                    raise ValueError
            except ValueError:
                cursor.execute("INSERT INTO p3 (v) VALUES ('outer')")
        same(cursor.execute("SELECT v FROM p3").fetchall(), [("outer",)])
        binary = connection.cursor(binary=True)
        same(binary.execute("SELECT %s::int8, %s::text, now() IS NOT NULL", (2**40, "é")).fetchone(),
             (2**40, "é", True))
        connection.rollback()


@test("psycopg 3: 64 connections share 8 servers, each with its own values, statements and transactions", slow=True,
      seconds=120)
def psycopg3_crowd(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS p3_crowd; CREATE TABLE p3_crowd (who int, turn int)")
    connections = [t.psycopg() for _ in range(64)]

    def one(who):
        connection = connections[who]
        connection.execute(f"SET my.own = '{who}'")
        connection.commit()
        for turn in range(15):
            # The sixth of a connection is prepared, under a name that all of them use.
            same(connection.execute(f"SELECT {who}, %s::int", (turn,)).fetchone(), (who, turn))
            connection.execute("INSERT INTO p3_crowd VALUES (%s, %s)", (who, turn))
            connection.rollback() if turn % 3 == 0 else connection.commit()
        same(connection.execute("SHOW my.own").fetchone(), (str(who),))
        connection.commit()

    with t.watched() as most, concurrent.futures.ThreadPoolExecutor(64) as pool:
        for done in [pool.submit(one, who) for who in range(64)]:
            done.result()
    same(t.admin("SELECT count(*), count(DISTINCT who) FROM p3_crowd"), [(640, 64)])
    check(t.direct or 1 < most["app@app"] <= 8, f"{most}")


@test("psycopg 3: statements get prepared at the fifth use, and DEALLOCATE forgets them", pool=3)
def psycopg3_prepared(t):
    with t.neighbours(5):
        connections = [t.psycopg(autocommit=True) for _ in range(4)]
        for turn in range(30):
            for number, connection in enumerate(connections):
                same(connection.execute("SELECT %s::int + %s", (number, turn)).fetchone(), (number + turn,))
                same(connection.execute(f"SELECT '{number}', %s::text", ("x",)).fetchone(), (str(number), "x"))
        first = connections[0]
        first.execute("DEALLOCATE ALL")
        first._prepared.clear()
        for turn in range(10):
            same(first.execute("SELECT %s::int + %s", (1, turn)).fetchone(), (1 + turn,))
        # More statements than prepared_max: the driver itself drops the oldest by DEALLOCATE.
        first.prepared_max = 5
        for turn in range(3):
            for number in range(20):
                same(first.execute(f"SELECT {number}, %s::int", (turn,), prepare=True).fetchone(), (number, turn))


@test("psycopg 3: pipeline mode with errors in the middle", pool=3, workers=2)
def psycopg3_pipeline(t):
    with t.neighbours(5):
        connection = t.psycopg(autocommit=True)
        for _ in range(10):
            with connection.pipeline():
                cursors = [connection.execute("SELECT %s::int", (i,)) for i in range(300)]
            same([c.fetchone()[0] for c in cursors], list(range(300)))
        with connection.pipeline() as pipeline:
            good = connection.execute("SELECT 1")
            pipeline.sync()
            bad = connection.execute("SELECT 1/0")
            try:
                pipeline.sync()
                bad.fetchone()
                raise AssertionError("no error")
            except psycopg.errors.DivisionByZero:
                pass
            same(connection.execute("SELECT 'after'").fetchone(), ("after",))
            same(good.fetchone(), (1,))
        with connection.pipeline(), connection.transaction():
            connection.execute("CREATE TEMP TABLE pp (a int) ON COMMIT DROP")
            cursor = connection.cursor()
            cursor.executemany("INSERT INTO pp VALUES (%s)", [(i,) for i in range(500)])
            same(connection.execute("SELECT count(*), sum(a) FROM pp").fetchone(), (500, 499 * 250))


@test("psycopg 3: server-side cursors, WITH HOLD too", pool=3, workers=2)
def psycopg3_cursors(t):
    with t.neighbours(5):
        connection = t.psycopg()
        with connection.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT generate_series(1, 100)")
            same([row[0] for row in cursor], list(range(1, 101)))
        with connection.cursor("scrolling", scrollable=True) as cursor:
            cursor.execute("SELECT generate_series(1, 100)")
            cursor.scroll(50)
            same(cursor.fetchmany(2), [(51,), (52,)])
        connection.rollback()
        connection.autocommit = True
        with connection.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT generate_series(1, 50)")
            same(cursor.fetchmany(10)[-1], (10,))
            connection.execute("SELECT 1")
            same(len(cursor.fetchall()), 40)
        with connection.cursor() as cursor:
            same([row[0] for row in cursor.stream("SELECT generate_series(1, 1000)")], list(range(1, 1001)))


@test("psycopg 3: COPY in and out, with errors and abandoned")
def psycopg3_copy(t):
    connection = t.psycopg(autocommit=True)
    connection.execute("DROP TABLE IF EXISTS p3copy")
    connection.execute("CREATE TABLE p3copy (a int, b text)")
    with connection.cursor() as cursor:
        with cursor.copy("COPY p3copy FROM STDIN") as copy:
            for i in range(20000):
                copy.write_row((i, f"row {i}"))
        with cursor.copy("COPY p3copy TO STDOUT") as copy:
            same(sum(1 for _ in copy.rows()), 20000)
        try:
            with cursor.copy("COPY p3copy FROM STDIN") as copy:
                copy.write("x\ty\n")
                for i in range(50000):
                    copy.write_row((i, "more"))
            raise AssertionError("no error")
        except psycopg.errors.InvalidTextRepresentation:
            pass
        try:
            with cursor.copy("COPY p3copy FROM STDIN") as copy:
                copy.write("1\ty\n")
                raise ValueError("changed my mind")
        except psycopg.errors.QueryCanceled:
            pass  # what CopyFail makes of it
        same(cursor.execute("SELECT count(*) FROM p3copy").fetchone(), (20000,))
        with cursor.copy("COPY p3copy TO STDOUT") as copy:
            copy.read()
            connection.cancel()
            try:
                while copy.read():
                    pass
            except psycopg.errors.QueryCanceled:
                pass
        same(connection.execute("SELECT 1").fetchone(), (1,))


@test("psycopg 3: notifications reach a listener that only waits", pool=3)
def psycopg3_notify(t):
    with t.neighbours(4):
        listener, sender = t.psycopg(autocommit=True), t.psycopg(autocommit=True)
        listener.execute("LISTEN psycopg3_news")
        for number in range(20):
            sender.execute("SELECT pg_notify('psycopg3_news', %s)", (str(number),))
        got = []
        for notify in listener.notifies():
            got.append(notify.payload)
            if len(got) == 20:
                break
        same(got, [str(i) for i in range(20)])


@test("psycopg 3: a client that only listens to itself knows its own pid")
def psycopg3_own_pid(t):
    connection = t.psycopg(autocommit=True)
    pids = []
    connection.add_notify_handler(lambda notify: pids.append(notify.pid))
    connection.execute("LISTEN own")
    connection.execute("NOTIFY own")
    connection.execute("SELECT 1")
    same(pids, [connection.info.backend_pid], "quietly, the notifying pid is the one of BackendKeyData")
    same(connection.execute("SELECT pg_backend_pid()").fetchone(), (connection.info.backend_pid,))


# ---- psycopg2 -------------------------------------------------------------------------------------------


@test("psycopg2: blocks, named cursors, COPY, notifications, isolation and read only", pool=3, workers=2)
def psycopg2_all(t):
    with t.neighbours(5):
        connection = t.psycopg2()
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS p2; CREATE TABLE p2 (a int, b text)")
        psycopg2.extras.execute_values(cursor, "INSERT INTO p2 VALUES %s", [(i, str(i)) for i in range(1000)])
        connection.commit()
        named = connection.cursor("named")
        named.itersize = 50
        named.execute("SELECT a FROM p2 ORDER BY a")
        same([row[0] for row in named], list(range(1000)))
        named.close()
        connection.commit()
        with open(t.directory / "out", "w+") as file:
            cursor.copy_expert("COPY p2 TO STDOUT", file)
            file.seek(0)
            cursor.copy_expert("COPY p2 FROM STDIN", file)
        cursor.execute("SELECT count(*) FROM p2")
        same(cursor.fetchone(), (2000,))
        connection.rollback()
        connection.set_session(readonly=True, autocommit=True)
        try:
            cursor.execute("INSERT INTO p2 VALUES (1)")
            raise AssertionError("no error")
        except psycopg2.errors.ReadOnlySqlTransaction:
            pass
        other = t.psycopg2().cursor()
        for _ in range(5):
            other.execute("INSERT INTO p2 VALUES (1)")
            other.connection.commit()
        connection.set_session(readonly=False)
        cursor.execute("LISTEN p2news")
        other.execute("NOTIFY p2news, 'hello'")
        other.connection.commit()

        def arrived():
            connection.poll()
            return connection.notifies

        poll(arrived, "the notification comes")
        same(connection.notifies[0].payload, "hello")


# ---- asyncpg --------------------------------------------------------------------------------------------


def asynchronous(t, body, **more):
    async def main():
        words = dict(host=t.host, port=t.port, user="app", password=PASSWORDS["app"], database="app", timeout=30)
        await asyncio.wait_for(body(dict(words, **more)), 50)

    asyncio.run(main())


@test("asyncpg: prepared statements, cursors, transactions, COPY, executemany", pool=3, workers=2)
def asyncpg_plain(t):
    async def body(words):
        connection = await asyncpg.connect(**words)
        await connection.execute("DROP TABLE IF EXISTS apg; CREATE TABLE apg (a int, b text)")
        await connection.executemany("INSERT INTO apg VALUES ($1, $2)", [(i, str(i)) for i in range(1000)])
        statement = await connection.prepare("SELECT b FROM apg WHERE a = $1")
        for i in range(50):
            same(await statement.fetchval(i), str(i))
        async with connection.transaction():
            got = [row["a"] async for row in connection.cursor("SELECT a FROM apg ORDER BY a", prefetch=30)]
            same(got, list(range(1000)))
            cursor = await connection.cursor("SELECT a FROM apg ORDER BY a")
            same(len(await cursor.fetch(10)), 10)
            await cursor.forward(5)
            same((await cursor.fetchrow())["a"], 15)
        try:
            await connection.executemany("INSERT INTO apg VALUES ($1, $2)", [(1, "x")] * 10 + [("y", "x")])
            raise AssertionError("no error")
        except asyncpg.DataError:
            pass
        try:
            await connection.executemany("INSERT INTO apg SELECT 1 / $1::int", [(i % 400 - 300,) for i in range(100000)])
            raise AssertionError("no error")
        except asyncpg.DivisionByZeroError:
            pass
        same(await connection.fetchval("SELECT count(*) FROM apg"), 1000)
        await connection.copy_records_to_table("apg", records=[(i, "copied") for i in range(5000)])
        same(await connection.fetchval("SELECT count(*) FROM apg"), 6000)
        await connection.execute("SET application_name = 'asyncpg'")
        same(connection.get_settings().application_name, "asyncpg")
        same(connection.get_settings().client_encoding, "UTF8")
        await connection.close()

    with t.neighbours(5):
        asynchronous(t, body)


@test("asyncpg: its pool's reset query leaves nothing behind", pool=3)
def asyncpg_pool(t):
    async def body(words):
        async with asyncpg.create_pool(min_size=4, max_size=10, **words) as pool:

            async def work(number):
                for _ in range(6):
                    async with pool.acquire() as connection:
                        same(await connection.fetchval("SHOW work_mem"), "4MB")
                        await connection.execute(f"SET work_mem = '{number + 100}kB'")
                        same(await connection.fetchval("SELECT $1::int", number), number)
                        same(await connection.fetchval("SHOW work_mem"), f"{number + 100}kB")

            await asyncio.gather(*(work(number) for number in range(15)))

    with t.neighbours(4):
        asynchronous(t, body)


@test("asyncpg: listeners, server settings, a timeout that cancels", pool=3, workers=2)
def asyncpg_listen(t):
    async def body(words):
        connection = await asyncpg.connect(**words, server_settings={"search_path": "pg_catalog", "my.app": "x"})
        same(await connection.fetchval("SHOW search_path"), "pg_catalog")
        same(await connection.fetchval("SELECT current_setting('my.app')"), "x")
        got = asyncio.Queue()
        await connection.add_listener("apgnews", lambda *arguments: got.put_nowait(arguments[3]))
        other = await asyncpg.connect(**words)
        await other.execute("NOTIFY apgnews, 'hello'")
        same(await asyncio.wait_for(got.get(), 10), "hello")
        try:
            await other.fetchval("SELECT pg_sleep(20)", timeout=0.2)
            raise AssertionError("no timeout")
        except asyncio.TimeoutError:
            pass
        same(await other.fetchval("SELECT 5"), 5)
        await connection.execute("RESET ALL")
        same(await connection.fetchval("SHOW search_path"), "pg_catalog")
        await connection.close()
        await other.close()

    with t.neighbours(4):
        asynchronous(t, body)


@test("64 clients of mixed libraries over 8 servers all get their own answers", seconds=90)
def mixed_crowd(t):
    async def body(words):
        async def one(number):
            connection = await asyncpg.connect(**words)
            for turn in range(5):
                async with connection.transaction():
                    same(await connection.fetchval("SELECT $1::int * 1000 + $2::int", number, turn),
                         number * 1000 + turn)
                    same(await connection.fetchval("SELECT $1::text", f"{number}"), f"{number}")
            await connection.close()

        await asyncio.gather(*(one(number) for number in range(48)))

    with t.neighbours(16):
        asynchronous(t, body)
