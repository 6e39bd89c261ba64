"""Transactions whose server is lost before their COMMIT was sent: run again, proven to be the same, or refused."""

import contextlib
import signal
import threading
import time

import psycopg

import wire
from clusters import Cluster, crash
from harness import PASSWORDS, check, poll, same, tail
from registry import register
from tcp_gate import TcpGate

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def counted(subject, metric, label):
    wanted = f"{metric}{{{label}}} "
    return sum(float(line.removeprefix(wanted)) for line in subject.http("/metrics")[1].splitlines()
               if line.startswith(wanted))


def continued(subject):
    return counted(subject, "pgmend_replays_total", 'outcome="continued"')


def kill_backend(t, mark):
    """Ends the backend that works under this application_name, and sees it gone."""
    pids = [row[0] for row in t.admin(f"SELECT pid FROM pg_stat_activity WHERE application_name = '{mark}'")]
    same(len(pids), 1, f"one backend of {mark}")
    t.admin(f"SELECT pg_terminate_backend({pids[0]})")
    poll(lambda: not t.servers(f"pid = {pids[0]}"), "the backend ends")


class Block:
    """A client in a transaction of its own, whose server can be taken from it at any moment."""

    number = 0

    def __init__(self, t, subject):
        Block.number += 1
        self.t, self.subject, self.mark = t, subject, f"block{Block.number}"
        self.client = t.wire(on=subject)
        self.client.query(f"SET application_name = '{self.mark}'")

    def lose(self):
        before = continued(self.subject)
        kill_backend(self.t, self.mark)
        return before

    def kept(self):
        """The server is taken, and the transaction goes on by itself."""
        before = self.lose()
        poll(lambda: continued(self.subject) == before + 1, f"it is run again\n{tail(self.subject.log)}", 30)


def table(t, name):
    t.admin(f"SET ROLE app; DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (id int, b text)")


@test("replay: a transaction goes on over the loss of its server after each of its statements, in either protocol",
      subjects=PGMEND, seconds=120)
def every_place(t):
    table(t, "again")
    subject = t.own("again")

    def simple(sql):
        return lambda client: client.query(sql)

    def extended(sql, name=""):
        return lambda client: client.ask(wire.parse(name, sql) + wire.bind("", name) + wire.describe("P", "")
                                         + wire.execute() + wire.SYNC)

    rounds = [
        [simple("BEGIN"), simple("INSERT INTO again VALUES (1, 'x')"), simple("SELECT * FROM again"),
         simple("SAVEPOINT a"), simple("INSERT INTO again VALUES (2, 'y')"), simple("SELECT 1/0"),
         simple("ROLLBACK TO a"), simple("UPDATE again SET b = 'z' RETURNING *")],
        [extended("BEGIN"), extended("INSERT INTO again VALUES (1, 'x')", "ins"), extended("SELECT * FROM again"),
         lambda client: client.ask(wire.close("S", "ins") + wire.SYNC),
         extended("INSERT INTO again VALUES (3, 'x')", "ins"),
         lambda client: client.ask(wire.bind("", "ins") + wire.execute() + wire.SYNC),
         extended("SELECT id, count(*) FROM again GROUP BY id ORDER BY id", "sum")],
        [simple("BEGIN"), simple("CREATE TEMP TABLE mine (a int) ON COMMIT DROP"), simple("SET LOCAL work_mem = '1MB'"),
         simple("SET timezone = 'Asia/Tokyo'"), simple("INSERT INTO mine VALUES (1)"), simple("SHOW timezone"),
         simple("DECLARE c CURSOR FOR SELECT generate_series(1, 10)"), simple("FETCH 3 FROM c"), simple("FETCH 3 FROM c")],
        [simple("BEGIN ISOLATION LEVEL SERIALIZABLE"), simple("INSERT INTO again VALUES (1, 'x')"),
         lambda client: client.ask(wire.parse("", "SELECT generate_series(1, 5)") + wire.bind("p", "") + wire.execute("p", 2)
                                   + wire.FLUSH + wire.SYNC),
         simple("SELECT count(*) FROM again")],
    ]
    for steps in rounds:
        plain = t.wire(on=subject)
        wanted = [shown(step(plain)) for step in steps]
        plain.query("ROLLBACK")
        same(plain.rows("SELECT 5"), [["5"]])
        for lost_behind in range(len(steps)):
            block = Block(t, subject)
            for number, step in enumerate(steps):
                same(shown(step(block.client)), wanted[number], f"step {number}, lost behind {lost_behind}")
                if number == lost_behind:
                    block.kept()
            same(wire.tags(block.client.query("COMMIT")), ["COMMIT"])
            same(wire.rows_of(block.client.query("SELECT 5")), [["5"]])
            t.admin("TRUNCATE again")
            block.client.close()


def shown(messages):
    """What a client is shown, without what may come at any time; and without the places in PostgreSQL's source."""
    return [(kind, body) for kind, body in messages if kind not in "SNA"]


@test("replay: what was under way when the server went is answered, and a portal goes on where it was", subjects=PGMEND,
      seconds=60)
def under_way(t):
    table(t, "under_way")
    subject = t.own("under")
    block = Block(t, subject)
    client = block.client
    client.query("BEGIN")
    client.query("INSERT INTO under_way VALUES (1, 'x')")
    client.send(wire.query("SELECT count(*), pg_sleep(1) FROM under_way"))
    poll(lambda: t.servers(f"application_name = '{block.mark}' AND wait_event = 'PgSleep'"), "it runs")
    block.lose()
    same(wire.rows_of(client.ready()), [["1", ""]])
    # A named portal in the middle of its rows, within one group.
    client.send(wire.parse("", "SELECT generate_series(1, 5)") + wire.bind("p", "") + wire.execute("p", 2) + wire.FLUSH)
    same(wire.rows_of(client.until("s")), [["1"], ["2"]])
    block.kept()
    same(wire.rows_of(client.ask(wire.execute("p", 2) + wire.SYNC)), [["3"], ["4"]])
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    same(t.admin("SELECT count(*) FROM under_way"), [(1,)])
    # COPY in, of which a part has gone to the server that is lost.
    client.query("BEGIN")
    client.send(wire.query("COPY under_way FROM STDIN") + wire.copy_data("2\ty\n"))
    client.until("G")
    block.kept()
    client.send(wire.copy_data("3\tz\n") + wire.message("c"))
    same(wire.tags(client.ready()), ["COPY 2"])
    block.kept()
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    same(t.admin("SELECT count(*) FROM under_way"), [(3,)])
    # A large answer of which a part was shown.
    client.query("BEGIN")
    client.query("INSERT INTO under_way VALUES (4, 'x')")
    client.send(wire.query("SELECT g, repeat('x', 1000) FROM generate_series(1, 100000) g"))
    client.until("D")
    before = block.lose()
    rows = [row[0] for row in wire.rows_of(client.ready())]
    same(rows, [str(number) for number in range(2, 100001)], "behind the first, each once")
    poll(lambda: continued(subject) > before, "it was run again")
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])


@test("replay: an answer that comes out otherwise is told by 40001, and nothing of the transaction is done",
      subjects=PGMEND, seconds=60)
def differs(t):
    table(t, "differs")
    subject = t.own("differs")
    for statement in ("SELECT pg_backend_pid()", "SELECT now()", "SELECT count(*) FROM differs WHERE b = 'other'"):
        block = Block(t, subject)
        block.client.query("BEGIN")
        block.client.query("INSERT INTO differs VALUES (1, 'mine')")
        block.client.query(statement)
        t.admin("INSERT INTO differs VALUES (2, 'other')")
        before = counted(subject, "pgmend_replays_total", 'outcome="different"')
        block.lose()
        poll(lambda: counted(subject, "pgmend_replays_total", 'outcome="different"') == before + 1, "it is refused", 30)
        same(wire.sqlstates(block.client.query("SELECT 1")), ["40001"], statement)
        same(wire.sqlstates(block.client.query("SELECT 1")), ["25P02"])
        same(wire.tags(block.client.query("COMMIT")), ["ROLLBACK"])
        same(block.client.rows("SELECT 7"), [["7"]])
    same(t.admin("SELECT count(*) FROM differs WHERE b = 'mine'"), [(0,)])


@test("replay: what reaches beyond its transaction is never run again, each for its reason", subjects=PGMEND, seconds=120)
def refused(t):
    table(t, "refused_again")
    t.admin("SET ROLE app; CREATE OR REPLACE FUNCTION opaque_again() RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN EXECUTE 'SELECT 1'; RETURN 1; END $$; CREATE OR REPLACE PROCEDURE called_again() LANGUAGE sql AS '';"
            "DROP TABLE IF EXISTS locked_again; DROP SEQUENCE IF EXISTS numbers_again CASCADE;"
            "CREATE TABLE locked_again (a int); CREATE SEQUENCE numbers_again;"
            "CREATE OR REPLACE FUNCTION lock_again() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;"
            "CREATE TRIGGER lock_again BEFORE INSERT ON locked_again FOR EACH ROW EXECUTE FUNCTION lock_again();"
            "CREATE OR REPLACE VIEW drawn_again AS SELECT setval('numbers_again', 5) AS now_at")
    plain = t.own("plain")
    off = t.own("off", settings={"pool": {"rules": [{"user": "app", "replay": "off"}]}})
    small = t.own("small", settings={"replay": {"max_bytes": "1KiB", "max_statements": 3}})
    old = t.own("old", settings={"replay": {"max_age": "1ms"}})
    for subject, reason, statements in (
        (plain, "advisory_lock", ["SELECT pg_advisory_xact_lock(7)"]),
        (plain, "unknown_function", ["SELECT opaque_again()"]),
        (plain, "procedure", ["CALL called_again()"]),
        (plain, "procedure", ["DO $$ BEGIN END $$"]),
        (plain, "sql_statements", ["PREPARE again_p AS SELECT 1"]),
        (plain, "listening", ["LISTEN again_c"]),
        (plain, "outside_effects", ["SELECT pg_cancel_backend(0)"]),
        (plain, "outside_effects", ["INSERT INTO locked_again VALUES (1)"]),
        (plain, "outside_effects", ["SELECT now_at FROM drawn_again"]),
        (off, "switched_off", ["SELECT 1"]),
        (small, "not_recorded", ["SELECT '" + "x" * 2000 + "'"]),
        (small, "too_many", ["SELECT 1", "SELECT 2", "SELECT 3"]),
        (old, "too_old", ["SELECT 1"]),
    ):
        label = f'reason="{reason}"'
        before = counted(subject, "pgmend_replays_refused_total", label)
        block = Block(t, subject)
        block.client.query("BEGIN")
        block.client.query("INSERT INTO refused_again VALUES (1, 'x')")
        for statement in statements:
            same(wire.sqlstates(block.client.query(statement)), [], statement)
        if reason == "too_old":
            time.sleep(0.01)  # its age
        kill_backend(t, block.mark)
        poll(lambda: counted(subject, "pgmend_replays_refused_total", label) == before + 1,
             f"{reason}: {[line for line in subject.http('/metrics')[1].splitlines() if 'refused_total' in line]}", 30)
        with contextlib.suppress(wire.Closed):
            told = wire.sqlstates(block.client.query("SELECT 1"))
            check(told[0] in ("40003", "57P01"), f"{reason}: {told}")
        block.client.drop()
    same(t.admin("SELECT count(*) FROM refused_again"), [(0,)])


@test("replay: the old backend is ended before anything is run again, where the connection broke and it lives on",
      subjects=PGMEND, seconds=60)
def old_backend(t):
    table(t, "ghost")
    t.admin("INSERT INTO ghost VALUES (1, 'x'); SET ROLE app; DROP TABLE IF EXISTS ghost_gate; CREATE TABLE ghost_gate (a int)")
    gate = TcpGate((t.postgres.host, t.postgres.port))
    t.closing.callback(gate.close)
    gate.open()
    subject = t.own("ghost", url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{gate.port}/app")
    holder = t.wire(direct=True)
    holder.query("BEGIN")
    holder.query("LOCK TABLE ghost_gate")
    block = Block(t, subject)
    block.client.query("BEGIN")
    same(wire.tags(block.client.query("UPDATE ghost SET b = 'y'")), ["UPDATE 1"])
    # It waits for a lock and does not notice that nobody is there any more; nor does it let go of its row.
    block.client.send(wire.query("SELECT count(*) FROM ghost_gate"))

    def waiting():
        return {row[0] for row in t.admin("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                          "AND query = 'SELECT count(*) FROM ghost_gate'")}

    old = poll(waiting, "it waits")
    for link in list(gate.links):
        gate.call(link.reset)
    poll(lambda: waiting() and not waiting() & old, f"another one waits, and the old one is gone\n{tail(subject.log)}", 30)
    holder.query("ROLLBACK")
    same(wire.rows_of(block.client.ready()), [["0"]])
    same(wire.tags(block.client.query("COMMIT")), ["COMMIT"])
    same(t.admin("SELECT b FROM ghost"), [("y",)])


class Transfers:
    """A client without any code for failures that moves money between two accounts of its own, in blocks that read
    what they change, and counts in a row that all share."""

    def __init__(self, t, subject, number):
        self.t, self.subject, self.number = t, subject, number
        self.done = self.acknowledged = self.unknown = 0
        self.errors, self.in_commit = [], []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        connection = None
        while not self.over.is_set():
            stage = "login"
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(**self.t.conninfo(on=self.subject), autocommit=True,
                                                 prepare_threshold=None if self.number % 2 else 2)
                stage = "block"
                connection.execute("BEGIN")
                (mine,) = connection.execute("SELECT money FROM accounts WHERE id = %s FOR UPDATE", (self.number,)).fetchone()
                connection.execute("UPDATE accounts SET money = %s WHERE id = %s", (mine - 1, self.number))
                (other,) = connection.execute("SELECT money FROM accounts WHERE id = %s FOR UPDATE",
                                              (self.number + 100,)).fetchone()
                connection.execute("UPDATE accounts SET money = %s WHERE id = %s", (other + 1, self.number + 100))
                connection.execute("UPDATE accounts SET money = money + 1 WHERE id = 0")
                stage = "commit"
                connection.execute("COMMIT")
                self.acknowledged += 1
            except psycopg.Error as error:
                code = error.sqlstate or "closed"
                (self.in_commit if stage == "commit" else self.errors).append((stage, code, str(error).splitlines()[0]))
                self.unknown += code in ("08007", "closed")
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()
            self.done += 1
            time.sleep(0.002)
        connection.close()


def transfers(t, name, strike, standbys=0, judged_on=0, clients=8):
    cluster = Cluster(t, standbys=standbys)
    cluster.sql("SET ROLE app; CREATE TABLE accounts (id int PRIMARY KEY, money bigint)")
    cluster.sql("INSERT INTO accounts SELECT g, CASE g WHEN 0 THEN 0 ELSE 1000000 END FROM generate_series(0, 200) g")
    subject = t.own(name, url=cluster.url(), pool_size=clients)
    workers = [Transfers(t, subject, number) for number in range(1, clients + 1)]
    for worker in workers:
        worker.thread.start()

    def works(more):
        before = [worker.done for worker in workers]
        poll(lambda: all(worker.done > done + more for worker, done in zip(workers, before)),
             f"everybody works\n{tail(subject.log)}", 60)

    try:
        works(3)
        strike(cluster, subject, works)
        works(3)
    finally:
        for worker in workers:
            worker.over.set()
        for worker in workers:
            worker.thread.join(60)
    errors = [error for worker in workers for error in worker.errors]
    money = dict(cluster.sql("SELECT id, money FROM accounts", on=cluster.servers[judged_on]))
    for worker in workers:
        moved = 1000000 - money[worker.number]
        same(money[worker.number + 100], 1000000 + moved, "nothing by halves")
        check(worker.acknowledged <= moved <= worker.acknowledged + worker.unknown,
              f"{moved} moved, {worker.acknowledged} acknowledged, {worker.unknown} unknown")
    same(sum(1000000 - money[worker.number] for worker in workers), money[0], "none lost, none twice")
    print(f"    {sum(worker.done for worker in workers)} transfers, {continued(subject):.0f} run again; lost in COMMIT: "
          + str(sum(len(worker.in_commit) for worker in workers)))
    same(errors, [], f"nobody who was not in COMMIT was told anything\n{tail(subject.log)}")
    check(continued(subject) > 0, "some were run again")
    for worker in workers:
        for _, code, words in worker.in_commit:
            check(code in ("08007", "40003"), f"{code} {words}")


@test("replay: naive clients that move money through crashes and restarts: only who was in COMMIT can hear of it",
      subjects=PGMEND, seconds=120)
def through_crashes(t):
    def strike(cluster, subject, works):
        for stop in (signal.SIGQUIT, signal.SIGINT):
            crash(cluster.primary) if stop == signal.SIGQUIT else cluster.primary.stop(stop)
            cluster.primary.start()
            works(3)

    transfers(t, "crashes", strike)


@test("replay: naive clients that move money while all backends are terminated every second", subjects=PGMEND, seconds=120)
def through_terminations(t):
    def strike(cluster, subject, works):
        for _ in range(5):
            cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            time.sleep(1)  # the second itself
            works(3)

    transfers(t, "terminated", strike)


@test("replay: naive clients that move money through a crash and the promotion of a synchronous standby", subjects=PGMEND,
      seconds=120)
def through_promotion(t):
    def strike(cluster, subject, works):
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        cluster.sql("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        cluster.sql("SELECT pg_reload_conf()")
        works(20)
        crash(cluster.primary)
        cluster.servers[1].promote()

    transfers(t, "promoted", strike, standbys=1, judged_on=1)
