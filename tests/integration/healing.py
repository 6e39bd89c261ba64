"""Servers that crash, hang, are restarted and promoted, and clients that have no code for it."""

import contextlib
import signal
import threading
import time

import wire
from clusters import Cluster, crash, freeze, thaw
from harness import check, poll, same, tail
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def served(t, subject, sql, timeout=30):
    """The first answer a fresh client gets."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with contextlib.closing(t.wire(on=subject, timeout=timeout)) as client:
                return client.rows(sql)
        except (wire.Refused, wire.Closed, OSError, AssertionError):
            check(time.monotonic() < deadline, f"{sql} is not served\n{tail(subject.log)}")


@test("healing: the primary is found among several servers, wherever it stands in the list", subjects=PGMEND,
      seconds=90)
def primary_found(t):
    cluster = Cluster(t, standbys=2)
    cluster.servers = [cluster.servers[1], cluster.servers[0], cluster.servers[2]]
    subject = t.own("found", url=cluster.url())
    for _ in range(20):
        with contextlib.closing(t.wire(on=subject)) as client:
            same(client.rows("SELECT pg_is_in_recovery(), inet_server_port()"), [["f", str(cluster.primary.port)]])


@test("healing: after crash and promotion the promoted server is used, and the old primary is fenced when it returns",
      subjects=PGMEND, seconds=120)
def promoted(t):
    cluster = Cluster(t)
    old, new = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("promoted", url=cluster.url())
    served(t, subject, "INSERT INTO kept VALUES (1) RETURNING a")
    cluster.caught_up()
    crash(old)
    poll(lambda: "no_primary" in subject.log.read_text(), "the loss is noticed", 5)
    new.promote()
    begun = time.monotonic()
    same(served(t, subject, "INSERT INTO kept VALUES (2) RETURNING a"), [["2"]])
    print(f"    first write {1000 * (time.monotonic() - begun):.0f} ms after the promotion")
    # It comes back as it was and believes it is the primary still.
    old.start()
    poll(lambda: "server_fenced" in subject.log.read_text(), f"it is fenced\n{tail(subject.log)}", 5)
    for number in range(30):
        served(t, subject, f"INSERT INTO kept VALUES ({10 + number}) RETURNING a")
    same(cluster.sql("SELECT count(*) FROM kept", on=old), [(1,)], "nothing is written behind the promotion")
    same(cluster.sql("SELECT count(*) FROM kept", on=new), [(32,)], "all is written where it belongs")


def asked_while_down(t, subject, clients, sql):
    """Every client asks while there is no server; returns the threads and what each was answered, and when."""
    answers = [None] * len(clients)

    def ask(number):
        try:
            answers[number] = (clients[number].query(sql), time.monotonic())
        except Exception as error:  # a thread has nobody to raise to
            answers[number] = (error, time.monotonic())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    return threads, answers


@test("healing: what is asked while the server is away waits for it, and is answered soon after it accepts",
      subjects=PGMEND, seconds=120)
def held(t):
    cluster = Cluster(t, standbys=0)
    server = cluster.primary
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("held", url=cluster.url(), pool_size=4)
    clients = [t.wire(on=subject) for _ in range(20)]
    for client in clients:
        client.rows("SELECT 1")
    for stop in (signal.SIGINT, signal.SIGQUIT):
        server.stop(stop)
        threads, answers = asked_while_down(t, subject, clients, "INSERT INTO kept VALUES (1)")
        newcomer = t.wire(on=subject)  # a login is answered from what the server said before
        late, later = asked_while_down(t, subject, [newcomer], "SELECT 40 + 2")
        time.sleep(1)  # the outage itself
        check(all(answer is None for answer in answers), f"nobody was told anything: {answers}")
        check(subject.http("/ready")[0] == 200, "/ready")
        server.start()  # returns when it has answered
        accepts = time.monotonic()
        for thread in threads + late:
            thread.join(20)
        for answer, _ in answers:
            same(wire.tags(answer), ["INSERT 0 1"])
        same(wire.rows_of(later[0][0]), [["42"]])
        delays = sorted(1000 * (at - accepts) for _, at in answers)
        print(f"    after it accepted: first {delays[0]:.0f} ms, last {delays[-1]:.0f} ms")
        check(delays[0] < 200, f"the first after {delays[0]:.0f} ms")
    same(cluster.sql("SELECT count(*) FROM kept"), [(40,)])
    log = subject.log.read_text()
    check("hold_begins" in log and "hold_ends" in log, "it is told")
    metrics = subject.http("/metrics")[1]
    check('pgmend_holds_total{outcome="released"}' in metrics, "and counted")


@test("healing: who is held too long, or beyond the limit, is told so with 57P03 and stays connected",
      subjects=PGMEND, seconds=60)
def held_too_long(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("limit", url=cluster.url(), settings={"hold": {"timeout": "1s", "max_waiters": 3}})
    clients = [t.wire(on=subject) for _ in range(5)]
    for client in clients:
        client.rows("SELECT 1")
    cluster.primary.stop()
    poll(lambda: "to=down" in subject.log.read_text(), "the loss is noticed", 5)
    begun = time.monotonic()
    threads, answers = asked_while_down(t, subject, clients, "SELECT 1")
    for thread in threads:
        thread.join(10)
    at_once = [at - begun for answer, at in answers if at - begun < 0.5]
    same(len(at_once), 2, "beyond max_waiters")
    for answer, at in answers:
        fields = next(wire.error_fields(body) for kind, body in answer if kind == "E")
        same((fields["V"], fields["C"]), ("ERROR", "57P03"))
        check(str(cluster.primary.port) in fields["D"], f"the facts: {fields}")
        check(at - begun < 3, f"after {at - begun:.1f} s")
    cluster.primary.start()
    for client in clients:
        same(client.rows("SELECT 2"), [["2"]])


@test("healing: a login waits for a server when none has told yet what to greet it with", subjects=PGMEND,
      seconds=60)
def login_held(t):
    cluster = Cluster(t, standbys=0)
    cluster.primary.stop()
    subject = t.own("early", url=cluster.url(), only_live=True)
    answers = []

    def enter():
        with contextlib.closing(t.wire(on=subject, timeout=30)) as client:
            answers.append(client.rows("SELECT 7"))

    threads = [threading.Thread(target=enter) for _ in range(30)]
    for thread in threads:
        thread.start()
    time.sleep(1)  # the outage itself
    same(answers, [])
    cluster.primary.start()
    for thread in threads:
        thread.join(20)
    same(answers, [[["7"]]] * 30)


@test("healing: 200 clients that ask through an outage are all served, by few servers and without a storm",
      subjects=PGMEND, seconds=120)
def herd(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("herd", url=cluster.url(), pool_size=10)
    clients = [t.wire(on=subject, timeout=60) for _ in range(200)]
    cluster.primary.stop(signal.SIGQUIT)
    threads, answers = asked_while_down(t, subject, clients, "SELECT 5")
    time.sleep(1)  # the outage itself
    offset = cluster.primary.log_size()
    cluster.primary.start()
    accepts = time.monotonic()
    for thread in threads:
        thread.join(30)
    for answer, _ in answers:
        same(wire.rows_of(answer), [["5"]])
    delays = sorted(1000 * (at - accepts) for _, at in answers)
    print(f"    after it accepted: first {delays[0]:.0f} ms, median {delays[100]:.0f} ms, last {delays[-1]:.0f} ms")
    check("too many" not in cluster.primary.log_since(offset), "no storm of logins")
