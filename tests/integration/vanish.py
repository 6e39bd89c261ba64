"""A client that vanishes at any moment leaves clean servers behind: rolled back, reusable, counted."""

import select
import signal
import socket
import struct
import threading
import time

import console
import wire
from harness import POSTGRES_BIN, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


def table(t):
    t.admin("SET ROLE app; CREATE TABLE IF NOT EXISTS vanished (a int, b text); TRUNCATE vanished")


def half_frame(client):
    client.send(wire.query("SELECT 'never whole'")[:9])


def half_header(client):
    client.send(b"Q\0")


def half_frame_in_a_block(client):
    client.query("BEGIN")
    client.query("INSERT INTO vanished VALUES (1)")
    client.send(wire.query("INSERT INTO vanished VALUES (2)")[:12])


def half_bind(client):
    client.send(wire.parse("s", "SELECT $1::text") + wire.bind("", "s", ["x" * 100000])[:50000])


def in_a_block(client):
    client.query("BEGIN")
    client.query("INSERT INTO vanished VALUES (1)")


def in_a_failed_block(client):
    in_a_block(client)
    client.query("SELECT 1/0")


def after_flush(client):
    client.send(wire.run("INSERT INTO vanished VALUES (1)") + wire.FLUSH)
    client.until("C")


def parsed_without_sync(client):
    client.send(wire.parse("s", "SELECT 1") + wire.FLUSH)
    client.until("1")


def error_without_sync(client):
    client.send(wire.run("SELECT 1/0") + wire.FLUSH)
    client.until("E")


def during_a_long_result(client):
    client.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 300000)"))
    client.until("D", 5)


def during_a_long_statement(client):
    client.send(wire.query("SELECT pg_sleep(30)"))


def during_a_long_statement_in_a_block(client):
    in_a_block(client)
    client.send(wire.query("SELECT pg_sleep(30)"))


def in_copy_in(client):
    client.send(wire.query("COPY vanished FROM STDIN"))
    client.until("G")
    client.send(wire.copy_data("1\tone\n"))


def in_copy_in_mid_frame(client):
    in_copy_in(client)
    client.send(wire.copy_data("2\t" + "x" * 100000 + "\n")[:70000])


def in_copy_in_extended(client):
    client.send(wire.run("COPY vanished FROM STDIN") + wire.FLUSH)
    client.until("G")
    client.send(wire.copy_data("1\tone\n"))


def in_copy_in_in_a_block(client):
    in_a_block(client)
    in_copy_in(client)


def in_copy_out(client):
    client.send(wire.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 300000)) TO STDOUT"))
    client.until("d", 3)


def in_a_pipeline(client):
    client.query("BEGIN")
    client.send(b"".join(wire.run(f"INSERT INTO vanished VALUES ({i})") + wire.SYNC for i in range(200)))


def in_a_pipeline_without_sync(client):
    client.send(wire.run("INSERT INTO vanished VALUES (1)") * 50)


def with_a_portal(client):
    client.query("BEGIN")
    client.ask(wire.parse("", "SELECT generate_series(1, 1000)") + wire.bind("p", "") + wire.execute("p", 3) + wire.SYNC)


def holding_a_lock(client):
    client.query("SELECT pg_advisory_lock(77)")


def holding_locks_in_a_block(client):
    client.query("BEGIN")
    client.query("SELECT pg_advisory_xact_lock(78)")
    client.query("LOCK TABLE vanished IN ACCESS EXCLUSIVE MODE")


def with_temp_table_and_listen(client):
    client.query("CREATE TEMP TABLE gone (a int); LISTEN gone")


def with_settings(client):
    client.query("SET work_mem = '11MB'; SET search_path = nowhere; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")


def idle(client):
    client.query("SELECT 1")


MOMENTS = [idle, half_frame, half_header, half_frame_in_a_block, half_bind, in_a_block, in_a_failed_block, after_flush,
           parsed_without_sync, error_without_sync, during_a_long_result, during_a_long_statement,
           during_a_long_statement_in_a_block, in_copy_in, in_copy_in_mid_frame, in_copy_in_extended,
           in_copy_in_in_a_block, in_copy_out, in_a_pipeline, in_a_pipeline_without_sync, with_a_portal,
           holding_a_lock, holding_locks_in_a_block, with_temp_table_and_listen, with_settings]


def clean(t, words):
    """Fresh clients on every server of the pool find nothing of the one that vanished."""
    t.quiet(f"{words}: servers are quiet")
    same(t.admin("SELECT count(*) FROM vanished"), [(0,)], f"{words}: rolled back")
    same(t.admin("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' OR relation = 'vanished'::regclass"
                 " AND pid <> pg_backend_pid()"), [(0,)], f"{words}: no lock is left")
    for _ in range(3):
        client = t.wire()
        same(client.rows("SHOW work_mem"), [["4MB"]], words)
        same(client.rows("SHOW search_path"), [['"$user", public']], words)
        same(client.rows("SHOW transaction_read_only"), [["off"]], words)
        same(wire.sqlstates(client.query("SELECT * FROM gone")), ["42P01"], words)
        same(wire.statuses(client.ask(wire.run("SELECT 1") + wire.SYNC)), "I", words)
        client.close()


def vanish(t, moments, ways):
    table(t)
    # A direct backend notices a vanished client only when it writes; this makes it look by itself.
    parameters = {"client_connection_check_interval": "50"} if t.direct else None
    for moment in moments:
        for way in ways:
            client = t.wire(parameters=parameters)
            moment(client)
            getattr(client, way)()
            clean(t, f"{moment.__name__} by {way}")


for way, words in (("drop", "FIN"), ("reset", "RST"), ("close", "Terminate")):

    @test(f"vanish: by {words} at every kind of moment leaves clean servers", pool=2, seconds=120)
    def vanish_by(t, way=way):
        # Direct, a backend inside pg_sleep reads Terminate only when it wakes; the check interval sees no EOF then.
        skipped = (during_a_long_statement, during_a_long_statement_in_a_block) if way == "close" and t.direct else ()
        vanish(t, [moment for moment in MOMENTS if moment not in skipped], [way])


@test("vanish: a client killed while it waits for a server gets none", pool=1)
def while_waiting(t):
    if t.direct:
        return
    table(t)
    holder = t.wire()
    holder.query("BEGIN")
    for way in ("drop", "reset"):
        waiters = [t.wire() for _ in range(5)]
        for waiter in waiters:
            waiter.send(wire.query("INSERT INTO vanished VALUES (1)"))
        for waiter in waiters:
            getattr(waiter, way)()
        alive = t.wire()
        alive.send(wire.query("SELECT 'served'"))
        check(not select.select([alive.socket], [], [], 0.2)[0], "nobody is served while the server is held")
        same(holder.rows("SELECT 1"), [["1"]])
        holder.query("COMMIT")
        same(wire.rows_of(alive.ready()), [["served"]])
        same(t.admin("SELECT count(*) FROM vanished"), [(0,)], "what waited was never run")
        holder.query("BEGIN")
    holder.query("COMMIT")


# ---- one direction closed: it sends no more, and reads on


def last_answers(client, data):
    """All that comes after `data` was sent and nothing will follow, up to the end."""
    client.send(data)
    client.socket.shutdown(socket.SHUT_WR)
    return rest(client)


def rest(client):
    got = []
    try:
        while True:
            got.append(client.receive())
    except wire.Closed:
        return [one for one in got if one[0] != "S"]


def asked_at_the_end():
    yield "Queries", wire.query("SELECT 1") + wire.query("SELECT 2/0") + wire.query("SELECT 3")
    yield "a slow statement", wire.query("SELECT 1 FROM pg_sleep(0.3)")
    yield "a pipeline", b"".join(wire.run(f"SELECT {number}") + wire.SYNC for number in range(300))
    yield "groups that fail", (wire.run("SELECT 1/0") + wire.run("SELECT 2") + wire.SYNC + wire.run("SELECT 3") + wire.SYNC) * 3
    yield "a copy", (wire.query("COPY vanished FROM STDIN") + wire.copy_data("7\tx\n") + wire.COPY_DONE
                     + wire.query("SELECT a FROM vanished WHERE a = 7; DELETE FROM vanished"))
    yield "a block that is not ended", wire.query("BEGIN; INSERT INTO vanished VALUES (1)") + wire.query("SELECT count(*) FROM vanished")
    yield "a group that is flushed", wire.run("INSERT INTO vanished VALUES (1)") + wire.FLUSH
    yield "a message that is not whole", wire.query("SELECT 1") + wire.query("SELECT 'never whole'")[:9]
    yield "a large answer", wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    yield "settings and then what they change", (wire.query("SET work_mem = '11MB'; SET search_path = nowhere")
                                                 + wire.query("SHOW work_mem") + wire.query("SHOW search_path"))
    yield "nothing", b""


@test("half-closed: who sends no more gets the answers to all it has sent, as from PostgreSQL", pool=2, subjects=("pgmend", "direct"))
def half_closed(t):
    table(t)
    for words, data in asked_at_the_end():
        same(last_answers(t.wire(), data), last_answers(t.wire(direct=True), data), words)
        clean(t, words)


@test("half-closed: also while it waits for a server, and its settings are put in force there", pool=1, subjects=("pgmend",))
def half_closed_in_line(t):
    table(t)
    holder, client = t.wire(), t.wire()
    client.query("SET work_mem = '3MB'")
    holder.query("BEGIN")
    client.send(wire.query("SHOW work_mem") + wire.query("INSERT INTO vanished VALUES (1)") + wire.query("DELETE FROM vanished"))
    client.socket.shutdown(socket.SHUT_WR)
    # What comes behind the end of the other direction tells that it was seen.
    same(client.receive()[0], "S")
    holder.query("COMMIT")
    got = rest(client)
    same((wire.rows_of(got), wire.tags(got), wire.statuses(got)), ([["3MB"]], ["SHOW", "INSERT 0 1", "DELETE 1"], "III"))
    clean(t, "a client that waited")


@test("vanish: who goes away in line is noticed, however much it has sent that nobody has read", pool=1, subjects=("pgmend",))
def large_in_line(t):
    table(t)
    holder = t.wire()
    holder.query("BEGIN")
    before = t.subject.descriptors()
    for way in ("drop", "reset"):
        waiter = t.wire()
        waiter.send(wire.query(f"INSERT INTO vanished VALUES (1, '{'x' * (1 << 18)}')") * 2)
        getattr(waiter, way)()
        poll(lambda: t.subject.descriptors() <= before, f"its socket is closed, by {way}")
    holder.query("COMMIT")
    clean(t, "a client that waited")


@test("vanish: who was told of its end finds its block rolled back, also where open transactions of others are committed",
      subjects=("pgmend",))
def told_of_its_end(t):
    table(t)
    subject = t.own("ordered", pool_size=2, settings={"pool": {"on_abandoned_transaction": "commit"}})
    admin = console.console(t, on=subject)

    def in_block(number):
        client = t.wire(on=subject, parameters={"application_name": f"number {number}"})
        client.query(f"BEGIN; INSERT INTO vanished VALUES ({number})")
        return client

    def told(client, sqlstate):
        same(wire.error_fields(client.until("E")[-1][1])["C"], sqlstate)
        check(client.at_end(), "closed")

    victim = in_block(1)
    number = {row["application_name"]: row["id"] for row in console.table(admin, "SHOW CLIENTS")}["number 1"]
    same(wire.tags(admin.query(f"KILL_CLIENT {number}")), ["KILL_CLIENT"])
    told(victim, "57P01")
    culprit = in_block(2)
    culprit.send(b"?\0\0\0\4")
    told(culprit, "08P01")
    in_block(3).drop()
    t.quiet("the blocks are over")
    same(t.admin("SELECT a FROM vanished"), [(3,)], "committed is what was left by its client alone")
    t.admin("TRUNCATE vanished")


@test("vanish: during login, at every byte and stage")
def during_login(t):
    start = wire.startup({"user": "app", "database": "app", "application_name": "half"})
    for length in range(0, len(start) + 1, 3):
        for way in ("drop", "reset"):
            client = t.wire(login=False)
            client.send(start[:length])
            getattr(client, way)()
    for way in ("drop", "reset", "close"):
        client = t.wire(login=False)
        client.send(start)
        client.receive()
        getattr(client, way)()
        client = t.wire(login=False)
        client.send(start)
        client.receive()
        client.send(wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", 23) + b"n,,n=,r=abcdefghijklmno"))
        client.receive()
        getattr(client, way)()
        client = t.wire(login=False)
        client.send(wire.request(wire.SSL_REQUEST))
        client.socket.recv(1)
        getattr(client, way)()
    same(t.wire().rows("SELECT 1"), [["1"]])


@test("vanish: psql killed by SIGKILL in a block and in a statement")
def killed_psql(t):
    table(t)
    for script in ("BEGIN; INSERT INTO vanished VALUES (1);\nSELECT 1;\n", "BEGIN;\nINSERT INTO vanished VALUES (1);\n"
                   "SELECT pg_sleep(60);\n", "SELECT pg_sleep(60);\n"):
        seen = t.admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'victim'")
        same(seen, [(0,)])
        psql = t.start(POSTGRES_BIN / "psql", "-X", stdin=-1, stdout=-1, text=True,
                       env=t.environment(PGAPPNAME="victim",
                                         PGOPTIONS="-c client_connection_check_interval=50" if t.direct else ""))
        psql.stdin.write(script)
        psql.stdin.flush()
        poll(lambda: t.servers("state = 'idle in transaction' OR query LIKE '%pg_sleep(60)%' AND state = 'active'"),
             "psql is at work")
        psql.send_signal(signal.SIGKILL)
        psql.wait()
        clean(t, script)
        poll(lambda: not t.servers("application_name = 'victim' AND state <> 'idle'"), "nothing of it works on")


@test("vanish: fifty clients at once in all kinds of moments, while others work", pool=4, workers=2, seconds=90)
def storm(t):
    table(t)
    parameters = {"client_connection_check_interval": "50"} if t.direct else None
    blocking = (during_a_long_statement, during_a_long_statement_in_a_block, holding_a_lock, holding_locks_in_a_block)
    quick = [moment for moment in MOMENTS if moment not in blocking]
    with t.neighbours(6):

        def one(number):
            client = t.wire(parameters=parameters)
            quick[number % len(quick)](client)
            getattr(client, ("drop", "reset", "close")[number % 3])()

        threads = [threading.Thread(target=one, args=(number,)) for number in range(20 if t.quick else 60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    clean(t, "after the storm")


@test("vanish: a client that comes and goes 500 times leaks no descriptor and no memory")
def no_leak(t):
    for _ in range(20):
        t.wire().drop()
    if t.direct:
        return
    descriptors = t.subject.descriptors() if t.subject.kind == "pgmend" else 0
    t.subject.reset_memory_peak()
    before = t.subject.memory_peak()
    begun = time.monotonic()
    for number in range(500):
        client = t.wire()
        (in_a_block, half_frame, idle, parsed_without_sync)[number % 4](client)
        (client.drop, client.reset, client.close)[number % 3]()
        check(time.monotonic() - begun < 50, "500 visits take less than 50 s")
    if t.subject.kind == "pgmend":
        poll(lambda: t.subject.descriptors() <= descriptors + t.subject.pool_size, "descriptors are closed")
    t.subject.reset_memory_peak()
    check(t.subject.memory_peak() < before + (8 << 20), "memory is given back")
