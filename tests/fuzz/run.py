#!/usr/bin/python3
"""Runs the fuzz targets of a build with libFuzzer (preset `fuzz`), some at a time.

  tests/fuzz/run.py                     a hundredth of the promised executions from a fixed seed, as a push does
  tests/fuzz/run.py --full              so many executions a target that all together make the number promised
  tests/fuzz/run.py -k scanner --seconds 600

Inputs found on the way are kept in build/fuzz-corpus/<target>, findings in build/fuzz-findings. A finding prints its
file and the command that repeats it; once mended, the file belongs into tests/fuzz/corpus/<target> under a name that
says what it is. Ends with "N passed, N failed", counted in targets.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/fuzz"
PROMISED = 100_000_000

# How the promised executions are shared out, in millions: cheap targets take most of it. In all somewhat less than an hour
# and a half of one core of the machine named in tests/RESULTS.md, with the sanitizers on.
MILLIONS = {
    "frames": 10,
    "startup": 10,
    "messages": 20,
    "passwords": 8,
    "sasl": 3,
    "scanner": 15,
    "classifier": 2,
    "changes": 5,
    "values": 15,
    "policy": 0.2,
    "url": 1,
    "rules": 4,
    "secrets": 4,
    "srv": 2,
    "patroni": 1,
    "http": 0.3,
    "console": 2,
    "tls": 0.04,
    "requests": 0.5,
    "replies": 2.5,
    "sessions": 0.1,
    "servers": 0.15,
}
LONGEST = {"frames": 4096, "requests": 2048, "replies": 2048, "sessions": 2048, "servers": 2048, "policy": 2048, "http": 2048}
# Of one input, in seconds by the clock: what takes some ms has taken 38 s on a machine whose other work went first.
TIMEOUT = 300
# Where most of the time would go into choosing inputs by how rare they are.
NOT_ENTROPIC = {"frames", "sessions", "servers"}
DICTIONARIES = {"scanner": "sql", "classifier": "sql", "changes": "sql", "policy": "policy", "url": "url", "http": "http", "console": "console",
                "rules": "rules"}


def targets():
    """The names in the list of fuzz.hpp: a target without a program is one that failed."""
    text = (HERE / "fuzz.hpp").read_text(encoding="utf-8")
    return re.findall(r"\beach\((\w+)\)", text)


def command_of(target, options, found):
    program = ROOT / options.build / "tests/fuzz" / f"fuzz_{target}"
    command = [program, f"-max_len={LONGEST.get(target, 1024)}", f"-timeout={TIMEOUT}", "-rss_limit_mb=3000", "-print_final_stats=1"]
    command += [f"-artifact_prefix={found}/", "-detect_leaks=1", "-verbosity=0"]
    command.append(f"-entropic={int(target not in NOT_ENTROPIC)}")
    if target in DICTIONARIES:
        command.append(f"-dict={HERE / 'dictionaries' / DICTIONARIES[target]}.dict")
    if options.full:
        command.append(f"-runs={int(MILLIONS[target] * 1_000_000)}")
    else:
        # Counted, not timed, by default: a push then meets the same inputs on every machine.
        bound = f"-max_total_time={options.seconds}" if options.seconds else f"-runs={int(MILLIONS[target] * 10_000)}"
        command += [bound, f"-seed={options.seed}"]
    work = ROOT / "build/fuzz-corpus" / target
    if not options.full and not options.keep:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    return [str(word) for word in (*command, work, HERE / "corpus" / target)]


def run_target(target, options):
    """Returns (executions, lines to print, passed)."""
    found = ROOT / "build/fuzz-findings" / target
    found.mkdir(parents=True, exist_ok=True)
    command = command_of(target, options, found)
    # Freed memory is kept from use for a while, but not so much of it that every input pays for fresh pages.
    environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=8:malloc_context_size=6:" + os.environ.get("ASAN_OPTIONS", "")}
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        except OSError as problem:
            return 0, [f"{target}: {problem}"], False
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
    # Seconds of the processor: those of the clock say more about what else runs.
    took = usage.ru_utime + usage.ru_stime
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    executions = int(count.group(1)) if count else 0
    lines = [f"{target:12} {executions:12,} executions in {took:6.0f} s, {executions / max(took, 0.001):9,.0f} a second"]
    if process.returncode == 0 and executions > 0:
        return executions, lines, True
    artifact = re.search(r"Test unit written to (\S+)", said)
    lines += said.splitlines()[-60:]
    lines.append(f"{target} FAILED (exit status {process.returncode})")
    if artifact:
        program = command[0]
        lines.append(f"the input: {artifact.group(1)}")
        lines.append(f"to repeat: {program} {artifact.group(1)}")
        lines.append(f"without clang: build/release/tests/fuzz/replay {target} {artifact.group(1)}")
    else:
        lines.append("to repeat: " + " ".join(command))
    return executions, lines, False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/fuzz", help="where the preset was built")
    parser.add_argument("--full", action="store_true", help=f"{PROMISED:,} executions in all")
    parser.add_argument("--seconds", type=int, help="for each target, instead of a number of executions; without --full")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer, without --full; 0 draws one")
    parser.add_argument("--keep", action="store_true", help="go on from the inputs found before")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("-k", dest="words", action="append", default=[], help="only targets with this word in the name")
    options = parser.parse_args()

    chosen = [name for name in targets() if not options.words or any(word in name for word in options.words)]
    executions = passed = failed = 0
    # The longest first, so that none is left alone at the end.
    chosen.sort(key=lambda name: MILLIONS[name])
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for count, lines, well in pool.map(lambda name: run_target(name, options), chosen):
            print(*lines, sep="\n", flush=True)
            executions += count
            passed, failed = passed + well, failed + (not well)
    print(f"note: {executions:,} executions in all")
    if options.full and not options.words and executions < PROMISED:
        print(f"fewer than the {PROMISED:,} that were promised")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
