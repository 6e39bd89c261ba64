#!/usr/bin/env python3
"""PostgreSQL 15's own suites through pgmend: the regression tests, the isolation tests, libpq_pipeline.

    tests/conformance/run.py                     # all three: quietly, with neighbours, with hostile neighbours
    tests/conformance/run.py regress --quiet     # one, alone on the servers
    tests/conformance/run.py --ways hostile      # in one company only
    tests/conformance/run.py regress --test join # one test of it (its forerunners as well, as pg_regress does)

Every test that passes when the suite speaks to PostgreSQL itself must pass through pgmend; what differs is listed in
EXPECTED with its reason. The direct run is part of each run, because the suite and the server differ in version."""

import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import harness  # noqa: E402
import source  # noqa: E402
import wire  # noqa: E402

# Tests that observe what a client behind a pooler cannot be given, by suite and name.
EXPECTED = {
    ("regress", "stats"): "counts the sessions of pg_stat_database: a reconnecting client gets a server that was there before",
}

SERVERS = 30  # the suites keep up to twenty sessions open at a time, most of them with state of their own
SUITES = ("regress", "isolation", "pipeline")


class Place:
    """One PostgreSQL with a database for each suite, and a pgmend before it."""

    def __init__(self, directory, binary, stack):
        self.directory = directory
        directory.chmod(0o777)
        self.postgres = harness.Postgres(directory / "postgresql").create()
        stack.callback(self.postgres.stop)
        (self.postgres.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
        self.postgres.call("pg_ctl", "-D", str(self.postgres.data), "reload")
        url = f"postgres://postgres@127.0.0.1:{self.postgres.port}/postgres?sslmode=disable"
        self.pgmend = harness.Pgmend(
            self.postgres, directory / "pgmend", binary, url=url, pool_size=SERVERS,
            settings={"auth": {"method": "trust"}, "users": [{"name": "postgres", "password": "unused"}]})
        self.pgmend.start()
        stack.callback(self.pgmend.stop)

    def port(self, subject):
        return self.postgres.port if subject == "direct" else self.pgmend.port

    def database(self, name):
        """As pg_regress makes it."""
        with self.postgres.admin() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C'")
            for setting in ("lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
                            "bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"):
                admin.execute(f"ALTER DATABASE {name} SET {setting}")


def forget_roles(place):
    """What an earlier run of the regression tests left for the whole server."""
    with place.postgres.admin() as admin:
        for (name,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'regress%'").fetchall():
            with contextlib.suppress(Exception):
                admin.execute(f'DROP ROLE "{name}"')
        for (name,) in admin.execute("SELECT spcname FROM pg_tablespace WHERE spcname LIKE 'regress%'").fetchall():
            with contextlib.suppress(Exception):
                admin.execute(f'DROP TABLESPACE "{name}"')


# What a fresh session has, and a neighbour must have whatever the suite does to its own.
FRESH = ("SELECT current_setting('search_path'), current_user, current_setting('datestyle'), "
         "current_setting('application_name'), current_setting('role'), current_setting('work_mem'), "
         "coalesce(current_setting('neighbour.mine', true), ''), session_user")
IS_FRESH = [['"$user", public', "postgres", "ISO, MDY", "", "none", "4MB", "", "postgres"]]

# What hostile neighbours do to their own session before they leave or go on. Every way has a chance to leak.
HOSTILE = (
    "SET search_path TO pg_catalog; SET datestyle TO 'German'; SET work_mem TO '64kB'",
    "SELECT set_config('neighbour.mine', 'x', false), set_config('search_path', '', false)",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
    "SET default_transaction_read_only = on; SET statement_timeout = '1h'",
    "CREATE TEMP TABLE neighbour_temp (a int); INSERT INTO neighbour_temp VALUES (1)",
    "SELECT pg_advisory_lock(424242); SELECT pg_advisory_lock_shared(424243)",
    "LISTEN neighbour; LISTEN foo_event",
    "PREPARE neighbour AS SELECT 1; PREPARE p AS SELECT 2; PREPARE q AS SELECT 3",
    "BEGIN; DECLARE neighbour CURSOR WITH HOLD FOR SELECT 1; DECLARE c1 CURSOR WITH HOLD FOR SELECT 2; COMMIT",
    "SET SESSION AUTHORIZATION neighbour",
    "SET ROLE neighbour",
    "DO $$ BEGIN PERFORM set_config('work_mem', '128kB', false); PERFORM set_config('neighbour.mine', 'y', false); END $$",
    "SELECT setseed(0.5); SELECT nextval('neighbour_sequence')",
    "BEGIN; SET LOCAL work_mem TO '64kB'; SAVEPOINT a; SET datestyle TO 'SQL'; ROLLBACK TO a; SET enable_seqscan TO off; COMMIT",
    "BEGIN; SET timezone TO 'Pacific/Chatham'; ROLLBACK",
    "SET client_encoding TO 'LATIN1'; SET timezone TO 'Asia/Tokyo'; SET intervalstyle TO 'sql_standard'",
    "SET application_name TO 'hostile'; SET bytea_output TO 'escape'; SET extra_float_digits TO -10",
)


def quiet_life(place, database, stop, problems):
    """Short statements for as long as the suite runs."""
    client = wire.Wire("127.0.0.1", place.pgmend.port)
    client.login("postgres", "", database)
    while not stop.is_set():
        rows = client.rows(FRESH)
        if rows != IS_FRESH:
            problems.append(f"a neighbour met {rows}")
        client.query("BEGIN; SELECT 1; COMMIT")
        stop.wait(0.005)
    client.close()


def hostile_life(place, database, stop, problems, seed):
    """Sessions that change themselves in every way, work a little, and leave in one way or another."""
    choice = random.Random(seed)
    while not stop.is_set():
        client = wire.Wire("127.0.0.1", place.pgmend.port)
        client.login("postgres", "", database)
        rows = client.rows(FRESH)
        if rows != IS_FRESH:
            problems.append(f"a hostile neighbour met {rows}")
        for text in choice.sample(HOSTILE, 4):
            client.query(text)
            if choice.random() < 0.3:
                client.query("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL")
            stop.wait(0.002)
        ending = choice.random()
        if ending < 0.3:
            client.send(wire.query("BEGIN; SELECT pg_sleep(0.01)"))
        elif ending < 0.6:
            client.query("DISCARD ALL")
        client.close()


@contextlib.contextmanager
def neighbours(place, database, way):
    """Clients of the same user and database that live beside the suite, so that its servers change hands whenever
    they may. What they meet must be what a fresh session has."""
    if way == "quiet":
        yield []
        return
    stop = threading.Event()
    problems = []
    if way == "hostile":
        with place.postgres.admin(database) as admin:
            admin.execute("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'neighbour') THEN "
                          "CREATE ROLE neighbour; END IF; END $$")
            admin.execute("CREATE SEQUENCE neighbour_sequence; GRANT ALL ON SEQUENCE neighbour_sequence TO PUBLIC")

    def guarded(life, *arguments):
        try:
            life(place, database, stop, problems, *arguments)
        except Exception as error:
            problems.append(f"a neighbour failed: {error!r}")

    lives = [(quiet_life,)] * 6 if way == "neighbours" else [(quiet_life,)] * 2 + [(hostile_life, i) for i in range(4)]
    threads = [threading.Thread(target=guarded, args=life) for life in lives]
    for thread in threads:
        thread.start()
    try:
        yield problems
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def prepare(place, suite, tree, subject):
    """A copy of the suite with an output directory of its own, both for whoever runs the server."""
    work = place.directory / f"{suite}-{subject}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    shutil.copytree(tree / "src/test" / suite, work / "in")
    (work / "out").mkdir()
    if suite == "regress":
        source.libraries(tree, work / "lib")
    subprocess.run(["chmod", "-R", "a+rwX", str(work)], check=True)
    return work


def suite_command(place, suite, tree, client, subject, only):
    work = prepare(place, suite, tree, subject)
    database = "regression" if suite == "regress" else "isolation_regression"
    place.database(database)
    program = "regress/pg_regress" if suite == "regress" else "isolation/pg_isolation_regress"
    schedule = "parallel_schedule" if suite == "regress" else "isolation_schedule"
    command = [str(source.PGXS_TESTS / program), "--use-existing", "--host=127.0.0.1", f"--port={place.port(subject)}",
               "--user=postgres", f"--dbname={database}", f"--inputdir={work / 'in'}", f"--outputdir={work / 'out'}",
               f"--bindir={client}", "--max-concurrent-tests=20"]
    if suite == "regress":
        command.append(f"--dlpath={work / 'lib'}")
    if only:
        command += (["test_setup"] if suite == "regress" else []) + only
    else:
        command.append(f"--schedule={work / 'in' / schedule}")
    return command, work, database


LINE = re.compile(r"^(?:test| {4,5})\s*(\S+)\s+\.\.\.\s+(ok|FAILED|failed \(ignored\))", re.M)


def run_suite(place, suite, tree, client, subject, only, way):
    """Names of the tests and whether each passed, and the differences."""
    command, work, database = suite_command(place, suite, tree, client, subject, only)
    owner = place.postgres.owner
    with neighbours(place, database, way) as problems:
        done = subprocess.run(command, cwd=work / "out", env=harness.clean_environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=1800, **owner)
    results = {name: verdict == "ok" for name, verdict in LINE.findall(done.stdout)}
    if not results:
        print(done.stdout)
    diffs = next((work / "out").glob("*.diffs"), None)
    return results, diffs.read_text(errors="replace") if diffs else "", problems


PIPELINE_TESTS = ("disallowed_in_pipeline", "multi_pipelines", "nosync", "pipeline_abort", "pipeline_idle",
                  "pipelined_insert", "prepared", "simple_pipeline", "singlerow", "transaction", "uniqviol")


def run_pipeline(place, tree, subject, way):
    work = place.directory / f"pipeline-{subject}"
    work.mkdir(exist_ok=True)
    program = source.pipeline_program(tree, work)
    place.database("pipeline")
    conninfo = f"host=127.0.0.1 port={place.port(subject)} user=postgres dbname=pipeline"
    results, said = {}, []
    with neighbours(place, "pipeline", way) as problems:
        for test in PIPELINE_TESTS:
            done = subprocess.run([str(program), test, conninfo], env=harness.clean_environment(), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
            results[test] = done.returncode == 0
            said.append(f"{test}: {done.stdout}")
    return results, "\n".join(said), problems


def differences_of(diffs, name):
    """The part of pg_regress' differences that is about one test."""
    parts = re.split(r"^diff .*\n", diffs, flags=re.M)
    return next((part for part in parts if f"/{name}.out" in part), "")[:3000]


WAYS = {"quiet": "quietly", "neighbours": "with neighbours", "hostile": "with hostile neighbours"}


def compare(place, suite, tree, client, arguments):
    """Runs the suite direct and then through pgmend in each company; yields one verdict a test and way."""
    def run(subject, way):
        began = time.monotonic()
        if suite == "pipeline":
            result = run_pipeline(place, tree, subject, way)
        else:
            result = run_suite(place, suite, tree, client, subject, arguments.test, way)
        forget_roles(place)
        print(f"---- {suite}, {subject}, {WAYS[way]}: {sum(result[0].values())} of {len(result[0])} pass, "
              f"{time.monotonic() - began:.0f} s", flush=True)
        return result

    direct, _, _ = run("direct", "quiet")
    for way in arguments.ways:
        found, diffs, problems = run("pgmend", way)
        for name, passes in direct.items():
            if not passes or (suite, name) in EXPECTED:
                continue
            good = found.get(name, False)
            yield good, f"{suite} {WAYS[way]}: {name}", "" if good else differences_of(diffs, name) or diffs[-3000:]
        yield not problems, f"{suite} {WAYS[way]}: neighbours meet nobody's session", "\n".join(problems[:5])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="all of them when none is named")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="in which company")
    parser.add_argument("--quiet", dest="ways", action="store_const", const=["quiet"], help="without any company")
    parser.add_argument("--test", action="append", default=[], help="one test of the suite")
    parser.add_argument("--binary", default=str(HERE.parents[1] / "build/release/proxy/pgmend"))
    arguments = parser.parse_args()
    tree, client = source.fetch()
    passed = failed = 0
    # A path without a blank, that the owner of the server can reach.
    with tempfile.TemporaryDirectory(prefix="pgmend-conformance-") as directory, contextlib.ExitStack() as stack:
        place = Place(pathlib.Path(directory), arguments.binary, stack)
        for suite in arguments.suites or SUITES:
            for good, name, words in compare(place, suite, tree, client, arguments):
                passed, failed = passed + good, failed + (not good)
                if not good:
                    print(f"FAILED  {name}\n{words}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
