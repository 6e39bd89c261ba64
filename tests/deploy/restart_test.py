#!/usr/bin/python3
"""A restart of the service, as deploy/systemd's unit has it: no client that is between requests is dropped, and no new
one refused. First with a manager of the test's own, which sends the signals systemd sends, then with systemd itself."""

import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import threading
import time

import yaml

import one_thread
import real_systemd
import running
from running import ROOT, Naive, harness, log_in, wire
from harness import check, poll, same
from service_manager import Service, alive


class Stayer(threading.Thread):
    """An application with a pool: it keeps its connection and rests between statements."""

    def __init__(self, port, pause=0.05):
        super().__init__(daemon=True)
        self.client, self.pause = log_in(port), pause
        self.told_to_stop = threading.Event()
        self.errors, self.served = [], 0

    def run(self):
        try:
            while not self.told_to_stop.wait(self.pause):
                same(self.client.value(f"SELECT {self.served}"), str(self.served))
                self.served += 1
            self.client.close()
        except Exception as error:  # whatever it is, the application has seen it
            self.errors.append(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def service(here, settings=None, listening=None, environment=None, descriptors=None):
    # Those that are left behind are children of an attendant that has ended; this process inherits them.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    subject = here.pgmend({"pool": {"size": 4}, "listen": {"backlog": 1024}, **(settings or {})},
                          **({"environment": environment} if environment else {}))
    if listening is not None:
        subject.port = listening.getsockname()[1]
    made = Service(subject, here.directory(), listening, descriptors)
    try:
        yield made.start()
    finally:
        made.end()


def processes(subject):
    """Of the service: those that never said anything too."""
    mark, found = str(subject.subject.config).encode(), []
    for each in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (each / "cmdline").read_bytes().split(b"\0") and alive(int(each.name)):
                found.append(int(each.name))
    return found


def nothing_left(subject):
    """A process closes what it has, by which others know of its end, a moment before it is gone."""
    poll(lambda: not processes(subject), "nothing is left of the service", timeout=60)


def told_to_go(client):
    same(wire.error_fields(client.until("E")[-1][1])["C"], "57P01", "who is idle is told")


def sockets_of(pid):
    found = set()
    for each in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(each))
    return {each for each in found if each.startswith("socket:")}


def restarts_under_load(port, restart, count):
    """64 clients that stay and 8 that come and go: what they served, and every error any of them saw."""
    stayers = [Stayer(port) for _ in range(64)]
    crowd = [Naive(port, pause=0.01) for _ in range(8)]
    for each in (*stayers, *crowd):
        each.start()
    for _ in range(count):
        before = [each.served for each in stayers], sum(each.served for each in crowd)
        restart()
        poll(lambda: all(now.served > then for now, then in zip(stayers, before[0])) or any(each.errors for each in stayers),
             "the same connections go on", timeout=60)
        poll(lambda: sum(each.served for each in crowd) > before[1] + 20, "new ones are let in", timeout=60)
    errors, served = Naive.finish([*stayers, *crowd])
    same(errors, [])
    return f"{count} restarts under {len(stayers)} clients that stay and {len(crowd)} that come and go, {served} statements, 0 errors"


def test_restart_drops_and_refuses_nobody(here):
    with service(here) as subject:
        said = restarts_under_load(subject.subject.port, subject.restart, 10)
        poll(lambda: sum(map(alive, subject.pids())) == 1, "those without clients have ended", timeout=60)
        same(len(subject.pids()), 11)
        subject.stop()
        nothing_left(subject)
    return said


def test_restart_with_a_socket_unit(here):
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with service(here, listening=listening) as subject:
        said = restarts_under_load(subject.subject.port, subject.restart, 5)
        subject.stop()
    listening.close()
    return said


def test_stop_ends_those_that_were_left_behind(here):
    with service(here) as subject:
        first = log_in(subject.subject.port)
        subject.restart()
        second = log_in(subject.subject.port)
        second.query("BEGIN")
        subject.restart()
        same(sum(map(alive, subject.pids())), 3)
        stopper = threading.Thread(target=subject.stop)
        stopper.start()
        same(wire.error_fields(first.until("E")[-1][1])["C"], "57P01", "who is idle is told")
        same(second.value("SELECT 7"), "7", "a transaction in a process that was left behind is finished")
        check(stopper.is_alive(), "the service is over while a transaction goes on")
        second.query("COMMIT")
        stopper.join(60)
        nothing_left(subject)


def test_restart_takes_new_addresses(here):
    """The sockets that systemd kept are only of use where the settings still ask for them."""
    with service(here) as subject:
        stayer, before = log_in(subject.subject.port), subject.subject.port
        subject.subject.port = harness.free_port()
        subject.subject.settings["listen"]["port"] = subject.subject.port
        subject.restart()
        same(log_in(subject.subject.port).value("SELECT 1"), "1")
        same(stayer.value("SELECT 2"), "2")
        with socket.socket() as probe:
            check(probe.connect_ex(("127.0.0.1", before)) != 0, "the old address is still open")
        subject.subject.settings["listen"]["host"] = "*"
        subject.restart()
        same(log_in(subject.subject.port).value("SELECT 1"), "1", "the same port at all addresses")
        same(stayer.value("SELECT 3"), "3")
        stayer.close()
        subject.stop()


def test_takeover_of_an_attended_one(here):
    """SIGUSR2 goes through the attendant, which stays the main process; a restart and an end concern all."""
    with service(here) as subject:
        first = log_in(subject.subject.port)
        subject.main.send_signal(signal.SIGUSR2)
        poll(lambda: len(subject.pids()) == 2, "a successor", timeout=60)
        poll(lambda: "taken_over" in subject.subject.log.read_text(), "it takes over", timeout=60)
        # The client's connection has to end when the process that serves it closes it, and not be open in the other too.
        poll(lambda: not sockets_of(subject.pids()[0]) & sockets_of(subject.pids()[1]), "nothing is open in both", timeout=60)
        second = log_in(subject.subject.port)
        subject.restart()
        same((first.value("SELECT 1"), second.value("SELECT 2")), ("1", "2"))
        same(log_in(subject.subject.port).value("SELECT 3"), "3")
        same(sum(map(alive, subject.pids())), 3)
        subject.stop()
        nothing_left(subject)


def test_attendant_and_service_end_together(here):
    """One that crashes is a service that crashed; one whose attendant is gone is nobody's service."""
    with service(here) as subject:
        os.kill(subject.pids()[0], signal.SIGSEGV)
        same(subject.main.wait(60), 128 + signal.SIGSEGV, "the manager sees a failure and restarts")
    with service(here) as subject:
        subject.main.kill()
        subject.main.wait()
        poll(lambda: not alive(subject.pids()[0]), "it ends with its attendant", timeout=60)


def test_successor_that_crashes_is_noticed(here):
    """It is a child of the one it took over from, which lingers: nobody tells the attendant how it ended."""
    with service(here) as subject:
        first = log_in(subject.subject.port)
        subject.main.send_signal(signal.SIGUSR2)
        poll(lambda: len(subject.pids()) == 2, "a successor", timeout=60)
        poll(lambda: "taken_over" in subject.subject.log.read_text(), "it takes over", timeout=60)
        os.kill(subject.pids()[1], signal.SIGSEGV)
        check(subject.main.wait(60) != 0, "the manager sees a failure and restarts")
        same(first.value("SELECT 1"), "1", "who was there before stays")
        subject.start()
        same(log_in(subject.subject.port).value("SELECT 2"), "2")
        same(first.value("SELECT 3"), "3", "beside the next one")
        subject.stop()
        told_to_go(first)
        nothing_left(subject)


class Silent:
    """A server that lets itself be connected to and says nothing: who asks it first is busy until health.timeout."""

    def __init__(self, subject):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(60)
        before, _, rest = subject.settings["upstream"]["url"].partition("@")
        place, _, database = rest.partition("/")
        subject.settings["upstream"]["url"] = f"{before}@{place},127.0.0.1:{self.listening.getsockname()[1]}/{database}"
        subject.settings["health"] = {"timeout": "20s"}
        subject.write_config()


def test_stop_during_a_takeover_ends_the_successor_too(here):
    """It waits for its first look at the servers when SIGTERM comes to the one that started it."""
    with service(here) as subject:
        silent = Silent(subject.subject)
        client = log_in(subject.subject.port)
        client.query("BEGIN")
        subject.main.send_signal(signal.SIGUSR2)
        silent.listening.accept()
        same(len(processes(subject)), 3, "the attendant, its child and the successor")
        subject.main.send_signal(signal.SIGTERM)
        poll(lambda: "draining" in subject.subject.log.read_text(), "it drains", timeout=60)
        same(client.value("SELECT 7"), "7", "a transaction is finished")
        client.query("COMMIT")
        same(subject.main.wait(60), 0, "the main process's status")
        nothing_left(subject)


def test_stop_during_a_takeover_that_gets_nowhere(here):
    with service(here) as subject:
        program = here.directory() / "pgmend"
        shutil.copy(here.binary, program)
        subject.stop()
        subject.subject.binary = program
        subject.start()
        client = log_in(subject.subject.port)
        # An upgrade that was not thought through.
        program.unlink()
        program.write_text("#!/bin/sh\nwhile :; do sleep 0.1; done\n")
        program.chmod(0o755)
        subject.main.send_signal(signal.SIGUSR2)
        poll(lambda: len(processes(subject)) == 3, "a successor", timeout=60)
        subject.main.send_signal(signal.SIGTERM)
        told_to_go(client)
        same(subject.main.wait(60), 0, "the main process's status")
        nothing_left(subject)


def test_stop_that_meets_a_takeover_half_way(here):
    """The one that is replaced hears of SIGTERM and of the successor at one time, whichever it looks at first."""
    with service(here) as subject:
        client = log_in(subject.subject.port)
        subject.main.send_signal(signal.SIGUSR2)
        poll(lambda: "takeover_begun" in subject.subject.log.read_text(), "it has begun", timeout=60)
        old = subject.pids()[0]
        os.kill(old, signal.SIGSTOP)
        poll(lambda: len(subject.pids()) == 2, "a successor serves", timeout=60)
        subject.main.send_signal(signal.SIGTERM)
        pending = pathlib.Path(f"/proc/{old}/status")
        poll(lambda: int(re.search(r"ShdPnd:\s+(\S+)", pending.read_text()).group(1), 16) >> signal.SIGTERM - 1 & 1,
             "SIGTERM waits for it", timeout=60)
        os.kill(old, signal.SIGCONT)
        told_to_go(client)
        same(subject.main.wait(60), 0, "the main process's status")
        nothing_left(subject)


def test_stop_after_a_restart_that_failed(here):
    """Those with clients have no main process then. They hear of the stop by what the manager closes."""
    with service(here) as subject:
        first = log_in(subject.subject.port)
        subject.subject.settings["pool"]["size"] = 0
        subject.end_main(subject.unit["RestartKillSignal"])
        subject.begin()
        same(subject.main.wait(60), 1, "it cannot start")
        subject.begin()
        same(subject.main.wait(60), 1, "again and again")
        same(first.value("SELECT 1"), "1", "who was there before stays")
        subject.subject.settings["pool"]["size"] = 4
        subject.start()
        same((first.value("SELECT 2"), log_in(subject.subject.port).value("SELECT 3")), ("2", "3"), "mended")
        subject.subject.settings["pool"]["size"] = 0
        subject.end_main(subject.unit["RestartKillSignal"])
        subject.begin()
        same(subject.main.wait(60), 1, "it cannot start")
        subject.release()
        told_to_go(first)
        nothing_left(subject)


def test_restart_by_a_manager_that_keeps_nothing(here):
    """FileDescriptorStoreMax=0, or messages that are not taken: who stayed could not be stopped, so nobody does."""
    with service(here) as subject:
        subject.keeps = False
        idle, busy = log_in(subject.subject.port), log_in(subject.subject.port)
        busy.query("BEGIN")
        subject.main.send_signal(signal.SIGUSR1)
        told_to_go(idle)
        same(busy.value("SELECT 1"), "1")
        busy.query("COMMIT")
        same(subject.main.wait(60), 0, "the main process's status")
        nothing_left(subject)
        same(log_in(subject.start().subject.port).value("SELECT 2"), "2", "the next one serves")
        subject.stop()


def test_restart_by_a_manager_that_cannot_be_told(here):
    subject = here.pgmend()
    subject.write_config()
    subject.spawn([here.binary, "--attended", "--config", subject.config])
    try:
        poll(lambda: subject.says(200, "/ready"), "it serves", timeout=60)
        client = log_in(subject.port)
        subject.process.send_signal(signal.SIGUSR1)
        told_to_go(client)
        same(subject.process.wait(60), 0)
    finally:
        subject.stop()


def test_few_descriptors_are_enough(here):
    with service(here, descriptors=256) as subject:
        first = log_in(subject.subject.port)
        subject.restart()
        same((first.value("SELECT 1"), log_in(subject.subject.port).value("SELECT 2")), ("1", "2"))
        check("inherited_descriptor" not in subject.subject.log.read_text(), "a descriptor got lost")
        subject.stop()
        told_to_go(first)
        nothing_left(subject)


def test_watchdog_is_fed_by_the_newest(here):
    with service(here, environment={"WATCHDOG_USEC": "200000"}) as subject:
        stayer = log_in(subject.subject.port)
        poll(lambda: subject.fed.get(subject.pids()[0], 0) > 2, "the watchdog is fed", timeout=60)
        subject.restart()
        old, new = subject.pids()
        before = subject.fed[old]
        poll(lambda: subject.fed.get(new, 0) > 4, "by the new one", timeout=60)
        same((subject.fed[old], stayer.value("SELECT 1")), (before, "1"), "the old one serves and is silent")
        stayer.close()
        subject.stop()


class Balancer(threading.Thread):
    """A Service of Kubernetes: new connections go to one of those whose /ready said 200 some time ago, for nodes hear late of what
    has changed. Those that are there stay where they are."""

    def __init__(self, late):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port, self.late = self.listening.getsockname()[1], late
        self.members, self.known, self.turn = [], [], 0

    def watch(self):
        while True:
            there = [each.port for each in list(self.members) if each.http("/ready")[0] == 200]
            self.known.append((time.monotonic(), there))
            time.sleep(0.02)

    def ready(self):
        then = time.monotonic() - self.late
        return [there for when, there in list(self.known) if when < then][-1]

    def start(self):
        threading.Thread(target=self.watch, daemon=True).start()
        poll(lambda: self.known and self.known[0][0] < time.monotonic() - self.late, "the Service knows its pods", timeout=60)
        super().start()

    def run(self):
        while True:
            near, _ = self.listening.accept()
            there = self.ready()
            self.turn += 1
            try:
                far = socket.create_connection(("127.0.0.1", there[self.turn % len(there)]))
            except OSError:
                near.close()  # the client sees it
                continue
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_rolling_restart_of_a_deployment(here):
    """Two pods behind a Service that hears of changes a second late, replaced 30 times, the new one first: SIGTERM to the old one
    when the new one is ready. With the chart's shutdown.linger it serves until those that are in have left, of whom half stay for
    a while, and those that still come. The next one is replaced meanwhile."""
    wanted = yaml.safe_load((ROOT / "deploy/helm/pgmend/values.yaml").read_text())["shutdown"]
    settings = {"pool": {"size": 4}, "listen": {"backlog": 1024},
                "shutdown": {"linger": f"{wanted['linger']}s", "linger_quiet": f"{wanted['lingerQuiet']}s",
                             "drain_timeout": f"{wanted['drainTimeout']}s"}}
    balancer = Balancer(late=1)
    replaced, clients, ending = 30, 64, []
    crowd = [Naive(balancer.port, statements=30 if number % 2 else 3, pause=0.01) for number in range(clients)]
    with contextlib.ExitStack() as stack:
        balancer.members = [stack.enter_context(running.running(here.pgmend(settings))) for _ in range(2)]
        balancer.start()
        for each in crowd:
            each.start()
        for _ in range(replaced):
            new = stack.enter_context(running.running(here.pgmend(settings)))
            balancer.members.append(new)
            poll(lambda: new.port in balancer.ready(), "the new one is ready, and the Service knows", timeout=60)
            served = sum(each.served for each in crowd)
            poll(lambda: sum(each.served for each in crowd) > served + 20, "clients are served", timeout=60)
            ending.append(balancer.members.pop(0))
            ending[-1].process.send_signal(signal.SIGTERM)
        for each in ending:
            same(each.process.wait(90), 0, "an old one ends in its time")
        errors, served = Naive.finish(crowd)
        same(errors, [])
    return f"{replaced} replacements under {clients} clients, {served} statements, 0 errors"


def real_service(here, sockets=False, **changes):
    """systemd with the service as it is installed, but for the place of the program, its account and its settings. `sockets`: with
    the socket unit as well, at another port. `changes`: of the service's settings."""
    subject = here.pgmend({"pool": {"size": 4}, "listen": {"backlog": 1024}})
    subject.write_config()
    unit = (ROOT / "deploy/systemd/pgmend.service").read_text()
    unit = unit.replace("/usr/bin/pgmend", "/run/files/pgmend").replace("/etc/pgmend/pgmend.yaml", "/run/files/pgmend.yaml")
    unit = unit.replace("User=pgmend\nGroup=pgmend\n", "User=nobody\nGroup=nogroup\nStandardError=append:/run/pgmend.log\n")
    for name, value in changes.items():
        unit, found = re.subn(rf"^{name}=.*$", f"{name}={value}", unit, flags=re.M)
        same(found, 1, f"{name} in the unit")
    units = {"pgmend.service": unit}
    if sockets:
        text = (ROOT / "deploy/systemd/pgmend.socket").read_text()
        units["pgmend.socket"] = re.sub(r"^(ListenStream=.*[:.])6432$", rf"\g<1>{subject.port}", text, flags=re.M)
        same(len(re.findall(rf"^ListenStream=.*[:.]{subject.port}$", units["pgmend.socket"], re.M)), 3, "addresses")
    return subject, real_systemd.prepared(here.directory(), units, {"pgmend": here.binary, "pgmend.yaml": subject.config})


def test_systemd_itself(here):
    """systemctl start, restart under load, reload and stop, with the unit's own hardening."""
    if reason := real_systemd.why_not():
        return f"not here: {reason}"
    subject, manager = real_service(here)
    try:
        manager.start()
        manager.systemctl("start", "pgmend.service")

        def restart():
            manager.systemctl("restart", "pgmend.service")

        said = restarts_under_load(subject.port, restart, 10)
        stayer = log_in(subject.port)
        restart()
        manager.systemctl("reload", "pgmend.service")
        same(stayer.value("SELECT 1"), "1")
        group = manager.group / "system.slice/pgmend.service/cgroup.procs"
        poll(lambda: len(group.read_text().split()) == 3, "an attendant, its child and the one with a client", timeout=60)
        settings = pathlib.Path(f"/proc/{manager.first}/root/run/files/pgmend.yaml")
        good = settings.read_text()
        settings.write_text(good + "\nnonsense: 1\n")
        check(manager.run("systemctl", "restart", "pgmend.service").returncode != 0, "a restart with wrong settings")
        same(stayer.value("SELECT 2"), "2", "who was there before stays")
        settings.write_text(good)
        poll(lambda: manager.run("systemctl", "is-active", "pgmend.service").returncode == 0, "it comes by itself", timeout=60)
        same((stayer.value("SELECT 3"), log_in(subject.port).value("SELECT 4")), ("3", "4"))
        settings.write_text(good + "\nnonsense: 1\n")
        check(manager.run("systemctl", "restart", "pgmend.service").returncode != 0, "a restart with wrong settings")
        manager.systemctl("stop", "pgmend.service")
        same(wire.error_fields(stayer.until("E")[-1][1])["C"], "57P01")
        poll(lambda: not group.exists() or not group.read_text(), "nothing is left of the service", timeout=60)
        version = manager.systemctl("--version").splitlines()[0]
    finally:
        manager.end()
    return f"{version}: {said}"


def test_socket_unit_of_systemd_itself(here):
    """systemd has the sockets before the service is there, while it is restarted and while it is not: whoever comes first starts it, at
    whichever address. They are gone when the socket unit is stopped."""
    if reason := real_systemd.why_not():
        return f"not here: {reason}"
    subject, manager = real_service(here, sockets=True)
    try:
        manager.start()
        local = f"/proc/{manager.first}/root/run/postgresql"
        state = lambda: manager.run("systemctl", "is-active", "pgmend.service").stdout.strip()
        manager.systemctl("start", "pgmend.socket")
        same(state(), "inactive", "nobody has come")
        for number, host in enumerate(("127.0.0.1", "::1", local)):
            client = log_in(subject.port, host=host)
            same((host, client.value(f"SELECT {number}"), state()), (host, str(number), "active"))
            client.close()
            manager.systemctl("stop", "pgmend.service")
            same(state(), "inactive", "it ends, and the sockets stay")
        said = restarts_under_load(subject.port, lambda: manager.systemctl("restart", "pgmend.service"), 10)
        stayer = log_in(subject.port)
        manager.systemctl("stop", "pgmend.service")
        told_to_go(stayer)
        same(log_in(subject.port).value("SELECT 1"), "1", "the next one starts it again")
        manager.systemctl("stop", "pgmend.socket", "pgmend.service")
        for family, address in ((socket.AF_INET, ("127.0.0.1", subject.port)), (socket.AF_INET6, ("::1", subject.port))):
            with socket.socket(family) as probe:
                check(probe.connect_ex(address) != 0, f"{address} is still open")
        same(os.listdir(local), [], "what is left of the local one")
    finally:
        manager.end()
    return said


def test_watchdog_of_systemd_itself(here):
    """A worker that stands still is not fed for: systemd ends the service, its process with the worker too, and starts it again."""
    if reason := real_systemd.why_not() or one_thread.why_not():
        return f"not here: {reason}"
    subject, manager = real_service(here, WatchdogSec=3)
    try:
        manager.start()
        manager.systemctl("start", "pgmend.service")
        client = log_in(subject.port)
        same(client.value("SELECT 1"), "1")
        group = manager.group / "system.slice/pgmend.service/cgroup.procs"
        before = {int(each) for each in group.read_text().split()}
        (worker,) = (thread for pid in before for thread in one_thread.threads(pid, "pgmend-worker"))
        # Whose thread has been ended under a debugger's hold cannot be let go.
        with contextlib.suppress(OSError), one_thread.standing_still(worker):
            poll(lambda: os.waitpid(worker, one_thread.WAIT_ALL | os.WNOHANG)[0] == worker, "it is ended", timeout=60)
        poll(lambda: manager.run("systemctl", "is-active", "pgmend.service").stdout.strip() == "active", "it comes again", timeout=60)
        check(int(manager.systemctl("show", "--property=NRestarts", "--value", "pgmend.service")) > 0, "somebody else started it")
        same(before & {int(each) for each in group.read_text().split()}, set(), "what is left of the old one")
        same(log_in(subject.port).value("SELECT 2"), "2")
        manager.systemctl("stop", "pgmend.service")
    finally:
        manager.end()


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
