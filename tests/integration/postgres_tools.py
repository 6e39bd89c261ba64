"""PostgreSQL's own programs that use several connections, or replication: the same outcome as direct, quietly and among neighbours."""

import signal
import subprocess

from drivers import fresh_database, shared_with_neighbours
from harness import POSTGRES_BIN, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)

FILLED = """
CREATE SCHEMA kept;
CREATE TYPE kept.colour AS ENUM ('red', 'green');
CREATE TABLE kept.parent (id serial PRIMARY KEY, name text UNIQUE, tint kept.colour DEFAULT 'green');
CREATE TABLE kept.child (id int REFERENCES kept.parent, data jsonb, at timestamptz DEFAULT '2020-01-01');
CREATE INDEX ON kept.child (at);
CREATE VIEW kept.both AS SELECT name, data FROM kept.parent JOIN kept.child USING (id);
CREATE MATERIALIZED VIEW kept.counted AS SELECT count(*) FROM kept.both;
CREATE FUNCTION kept.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
CREATE TABLE kept.split (n int, v text) PARTITION BY RANGE (n);
CREATE TABLE kept.low PARTITION OF kept.split FOR VALUES FROM (0) TO (5000);
CREATE TABLE kept.high PARTITION OF kept.split FOR VALUES FROM (5000) TO (10000);
INSERT INTO kept.parent (name) SELECT 'p' || i FROM generate_series(1, 3000) i;
INSERT INTO kept.child (id, data) SELECT i, '{"a": [1, 2]}' FROM generate_series(1, 3000) i;
INSERT INTO kept.split SELECT i, repeat('v', i % 100) FROM generate_series(0, 9999) i;
SELECT lo_from_bytea(0, 'a large object');
"""


def both_ways(t):
    """Environments of the direct way and of the subject."""
    through = t.environment()
    return dict(through, PGHOST=t.postgres.host, PGPORT=str(t.postgres.port)), through


def comparable(dump):
    """Without comments, the random key of psql's \\restrict and the numbers of large objects."""
    return [line for line in dump.splitlines() if line[:2] != "--" and not any(
        word in line for word in ("restrict", "lo_", "LARGE OBJECT"))]


def plain(t, database, environment):
    text = t.program(POSTGRES_BIN / "pg_dump", "-b", database, env=environment)
    check("p2999" in text and "CREATE VIEW" in text and "lo_create" in text, "the dump is not whole")
    return comparable(text)


def dump_and_restore(t, database):
    direct, through = both_ways(t)
    fresh_database(t, "driver_direct")
    fresh_database(t, database)
    t.program(POSTGRES_BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "driver_direct", "-c", FILLED, env=direct)
    wanted = plain(t, "driver_direct", direct)
    for way, options in (("directory", ("-Fd", "-j", "4")), ("custom", ("-Fc",))):
        # Through the subject into the database that was empty, and out of it again.
        archive = t.directory / way
        t.program(POSTGRES_BIN / "pg_dump", *options, "-f", archive, "driver_direct", env=direct)
        t.program(POSTGRES_BIN / "pg_restore", "-j", "4", "-d", database, archive, env=through)
        same(plain(t, database, direct), wanted, f"what was restored from {way}")
        same(plain(t, database, through), wanted, "what is dumped through the subject")
        again = t.directory / f"{way} again"
        t.program(POSTGRES_BIN / "pg_dump", *options, "-f", again, database, env=through)
        first, second = (comparable(t.program(POSTGRES_BIN / "pg_restore", "-f", "-", path)) for path in (archive, again))
        same(second, first, f"the archive {way}")
        t.program(POSTGRES_BIN / "pg_restore", "-c", "--if-exists", "-j", "3", "-d", database, again, env=through)
        same(plain(t, database, direct), wanted, f"what was restored over itself from {way}")
        fresh_database(t, database)


def decoded(t, environment, database, slot):
    """What pg_recvlogical prints of some changes: everything up to the mark, in one run that is asked to stop."""
    command = [POSTGRES_BIN / "pg_recvlogical", "-d", database, "-S", slot]
    t.program(*command, "--create-slot", "-P", "test_decoding", env=environment)
    file = t.directory / f"{slot}.txt"
    process = t.start(*command, "--start", "--no-loop", "-F", "1", "-s", "1", "-o", "include-xids=0", "-o",
                      "skip-empty-xacts=1", "-f", file, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    t.admin("CREATE TABLE followed (id int PRIMARY KEY, v text)", database)
    t.admin("INSERT INTO followed SELECT i, repeat('v', i) FROM generate_series(1, 300) i", database)
    t.admin("UPDATE followed SET v = 'changed' WHERE id % 100 = 0", database)
    t.admin("DELETE FROM followed WHERE id < 5; INSERT INTO followed VALUES (1, 'the mark')", database)
    poll(lambda: file.exists() and "the mark" in file.read_text() and file.read_text().endswith("COMMIT\n"),
         "the changes arrive")
    process.send_signal(signal.SIGINT)
    same(process.wait(20), 0, "it ends in order")
    t.program(*command, "--drop-slot", env=environment)
    return file.read_text()


def recvlogical(t, database):
    words = dict(t.environment("streamer"))
    for name in ("driver_direct", database):
        fresh_database(t, name)
    direct = decoded(t, dict(words, PGHOST=t.postgres.host, PGPORT=str(t.postgres.port)), "driver_direct", "direct_slot")
    through = decoded(t, words, database, "through_slot")
    # Neighbours write nothing, so both slots saw the same changes.
    same(through.splitlines(), direct.splitlines())
    check(direct.count("INSERT") == 301 and direct.count("DELETE") == 4, direct[:2000])
    poll(lambda: not t.admin("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'"), "no walsender is left")



@test("drivers: pg_dump and pg_restore with jobs quietly", slow=True, seconds=120)
def dump_quietly(t):
    dump_and_restore(t, "driver_quiet")


@test("drivers: pg_dump and pg_restore with jobs among neighbours", slow=True, seconds=240)
def dump_among_neighbours(t):
    with shared_with_neighbours(t):
        dump_and_restore(t, "driver_busy")


@test("drivers: pg_recvlogical quietly", slow=True, seconds=120)
def recvlogical_quietly(t):
    recvlogical(t, "driver_quiet")


# A replication connection has a server to itself: beside others it takes room, but no turns.
@test("drivers: pg_recvlogical among neighbours", slow=True, seconds=120)
def recvlogical_among_neighbours(t):
    fresh_database(t, "driver_busy")
    with t.neighbours(12, database="driver_busy"):
        recvlogical(t, "driver_busy")
