"""An application of psycopg2 (libpq, simple protocol, client-side parameters)."""

import datetime
import decimal
import io
import os
import uuid

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool

from telling import at_once, failing, play, tell

psycopg2.extras.register_uuid()


def connect(**more):
    return psycopg2.connect("", **more)


def one(cursor, sql, arguments=None):
    cursor.execute(sql, arguments)
    return cursor.fetchone()[0]


def parameters():
    connection = connect(application_name="driver test", options="-c search_path=pg_catalog -c work_mem=5MB -c my.own=yes",
                         client_encoding="LATIN1")
    cursor = connection.cursor()
    for name in ("application_name", "DateStyle", "TimeZone", "client_encoding", "IntervalStyle",
                 "standard_conforming_strings", "integer_datetimes", "server_version", "is_superuser",
                 "session_authorization"):
        tell(name, connection.get_parameter_status(name))
    tell("own", one(cursor, "SELECT current_setting('my.own')"), one(cursor, "SHOW work_mem"))
    tell("latin1", one(cursor, "SELECT 'Gruß' || chr(233)"), connection.encoding)
    cursor.execute("SET search_path = public; SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'")
    tell("changed", connection.get_parameter_status("TimeZone"), connection.get_parameter_status("DateStyle"))
    connection.rollback()
    tell("rolled back", connection.get_parameter_status("TimeZone"), one(cursor, "SHOW search_path"))
    connection.set_client_encoding("UTF8")
    tell("encoding", connection.encoding, one(cursor, "SHOW client_encoding"))
    connection.rollback()
    connection.autocommit = True
    cursor.execute("SET work_mem = '6MB'; SET application_name = ' spaced name '")
    tell("set", one(cursor, "SHOW work_mem"), one(cursor, "SHOW application_name"))
    cursor.execute("RESET ALL")
    tell("reset", one(cursor, "SHOW work_mem"), one(cursor, "SHOW application_name"), one(cursor, "SHOW search_path"))
    cursor.execute("DISCARD ALL")
    tell("discarded", one(cursor, "SHOW client_encoding"), one(cursor, "SELECT current_setting('my.own')"))
    tell("source", one(cursor, "SELECT source FROM pg_settings WHERE name = 'work_mem'"))
    connection.close()
    failing("no such parameter", connect, options="-c no_such=1", tell_error=tell_login)
    failing("bad value", connect, options="-c work_mem=plenty", tell_error=tell_login)
    failing("wrong password", connect, password="wrong", tell_error=tell_login)
    failing("no such database", connect, dbname="never_was", tell_error=tell_login)


def tell_login(what, error):
    tell(what, str(error).strip().rsplit("failed: ", 1)[-1])


def blocks():
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS p2_block; CREATE TABLE p2_block (id serial PRIMARY KEY, v text UNIQUE, "
                   "n int CHECK (n < 100), parent int REFERENCES p2_block)")
    tell("created", cursor.statusmessage, [note.strip() for note in connection.notices])
    connection.commit()
    cursor.execute("INSERT INTO p2_block (v, n) VALUES ('a', 1), ('b', 2) RETURNING id, v")
    tell("returned", cursor.fetchall(), cursor.rowcount, cursor.statusmessage)
    cursor.execute("SAVEPOINT one")
    for sql in ("SELECT 1/0", "INSERT INTO p2_block (v) VALUES ('a')", "INSERT INTO p2_block (v, n) VALUES ('c', 100)",
                "INSERT INTO p2_block (v, parent) VALUES ('d', 999)", "INSERT INTO p2_block (id) VALUES (NULL)",
                "SELECT nothing FROM p2_block", "SELECT 'x'::int", "SELEC", "SELECT * FROM never_was",
                "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'P0042', DETAIL = 'why', HINT = 'how'; END $$"):
        failing(sql, cursor.execute, sql)
        failing("then", cursor.execute, "SELECT 1")
        tell("status", connection.info.transaction_status, connection.status)
        cursor.execute("ROLLBACK TO one")
    tell("kept", one(cursor, "SELECT count(*) FROM p2_block"))
    connection.commit()
    with connection:
        cursor.execute("UPDATE p2_block SET n = n + 1")
        tell("updated", cursor.rowcount)
    try:
        with connection:
            cursor.execute("DELETE FROM p2_block")
            tell("deleted", cursor.rowcount)
            raise KeyError("changed my mind")
    except KeyError:
        pass
    tell("still", one(cursor, "SELECT array_agg(n ORDER BY n) FROM p2_block"))
    connection.rollback()
    failing("a block of VACUUM", cursor.execute, "VACUUM p2_block")
    connection.rollback()
    connection.autocommit = True
    cursor.execute("VACUUM p2_block")
    tell("vacuum", cursor.statusmessage)
    failing("half a query", cursor.execute, "INSERT INTO p2_block (v) VALUES ('half'); SELECT 1/0")
    tell("none", one(cursor, "SELECT count(*) FROM p2_block WHERE v = 'half'"))
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        connection.set_session(isolation_level=level, readonly=True, deferrable=level == "SERIALIZABLE", autocommit=False)
        tell(level, one(cursor, "SHOW transaction_isolation"), one(cursor, "SHOW transaction_read_only"),
             one(cursor, "SHOW transaction_deferrable"))
        failing("read only", cursor.execute, "INSERT INTO p2_block (v) VALUES ('never')")
        connection.rollback()
    connection.close()


def two_phases():
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE IF NOT EXISTS p2_phases (a int)")
    connection.commit()
    # Prepared transactions are of the whole cluster, and the other runs are of it too.
    name = connection.xid(1, "psycopg2", os.environ["PGDATABASE"])
    connection.tpc_begin(name)
    cursor.execute("INSERT INTO p2_phases VALUES (1)")
    connection.tpc_prepare()
    connection.close()
    other = connect()
    tell("found", len([xid for xid in other.tpc_recover() if xid.bqual == os.environ["PGDATABASE"]]))
    other.rollback()
    other.tpc_commit(name)
    tell("committed", one(other.cursor(), "SELECT a FROM p2_phases"))
    other.close()


def cursors():
    connection = connect()
    with connection.cursor("named") as cursor:
        cursor.itersize = 13
        cursor.execute("SELECT generate_series(1, %s)", (100,))
        tell("sum", sum(row[0] for row in cursor))
    with connection.cursor("scrolling", scrollable=True) as cursor:
        cursor.execute("SELECT generate_series(1, 20)")
        tell("many", cursor.fetchmany(5), cursor.fetchone())
        cursor.scroll(-3)
        tell("back", cursor.fetchone())
        cursor.scroll(0, mode="absolute")
        tell("start", cursor.fetchone())
        failing("no such column", connection.cursor().execute, "SELECT nothing")
        failing("then", cursor.fetchone)
    connection.rollback()
    holding = connection.cursor("holding", withhold=True)
    holding.execute("SELECT generate_series(1, 30)")
    connection.commit()
    tell("held", holding.fetchmany(3))
    plain = connection.cursor()
    plain.execute("SELECT 1")
    connection.commit()
    tell("held still", holding.fetchmany(2), len(holding.fetchall()))
    holding.close()
    connection.commit()
    failing("gone", plain.execute, "FETCH 1 FROM holding")
    connection.close()


def bulk():
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE p2_bulk (a int, b text)")
    psycopg2.extras.execute_values(cursor, "INSERT INTO p2_bulk VALUES %s", [(i, "x" * (i % 50)) for i in range(3000)])
    psycopg2.extras.execute_batch(cursor, "UPDATE p2_bulk SET b = %s WHERE a = %s", [(f"u{i}", i) for i in range(200)])
    cursor.executemany("INSERT INTO p2_bulk VALUES (%s, %s)", [(i, None) for i in range(50)])
    tell("all", one(cursor, "SELECT count(*) || ' ' || sum(a) || ' ' || sum(length(b)) FROM p2_bulk"))
    out = io.StringIO()
    cursor.copy_expert("COPY p2_bulk TO STDOUT (FORMAT csv)", out)
    tell("out", len(out.getvalue()), cursor.rowcount)
    cursor.copy_from(io.StringIO("".join(f"{i}\tcopied\n" for i in range(20000))), "p2_bulk")
    tell("in", cursor.rowcount, cursor.statusmessage)
    connection.commit()
    failing("bad row", cursor.copy_from, io.StringIO("1\tx\n" * 3000 + "x\ty\n" + "1\tx\n" * 300000), "p2_bulk")
    connection.rollback()

    class Broken:
        def read(self, size):
            raise OSError("the file cannot be read")

    failing("broken file", cursor.copy_expert, "COPY p2_bulk FROM STDIN", Broken())
    connection.rollback()
    failing("no such table", cursor.copy_expert, "COPY never_was FROM STDIN", io.StringIO("1\n"))
    connection.rollback()
    tell("kept", one(cursor, "SELECT count(*) FROM p2_bulk"))
    cursor.execute("SELECT repeat('y', 3000000), generate_series(1, 3)")
    tell("large", [len(row[0]) for row in cursor])
    tell("large parameter", one(cursor, "SELECT length(%s) + 1", ("z" * 2_000_000,)))
    connection.close()


def types():
    connection = connect()
    cursor = connection.cursor()
    values = [None, True, 2**60, decimal.Decimal("123456789.000100"), 1.5e-300, float("inf"), "é ' \\ \" 漢字 \U0001f600",
              b"\x00\xff'\\", datetime.date(1, 1, 1), datetime.time(23, 59, 59, 999999),
              datetime.datetime(2024, 2, 29, 12, 30, 0, 1), datetime.timedelta(days=-3, microseconds=5), [1, None, 3],
              ["a", "b,c", None], uuid.UUID(int=7), psycopg2.extras.Json({"a": [1, "é"]}), datetime.datetime(
              2024, 7, 1, tzinfo=datetime.timezone.utc)]
    for value in values:
        cursor.execute("SELECT %s AS it", (value,))
        got = cursor.fetchone()[0]
        tell("value", bytes(got) if isinstance(got, memoryview) else got, cursor.description[0].type_code)
    cursor.execute("SELECT '(1,5)'::int4range, '{\"a\": 1}'::jsonb, '1 year 2 mons'::interval, 'infinity'::float8, "
                   "ARRAY[[1,2],[3,4]], '192.168.0.1/24'::inet, 'NaN'::numeric")
    tell("row", cursor.fetchone(), [column.name for column in cursor.description])
    connection.close()


def notifications():
    connection, sender = connect(), connect()
    connection.autocommit = sender.autocommit = True
    cursor = connection.cursor()
    cursor.execute("LISTEN p2_news")
    sender.cursor().execute("NOTIFY p2_news, 'from another'; NOTIFY other_news, 'unheard'")
    cursor.execute("NOTIFY p2_news, 'from myself'")
    while len(connection.notifies) < 2:
        connection.poll()
    tell("heard", [(note.channel, note.payload) for note in connection.notifies])
    connection.notifies.clear()
    cursor.execute("UNLISTEN *")
    sender.cursor().execute("NOTIFY p2_news, 'too late'")
    cursor.execute("SELECT 1")
    connection.poll()
    tell("unheard", connection.notifies)
    connection.close()
    sender.close()


def cancelling():
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SET statement_timeout = '80ms'")
    connection.commit()
    failing("timeout", cursor.execute, "SELECT pg_sleep(30)")
    connection.rollback()
    cursor.execute("RESET statement_timeout")
    connection.commit()

    def cancel(_):
        with connect() as other, other.cursor() as watching:
            while not one(watching, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(40)' AND "
                                    "datname = current_database() AND wait_event = 'PgSleep'"):
                other.rollback()
        connection.cancel()

    def both(number):
        if number:
            cancel(number)
        else:
            failing("cancelled", cursor.execute, "SELECT pg_sleep(40)")

    at_once(2, both)
    connection.rollback()
    tell("afterwards", one(cursor, "SELECT 1"))
    connection.rollback()
    locker = connect()
    locker.cursor().execute("CREATE TABLE p2_lock (a int); INSERT INTO p2_lock VALUES (1)")
    locker.commit()
    locker.cursor().execute("LOCK TABLE p2_lock")
    cursor.execute("SET LOCAL lock_timeout = '50ms'")
    failing("lock timeout", cursor.execute, "SELECT * FROM p2_lock")
    connection.rollback()
    failing("nowait", cursor.execute, "LOCK TABLE p2_lock NOWAIT")
    locker.close()
    connection.close()


def session_state():
    connections = [connect() for _ in range(3)]
    for number, connection in enumerate(connections):
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE TEMP TABLE mine (a int); PREPARE mine AS SELECT a FROM mine; CREATE TABLE IF NOT EXISTS "
                       "p2_serial (id serial)")
        cursor.execute("INSERT INTO mine VALUES (%s)", (number,))
        cursor.execute("SELECT pg_advisory_lock(%s)", (number,))
        cursor.execute("INSERT INTO p2_serial DEFAULT VALUES")
    for number, connection in enumerate(connections):
        cursor = connection.cursor()
        tell("mine", one(cursor, "SELECT a FROM mine"), one(cursor, "EXECUTE mine"), one(cursor, "SELECT lastval()"),
             one(cursor, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
        cursor.execute("DISCARD ALL")
        failing("discarded", cursor.execute, "SELECT a FROM mine")
        failing("discarded", cursor.execute, "EXECUTE mine")
        failing("discarded", cursor.execute, "SELECT lastval()")
    for connection in connections:
        connection.close()


def reconnects():
    for number in range(20):
        connection = connect()
        tell("connection", one(connection.cursor(), "SELECT %s", (number,)))
        if number % 2:
            connection.close()
        del connection
    connection = connect()
    cursor = connection.cursor()
    failing("own end", cursor.execute, "SELECT pg_terminate_backend(pg_backend_pid())")
    tell("closed", connection.closed)
    failing("then", cursor.execute, "SELECT 1", tell_error=lambda what, error: tell(what, str(error)))
    connection = connect()
    tell("again", one(connection.cursor(), "SELECT 1"))
    connection.close()


def crowd():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE p2_crowd (who int, n int)")
    pool = psycopg2.pool.ThreadedConnectionPool(1, 24, "")

    def work(number):
        for turn in range(10):
            connection = pool.getconn()
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("INSERT INTO p2_crowd VALUES (%s, %s)", (number, turn))
                    if turn % 3 == 2:
                        cursor.execute("SELECT 1/0")
            except psycopg2.errors.DivisionByZero:
                pass
            finally:
                pool.putconn(connection)

    at_once(24, work)
    pool.closeall()
    with connect() as connection, connection.cursor() as cursor:
        tell("sum", one(cursor, "SELECT count(*) || ' ' || sum(who) || ' ' || sum(n) FROM p2_crowd"))


def large_objects():
    connection = connect()
    big = connection.lobject(0, "wb")
    big.write(b"large " * 50000)
    big.seek(6)
    big.write("objects")
    number = big.oid
    big.close()
    connection.commit()
    again = connection.lobject(number, "rb")
    tell("read", again.read(20), len(again.read()), again.tell())
    again.unlink()
    connection.commit()
    failing("gone", connection.lobject, number, "rb")
    connection.close()


play([parameters, blocks, two_phases, cursors, bulk, types, notifications, cancelling, session_state, reconnects, crowd,
      large_objects])
