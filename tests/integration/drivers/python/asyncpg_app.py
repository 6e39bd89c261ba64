"""An application of asyncpg (its own protocol implementation: named statements with Flush, binary results, portals)."""

import asyncio
import datetime
import decimal
import ipaddress
import uuid

import asyncpg

from telling import play, tell


async def connect(**more):
    return await asyncpg.connect(timeout=30, **more)


FIELDS = ("severity", "sqlstate", "message", "detail", "hint", "position", "context", "schema_name", "table_name",
          "column_name", "constraint_name")


async def failing(what, waited):
    try:
        result = await waited
    except Exception as error:
        tell(what, type(error).__name__, *(f"{name}={getattr(error, name)}" for name in FIELDS
                                           if getattr(error, name, None) is not None))
        return
    raise AssertionError(f"{what} did not fail but gave {result!r}")


def section(body):
    def run():
        asyncio.run(asyncio.wait_for(body(), 60))

    run.__name__ = body.__name__
    return run


@section
async def parameters():
    connection = await connect(server_settings={"application_name": "asyncpg app", "search_path": "pg_catalog",
                                                "my.own": "yes", "work_mem": "7MB", "DateStyle": "SQL, DMY"})
    settings = connection.get_settings()
    tell("settings", settings.application_name, settings.client_encoding, settings.TimeZone, settings.DateStyle,
         settings.IntervalStyle, connection.get_server_version()[:2])
    await connection.execute("SET TimeZone = 'America/Lima'; SET search_path = public")
    tell("changed", settings.TimeZone, await connection.fetchval("SELECT '2024-07-01 00:00+00'::timestamptz::text"))
    await connection.reset()
    tell("reset", settings.TimeZone, await connection.fetchval("SHOW search_path"),
         await connection.fetchval("SELECT current_setting('my.own')"), await connection.fetchval("SHOW work_mem"))
    await connection.close()
    await failing("no such parameter", connect(server_settings={"no_such": "1"}))
    await failing("bad value", connect(server_settings={"work_mem": "plenty"}))
    await failing("wrong password", connect(password="wrong"))
    await failing("no such database", connect(database="never_was"))


@section
async def statements():
    connections = [await connect() for _ in range(5)]
    await connections[0].execute("CREATE TABLE apg (id serial PRIMARY KEY, v text UNIQUE, n int CHECK (n < 100))")
    prepared = [await connection.prepare(f"SELECT {number} * 100 + $1::int, $2::text")
                for number, connection in enumerate(connections)]
    for turn in range(30):
        for number, statement in enumerate(prepared):
            assert tuple(await statement.fetchrow(turn, "x")) == (number * 100 + turn, "x")
    tell("attributes", [(a.name, a.type.name) for a in prepared[0].get_attributes()],
         [p.name for p in prepared[0].get_parameters()], prepared[0].get_statusmsg())
    connection, other = connections[:2]
    tell("executemany", await connection.executemany("INSERT INTO apg (v, n) VALUES ($1, $2)",
                                                     [(f"v{i}", i % 90) for i in range(1500)]))
    tell("sum", await connection.fetchval("SELECT sum(n) FROM apg"))
    await failing("a bad one", connection.executemany("INSERT INTO apg (v, n) VALUES ($1, $2)",
                                                      [(f"w{i}", i // 50) for i in range(20000)]))
    await failing("not a number", connection.executemany("INSERT INTO apg (n) VALUES ($1)", [(1,), ("x",)]))
    tell("sum", await connection.fetchval("SELECT sum(n) FROM apg"))
    # DDL of another: what this one has prepared changes its result; asyncpg prepares it again by itself.
    query = "SELECT * FROM apg WHERE id = $1"
    tell("before", list((await connection.fetchrow(query, 1)).keys()))
    await changed_tables(connection, other, query)
    await connection.execute("DEALLOCATE ALL")
    tell("status", await other.execute("SELECT 1; SELECT 2; UPDATE apg SET n = 1 WHERE id < 5"))
    for each in connections:
        await each.close()


async def changed_tables(connection, other, query):
    await other.execute("ALTER TABLE apg ADD COLUMN more text DEFAULT 'new'")
    tell("after", list((await connection.fetchrow(query, 1)).keys()))
    async with connection.transaction():
        await connection.fetchrow(query, 1)
        await other.execute("SET lock_timeout = '30ms'")
        await failing("locked", other.execute("ALTER TABLE apg DROP COLUMN more"))
        await other.execute("RESET lock_timeout")
    await other.execute("ALTER TABLE apg DROP COLUMN more")
    block = connection.transaction()
    await block.start()
    await failing("in a block", connection.fetchrow(query, 1))
    await block.rollback()
    tell("again", list((await connection.fetchrow(query, 1)).keys()))


@section
async def blocks():
    connection = await connect()
    notices = []
    connection.add_log_listener(lambda _, note: notices.append((note.severity, note.sqlstate, note.message, note.hint)))
    for isolation in ("read_committed", "serializable", "repeatable_read"):
        async with connection.transaction(isolation=isolation, readonly=True, deferrable=isolation == "serializable"):
            tell(isolation, await connection.fetchval("SHOW transaction_isolation"))
            await failing("read only", read_only_write(connection))
    async with connection.transaction():
        await connection.execute("INSERT INTO apg (v) VALUES ('kept')")
        for sql in ("SELECT 1/0", "INSERT INTO apg (v) VALUES ('kept')", "INSERT INTO apg (n) VALUES (1000)", "SELECT nope",
                    "SELEC", "SELECT 'x'::int", "INSERT INTO apg (id) VALUES (NULL)",
                    "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"):
            inner = connection.transaction()
            await inner.start()
            await failing(sql, connection.fetch(sql))
            await failing("then", connection.fetch("SELECT 1"))
            await inner.rollback()
        await connection.execute("DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'a hint'; END $$")
    tell("kept", await connection.fetchval("SELECT count(*) FROM apg WHERE v = 'kept'"))
    await connection.execute("DROP TABLE IF EXISTS never_was")
    await connection.fetchval("SELECT 1")
    await asyncio.sleep(0)
    tell("notices", notices)
    await connection.close()


async def read_only_write(connection):
    async with connection.transaction():
        await connection.execute("INSERT INTO apg (v) VALUES ('never')")


@section
async def cursors():
    connection = await connect()
    async with connection.transaction():
        got = [row[0] async for row in connection.cursor("SELECT generate_series(1, $1::int)", 500, prefetch=17)]
        tell("all", len(got), sum(got))
        cursor = await connection.cursor("SELECT generate_series(1, 100)")
        other = await connection.cursor("SELECT generate_series(1001, 1100)")
        tell("fetch", len(await cursor.fetch(10)), await cursor.forward(5), (await cursor.fetchrow())[0])
        tell("other", (await other.fetchrow())[0], len(await other.fetch(200)), await other.fetchrow())
        statement = await connection.prepare("SELECT generate_series(1, 3)")
        tell("of a statement", [row[0] async for row in statement.cursor()])
        tell("limited", (await statement.fetchrow())[0], await statement.fetchval())
        failed = connection.transaction()
        await failed.start()
        broken = await connection.cursor("SELECT 10 / (5 - generate_series(1, 10))")
        tell("good ones", len(await broken.fetch(4)))
        await failing("bad one", broken.fetch(4))
        await failed.rollback()
    await failing("no block", outside(connection))
    await connection.close()


async def outside(connection):
    await connection.cursor("SELECT 1")


@section
async def copying():
    connection = await connect()
    await connection.execute("CREATE TABLE apg_copy (a int, b text)")
    tell("records", await connection.copy_records_to_table("apg_copy", records=[(i, f"r{i}") for i in range(20000)]))

    async def source():
        for number in range(3000):
            yield f"{number}\tfrom a generator\n".encode()

    tell("text", await connection.copy_to_table("apg_copy", source=source()))
    received = []

    async def sink(data):
        received.append(len(data))

    tell("query", await connection.copy_from_query("SELECT * FROM apg_copy WHERE a < $1", 100, output=sink), sum(received))
    received.clear()
    tell("table", await connection.copy_from_table("apg_copy", output=sink, format="binary"), sum(received))

    async def bad_source():
        for number in range(60000):
            yield b"x\ty\n" if number == 1000 else b"1\tgood\n"

    await failing("bad row", connection.copy_to_table("apg_copy", source=bad_source()))

    async def raising_source():
        yield b"1\tx\n"
        raise LookupError("the source dried up")

    await failing("dried up", connection.copy_to_table("apg_copy", source=raising_source()))

    async def raising_sink(_):
        raise LookupError("the sink is full")

    await failing("full", connection.copy_from_table("apg_copy", output=raising_sink))
    tell("count", await connection.fetchval("SELECT count(*) FROM apg_copy"))
    await connection.close()


@section
async def types():
    connection = await connect()
    await connection.execute("CREATE TYPE colour AS ENUM ('red', 'green'); CREATE TYPE pair AS (a int, b text); "
                             "CREATE DOMAIN small AS int CHECK (VALUE < 10)")
    values = [("bool", True), ("int8", 2**60), ("numeric", decimal.Decimal("-1.2300")), ("float8", 1e300), ("text", "漢字\U0001f600"),
              ("bytea", b"\x00\xff"), ("date", datetime.date(1, 1, 1)), ("time", datetime.time(1, 2, 3, 4)),
              ("timestamp", datetime.datetime(2024, 2, 29, 1, 2, 3, 4)), ("interval", datetime.timedelta(days=-1)),
              ("timestamptz", datetime.datetime(2024, 7, 1, tzinfo=datetime.timezone.utc)), ("int[]", [1, None, 3]),
              ("text[]", [["a", "b"], ["c", "d"]]), ("uuid", uuid.UUID(int=3)), ("jsonb", '{"a": [1]}'), ("inet",
              ipaddress.ip_address("10.0.0.1")), ("colour", "green"), ("pair", (1, "x")), ("pair[]", [(1, "x"), (2, None)]),
              ("small", 5), ("int4range", asyncpg.Range(1, 5)), ("point", asyncpg.Point(1, 2)), ("varbit", asyncpg.BitString("0101"))]
    for name, value in values:
        tell(name, await connection.fetchval(f"SELECT $1::{name}", value))
    await failing("domain", connection.fetchval("SELECT $1::small", 50))
    await connection.set_type_codec("json", encoder=repr, decoder=lambda it: ("decoded", it), schema="pg_catalog")
    tell("codec", await connection.fetchval("SELECT '[1]'::json"))
    await connection.close()


@section
async def notifications():
    listener, sender = await connect(), await connect()
    heard = asyncio.Queue()
    await listener.add_listener("apg_news", lambda *arguments: heard.put_nowait(arguments[2:]))
    for number in range(10):
        await sender.execute("SELECT pg_notify('apg_news', $1)", str(number))
    tell("heard", [await asyncio.wait_for(heard.get(), 20) for _ in range(10)])
    await listener.close()
    await sender.close()


@section
async def cancelling():
    connection = await connect()
    for _ in range(5):
        await failing("timeout of the driver", connection.fetchval("SELECT pg_sleep(30)", timeout=0.05))
        tell("afterwards", await connection.fetchval("SELECT 5"))
    await connection.execute("SET statement_timeout = 50")
    await failing("timeout of the server", connection.fetchval("SELECT pg_sleep(30)"))
    await connection.execute("RESET statement_timeout")
    task = asyncio.create_task(connection.fetchval("SELECT pg_sleep(42)"))
    other = await connect()
    while not await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(42)' AND "
                                   "wait_event = 'PgSleep' AND datname = current_database()"):
        pass
    task.cancel()
    await asyncio.wait([task])
    tell("cancelled", task.cancelled(), await connection.fetchval("SELECT 6"))
    tell("closing while busy", connection.is_closed(), await connection.close(), connection.is_closed())
    await other.close()


@section
async def pools():
    async with asyncpg.create_pool(min_size=3, max_size=12) as pool:
        await pool.execute("CREATE TABLE apg_pool (who int, n int)")

        async def work(number):
            for turn in range(8):
                try:
                    async with pool.acquire() as connection:
                        assert await connection.fetchval("SHOW work_mem") == "4MB"
                        await connection.execute(f"SET work_mem = '{number + 100}kB'")
                        async with connection.transaction():
                            await connection.execute("INSERT INTO apg_pool VALUES ($1, $2)", number, turn)
                            assert await connection.fetchval("SHOW work_mem") == f"{number + 100}kB"
                            if turn % 4 == 3:
                                await connection.execute("SELECT 1/0")
                except asyncpg.DivisionByZeroError:
                    pass

        await asyncio.gather(*(work(number) for number in range(30)))
        row = await pool.fetchrow("SELECT count(*), sum(who), sum(n) FROM apg_pool")
        tell("sum", tuple(row))
    connection = await connect()
    await failing("own end", connection.execute("SELECT pg_terminate_backend(pg_backend_pid())"))
    tell("closed", connection.is_closed())


play([parameters, statements, blocks, cursors, copying, types, notifications, cancelling, pools])
