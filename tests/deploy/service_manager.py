"""A service manager of the tests' own, which does to a service what systemd does to one with deploy/systemd's unit: it
starts the main process with sockets of a socket unit and those in its store, listens on $NOTIFY_SOCKET, sends the main
process alone (KillMode=process) KillSignal or RestartKillSignal, waits for it to end, and starts the next one."""

import array
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import threading

from running import ROOT, harness
from harness import check, poll, same

UNIT = ROOT / "deploy/systemd/pgmend.service"


def unit_settings(text=None):
    """The unit's settings; of those that are given more than once, the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", text or UNIT.read_text(), re.M))


class Service:
    def __init__(self, subject, folder, listening=None, descriptors=None):
        """`subject`: a harness.Pgmend, for its settings and its log. `listening`: what a socket unit holds.
        `descriptors`: how many it may have open."""
        self.subject, self.listening, self.descriptors = subject, listening, descriptors
        self.unit = unit_settings()
        same((self.unit["KillMode"], self.unit["NotifyAccess"]), ("process", "all"), "what this manager does")
        self.store, self.ready, self.fed, self.main = [], threading.Event(), {}, None
        self.address, self.keeps = folder / "notify", True
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.address))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Messages are taken one after the other, and a barrier is closed when it is reached."""
        while True:
            try:
                text, ancillary, *_ = self.socket.recvmsg(4096, 1024)
            except OSError:
                return
            descriptors, sender = [], 0
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(data[:len(data) - len(data) % numbers.itemsize])
                    descriptors += numbers
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    sender = array.array("i", data)[0]
            self.take(dict(line.split("=", 1) for line in text.decode().splitlines() if line), descriptors, sender)

    def take(self, words, descriptors, sender):
        check("MAINPID" not in words, "the main process is the attendant, and stays it")
        if "FDSTORE" in words and self.keeps:
            self.keep(words["FDNAME"], descriptors)
            return
        if "FDSTOREREMOVE" in words:
            descriptors = [each for name, each in self.store if name == words["FDNAME"]]
            self.store = [each for each in self.store if each[0] != words["FDNAME"]]
        if "READY" in words:
            self.ready.set()
        if "WATCHDOG" in words:
            self.fed[sender] = self.fed.get(sender, 0) + 1
        for each in descriptors:
            os.close(each)

    def keep(self, name, descriptors):
        """What is there already is not taken again, and what has been closed at its other end is let go."""
        for each in descriptors:
            same_file = os.fstat(each).st_ino
            if any(os.fstat(other).st_ino == same_file for _, other in self.store):
                os.close(each)
            else:
                self.store.append((name, each))

    def let_go(self):
        watched = select.poll()
        for _, each in self.store:
            watched.register(each, 0)
        over = {each for each, what in watched.poll(0) if what & (select.POLLHUP | select.POLLERR)}
        # A listening socket is never hung up.
        self.store = [(name, each) for name, each in self.store if each not in over]
        for each in over:
            os.close(each)

    def begin(self):
        """The next main process, however far it gets."""
        self.let_go()
        subject, store = self.subject, list(self.store)
        names = (["clients"] if self.listening else []) + [name for name, _ in store]
        given = ([self.listening.fileno()] if self.listening else []) + [each for _, each in store]
        environment = harness.clean_environment(**subject.environment, NOTIFY_SOCKET=str(self.address))
        subject.write_config()
        arguments = self.unit["ExecStart"].split()[1:]
        arguments[-1] = str(subject.config)
        command = [str(subject.binary), *arguments]

        def become():
            harness.die_with_parent()()
            copies = [os.dup(each) for each in given]
            spare = [os.dup2(each, 300 + at) for at, each in enumerate(copies)]
            for at, each in enumerate(spare):
                os.dup2(each, 3 + at)
            os.closerange(3 + len(given), 400)
            if given:
                environment.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=":".join(names))
            if "WATCHDOG_USEC" in environment:
                environment["WATCHDOG_PID"] = str(os.getpid())
            if self.descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))
            os.execve(command[0], command, environment)

        self.ready.clear()
        with open(subject.log, "ab") as log:
            self.main = subprocess.Popen(["/bin/false"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                         cwd=subject.directory, preexec_fn=become, close_fds=False)

    def start(self):
        known = len(self.pids())
        self.begin()
        poll(lambda: self.ready.is_set() or self.main.poll() is not None, "READY=1", timeout=60)
        check(self.main.poll() is None, f"it ended: {self.subject.log.read_text()[-2000:]}")
        poll(lambda: len(self.pids()) > known, "its log says so too", timeout=60)
        return self

    def end_main(self, name):
        self.main.send_signal(getattr(signal, name))
        same(self.main.wait(int(self.unit["TimeoutStopSec"])), 0, "the main process's status")

    def restart(self):
        self.end_main(self.unit["RestartKillSignal"])
        return self.start()

    def stop(self):
        """What is kept for the service is kept until it is stopped."""
        self.end_main(self.unit.get("KillSignal", "SIGTERM"))
        self.release()

    def release(self):
        """What a stop does where no main process is there: it is all that those without one hear of it."""
        for _, each in self.store:
            os.close(each)
        self.store = []

    def pids(self):
        """Of every pgmend that has said that it started, the attendants not among them."""
        text = self.subject.log.read_text() if self.subject.log.exists() else ""
        return [int(each) for each in re.findall(r" started .*?\bpid=(\d+)", text)]

    def end(self):
        """Whatever happened: nothing of it goes on."""
        if self.main is not None and self.main.poll() is None:
            self.main.kill()
            self.main.wait()
        for pid in self.pids():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.socket.close()


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
