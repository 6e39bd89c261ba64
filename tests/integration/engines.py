"""relay.engine: which one carries the clients, and that they notice nothing of it."""

import os
import re
import sys

from harness import check, poll, same
from registry import register

TESTS = []
test = register(TESTS)
OURS = ("pgmend",)

# Forbids a system call to whatever it becomes, as the seccomp profiles of container engines do.
FORBIDDING = """#!{python}
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = b"".join(struct.pack("HBBI", *each) for each in [
    (0x20, 0, 0, 0),                  # the number of the call
    (0x15, 0, 1, {number}),           # this one?
    (0x06, 0, 0, 0x00050000 | {error}),
    (0x06, 0, 0, 0x7fff0000),
])
text = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(text))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0, os.strerror(ctypes.get_errno())
os.execv("{binary}", ["{binary}", *sys.argv[1:]])
"""
IO_URING_SETUP, IO_URING_REGISTER = 425, 427


def forbidding(t, number, error):
    """A program that is pgmend where this call is refused."""
    script = t.run.directory / f"forbidding-{number}-{error}"
    script.write_text(FORBIDDING.format(python=sys.executable, number=number, error=error, binary=t.run.options.binary))
    script.chmod(0o755)
    return script


def engine_of(subject):
    """(level, engine, reason) that the log tells, once. It is written behind the start."""
    def found():
        return re.findall(r"^\S+ (\w+) relay_engine engine=(\S+) reason=(.*)$", subject.log.read_text(), re.M)

    poll(found, "it is told")
    same(len(found()), 1, "it is told once")
    return found()[0]


def carries(t, subject):
    """Clients that come and go, small answers and large ones, both ways."""
    for _ in range(3):
        with t.psycopg(on=subject) as connection:
            same(connection.execute("SELECT 1").fetchone(), (1,), "a small answer")
            same(connection.execute("SELECT repeat('x', 300000)").fetchone(), ("x" * 300000,), "a large one")
            same(connection.execute("SELECT length(%s)", ["y" * 300000]).fetchone(), (300000,), "a large question")
            same(connection.execute("SELECT n FROM generate_series(1, 20000) n").fetchall()[-1], (20000,), "many rows")


@test("engines: where io_uring is refused, epoll carries the clients, and one line of the log says why", subjects=OURS)
def refused(t):
    for number, error, word in ((IO_URING_SETUP, 1, "seccomp"), (IO_URING_SETUP, 38, "none"), (IO_URING_REGISTER, 1, "register")):
        for engine, level in (("auto", "info"), ("io_uring", "warning")):
            binary = forbidding(t, number, error)
            subject = t.own(f"forbidden-{number}-{error}-{engine}", binary=binary, environment={"PGMEND_RELAY_ENGINE": engine})
            told = engine_of(subject)
            same((told[0].lower(), told[1]), (level, "epoll"), "what it is")
            check(word in told[2], f"why: {told[2]}")
            carries(t, subject)


@test("engines: each of them carries the clients, with one worker and with several", subjects=OURS)
def each(t):
    for engine in ("auto", "epoll", "io_uring"):
        for workers in (1, 3):
            subject = t.own(f"engine-{engine}-{workers}", settings={"workers": workers},
                               environment={"PGMEND_RELAY_ENGINE": engine})
            told = engine_of(subject)
            if engine == "epoll":
                same(told[1], "epoll", "what was asked for")
            carries(t, subject)
            # Each worker's thread has opened its own before it began; by now all of them have.
            poll(lambda: subject.http("/live")[0] == 200, "all loops turn")
            rings = [link for link in os.listdir(f"/proc/{subject.process.pid}/fd")
                     if "[io_uring]" in os.readlink(f"/proc/{subject.process.pid}/fd/{link}")]
            same(len(rings), workers if told[1] == "io_uring" else 0, "rings")
