#!/usr/bin/python3
"""Switches off one rule of safety after another, and sees that the tests convict each.

    tests/mutations/run.py                     # all rules: about an hour on two cores
    tests/mutations/run.py -k "temporary"      # those whose name has all of these words
    tests/mutations/run.py --list

The change is made in a copy of the sources under build/mutations, never here. A rule passes when the tests that are said to
convict it pass on the program as it is and fail on the changed one. See README.md."""

import argparse
import os
import pathlib
import re
import subprocess
import sys

from rules import RULES

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "mutations"
SOURCE, BUILD = PLACE / "source", PLACE / "build"
BINARY = BUILD / "proxy/pgmend"
LEFT_OUT = ("deploy/", "tests/")


def sources():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout.split("\n")
    return [name for name in listed if name and (not name.startswith(LEFT_OUT) or name.endswith("CMakeLists.txt"))]


def write(path, data):
    """Only what differs, so that nothing is built without need."""
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def copy_sources():
    for name in sources():
        write(SOURCE / name, (ROOT / name).read_bytes())
    # The program alone is wanted.
    write(SOURCE / "tests/CMakeLists.txt", b"")


def build():
    """What the compiler said when it refused, or nothing."""
    environment = os.environ | {"CCACHE_BASEDIR": str(SOURCE), "CCACHE_NOHASHDIR": "1"}
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["cmake", "--preset", "release", "-B", str(BUILD)], cwd=SOURCE, env=environment, check=True,
                       stdout=subprocess.DEVNULL)
    done = subprocess.run(["ninja", "-C", str(BUILD), "pgmend"], env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return "" if done.returncode == 0 else done.stdout[-3000:]


def judge(words, seed):
    """How many of the tests passed and failed, and what they said."""
    done = subprocess.run([sys.executable, str(ROOT / "tests/integration/run.py"), "-k", words, "--quick", "--strict",
                           "--seed", str(seed), "--binary", str(BINARY)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    return (int(counts.group(1)), int(counts.group(2)), done.stdout) if counts else (0, 1, done.stdout)


def mutated(rule):
    """The file with the rule switched off."""
    text = (ROOT / rule.file).read_text()
    if text.count(rule.text) != 1:
        raise SystemExit(f"{rule.file}: the text of the rule {rule.name!r} stands there {text.count(rule.text)} times")
    return text.replace(rule.text, rule.instead).encode()


def try_rule(rule, seed):
    """Empty when the tests convict, else why not."""
    original = (ROOT / rule.file).read_bytes()
    write(SOURCE / rule.file, mutated(rule))
    try:
        refused = build()
        if refused:
            return "the changed program cannot be built\n" + refused
        _, failed, said = judge(rule.convicts, seed)
        return "" if failed else "no test noticed\n" + said[-2000:]
    finally:
        write(SOURCE / rule.file, original)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", metavar="WORDS", default="", help="only rules whose name has all of these words")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chosen = [rule for rule in RULES if all(word in rule.name for word in options.k.split())]
    if options.list:
        print("\n".join(f"{rule.name}\n    {rule.file}; {rule.convicts}" for rule in chosen))
        return 0
    for rule in chosen:
        mutated(rule)
    copy_sources()
    refused = build()
    if refused:
        sys.exit(refused)
    passed = failed = 0
    innocent = {}
    for rule in chosen:
        if rule.convicts not in innocent:
            good, bad, said = judge(rule.convicts, options.seed)
            innocent[rule.convicts] = "" if good and not bad else f"the tests fail without a change\n{said[-2000:]}"
        why = innocent[rule.convicts] or try_rule(rule, options.seed)
        passed, failed = passed + (not why), failed + bool(why)
        print(f"FAILED  {rule.name}\n{why}" if why else f"convicted  {rule.name}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
