#!/usr/bin/python3
"""Runs deploy/quickstart.sh the way a person does, and looks at what it leaves behind.

Each test gets ports of its own; the embedded PostgreSQL lives in a temporary state directory. Ends with
"N passed, N failed".
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import rootless
from running import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "deploy/quickstart.sh"
# Nothing here takes long by itself; the first start may have to build.
LONGEST_START, LONGEST_STOP = 1200, 30


def free_ports(count):
    """Ports that nobody listens on, none of them twice, and none that an outgoing connection of another test may sit on meanwhile."""
    ports = set()
    while len(ports) < count:
        ports.add(harness.free_port())
    return list(ports)


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Quickstart:
    """One quickstart in a process group of its own, as a terminal would start it."""

    def __init__(self, state, *arguments, command=(QUICKSTART,), terminal=None, **environment):
        """`command` ends with quickstart.sh; `terminal`: where its output goes instead of being read."""
        self.port, self.http_port = free_ports(2)
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}
        variables |= {
            "XDG_STATE_HOME": state,
            "PGMEND_LISTEN_PORT": str(self.port),
            "PGMEND_HTTP_PORT": str(self.http_port),
        }
        self.output = ""
        self.process = subprocess.Popen(
            [str(part) for part in (*command, *arguments)],
            env=variables | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that runs us in the background has told us to ignore Ctrl-C; a terminal would not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def read_until(self, words):
        for line in self.process.stdout:
            self.output += line
            if words in line:
                return
        raise AssertionError(f"ended before it said {words!r}:\n{self.output}")

    def finish(self, timeout):
        rest, _ = self.process.communicate(timeout=timeout)
        self.output += rest or ""
        return self.process.returncode

    def ctrl_c(self):
        os.killpg(self.process.pid, signal.SIGINT)

    def child(self, name):
        """The pid of the child with this program name, from /proc: ps prints what the locale wants."""
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            if re.search(rf"^Name:\t{name}$", text, re.M) and re.search(rf"^PPid:\t{self.process.pid}$", text, re.M):
                return int(status.parent.name)
        raise AssertionError(f"no child {name} of {self.process.pid}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.finish(LONGEST_STOP)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)


def running_from(state):
    """Command lines of live processes that mention the state directory."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state in line:
            found.append(line)
    return found


def assert_nothing_left(run, state):
    assert not answers(run.port), f"port {run.port} still answers"
    assert not answers(run.http_port), f"port {run.http_port} still answers"
    assert not running_from(state), f"still running: {running_from(state)}"
    group = subprocess.run(["ps", "-o", "args=", "-g", str(run.process.pid)], capture_output=True, text=True).stdout
    assert not [line for line in group.splitlines() if "defunct" not in line], f"left in its group: {group}"


def test_check_answers_and_stops(state):
    with Quickstart(state, "--check") as run:
        assert run.finish(LONGEST_START) == 0, run.output
    assert "started an embedded PostgreSQL" in run.output, run.output
    assert re.search(r"answered: PostgreSQL \d+", run.output), run.output
    assert_nothing_left(run, state)


def test_second_start_is_fast(state):
    # The machine may be busy with something else just then, so the best of three counts.
    best = None
    for _ in range(3):
        began = time.monotonic()
        with Quickstart(state, "--check") as run:
            assert run.finish(LONGEST_START) == 0, run.output
        assert "creating" not in run.output, run.output
        took = time.monotonic() - began
        best = min(took, best or took)
        if best < 10:
            return
    raise AssertionError(f"took {best:.1f} s")


def test_password_is_kept_to_its_owner(state):
    files = [file for file in pathlib.Path(state).rglob("password")]
    assert len(files) == 1, files
    assert files[0].stat().st_mode & 0o777 == 0o600, oct(files[0].stat().st_mode)


def test_ctrl_c_stops_everything(state):
    with Quickstart(state) as run:
        run.read_until("Ctrl-C stops everything")
        assert answers(run.port)
        run.ctrl_c()
        status = run.finish(LONGEST_STOP)
    assert status in (130, -signal.SIGINT), (status, run.output)
    assert_nothing_left(run, state)


# PostgreSQL's first process, which has said by its file that it is gone, needs a while more.
LATE = r"""
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static pid_t first;
static void late(void) { if (getpid() == first) sleep(3); }
__attribute__((constructor)) static void begin(void) {
    extern char *program_invocation_short_name;
    if (strcmp(program_invocation_short_name, "postgres") == 0 && atexit(late) == 0) first = getpid();
}
"""


def test_stop_waits_for_the_last_of_postgresql(state):
    with tempfile.TemporaryDirectory(prefix="pgmend-late-") as folder:
        os.chmod(folder, 0o755)
        library = f"{folder}/late.so"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=LATE, text=True, check=True)
        with Quickstart(state, "--check", LD_PRELOAD=library) as run:
            assert run.finish(LONGEST_START) == 0, run.output
        assert "stopped pgmend and the embedded PostgreSQL" in run.output, run.output
        assert_nothing_left(run, state)


def test_death_of_pgmend_ends_it(state):
    with Quickstart(state) as run:
        run.read_until("Ctrl-C stops everything")
        os.kill(run.child("pgmend"), signal.SIGKILL)
        assert run.finish(LONGEST_STOP) not in (0, None), run.output
    assert "pgmend ended by itself" in run.output, run.output
    assert_nothing_left(run, state)


def test_port_in_use_is_said(state):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Quickstart(state, "--check", PGMEND_LISTEN_PORT=str(port)) as run:
            assert run.finish(LONGEST_STOP) == 1, run.output
    assert f"127.0.0.1:{port} is in use" in run.output and "PGMEND_LISTEN_PORT" in run.output, run.output
    assert "started an embedded" not in run.output, run.output


def test_second_quickstart_on_one_state_is_refused(state):
    with Quickstart(state) as first:
        first.read_until("Ctrl-C stops everything")
        with Quickstart(state, "--check") as second:
            assert second.finish(LONGEST_STOP) == 1, second.output
        assert "another quickstart is running" in second.output, second.output
        assert answers(first.port), "the first one was harmed"


def test_given_server_in_both_forms(state):
    with Quickstart(state) as server:
        server.read_until("Ctrl-C stops everything")
        port = re.search(r"PostgreSQL on 127\.0\.0\.1:(\d+)", server.output).group(1)
        password = next(pathlib.Path(state).rglob("password")).read_text()
        for url in (
            f"postgresql://app:{password}@127.0.0.1:{port}/app?sslmode=disable",
            f"postgresql://127.0.0.1:{port}/?user=app&password={password}&dbname=%61pp",
            f"host=127.0.0.1 port={port} user=app password='{password}' dbname = app",
        ):
            with Quickstart(state, "--check", DATABASE_URL=url) as run:
                assert run.finish(LONGEST_STOP) == 0, f"{url}:\n{run.output}"
            assert "DATABASE_URL is set" in run.output and "embedded" not in run.output, run.output
            assert password not in run.output, "a password given by the user was printed"


def url_for_app(output):
    return re.search(r"as its DATABASE_URL: +(\S+)", output).group(1)


def asked(url):
    done = subprocess.run(["psql", "-X", "-At", "-w", "-d", url, "-c", "SELECT current_user, current_database()"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{url}: {done.stderr}"
    return done.stdout.strip()


def test_url_for_the_app_works_as_it_is_printed(state):
    with Quickstart(state) as run:
        run.read_until("Ctrl-C stops everything")
        url = url_for_app(run.output)
        assert f":{run.port}/" in url, url
        assert asked(url) == "app|app"


def test_url_for_the_app_of_a_given_server(state):
    with Quickstart(state) as server:
        server.read_until("Ctrl-C stops everything")
        port = re.search(r"PostgreSQL on 127\.0\.0\.1:(\d+)", server.output).group(1)
        admin = url_for_app(server.output).replace("//app:", "//postgres:").replace(f":{server.port}/", f":{port}/")
        sql = """CREATE ROLE "o'd d" LOGIN PASSWORD 'p@ss/w:%é'; CREATE DATABASE "da ta" OWNER "o'd d\""""
        for each in sql.split("; "):
            subprocess.run(["psql", "-X", "-q", "-d", admin, "-c", each], check=True, timeout=60)
        given = {
            "as a URL": f"postgres://o%27d%20d:p%40ss%2Fw%3A%25%C3%A9@127.0.0.1:{port}/da%20ta?sslmode=disable",
            "as keywords": f"host=127.0.0.1 port={port} user='o\\'d d' password=p@ss/w:%é dbname='da ta'",
        }
        for form, url in given.items():
            # A person at a terminal gets what can be pasted.
            ours, theirs = os.openpty()
            with open(ours, "rb", 0) as screen, Quickstart(state, terminal=theirs, DATABASE_URL=url) as run:
                os.close(theirs)
                text = b""
                while b"Ctrl-C stops everything" not in text:
                    more = screen.read(4096)
                    assert more, text
                    text += more
                assert asked(url_for_app(text.decode())) == "o'd d|da ta", form
            # A log gets the same without the password.
            with Quickstart(state, "--check", DATABASE_URL=url) as run:
                assert run.finish(LONGEST_START) == 0, f"{form}:\n{run.output}"
            assert url_for_app(run.output) == f"postgres://o%27d%20d:***@127.0.0.1:{run.port}/da%20ta", run.output


SUDO = """#!/bin/sh
echo "$@" >> "$HOME/sudo.log"
cat > /dev/null
"""
# One package is not there, and sudo's stub will not install it.
DPKG_QUERY = """#!/bin/sh
/usr/bin/dpkg-query "$@" | grep -v " ${ABSENT:-none}$"
"""


def test_an_ordinary_user_with_sudo(_):
    with tempfile.TemporaryDirectory(prefix="pgmend-ordinary-") as folder:
        os.chmod(folder, 0o755)
        with rootless.account(folder) as user:
            for name in ("deploy/quickstart.sh", "deploy/packages.sh", "build/release/proxy/pgmend"):
                user.give(ROOT / name, f"tree/{name}")
            # It is built already, and nothing is to be configured.
            for name, text in {"sudo": SUDO, "dpkg-query": DPKG_QUERY, "cmake": "#!/bin/sh\n", "build.ninja": ""}.items():
                source = pathlib.Path(folder) / "given"
                source.write_text(text)
                source.chmod(0o755)
                user.give(source, "tree/build/release/build.ninja" if name == "build.ninja" else f"stubs/{name}")
            ports = []

            def quickstart(*arguments, **environment):
                ports[:] = free_ports(2)
                words = {"PATH": f"{user.home}/stubs:/usr/sbin:/usr/bin:/sbin:/bin", "PGMEND_LISTEN_PORT": ports[0],
                         "PGMEND_HTTP_PORT": ports[1], **environment}
                command = [*user.prefix, "env", *(f"{name}={value}" for name, value in words.items()),
                           user.home / "tree/deploy/quickstart.sh"]
                run = Quickstart("/nowhere", *arguments, command=command)
                run.port, run.http_port = ports
                return run

            calls = user.home / "sudo.log"
            with quickstart("--check", ABSENT="libxxhash-dev") as run:
                assert run.finish(LONGEST_START) == 0, run.output
            assert re.search(r"answered: PostgreSQL \d+", run.output), run.output
            assert re.search(r"apt-get .*install .*libxxhash-dev", calls.read_text()), calls.read_text()
            assert_nothing_left(run, str(user.home))
            calls.unlink()
            with quickstart() as run:
                run.read_until("Ctrl-C stops everything")
                assert answers(run.port)
                run.ctrl_c()
                assert run.finish(LONGEST_STOP) in (130, -signal.SIGINT), run.output
            assert_nothing_left(run, str(user.home))
            assert not calls.exists(), "nothing was missing, and sudo was asked"
            assert (user.home / ".local/state/pgmend/created").stat().st_uid == user.home.stat().st_uid


def test_unanswered_query_is_a_failure(state):
    with Quickstart(state) as server:
        server.read_until("Ctrl-C stops everything")
        port = re.search(r"PostgreSQL on 127\.0\.0\.1:(\d+)", server.output).group(1)
        url = f"postgresql://app:wrong@127.0.0.1:{port}/app"
        with Quickstart(state, "--check", DATABASE_URL=url) as run:
            assert run.finish(90) != 0, run.output
        assert "answered: PostgreSQL" not in run.output, run.output


def main():
    # Being stopped is an exception like any other, so that every quickstart is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tests = [each for name, each in globals().items() if name.startswith("test_")]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="pgmend-quickstart-") as state:
        # The user postgres has to get through when root runs the tests.
        os.chmod(state, 0o755)
        for test in tests:
            began = time.monotonic()
            try:
                test(state)
                print(f"ok    {test.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {test.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
