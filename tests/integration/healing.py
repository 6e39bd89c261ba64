"""Servers that crash, hang, are restarted and promoted, and clients that have no code for it."""

import contextlib
import random
import re
import signal
import threading
import time

import psycopg

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
        # tests/bench/outages measures it; here only what no stall of the machine explains is refused.
        check(delays[0] < 2000, f"the first after {delays[0]:.0f} ms")
    same(cluster.sql("SELECT count(*) FROM kept"), [(40,)])
    log = subject.log.read_text()
    check("hold_begins" in log and "hold_ends" in log, "it is told")
    metrics = subject.http("/metrics")[1]
    check('pgmend_holds_total{outcome="released"}' in metrics, "and counted")


@test("healing: who is held too long, or beyond the limit, is told so with 57P03 and stays connected",
      subjects=PGMEND, seconds=60)
def held_too_long(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("limit", url=cluster.url(), settings={"hold": {"timeout": "4s", "max_waiters": 3}})
    clients = [t.wire(on=subject) for _ in range(5)]
    for client in clients:
        client.rows("SELECT 1")
    cluster.primary.stop()
    poll(lambda: "to=down" in subject.log.read_text(), "the loss is noticed", 5)
    begun = time.monotonic()
    threads, answers = asked_while_down(t, subject, clients, "SELECT 1")
    for thread in threads:
        thread.join(20)
    at_once = [at - begun for answer, at in answers if at - begun < 3.5]
    same(len(at_once), 2, "beyond max_waiters")
    for answer, at in answers:
        fields = next(wire.error_fields(body) for kind, body in answer if kind == "E")
        same((fields["V"], fields["C"]), ("ERROR", "57P03"))
        check(str(cluster.primary.port) in fields["D"], f"the facts: {fields}")
        crowded = at - begun < 3.5
        same(fields["M"], "no server can be reached, and too many clients wait for one" if crowded
             else "no server could be reached in time")
        words = (r"Held for \d+ ms, and no more than 3 may be \(hold.max_waiters\); " if crowded
                 else r"Held for [4-9]\d\d\d ms, which is the limit \(hold.timeout\); ")
        check(re.match(words, fields["D"]) and fields["H"] == "Retry after 1 s.", fields)
        check(at - begun < 10, f"after {at - begun:.1f} s")
    cluster.primary.start()
    for client in clients:
        same(client.rows("SELECT 2"), [["2"]])


@test("healing: who is held while pgmend drains is told of both, and keeps nobody waiting longer", subjects=PGMEND,
      seconds=60)
def held_and_drained(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("leaves", url=cluster.url(), settings={"hold": {"timeout": "3s"}, "shutdown": {"drain_timeout": "50s"}})
    client = t.wire(on=subject)
    client.rows("SELECT 1")
    cluster.primary.stop()
    poll(lambda: "to=down" in subject.log.read_text(), "the loss is noticed", 10)
    client.send(wire.query("SELECT 1"))
    poll(lambda: "hold_begins" in subject.log.read_text(), "it is held", 10)
    subject.process.send_signal(signal.SIGTERM)
    same(wire.sqlstates(client.until("Z")), ["57P03"])
    same(wire.sqlstates(client.until("E")), ["57P01"])
    same(subject.process.wait(20), 0, "it ends long before drain_timeout")


@test("healing: what a server's own configuration says is nobody's setting, and nobody keeps it when it has gone",
      subjects=PGMEND, seconds=60)
def configured(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("configured", url=cluster.url(), pool_size=2)
    cluster.sql("CREATE FUNCTION hides() RETURNS void LANGUAGE sql AS $$SELECT set_config('TimeZone', 'Asia/Tokyo', false)$$")
    clients = [t.wire(on=subject) for _ in range(3)]
    own = clients[0]
    own.query("SELECT hides()")
    own.query("SET IntervalStyle = 'iso_8601'")

    def turn(value):
        cluster.sql(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        cluster.sql("SELECT pg_reload_conf()")
        for client in clients:
            told = []

            def meets():
                answer = client.query("SHOW default_transaction_read_only")
                told.extend(body.split(b"\0")[:2] for kind, body in answer if kind == "S")
                return wire.rows_of(answer) == [[value]]

            poll(meets, "everybody meets it")
            same(told[-1:], [[b"default_transaction_read_only", value.encode()]], "and is told")

    for value in ("on", "off", "on", "off"):
        turn(value)
    # What a session has set itself, hidden or not, is still its own.
    same((own.value("SHOW TimeZone"), own.value("SHOW IntervalStyle")), ("Asia/Tokyo", "iso_8601"))
    same(clients[1].value("SHOW TimeZone") == "Asia/Tokyo", False)


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


class Naive:
    """A client without any code for failures: what it was told, and what of that is true."""

    def __init__(self, t, subject, kind, number, pause=0.005):
        self.t, self.subject, self.kind, self.number, self.pause = t, subject, kind, number, pause
        self.errors, self.acknowledged, self.unknown, self.refused, self.answered = [], [], [], [], []
        self.lost_connections = 0
        self.longest = (0.0, 0.0)
        self.thread = threading.Thread(target=self.run)
        self.over = threading.Event()

    @property
    def done(self):
        return len(self.answered)

    def connect(self):
        return psycopg.connect(**self.t.conninfo(on=self.subject), autocommit=True,
                               prepare_threshold=None if self.number % 2 else 2)

    def run(self):
        connection = self.connect()
        step = 0
        while not self.over.is_set():
            step += 1
            mark = self.number * 1_000_000 + step
            begun = time.monotonic()
            try:
                getattr(self, self.kind)(connection, mark)
                self.answered.append(time.monotonic())
            except psycopg.Error as error:
                code = error.sqlstate or "closed"
                self.errors.append((code, str(error).splitlines()[0]))
                if self.kind != "read":
                    (self.unknown if code in ("08007", "closed") else self.refused).append(mark)
                if connection.closed:
                    self.lost_connections += 1
                    connection = self.connect()
                elif connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.rollback()
            took = time.monotonic() - begun
            if took > self.longest[0]:
                self.longest = (took, begun)
            time.sleep(self.pause)
        connection.close()

    def read(self, connection, mark):
        row = connection.execute("SELECT %s::int + count(*) * 0 FROM kept WHERE a < 0", (mark,)).fetchone()
        assert row == (mark,), row

    def write(self, connection, mark):
        connection.execute("INSERT INTO kept VALUES (%s)", (mark,))
        self.acknowledged.append(mark)

    def block(self, connection, mark):
        with connection.transaction():
            connection.execute("INSERT INTO kept VALUES (%s)", (mark,))
            connection.execute("SELECT count(*) FROM kept WHERE a = %s", (mark,)).fetchone()
        self.acknowledged.append(mark)


@contextlib.contextmanager
def naive_clients(t, subject, kinds=("read", "write", "block"), each=6, pause=0.005):
    """Works until the block ends; then every client is asked what it saw."""
    clients = [Naive(t, subject, kind, number, pause) for number, kind in enumerate(kinds * each, start=1)]
    for client in clients:
        client.thread.start()
    try:
        poll(lambda: all(client.done > 3 for client in clients), "the clients work", 20)
        yield clients
        before = [client.done for client in clients]
        poll(lambda: all(client.done > done + 3 for client, done in zip(clients, before)),
             f"every client works again\n{tail(subject.log)}", 30)
    finally:
        for client in clients:
            client.over.set()
        for client in clients:
            client.thread.join(40)


def judge(cluster, clients, on=None):
    """What the clients were told is what the database holds. Returns what went wrong for each kind."""
    rows = [row[0] for row in cluster.sql("SELECT a FROM kept", on=on)]
    same(len(rows), len(set(rows)), "nothing is there twice")
    present = set(rows)
    for client in clients:
        lost = set(client.acknowledged) - present
        check(not lost, f"acknowledged and lost: {sorted(lost)[:5]} ({client.kind})")
        false = set(client.refused) & present
        check(not false, f"called undone, but done: {sorted(false)[:5]} ({client.kind}: {client.errors})")
    errors = {kind: [error for client in clients if client.kind == kind for error in client.errors]
              for kind in ("read", "write", "block")}
    longest = max(client.longest for client in clients)[0]
    print(f"    {sum(client.done for client in clients)} done; errors: "
          + ", ".join(f"{kind} {len(found)}" for kind, found in errors.items())
          + f"; longest wait {longest:.2f} s; connections lost {sum(c.lost_connections for c in clients)}")
    return errors


def scenario(t, name, strike, standbys=0, settings=None, judged_on=None, strikes=1, server=None, reads=0):
    """`strikes`: how often each connection may have lost a block. `reads`: as many may be told that their answer broke
    off when a part of it had been shown."""
    cluster = Cluster(t, standbys=standbys, **(server or {}))
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own(name, url=cluster.url(), settings=settings or {}, pool_size=8)
    with naive_clients(t, subject) as clients:
        strike(cluster, subject)
    errors = judge(cluster, clients, on=cluster.servers[judged_on] if judged_on is not None else None)
    check(len(errors["read"]) <= reads and all(code == "08006" for code, _ in errors["read"]),
          f"reads saw {errors['read'][:5]}\n{tail(subject.log)}")
    for client in clients:
        check(len(client.errors) <= strikes, f"{strikes} failures each at most: {client.kind} {client.errors}")
    same(sum(client.lost_connections for client in clients), 0, "connections are kept")
    return errors


@test("healing: naive clients through a fast restart: no read and no single write sees it", subjects=PGMEND,
      seconds=120)
def naive_fast_restart(t):
    def strike(cluster, subject):
        cluster.primary.stop(signal.SIGINT)
        cluster.primary.start()

    errors = scenario(t, "fast", strike)
    same(errors["write"], [], "the server said that it did not carry them out: they were sent again")


@test("healing: naive clients through crash and restart: no read sees it, every connection is kept",
      subjects=PGMEND, seconds=120)
def naive_crash(t):
    def strike(cluster, subject):
        crash(cluster.primary)
        time.sleep(0.5)  # the outage itself
        cluster.primary.start()

    errors = scenario(t, "crash", strike)
    for code, words in errors["write"] + errors["block"]:
        check(code in ("08007", "40003"), f"{code} {words}")


@test("healing: naive clients through crash and promotion of the standby", subjects=PGMEND, seconds=120)
def naive_promote(t):
    def strike(cluster, subject):
        # Nothing that is acknowledged may be lost by the promotion itself: it is the standby's own word.
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        cluster.sql("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        cluster.sql("SELECT pg_reload_conf()")
        time.sleep(0.5)  # until commits under way before that have been followed
        crash(cluster.primary)
        cluster.servers[1].promote()

    scenario(t, "promote", strike, standbys=1, judged_on=1)


@test("healing: naive clients while all backends are terminated every second: no read and no single write sees it",
      subjects=PGMEND, seconds=120)
def naive_terminated(t):
    def strike(cluster, subject):
        for _ in range(5):
            cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            time.sleep(1)  # the second itself

    errors = scenario(t, "terminated", strike, strikes=5)
    same(errors["write"], [], "the server said that it did not carry them out: they were sent again")
    for code, words in errors["block"]:
        check(code == "40003", f"{code} {words}")


@test("healing: naive clients while idle connections are killed: no read and no single write sees it", subjects=PGMEND, seconds=120)
def naive_idle_killed(t):
    def strike(cluster, subject):
        killed = 0
        for _ in range(20):
            killed += len(cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                      "WHERE usename = 'app' AND state = 'idle' AND application_name <> 'pgmend health'"))
            time.sleep(0.1)
        check(killed > 20, f"connections were killed: {killed}")

    errors = scenario(t, "idle", strike, strikes=20)
    # A connection may have left the idle state between the look and the signal: that is a terminated block.
    same((errors["read"], errors["write"]), ([], []))
    for code, words in errors["block"]:
        check(code == "40003", f"{code} {words}")


@test("healing: naive clients while the server has no slot left for them: they wait for one", subjects=PGMEND, seconds=120)
def naive_slots(t):
    def strike(cluster, subject):
        offset = cluster.primary.log_size()
        cluster.sql("ALTER ROLE app CONNECTION LIMIT 0")
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        poll(lambda: "too many connections" in cluster.primary.log_since(offset), "logins are refused by 53300", 10)
        time.sleep(2)  # the shortage itself
        cluster.sql("ALTER ROLE app CONNECTION LIMIT -1")

    errors = scenario(t, "slots", strike)
    same((errors["read"], errors["write"]), ([], []))


@test("healing: naive clients through a server that comes and goes: hardly a read sees it, and nothing is lost or doubled",
      subjects=PGMEND, slow=True, seconds=120)
def naive_flapping(t):
    def strike(cluster, subject):
        for _ in range(4):
            crash(cluster.primary)
            cluster.primary.start()
            time.sleep(1)  # up for a while

    scenario(t, "flapping", strike, strikes=4, reads=4)


@test("healing: naive clients through a server that freezes for 10 s: nobody sees an error", subjects=PGMEND,
      slow=True, seconds=120)
def naive_freeze(t):
    def strike(cluster, subject):
        freeze(cluster.primary)
        time.sleep(10)  # the freeze itself
        thaw(cluster.primary)

    errors = scenario(t, "freeze", strike)
    same(errors, {"read": [], "write": [], "block": []})


@test("healing: a primary that froze beside a promoted standby and wakes gets no write, and its late answers are lies "
      "to nobody", subjects=PGMEND, slow=True, seconds=120)
def naive_freeze_promote(t):
    def strike(cluster, subject):
        cluster.caught_up()
        freeze(cluster.primary)
        cluster.servers[1].promote()
        poll(lambda: "newer_timeline" in subject.log.read_text(), f"it is followed\n{tail(subject.log)}", 10)
        time.sleep(1)
        thaw(cluster.primary)
        time.sleep(1)

    cluster = Cluster(t, standbys=1)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("woken", url=cluster.url(), pool_size=8)
    with naive_clients(t, subject) as clients:
        strike(cluster, subject)
    kept = {row[0] for row in cluster.sql("SELECT a FROM kept", on=cluster.servers[1])}
    stale = {row[0] for row in cluster.sql("SELECT a FROM kept")}
    told = {mark for client in clients for mark in client.acknowledged}
    only_stale = (stale - kept) & told
    # Asynchronous replication itself may lose what was acknowledged before the freeze; nothing after it.
    check(len(only_stale) <= len(clients), f"acknowledged by the stale primary: {sorted(only_stale)[:10]}")
    for client in clients:
        check(not client.errors if client.kind == "read" else len(client.errors) <= 1, f"{client.kind} {client.errors}")


@test("healing: a block whose server is lost between two statements fails once, honestly, and then as PostgreSQL's "
      "own failed blocks do", subjects=PGMEND, seconds=60)
def lost_block(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS in_block; CREATE TABLE in_block (a int)")
    for code, settings in (("40003", {"replay": {"mode": "off"}}), ("40001", {})):
        lost_block_told(t, code, t.own(f"block{code}", settings=settings))
    same(t.admin("SELECT count(*) FROM in_block"), [(0,)])


def lost_block_told(t, code, subject):
    """`code`: of a block that is not run again, or was, and the pid of its backend came out otherwise."""
    def opened():
        client = t.wire(on=subject)
        client.ask(wire.parse("mine", "SELECT $1::int + 1") + wire.SYNC)
        client.query("BEGIN")
        client.query("INSERT INTO in_block VALUES (1)")
        pid = client.value("SELECT pg_backend_pid()")
        t.admin(f"SELECT pg_terminate_backend({pid})")
        poll(lambda: not t.servers(f"pid = {pid}"), "the backend ends")
        return client

    def summary(messages):
        found = []
        for kind, body in messages:
            if kind == "E":
                found.append(wire.error_fields(body)["C"])
            elif kind == "C":
                found.append(body.rstrip(b"\0").decode())
            elif kind == "Z":
                found.append("Z" + body.decode())
        return found

    client = opened()
    same(summary(client.query("INSERT INTO in_block VALUES (2)")), [code, "ZE"])
    same(summary(client.query("SELECT 1")), ["25P02", "ZE"])
    same(summary(client.query("COMMIT")), ["ROLLBACK", "ZI"])
    same(wire.rows_of(client.ask(wire.bind("", "mine", ["41"]) + wire.execute() + wire.SYNC)), [["42"]])
    client = opened()
    same(summary(client.query("ROLLBACK")), ["ROLLBACK", "ZI"], "what is wished is no error")
    same(client.rows("SELECT 3"), [["3"]])
    client = opened()
    same(summary(client.query("COMMIT")), [code, "ZI"], "a commit that cannot be is an error")
    same(client.rows("SELECT 3"), [["3"]])
    client = opened()
    same(summary(client.ask(wire.parse("", "SELECT 1") + wire.bind("", "") + wire.execute() + wire.SYNC)),
         [code, "ZE"])
    same(summary(client.ask(wire.parse("", "SELECT 1") + wire.bind("", "") + wire.execute() + wire.SYNC)),
         ["25P02", "ZE"])
    same(summary(client.ask(wire.parse("", "ROLLBACK") + wire.bind("", "") + wire.execute() + wire.SYNC)),
         ["ROLLBACK", "ZI"])
    same(client.rows("SELECT 3"), [["3"]])


@test("healing: a write whose server dies without a word is unknown, and said so with 08007 and the facts",
      subjects=PGMEND, seconds=60)
def unknown_write(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS unknown; CREATE TABLE unknown (a int)")
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("unknown", url=cluster.url())
    client = t.wire(on=subject)
    client.send(wire.query("INSERT INTO kept SELECT 1 FROM pg_sleep(30)"))
    poll(lambda: cluster.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%'"), "it runs")
    crash(cluster.primary)
    kind, body = client.receive()
    while kind == "N":
        kind, body = client.receive()
    fields = wire.error_fields(body)
    same((kind, fields["V"], fields["C"]), ("E", "ERROR", "08007"))
    check(str(cluster.primary.port) in fields["D"], f"{fields}")
    same(client.receive(), ("Z", b"I"))
    cluster.primary.start()
    same(client.rows("SELECT count(*) FROM kept"), [["0"]])


@test("healing: a refused write makes the server prove at once what it is", subjects=PGMEND, seconds=60)
def refused_write(t):
    subject = t.own("refused", settings={"health": {"interval": "1h"}})

    def looks():
        return int(float(re.search(r'pgmend_probes_total\{result="ok"\} (\S+)', subject.http("/metrics")[1]).group(1)))

    poll(lambda: looks() > 0, "the first look is over")
    client = t.wire(on=subject)
    # As a server says it that has become a standby or takes no writes; a client's own READ ONLY says nothing of it.
    client.query("SET default_transaction_read_only = on")
    before = looks()
    same(wire.sqlstates(client.query("CREATE TABLE never (a int)")), ["25006"])
    poll(lambda: looks() > before, "it is asked")


@test("healing: a commit that was answered stands, wherever behind it the server takes its leave", subjects=PGMEND, seconds=90)
def answered_commit(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS committed; CREATE TABLE committed (a int)")
    subject = t.own("answered")
    commit = wire.parse("", "COMMIT") + wire.bind("", "") + wire.execute()

    def kept(mark):
        return t.admin(f"SELECT 1 FROM committed WHERE a = {mark}") != []

    def opened(mark):
        client = t.wire(on=subject)
        client.query("BEGIN")
        client.query(f"INSERT INTO committed VALUES ({mark})")
        return client, client.value("SELECT pg_backend_pid()")

    def terminate(pid):
        t.admin(f"SELECT pg_terminate_backend({pid})")
        poll(lambda: not t.servers(f"pid = {pid}"), "the backend ends")

    # Its Sync has not come yet: what ends a transaction in the extended protocol is final before that.
    client, pid = opened(1)
    client.send(commit + wire.FLUSH)
    client.until("C")
    terminate(pid)
    same([(kind, body) for kind, body in client.ask(wire.SYNC)], [("Z", b"I")])
    check(kept(1), "it is there")
    same(client.rows("SELECT 2"), [["2"]])
    # The group goes on behind the end of the transaction, on another server.
    client, pid = opened(2)
    client.send(commit + wire.FLUSH)
    client.until("C")
    terminate(pid)
    same(wire.rows_of(client.ask(wire.run("SELECT 3") + wire.SYNC)), [["3"]])
    # The next transaction was open already: it is lost, and the client hears of that at its next statement.
    client, pid = opened(3)
    client.send(wire.parse("", "COMMIT AND CHAIN") + wire.bind("", "") + wire.execute() + wire.FLUSH)
    client.until("C")
    terminate(pid)
    same([(kind, body) for kind, body in client.ask(wire.SYNC)], [("Z", b"E")])
    same(wire.sqlstates(client.query("SELECT 1")), ["40003"])
    client.query("ROLLBACK")
    check(kept(3), "it is there")
    # At any moment, among them those between the end of the transaction and its ReadyForQuery.
    chance = random.Random(t.run.options.seed)
    with t.postgres.admin() as admin:
        for mark in range(10, 160):
            client, pid = opened(mark)
            killer = threading.Timer(chance.uniform(0, 0.0015), admin.execute, (f"SELECT pg_terminate_backend({pid})",))
            killer.start()
            codes = wire.sqlstates(client.ask(commit + wire.SYNC))
            killer.join()
            if codes != ["08007"]:
                # Before its COMMIT came the transaction was run again, and the pid it was shown is another one now.
                told = [] if kept(mark) else codes if codes in (["40003"], ["40001"]) else "40003 or 40001"
                same(codes, told, f"of {mark}")
            client.close()
