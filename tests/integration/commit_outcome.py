"""COMMITs whose answer is lost: what became of them is found out, and nobody is lied to."""

import contextlib
import random

import wire
from clusters import Cluster, crash
from harness import PASSWORDS, check, poll, same, tail
from registry import register
from replay import Block, Transfers, counted, table
from tcp_gate import TcpGate
from writes import held, turn

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def plain(subject, metric):
    return sum(float(line.split()[1]) for line in subject.http("/metrics")[1].splitlines()
               if line.startswith(metric + " "))


# It is off by default.
WATCHED = {"guard": {"commit_outcome": "on"}}


def quiet_server(t):
    """One whose checkpoints do not come between: they cost certainty."""
    return Cluster(t, standbys=0, checkpoint_timeout="1h")


def outcomes(subject, reason):
    return counted(subject, "pgmend_commit_outcomes_total", f'reason="{reason}"')


def gated(t, name, target=None, **settings):
    """A pgmend behind a gate to the server of the run, or to `target`."""
    target = target or t.postgres
    gate = TcpGate((target.host, target.port))
    t.closing.callback(gate.close)
    gate.open()
    subject = t.own(name, url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{gate.port}/app", settings={**WATCHED, **settings})
    return gate, subject


def extended(sql):
    return wire.parse("", sql) + wire.bind("", "") + wire.describe("P", "") + wire.execute() + wire.SYNC


def once(what):
    """For the gate: what is done to the next COMMIT, and nothing to others."""
    plan = [what]
    return lambda: plan.pop() if plan else None


@test("commit: cut while it asks and while it is answered, in either protocol, its client gets PostgreSQL's own answer",
      subjects=PGMEND, seconds=60)
def cut_either_way(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE cut_commit (id int, b text)")
    gate, subject = gated(t, "cut", cluster.primary)
    number = 0
    for where, reason in (("asking", "status_aborted"), ("answering", "status_committed")):
        for say in (wire.query, extended):
            number += 1
            block = Block(t, subject)
            before = outcomes(subject, reason)
            plain = t.wire(on=subject)
            wanted = [wire.tags(plain.ask(say(sql))) for sql in ("BEGIN", "UPDATE cut_commit SET id = id")]
            shape = [kind for kind, _ in plain.ask(say("COMMIT"))]
            plain.close()
            same([wire.tags(block.client.ask(say("BEGIN")))], wanted[:1])
            block.client.ask(say(f"INSERT INTO cut_commit VALUES ({number}, 'x')"))
            gate.call(lambda: setattr(gate, "at_commit", once(where)))
            told = block.client.ask(say("COMMIT"))
            same(wire.tags(told), ["COMMIT"], f"{where}: {tail(subject.log)}")
            same([kind for kind, _ in told], shape, where)
            same(outcomes(subject, reason), before + 1, f"{where}: {tail(subject.log)}")
            same(cluster.sql(f"SELECT count(*) FROM cut_commit WHERE id = {number}"), [(1,)], where)
            same(block.client.rows("SELECT 5"), [["5"]])
            # Of a COPY the server cannot be asked right behind it: it is asked ahead of COMMIT.
            block.client.query("BEGIN")
            block.client.send(wire.query("COPY cut_commit FROM STDIN"))
            block.client.until("G")
            block.client.send(wire.copy_data(f"{number + 100}\tx\n") + wire.message("c"))
            same(wire.tags(block.client.ready()), ["COPY 1"])
            gate.call(lambda: setattr(gate, "at_commit", once(where)))
            same(wire.tags(block.client.query("COMMIT")), ["COMMIT"], f"{where}: {tail(subject.log)}")
            same(cluster.sql(f"SELECT count(*) FROM cut_commit WHERE id = {number + 100}"), [(1,)], where)
            block.client.close()


@test("commit: of a block that wrote nothing it is sent again, and no number is asked for", subjects=PGMEND, seconds=60)
def wrote_nothing(t):
    table(t, "nothing_commit")
    gate, subject = gated(t, "nothing")
    for write, known in ((None, 0), ("UPDATE nothing_commit SET b = 'y' WHERE id = 77", 1)):
        for where in ("asking", "answering"):
            client = t.wire(on=subject)
            client.query("BEGIN")
            same(wire.rows_of(client.query("SELECT 3")), [["3"]])
            if write is not None:
                same(wire.tags(client.query(write)), ["UPDATE 0"])
            before = outcomes(subject, "nothing_written")
            gate.call(lambda: setattr(gate, "at_commit", once(where)))
            same(wire.tags(client.query("COMMIT")), ["COMMIT"], f"{write} {where}: {tail(subject.log)}")
            same(outcomes(subject, "nothing_written"), before + known)
            client.close()
    # A notification gets its number with the commit alone: it is not known whether it was sent.
    client = t.wire(on=subject)
    client.query("BEGIN")
    client.query("NOTIFY nothing_commit")
    gate.call(lambda: setattr(gate, "at_commit", once("answering")))
    same(wire.sqlstates(client.query("COMMIT")), ["08007"])


@test("commit: an error of the server's as its answer means that nothing was done, and it is run again",
      subjects=PGMEND, seconds=60)
def refused_by_server(t):
    table(t, "fatal_commit")
    gate, subject = gated(t, "fatal")
    block = Block(t, subject)
    block.client.query("BEGIN")
    block.client.query("INSERT INTO fatal_commit VALUES (1, 'x')")
    block.client.query("SELECT 1")  # by now the number has come, which COMMIT would wait for
    # Its last words are kept back until the COMMIT is on its way.
    gate.silence()
    pid = t.admin(f"SELECT pid FROM pg_stat_activity WHERE application_name = '{block.mark}'")[0][0]
    t.admin(f"SELECT pg_terminate_backend({pid})")
    sent = plain(subject, "pgmend_server_bytes_sent_total")
    block.client.send(wire.query("COMMIT"))
    poll(lambda: plain(subject, "pgmend_server_bytes_sent_total") > sent, "it is sent")
    gate.speak()
    same(wire.tags(block.client.ready()), ["COMMIT"], tail(subject.log))
    same(t.admin("SELECT count(*) FROM fatal_commit"), [(1,)])
    check(counted(subject, "pgmend_recoveries_total", 'reason="replayable"') > 0, tail(subject.log))


@test("commit: one that waits for a synchronous standby is left to end by itself, and then answered",
      subjects=PGMEND, seconds=90)
def waits_for_standby(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE waiting (id int)")
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    cluster.sql("SELECT pg_reload_conf()")
    poll(lambda: cluster.sql("SHOW synchronous_standby_names") == [("nobody",)], "it is loaded")
    gate, subject = gated(t, "syncrep", cluster.primary)
    client = t.wire(on=subject)
    client.query("BEGIN")
    client.query("INSERT INTO waiting VALUES (1)")
    client.send(wire.query("COMMIT"))
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    old = poll(lambda: cluster.sql(waiting), "it waits for its standby")
    for link in list(gate.links):
        gate.call(link.reset)
    asks = "wait_event = 'PgSleep' AND query LIKE '%pg_stat_get_activity%'"
    poll(lambda: cluster.sql(f"SELECT 1 FROM pg_stat_activity WHERE {asks}"),
         f"pgmend waits for it\n{tail(subject.log)}", 30)
    same(cluster.sql(waiting), old, "it was not ended")
    same(cluster.sql("SELECT count(*) FROM waiting"), [(0,)])
    cluster.sql("ALTER SYSTEM RESET synchronous_standby_names")
    cluster.sql("SELECT pg_reload_conf()")
    same(wire.tags(client.ready()), ["COMMIT"], tail(subject.log))
    same(cluster.sql("SELECT count(*) FROM waiting"), [(1,)])
    same(outcomes(subject, "status_committed"), 1)


@test("commit: a number that was given again after a crash proves nothing", subjects=PGMEND, seconds=120)
def given_again(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE again_commit (id int)")
    gate, subject = gated(t, "again", cluster.primary)

    def attempt(number):
        """Whether the number of the client's transaction became that of another one, which was committed."""
        client = t.wire(on=subject)
        client.query("BEGIN")
        client.query(f"INSERT INTO again_commit VALUES ({number})")
        rows = cluster.sql("SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE usename = 'app' "
                           "AND backend_xid IS NOT NULL")
        same(len(rows), 1, "one transaction")

        def cut():
            gate.passable.clear()  # and nobody can be asked
            gate.at_commit = lambda: None
            return "asking"

        gate.call(lambda: setattr(gate, "at_commit", cut))
        client.send(wire.query("COMMIT"))
        poll(lambda: not gate.call(gate.passable.is_set), "it is cut")
        crash(cluster.primary)
        cluster.primary.start()
        given = 0
        while given < rows[0][0]:
            given = cluster.sql("INSERT INTO again_commit VALUES (0) "
                                "RETURNING pg_current_xact_id()::text::bigint")[0][0]
        reused = cluster.sql(f"SELECT pg_xact_status('{rows[0][0]}')") == [("committed",)]
        gate.speak()
        told = client.ready()
        there = cluster.sql(f"SELECT count(*) FROM again_commit WHERE id = {number}")[0][0]
        if wire.tags(told) == ["COMMIT"]:
            same(there, 1, f"it is told that it was carried out\n{tail(subject.log)}")
        else:
            same((wire.sqlstates(told), there), (["08007"], 0), tail(subject.log))
        client.close()
        return reused

    check(any(attempt(number) for number in range(1, 6)), "it happens that a number is given again")


@test("commit: one that is run again runs only when all that was shown has come out the same, also of its own group",
      subjects=PGMEND, seconds=60)
def proven_first(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE proven (id int)")
    gate, subject = gated(t, "proven", cluster.primary)
    for number, shows in enumerate(("SELECT pg_backend_pid()", "SELECT 5")):
        client = t.wire(on=subject)
        for text in ("BEGIN", f"INSERT INTO proven VALUES ({number})", shows):
            client.query(text)
        client.send(wire.parse("", "COMMIT") + wire.bind("", "") + wire.FLUSH)
        client.until("2")
        gate.silence()
        before = plain(subject, "pgmend_server_bytes_sent_total")
        client.send(wire.execute() + wire.SYNC)
        poll(lambda: plain(subject, "pgmend_server_bytes_sent_total") > before, "its end is sent")
        gate.call(lambda: [link.reset() for link in list(gate.links)])
        gate.speak()
        told = client.until("Z")
        same(wire.sqlstates(told), ["40001"][number:], tail(subject.log, 40))
        same(cluster.sql(f"SELECT count(*) FROM proven WHERE id = {number}"), [(number,)], "an error is no lie")
        client.close()


@test("commit: where it cannot be known it is told by 08007, and so it is wherever it is switched off", subjects=PGMEND,
      seconds=60)
def not_known(t):
    table(t, "unknown_commit")
    gate, off = gated(t, "off", guard={"commit_outcome": "off"})
    client = t.wire(on=off)
    client.query("BEGIN")
    client.query("INSERT INTO unknown_commit VALUES (1, 'x')")
    gate.call(lambda: setattr(gate, "at_commit", once("answering")))
    same(wire.sqlstates(client.query("COMMIT")), ["08007"])
    same(client.rows("SELECT 5"), [["5"]])
    same(outcomes(off, "no_evidence"), 1)
    # Sent together with what it commits, nothing is known ahead of it.
    gate, subject = gated(t, "pipelined")
    client = t.wire(on=subject)
    gate.call(lambda: setattr(gate, "at_commit", once("answering")))
    client.send(wire.parse("", "BEGIN") + wire.bind("", "") + wire.execute()
                + wire.parse("", "INSERT INTO unknown_commit VALUES (2, 'x')") + wire.bind("", "") + wire.execute()
                + wire.parse("", "COMMIT") + wire.bind("", "") + wire.execute() + wire.SYNC)
    same(wire.sqlstates(client.ready()), ["08007"])
    same(client.rows("SELECT 5"), [["5"]])


@test("commit: the server's question about a number leaves its client's isolation alone", subjects=PGMEND, seconds=60)
def leaves_alone(t):
    table(t, "alone_commit")
    subject = t.own("alone", settings=WATCHED)
    client = t.wire(on=subject)
    # No snapshot is taken before the client's own statements take one.
    client.query("BEGIN")
    client.query("LOCK TABLE alone_commit IN SHARE MODE")
    same(wire.sqlstates(client.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")), [])
    same(wire.sqlstates(client.query("COMMIT")), [])
    # A failed statement, and a block that is gone back in.
    client.query("BEGIN")
    client.query("SAVEPOINT a")
    same(wire.sqlstates(client.query("INSERT INTO alone_commit VALUES ('no number', 'x')")), ["22P02"])
    same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
    client.query("ROLLBACK TO a")
    same(wire.tags(client.query("INSERT INTO alone_commit VALUES (1, 'x')")), ["INSERT 0 1"])
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    # COPY from the client, which the server reads right behind the statement.
    client.query("BEGIN")
    client.send(wire.query("COPY alone_commit FROM STDIN"))
    client.until("G")
    client.send(wire.copy_data("2\ty\n") + wire.message("c"))
    same(wire.tags(client.ready()), ["COPY 1"])
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    same(t.admin("SELECT count(*) FROM alone_commit"), [(2,)])


def block_of(*statements):
    """All of them in one flight of the extended protocol."""
    return b"".join(wire.parse("", sql) + wire.bind("", "") + wire.execute() for sql in statements) + wire.SYNC


@test("commit: a block whose first flight the server takes no writes of waits for a server that does, as without it",
      subjects=PGMEND, seconds=60)
def first_flight_refused(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE first_flight (id int)")
    subject = t.own("refusedfirst", url=cluster.url(), pool_size=1, settings=WATCHED)
    client = t.wire(on=subject, timeout=60)
    for sql in ("BEGIN", "INSERT INTO first_flight VALUES (0)", "COMMIT"):
        same(wire.sqlstates(client.query(sql)), [])  # what is to be known ahead of a block is known
    turn(cluster, "on")
    client.send(block_of("BEGIN", "INSERT INTO first_flight VALUES (1)"))
    poll(lambda: held(subject) == 1, f"it waits\n{tail(subject.log)}", 30)
    turn(cluster, "off")
    told = client.ready()
    same((wire.tags(told), wire.statuses(told)), (["BEGIN", "INSERT 0 1"], "T"), tail(subject.log))
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    same(cluster.sql("SELECT count(*) FROM first_flight"), [(2,)])


@test("commit: what the last client of a connection has set is not in the way of asking there what became of it",
      subjects=PGMEND, seconds=90)
def asked_by_nobody_else(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE asked_there (id int); CREATE TABLE elsewhere (id int)")
    cluster.sql("SET ROLE app; CREATE SCHEMA evil; CREATE FUNCTION evil.ge(xid8, xid8) RETURNS bool LANGUAGE sql IMMUTABLE "
                "AS 'SELECT true'; CREATE OPERATOR evil.>= (LEFTARG = xid8, RIGHTARG = xid8, FUNCTION = evil.ge)")
    waits = ("SET default_transaction_isolation = serializable", "SET default_transaction_read_only = on",
             "SET default_transaction_deferrable = on")
    writer = t.wire(host=cluster.primary.host, port=cluster.primary.port)  # for which a snapshot that is safe would wait
    for sql in ("BEGIN ISOLATION LEVEL SERIALIZABLE", "INSERT INTO elsewhere VALUES (1)"):
        same(wire.sqlstates(writer.query(sql)), [])
    for number, settings in enumerate((("SET search_path = evil, pg_catalog",), waits)):
        gate, subject = gated(t, f"asker{number}", cluster.primary, pool={"size": 2})
        last, client = t.wire(on=subject), t.wire(on=subject, timeout=30)
        client.query("BEGIN")
        client.query(f"INSERT INTO asked_there VALUES ({number})")
        for sql in settings:
            same(wire.sqlstates(last.query(sql)), [], sql)
        gate.call(lambda: setattr(gate, "at_commit", once("answering")))
        same(wire.tags(client.query("COMMIT")), ["COMMIT"], f"{settings}\n{tail(subject.log)}")
        same(outcomes(subject, "status_committed"), 1)
        client.close()
        last.close()
    writer.close()


@test("commit: who cancels a COMMIT that waits for our question alone gets PostgreSQL's error, and nothing is committed",
      subjects=PGMEND, seconds=60)
def cancelled_while_asked(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE waited_for (id int)")
    subject = t.own("cancelled", url=cluster.url(), pool_size=2, settings=WATCHED)
    writer = t.wire(host=cluster.primary.host, port=cluster.primary.port)
    for sql in ("BEGIN ISOLATION LEVEL SERIALIZABLE", "INSERT INTO waited_for VALUES (1)"):
        same(wire.sqlstates(writer.query(sql)), [])
    client = t.wire(on=subject, timeout=30)
    client.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE")
    client.query("LOCK TABLE waited_for IN ACCESS SHARE MODE")
    client.send(wire.query("COMMIT"))
    poll(lambda: cluster.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SafeSnapshot'"), "the question waits", 30)
    with contextlib.closing(wire.Wire(subject.host, subject.port).socket) as canceller:
        canceller.sendall(wire.cancel(client.pid, client.key))
    told = client.ready()
    same((wire.sqlstates(told), wire.statuses(told)), (["57014"], "I"), tail(subject.log))
    same(client.rows("SELECT 5"), [["5"]])
    writer.close()


@test("commit: an old backend that is not found and has not ended is waited for, and then its COMMIT is answered",
      subjects=PGMEND, seconds=90)
def asked_again(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE asked_again (id int)")
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    cluster.sql("SELECT pg_reload_conf()")
    poll(lambda: cluster.sql("SHOW synchronous_standby_names") == [("nobody",)], "it is loaded")
    gate, subject = gated(t, "hiding", cluster.primary, hold={"timeout": "60s"})
    gate.call(lambda: setattr(gate, "hides_pids", True))
    client = t.wire(on=subject, timeout=60)
    client.query("BEGIN")
    client.query("INSERT INTO asked_again VALUES (1)")
    client.send(wire.query("COMMIT"))
    poll(lambda: cluster.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), "it waits for its standby")
    for link in list(gate.links):
        gate.call(link.reset)
    asked = set()

    def often():
        asked.update(cluster.sql("SELECT pid, query_start FROM pg_stat_activity WHERE query LIKE '%pg_xact_status%' "
                                 "AND usename = 'app'"))
        return len(asked) > 1

    poll(often, f"it is asked more than once\n{tail(subject.log)}", 30)
    cluster.sql("ALTER SYSTEM RESET synchronous_standby_names")
    cluster.sql("SELECT pg_reload_conf()")
    same(wire.tags(client.ready()), ["COMMIT"], tail(subject.log))
    same(cluster.sql("SELECT count(*) FROM asked_again"), [(1,)])
    same(outcomes(subject, "status_committed"), 1)


@test("commit: a server that refuses to tell costs nobody a transaction, and SHOW COVERAGE says what is not covered",
      subjects=PGMEND, seconds=60)
def refused_to_tell(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE not_told (id int)")
    subject = t.own("nottold", url=cluster.url(), pool_size=2, settings=WATCHED)
    client = t.wire(on=subject)

    def moves(count):
        for _ in range(count):
            same([wire.tags(client.query(sql)) for sql in ("BEGIN", "INSERT INTO not_told VALUES (1)", "COMMIT")],
                 [["BEGIN"], ["INSERT 0 1"], ["COMMIT"]], tail(subject.log))

    def unguarded(reason):
        return counted(subject, "pgmend_commits_unguarded_total", f'reason="{reason}"')

    moves(2)
    same((unguarded("refused"), unguarded("not_alone")), (0, 0))
    cluster.sql("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC")
    moves(3)
    same(unguarded("refused"), 3)
    same(cluster.sql("SELECT count(*) FROM not_told"), [(5,)])
    with contextlib.closing(t.wire(on=subject, user="app", database="pgmend")) as console:
        found = {row[1]: row[4] for row in console.rows("SHOW COVERAGE") if row[0] == "app"}
    same((found["commit_sent"], found["covered"]), ("3", "2"))


def transfers(t, cluster, subject, strike, clients=6):
    """Naive clients that move money while `strike` does its worst. Returns what they were told in COMMIT."""
    cluster.sql("SET ROLE app; CREATE TABLE accounts (id int PRIMARY KEY, money bigint)")
    cluster.sql("INSERT INTO accounts SELECT g, CASE g WHEN 0 THEN 0 ELSE 1000000 END FROM generate_series(0, 200) g")
    workers = [Transfers(t, subject, number) for number in range(1, clients + 1)]
    for worker in workers:
        worker.thread.start()

    def works(more):
        before = [worker.done for worker in workers]
        poll(lambda: all(worker.done > done + more for worker, done in zip(workers, before)),
             f"everybody works\n{tail(subject.log)}", 60)

    try:
        works(3)
        strike(works)
        works(3)
    finally:
        for worker in workers:
            worker.over.set()
        for worker in workers:
            worker.thread.join(60)
    money = dict(cluster.sql("SELECT id, money FROM accounts"))
    for worker in workers:
        moved = 1000000 - money[worker.number]
        same(money[worker.number + 100], 1000000 + moved, "nothing by halves")
        check(worker.acknowledged <= moved <= worker.acknowledged + worker.unknown,
              f"{moved} moved, {worker.acknowledged} acknowledged, {worker.unknown} unknown\n{tail(subject.log)}")
    same(sum(1000000 - money[worker.number] for worker in workers), money[0], "none lost, none twice")
    same([error for worker in workers for error in worker.errors], [], tail(subject.log))
    return [error for worker in workers for error in worker.in_commit]


@test("commit: naive clients that move money while COMMITs are cut at random in both directions hear nothing of it",
      subjects=PGMEND, seconds=180)
def cut_at_random(t):
    cluster = quiet_server(t)
    gate, subject = gated(t, "random", cluster.primary)
    dice = random.Random(1)
    cuts = []

    def throw():
        where = dice.choice(("asking", "answering")) if dice.random() < 0.15 else None
        if where:
            cuts.append(where)
        return where

    def strike(works):
        gate.call(lambda: setattr(gate, "at_commit", throw))
        poll(lambda: min(cuts.count("asking"), cuts.count("answering")) >= 10, f"they are cut\n{tail(subject.log)}", 90)
        gate.call(lambda: setattr(gate, "at_commit", lambda: None))

    told = transfers(t, cluster, subject, strike)
    print(f"    {cuts.count('asking')} cut while they asked, {cuts.count('answering')} while they were answered")
    same(told, [], f"nobody hears of it\n{tail(subject.log)}")
    check(outcomes(subject, "status_committed") >= 10, "those that were carried out are answered")
    check(outcomes(subject, "status_aborted") >= 10, "those that were not are run again")


@test("commit: naive clients that move money while all backends are terminated: nobody hears of it in COMMIT either",
      subjects=PGMEND, seconds=120)
def through_terminations(t):
    cluster = quiet_server(t)
    subject = t.own("ended", url=cluster.url(), pool_size=6, settings=WATCHED)

    def strike(works):
        for _ in range(8):
            cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            works(2)

    same(transfers(t, cluster, subject, strike), [], tail(subject.log))


@test("commit: naive clients that move money through crashes are lied to in no COMMIT", subjects=PGMEND, seconds=120)
def through_crashes(t):
    cluster = quiet_server(t)
    subject = t.own("crashed", url=cluster.url(), pool_size=6, settings=WATCHED)

    def strike(works):
        for _ in range(3):
            crash(cluster.primary)
            cluster.primary.start()
            works(3)

    told = transfers(t, cluster, subject, strike)
    print(f"    told in COMMIT: {told}")
    for _, code, words in told:
        same(code, "08007", words)
