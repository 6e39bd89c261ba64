"""The virtual session: what one client alone may know of a server that many use."""

import asyncio
import contextlib
import queue
import re

import wire
from console import console, error, one, table
from harness import PASSWORDS, check, poll, same
from registry import register
from reloading import write
from tcp_gate import TcpGate

TESTS = []
test = register(TESTS)


# ---- identity


@test("identity: a client's pid is its backend's while there is room, and its own in pg_stat_activity", pool=6)
def real_pid(t):
    clients = [t.wire(parameters={"application_name": f"client {number}"}) for number in range(6)]
    same(len({client.pid for client in clients}), 6, "each has a backend of its own")
    for turn in range(3):
        for number, client in enumerate(clients):
            same(client.value("SELECT pg_backend_pid()"), str(client.pid), f"turn {turn}")
            same(client.value("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"),
                 f"client {number}")
    # In a block, and beside others at work.
    for client in clients:
        client.query("BEGIN")
    for client in clients:
        same(client.value("SELECT pg_backend_pid()"), str(client.pid), "in a block")
        client.query("COMMIT")


@test("identity: without own_server clients share, and more clients than servers come in at once", pool=2,
      settings={"pool": {"own_server": False}}, subjects=("pgmend",))
def shared_pids(t):
    clients = [t.wire() for _ in range(5)]
    for client in clients:
        client.query("SELECT 1")
    same(t.server_counts(), {"app@app": 1})


@test("identity: a client beyond the pool comes in at once, though every server is busy", pool=2)
def beyond_the_pool(t):
    busy = [t.wire() for _ in range(2)]
    for client in busy:
        client.query("BEGIN; SELECT 1")
    third = t.wire(timeout=5)
    check(third.pid in {client.pid for client in busy} or t.direct, "the pid is that of a server")
    busy[0].query("COMMIT")
    same(third.rows("SELECT 1"), [["1"]])


@test("identity: who ends its own backend sees 57P01 and the end")
def own_end(t):
    client = t.wire()
    client.send(wire.query("SELECT pg_terminate_backend(pg_backend_pid())"))
    codes = []
    with contextlib.suppress(wire.Closed):
        while True:
            kind, body = client.receive()
            if kind == "E":
                codes.append(wire.error_fields(body)["C"])
    same(codes, ["57P01"])


# ---- sequences


@test("sequences: nobody is told what a neighbour drew, and who asks once keeps its server from then on", pool=2,
      subjects=("pgmend",), settings={"pool": {"own_server": False}})
def drawn_values(t):
    t.admin("CREATE TABLE drawn (id serial, who text); GRANT ALL ON drawn, drawn_id_seq TO app")
    with contextlib.ExitStack() as stack:
        stack.callback(t.admin, "DROP TABLE drawn")
        first, second, blocker = t.wire(), t.wire(), t.wire()
        for ask in ("SELECT lastval()", "SELECT currval('drawn_id_seq')"):
            blocker.query("BEGIN; SELECT 1")  # one server is left for the others
            asker = t.wire(parameters={"application_name": ask})
            asker.query("INSERT INTO drawn (who) VALUES ('asker')")
            first.query("INSERT INTO drawn (who) VALUES ('first')")
            same(wire.sqlstates(asker.query(ask)), ["55000"], "of a server that somebody else had meanwhile")
            asker.close()
            blocker.query("COMMIT")
            # The same statement of the same application: now the server is kept.
            again = t.wire(parameters={"application_name": ask})
            own = again.value("INSERT INTO drawn (who) VALUES ('again') RETURNING id")
            for _ in range(3):
                second.query("INSERT INTO drawn (who) VALUES ('second')")
            same(again.value(ask), own)
            again.close()
        # By the extended protocol, in the client's own group.
        blocker.query("BEGIN; SELECT 1")
        third = t.wire()
        third.query("INSERT INTO drawn (who) VALUES ('third')")
        first.query("INSERT INTO drawn (who) VALUES ('first')")
        same(wire.sqlstates(third.ask(wire.run("SELECT lastval()") + wire.SYNC)), ["55000"])
        third.close()
        # What is drawn and asked in one request is the client's own, whoever had the server before.
        fourth = t.wire()
        got = fourth.query("BEGIN; INSERT INTO drawn (who) VALUES ('fourth') RETURNING id; SELECT lastval(); COMMIT")
        rows = wire.rows_of(got)
        same(rows[0], rows[1])
        fourth.close()
        # A Query that ends its failed block before it asks.
        for number, end in enumerate(("ROLLBACK", "COMMIT", "ROLLBACK AND CHAIN")):
            fifth = t.wire(parameters={"application_name": f"fifth {number}"})
            drawer = t.wire(parameters={"application_name": f"drawer {number}"})
            drawer.query("INSERT INTO drawn (who) VALUES ('drawer')")
            fifth.query("BEGIN")
            fifth.query("SELECT 1/0")
            got = fifth.query(f"{end}; SELECT lastval()")
            same((wire.sqlstates(got), got[-1][1]), (["55000"], b"E" if "CHAIN" in end else b"I"))
            fifth.close()
            drawer.close()


# ---- notifications

SHARING = {"listen": {"max_channels": 1000}}
SHARED = "application_name = 'pgmend listen'"


def heard(client, count=1):
    """Channel, payload and pid of the next notifications."""
    found = []
    for _ in range(count):
        _, body = client.until("A")[-1]
        pid = int.from_bytes(body[:4], "big")
        channel, payload = body[4:].split(b"\0")[:2]
        found.append((channel.decode(), payload.decode(), pid))
    return found


def unpinned(t, listeners=1):
    """Waits until so many clients are told by the shared connection, and no server is kept for LISTEN."""
    def over():
        metrics = t.subject.http("/metrics")[1]
        return 'pgmend_pins{reason="listen"} 0' in metrics and f"pgmend_clients_listening {listeners}\n" in metrics

    if not t.direct:
        poll(over, "LISTEN pins nobody", 20)


@test("notifications: a hundred listeners over eight servers, none pinned, and nothing missed or told twice", pool=8, settings=SHARING)
def many_listeners(t):
    listeners = [t.wire() for _ in range(100)]
    for number, listener in enumerate(listeners):
        listener.query(f"LISTEN everybody; LISTEN channel_{number % 10}")
    unpinned(t, 100)
    if not t.direct:
        # Of this pgmend; another of these tests may have one too.
        ports = {port for port, in t.admin(f"SELECT client_port FROM pg_stat_activity WHERE {SHARED}")}
        same(len(ports & set(t.subject.local_ports())), 1)
    talker = t.wire()
    for turn in range(20):
        talker.query(f"NOTIFY everybody, 'turn {turn}'")
        talker.query(f"BEGIN; NOTIFY channel_{turn % 10}, 'one {turn}'; NOTIFY everybody, 'too {turn}'; ROLLBACK")
        talker.query(f"BEGIN; NOTIFY channel_{turn % 10}, 'two {turn}'; COMMIT")
    for number, listener in enumerate(listeners):
        expected = []
        for turn in range(20):
            expected.append(("everybody", f"turn {turn}"))
            if turn % 10 == number % 10:
                expected.append((f"channel_{number % 10}", f"two {turn}"))
        same([one[:2] for one in heard(listener, len(expected))], expected, f"listener {number}")
        # Nothing follows it.
        same([kind for kind, _ in listener.query("SELECT 1") if kind == "A"], [])


@test("notifications: LISTEN and UNLISTEN hold from their commit on", pool=4, settings=SHARING)
def at_commit(t):
    listener, talker, witness = t.wire(), t.wire(), t.wire()
    witness.query("LISTEN c")

    def told(*texts, listens=True, block=False):
        """How often the listener is told of a notification on c, with `texts` run by it before."""
        for text in texts:
            listener.query(text)
        if not block:
            unpinned(t, 1 + listens)
        talker.query("NOTIFY c, 'x'")
        heard(witness)
        return [kind for kind, _ in listener.query("SELECT 1")].count("A")

    same(told("BEGIN", "LISTEN c", block=True), 0, "before the commit")
    same(listener.query("COMMIT")[0][0], "C")
    same(told(), 1)
    same(told("BEGIN; UNLISTEN c; ROLLBACK"), 1, "an UNLISTEN that was rolled back")
    same(told("BEGIN", "UNLISTEN c", "ROLLBACK"), 1, "the same in three requests")
    same(told("BEGIN; LISTEN d; ROLLBACK"), 1)
    same(told("UNLISTEN d"), 1)
    same(told("SELECT 1/0; UNLISTEN c"), 1, "an UNLISTEN that was never reached")
    same(told("UNLISTEN c", listens=False), 0)
    same(told("LISTEN c"), 1)
    same(told("BEGIN", "UNLISTEN *", "COMMIT", listens=False), 0)
    same(told("LISTEN c; LISTEN d"), 1)
    same(told("DISCARD ALL", listens=False), 0)
    listener.query("LISTEN c")
    unpinned(t, 2)
    # Nothing comes inside a block.
    same(told("BEGIN", block=True), 0)
    kinds = [kind for kind, _ in listener.query("COMMIT")]
    same(kinds, ["C", "A", "Z"], "in front of the end of the transaction")


@test("notifications: a client's own come before the end of its request, with its own pid", pool=4, settings=SHARING)
def own_notifications(t):
    client, other = t.wire(), t.wire()
    client.query("LISTEN own")
    unpinned(t)
    for turn in range(20):
        got = client.query(f"NOTIFY own, '{turn}'")
        same([kind for kind, _ in got], ["C", "A", "Z"], f"turn {turn}")
        same(int.from_bytes(got[1][1][:4], "big"), client.pid)
        got = client.query(f"SELECT pg_notify('own', 'b {turn}')")
        same([kind for kind, _ in got], ["T", "D", "C", "A", "Z"])
        other.query("NOTIFY own, 'theirs'")
        (_, payload, pid), = heard(client)
        same(payload, "theirs")
        check(pid != client.pid, "another's notification has another pid")


@test("notifications: what is listened to is what pg_listening_channels says", pool=4, settings=SHARING)
def asked_channels(t):
    client = t.wire()
    client.query("LISTEN a; LISTEN \"B c\"")
    unpinned(t)
    same(sorted(client.rows("SELECT pg_listening_channels()")), [["B c"], ["a"]])
    got = client.ask(wire.run("SELECT count(*) FROM pg_listening_channels()") + wire.SYNC)
    same(wire.rows_of(got), [["2"]])
    unpinned(t)
    t.wire().query("NOTIFY \"B c\", 'still'")
    same(heard(client)[0][:2], ("B c", "still"))


@test("notifications: listeners that come and go among busy neighbours miss nothing of their own", pool=4, workers=2, settings=SHARING)
def busy_listeners(t):
    with t.neighbours(4):
        for turn in range(30):
            listener, talker = t.wire(), t.wire()
            listener.query(f"LISTEN turn_{turn}")
            for number in range(5):
                talker.query(f"NOTIFY turn_{turn}, '{number}'")
            same([payload for _, payload, _ in heard(listener, 5)], [str(n) for n in range(5)])
            if turn % 2:
                listener.query("UNLISTEN *")
            listener.close()
            talker.close()


@test("notifications: what a server tells late of what came before the hand-over is told, and before what came behind it", pool=2,
      subjects=("pgmend",), seconds=60)
def told_late(t):
    gate = TcpGate((t.postgres.host, t.postgres.port))
    t.closing.callback(gate.close)
    gate.open()
    subject = t.own("late", url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{gate.port}/app", settings=SHARING)
    go, met = gate.call(asyncio.Event), queue.Queue()

    def at_mark(link, data):
        if b'NOTIFY "pgmend mark"' not in data:
            return None
        link.answers.clear()
        met.put(link)
        return go

    gate.holds = at_mark
    listener, talker = t.wire(on=subject), t.wire(direct=True)
    listener.query("LISTEN c")
    link = met.get(timeout=20)
    talker.query("NOTIFY c, 'before'")
    gate.call(go.set)
    poll(lambda: "pgmend_clients_listening 1\n" in subject.http("/metrics")[1], "the shared connection has met the mark", 20)
    talker.query("NOTIFY c, 'behind'")
    gate.call(link.answers.set)
    same([payload for _, payload, _ in heard(listener, 2)], ["before", "behind"])
    same([kind for kind, _ in listener.query("SELECT 1") if kind == "A"], [], "nothing is told twice")


def end_shared(t):
    poll(lambda: t.admin(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SHARED}"), "it was there")


@test("notifications: when the shared connection is lost, its clients are closed", pool=4, subjects=("pgmend",),
      settings=SHARING)
def lost_close(t):
    client, other = t.wire(), t.wire()
    client.query("LISTEN c")
    unpinned(t)
    end_shared(t)
    kind, body = client.receive()
    same((kind, wire.error_fields(body)["C"]), ("E", "57P01"))
    check(client.at_end(), "closed")
    same(other.rows("SELECT 1"), [["1"]])


@test("notifications: with listen.on_loss: resubscribe they stay, and go on", pool=4, subjects=("pgmend",),
      settings={"listen": {"on_loss": "resubscribe", "max_channels": 1000}})
def lost_resubscribe(t):
    client = t.wire()
    client.query("LISTEN c")
    unpinned(t)
    before = t.admin(f"SELECT pid FROM pg_stat_activity WHERE {SHARED}")
    end_shared(t)
    poll(lambda: t.admin(f"SELECT pid FROM pg_stat_activity WHERE {SHARED}") not in ([], before), "another one listens")
    poll(lambda: t.admin(f"SELECT 1 FROM pg_stat_activity WHERE {SHARED} AND state = 'idle'"), "to everything")
    talker = t.wire()

    def arrives():
        talker.query("NOTIFY c, 'again'")
        return "A" in [kind for kind, _ in client.query("SELECT 1")]

    poll(arrives, "notifications come again")


@test("notifications: a listener that does not read is closed at the limit, and nobody else waits", pool=4,
      subjects=("pgmend",), settings={"listen": {"max_notifications": "64KiB", "max_channels": 1000}})
def slow_listener(t):
    slow, talker = t.wire(), t.wire()
    slow.query("LISTEN c")
    unpinned(t)
    slow.query("BEGIN")
    for _ in range(40):
        talker.query(f"SELECT pg_notify('c', repeat('x', 4000) || random())")
    slow.send(wire.query("COMMIT"))
    codes = []
    with contextlib.suppress(wire.Closed):
        while True:
            kind, body = slow.receive()
            if kind == "E":
                codes.append(wire.error_fields(body)["C"])
    same(codes, ["53400"])
    same(talker.rows("SELECT 1"), [["1"]])


# ---- what servers are logged in to


@test("databases: idle connections are in the way of no DROP, ALTER or CREATE DATABASE", pool=4)
def databases_come_and_go(t):
    t.admin("ALTER ROLE app CREATEDB")
    with contextlib.ExitStack() as stack:
        stack.callback(t.admin, "ALTER ROLE app NOCREATEDB")
        stack.callback(t.admin, "DROP DATABASE IF EXISTS coming WITH (FORCE)")
        stack.callback(t.admin, "DROP DATABASE IF EXISTS gone WITH (FORCE)")
        owner = t.wire()

        def visit(database):
            visitor = t.wire(database=database)
            found = visitor.rows("SELECT current_setting('work_mem')")
            visitor.close()
            return found

        for turn in range(3):
            same(wire.sqlstates(owner.query("CREATE DATABASE coming")), [])
            visit("coming")
            same(wire.sqlstates(owner.query("CREATE DATABASE gone TEMPLATE coming")), [])
            visit("gone")
            same(wire.sqlstates(owner.query("DROP DATABASE gone")), [])
            visit("coming")
            same(wire.sqlstates(owner.query("ALTER DATABASE coming SET work_mem = '7MB'")), [])
            same(visit("coming"), [["7MB"]], "the next login sees it")
            same(wire.sqlstates(owner.query("ALTER DATABASE coming RENAME TO gone")), [])
            visit("gone")
            same(wire.sqlstates(owner.query("DROP DATABASE gone")), [])


# ---- policies and the watch over them


@test("sessions: with session_state: pin a client keeps its server from its first change on", pool=2,
      settings={"pool": {"session_state": "pin", "own_server": False}}, subjects=("pgmend",))
def pinned_sessions(t):
    first, second = t.wire(), t.wire()
    pid = first.value("SELECT pg_backend_pid()")
    same(second.value("SELECT pg_backend_pid()"), pid, "shared before")
    first.query("SET work_mem = '5MB'")
    pid = first.value("SELECT pg_backend_pid()")
    for _ in range(3):
        check(second.value("SELECT pg_backend_pid()") != pid, "kept")
        same(first.value("SELECT pg_backend_pid()"), pid)
    first.query("DISCARD ALL")
    first.close()
    same(second.rows("SHOW work_mem"), [["4MB"]])


RULES = [{"database": "app", "user": "other", "session_state": "pin"}, {"user": "app", "session_state": "off"}]


@test("sessions: session_state may differ by database and user, and where it is off a change ends with its request", pool=2,
      settings={"pool": {"rules": RULES, "own_server": False}}, subjects=("pgmend",))
def sessions_by_rule(t):
    t.admin("SET ROLE app; CREATE TABLE drawn (id serial)")
    first, second = t.wire(), t.wire()
    ways = {"SET work_mem = '5MB'": "SHOW work_mem", "SELECT set_config('app.x', 'y', false)": "SELECT current_setting('app.x', true)",
            "DO $$ BEGIN PERFORM set_config('app.x', 'z', false); END $$": "SELECT current_setting('app.x', true)",
            "SET TimeZone = 'Asia/Tokyo'": "SHOW TimeZone", "SET application_name = 'x'": "SHOW application_name"}
    for way, ask in ways.items():
        before = first.value(ask) or ""
        first.query(way)
        same(first.value(ask) or "", before, f"forgotten: {way}")
        same(second.value(ask) or "", before, f"met by nobody: {way}")
        same(wire.rows_of(first.query(f"BEGIN; {way}; {ask}; COMMIT"))[-1] == [before], False, "but good in its own request")
    first.query("CREATE TEMP TABLE mine (a int); PREPARE p AS SELECT 1; LISTEN c; SELECT pg_advisory_lock(5)")
    for client in (first, second):
        same(wire.sqlstates(client.query("SELECT * FROM mine")), ["42P01"])
        same(wire.sqlstates(client.query("EXECUTE p")), ["26000"])
        same(client.rows("SELECT * FROM pg_listening_channels()"), [])
    poll(lambda: not t.admin("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"), "the lock is gone")
    # Statements of the protocol are no state of the session: they are there as ever.
    first.ask(wire.parse("s", "SELECT 'there'") + wire.SYNC)
    first.query("INSERT INTO drawn DEFAULT VALUES; SET work_mem = '6MB'")
    same(wire.rows_of(first.ask(wire.bind("", "s") + wire.execute() + wire.SYNC)), [["there"]])
    check('pgmend_pins_total{reason="parameter"} 0' in t.subject.http("/metrics")[1], "nobody was pinned")
    t.admin("DROP TABLE drawn")
    # The other rule: who is pinned keeps its server from its first change on.
    pinned = t.wire("other", "app")
    pinned.query("SET work_mem = '7MB'")
    same(pinned.value("SHOW work_mem"), "7MB")
    # Between the answer and the count there may be a look at the catalog.
    poll(lambda: 'pgmend_pins_total{reason="parameter"} 1' in t.subject.http("/metrics")[1], "pinned by its rule")
    # And where no rule fits, what is set follows.
    third = t.wire("other", "other")
    third.query("SET work_mem = '8MB'")
    same(third.value("SHOW work_mem"), "8MB")
    check('pgmend_pins_total{reason="parameter"} 1' in t.subject.http("/metrics")[1], "not pinned")


@test("leaks: what nobody could know of is found in an idle server, told, and ends with it", pool=1,
      settings={"pool": {"leak_check": "50ms"}}, subjects=("pgmend",))
def found_leaks(t):
    t.admin("CREATE FUNCTION quiet_thing() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'")
    with contextlib.ExitStack() as stack:
        stack.callback(t.admin, "DROP FUNCTION quiet_thing()")
        client = t.wire()
        client.query("SELECT quiet_thing()")
        # Changed behind pgmend's back, which looks at the catalog again in a minute.
        t.admin("CREATE OR REPLACE FUNCTION quiet_thing() RETURNS int LANGUAGE sql AS "
                "'SELECT 1 FROM pg_advisory_lock(424242)'")
        client.query("SELECT quiet_thing()")
        client.close()

        # Nobody asks for the server any more: it is looked at where it lies.
        def found():
            return "pgmend_session_leaks_total 1\n" in t.subject.http("/metrics")[1]

        poll(found, "the leak is counted")
        poll(lambda: not t.admin("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"), "the lock is gone")
        check("session_leak" in t.subject.log.read_text(), "and told")
        # From now on the statement changes its session: the lock is its client's, who keeps the server, and nobody's leak.
        owner, other = t.wire(), t.wire()
        owner.query("SELECT quiet_thing()")
        poll(lambda: 'leaking_statement' in t.subject.log.read_text(), "the statement is told by name")
        check("SELECT quiet_thing ( )" in t.subject.log.read_text(), "in words")
        poll(lambda: re.search("client_pinned client=.* reason=advisory_lock", t.subject.log.read_text()), "and so is the pin")
        poll(lambda: 'pgmend_pins_total{reason="advisory_lock"} 1' in t.subject.http("/metrics")[1], "kept by evidence")
        owner.query("SELECT pg_advisory_unlock(424242)")
        same(other.rows("SELECT 1"), [["1"]], "and the server is free again")
        same(len(re.findall(r"^pgmend_session_leaks_total 1$", t.subject.http("/metrics")[1], re.M)), 1)
        # An idle server that nobody has used since is not asked again and again.
        owner.close()
        other.close()
        asked = [0]

        def settled():
            before, asked[0] = asked[0], t.subject.http("/metrics")[1].split("pgmend_session_leak_checks_total ")[1].split()[0]
            return before == asked[0]

        poll(settled, "no more questions", step=0.3)


SIZES = [{"database": "other", "mode": "session"}, {"user": "crowd", "size": 1}, {"database": "app", "size": 3, "min_size": 2}]


@test("sessions: pools of certain databases and users have their own size and mode, and sizes are changed live",
      settings={"pool": {"rules": SIZES, "own_server": False}}, subjects=("pgmend",))
def pools_by_rule(t):
    admin = console(t)
    crowd = [t.wire(user="crowd") for _ in range(2)]
    app = [t.wire() for _ in range(4)]
    others = [t.wire(user="other", database="other") for _ in range(2)]
    for clients, size in ((crowd, 1), (app, 3)):
        for client in clients[:size]:
            client.query("BEGIN")
        clients[size].send(wire.query("SELECT 'waited'"))
    for client in others:
        same(client.value("SELECT 1"), "1")
    states = [row["state"] for row in table(admin, "SHOW CLIENTS") if row["user"] == "other"]
    same(states, ["active", "active"], "a session keeps its server")
    for user, size, mode, waiting in (("crowd", 1, "transaction", 1), ("app", 3, "transaction", 1), ("other", 8, "session", 0)):
        poll(lambda: one(admin, "SHOW POOLS", user=user)["cl_waiting"] == str(waiting), f"{waiting} of {user} wait")
        row = one(admin, "SHOW POOLS", user=user)
        same((row["pool_size"], row["pool_mode"]), (str(size), mode), user)
    row = one(admin, "SHOW DATABASES", name="app")
    same((row["pool_size"], row["min_pool_size"], row["pool_mode"]), ("3", "2", "transaction"))
    same(one(admin, "SHOW DATABASES", name="other")["pool_mode"], "session")
    same(one(admin, "SHOW USERS", name="crowd")["pool_size"], "1")
    write(t.subject, {"pool": {"rules": [{"user": "crowd", "size": 2}, *SIZES[:1], {"database": "app", "size": 4}]}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    for client in (crowd[1], app[3]):
        same(wire.rows_of(client.ready()), [["waited"]], "there is room now")
    for client in crowd[:1] + app[:3]:
        client.query("COMMIT")
    for client in crowd + app + others:
        client.close()


TIMES = [{"user": "crowd", "wait_timeout": "300ms", "lifetime": 0}, {"database": "other", "lifetime": "7s", "reserve_timeout": 0},
         {"size": 1}]  # pool.size is 2: so many there may be with the reserve


@test("sessions: pools of certain databases and users have their own times, which a change of the policy changes at once", pool=2,
      settings={"pool": {"rules": TIMES, "own_server": False, "idle_timeout": 0, "lifetime": 0, "reserve_size": 1,
                         "reserve_timeout": "1h"}}, subjects=("pgmend",))
def times_by_rule(t):
    admin = console(t)
    holders = {user: t.wire(user=user) for user in ("crowd", "app")}
    waiters = {user: t.wire(user=user) for user in holders}
    for user, holder in holders.items():
        holder.query("BEGIN")
        waiters[user].send(wire.query("SELECT 'waited'"))
    # One of them has little patience.
    fields = error(waiters["crowd"].ready())
    same([fields[key] for key in "CMDH"],
         ["53300", "no server connection became free in time",
          "The longest wait is 300 ms (pool.wait_timeout); 1 of 1 server connections are in use, 0 more clients wait.",
          "Retry after 1 s."])
    same(one(admin, "SHOW POOLS", user="app")["cl_waiting"], "1")
    most = {row["scope"]: row["most"] for row in table(admin, "SHOW LIMITS") if row["name"] == "wait_timeout_ms"}
    same((most["crowd@app"], most["app@app"]), ("300", "60000"))
    # Another may use the reserve at once, which others may not for an hour.
    others = [t.wire(user="other", database="other") for _ in range(2)]
    others[0].query("BEGIN")
    same(others[1].value("SELECT 1"), "1")
    others[0].query("COMMIT")
    same({name: one(admin, "SHOW DATABASES", name=name)["server_lifetime"] for name in ("app", "other")}, {"app": "0", "other": "7"})

    # Who waits now, and what is idle now, is subject to what holds from now on.
    def rule(*rules):
        write(t.subject, {"pool": {"rules": [*rules, TIMES[-1]]}})
        same(wire.tags(admin.query("RELOAD")), ["RELOAD"])

    rule({"user": "app", "wait_timeout": "1ms"})
    same(error(waiters["app"].ready())["C"], "53300")
    for holder in holders.values():
        holder.query("COMMIT")
    counts = t.server_counts  # of this one alone: others have servers as well
    check(counts()["crowd@app"] and counts()["app@app"], "idle, and kept for ever")
    rule({"user": "crowd", "idle_timeout": "1ms"})
    poll(lambda: not counts()["crowd@app"], "unused for too long", 20)
    check(counts()["app@app"], "another's stays")
    rule({"database": "app", "user": "app", "lifetime": "1ms"})
    poll(lambda: not counts()["app@app"], "too old", 20)
    check(counts()["other@other"], "another's stays")
    for user, client in holders.items():
        same(client.value("SELECT current_user"), user)
    for client in [*holders.values(), *waiters.values(), *others]:
        client.close()
