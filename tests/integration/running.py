"""How long statements and transactions may run, and how much they may answer: each limit with its texts, in both
protocols, and what it leaves of the connection and of the transaction."""

import select
import time

import wire
from console import console, error, one
from harness import check, poll, same
from limits import count
from registry import register
from reloading import write

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
LONG = "SELECT pg_sleep(60)"
MB = 1 << 20


def run(sql):
    return wire.run(sql) + wire.SYNC


def told(fields):
    return [fields[key] for key in "SCMDH"]


def too_long(limit="1s", setting="limits.query_timeout"):
    return ["ERROR", "57014", "canceling statement due to query timeout", f"The limit is {limit} ({setting}).",
            "Have it do less at a time, or ask for a higher limit."]


def too_large(limit="1MiB", setting="limits.result_size"):
    return ["ERROR", "53400", "canceling statement due to the size of its result", f"The limit is {limit} ({setting}).",
            "Ask for fewer rows at a time, with LIMIT or a cursor, or ask for a higher limit."]


IDLE = ["FATAL", "25P03", "terminating connection due to idle-in-transaction timeout",
        "The limit is 1s (limits.idle_transaction_timeout).",
        "End transactions before waiting for anything else, or ask for a higher limit."]
OLD = ["FATAL", "25P04", "terminating connection due to transaction timeout",
       "The limit is 2s (limits.transaction_timeout).", "Do less in one transaction, or ask for a higher limit."]


def table_of(t, name):
    t.admin(f"SET ROLE app; DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (a int)")


def ended(t, limit, on=None):
    return count(on or t.subject, "pgmend_ended_by_limit_total", f"{{limit=\"{limit}\"}}")


@test("running: a statement past query_timeout is cancelled with 57014 in either protocol, and its connection stays",
      settings={"limits": {"query_timeout": "1s"}}, pool=1, subjects=PGMEND)
def statement(t):
    client = t.wire()
    backend = client.value("SELECT pg_backend_pid()")
    for turn, asked in enumerate((wire.query(LONG), run(LONG), wire.query("SELECT 1; " + LONG + "; SELECT 2")), 1):
        began = time.monotonic()
        answer = client.ask(asked)
        check(time.monotonic() - began > 0.9, "not before its time")
        same(told(error(answer)), too_long(), f"turn {turn}")
        same((wire.statuses(answer), wire.sqlstates(answer)), ("I", ["57014"]))
        same(client.value(f"SELECT {turn}"), str(turn))
        same(ended(t, "query_timeout"), float(turn))
    same(client.value("SELECT pg_backend_pid()"), backend, "its server too")
    row = one(console(t), "SHOW LIMITS", name="query_timeout_ms")
    same([row[key] for key in ("scope", "current", "most", "refused", "setting")],
         ["limits.query_timeout", "1", "1000", "3", "limits.query_timeout"])
    check("request_limited" in t.subject.log.read_text(), "it is logged")
    same(poll(lambda: not t.servers(f"query = '{LONG}' AND state = 'active'"), "nothing runs on"), True)
    # Nobody is ended who asks for nothing.
    time.sleep(1.5)
    same(client.value("SELECT 4"), "4")
    client.close()


@test("running: in a pipeline only what was too long fails, and what stands behind it is answered",
      settings={"limits": {"query_timeout": "1s"}}, subjects=PGMEND)
def pipeline(t):
    table_of(t, "running_pipeline")
    client = t.wire()
    insert = "INSERT INTO running_pipeline VALUES "
    answer = client.ask(run(insert + "(1)") + run(LONG) + run(insert + "(2)") + wire.query("SELECT 7") + wire.query(LONG)
                        + run("SELECT 8"), 6)
    same((wire.sqlstates(answer), wire.statuses(answer)), (["57014", "57014"], "IIIIII"))
    same([wire.data_row(body)[0] for kind, body in answer if kind == "D"], [b"7", b"8"])
    # Of one group nothing stays behind the error, and all of it is undone.
    answer = client.ask(wire.run(insert + "(3)") + wire.run(LONG) + wire.run(insert + "(4)") + wire.SYNC)
    same((told(error(answer)), wire.statuses(answer)), (too_long(), "I"))
    same(client.rows("SELECT a FROM running_pipeline ORDER BY a"), [["1"], ["2"]])
    # A flush ends what runs: the time until more is asked for is the client's.
    client.send(wire.run("SELECT 9") + wire.message("H"))
    client.until("C")
    time.sleep(1.5)
    answer = client.ask(wire.run("SELECT 10") + wire.SYNC)
    same((wire.sqlstates(answer), wire.tags(answer)), ([], ["SELECT 1"]))
    client.close()
    t.admin("SET ROLE app; DROP TABLE running_pipeline")


@test("running: a block whose statement was too long has failed; cursors that are read in pieces have not", subjects=PGMEND,
      settings={"limits": {"query_timeout": "1s"}})
def block(t):
    table_of(t, "running_block")
    client = t.wire()
    client.query("BEGIN")
    client.query("INSERT INTO running_block VALUES (1)")
    answer = client.query(LONG)
    same((told(error(answer)), wire.statuses(answer)), (too_long(), "E"))
    same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
    same(wire.tags(client.query("COMMIT")), ["ROLLBACK"])
    same(client.rows("SELECT * FROM running_block"), [])
    client.query("BEGIN")
    client.query("DECLARE c CURSOR FOR SELECT pg_sleep(0.3), n FROM generate_series(1, 9) n")
    for number in range(1, 6):
        same(client.rows("FETCH 1 FROM c")[0][1], str(number))
    same(told(error(client.query("FETCH ALL FROM c; " + LONG))), too_long())
    client.query("ROLLBACK")
    # And portals.
    client.ask(run("BEGIN"))
    client.ask(wire.parse("", "SELECT pg_sleep(0.3), n FROM generate_series(1, 9) n") + wire.bind("p", "")
               + wire.execute("p", 1) + wire.SYNC)
    for _ in range(4):
        same(wire.sqlstates(client.ask(wire.execute("p", 1) + wire.SYNC)), [])
    answer = client.ask(wire.execute("p", 0) + wire.run(LONG) + wire.SYNC)
    same((told(error(answer)), wire.statuses(answer)), (too_long(), "E"))
    same(wire.tags(client.query("ROLLBACK")), ["ROLLBACK"])
    client.close()
    t.admin("SET ROLE app; DROP TABLE running_block")


@test("running: COPY past query_timeout is cancelled, both ways", settings={"limits": {"query_timeout": "1s"}}, subjects=PGMEND)
def copy(t):
    table_of(t, "running_copy")
    client = t.wire()
    for asked in (wire.query("COPY running_copy FROM STDIN"), run("COPY running_copy FROM STDIN")):
        client.send(asked)
        client.until("G")
        deadline = time.monotonic() + 60
        while not select.select([client.socket], [], [], 0.05)[0]:
            check(time.monotonic() < deadline, "nobody stops the COPY")
            client.send(wire.copy_data(b"1\n"))
        answer = client.until("E")
        same(told(error(answer)), too_long())
        if asked[:1] == b"P":
            client.send(wire.SYNC)
        same(wire.statuses(client.ready()), "I")
        same(client.rows("SELECT * FROM running_copy"), [])
    for asked in (wire.query("COPY (SELECT pg_sleep(0.01) FROM generate_series(1, 100000)) TO STDOUT"),
                  run("COPY (SELECT pg_sleep(0.01) FROM generate_series(1, 100000)) TO STDOUT")):
        answer = client.ask(asked)
        same((told(error(answer)), wire.statuses(answer)), (too_long(), "I"))
        check("d" in wire.kinds(answer), "it has begun")
    same(client.value("SELECT 1"), "1")
    client.close()
    t.admin("SET ROLE app; DROP TABLE running_copy")


SLOW_COMMIT = """SET ROLE app; DROP TABLE IF EXISTS running_commit; CREATE TABLE running_commit (a int);
CREATE OR REPLACE FUNCTION running_slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON running_commit DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION running_slowly()"""


@test("running: a COMMIT is let finish, whatever limit it passes", subjects=PGMEND,
      settings={"limits": {"query_timeout": "1s", "transaction_timeout": "2s", "idle_transaction_timeout": "30s"}})
def commit(t):
    t.admin(SLOW_COMMIT)
    client = t.wire()
    for begin, end in ((wire.query("BEGIN"), wire.query("COMMIT")), (run("BEGIN"), run("COMMIT"))):
        client.ask(begin)
        client.query("INSERT INTO running_commit VALUES (1)")
        same(wire.tags(client.ask(end)), ["COMMIT"])
    same(client.value("SELECT count(*) FROM running_commit"), "2")
    client.close()
    t.admin("SET ROLE app; DROP TABLE running_commit; DROP FUNCTION running_slowly")


@test("running: who keeps a transaction open and asks for nothing is told 25P03 and closed, and the server is free",
      subjects=PGMEND, pool=1)
def idle(t):
    table_of(t, "running_idle")
    for mode in ("transaction", "session"):
        place = t.own(mode, pool_size=1, settings={"pool": {"mode": mode}, "limits": {"idle_transaction_timeout": "1s"}})
        for turn, (begin, status) in enumerate((("BEGIN; INSERT INTO running_idle VALUES (1)", "T"), ("BEGIN; SELECT 1/0", "E")), 1):
            client = t.wire(on=place)
            same(wire.statuses(client.query(begin)), status)
            for _ in range(3):
                client.query("SELECT pg_sleep(0.5)")
            same(told(error(client.until("E"))), IDLE, mode)
            same(client.at_end(), True, "it is closed")
            other = t.wire(on=place)
            same(other.rows("SELECT * FROM running_idle"), [], "rolled back, and its server is free")
            other.close()
            same(ended(t, "idle_transaction_timeout", place), float(turn))
        client = t.wire(on=place)
        client.query("SELECT 1")
        time.sleep(1.5)
        same(client.value("SELECT 2"), "2", "idle outside of a transaction is something else")
        # Nor is a statement idle.
        client.query("BEGIN")
        same(wire.sqlstates(client.query("SELECT pg_sleep(2)")), [])
        same(wire.tags(client.query("COMMIT")), ["COMMIT"])
        # Without a Sync it holds its server as well.
        client.send(wire.run("SELECT 9") + wire.message("H"))
        client.until("C")
        same(told(error(client.until("E"))), IDLE)
        same(client.at_end(), True)
        row = one(console(t, on=place), "SHOW LIMITS", name="idle_transaction_timeout_ms")
        same([row["most"], row["refused"]], ["1000", "3"])
    t.admin("SET ROLE app; DROP TABLE running_idle")


@test("running: while the evidence of a COMMIT is on its way nothing of the client's runs: idle is idle, and statements are timed",
      subjects=PGMEND, pool=1, seconds=90)
def idle_behind_evidence(t):
    """What is asked behind a write for guard.commit_outcome is ours: the clock of the client's statement stops before."""
    table_of(t, "running_guarded")
    place = t.own("guarded", pool_size=1, settings={"guard": {"commit_outcome": "on"}, "limits": {"idle_transaction_timeout": "1s"},
                                                    "admin": {"users": "app"}})
    client = t.wire(on=place)
    for _ in range(3):
        same(wire.statuses(client.query("BEGIN")), "T")
        same(wire.sqlstates(client.query("INSERT INTO running_guarded VALUES (1)")), [])
        same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    row = one(console(t, on=place), "SHOW STATEMENTS", statement="INSERT INTO running_guarded VALUES ( ? )")
    same((row["calls"], row["timed"]), ("3", "3"))
    client.query("BEGIN")
    same(wire.sqlstates(client.query("INSERT INTO running_guarded VALUES (2)")), [])
    same(told(error(client.until("E"))), IDLE)
    same(client.at_end(), True, "it is closed")
    same(t.wire(on=place).rows("SELECT DISTINCT a FROM running_guarded"), [["1"]], "rolled back, and its server is free")
    same(ended(t, "query_timeout", place), 0.0)
    t.admin("SET ROLE app; DROP TABLE running_guarded")


@test("running: a transaction past transaction_timeout ends with 25P04, in a statement and between them", subjects=PGMEND,
      settings={"limits": {"transaction_timeout": "2s"}}, pool=1)
def transaction(t):
    table_of(t, "running_transaction")
    for turn, last in enumerate((wire.query(LONG), run(LONG), None), 1):
        client = t.wire()
        client.query("BEGIN")
        client.query("INSERT INTO running_transaction VALUES (1)")
        client.query("SELECT pg_sleep(0.2)")
        if last:
            client.send(last)
        answer = client.until("E")
        same(told(error(answer)), OLD, f"turn {turn}")
        same(client.at_end(), True, "it is closed")
        other = t.wire()
        same(other.rows("SELECT * FROM running_transaction"), [], "nothing of it is there")
        other.close()
        same(ended(t, "transaction_timeout"), float(turn))
    # Outside of a block each statement is a transaction, and many of them are not one.
    client = t.wire()
    for _ in range(6):
        same(wire.sqlstates(client.query("SELECT pg_sleep(0.5)")), [])
    answer = client.ask(run("SELECT pg_sleep(0.5)") * 6, 6)
    same((wire.sqlstates(answer), wire.statuses(answer)), ([], "IIIIII"))
    client.send(wire.query(LONG))
    same(told(error(client.until("E"))), OLD)
    same(client.at_end(), True)
    t.admin("SET ROLE app; DROP TABLE running_transaction")


ROWS = "SELECT repeat('x', 1000) FROM generate_series(1, {})"


def size_of(answer):
    return sum(len(body) for kind, body in answer if kind in "Dd")


@test("running: an answer past result_size ends with 53400 in either protocol and as a COPY, and the connection stays",
      settings={"limits": {"result_size": "1MiB"}}, pool=1, subjects=PGMEND, seconds=120)
def result(t):
    client = t.wire()
    everything = ROWS.format(20_000_000)
    asked = [wire.query(everything), run(everything), wire.query(f"COPY ({everything}) TO STDOUT"),
             run(f"COPY ({everything}) TO STDOUT")]
    for turn, each in enumerate(asked, 1):
        answer = client.ask(each)
        same(told(error(answer)), too_large(), f"turn {turn}")
        same((wire.statuses(answer), wire.sqlstates(answer)), ("I", ["53400"]))
        check(MB * 0.8 < size_of(answer) < 64 * MB, f"{size_of(answer)} bytes have come")
        same(client.value(f"SELECT {turn}"), str(turn))
        same(ended(t, "result_size"), float(turn))
    row = one(console(t), "SHOW LIMITS", name="result_size_bytes")
    same([row["most"], row["refused"], row["setting"]], [str(MB), "4", "limits.result_size"])
    # What is within the limit is no error, however often it comes.
    for _ in range(5):
        answer = client.query(ROWS.format(900))
        same((wire.sqlstates(answer), wire.tags(answer)), ([], ["SELECT 900"]))
    answer = client.ask(run(ROWS.format(900)) * 8, 8)
    same((wire.sqlstates(answer), wire.tags(answer)), ([], ["SELECT 900"] * 8), "each request of a pipeline by itself")
    # In a block it is an error as any other; a cursor brings all of it.
    client.query("BEGIN")
    client.query("DECLARE c CURSOR FOR " + ROWS.format(4000))
    same([len(client.rows("FETCH 500 FROM c")) for _ in range(9)], [500] * 8 + [0])
    answer = client.query(everything)
    same((told(error(answer)), wire.statuses(answer)), (too_large(), "E"))
    same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
    same(wire.tags(client.query("ROLLBACK")), ["ROLLBACK"])
    client.close()


@test("running: of a write whose answer is too large, the answer and the table say the same",
      settings={"limits": {"result_size": "1MiB"}}, subjects=PGMEND, seconds=120)
def large_write(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS running_write; CREATE TABLE running_write (a text)")
    client = t.wire()
    insert = "INSERT INTO running_write " + ROWS.format(30_000) + " RETURNING a"
    rows = 0
    for asked, more in ((wire.query(insert), 0), (run(insert), 0),
                        (wire.run(insert) + wire.run("INSERT INTO running_write VALUES ('y')") + wire.SYNC, 1)):
        answer = client.ask(asked)
        same(wire.statuses(answer), "I")
        # PostgreSQL collects these rows first, and looks for no cancel while it sends them: the word is its own.
        if "53400" in wire.sqlstates(answer):
            same(told(error(answer)), too_large())
        else:
            same(wire.tags(answer)[0], "INSERT 0 30000")
            rows += 30_000 + more
        same(client.value("SELECT count(*) FROM running_write"), str(rows))
    client.close()
    t.admin("SET ROLE app; DROP TABLE running_write")


RULES = [{"application_name": "report", "query_timeout": "20s", "result_size": 0},
         {"user": "app", "database": "app", "query_timeout": "1s"}]


@test("running: the first rule that fits and speaks of a limit decides, and holds from the next statement on when loaded",
      subjects=PGMEND)
def rules(t):
    place = t.own("rules", settings={"limits": {"rules": RULES, "result_size": "1MiB", "query_timeout": "500ms"}})
    admin = console(t, on=place)
    report, web = t.wire(on=place, parameters={"application_name": "report"}), t.wire(on=place)
    other = t.wire(on=place, user="other", database="other")
    same(wire.sqlstates(report.query("SELECT pg_sleep(2)")), [])
    same(wire.tags(report.query(ROWS.format(5000))), ["SELECT 5000"])
    same(told(error(web.query(LONG))), too_long("1s", "limits.rules[1]"))
    same(told(error(web.query(ROWS.format(300_000)))), too_large())
    same(told(error(other.query(LONG))), too_long("500ms"))
    row = one(admin, "SHOW LIMITS", setting="limits.rules[1]")
    same([row[key] for key in ("name", "scope", "current", "most", "refused")],
         ["query_timeout_ms", "limits.rules[1]", "1", "1000", "1"])
    write(place, {"limits": {"rules": [{"user": "nobody", "query_timeout": "1s"}], "result_size": 0, "query_timeout": 0}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    for client in (report, web, other):
        same(wire.sqlstates(client.query("SELECT pg_sleep(1.5)")), [])
    web.query("BEGIN")
    write(place, {"limits": {"rules": [{"user": "app", "query_timeout": "1s", "idle_transaction_timeout": "1s"}]}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    same(told(error(web.query(LONG))), too_long("1s", "limits.rules[0]"))
    fields = error(web.until("E"))
    same((fields["C"], fields["D"]), ("25P03", "The limit is 1s (limits.rules[0])."))
    same(web.at_end(), True)
    for client in (report, other):
        client.close()


@test("running: a client's own cancel has PostgreSQL's words, and one that is late for its statement harms nobody",
      settings={"limits": {"query_timeout": "30s"}}, subjects=PGMEND)
def own_cancel(t):
    client = t.wire()
    client.send(wire.query(LONG))
    poll(lambda: t.servers(f"query = '{LONG}' AND state = 'active'"), "it runs")
    t.wire(login=False).send(wire.cancel(client.pid, client.key))
    fields = error(client.ready())
    same((fields["C"], fields["M"], fields.get("D")), ("57014", "canceling statement due to user request", None))
    same(ended(t, "query_timeout"), 0.0)
    client.close()
