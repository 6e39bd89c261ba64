"""Servers that take no writes: a configuration that says so, a primary that was demoted. Writes wait and reads go on; a
client's own READ ONLY is its own."""

import contextlib
import re
import signal
import threading

import wire
from clusters import Cluster
from harness import check, poll, same, tail
from healing import judge, naive_clients
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
NONE = {"read": [], "write": [], "block": []}


def turn(cluster, value):
    """New sessions find it as soon as the postmaster has read it, others with their next statement."""
    cluster.sql(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    cluster.sql("SELECT pg_reload_conf()")
    poll(lambda: cluster.sql("SHOW default_transaction_read_only") == [(value,)], "it is in force")


def figure(subject, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", subject.http("/metrics")[1], re.M)
    return int(float(found.group(1))) if found else 0


def refused(subject, outcome):
    return figure(subject, f'pgmend_writes_refused_total{{outcome="{outcome}"}}')


def held(subject):
    return figure(subject, "pgmend_writes_held")


def all_held(subject, clients):
    """Every client that writes waits, while those that read go on."""
    writers = sum(client.kind != "read" for client in clients)
    poll(lambda: held(subject) == writers, f"{writers} writes wait: {held(subject)}\n{tail(subject.log)}", 30)
    readers = [client for client in clients if client.kind == "read"]
    before = [client.done for client in readers]
    poll(lambda: all(client.done > done + 20 for client, done in zip(readers, before)), "reads go on", 30)
    same(held(subject), writers, "and the writes wait")


@test("writes: while the configuration says read-only, writes and blocks wait and reads go on: nobody sees an error",
      subjects=PGMEND, seconds=120)
def flipped(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("flipped", url=cluster.url(), pool_size=8)
    with naive_clients(t, subject) as clients:
        for _ in range(2):
            turn(cluster, "on")
            all_held(subject, clients)
            turn(cluster, "off")
            poll(lambda: held(subject) == 0, f"they go on\n{tail(subject.log)}", 30)
    same(judge(cluster, clients), NONE)
    same(sum(client.lost_connections for client in clients), 0)
    check(refused(subject, "sent_again") >= 24, "every attempt is counted")
    same([refused(subject, outcome) for outcome in ("own_wish", "unrepeatable", "timed_out", "crowded")], [0, 0, 0, 0])
    with contextlib.closing(t.wire(on=subject, user="app", database="pgmend")) as console:
        acts = console.rows("SHOW HEALINGS")
    kinds = [word for row in acts for word in row if word in ("write_refused", "request_done", "replay", "server_lost")]
    check({"write_refused", "request_done"} == set(kinds), f"it is told, and nothing else: {set(kinds)}")
    check(kinds.count("write_refused") <= 24, "once for each request, however often it was sent")


@test("writes: connections that are opened meanwhile know whose wish it is", subjects=PGMEND, seconds=60)
def opened_meanwhile(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    turn(cluster, "on")
    subject = t.own("meanwhile", url=cluster.url(), pool_size=4)
    answers = {}

    def write(name, *statements):
        with contextlib.closing(t.wire(on=subject, timeout=60)) as client:
            answers[name] = [wire.tags(client.query(sql)) for sql in statements]

    threads = [threading.Thread(target=write, args=("alone", "INSERT INTO kept VALUES (1)")),
               threading.Thread(target=write, args=("block", "BEGIN", "SELECT 1", "INSERT INTO kept VALUES (2)", "COMMIT"))]
    for thread in threads:
        thread.start()
    poll(lambda: held(subject) == 2, f"both wait\n{tail(subject.log)}", 20)
    with contextlib.closing(t.wire(on=subject)) as reader:
        same(reader.rows("SELECT count(*) FROM kept"), [["0"]])
    turn(cluster, "off")
    for thread in threads:
        thread.join(40)
    same(answers, {"alone": [["INSERT 0 1"]], "block": [["BEGIN"], ["SELECT 1"], ["INSERT 0 1"], ["COMMIT"]]})


@test("writes: what the end of a refused block takes back is told before the client goes on", subjects=PGMEND)
def taken_back(t):
    t.admin("SET ROLE app; CREATE TABLE IF NOT EXISTS taken_back (a int)")
    client = t.wire()
    for sql in ("SET default_transaction_read_only = on", "BEGIN", "SET DateStyle = 'German'"):
        said = client.query(sql)
    check(("S", b"DateStyle\0German, DMY\0") in said, said)
    said = client.query("INSERT INTO taken_back VALUES (1)")
    same(wire.sqlstates(said), ["25006"])
    check(("S", b"DateStyle\0ISO, DMY\0") in said or ("S", b"DateStyle\0ISO, MDY\0") in said, said)
    client.query("ROLLBACK")


@test("writes: a client's own READ ONLY, its role's and its database's, gets its 25006 and nothing else", subjects=PGMEND,
      seconds=90)
def own_wish(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    cluster.sql("GRANT ALL ON kept TO other")
    cluster.sql("ALTER ROLE other SET default_transaction_read_only = on")
    subject = t.own("wish", url=cluster.url(), pool_size=4)
    write = "INSERT INTO kept VALUES (1)"

    def refuses(client, *statements):
        for sql in statements:
            same(wire.sqlstates(client.query(sql)), [], sql)
        same(wire.sqlstates(client.query(write)), ["25006"], str(statements))

    def in_every_way():
        own = t.wire(on=subject)
        for begin in ("BEGIN READ ONLY", "START TRANSACTION READ\n ONLY", "BEGIN; SET TRANSACTION ISOLATION LEVEL "
                      "REPEATABLE READ, READ ONLY", "BEGIN; SET LOCAL transaction_read_only = on"):
            refuses(own, begin, "SAVEPOINT here") if "SET" not in begin else refuses(own, *begin.split("; "))
            if "SET" not in begin:
                same(wire.sqlstates(own.query("SELECT 1")), ["25P02"])
                same(wire.tags(own.query("ROLLBACK TO here")), ["ROLLBACK"], "the block is the client's own")
            own.query("ROLLBACK")
        same(wire.sqlstates(own.query(f"BEGIN READ ONLY; {write}")), ["25006"])
        own.query("ROLLBACK")
        own.ask(wire.parse("begins", "BEGIN READ ONLY") + wire.SYNC)
        same(wire.sqlstates(own.ask(wire.bind("", "begins") + wire.execute() + wire.SYNC)), [])
        same(wire.sqlstates(own.ask(wire.run(write) + wire.SYNC)), ["25006"])
        own.query("ROLLBACK")
        own.query("SET default_transaction_read_only = on")
        refuses(own)
        refuses(own, "BEGIN", "SELECT 1")
        own.query("ROLLBACK")
        own.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        refuses(own)
        refuses(t.wire(on=subject, parameters={"default_transaction_read_only": "on"}))
        refuses(t.wire(on=subject, parameters={"options": "-c default_transaction_read_only=on"}), "BEGIN")
        reader = t.wire(on=subject, user="other")
        refuses(reader, "BEGIN", "SAVEPOINT here")
        same(wire.tags(reader.query("ROLLBACK TO here")), ["ROLLBACK"])
        reader.query("ROLLBACK")
        refuses(reader)

    in_every_way()
    # While the server refuses as well it is all the same.
    turn(cluster, "on")
    in_every_way()
    turn(cluster, "off")
    same((refused(subject, "sent_again"), held(subject)), (0, 0), "nothing has waited")
    check(refused(subject, "own_wish") > 20, "and it is counted")
    same(t.wire(on=subject).rows("SELECT count(*) FROM kept"), [["0"]])


@test("writes: what has waited for hold.timeout gets the server's own error, and goes on", subjects=PGMEND, seconds=60)
def timed_out(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("patience", url=cluster.url(), settings={"hold": {"timeout": "1s", "max_waiters": 1}})
    turn(cluster, "on")
    client = t.wire(on=subject)
    answer = client.query("INSERT INTO kept VALUES (1)")
    same(wire.sqlstates(answer), ["25006"])
    same([body for kind, body in answer if kind == "Z"], [b"I"])
    answer = client.ask(wire.run("INSERT INTO kept VALUES (1)") + wire.SYNC)
    same((wire.sqlstates(answer), answer[-1]), (["25006"], ("Z", b"I")))
    client.query("BEGIN")
    answer = client.query("INSERT INTO kept VALUES (1)")
    same((wire.sqlstates(answer), answer[-1]), (["25006"], ("Z", b"E")))
    same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
    same(wire.tags(client.query("COMMIT")), ["ROLLBACK"])
    same(refused(subject, "timed_out"), 3)
    # No more than hold.max_waiters wait.
    first, second = t.wire(on=subject), t.wire(on=subject)
    for one in (first, second):
        one.send(wire.query("INSERT INTO kept VALUES (2)"))
    same([wire.sqlstates(one.until("Z")) for one in (first, second)], [["25006"], ["25006"]])
    check(refused(subject, "crowded") >= 1, "who comes second is not kept")
    turn(cluster, "off")
    same(wire.tags(client.query("INSERT INTO kept VALUES (3)")), ["INSERT 0 1"])
    same(client.rows("SELECT a FROM kept"), [["3"]])


@test("writes: a request that waits is cancelled, and ends with its client", subjects=PGMEND, seconds=60)
def cancelled(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("cancelled", url=cluster.url())
    turn(cluster, "on")
    for begin in (None, "BEGIN", "SELECT pg_advisory_lock(7)"):
        client = t.psycopg(on=subject, autocommit=True)
        if begin:
            client.execute(begin)
        codes = []

        def write():
            try:
                client.execute("INSERT INTO kept VALUES (1)")
            except Exception as error:  # a thread has nobody to raise to
                codes.append(getattr(error, "sqlstate", str(error)))

        thread = threading.Thread(target=write)
        thread.start()
        poll(lambda: held(subject) == 1, f"it waits ({begin})\n{tail(subject.log)}", 20)

        def cancelled_by_now():
            # One that comes while the write is being tried is the server's, and may come too late there.
            client.cancel()
            thread.join(0.2)
            return not thread.is_alive()

        poll(cancelled_by_now, f"it is cancelled ({begin})\n{tail(subject.log)}", 40)
        same(codes, ["57014"], f"{begin}")
        if begin == "BEGIN":
            client.execute("ROLLBACK")
        same(client.execute("SELECT 1").fetchone(), (1,))
        client.close()
    gone = t.wire(on=subject)
    gone.send(wire.query("INSERT INTO kept VALUES (1)"))
    poll(lambda: held(subject) == 1, "it waits", 20)
    gone.drop()
    poll(lambda: held(subject) == 0, "nobody waits", 20)
    turn(cluster, "off")
    same(cluster.sql("SELECT count(*) FROM kept"), [(0,)])


@test("writes: a session that keeps its server waits on it, with all it has there", subjects=PGMEND, seconds=60)
def pinned(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("pinned", url=cluster.url(), pool_size=3)
    client = t.wire(on=subject)
    client.query("CREATE TEMP TABLE mine (a int)")
    client.query("INSERT INTO mine VALUES (41)")
    turn(cluster, "on")
    same(wire.tags(client.query("INSERT INTO mine VALUES (1)")), ["INSERT 0 1"], "PostgreSQL lets it")
    client.send(wire.query("INSERT INTO kept SELECT sum(a) FROM mine"))
    poll(lambda: held(subject) == 1, f"it waits\n{tail(subject.log)}", 20)
    turn(cluster, "off")
    same(wire.tags(client.until("Z")), ["INSERT 0 1"])
    same(client.rows("SELECT a FROM kept"), [["42"]])


@test("writes: a primary that comes back as a standby and is promoted again: writes wait, and every client is served",
      subjects=PGMEND, seconds=120)
def demoted_in_place(t):
    cluster = Cluster(t, standbys=0)
    server = cluster.primary
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("demoted", url=cluster.url(), pool_size=8)
    with naive_clients(t, subject, kinds=("read", "write")) as clients:
        server.stop(signal.SIGINT)
        (server.data / "standby.signal").touch()
        server.start()
        same(cluster.sql("SELECT pg_is_in_recovery()"), [(True,)])
        all_held(subject, clients)
        cluster.sql("SELECT pg_promote(true, 60)")
    same(judge(cluster, clients), NONE)
    check("it is a standby" in subject.log.read_text(), "and it is told why")


@test("writes: a standby where there never was a primary refuses writes at once", subjects=PGMEND, seconds=60)
def standby_alone(t):
    cluster = Cluster(t, standbys=1)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    cluster.caught_up()
    for wanted in ("any", "standby"):
        cluster_url = cluster.url(ports=[cluster.servers[1].port])
        subject = t.own(f"alone_{wanted}", url=cluster_url, settings={"upstream": {"target_session_attrs": wanted}})
        client = t.wire(on=subject)
        same(wire.sqlstates(client.query("INSERT INTO kept VALUES (1)")), ["25006"])
        same(client.rows("SELECT count(*) FROM kept"), [["0"]])
        same((refused(subject, "no_primary"), refused(subject, "sent_again")), (1, 0))


@test("writes: a switchover, the old primary comes back as a standby: no single write and no read sees it", subjects=PGMEND,
      seconds=120)
def switched_over(t):
    cluster = Cluster(t, standbys=1)
    old, new = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("switched", url=cluster.url(), pool_size=8)
    with naive_clients(t, subject, kinds=("read", "write")) as clients:
        old.stop(signal.SIGINT)  # it waits until its standby has everything
        (old.data / "standby.signal").touch()
        old.start()
        new.promote()
    same(judge(cluster, clients, on=new), NONE)
