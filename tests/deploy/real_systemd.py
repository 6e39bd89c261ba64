"""systemd as process 1 of namespaces of its own: processes, mounts and control groups are apart, the network is not. It
needs to be root and a control group of version 2 to make folders in."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import running
from running import harness
from harness import poll

SYSTEMD = "/usr/lib/systemd/systemd"
# What units of services ask for by default. There is nothing to do for them here.
TARGETS = ("sysinit", "basic", "shutdown", "sockets", "network-online", "multi-user", "nothing")
# In its namespaces; what is to be seen there is copied to /run.
BOOT = """
umount --recursive /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 none /sys/fs/cgroup && mount -t tmpfs none /run && mkdir -p /run/systemd/system &&
cp "$1"/units/* /run/systemd/system/ && cp -r "$1"/files /run/files && chmod -R a+rX /run/files &&
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/run/systemd/system \
    {systemd} --system --unit=nothing.target --show-status=no --log-target=null
"""


def group_root():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(place)
    return None


def why_not():
    """Why it cannot be had here, or nothing."""
    if os.geteuid() != 0 or not pathlib.Path(SYSTEMD).exists() or group_root() is None:
        return "no root, no systemd, or no control groups of version 2"
    probe = group_root() / f"pgmend-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
        running.said(["unshare", "--mount", "--pid", "--fork", "--cgroup", "--mount-proc", "true"])
    except (OSError, harness.Failure) as error:
        return f"no namespaces or control groups of our own: {str(error).splitlines()[0]}"
    return ""


class Systemd:
    def __init__(self, folder):
        """`folder`: `units` and `files` in it are what this systemd has."""
        self.folder, self.group = folder, group_root() / f"pgmend-test-{os.getpid()}"
        for name in TARGETS:
            (folder / "units" / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")

    def start(self):
        self.group.mkdir()
        self.outer = subprocess.Popen(
            ["sh", "-c", f"echo $$ >{self.group}/cgroup.procs; exec unshare --mount --pid --fork --kill-child --cgroup --mount-proc"
             " --propagation private sh -c \"$0\" boot \"$1\"", BOOT.format(systemd=SYSTEMD), self.folder],
            preexec_fn=harness.die_with_parent(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children")
        self.first = int(poll(children.read_text, "process 1", timeout=60).split()[0])
        poll(lambda: self.run("systemctl", "is-active", "nothing.target").returncode == 0, "systemd is up", timeout=60)
        return self

    def run(self, *command):
        return subprocess.run(["nsenter", "--target", str(self.first), "--mount", "--pid", "--root", *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)

    def systemctl(self, *words):
        done = self.run("systemctl", *words)
        harness.check(done.returncode == 0, f"systemctl {' '.join(words)}: {done.stdout}\n"
                      f"{self.run('systemctl', 'status', '--no-pager', 'pgmend.service').stdout}")
        return done.stdout.strip()

    def end(self):
        self.outer.send_signal(signal.SIGKILL)
        self.outer.wait()
        for place, _, _ in os.walk(self.group, topdown=False):
            poll(lambda: self._removed(place), "its control groups are empty", timeout=60)

    @staticmethod
    def _removed(place):
        with contextlib.suppress(OSError):
            os.rmdir(place)
        return not os.path.exists(place)


def prepared(folder, units, files):
    for name in ("units", "files"):
        (folder / name).mkdir()
    for name, text in units.items():
        (folder / "units" / name).write_text(text)
    for name, source in files.items():
        shutil.copy(source, folder / "files" / name)
    return Systemd(folder)
