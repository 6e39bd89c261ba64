"""From the figures of all rounds to a Markdown report: medians with their range, ratios within a round."""

import pathlib
import platform
import statistics
import subprocess
import time

from .servers import POOL_SIZE, ROOT, SCALE

# Columns of each kind of workload: key, title, decimals.
COLUMNS = {
    "transactions": [
        ("tps", "tps", 0),
        ("p50", "p50 µs", 0),
        ("p95", "p95 µs", 0),
        ("p99", "p99 µs", 0),
        ("cpu", "proxy CPU µs/txn", 1),
        ("user", "user", 1),
        ("system", "sys", 1),
        ("path", "path CPU µs/txn", 1),
    ],
    "stream": [
        ("mb_s", "MB/s", 0),
        ("cpu_gb", "proxy CPU s/GB", 3),
        ("user_gb", "user", 3),
        ("system_gb", "sys", 3),
    ],
}

# What the project has promised: (text, workload, figure, contender compared with, largest ratio).
PROMISES = [
    ("CPU per simple transaction, 32 clients", "select-simple-c32", "cpu", "pgbouncer", 1.1),
    ("CPU per prepared transaction, 32 clients", "select-prepared-c32", "cpu", "haproxy", 1.0),
    ("CPU per new client, SCRAM, with a transaction", "connect-c4", "cpu", "pgbouncer", 1.0),
]


def spread(values, decimals):
    """Median (least–most)."""
    if not values:
        return "–"
    text = f"{statistics.median(values):.{decimals}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{decimals}f}–{max(values):.{decimals}f})"


def ratios(rounds, other_rounds, figure):
    """Each round against the same round of the other: what the machine did meanwhile hit both."""
    pairs = zip(rounds, other_rounds)
    return [a[figure] / b[figure] for a, b in pairs if a and b and figure in a and b.get(figure)]


def command_output(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"


def surroundings(options):
    model = next(
        (line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": command_output("git", "rev-parse", "--short", "HEAD"),
        "machine": f"{len(pathlib.Path('/proc/cpuinfo').read_text().split('processor')) - 1} cores, {model}",
        "kernel": platform.release(),
        "postgresql": command_output("/usr/lib/postgresql/15/bin/postgres", "--version"),
        "pgbouncer": command_output("/usr/sbin/pgbouncer", "--version"),
        "haproxy": command_output("/usr/sbin/haproxy", "-v"),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * 2 + "--:|" * (len(titles) - 2)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def measured_tables(results, kind):
    """One table for all workloads of a kind; ratios of CPU where the other is in the same run."""
    rows = []
    columns = COLUMNS[kind]
    main = "cpu" if kind == "transactions" else "cpu_gb"
    for workload in (each for each in results["workloads"] if each["kind"] == kind):
        by_name = workload["contenders"]
        for name, entry in by_name.items():
            if "unsuitable" in entry:
                rows.append([workload["name"], name, f"*{entry['unsuitable']}*"] + ["–"] * (len(columns) + 1))
                continue
            rounds = entry["rounds"]
            row = [workload["name"], name]
            row += [spread([r[key] for r in rounds if key in r], decimals) for key, _, decimals in columns]
            for other in ("pgbouncer", "haproxy"):
                other_rounds = by_name.get(other, {}).get("rounds", [])
                row.append("–" if other == name else spread(ratios(rounds, other_rounds, main), 2))
            rows.append(row)
    titles = ["workload", "contender", *(title for _, title, _ in columns), "CPU × pgbouncer", "CPU × haproxy"]
    return table(titles, rows) if rows else []


def fairness_table(results):
    rows = []
    for workload in results["workloads"]:
        for name, entry in workload["contenders"].items():
            values = [r["unfairness"] for r in entry.get("rounds", []) if r and "unfairness" in r]
            if values:
                rows.append([workload["name"], name, spread(values, 2)])
    return table(["workload", "contender", "most / least served client"], rows) if rows else []


def system_call_table(results):
    rows = []
    for entry in results["system_calls"]:
        if "unsuitable" in entry:
            rows.append([entry["workload"], entry["contender"], f"*{entry['unsuitable']}*", "–", "–"])
            continue
        which = ", ".join(f"{name} {count:.2f}" for name, count in entry["which"].items())
        rows.append([entry["workload"], entry["contender"], f"{entry['total']:.2f}", f"{entry['again']:.2f}", which])
    return table(["workload", "contender", "system calls/txn", "EAGAIN reads/txn", "which"], rows) if rows else []


def instruction_table(results):
    rows = [
        [each["workload"], each["contender"], f"{each['instructions']:,.0f}", f"{each['operator new']:.2f}", f"{each['malloc']:.2f}"]
        for each in results["instructions"]
    ]
    return table(["workload", "contender", "user instructions/txn", "operator new/txn", "malloc/txn"], rows) if rows else []


def idle_table(results):
    rows = []
    for entry in results["idle"]:
        counts = [key for key in entry["figures"] if key.startswith("idle_") and key != "idle_cpu_ms_s"]
        figures = entry["figures"]
        held = ", ".join(f"{figures[key]:,.0f} @ {key[5:]}" for key in counts)
        base = f"{figures['base_mb']:.1f} ({figures['base_anonymous_mb']:.1f})"
        rows.append(["idle clients", entry["contender"], base, held, f"{figures['idle_cpu_ms_s']:.1f}"])
    return table(["workload", "contender", "base MB (anonymous)", "bytes of RSS/client", "CPU ms/s to hold them"], rows) if rows else []


def promise_table(results):
    by_name = {each["name"]: each["contenders"] for each in results["workloads"]}
    rows = []
    for text, workload, figure, other, most in PROMISES:
        contenders = by_name.get(workload, {})
        own, others = contenders.get("pgmend", {}).get("rounds"), contenders.get(other, {}).get("rounds")
        if own and others:
            found = ratios(own, others, figure)
            verdict = "kept" if statistics.median(found) <= most else "**broken**"
            rows.append([text, other, f"≤ {most:.2f}", spread(found, 2), verdict])
    return table(["promise", "against", "goal", "measured", "verdict"], rows) if rows else []


def markdown(results):
    around = results["surroundings"]
    lines = [
        f"{around['date']}, commit {around['commit']}; {around['machine']}, kernel {around['kernel']}.",
        f"{around['postgresql']} (fsync off, scale {SCALE}, SCRAM), {around['pgbouncer']}, {around['haproxy'].split(' - ')[0]}.",
        f"Pools of {POOL_SIZE}, TCP on loopback, no TLS. {around['rounds']} alternating rounds of {around['seconds']} s;"
        " medians (least–most), ratios within a round.",
    ]
    sections = [
        ("Promises", promise_table(results)),
        ("Transactions", measured_tables(results, "transactions")),
        ("Streams", measured_tables(results, "stream")),
        ("Fairness", fairness_table(results)),
        ("System calls", system_call_table(results)),
        ("User instructions and allocations", instruction_table(results)),
        ("Idle clients", idle_table(results)),
    ]
    for title, rows in sections:
        if rows:
            lines += ["", f"### {title}", "", *rows]
    return "\n".join(lines) + "\n"
