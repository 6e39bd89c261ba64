"""What the tests of deploy/ share: running their functions, and a PostgreSQL with a pgmend in front of it."""

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

import harness  # noqa: E402
import wire  # noqa: E402

BINARY = ROOT / "build/release/proxy/pgmend"


class Here:
    """One run: its folder, the program under test, and a PostgreSQL for whoever asks for one."""

    def __init__(self, folder, binary, full):
        self.folder, self.binary, self.full = pathlib.Path(folder), pathlib.Path(binary).resolve(), full
        self._postgres = None
        self._names = 0

    @property
    def postgres(self):
        if self._postgres is None:
            self._postgres = harness.Postgres(self.folder / "postgres").create()
        return self._postgres

    def directory(self):
        self._names += 1
        path = self.folder / str(self._names)
        path.mkdir(mode=0o755)
        return path

    def pgmend(self, settings=None, **more):
        return harness.Pgmend(self.postgres, self.directory(), self.binary, settings=settings, **more)

    def stop(self):
        if self._postgres is not None:
            self._postgres.stop()


@contextlib.contextmanager
def running(subject):
    """A started subject, which is gone afterwards whatever happened."""
    try:
        yield subject.start()
    finally:
        if subject.process is not None and subject.process.poll() is None:
            subject.process.kill()
            subject.process.wait()


def log_in(port, timeout=30.0, host="127.0.0.1"):
    return wire.Wire(host, port, timeout=timeout).login("app", harness.PASSWORDS["app"], "app")


class Naive(threading.Thread):
    """An application that knows no retry: it connects, runs some statements, leaves, and begins again. What goes
    wrong is kept in `errors`."""

    def __init__(self, port, statements=3, pause=0.0, host="127.0.0.1"):
        super().__init__(daemon=True)
        self.port, self.host, self.statements, self.pause = port, host, statements, pause
        self.told_to_stop = threading.Event()
        self.errors, self.served = [], 0

    def run(self):
        while not self.told_to_stop.is_set():
            try:
                client = log_in(self.port, host=self.host)
                for number in range(self.statements):
                    harness.same(client.value(f"SELECT {number}"), str(number))
                    self.served += 1
                    self.told_to_stop.wait(self.pause)
                client.close()
            except Exception as error:  # whatever it is, the application has seen it
                self.errors.append(f"{type(error).__name__}: {error}")

    @staticmethod
    def finish(crowd):
        for each in crowd:
            each.told_to_stop.set()
        for each in crowd:
            each.join(60)
            harness.check(not each.is_alive(), "an application did not come to its end")
        errors = [error for each in crowd for error in each.errors]
        return errors, sum(each.served for each in crowd)


def attempt(test, here):
    """Whether it passed; prints how it went."""
    began = time.monotonic()
    try:
        said = test(here)
    except Exception:
        print(f"FAIL  {test.__name__}\n{traceback.format_exc()}", flush=True)
        return False
    absent = said is not None and said.startswith("not here: ")
    print(f"ok    {test.__name__} ({time.monotonic() - began:.1f} s)" + (f": {said}" if said and not absent else ""), flush=True)
    if absent:
        print(said, flush=True)
    return True


def main(names, doc):
    """Runs every test_… of a module, with --full every full_… too; ends with "N passed, N failed". What this machine cannot
    run of the real thing is the module's NOT_HERE, and is said before. Without --full a single failure is tried again, as the
    integration tests do it: machines stand still for a second now and then."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--binary", default=BINARY, help="the pgmend to test")
    parser.add_argument("--full", action="store_true", help="what takes longer as well")
    parser.add_argument("-k", default="", help="only tests whose name has this in it")
    wanted = parser.parse_args()
    # Being stopped is an exception like any other, so that everything is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kinds = ("test_", "full_") if wanted.full else ("test_",)
    tests = [each for name, each in names.items() if name.startswith(kinds) and wanted.k in name]
    for what in names.get("NOT_HERE", ()):
        print(f"not here: {what}", flush=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="pgmend-deploy-") as folder:
        os.chmod(folder, 0o755)  # the user postgres has to get through when root runs the tests
        here = Here(folder, wanted.binary, wanted.full)
        try:
            failed = [test for test in tests if not attempt(test, here)]
            if len(failed) == 1 and not wanted.full and attempt(failed[0], here):
                print(f"note: {failed.pop().__name__} passed only when tried again", flush=True)
        finally:
            here.stop()
    print(f"{len(tests) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def said(command, **more):
    """What a command printed; its failure is the test's."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    harness.check(done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
