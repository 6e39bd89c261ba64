"""What is read off a process: CPU, memory, system calls, user instructions."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import time
from dataclasses import dataclass

from .servers import family

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """Seconds."""

    user: float
    system: float

    @property
    def total(self):
        return self.user + self.system

    def __sub__(self, other):
        return Cpu(self.user - other.user, self.system - other.system)


def _times(pid):
    # The name in parentheses may hold anything, so the fields are counted from its end.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) / TICK for field in fields[11:15]]


def cpu_of(pids):
    """CPU of these processes with all their threads."""
    times = [_times(pid) for pid in pids]
    return Cpu(sum(t[0] for t in times), sum(t[1] for t in times))


def cpu_of_postgres(pid):
    """CPU of the postmaster, of its children, and of those that have come and gone."""
    total = sum(_times(pid))
    for child in family(pid)[1:]:
        try:
            total += sum(_times(child)[:2])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def wait_for_backends(pid, count, seconds=1):
    """Until PostgreSQL has no more processes than this: what a backend used counts for its parent once it is gone.

    A pooler keeps those it opened, so the wait has an end.
    """
    deadline = time.monotonic() + seconds
    while len(family(pid)) > count and time.monotonic() < deadline:
        time.sleep(0.01)


def memory_of(pids):
    """Resident bytes: (all, the anonymous part)."""
    total = anonymous = 0
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"^VmRSS:\s+(\d+)", status, re.M).group(1)) * 1024
        anonymous += int(re.search(r"^RssAnon:\s+(\d+)", status, re.M).group(1)) * 1024
    return total, anonymous


def _traced(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/status")
    return all(re.search(r"^TracerPid:\s+[1-9]", task.read_text(), re.M) for task in tasks)


def count_system_calls(pids, folder, work):
    """Runs `work` with strace attached; returns ({name: calls}, calls to read that answered EAGAIN)."""
    report = folder / "strace"
    attach = [part for pid in pids for part in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-U", "name,calls,errors", "-o", report, *attach],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not all(map(_traced, pids)):
            if tracer.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("strace could not attach")
            time.sleep(0.01)
        work()
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    calls, again = collections.Counter(), 0
    for line in report.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[1].isdigit() and fields[0] != "total":
            calls[fields[0]] = int(fields[1])
            if fields[0] in ("recvfrom", "read", "recvmsg", "readv") and len(fields) > 2:
                again += int(fields[2])
    return calls, again


def system_calls_per_transaction(pids, folder, run, clients, short, long):
    """`run(n)` makes every client do n transactions. Two lengths, so that logins and attaching cancel out."""
    few, few_again = count_system_calls(pids, folder, lambda: run(short))
    many, many_again = count_system_calls(pids, folder, lambda: run(long))
    transactions = clients * (long - short)
    each = {name: (many[name] - few[name]) / transactions for name in many | few}
    return {
        "total": sum(each.values()),
        "again": max(0.0, (many_again - few_again) / transactions),
        "which": {name: round(count, 2) for name, count in sorted(each.items(), key=lambda x: -x[1]) if count >= 0.01},
    }


# The functions an allocation goes through, as callgrind names them.
ALLOCATIONS = {"operator new": re.compile(r"^operator new(\[\])?\("), "malloc": re.compile(r"^(malloc|calloc|realloc)$")}


@dataclass
class Callgrind:
    """One file of callgrind: instructions in all, in each function itself, and calls of what allocates."""

    instructions: int
    own: collections.Counter
    allocations: collections.Counter


def _read_callgrind(path):
    """Names are given once and then by number; the line after calls= is what the callee cost, not the caller."""
    names, own, allocations, function, callee, skip = {}, collections.Counter(), collections.Counter(), "", "", False
    for line in path.open(errors="replace"):
        if line.startswith(("fn=", "cfn=")):
            which, _, text = line.partition("=")
            number, _, name = text.strip().partition(" ")
            name = names.setdefault(number, name) if name else names.get(number, "?")
            if which == "fn":
                function = name
            else:
                callee = name
        elif line.startswith("calls="):
            skip = True
            for kind, pattern in ALLOCATIONS.items():
                if pattern.match(callee.split("'")[0]):
                    allocations[kind] += int(line[6:].split()[0])
        elif line[:1] in "0123456789+-*":
            if not skip:
                own[function] += int(line.split()[1])
            skip = False
    return Callgrind(sum(own.values()), own, allocations)


def instructions_per_transaction(contender_class, postgres, folder, run, short, long):
    """Starts the contender twice under callgrind, with a short and a long run; start-up and login cancel out.

    `run(contender, n)` makes one client do n transactions. Returns, for each transaction, user instructions,
    allocations, and under "functions" the instructions of each function itself.
    """
    few, many = (_under_callgrind(contender_class, postgres, folder, run, length) for length in (short, long))
    count = long - short
    functions = {name: (cost - few.own[name]) / count for name, cost in many.own.items()}
    allocations = {kind: (many.allocations[kind] - few.allocations[kind]) / count for kind in ALLOCATIONS}
    return {"instructions": (many.instructions - few.instructions) / count, "functions": functions, **allocations}


def _under_callgrind(contender_class, postgres, folder, run, transactions):
    contender = contender_class(postgres, folder)
    pattern = f"callgrind-{contender.port}"
    contender.start(["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={folder / pattern}"])
    try:
        run(contender, transactions)
    finally:
        contender.stop()
    files = list(folder.glob(f"{pattern}*"))
    if not files:
        raise RuntimeError(f"callgrind wrote nothing for {contender.name}")
    return _read_callgrind(files[0])
