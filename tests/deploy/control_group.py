"""A control group with a limit on memory that the kernel enforces, where the machine lets a test make one: of version 2, or
of version 1 shown to pgmend under the names that version 2 has."""

import contextlib
import os
import pathlib

import running  # noqa: F401, where the harness is
from harness import Pgmend, poll

_NAMES = {  # what is read and written, in version 2 and 1
    "memory.max": "memory.limit_in_bytes",
    "memory.current": "memory.usage_in_bytes",
    "memory.stat": "memory.stat",
}


def _controller():
    """Where groups with the controller are made, and its version."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        place = pathlib.Path(place)
        if kind == "cgroup" and "memory" in options.split(","):
            return place, 1
        if kind == "cgroup2" and "memory" in (place / "cgroup.subtree_control").read_text().split():
            return place, 2
    return None, 0


def why_not():
    """Why it cannot be had here, or nothing."""
    place, _ = _controller()
    if place is None:
        return "no memory controller for control groups of our own"
    probe = place / f"pgmend-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"a control group of our own: {error.strerror}"
    return ""


class Group:
    def __init__(self, limit, folder):
        """`folder`: a new one. `root` is what machine.cgroup_root is to be."""
        place, self.version = _controller()
        self.path = place / f"pgmend-test-{os.getpid()}"
        self.path.mkdir()
        self.root = self.path if self.version == 2 else folder
        if self.version == 1:
            for new, old in _NAMES.items():
                (folder / new).symlink_to(self.path / old)
        self.set(limit)

    def set(self, limit):
        (self.root / "memory.max").write_text(str(limit))

    def peak(self):
        """In bytes. The kernel's memory for the group, its sockets' too, is in it."""
        file = self.path / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")
        return int((file if file.exists() else self.root / "memory.current").read_text())  # kernels before 5.19

    def killed(self):
        """How many processes of the group the kernel has ended for want of memory."""
        file = self.path / ("memory.events" if self.version == 2 else "memory.oom_control")
        return dict(line.split() for line in file.read_text().splitlines())["oom_kill"]


@contextlib.contextmanager
def limited(limit, folder):
    group = Group(limit, folder)
    try:
        yield group
    finally:
        poll(lambda: _gone(group.path), "the group is empty", timeout=60)


def _gone(path):
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


class Confined(Pgmend):
    """In the group from its first page on."""

    group = None

    def spawn(self, command, environment=None):
        super().spawn(["sh", "-c", 'echo $$ >"$0" && exec "$@"', self.group.path / "cgroup.procs", *command], environment)
