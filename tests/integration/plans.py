"""Prepared statements whose tables change under them: the truth of PostgreSQL, or healed, never another result than
the client was told of."""

import contextlib
import threading
import time

import psycopg

import wire
from harness import check, same
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
SELECT = "SELECT * FROM planned"


def names_of(messages):
    return [[column[0] for column in wire.row_description(body)] for kind, body in messages if kind == "T"]


def prepared(client, name="mine"):
    answer = client.ask(wire.parse(name, SELECT) + wire.describe("S", name) + wire.SYNC)
    same(wire.sqlstates(answer), [])
    return names_of(answer)[0]


def used(client, name="mine", told=False):
    described = wire.describe("P", "") if told else b""
    return client.ask(wire.bind("", name) + described + wire.execute() + wire.SYNC)


@contextlib.contextmanager
def elsewhere(t, subject, client):
    """Meanwhile the server that `client` had last is lent to somebody else, and there is only one more."""
    pid = client.value("SELECT pg_backend_pid()")
    keepers = []
    for _ in range(2):
        keeper = t.wire(on=subject)
        keeper.query("BEGIN")
        keepers.append((keeper, keeper.value("SELECT pg_backend_pid()")))
    for keeper, own in keepers:
        if own != pid:
            keeper.query("COMMIT")
    check(any(own == pid for _, own in keepers), f"the server {pid} is taken: {keepers}")
    yield
    for keeper, own in keepers:
        if own == pid:
            keeper.query("COMMIT")
        keeper.close()


def alter(t, sql):
    """By a client of PostgreSQL's own: pgmend does not see it."""
    t.admin(f"SET ROLE app; {sql}")


def table(t):
    alter(t, "DROP TABLE IF EXISTS planned; CREATE TABLE planned (a int); INSERT INTO planned VALUES (1)")


def refused_as_by_postgres(messages):
    same(wire.kinds(messages), "EZ")
    fields = wire.error_fields(messages[0][1])
    same((fields["S"], fields["C"], fields["M"], fields["R"]),
         ("ERROR", "0A000", "cached plan must not change result type", "RevalidateCachedQuery"))
    same(wire.statuses(messages), "I")


@test("plans: what PostgreSQL itself says when a described result has changed")
def told_by_postgres(t):
    table(t)
    client = t.wire()
    same(prepared(client), ["a"])
    alter(t, "ALTER TABLE planned ADD COLUMN b int DEFAULT 2")
    refused_as_by_postgres(used(client))
    # And again: the statement stays what it was. Prepared anew it is another one.
    refused_as_by_postgres(used(client))
    same(prepared(client, "again"), ["a", "b"])
    same(wire.rows_of(used(client, "again")), [["1", "2"]])


@test("plans: on another server a changed result is no silent one: who decodes by what it was told gets PostgreSQL's error",
      subjects=PGMEND)
def no_silent_change(t):
    for after in ("unseen", "seen"):
        table(t)
        subject = t.own("plans-" + after, pool_size=2)
        client, other = t.wire(on=subject), t.wire(on=subject)
        same(prepared(client), ["a"])
        change = "ALTER TABLE planned ADD COLUMN b int DEFAULT 2"
        if after == "seen":
            other.query(change)
        else:
            alter(t, change)
        with elsewhere(t, subject, client):
            refused_as_by_postgres(used(client))
            refused_as_by_postgres(used(client))
            same(prepared(client, "again"), ["a", "b"])
            same(wire.rows_of(used(client, "again")), [["1", "2"]])
        same(wire.rows_of(used(client, "again")), [["1", "2"]])
        metrics = subject.http("/metrics")[1]
        check('pgmend_stale_plans_total{outcome="result_changed"}' in metrics, "it is counted")


@test("plans: who is told of the result in the same flight gets the new one, on every server, without an error",
      subjects=PGMEND)
def renewed(t):
    table(t)
    subject = t.own("renewed", pool_size=2)
    client = t.wire(on=subject)
    same(prepared(client), ["a"])
    same(wire.rows_of(used(client)), [["1"]])
    alter(t, "ALTER TABLE planned ADD COLUMN b int DEFAULT 2")
    answer = used(client, told=True)  # this server knows the statement as it was
    same((wire.kinds(answer), names_of(answer), wire.rows_of(answer)), ("2TDCZ", [["a", "b"]], [["1", "2"]]))
    with elsewhere(t, subject, client):
        answer = used(client, told=True)
        same((names_of(answer), wire.rows_of(answer)), ([["a", "b"]], [["1", "2"]]))
    refused_as_by_postgres(used(client))
    metrics = subject.http("/metrics")[1]
    check('pgmend_stale_plans_total{outcome="renewed"}' in metrics, "it is counted")


@test("plans: who names a format for each column he knows gets PostgreSQL's error for a stale plan, not another one",
      subjects=PGMEND)
def formats(t):
    table(t)
    alter(t, "ALTER TABLE planned ADD COLUMN b int DEFAULT 2")
    subject = t.own("formats", pool_size=2)
    client = t.wire(on=subject)
    same(prepared(client), ["a", "b"])

    def fixed():
        return client.ask(wire.bind("", "mine", results=(0, 1)) + wire.describe("P", "") + wire.execute() + wire.SYNC)

    same(wire.kinds(fixed()), "2TDCZ")
    alter(t, "ALTER TABLE planned ADD COLUMN c int DEFAULT 3")
    refused_as_by_postgres(fixed())
    with elsewhere(t, subject, client):
        refused_as_by_postgres(fixed())


@test("plans: DDL that leaves the result as it was is no change, there and elsewhere", subjects=PGMEND)
def unchanged(t):
    table(t)
    subject = t.own("unchanged", pool_size=2)
    client = t.wire(on=subject)
    same(prepared(client), ["a"])
    for sql in ("CREATE INDEX ON planned (a)", "ALTER TABLE planned ALTER a SET DEFAULT 5", "ANALYZE planned",
                "DROP TABLE planned; CREATE TABLE planned (a int); INSERT INTO planned VALUES (1)"):
        alter(t, sql)
        same(wire.rows_of(used(client)), [["1"]])
        with elsewhere(t, subject, client):
            same(wire.rows_of(used(client)), [["1"]])


@test("plans: in a block, where an error has undone what went before, PostgreSQL's own error is passed on", subjects=PGMEND)
def in_block(t):
    table(t)
    subject = t.own("block", pool_size=2)
    client = t.wire(on=subject)
    same(prepared(client), ["a"])
    same(wire.rows_of(used(client)), [["1"]])
    alter(t, "ALTER TABLE planned ADD COLUMN b int DEFAULT 2")
    client.query("BEGIN")
    answer = used(client)
    same((wire.sqlstates(answer), wire.statuses(answer)), (["0A000"], "E"))
    same(wire.statuses(client.query("ROLLBACK")), "I")
    # The same where the block begins in that flight, and is to end in it: what went before has been answered.
    begin, commit = (wire.parse("", word) + wire.bind("", "") + wire.execute() for word in ("BEGIN", "COMMIT"))
    run = wire.bind("", "mine") + wire.describe("P", "") + wire.execute()
    for flight in (begin + run + wire.SYNC, begin + run + commit + wire.SYNC):
        answer = client.ask(flight)
        same((wire.sqlstates(answer), wire.statuses(answer)), (["0A000"], "E"))
        same(wire.statuses(client.query("ROLLBACK")), "I")


@test("plans: a write is done once when its statement is parsed anew for it", subjects=PGMEND)
def written_once(t):
    table(t)
    subject = t.own("once", pool_size=2)
    client = t.wire(on=subject)
    client.ask(wire.parse("w", "INSERT INTO planned (a) VALUES (7) RETURNING *") + wire.SYNC)
    run = wire.bind("", "w") + wire.describe("P", "") + wire.execute() + wire.SYNC
    same(names_of(client.ask(run)), [["a"]])
    alter(t, "ALTER TABLE planned ADD COLUMN b int DEFAULT 2")
    same(names_of(client.ask(run)), [["a", "b"]])
    same(t.admin("SELECT count(*) FROM planned WHERE a = 7"), [(2,)])
    # A pipeline of several groups is not sent again: what follows the error has run.
    alter(t, "ALTER TABLE planned ADD COLUMN c int DEFAULT 3")
    insert = wire.parse("", "INSERT INTO planned (a) VALUES (8)") + wire.bind("", "") + wire.execute() + wire.SYNC
    answer = client.ask(run + insert, count=2)
    same(wire.sqlstates(answer), ["0A000"])
    same(t.admin("SELECT (SELECT count(*) FROM planned WHERE a = 7), (SELECT count(*) FROM planned WHERE a = 8)"), [(2, 1)])


@test("plans: clients without any code for it work on while their table is altered again and again", subjects=PGMEND,
      seconds=60)
def naive(t):
    table(t)
    subject = t.own("naive", pool_size=4)
    over = threading.Event()
    errors, done = [], [0] * 8

    def work(number):
        with psycopg.connect(**t.conninfo(on=subject), autocommit=True, prepare_threshold=0) as connection:
            while not over.is_set():
                try:
                    cursor = connection.execute(SELECT + " WHERE a = %s", (1,))
                    row = cursor.fetchone()
                    check(row[0] == 1 and len(row) == len(cursor.description), f"{row}")
                    done[number] += 1
                except Exception as error:  # a thread has nobody to raise to
                    errors.append(repr(error))
                    return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    try:
        for turn in range(20):
            alter(t, f"ALTER TABLE planned ADD COLUMN c{turn} int")
            before = list(done)
            deadline = time.monotonic() + 20
            while not errors and any(now < then + 5 for now, then in zip(done, before)):
                check(time.monotonic() < deadline, f"all work on: {done}")
                time.sleep(0.01)
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    same(errors, [])
    print(f"    {sum(done)} answers, none an error, through 20 changes of the table")
