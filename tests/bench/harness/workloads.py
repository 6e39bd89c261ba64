"""What is run through each contender. A run returns figures by name; the names are the columns of the report."""

import collections
import re
import resource
import subprocess
import threading
import time

from . import measure, wire
from .servers import DATABASE, PG_BIN, USER, family, log_in

MEGABYTE = 1_000_000


class Unsuitable(Exception):
    """The contender cannot take part in this workload; the text says why."""


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def pgbench(contender, *arguments):
    """Runs pgbench and returns what it printed. A client that was dropped makes it fail."""
    command = [PG_BIN / "pgbench", "-n", "-h", "127.0.0.1", "-p", str(contender.port), "-U", USER]
    environment = contender.postgres.environment() | {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
    done = subprocess.run(
        [*command, *map(str, arguments), DATABASE], env=environment, capture_output=True, text=True, cwd="/"
    )
    if done.returncode != 0 or "aborted" in done.stderr:
        raise RuntimeError(f"{contender.name}: pgbench {' '.join(map(str, arguments))}: {done.stderr.strip()[-400:]}")
    return done.stdout


class Transactions:
    """pgbench for some seconds: throughput, latency from its log, CPU of the proxy and of the whole path."""

    kind = "transactions"

    def __init__(self, name, *script, mode="simple", clients=1, threads=1, rate=0, sample=0.25, fairness=False):
        self.name = name
        self.script = script
        self.mode = mode
        self.clients = clients
        self.threads = threads
        self.rate = rate
        self.sample = 1.0 if fairness or rate else sample
        self.fairness = fairness

    def suits(self, contender):
        if self.mode == "prepared" and not contender.prepared:
            raise Unsuitable("no prepared statements in transaction pooling")
        if self.fairness and not contender.pools:
            raise Unsuitable("one server connection for each client")

    def run(self, contender, folder, seconds):
        # pgbench's clock runs while it logs in, and 500 logins take it seconds.
        seconds += self.clients // 100
        prefix = folder / f"log-{contender.name}"
        arguments = [*self.script, "-M", self.mode, "-c", self.clients, "-j", self.threads, "-T", seconds]
        arguments += ["-l", f"--log-prefix={prefix}", f"--sampling-rate={self.sample}"]
        if self.rate:
            arguments += ["-R", self.rate]
        pids, postgres = contender.pids(), contender.postgres.process.pid
        before, before_postgres = measure.cpu_of(pids), measure.cpu_of_postgres(postgres)
        before_pgbench, backends = _children_cpu(), len(family(postgres))
        output = pgbench(contender, *arguments)
        cpu = measure.cpu_of(pids) - before
        measure.wait_for_backends(postgres, backends)
        around = measure.cpu_of_postgres(postgres) - before_postgres + _children_cpu() - before_pgbench
        count = int(re.search(r"transactions actually processed: (\d+)", output).group(1))
        figures = {
            "tps": float(re.search(r"^tps = ([\d.]+)", output, re.M).group(1)),
            "path": (around + cpu.total) / count * 1e6,
        }
        if pids:
            figures |= {"cpu": cpu.total / count * 1e6, "user": cpu.user / count * 1e6, "system": cpu.system / count * 1e6}
        return figures | self._from_logs(folder, prefix)

    def _from_logs(self, folder, prefix):
        latencies, per_client = [], collections.Counter()
        for file in folder.glob(f"{prefix.name}.*"):
            for line in file.read_text().splitlines():
                fields = line.split()
                # With a rate, the time counts from the scheduled start and the last column is what that cost.
                latencies.append(int(fields[2]) - (int(fields[6]) if self.rate else 0))
                per_client[(file.name, fields[0])] += 1
            file.unlink()
        latencies.sort()
        figures = {f"p{p}": percentile(latencies, p / 100) for p in (50, 95, 99)} if latencies else {}
        if self.fairness:
            if len(per_client) < self.clients:
                raise RuntimeError(f"{self.clients - len(per_client)} of {self.clients} clients were never served")
            figures["unfairness"] = max(per_client.values()) / min(per_client.values())
        return figures


def _children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Stream:
    """A result or a COPY as large as the direction asks for: throughput and CPU of the proxy for each gigabyte."""

    kind = "stream"

    def __init__(self, name, work, megabytes):
        self.name = name
        self.work = work
        self.megabytes = megabytes

    def suits(self, contender):
        pass

    def run(self, contender, folder, seconds):
        del folder, seconds  # its length is an amount and not a time
        connection = log_in(contender.port)
        connection.query("select 1")
        before, began = measure.cpu_of(contender.pids()), time.monotonic()
        size = self.work(connection, self.megabytes)
        took = time.monotonic() - began
        cpu = measure.cpu_of(contender.pids()) - before
        connection.close()
        figures = {"mb_s": size / MEGABYTE / took}
        if contender.pids():
            gigabytes = size / 1e9
            figures |= {"cpu_gb": cpu.total / gigabytes, "user_gb": cpu.user / gigabytes, "system_gb": cpu.system / gigabytes}
        return figures


def copy_out(connection, megabytes):
    size = 0
    while size < megabytes * MEGABYTE:
        size += connection.swallow("copy bench_out to stdout")
    return size


def copy_in(connection, megabytes):
    # 8 KiB a message is what psql sends.
    message = wire.frame(b"d", (b"x" * 127 + b"\n") * 64)
    connection.query("truncate bench_in")
    return connection.pour("copy bench_in from stdin", message * 16, megabytes * MEGABYTE // (len(message) * 16))


def many_rows(connection, megabytes):
    """DataRows of 11 to 18 bytes: the price of a message, not of a byte."""
    return connection.swallow(f"select i from generate_series(1, {megabytes * MEGABYTE // 17}) i")


def all_workloads(quick):
    select, write = "-S", "-N"
    amount = 200 if quick else 400
    workloads = [
        Transactions("select-simple-c1", select),
        Transactions("select-simple-c32", select, clients=32, threads=2, sample=0.1),
        Transactions("select-prepared-c1", select, mode="prepared"),
        Transactions("select-prepared-c32", select, mode="prepared", clients=32, threads=2, sample=0.1),
        Transactions("select-extended-c32", select, mode="extended", clients=32, threads=2, sample=0.1),
        Transactions("write-simple-c16", write, clients=16, threads=2),
        Transactions("connect-c4", select, "-C", clients=4, threads=2, sample=1.0),
        Stream("copy-out", copy_out, amount),
        Stream("copy-in", copy_in, amount),
        Stream("many-rows", many_rows, amount // 2),
        Transactions("fairness-c500", select, clients=500, threads=2, fairness=True),
    ]
    if quick:
        kept = {"select-simple-c32", "select-prepared-c32", "connect-c4", "copy-out", "many-rows"}
        return [each for each in workloads if each.name in kept]
    return workloads + [
        Transactions("latency-c1-500/s", select, rate=500),
        Transactions("latency-c8-4000/s", select, clients=8, threads=2, rate=4000),
    ]


# The workloads of which system calls and instructions are counted: (name, mode, clients).
COUNTED = [
    ("simple-c1", "simple", 1),
    ("prepared-c1", "prepared", 1),
    ("simple-c32", "simple", 32),
    ("prepared-c32", "prepared", 32),
    ("connect-c1", "connect", 1),
]


def counted_run(contender, mode, clients, transactions):
    """Mode `connect`: each transaction is one of a new client, that logs in by SCRAM and goes."""
    how = ["-C"] if mode == "connect" else ["-M", mode]
    pgbench(contender, "-S", *how, "-c", clients, "-j", min(2, clients), "-t", transactions)


def instructions(contender_class, postgres, folder, mode, clients):
    # Of a new client most is pgbench's own work.
    short, long = (100, 600) if mode == "connect" else (1000, 6000)
    return measure.instructions_per_transaction(
        contender_class, postgres, folder, lambda c, n: counted_run(c, mode, clients, n), short, long
    )


def system_calls(contender, folder, mode, clients):
    counted_run(contender, mode, clients, 20)  # the pool is full before anything is counted
    short, long = (50, 250) if clients > 1 else (100, 600) if mode == "connect" else (200, 1200)
    return measure.system_calls_per_transaction(
        contender.pids(), folder, lambda n: counted_run(contender, mode, clients, n), clients, short, long
    )


def idle_clients(contender, counts, seconds=3):
    """Memory and CPU to hold logged-in clients that do nothing; bytes of RSS for each, at each count."""
    if not contender.pids():
        raise Unsuitable("no process of its own")
    if not contender.pools:
        raise Unsuitable("one server connection for each client")
    counted_run(contender, "simple", 32, 20)
    base, base_anonymous = measure.memory_of(contender.pids())
    figures, held = {"base_mb": base / 1e6, "base_anonymous_mb": base_anonymous / 1e6}, []
    try:
        for count in counts:
            _hold(contender, held, count - len(held))
            figures[f"idle_{count}"] = (measure.memory_of(contender.pids())[0] - base) / count
        before = measure.cpu_of(contender.pids())
        # A measured stretch of time, not a wait for something: what does the proxy do when nobody asks?
        threading.Event().wait(seconds)
        figures["idle_cpu_ms_s"] = (measure.cpu_of(contender.pids()) - before).total * 1000 / seconds
        for connection in held[:: max(1, len(held) // 50)]:
            connection.query("select 1")
    finally:
        for connection in held:
            connection.close()
    return figures


def _hold(contender, held, more):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < len(held) + more + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(more):
        held.append(log_in(contender.port))


