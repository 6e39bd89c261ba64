"""Faults that were found once, each by the bytes that showed it."""

import wire
from harness import check, same
from registry import register

TESTS = []
test = register(TESTS)

MANY = dict(subjects=("pgmend", "direct"))


def answers(client, data, count=1):
    client.send_while_reading(data)
    return client.ready(count)


@test("regressions: a text that names the same statement a thousand times is no heavier for it", pool=2, **MANY)
def many_executes(t):
    client = t.wire()
    client.ask(wire.parse("a", "SELECT 1 /* " + "x" * 15000 + " */") + wire.SYNC)
    rows = wire.rows_of(answers(client, wire.query("EXECUTE a;" * 1500)))
    same(rows, [["1"]] * 1500)


@test("regressions: no client can put its statement in the place of another's", pool=1, **MANY)
def impostor(t):
    owner, other = t.wire(), t.wire()
    owner.ask(wire.parse("mine", "SELECT 'mine'") + wire.SYNC)
    for number in range(1, 60):
        name = f"pgmend_{number}"
        other.ask(wire.parse(name, "SELECT 1/0") + wire.SYNC)
        other.ask(wire.run(f"EXECUTE {name}") + wire.SYNC)
        other.query(f"DEALLOCATE {name}")
    same(wire.rows_of(owner.ask(wire.bind("", "mine") + wire.execute() + wire.SYNC)), [["mine"]])


@test("regressions: what SQL found of a client's statements is gone with its group", pool=1, **MANY)
def nothing_left(t):
    client = t.wire()
    client.ask(wire.parse("s1", "SELECT 1/0") + wire.SYNC)
    same(wire.sqlstates(client.ask(wire.run("EXECUTE s1") + wire.SYNC)), ["22012"])
    client.ask(wire.parse("", "EXECUTE s1") + wire.bind("", "") + wire.SYNC)
    other = t.wire()
    same(wire.sqlstates(other.query("EXECUTE s1")), ["26000"])
    same(wire.sqlstates(other.query("PREPARE s1 AS SELECT 2")), [])
    other.query("DEALLOCATE s1")


@test("regressions: seventy thousand messages that need no server are answered", pool=1, **MANY)
def closes(t):
    client = t.wire()
    kinds = wire.kinds(answers(client, wire.close("S", "x") * 70000 + wire.SYNC))
    same(kinds.count("3"), 70000)
    client.send(wire.close("S", "x") * 5000 + wire.FLUSH)
    same(len(client.until("3", 5000)), 5000)
    client.ask(wire.SYNC)


@test("regressions: a reset with another statement behind it is not forgotten", pool=2, **MANY)
def reset_in_a_pipeline(t):
    client = t.wire()
    client.query("SET statement_timeout = '7s'")
    client.ask(wire.query("RESET statement_timeout") + wire.query("SELECT 1"), 2)
    same(client.value("SHOW statement_timeout"), "0")
    owner, leaver = t.wire(), t.wire()
    for each in (owner, leaver):
        each.query("SET statement_timeout = '8s'")
    leaver.send(wire.query("RESET statement_timeout") + wire.TERMINATE)
    leaver.at_end()
    for _ in range(4):
        same(owner.value("SHOW statement_timeout"), "8s")


@test("regressions: equal texts parsed under different settings are different statements", pool=2, **MANY)
def literals(t):
    client, other = t.wire(), t.wire()
    text = "SELECT '01/02/2020'::date - '2020-01-01'::date"

    def days(who, name):
        return wire.rows_of(who.ask(wire.parse(name, text) + wire.bind("", name) + wire.execute() + wire.SYNC))

    same(days(other, "plain"), [["1"]])
    client.query("BEGIN")
    client.query("SET datestyle = 'ISO, MDY'")
    same(days(client, "d1"), [["1"]])
    client.query("SET datestyle = 'ISO, DMY'")
    same(days(client, "d2"), [["31"]])
    client.query("ROLLBACK")
    client.query("BEGIN")
    client.query("SET LOCAL datestyle = 'ISO, DMY'")
    same(days(client, "d3"), [["31"]])
    client.query("ROLLBACK")


@test("regressions: a statement too long to be kept may arrive byte by byte", pool=1, **MANY)
def long_parse(t):
    client = t.wire()
    message = wire.parse("big", "SELECT 1 /* " + "x" * 2_000_000 + " */")
    for piece in (message[:3], message[3:6], message[6:8], message[8:]):
        client.send(piece)
    same(wire.rows_of(client.ask(wire.bind("", "big") + wire.execute() + wire.SYNC)), [["1"]])


@test("regressions: a client that only sends does not make memory grow", pool=1, subjects=("pgmend",))
def deaf_client(t):
    client = t.wire(timeout=2)
    before = t.subject.memory_peak()
    try:
        for _ in range(400):
            client.socket.sendall(wire.SYNC * 100_000)
    except TimeoutError:
        pass
    check(t.subject.memory_peak() - before < 20_000_000, f"from {before} to {t.subject.memory_peak()} bytes")
    client.drop()


@test("regressions: a Flush with a body leaves no server that ignores the next client", pool=1, **MANY)
def wrong_flush(t):
    for _ in range(3):
        client = t.wire()
        client.send(wire.message("H", b"abcd"))
        client.drop()
        same(t.wire().rows("SELECT 1"), [["1"]])


@test("regressions: a client whose own statements may take a millisecond gets its settings and keeps no server", pool=1, seconds=60,
      subjects=("pgmend",))
def impatient(t):
    patient, impatient = t.wire(), t.wire()
    impatient.query("SET statement_timeout = '1ms'")
    for turn in range(40):
        # Each of them finds the server as the other left it, and is asked what it left behind. Of its own statements
        # the impatient one may well lose some.
        for who, limit in ((patient, "0"), (impatient, "1ms")):
            who.query(f"SET application_name = 'turn {turn}'")
            who.query("LISTEN somewhere")
            while wire.sqlstates(who.query("UNLISTEN *")):
                pass
            who.query(f"SET statement_timeout = '{limit}'")
        same(patient.rows("SHOW statement_timeout"), [["0"]])


@test("regressions: what stands behind a BEGIN that got no server does not run outside its block", subjects=("pgmend",),
      settings={"pool": {"size": 1, "wait_timeout": "300ms"}})
def refused_begin(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS refused_begin; CREATE TABLE refused_begin (a int)")
    insert = "INSERT INTO refused_begin VALUES (1)"
    holder, client = t.wire(), t.wire()
    holder.query("BEGIN")
    for begin in (wire.query("BEGIN"), wire.run("BEGIN") + wire.SYNC):
        found = answers(client, begin + wire.run(insert) + wire.SYNC, 1)
        same((wire.sqlstates(found), wire.statuses(found)), (["53300"], "E"))
        holder.query("ROLLBACK")
        found = client.ready()
        same((wire.sqlstates(found), wire.statuses(found)), (["25P02"], "E"))
        same(wire.statuses(client.query("ROLLBACK")), "I")
        holder.query("BEGIN")
    # Nothing behind it: it is a BEGIN that failed, and no block.
    found = client.query("BEGIN")
    same((wire.sqlstates(found), wire.statuses(found)), (["53300"], "I"))
    holder.query("ROLLBACK")
    same(t.admin("SELECT count(*) FROM refused_begin"), [(0,)])


@test("regressions: a block that came right behind a SET is not bound to its server by it", subjects=("pgmend",))
def block_behind_set(t):
    for _ in range(5):
        client = t.wire()
        # At once: BEGIN is there while the server is still asked what SET has changed.
        client.query("SET application_name = 'plain'")
        same(wire.statuses(client.query("BEGIN")), "T")
        pid = client.value("SELECT pg_backend_pid()")
        t.admin(f"SELECT pg_terminate_backend({pid})")
        # It was shown what no other server says, so that the block is lost; the client is not.
        same(wire.sqlstates(client.query("SELECT 1")), ["40001"])
        same(wire.statuses(client.query("ROLLBACK")), "I")
        same(client.value("SHOW application_name"), "plain")
        client.close()
