"""What whole applications do with their sessions: migrations at start-up, prepared statements under DDL, listeners, a queue of
jobs, a crowd of web requests. Each works beside clients that come and go, and does what it does on connections of its own."""

import contextlib
import random
import re
import threading



import wire
from harness import check, poll, same
from registry import register

TESTS = []
test = register(TESTS)
MANY = ("pgmend", "direct")


@contextlib.contextmanager
def churn(t, count=3):
    """Clients that come, change their session, and leave in one way or another."""
    stop, complaints = threading.Event(), []

    def come_and_go(seed):
        pick = random.Random(seed)
        while not stop.is_set():
            try:
                client = t.wire()
                if client.value("SELECT current_setting('search_path') || current_setting('work_mem')") != '"$user", public4MB':
                    complaints.append("somebody else's settings")
                client.query(pick.choice(("SET search_path = nowhere; SET work_mem = '1MB'", "SELECT set_config('search_path', '', false)",
                                          "BEGIN; SELECT 1", "CREATE TEMP TABLE mine (a int)", "LISTEN somewhere", "SELECT 1",
                                          "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")))
                if pick.random() < 0.5:
                    client.close()
                else:
                    client.drop()
            except Exception as error:
                complaints.append(repr(error))
            stop.wait(0.01)

    with t.neighbours(3):
        threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    check(not complaints, f"{complaints[:5]}")


def at_once(*works):
    """Runs all of them beside one another; the first failure counts."""
    failures = []

    def guarded(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# ---- migrations

STEPS = (
    "CREATE TABLE accounts (id serial PRIMARY KEY, name text NOT NULL)",
    "ALTER TABLE accounts ADD COLUMN balance numeric NOT NULL DEFAULT 0",
    "CREATE FUNCTION total() RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT sum(balance) FROM accounts $$",
    "INSERT INTO accounts (name, balance) VALUES ('first', 10)",
    "CREATE INDEX CONCURRENTLY accounts_name ON accounts (name)",
    "CREATE VIEW rich AS SELECT name FROM accounts WHERE balance > 5",
    "ALTER TABLE accounts RENAME COLUMN name TO holder",
)


def migrate_by_advisory_lock(t):
    """As Flyway: a session lock on one connection, the steps on another, the schema by SET search_path."""
    keeper, worker = t.psycopg(autocommit=True), t.psycopg(autocommit=True)
    worker.execute("SET search_path = flying")
    while not keeper.execute("SELECT pg_try_advisory_lock(77)").fetchone()[0]:
        pass
    for number, step in enumerate(STEPS):
        if worker.execute("SELECT 1 FROM history WHERE number = %s", (number,)).fetchone():
            continue
        if "CONCURRENTLY" in step:
            worker.execute(step)
            worker.execute("INSERT INTO history VALUES (%s)", (number,))
            continue
        with worker.transaction():
            worker.execute(step)
            worker.execute("INSERT INTO history VALUES (%s)", (number,))
    check(keeper.execute("SELECT pg_advisory_unlock(77)").fetchone()[0], "the lock was kept all the time")
    keeper.close()
    worker.close()


def migrate_by_lock_row(t):
    """As Liquibase: a row that says locked, committed; one change set a transaction; the row again."""
    with t.psycopg() as client:
        client.execute("SET search_path = liquid")
        client.commit()
        while client.execute("UPDATE lock SET locked = true WHERE NOT locked").rowcount == 0:
            client.commit()
        client.commit()
        for number, step in enumerate(STEPS):
            if not client.execute("SELECT 1 FROM history WHERE number = %s", (number,)).fetchone():
                client.execute(step.replace("CONCURRENTLY ", ""))
                client.execute("INSERT INTO history VALUES (%s)", (number,))
            client.commit()
        client.execute("UPDATE lock SET locked = false")


@test("applications: four processes migrate at once when they start, and each step is done once", pool=12, seconds=90,
      subjects=MANY)
def migrations(t):
    for schema, migrate in (("flying", migrate_by_advisory_lock), ("liquid", migrate_by_lock_row)):
        t.admin(f"CREATE SCHEMA {schema} AUTHORIZATION app; CREATE TABLE {schema}.history (number int PRIMARY KEY); "
                f"CREATE TABLE {schema}.lock AS SELECT false AS locked; "
                f"GRANT ALL ON {schema}.history, {schema}.lock TO app")
        with churn(t):
            at_once(*[lambda: migrate(t)] * 4)
        same(t.admin(f"SELECT count(*) FROM {schema}.history"), [(len(STEPS),)], schema)
        same(t.admin(f"SELECT holder FROM {schema}.accounts"), [("first",)], schema)
        t.admin(f"DROP SCHEMA {schema} CASCADE")


@test("applications: pg_dump empties its own search_path, and the application that follows has its own", pool=2, subjects=MANY)
def dump_then_application(t):
    t.admin("SET ROLE app; CREATE TABLE dumped AS SELECT generate_series(1, 100) AS a")
    for _ in range(3):
        check("COPY public.dumped" in t.program("pg_dump", "-t", "dumped"), "dumped")
        with t.psycopg() as client:
            same(client.execute("SELECT count(*) FROM dumped").fetchone(), (100,))
            same(client.execute("SHOW search_path").fetchone(), ('"$user", public',))
    t.admin("DROP TABLE dumped")


# ---- prepared statements under DDL


@test("applications: Rails keeps prepared statements while migrations run, and recovers by its own code where it must", pool=4,
      seconds=90, subjects=MANY)
def prepared_under_ddl(t):
    t.admin("SET ROLE app; CREATE TABLE posts (id serial PRIMARY KEY, title text)")
    stop = threading.Event()
    unhealed = []

    def serve(number):
        client = t.wire()
        named = set()

        def run(name, sql, values=()):
            message = b"" if name in named else wire.parse(name, sql) + wire.describe("S", name)
            answer = client.ask(message + wire.bind("", name, values) + wire.describe("P", "") + wire.execute() + wire.SYNC)
            if wire.sqlstates(answer):
                # ActiveRecord's own: outside a transaction it forgets the statement and asks again.
                check(wire.sqlstates(answer) in (["0A000"], ["26000"]), f"{wire.sqlstates(answer)}")
                # A first Parse is answered by what a server has already; its Describe then meets the old plan in the middle
                # of its answer, behind the parameters, and the error is PostgreSQL's own.
                if not message:
                    unhealed.append((name, wire.sqlstates(answer), "".join(wire.kinds(answer))))
                client.query(f"DEALLOCATE {name}")
                named.discard(name)
                return run(name, sql, values)
            named.add(name)
            return wire.rows_of(answer)

        turn = 0
        while not stop.is_set():
            key = run("a1", "INSERT INTO posts (title) VALUES ($1) RETURNING id", [f"{number}/{turn}"])[0][0]
            found = run("a2", "SELECT posts.* FROM posts WHERE id = $1", [key])
            same(found[0][:2], [key, f"{number}/{turn}"])
            client.query("BEGIN")
            same(run("a3", "SELECT count(*) FROM posts WHERE id = $1", [key]), [["1"]])
            client.query("COMMIT")
            turn += 1
        client.close()
        check(turn > 3, "it got on")

    def alter():
        with t.psycopg(autocommit=True) as client:
            for number in range(12):
                client.execute(f"ALTER TABLE posts ADD COLUMN c{number} int DEFAULT {number}")
                stop.wait(0.1)
        stop.set()

    with churn(t, 2):
        at_once(alter, *[lambda n=n: serve(n) for n in range(6)])
    t.admin("DROP TABLE posts")
    if not t.direct:
        check(not unhealed, f"{len(unhealed)} stale statements were not healed: {unhealed[:3]}")


# ---- listeners


@test("applications: an event server hears every event of its triggers once and in order, by one connection", pool=6, seconds=90,
      subjects=MANY)
def event_server(t):
    t.admin("""SET ROLE app; CREATE TABLE events (id serial PRIMARY KEY, who int, turn int);
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM pg_notify('events', NEW.who || ':' || NEW.turn); RETURN NEW; END $$;
        CREATE TRIGGER tell AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell()""")
    with contextlib.ExitStack() as stack:
        stack.callback(t.admin, "DROP TABLE events; DROP FUNCTION tell()")
        listener = t.wire()
        listener.query("LISTEN events")

        def write(who):
            with t.psycopg() as client:
                for turn in range(40):
                    client.execute("INSERT INTO events (who, turn) VALUES (%s, %s)", (who, turn))
                    client.commit() if turn % 4 else client.rollback()

        with churn(t):
            at_once(*[lambda n=n: write(n) for n in range(5)])
        expected = {who: [turn for turn in range(40) if turn % 4] for who in range(5)}
        heard = {who: [] for who in range(5)}
        for _, body in (message for message in listener.until("A", 150) if message[0] == "A"):
            who, turn = map(int, body[4:].split(b"\0")[1].split(b":"))
            heard[who].append(turn)
        same(heard, expected)
        same(wire.kinds(listener.query("SELECT 1")), "TDCZ", "and nothing twice")
        listener.close()


# ---- a queue of jobs


@test("applications: a queue locks its jobs by advisory locks of the session, and each is done once", pool=8, seconds=90,
      subjects=MANY)
def job_queue(t):
    t.admin("SET ROLE app; CREATE TABLE jobs (id serial PRIMARY KEY, done int NOT NULL DEFAULT 0); "
            "INSERT INTO jobs SELECT generate_series(1, 120)")

    def work():
        with t.psycopg(autocommit=True) as client:
            while True:
                # As que: the lock outlives the statement that found the job.
                job = client.execute("SELECT id FROM jobs WHERE done = 0 AND pg_try_advisory_lock(4, id) LIMIT 1").fetchone()
                if job is None:
                    if client.execute("SELECT count(*) FROM jobs WHERE done = 0").fetchone()[0] == 0:
                        return
                    continue
                with client.transaction():
                    client.execute("UPDATE jobs SET done = done + 1 WHERE id = %s AND done = 0", job)
                check(client.execute("SELECT pg_advisory_unlock(4, %s)", job).fetchone()[0], "the lock was still held")
                client.execute("SELECT pg_advisory_unlock_all()")

    with churn(t):
        at_once(*[work] * 5)
    same(t.admin("SELECT count(*), sum(done) FROM jobs"), [(120, 120)])
    poll(lambda: not t.admin("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"), "no lock is left")
    t.admin("DROP TABLE jobs")


# ---- a crowd of web requests


@test("applications: 200 clients of a web workload over eight servers, none of them pinned for a moment", pool=8, seconds=120,
      subjects=("pgmend",))
def web_crowd(t):
    t.admin("SET ROLE app; CREATE TABLE pages (id serial PRIMARY KEY, title text, seen int NOT NULL DEFAULT 0, at timestamptz); "
            "INSERT INTO pages (title) SELECT 'page ' || i FROM generate_series(1, 200) i")
    clients = [t.wire(parameters={"application_name": "web"}) for number in range(200)]
    for client in clients:
        client.query("SET TIME ZONE 'Asia/Tokyo'; SET statement_timeout = '1min'")  # as many frameworks do at connect
        client.ask(wire.parse("show", "SELECT title, seen FROM pages WHERE id = $1") + wire.SYNC)

    def serve(some):
        for turn in range(6):
            for number, client in some:
                page = str(1 + number % 200)
                answer = client.ask(wire.bind("", "show", [page]) + wire.execute() + wire.SYNC)
                same(wire.rows_of(answer)[0][0], f"page {page}")
                client.query("BEGIN")
                client.query(f"UPDATE pages SET seen = seen + 1, at = now() WHERE id = {page}")
                same(client.value("SHOW TimeZone"), "Asia/Tokyo")
                client.query("COMMIT" if turn % 5 else "ROLLBACK")
                client.ask(wire.run("INSERT INTO pages (title) VALUES ($1) RETURNING id", [f"of {number}"]) + wire.SYNC)
                client.ask(wire.run("DELETE FROM pages WHERE title = $1", [f"of {number}"]) + wire.SYNC)

    numbered = list(enumerate(clients))
    at_once(*[lambda part=part: serve(numbered[part::20]) for part in range(20)])
    same(t.admin("SELECT count(*), sum(seen) FROM pages"), [(200, 200 * 4)])
    same(t.server_counts(), {"app@app": 8})
    metrics = t.subject.http("/metrics")[1]
    pinned = re.findall(r'^pgmend_pins_total\{reason="(\w+)"\} (\d+)', metrics, re.M)
    check(pinned and all(count == "0" for _, count in pinned), f"{pinned}")
    restores = int(re.search(r"^pgmend_restores_total (\d+)", metrics, re.M).group(1))
    transactions = int(re.search(r"^pgmend_transactions_total (\d+)", metrics, re.M).group(1))
    check(transactions > 4000, f"{transactions} transactions")
    # Before the first SET of each client its server has what the last one set; afterwards all want the same.
    check(restores <= 2 * len(clients), f"{restores} restores for {transactions} transactions")
    t.admin("DROP TABLE pages")
