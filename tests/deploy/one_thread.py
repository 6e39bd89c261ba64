"""One thread of a process stands still, and the others go on: a signal would stop all of them, a debugger's hold does not."""

import contextlib
import ctypes
import os
import pathlib
import signal

import running  # noqa: F401, where the harness is
from harness import check, same

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WAIT_ALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, thread):
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")


def threads(pid, name):
    return sorted(int(each.name) for each in pathlib.Path(f"/proc/{pid}/task").iterdir()
                  if (each / "comm").read_text().strip() == name)


@contextlib.contextmanager
def standing_still(thread):
    """Has to be left on the thread that entered it."""
    _ptrace(SEIZE, thread)
    try:
        _ptrace(INTERRUPT, thread)
        seen, _ = os.waitpid(thread, WAIT_ALL)
        check(seen == thread, f"{seen} stopped in place of {thread}")
        same(pathlib.Path(f"/proc/{thread}/stat").read_text().rsplit(")", 1)[1].split()[0], "t", "its state")
        yield
    finally:
        _ptrace(DETACH, thread)


def why_not():
    """Why no thread can be held here, or nothing."""
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        with standing_still(child):
            return ""
    except OSError as error:
        return f"a debugger's hold on one thread: {error.strerror}"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
