"""CancelRequest reaches the statement it was meant for, or nothing."""

import random
import socket
import threading
import time

import psycopg
import wire
from harness import POSTGRES_BIN, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


def send_cancel(t, pid, key, wait=True):
    """One CancelRequest on a connection of its own; returns when the peer has closed it."""
    client = wire.Wire(t.host, t.port)
    client.send(wire.cancel(pid, key))
    if wait:
        check(client.at_end(), "the cancel connection is closed")
    client.drop()


def sleeping(t, marker):
    poll(lambda: t.servers(f"state = 'active' AND query LIKE '%{marker}%'"), f"{marker} is running")


@test("cancel: a running statement ends with 57014, its session lives on")
def plain(t):
    client = t.wire()
    for message in (wire.query("SELECT pg_sleep(20), 'plain'"), wire.run("SELECT pg_sleep(20), 'plain'") + wire.SYNC):
        client.send(message)
        sleeping(t, "plain")
        send_cancel(t, client.pid, client.key)
        answer = client.ready()
        same(wire.sqlstates(answer), ["57014"])
        same(client.rows("SELECT 1"), [["1"]])
    client.query("BEGIN")
    client.send(wire.query("SELECT pg_sleep(20), 'plain'"))
    sleeping(t, "plain")
    send_cancel(t, client.pid, client.key)
    same(wire.statuses(client.ready()), "E")
    same(wire.statuses(client.query("ROLLBACK")), "I")


@test("cancel: psycopg and psql cancel what they run")
def drivers(t):
    connection = t.psycopg(autocommit=True)
    timer = threading.Thread(target=lambda: (sleeping(t, "by psycopg"), connection.cancel()))
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(20), 'by psycopg'")
        raise AssertionError("it was not cancelled")
    except psycopg.errors.QueryCanceled:
        pass
    timer.join()
    same(connection.execute("SELECT 1").fetchone(), (1,))
    psql = t.start(POSTGRES_BIN / "psql", "-X", "-At", "-c", "SELECT pg_sleep(20), 'by psql'", "-c", "SELECT 'after'",
                   stdout=-1, stderr=-2, text=True)
    sleeping(t, "by psql")
    psql.send_signal(2)
    output, _ = psql.communicate(timeout=15)
    check("canceling statement due to user request" in output, output)


@test("cancel: an idle client's cancel does nothing, now or to its next statement", pool=1)
def idle(t):
    client = t.wire()
    for _ in range(30):
        send_cancel(t, client.pid, client.key)
        same(client.rows("SELECT 1"), [["1"]])
        same(client.rows("SELECT pg_sleep(0.002)"), [[""]])


@test("cancel: a stale one never hits the next client on the same server", pool=1)
def stale(t):
    victim = t.wire()
    finished = [t.wire() for _ in range(10)]
    for client in finished:
        client.rows("SELECT 1")
    victim.send(wire.query("SELECT pg_sleep(1), 'victim'"))
    sleeping(t, "victim")
    for client in finished:
        send_cancel(t, client.pid, client.key)
    for client in finished[:5]:
        client.close()
        send_cancel(t, client.pid, client.key)
    same(wire.rows_of(victim.ready()), [["", "victim"]])


@test("cancel: wrong keys, unknown pids and odd requests are ignored")
def wrong_key(t):
    victim = t.wire()
    victim.send(wire.query("SELECT pg_sleep(0.7), 'unharmed'"))
    sleeping(t, "unharmed")
    pick = random.Random(4)
    for _ in range(50):
        send_cancel(t, victim.pid, pick.randbytes(4))
        send_cancel(t, pick.randint(1, 1 << 30), victim.key)
    send_cancel(t, 0, b"\0\0\0\0")
    for data in (wire.cancel(victim.pid, b""), wire.cancel(victim.pid, b"ab"), wire.cancel(victim.pid, b"x" * 300)):
        client = wire.Wire(t.host, t.port, timeout=5)
        client.send(data)
        check(client.at_end(), "an odd cancel request is closed")
    same(wire.rows_of(victim.ready()), [["", "unharmed"]])


@test("cancel: a client that waits for a server is answered 57014 or served, never wedged", pool=1,
      subjects=("pgmend",))
def waiting(t):
    holder = t.wire()
    holder.query("BEGIN")
    waiter = t.wire()
    waiter.send(wire.query("SELECT 'waited'"))
    send_cancel(t, waiter.pid, waiter.key)
    holder.query("COMMIT")
    answer = waiter.ready()
    check(wire.sqlstates(answer) == ["57014"] or wire.rows_of(answer) == [["waited"]], f"{answer}")
    same(waiter.rows("SELECT 1"), [["1"]])


@test("cancel: works when the pool is full", pool=2)
def full_pool(t):
    sleepers = [t.wire() for _ in range(2)]
    for number, sleeper in enumerate(sleepers):
        sleeper.send(wire.query(f"SELECT pg_sleep(30), 'sleeper {number}'"))
        sleeping(t, f"sleeper {number}")
    queue = [t.wire() for _ in range(5)]
    for client in queue:
        client.send(wire.query("SELECT 'queued'"))
    begun = time.monotonic()
    for sleeper in sleepers:
        send_cancel(t, sleeper.pid, sleeper.key)
    for sleeper in sleepers:
        same(wire.sqlstates(sleeper.ready()), ["57014"])
    for client in queue:
        same(wire.rows_of(client.ready()), [["queued"]])
    check(time.monotonic() - begun < 10, "soon")


@test("cancel: in a pipeline it ends one Sync group, the others run")
def pipeline(t):
    client = t.wire()
    client.send(wire.run("SELECT pg_sleep(20), 'in pipeline'") + wire.SYNC + wire.run("SELECT 2") + wire.SYNC
                + wire.query("SELECT 3"))
    sleeping(t, "in pipeline")
    send_cancel(t, client.pid, client.key)
    answer = client.ready(3)
    same(wire.sqlstates(answer), ["57014"])
    same(wire.statuses(answer), "III")
    same([row for kind, body in answer if kind == "D" for row in wire.data_row(body)], [b"2", b"3"])


@test("cancel: COPY in both directions")
def copies(t):
    client = t.wire()
    client.query("CREATE TEMP TABLE cc (a text)")
    client.send(wire.query("COPY cc FROM STDIN"))
    client.until("G")
    client.send(wire.copy_data("one\n"))
    sleeping(t, "COPY cc FROM")
    send_cancel(t, client.pid, client.key)
    # PostgreSQL notices while it waits for more data; the rest of the copy is swallowed.
    client.send(wire.copy_data("two\n") + wire.COPY_DONE)
    answer = client.ready()
    check(wire.sqlstates(answer) in (["57014"], []), f"{answer}")
    client.send(wire.query("COPY (SELECT pg_sleep(0.001), repeat('x', 5000) FROM generate_series(1, 9000) i) TO STDOUT"))
    client.until("H")
    send_cancel(t, client.pid, client.key)
    same(wire.sqlstates(client.ready()), ["57014"])
    same(client.rows("SELECT 1"), [["1"]])


@test("cancel: a storm of 200, some abandoned, harms nobody", pool=4, workers=2, seconds=90)
def storm(t):
    bystanders = [t.wire() for _ in range(6)]
    targets = [t.wire() for _ in range(6)]
    stop = threading.Event()
    failures = []
    cancelled = []

    def bystand(client, number):
        try:
            while not stop.is_set():
                same(client.rows(f"SELECT {number} FROM pg_sleep(0.003)"), [[str(number)]])
        except Exception as error:
            failures.append(error)

    def target(client):
        try:
            while not stop.is_set():
                answer = client.query("SELECT 1 FROM pg_sleep(0.05)")
                states = wire.sqlstates(answer)
                check(states in ([], ["57014"]), f"{states}")
                cancelled.extend(states)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=bystand, args=(c, n)) for n, c in enumerate(bystanders)]
    threads += [threading.Thread(target=target, args=(c,)) for c in targets]
    for thread in threads:
        thread.start()
    pick = random.Random(7)
    try:
        for number in range(200):
            client = pick.choice(targets)
            if number % 5 == 0:
                abandoned = socket.create_connection((t.host, t.port))
                abandoned.sendall(wire.cancel(client.pid, client.key)[: pick.choice((3, 8, 12, 16))])
                abandoned.close()
            else:
                send_cancel(t, client.pid, client.key, wait=number % 3 == 0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    check(not failures, f"{failures[:3]}")
    check(cancelled, "none of 200 cancels reached its statement")
