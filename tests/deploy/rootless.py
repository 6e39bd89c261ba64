"""An ordinary account that builds and runs containers. When root runs the tests the account is made for the time of the
test, in a mount namespace where /etc/passwd and its neighbours have one line more: nothing of the machine is changed."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import running
from running import harness

# Of this run alone: at its end everything that the account still runs is killed, which must not meet another run's.
UID = 52317 + os.getpid() % 10000
# As many as an image may name, 65532 among them.
SUBORDINATE = f"container-builder:{1 << 20}:70000\n"


class Account:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.home = self.folder / "home"
        (self.home / "run").mkdir(parents=True, mode=0o700)
        self.storage = ["--storage-driver", "vfs", "--root", self.home / "store", "--runroot", self.home / "run"]
        environment = [f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.home}/run", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        self.prefix = ["env", "-i", *environment]
        if os.geteuid() == 0:
            script = self.folder / "become"
            script.write_text("#!/bin/sh\nset -e\n" + "".join(
                f"mount --bind {self._with_line(name, line)} /etc/{name}\n" for name, line in
                (("passwd", f"container-builder:x:{UID}:{UID}::{self.home}:/bin/sh\n"), ("group", f"container-builder:x:{UID}:\n"),
                 ("subuid", SUBORDINATE), ("subgid", SUBORDINATE)))
                + f"cd {self.home}\nexec setpriv --reuid={UID} --regid={UID} --clear-groups \"$@\"\n")
            script.chmod(0o755)
            self.prefix = ["unshare", "--mount", script, *self.prefix]
            self.own(self.home)

    def _with_line(self, name, line):
        copy = self.folder / name
        there = pathlib.Path("/etc") / name
        if not there.exists():
            there.touch()
        copy.write_text(there.read_text() + line)
        return copy

    @staticmethod
    def own(path):
        if os.geteuid() != 0:
            return
        for each in (path, *path.rglob("*")):
            os.chown(each, UID, UID)

    def give(self, file, name):
        """A copy of a file at home."""
        target = self.home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        self.own(self.home / pathlib.Path(name).parts[0])
        return target

    def command(self, tool, *arguments):
        return [*self.prefix, tool, *self.storage, *arguments]

    def said(self, tool, *arguments):
        return running.said(self.command(tool, *arguments), cwd="/").strip()

    def end(self):
        """Nothing of the account goes on, and its files, some of them of its subordinates, are gone."""
        subprocess.run(self.command("podman", "rm", "--all", "--force"), cwd="/", capture_output=True, check=False)
        if os.geteuid() == 0:
            subprocess.run(["pkill", "--signal", "KILL", "--uid", str(UID)], check=False)
            # Those that nobody has waited for yet have ended too.
            goes_on = ["pgrep", "--uid", str(UID), "--runstates", "RSDTtI"]
            harness.poll(lambda: subprocess.run(goes_on, capture_output=True).returncode == 1, "they end", timeout=60)
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            subprocess.run([*self.prefix, "podman", "unshare", "rm", "-rf", self.folder], check=False)


@contextlib.contextmanager
def account(folder):
    made = Account(folder)
    try:
        yield made
    finally:
        made.end()
