"""An application of psycopg 3 (libpq, extended protocol, statements prepared at the fifth use, pipelines)."""

import contextlib
import datetime
import decimal
import ipaddress
import logging
import uuid

import psycopg
import psycopg.errors
import psycopg.rows
import psycopg.types.json

import telling
from telling import at_once, failing, play, tell


def connect(**more):
    return psycopg.connect("", **more)


def tell_error(what, error):
    if getattr(error, "sqlstate", None):
        telling.tell_error(what, error)
    else:
        tell(what, type(error).__name__, str(error).split("failed: ")[-1].strip())


def fails(what, action, *arguments, **named):
    return failing(what, action, *arguments, tell_error=tell_error, **named)


def one(connection, sql, arguments=None, **more):
    return connection.execute(sql, arguments, **more).fetchone()[0]


def parameters():
    connection = connect(application_name="psycopg three", options="-c search_path=pg_catalog -c my.own=yes",
                         client_encoding="utf-8", autocommit=True)
    info = connection.info
    for name in ("application_name", "DateStyle", "TimeZone", "client_encoding", "IntervalStyle", "server_encoding",
                 "standard_conforming_strings", "integer_datetimes", "default_transaction_read_only", "is_superuser"):
        tell(name, info.parameter_status(name))
    tell("info", info.encoding, info.timezone.key, info.server_version, info.user, info.status)
    connection.execute("SET TimeZone = 'Europe/Rome'; SET DateStyle = 'ISO, YMD'; SET search_path = public")
    tell("changed", info.timezone.key, info.parameter_status("DateStyle"))
    tell("date", one(connection, "SELECT '2024-07-01 12:00+00'::timestamptz"))
    connection.execute("RESET ALL")
    tell("reset", info.timezone.key, one(connection, "SHOW search_path"), one(connection, "SELECT current_setting('my.own')"))
    connection.execute("SET client_encoding = latin9")
    tell("latin9", info.encoding, one(connection, "SELECT '€'::text || %s", ("é",)))
    connection.close()
    fails("no such parameter", connect, options="-c no_such=1")
    fails("wrong password", connect, password="wrong")
    fails("no such user", connect, user="never_was")
    fails("no such database", connect, dbname="never_was")


def statements():
    with connect() as connection:
        connection.execute("CREATE TABLE p3 (id serial PRIMARY KEY, v text, n numeric)")
    connections = [connect(autocommit=True) for _ in range(5)]
    for turn in range(12):
        for number, connection in enumerate(connections):
            got = one(connection, "SELECT %s::int * 10 + %s", (number, turn))
            assert got == number * 10 + turn, got
            # the same names for other texts on each connection
            assert one(connection, f"SELECT 'of {number}' || %s::text", ("!",)) == f"of {number}!"
    # More than prepared_max: the driver drops the oldest with DEALLOCATE.
    connections[1].prepared_max = 4
    for turn in range(3):
        for number in range(12):
            assert one(connections[1], f"SELECT {number} + %s", (turn,), prepare=True) == number + turn
    fails("evicted", connections[1].execute, "EXECUTE _pg3_2(1)")
    # The plan changes under a prepared statement.
    changing = connections[2]
    for _ in range(7):
        changing.execute("SELECT * FROM p3").fetchall()
    connections[3].execute("ALTER TABLE p3 ADD COLUMN more int")
    try:
        changing.execute("SELECT * FROM p3").fetchall()
        told = "found the new column or the error of the old plan"
    except psycopg.errors.FeatureNotSupported as error:
        assert "cached plan" in str(error)
        told = "found the new column or the error of the old plan"
    tell("changed", told)
    changing.execute("DEALLOCATE ALL")
    for connection in connections:
        connection.close()


def blocks():
    connection = connect()
    connection.add_notice_handler(lambda note: tell("notice", note.severity, note.sqlstate, note.message_primary,
                                                    note.message_hint))
    for round in range(7):
        with connection.transaction():
            connection.execute("INSERT INTO p3 (v) VALUES (%s)", (f"round {round}",))
            try:
                with connection.transaction("inner"):
                    connection.execute("SELECT 1 / %s", (round % 2,))
            except psycopg.errors.DivisionByZero as error:
                tell_error("inner", error)
        connection.execute("DO $$ BEGIN RAISE NOTICE 'in a block' USING HINT = 'a hint'; END $$")
        connection.rollback()
    tell("kept", one(connection, "SELECT count(*) FROM p3"))
    for sql, arguments in (("INSERT INTO p3 (id) VALUES (%s)", (1,)), ("SELECT %s::int", ("x",)), ("SELECT nope", None),
                           ("INSERT INTO p3 (id) VALUES (NULL)", None), ("SELEC", None), ("SELECT %s::date", ("2024-02-30",))):
        fails(sql, connection.execute, sql, arguments)
        fails("then", connection.execute, "SELECT 1")
        connection.rollback()
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO p3 (v) VALUES (%s) RETURNING id > 0", [(f"m{i}",) for i in range(150)], returning=True)
    results = [cursor.fetchone()]
    while cursor.nextset():
        results.append(cursor.fetchone())
    tell("many", len(results), set(results), cursor.rowcount)
    fails("bad one", cursor.executemany, "INSERT INTO p3 (n) VALUES (%s::text::numeric)", [("1",)] * 30 + [("x",)] + [("2",)] * 30)
    connection.rollback()
    cursor.execute("SELECT 1; SELECT 'two', 2; UPDATE p3 SET v = v")
    tell("several", cursor.fetchall(), cursor.nextset(), cursor.fetchall(), cursor.nextset(), cursor.statusmessage)
    connection.rollback()
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.read_only, connection.deferrable = True, True
    tell("serializable", [one(connection, f"SHOW transaction_{what}") for what in ("isolation", "read_only", "deferrable")])
    connection.rollback()
    connection.close()
    conflicts()


def conflicts():
    left, right = connect(), connect()
    for each in (left, right):
        each.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        each.execute("SELECT sum(n) FROM p3").fetchone()
    for each in (left, right):
        each.execute("INSERT INTO p3 (n) VALUES (1)")
    left.commit()
    fails("conflict", right.commit)
    left.close()
    right.close()


def pipelines():
    connection = connect(autocommit=True)
    for size in (1, 10, 400):
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int, %s::text", (i, f"t{i}")) for i in range(size)]
        rows = [cursor.fetchone() for cursor in cursors]
        assert rows == [(i, f"t{i}") for i in range(size)], rows
        tell("pipeline", size)
    with connection.pipeline() as pipeline:
        good = connection.execute("SELECT 'before'")
        pipeline.sync()

        def broken():  # when the error is met depends on what has already arrived
            connection.execute("SELECT 1/0")
            connection.execute("SELECT 'skipped'")
            pipeline.sync()

        fails("in the middle", broken)
        with contextlib.suppress(psycopg.Error):
            pipeline.sync()
        tell("good", good.fetchone())
        tell("after", connection.execute("SELECT 'after'").fetchone())
    with connection.pipeline():
        with connection.transaction():
            connection.execute("CREATE TEMP TABLE piped (a int PRIMARY KEY) ON COMMIT DROP")
            connection.cursor().executemany("INSERT INTO piped VALUES (%s)", [(i,) for i in range(300)])
            tell("sum", connection.execute("SELECT count(*), sum(a) FROM piped").fetchone())
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO piped VALUES (7)")
                    connection.execute("INSERT INTO piped VALUES (1000)")
            except psycopg.errors.UniqueViolation as error:
                tell_error("savepoint", error)
            tell("still", connection.execute("SELECT count(*) FROM piped").fetchone())
    large = "x" * 500_000
    with connection.pipeline():
        cursors = [connection.execute("SELECT length(%s), %s::text", (large, large)) for _ in range(12)]
    tell("large", [len(cursor.fetchone()[1]) for cursor in cursors])
    connection.close()


def cursors():
    connection = connect()
    with connection.cursor("named") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT generate_series(1, %s)", (100,))
        tell("named", sum(row[0] for row in cursor), cursor.statusmessage)
    with connection.cursor("scrolling", scrollable=True) as cursor:
        cursor.execute("SELECT generate_series(1, 100)")
        cursor.scroll(50)
        tell("scrolled", cursor.fetchmany(2))
        cursor.scroll(-1)
        tell("back", cursor.fetchone())
    connection.rollback()
    connection.autocommit = True
    with connection.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT generate_series(1, 50)")
        tell("held", cursor.fetchmany(5))
        connection.execute("SELECT 1")
        tell("still", len(cursor.fetchall()))
    fails("not in a block", connection.cursor("unheld").execute, "SELECT 1")
    with connection.cursor() as cursor:
        tell("stream", sum(row[0] for row in cursor.stream("SELECT generate_series(1, 2000)")))
    with connection.cursor(row_factory=psycopg.rows.dict_row, binary=True) as cursor:
        tell("binary", cursor.execute("SELECT 1::int8 AS a, 'x'::text AS b, NULL::date AS c").fetchall())
    connection.close()


def copying():
    connection = connect()
    connection.execute("CREATE TABLE p3_copy (a int, b text)")
    cursor = connection.cursor()
    with cursor.copy("COPY p3_copy FROM STDIN") as copy:
        for number in range(20000):
            copy.write_row((number, None if number % 7 == 0 else f"row\t{number}"))
    tell("in", cursor.rowcount, cursor.statusmessage)
    with cursor.copy("COPY p3_copy FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        for number in range(1000):
            copy.write_row((number, "binary"))
    with cursor.copy("COPY (SELECT * FROM p3_copy ORDER BY b, a LIMIT 3) TO STDOUT") as copy:
        tell("out", list(copy.rows()))
    with cursor.copy("COPY p3_copy TO STDOUT (FORMAT binary)") as copy:
        tell("bytes", sum(len(piece) for piece in copy))
    connection.commit()
    with connection.transaction():
        connection.execute("SAVEPOINT here")
        try:
            with cursor.copy("COPY p3_copy FROM STDIN") as copy:
                copy.write("x\ty\n")
                for number in range(60000):
                    copy.write_row((number, "more"))
        except psycopg.errors.InvalidTextRepresentation as error:
            tell_error("bad row", error)
        connection.execute("ROLLBACK TO here")
        try:
            with cursor.copy("COPY p3_copy FROM STDIN") as copy:
                copy.write("1\ty\n")
                raise ValueError("changed my mind")
        except psycopg.errors.QueryCanceled as error:
            tell("given up", error.sqlstate)
        connection.execute("ROLLBACK TO here")
        tell("kept", one(connection, "SELECT count(*) FROM p3_copy"))
    connection.close()


def types():
    connection = connect()
    values = [None, True, 2**60, 5, decimal.Decimal("-0.00012"), 1e300, float("-inf"), "漢字\U0001f600 '\\", b"\x00\xff",
              datetime.date(9999, 12, 31), datetime.time(1, 2, 3), datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
              datetime.timedelta(days=40, seconds=1), [1, 2, None], [["a", "b"], ["c", "d"]], uuid.UUID(int=9),
              psycopg.types.json.Jsonb({"k": [1, None]}), ipaddress.ip_address("::1"),
              datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=3)))]
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        for value in values:
            cursor.execute("SELECT %s", (value,))
            tell("value", cursor.fetchone()[0], cursor.description[0].type_code)
        cursor.execute("SELECT '[1,5)'::int4range, '12:00+02'::timetz, '{1,2}'::int[], '1.50'::numeric, 'x'::\"char\"")
        tell("row", cursor.fetchone())
    connection.close()


def notifications():
    listener, sender = connect(autocommit=True), connect(autocommit=True)
    listener.execute("LISTEN p3_news")
    listener.execute('LISTEN "Other News"')
    for number in range(10):
        sender.execute("SELECT pg_notify('p3_news', %s)", (str(number),))
    sender.execute("NOTIFY \"Other News\", 'last'")
    heard = []
    for note in listener.notifies():
        heard.append((note.channel, note.payload))
        if note.payload == "last":
            break
    tell("heard", heard)
    with sender.transaction():
        sender.execute("NOTIFY p3_news, 'in a block'")
        sender.execute("SELECT 1")
    tell("block", next(listener.notifies()).payload)
    listener.close()
    sender.close()


def cancelling():
    connection = connect(autocommit=True)
    connection.execute("SET statement_timeout = '60ms'")
    fails("timeout", connection.execute, "SELECT pg_sleep(30)")
    connection.execute("SET statement_timeout = 0")

    def work(number):
        if number == 0:
            fails("cancelled", connection.execute, "SELECT pg_sleep(41)")
            return
        with connect(autocommit=True) as other:
            while not one(other, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(41)' AND "
                                 "wait_event = 'PgSleep' AND datname = current_database()"):
                pass
        connection.cancel()

    at_once(2, work)
    tell("afterwards", one(connection, "SELECT 5"))
    connection.cancel()
    tell("nothing to cancel", one(connection, "SELECT 6"))
    connection.close()
    idle = connect()
    idle.execute("SET idle_in_transaction_session_timeout = '50ms'")
    idle.commit()
    idle.execute("SELECT 1")
    with connect(autocommit=True) as other:
        other.execute("SELECT pg_sleep(0.3)")
    fails("idle too long", idle.execute, "SELECT 2")
    tell("broken", idle.closed, idle.broken)


def reconnects():
    for number in range(15):
        with connect() as connection:
            assert one(connection, "SELECT %s", (number,), prepare=True) == number
    connection = connect(autocommit=True)
    fails("own end", connection.execute, "SELECT pg_terminate_backend(pg_backend_pid())")
    tell("closed", connection.closed, connection.broken)
    fails("then", connection.execute, "SELECT 1")


def crowd():
    with connect() as connection:
        connection.execute("CREATE TABLE p3_crowd (who int, n int)")

    def work(number):
        with connect() as connection:
            for turn in range(12):
                with connection.transaction(force_rollback=turn % 4 == 3):
                    connection.execute("INSERT INTO p3_crowd VALUES (%s, %s)", (number, turn))
                    assert one(connection, "SELECT max(n) FROM p3_crowd WHERE who = %s", (number,)) == turn

    at_once(20, work)
    with connect() as connection:
        tell("all", connection.execute("SELECT count(*), sum(who), sum(n) FROM p3_crowd").fetchone())


logging.disable()  # whether a pipeline complains of an error it meets twice depends on what has already arrived
play([parameters, statements, blocks, pipelines, cursors, copying, types, notifications, cancelling, reconnects, crowd])
