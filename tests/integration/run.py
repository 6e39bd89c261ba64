#!/usr/bin/python3
"""Runs the integration tests against real PostgreSQL, through pgmend or direct. See README.md beside this file."""

import argparse
import contextlib
import importlib
import os
import pathlib
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback

import harness
import registry

MODULES = ["clients", "node_clients", "differential", "isolation", "rules", "hidden", "session", "vanish", "cancelling",
           "bulk", "crowd", "hostile", "login", "secure", "libpq_ways", "access", "abuse", "refusals", "matrix", "operation", "replication",
           "regressions", "healing", "standby_reads", "writes", "replay", "commit_outcome", "crash_outcome", "write_outcome", "protection", "breakers", "plans",
           "pipelines", "statement_names", "applications", "drivers", "postgres_tools", "console", "reloading", "limits", "memory",
           "overload", "shares", "running", "runbook",
           "alerts", "http_api", "policy", "discovery", "patroni", "engines"]
# What runs against a pgmend built with a sanitizer: drivers and every kind of traffic, without the tests that
# measure its memory or its time.
SANITIZED = ["clients", "node_clients", "differential", "isolation", "hidden", "session", "vanish", "cancelling",
             "hostile", "login", "regressions", "statement_names"]
# Of these a part; of who may come in each way once. Beginnings of names.
SANITIZED_TESTS = {
    "pipelines": ["pipeline:"],
    "replication": ["replication: raw", "replication: a walsender", "replication: logical", "replication: who may"],
    "secure": ["channel binding", "require_auth: a server", "TLS toward servers: a certificate of ours",
               "TLS toward servers: clear bytes", "TLS toward clients: clear bytes", "TLS toward clients: direct",
               "TLS toward clients: versions", "TLS toward clients: verify-ca", "TLS toward clients: certificates and authorities"],
    "libpq_ways": ["a service names"],
    "access": ["access:", "secrets: PgBouncer's userlist", "secrets: a verifier alone", "auth_query: no startup parameter",
               "login: a server's error without SQLSTATE"],
    "refusals": ["refusals:"],
    "matrix": ["matrix: psycopg by every method, to a server that asks by scram-sha-256",
               "matrix: asyncpg by every method, to a server that asks by cert"],
}
# What depends on how bytes come and go: with the engine that is not the default.
ENGINE_MODULES = ["clients", "node_clients", "session", "vanish", "cancelling", "bulk", "crowd", "hostile", "secure",
                  "replication", "healing", "console", "engines"]
ENGINE_TESTS = {"access": ["secrets: passwords that files"]}
# What takes three seconds and more is for the whole run. Beginnings of names.
LENGTHY = (
    "abuse: failures of one address are answered late, the right password",
    "auth_query: few ask at a time, an answer is shared, and an outage",
    "back-pressure: a client that writes for ever and never reads is",
    "healing: naive clients while all backends are terminated every",
    "healing: naive clients while idle connections are killed: no read and",
    "healing: naive clients while the server has no slot left for them:",
    "healing: what is asked while the server is away waits for it, and is",
    "healing: who is held too long, or beyond the limit, is told so with",
    "healing: who is held while pgmend drains is told of both, and keeps",
    "http: administrators give commands, with a header that pages of other",
    "login: hundreds of wrong passwords disturb nobody",
    "pgbench -M extended",
    "pgbench -M prepared",
    "pgbench: pipelines in a custom script",
    "reload: a changed file is noticed by itself, behind a link as",
    "reload: each of these settings holds as soon as SET has said so, and",
    "replay: naive clients that move money while all backends are",
    "replay: what was under way when the server went is answered, and a",
    "require_auth: health checks hold to it as clients' logins do",
    "retries: the first is at once, the next ones after a pause, and a",
    "secrets: a password changes on the server and in its file while 64",
    "vanish: by ",
    "vanish: psql killed by SIGKILL in a block and in a statement",
    "writes: what has waited for hold.timeout gets the server's own error,",
)


# So many failures of one run are tried again, each alone. More are no accident of the machine.
SECOND_TRIES = 3
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
SHARED_END = registry.Entry("the end of the subject that tests share", lambda _: None, {}, (), False, 0)


class OutOfTime(Exception):
    pass


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=["pgmend", "direct", "pgbouncer"], default="pgmend")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name contains every word of this")
    parser.add_argument("--quick", action="store_true", help="leave out what takes long, and smaller amounts")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--strict", action="store_true", help="a test that fails once has failed")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random protocol scripts")
    parser.add_argument("--sanitized", action="store_true", help="for a pgmend built with a sanitizer: drivers and traffic, "
                        "several workers, more time")
    parser.add_argument("--engine", choices=["auto", "epoll", "io_uring"], help="relay.engine of every pgmend")
    parser.add_argument("--bytes", action="store_true", help="only what depends on how bytes come and go")
    parser.add_argument("--binary", type=pathlib.Path, default=harness.ROOT / "build/release/proxy/pgmend")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    options.quick = options.quick or options.sanitized
    harness.Pgmend.engine = options.engine
    return options


class Run:
    def __init__(self, options):
        self.options = options
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pgmend-integration-"))
        self.directory.chmod(0o755)
        self.postgres = None
        self.count = 0
        self.shared = None
        self.died = False

    def pgmend(self, name, **options):
        self.count += 1
        postgres = options.pop("postgres", self.postgres)
        # Many a test that asks for a pool counts its connections, and workers would share them out.
        workers = options.pop("workers", None) or (1 if "pool_size" in options else 2)
        if self.options.sanitized and workers > 1:
            options["settings"] = {"workers": workers, **(options.get("settings") or {})}
        return harness.Pgmend(postgres, self.directory / f"{name}-{self.count}", options.pop("binary", self.options.binary), **options)

    @contextlib.contextmanager
    def started(self, subject):
        try:
            yield subject.start()
        finally:
            self.check_end(subject)

    def subject(self, wanted, workers=None):
        """The subject a test asked for; the plain one is shared by all tests that ask for nothing."""
        if self.options.subject == "direct":
            return harness.Direct(self.postgres)
        if not wanted and self.shared:
            if self.shared.alive():
                return self.shared
            dead, self.shared = self.shared, None
            self.check_end(dead)
        if self.options.subject == "pgmend":
            subject = self.pgmend("own" if wanted else "shared", workers=workers, **wanted)
        else:
            self.count += 1
            subject = harness.Pgbouncer(self.postgres, self.directory / f"pgbouncer-{self.count}", **wanted)
        subject.start()
        if not wanted:
            self.shared = subject
        return subject

    def one(self, entry):
        subject = self.subject(entry.wanted, entry.workers)
        test = harness.Test(self, subject, self.postgres, self.options.quick)
        signal.alarm(entry.seconds * (5 if self.options.sanitized else 1))
        try:
            with test.closing:
                entry.function(test)
            test.check_recovery()
        finally:
            signal.alarm(0)
            test.closing.close()
            if subject is not self.shared:
                self.check_end(subject)

    def check_end(self, subject):
        """A pgmend that crashed; a sanitizer that found something, at the end at the latest, ends with a status of its own."""
        status = subject.stop()
        if status and (status > 0 or -status in CRASHES):
            self.died = True
            raise harness.Failure(f"{subject.kind} ended with {status}\n{harness.tail(subject.log, 60)}")

    def begin_anew(self):
        """After a failure the next test gets a new subject, and no backend of the one that failed."""
        with contextlib.suppress(harness.Failure):
            if self.shared:
                self.check_end(self.shared)
        self.shared = None
        with self.postgres.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN "
                          "('client backend', 'walsender') AND usename <> 'postgres'")

    def report(self, entry, error):
        print(f"FAILED  {entry.name}")
        if isinstance(error, AssertionError):
            frames = traceback.extract_tb(error.__traceback__)
            here = [f for f in frames if f.filename.startswith(str(harness.HERE))]
            print("".join(f"    {pathlib.Path(f.filename).name}:{f.lineno} {f.line}\n" for f in here[1:]), end="")
            print("    " + f"{error}".replace("\n", "\n    "))
        else:
            print("    " + "".join(traceback.format_exception(error)).replace("\n", "\n    "))
        logs = sorted(self.directory.glob("*/*.log"), key=lambda path: path.stat().st_mtime)
        for log in [path for path in logs if path.parent.name != "postgres"][-1:]:
            print(f"    -- {log}\n    " + harness.tail(log, 30).replace("\n", "\n    "))
        again = ["tests/integration/run.py", "--subject", self.options.subject, "-k", entry.name,
                 "--seed", str(self.options.seed), "--binary", str(self.options.binary)]
        again += ["--engine", self.options.engine] if self.options.engine else []
        again += ["--sanitized"] if self.options.sanitized else ["--quick"] if self.options.quick else []
        print("    again: " + shlex.join(again), flush=True)

    def remind(self, word, failures):
        """Who sees only the end of a long log sees here what failed, and how."""
        for entry, error in failures:
            said = f"{error}".splitlines() or [type(error).__name__]
            print(f"{word}  {entry.name}\n    " + "\n    ".join(said[:12]), flush=True)

    def tried(self, entry):
        """None, or what the test failed with, which is reported."""
        begun = time.monotonic()
        try:
            self.one(entry)
        except Exception as error:
            self.report(entry, error)
            self.begin_anew()
            return error
        print(f"ok {time.monotonic() - begun:5.1f} s  {entry.name}", flush=True)
        return None

    def tried_again(self, failed):
        """Those of a few failures that hold when tried again, and those that do not. See README.md."""
        if self.options.strict or self.died or len(failed) > SECOND_TRIES:
            return failed, []
        again = [(entry, error, self.tried(entry)) for entry, error in failed]
        return ([(entry, second) for entry, _, second in again if second],
                [(entry, first) for entry, first, second in again if not second])


def chosen(options):
    words = options.k.lower().split()
    parts = SANITIZED_TESTS if options.sanitized else ENGINE_TESTS if options.bytes else {}
    modules = [*SANITIZED, *parts] if options.sanitized else [*ENGINE_MODULES, *parts] if options.bytes else MODULES
    for module in modules:
        beginnings = tuple(parts.get(module, [""]))
        for entry in importlib.import_module(module).TESTS:
            if not entry.name.startswith(beginnings):
                continue
            if not all(word in entry.name.lower() for word in words):
                continue
            if options.quick and (entry.slow or (not options.sanitized and entry.name.startswith(LENGTHY))):
                continue
            if options.subject not in entry.subjects:
                continue
            yield entry


def out_of_time(*_):
    raise OutOfTime("the test's own time limit has passed")


def main():
    options = arguments()
    entries = list(chosen(options))
    if options.list:
        print("\n".join(entry.name for entry in entries))
        return 0
    if options.subject == "pgmend" and not os.access(options.binary, os.X_OK):
        sys.exit(f"{options.binary} is not there: build it, or say --subject direct")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(options)
    failed, flickered = [], []
    try:
        run.postgres = harness.Postgres(run.directory / "postgres").create()
        print(f"seed {options.seed}, PostgreSQL on port {run.postgres.port}, {run.directory}", flush=True)
        for entry in entries:
            if error := run.tried(entry):
                failed.append((entry, error))
        failed, flickered = run.tried_again(failed)
        if run.shared:
            try:
                run.check_end(run.shared)
            except harness.Failure as error:
                failed.append((SHARED_END, error))
                print(f"FAILED  {SHARED_END.name}\n{error}", flush=True)
    finally:
        with contextlib.suppress(Exception):
            if run.shared:
                run.shared.stop()
        if run.postgres:
            run.postgres.stop()
        if not options.keep:
            shutil.rmtree(run.directory, ignore_errors=True)
    run.remind("FLICKERED", flickered)
    run.remind("FAILED", failed)
    if flickered:
        print(f"note: {len(flickered)} passed only when tried again alone")
    print(f"{len(entries) - sum(entry is not SHARED_END for entry, _ in failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
