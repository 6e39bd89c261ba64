#!/usr/bin/python3
"""What this machine cannot do of the real thing is said in the output of the tests, in lines that begin with "not here:"."""

import importlib
import pathlib
import re
import subprocess
import sys

import running
from running import ROOT
from harness import check, same

HERE = pathlib.Path(__file__).resolve().parent
MODULES = [each.stem for each in sorted(HERE.glob("*_test.py")) if re.search(r"^NOT_HERE = ", each.read_text(), re.M)]


def told(text):
    return [line for line in text.splitlines() if line.startswith("not here: ")]


def test_modules_say_it_before_anything_else(here):
    count = 0
    for name in MODULES:
        done = subprocess.run([sys.executable, HERE / f"{name}.py", "--binary", here.binary, "-k", "nothing at all"],
                              capture_output=True, text=True, check=False)
        wanted = [f"not here: {each}" for each in importlib.import_module(name).NOT_HERE]
        same((name, told(done.stdout), done.stdout.splitlines()[:len(wanted)]), (name, wanted, wanted))
        count += len(wanted)
    check(len(MODULES) >= 5 and count >= 6, f"{count} lines of {MODULES}")
    return f"{count} lines of {len(MODULES)} modules"


def test_a_test_that_finds_something_missing_says_it(here):
    """A line of its own."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import running\n" \
           "def test_x(here): return 'not here: a thing'\n" \
           "def test_y(here): return 'a figure'\n" \
           "sys.exit(running.main(dict(test_x=test_x, test_y=test_y), ''))"
    said = running.said([sys.executable, "-c", code])
    same(told(said), ["not here: a thing"])
    check("a figure" in said and "2 passed, 0 failed" in said, said)


def test_the_run_shows_them(here):
    """tests/run.sh keeps the output of its parts in files; these lines are on its own output too."""
    folder = here.directory()
    script = (ROOT / "tests/run.sh").read_text()
    functions = "\n".join(re.search(rf"^{name}\(\) \{{\n.*?^\}}$", script, re.M | re.S).group(0) for name in ("wanted", "finish"))
    for part, lines in (("with", "not here: a thing\nok    test_x\n1 passed, 0 failed\n"), ("without", "1 passed, 0 failed\n")):
        (folder / f"{part}.log").write_text(lines)
        (folder / f"{part}.seconds").write_text("1\n")
    said = running.said(["bash", "-c", f"set -euo pipefail; logs={folder} only='  ' passed=0 failed=0 commit=x; summary=() results=()\n"
                         f"declare -A part_pid\n{functions}\nfor part in with without; do true & part_pid[$part]=$!; finish $part; done"])
    same([line.strip() for line in said.splitlines() if "not here" in line], ["not here: a thing"])


def test_the_readme_says_them_too(here):
    text = (ROOT / "deploy/README.md").read_text().rsplit("## What is tested", 1)[1]
    for name in MODULES:
        for each in importlib.import_module(name).NOT_HERE:
            what = each.split(":")[0].removeprefix("a ").split(" as ")[0].split(" for ")[0]
            check(what in text, f"{name} says {each!r}, deploy/README.md says nothing of {what!r}")


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
