"""Reads that standbys answer (reads.mode): which ones, what their client has written, and what becomes of them."""

import contextlib
import threading
import time

import wire
from clusters import Cluster, crash
from harness import check, poll, same, tail
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)

# Says where it runs. Its text is in the catalog, where it is known only to read.
WHERE = "SELECT standby FROM here"


def begin(t, name, mode="prefer_standby", standbys=1, max_lag="30s", **more):
    """A cluster with a table and a view that tells who answers, and a pgmend that looks at it often."""
    cluster = Cluster(t, standbys=standbys)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int); INSERT INTO kept VALUES (0);"
                "CREATE VIEW here AS SELECT pg_is_in_recovery() AS standby")
    cluster.caught_up()
    settings = {"reads": {"mode": mode, "max_lag": max_lag}, "health": {"interval": "100ms"}, **more}
    subject = t.own(name, url=cluster.url(), settings=settings)
    return cluster, subject


def routes(subject):
    """How many requests went each way."""
    counted = {}
    for line in subject.http("/metrics")[1].splitlines():
        if line.startswith("pgmend_reads_total{"):
            counted[line.split('route="')[1].split('"')[0]] = int(float(line.rsplit(" ", 1)[1]))
    return counted


def answered_by_standby(client):
    return client.rows(WHERE) == [["t"]]


def prepared(client, name, sql):
    """By the extended protocol, in a group of its own; of a statement without a name its Parse too."""
    ahead = b"" if name else wire.parse("", sql)
    return wire.rows_of(client.ask(ahead + wire.bind("", name) + wire.describe("P", "") + wire.execute("") + wire.SYNC))


@test("reads: what only reads is answered by standbys in both protocols, everything else by the primary", subjects=PGMEND,
      seconds=120)
def which(t):
    cluster, subject = begin(t, "which", standbys=2, listen={"max_channels": 100})
    client = t.wire(on=subject)
    poll(lambda: answered_by_standby(client), f"a standby answers: {routes(subject)}\n{tail(subject.log)}", 30)
    same(prepared(client, "", WHERE), [["t"]], "an unnamed statement")
    client.ask(wire.parse("where", WHERE) + wire.SYNC)
    same(prepared(client, "where", WHERE), [["t"]], "a named one")
    same(client.rows("SELECT a FROM kept"), [["0"]])
    client.rows("SET application_name = 'reader'; SET timezone = 'Asia/Tokyo'")
    poll(lambda: answered_by_standby(client), "settings go with the client", 30)
    same(client.rows("SELECT timestamptz '2020-01-01 00:00+00' || ''"), [["2020-01-01 09:00:00+09"]])
    at_primary = [
        "BEGIN", WHERE, "COMMIT",
        "BEGIN READ ONLY", WHERE, "COMMIT",
        f"{WHERE} FOR UPDATE OF kept".replace("FROM here", "FROM here, kept"),
        f"WITH new AS (INSERT INTO kept SELECT -1 WHERE false RETURNING a) {WHERE}",
        "SELECT pg_is_in_recovery()",
    ]
    for sql in at_primary:
        rows = client.rows(sql)
        check(rows in ([], [["f"]]), f"{sql} is answered by the primary: {rows}")
    # What a session has is nowhere else.
    pinned = t.wire(on=subject)
    pinned.rows("CREATE TEMP TABLE kept (a int)")
    for _ in range(20):
        same(pinned.rows("SELECT count(*) FROM kept"), [["0"]], "its own table")
    hearing = t.wire(on=subject)
    hearing.rows("LISTEN something")

    def is_state():
        same(hearing.rows(WHERE), [["f"]], "who listens")
        return routes(subject)["session_state"] > 0

    poll(is_state, "it is its state that keeps it, when a standby has all it has written", 30)
    counted = routes(subject)
    for route in ("standby", "not_a_read", "about_server", "session_state"):
        check(counted.get(route, 0) > 0, f"{route} is counted: {counted}")


@test("reads: a client always reads what it has written, from a standby that is late or from the primary", subjects=PGMEND,
      seconds=180)
def own_writes(t):
    cluster, subject = begin(t, "writes", standbys=2)
    client = t.wire(on=subject)
    poll(lambda: answered_by_standby(client), "a standby answers", 30)
    number = 0
    end = time.monotonic() + 15
    late = cluster.servers[1:]
    paused = False
    while time.monotonic() < end or routes(subject).get("own_write", 0) == 0:
        if number % 50 == 0:
            paused = not paused
            for standby in late:
                cluster.sql("SELECT pg_wal_replay_pause()" if paused else "SELECT pg_wal_replay_resume()", on=standby)
        number += 1
        way = number % 3
        if way == 0:
            client.rows(f"UPDATE kept SET a = {number}")
        elif way == 1:
            client.rows("BEGIN")
            client.rows(f"UPDATE kept SET a = {number}")
            client.rows("COMMIT")
        else:
            prepared(client, "", f"UPDATE kept SET a = {number} RETURNING a")
        for _ in range(3):
            same(client.rows("SELECT a FROM kept"), [[str(number)]], f"its own write: {routes(subject)}")
        check(time.monotonic() < end + 60, f"a write is waited for: {routes(subject)}")
    for standby in late:
        cluster.sql("SELECT pg_wal_replay_resume()", on=standby)
    poll(lambda: answered_by_standby(client), "a standby that has caught up answers again", 30)
    same(client.rows("SELECT a FROM kept"), [[str(number)]])


@test("reads: a standby behind by more than reads.max_lag is not read from until it has caught up", subjects=PGMEND, seconds=120)
def lagging(t):
    cluster, subject = begin(t, "lagging", max_lag="1s")
    client = t.wire(on=subject)
    standby = cluster.servers[1]
    poll(lambda: answered_by_standby(client), "the standby answers", 30)
    cluster.sql("SELECT pg_wal_replay_pause()", on=standby)
    stop = threading.Event()

    def write():
        with cluster.primary.admin("app") as admin:
            while not stop.wait(0.05):
                admin.execute("UPDATE kept SET a = a + 1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        poll(lambda: not answered_by_standby(client), f"it is too far behind: {routes(subject)}", 30)
        for _ in range(50):
            same(client.rows(WHERE), [["f"]], "and stays so")
        check(routes(subject).get("lagging", 0) > 0, f"it is counted: {routes(subject)}")
        cluster.sql("SELECT pg_wal_replay_resume()", on=standby)
        poll(lambda: answered_by_standby(client), f"it is near again: {routes(subject)}", 30)
    finally:
        stop.set()
        writer.join()


@test("reads: a standby that dies under its readers, or cancels them, costs nobody an error", subjects=PGMEND, seconds=180)
def dies(t):
    cluster, subject = begin(t, "dies", standbys=2)
    first, second = cluster.servers[1:]
    client = t.wire(on=subject)
    poll(lambda: answered_by_standby(client), "a standby answers", 30)
    stop, wrong, counts = threading.Event(), [], [0] * 6

    def read(number):
        try:
            with contextlib.closing(t.wire(on=subject)) as reader:
                while not stop.is_set():
                    same(reader.rows("SELECT sum(g) FROM generate_series(1, 20000) g, kept"), [["200010000"]])
                    counts[number] += 1
        except Exception as error:  # a thread has nobody to raise to
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for server in (first, second, first):
        before = sum(counts)
        poll(lambda: wrong or sum(counts) > before + 100, "they read", 30)
        crash(server)
        before = sum(counts)
        poll(lambda: wrong or sum(counts) > before + 100, "they go on", 30)
        server.start()
    stop.set()
    for thread in threads:
        thread.join(30)
    same(wrong, [], "nobody was told anything")
    check(routes(subject).get("standby", 0) > 0, f"{routes(subject)}")
    # Replay takes the table's lock from who reads it.
    for standby in (first, second):
        with standby.admin() as admin:
            admin.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
            admin.execute("SELECT pg_reload_conf()")
    poll(lambda: answered_by_standby(client), "a standby answers", 30)
    client.send(wire.query("SELECT count(*), max(a) FROM generate_series(1, 30000000) g, kept"))
    running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%30000000%' AND state = 'active' AND pid <> pg_backend_pid()"
    poll(lambda: cluster.sql(running, on=first) or cluster.sql(running, on=second), "a standby works at it", 30)
    cluster.sql("BEGIN; LOCK TABLE kept IN ACCESS EXCLUSIVE MODE; ALTER TABLE kept ADD COLUMN b int; COMMIT")
    same(wire.rows_of(client.ready()), [["30000000", "0"]], "the primary carries it out")
    poll(lambda: routes(subject).get("standby_failed", 0) > 0, f"it is counted: {routes(subject)}", 10)


@test("reads: while there is no primary standbys answer what reads, and what writes waits for one", subjects=PGMEND, seconds=120)
def no_primary(t):
    cluster, subject = begin(t, "degraded", mode="prefer_primary", standbys=1, hold={"timeout": "60s"})
    primary, standby = cluster.servers
    reader, writer = t.wire(on=subject), t.wire(on=subject)
    for _ in range(20):
        same(reader.rows(WHERE), [["f"]], "the primary is preferred")
    same(routes(subject).get("standby", 0), 0, "no standby was read from")
    writer.rows("UPDATE kept SET a = 41")
    cluster.caught_up()
    # What is known of the standby is to be younger than the write.
    begun = time.monotonic()
    poll(lambda: time.monotonic() > begun + 1, "checks go on", 5)
    crash(primary)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(writer.query("UPDATE kept SET a = a + 1 RETURNING a")))
    thread.start()
    same(reader.rows(WHERE), [["t"]], "the standby answers")
    same(reader.rows("SELECT a FROM kept"), [["41"]])
    same(answers, [], "a write waits")
    check(routes(subject).get("no_primary", 0) >= 2, f"it is counted: {routes(subject)}")
    standby.promote()
    thread.join(60)
    same(wire.rows_of(answers[0]), [["42"]], "the write is carried out by the new primary")
    poll(lambda: reader.rows(WHERE) == [["f"]], "and reads too", 30)
    with contextlib.closing(t.wire(on=subject, database="pgbouncer")) as console:
        told = [row for row in console.rows("SHOW HEALINGS") if "reads" in row]
    check(any("begun" in row for row in told) and any("ended" in row for row in told), f"the ledger tells it: {told}")
