"""Thousands of malformed and half-finished logins a minute, and what those notice who come to work."""

import contextlib
import functools
import json
import os
import re
import subprocess
import threading
import time
import types

import wire
from certificates import Authority
from harness import HERE, PASSWORDS, POSTGRES_BIN, check, clean_environment, die_with_parent, poll, same
from registry import register

TESTS = []
test = register(TESTS)
MINUTE = 10_000  # attempts
CLIENTS, RATE = 16, 800  # of the normal load, and its transactions a second


@functools.cache
def abuser():
    """The program, built from abuser.cpp into build/integration; again when a source has changed."""
    sources = [HERE / "abuser.cpp", HERE / "tls_guest.hpp"]
    made = HERE.parent.parent / "build/integration/abuser"
    if not made.exists() or made.stat().st_mtime < max(each.stat().st_mtime for each in sources):
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_suffix(f".{os.getpid()}")
        done = subprocess.run(["c++", "-std=c++20", "-O2", sources[0], "-o", fresh, "-lcrypto"], capture_output=True, text=True)
        check(done.returncode == 0, f"the abuser does not build\n{done.stderr[-2000:]}")
        fresh.rename(made)
    return made


@contextlib.contextmanager
def abuse(subject, tls):
    """Attempts at MINUTE's rate while the block runs; afterwards what the abuser says of itself is in the namespace."""
    command = [abuser(), subject.host, subject.port, MINUTE / 60, "tls" if tls else "clear"]
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=die_with_parent())
    said = types.SimpleNamespace()
    try:
        same(process.stdout.readline().strip(), "running", "what the abuser says when it has begun")
        yield said
        output, _ = process.communicate("stop\n", timeout=60)
        vars(said).update(json.loads(output))
    finally:
        process.kill()
        process.wait()


def normal_load(subject, directory, seconds, tls, rate=RATE):
    """Times of the transactions of CLIENTS who log in and work, in µs and in order; as many as at RATE are in these seconds.
    None of them may meet an error."""
    (directory / "normal.sql").write_text("SELECT 1;\n")
    environment = clean_environment(PGHOST=subject.host, PGPORT=str(subject.port), PGUSER="app", PGDATABASE="app",
                                    PGPASSWORD=PASSWORDS["app"], PGSSLMODE="require" if tls else "disable")
    limit = ["-R", str(rate)] if rate else []
    done = subprocess.run([POSTGRES_BIN / "pgbench", "-n", "-f", directory / "normal.sql", "-c", str(CLIENTS), "-j", "2", "-t",
                           str(seconds * RATE // CLIENTS), "-l", f"--log-prefix={directory / 'normal'}", *limit], env=environment, cwd=directory,
                          capture_output=True, text=True, preexec_fn=die_with_parent())
    check(done.returncode == 0 and "aborted" not in done.stderr, f"a normal client met an error\n{done.stderr[-2000:]}")
    times = []
    for file in directory.glob("normal.*"):
        if file.suffix != ".sql":
            for line in file.read_text().splitlines():
                fields = line.split()
                # The time counts from when its turn was; the last column is how late it began.
                times.append(int(fields[2]) - (int(fields[6]) if rate else 0))
            file.unlink()
    return sorted(times)


class Newcomers(threading.Thread):
    """Somebody who knows the password logs in again and again; each time it has to work."""

    def __init__(self, subject):
        super().__init__(daemon=True)
        self.subject, self.over, self.came, self.errors = subject, threading.Event(), 0, []

    def run(self):
        while not self.over.wait(0.1):
            try:
                client = wire.Wire(self.subject.host, self.subject.port).login("app", PASSWORDS["app"], "app")
                same(client.rows("SELECT 1"), [["1"]])
                client.close()
                self.came += 1
            except Exception as error:
                self.errors.append(error)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def resident(subject):
    """Bytes of memory that are its own, and not of files."""
    status = open(f"/proc/{subject.process.pid}/status").read()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status).group(1)) * 1024


def connected(subject):
    """Clients, logged in or not, as it counts them."""
    return int(re.search(r"^pgmend_clients_connected (\d+)", subject.http("/metrics")[1], re.M).group(1))


def p99(times):
    return times[int(len(times) * 0.99)]


def siege(subject, directory, tls, least, quiet, busy, elsewhere=None):
    """Periods of normal load alone and under abuse in turn, until `least` attempts were made; with `elsewhere`, a third one
    with the abuse at that door. Returns what was seen; that nobody met an error is checked."""
    normal_load(subject, directory, 1, tls, rate=0)  # the pool is full
    with abuse(subject, tls):
        normal_load(subject, directory, 2, tls)  # what is allocated once has been
    seen = types.SimpleNamespace(rounds=[], beside=[], made=0, failed=0, seconds=0.0, cpu=0.0, kinds={}, came=0)
    poll(lambda: connected(subject) == 0, "the first attempts are over", 90)
    subject.reset_memory_peak()
    seen.descriptors, seen.memory = subject.descriptors(), resident(subject)
    seen.peak = subject.memory_peak()
    while seen.made < least:
        before = p99(normal_load(subject, directory, quiet, tls))
        if elsewhere:
            with abuse(elsewhere, tls), Newcomers(elsewhere):
                seen.beside.append((before, p99(normal_load(subject, directory, busy, tls))))
        with abuse(subject, tls) as said, Newcomers(subject) as newcomers:
            seen.rounds.append((before, p99(normal_load(subject, directory, busy, tls))))
        check(not newcomers.errors, f"{len(newcomers.errors)} who know the password: {newcomers.errors[:2]}")
        seen.made += said.made
        seen.failed += said.failed
        seen.seconds += said.seconds
        seen.cpu += said.cpu
        seen.came += newcomers.came
        seen.kinds = {kind: seen.kinds.get(kind, 0) + count for kind, count in said.kinds.items()}
    poll(lambda: connected(subject) == 0, "all attempts are over", 90)
    poll(lambda: subject.descriptors() <= seen.descriptors + 2, "no descriptor is leaked", 30)
    seen.grown, seen.peak_grown = resident(subject) - seen.memory, subject.memory_peak() - seen.peak
    return seen


def described(seen):
    def words(rounds):
        return ", ".join(f"{before / 1e3:.2f} ms became {under / 1e3:.2f} ms" for before, under in rounds)

    beside = f" (abuse elsewhere: {words(seen.beside)})" if seen.beside else ""
    return (f"{seen.made} attempts of {len(seen.kinds)} kinds in {seen.seconds:.1f} s, for which the abuser took "
            f"{seen.cpu / seen.seconds:.1%} of a processor, {seen.came} newcomers; p99 {words(seen.rounds)}{beside}; memory "
            f"{seen.grown / 1024:+.0f} kB, its peak {seen.peak_grown / 1024:+.0f} kB")


def check_counts(seen):
    """What does not depend on how fast the machine is."""
    check(seen.came > 0, "newcomers came in meanwhile")
    same(seen.failed, 0, "attempts that found no ear")
    check(len(seen.kinds) >= 15 and min(seen.kinds.values()) > 20, f"every kind often enough: {seen.kinds}")
    check(seen.grown < 2 << 20 and seen.peak_grown < 8 << 20, f"memory is not flat: {described(seen)}")


def settings_for(directory, tls):
    """Every way in is open."""
    if not tls:
        return {}
    certificate, key = Authority(directory).server()
    return {"listen": {"tls": {"mode": "prefer", "cert": str(certificate), "key": str(key)}}}


for transport in ("clear", "tls"):

    @test(f"abuse: thousands of broken logins beside normal load leave no trace, {transport}", subjects=("pgmend",), slow=True,
          seconds=300)
    def besieged(t, transport=transport):
        subject = t.own("besieged", settings=settings_for(t.directory, transport == "tls"))
        seen = siege(subject, t.directory, transport == "tls", least=2000, quiet=2, busy=6)
        print(f"    {described(seen)}")
        check_counts(seen)
