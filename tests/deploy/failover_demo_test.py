#!/usr/bin/python3
"""Runs deploy/failover_demo.sh the way a person does, looks at what it says and at what it leaves behind.

Ends with "N passed, N failed".
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import running
from harness import check, poll, same

DEMO = running.ROOT / "deploy/failover_demo.sh"


def demo(here, state, *arguments, binary=None, **more):
    """Started in a process group of its own, as a terminal would."""
    environment = os.environ | {"XDG_STATE_HOME": str(state), "PGMEND_BINARY": str(binary or here.binary)}
    return subprocess.Popen([str(DEMO), *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more)


def nothing_left(state):
    """No process of it, no file of it."""
    poll(lambda: not [path for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if mentions(path, state)],
         "all of its processes are gone", 15)
    same(list((pathlib.Path(state) / "pgmend").glob("failover.*")), [], "its files")


def mentions(path, state):
    try:
        return str(state) in path.read_bytes().decode(errors="replace")
    except OSError:
        return False


def test_check(here):
    state = here.directory()
    process = demo(here, state, "--check")
    output, _ = process.communicate(timeout=120)
    same(process.returncode, 0, output)
    found = re.search(r"answered (\d+) ms after the promotion: 61 on port (\d+)", output)
    check(found, f"the answer of the promoted server:\n{output}")
    check(f"the standby on port {found.group(2)} is promoted" in output, f"it is the other server's:\n{output}")
    check("it counted to 121 on one connection" in output, output)
    nothing_left(state)
    return f"answered {found.group(1)} ms after the promotion"


def test_error_is_a_failure(here):
    """With a pgmend that does not hold, the application is told of the outage, and so is whoever runs the check."""
    state = here.directory()
    careless = state / "careless"
    careless.write_text(f"#!/bin/sh\nPGMEND_HOLD_TIMEOUT=1ms exec {here.binary} \"$@\"\n")
    careless.chmod(0o755)
    process = demo(here, state, "--check", binary=careless)
    output, _ = process.communicate(timeout=120)
    same(process.returncode, 1, output)
    check("no server could be reached in time" in output, f"in the application's own words:\n{output}")
    nothing_left(state)


def test_screen(here):
    state = here.directory()
    process = demo(here, state)
    output, _ = process.communicate(timeout=120)
    same(process.returncode, 0, output)
    counted = [int(number) for number in re.findall(r"the application counts: (\d+) on port", output)]
    same(counted, [number for number in range(1, 122) if number != 61], "each count is on the screen")
    nothing_left(state)


def test_interrupted(here):
    state = here.directory()
    process = demo(here, state)
    for line in process.stdout:
        if "pgmend listens" in line:
            break
    time.sleep(0.5)  # somewhere in the middle
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    same(process.returncode, 130)
    nothing_left(state)


def test_wrong_word(here):
    process = demo(here, here.directory(), "--chekc")
    output, _ = process.communicate(timeout=10)
    same(process.returncode, 2)
    check("--check" in output, output)


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
