#!/usr/bin/python3
"""How pgmend lives and dies beside an application: signals in the order Kubernetes and systemd send them, sockets
that outlive a process, limits of a cgroup (from files of the test's own, and by the kernel where it lets a test), and the
service manager's protocol (to a socket of the test's own: process 1 may be no systemd)."""

import contextlib
import ctypes
import os
import pathlib
import re
import resource
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import control_group
import one_thread
import running
import tls_storm
from running import Naive, harness, log_in, wire
from harness import check, poll, same

HERE = pathlib.Path(__file__).resolve().parent

NOT_HERE = ("a cluster: the kubelet's signals are sent in its order by these tests",)


def logged(subject, event):
    return [line for line in subject.log.read_text().splitlines() if f" {event}" in line]


def ended(subject, within):
    """The exit status; that it ends in time is part of the promise."""
    began = time.monotonic()
    status = subject.process.wait(within)
    return status, time.monotonic() - began


def asked(url, data=None):
    """The status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def post(url):
    return asked(url, b"")


# ---- the order of death -----------------------------------------------------------------------------------


def test_native_sidecar_dies_after_its_application(here):
    """SIGTERM to the application first, which is in its last transactions then; when it has gone, SIGTERM to the
    sidecar."""
    with running.running(here.pgmend()) as subject:
        last = log_in(subject.port)
        last.query("BEGIN")
        crowd = [Naive(subject.port, pause=0.01) for _ in range(8)]
        for each in crowd:
            each.start()
        poll(lambda: all(each.served for each in crowd), "the application works")
        errors, served = Naive.finish(crowd)
        same(last.value("SELECT 7"), "7")
        last.query("COMMIT")
        last.close()
        subject.process.send_signal(signal.SIGTERM)
        status, took = ended(subject, 10)
        same((errors, status), ([], 0))
        check(took < 8, f"took {took:.1f} s with nobody left")
    return f"{served} statements, then gone in {took * 1000:.0f} ms"


def die_together(here, linger):
    """SIGTERM reaches both at one time; the application needs two more seconds and opens connections in them."""
    settings = {"shutdown": {"linger": linger, "drain_timeout": "5s"}}
    with running.running(here.pgmend(settings)) as subject:
        crowd = [Naive(subject.port, pause=0.01) for _ in range(8)]
        for each in crowd:
            each.start()
        poll(lambda: all(each.served for each in crowd), "the application works")
        subject.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2
        poll(lambda: time.monotonic() > deadline or any(each.errors for each in crowd), "it winds down")
        unready = subject.http("/ready")[0]
        errors, served = Naive.finish(crowd)
        status, took = ended(subject, 10)
    return errors, status, took, unready


def test_classic_sidecar_serves_until_its_application_has_gone(here):
    errors, status, took, unready = die_together(here, "20s")
    same((errors, status, unready), ([], 0, 503))
    check(took < 15, f"took {took:.1f} s after the last client")
    without, *_ = die_together(here, "0")
    check(without, "without shutdown.linger the application should have met an error: this test sees nothing")
    return f"gone {took:.1f} s after the last client; without linger {len(without)} errors"


def test_linger_ends_with_its_time(here):
    settings = {"shutdown": {"linger": "500ms", "drain_timeout": "5s"}}
    with running.running(here.pgmend(settings)) as subject:
        client = log_in(subject.port)
        same(client.value("SELECT 1"), "1")
        began = time.monotonic()
        subject.process.send_signal(signal.SIGTERM)
        fields = wire.error_fields(client.until("E")[-1][1])
        lingered = time.monotonic() - began
        same((fields["C"], ended(subject, 10)[0]), ("57P01", 0))
        check(lingered > 0.45, f"it lingered for {lingered:.2f} s")


def test_pod_without_clients_serves_those_that_are_sent_late(here):
    """Nobody is connected when SIGTERM comes, and a node that has not heard of it yet sends a client. Nothing is waited for here
    but that time: the next signal goes a step on."""
    settings = {"shutdown": {"linger": "10min", "linger_quiet": "1min", "drain_timeout": "5s"}}
    with running.running(here.pgmend(settings)) as subject:
        log_in(subject.port).close()
        subject.process.send_signal(signal.SIGTERM)
        poll(lambda: subject.http("/ready")[0] == 503, "it says that it ends")
        until = time.monotonic() + 2.5
        poll(lambda: time.monotonic() > until, "more than a second has gone by")
        client = log_in(subject.port)
        same(client.value("SELECT 1"), "1")
        client.close()
        subject.process.send_signal(signal.SIGTERM)
        same(ended(subject, 10)[0], 0)


def test_transaction_in_progress_is_finished(here):
    with running.running(here.pgmend()) as subject:
        client = log_in(subject.port)
        client.query("BEGIN")
        subject.process.send_signal(signal.SIGTERM)
        poll(lambda: logged(subject, "draining"), "it drains")
        same(client.value("SELECT 7"), "7")
        client.query("COMMIT")
        same(ended(subject, 10)[0], 0)


def test_quit_ends_a_job(here):
    with running.running(here.pgmend()) as subject:
        base = f"http://127.0.0.1:{subject.http_port}"
        same(post(base + "/quit"), 404, "nobody may by default")
    with running.running(here.pgmend({"http": {"quit": "loopback"}})) as subject:
        base = f"http://127.0.0.1:{subject.http_port}"
        same(subject.http("/quit")[0], 405, "GET changes nothing")
        client = log_in(subject.port)
        client.query("BEGIN")
        same(post(base + "/quit"), 200)
        same(client.value("SELECT 7"), "7")
        client.query("COMMIT")
        same(ended(subject, 10)[0], 0)


def test_health_check_needs_no_shell(here):
    subject = here.pgmend()
    subject.write_config()
    command = [here.binary, "--config", subject.config, "--health-check"]
    same(subprocess.run(command, stderr=subprocess.DEVNULL).returncode, 1, "before it runs")
    waits = subprocess.Popen([*command, "--within", "120"], stderr=subprocess.DEVNULL)
    with running.running(subject):
        same(subprocess.run(command, stderr=subprocess.DEVNULL).returncode, 0, "while it runs")
        same(waits.wait(60), 0, "who waited until it ran")
    same(subprocess.run([*command, "--within", "1"], stderr=subprocess.DEVNULL).returncode, 1, "who waited in vain")


def test_what_starts_after_it_waits_until_clients_are_let_in(here):
    """Two servers, of which one says nothing: it lives while it looks at them, and lets clients in afterwards."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(60)
        subject = here.pgmend({"health": {"timeout": "1min"}})
        place = f"127.0.0.1:{here.postgres.port}"
        subject.settings["upstream"]["url"] = subject.settings["upstream"]["url"].replace(place, f"{place},127.0.0.1:{silent.getsockname()[1]}")
        subject.write_config()
        subject.spawn([here.binary, "--config", subject.config])
        try:
            asked_of, _ = silent.accept()
            asks = [here.binary, "--config", subject.config, "--health-check"]
            poll(lambda: subject.says(200, "/live"), "it lives", timeout=60)
            same(subject.http("/startup")[0], 503, "it has not started")
            same(subprocess.run(asks, stderr=subprocess.DEVNULL).returncode, 0, "the health check")
            same(subprocess.run([*asks, "--within", "1"], stderr=subprocess.DEVNULL).returncode, 1, "who waits for its start")
            waits = subprocess.Popen([*asks, "--within", "120"], stderr=subprocess.DEVNULL)
            asked_of.close()
            silent.close()
            same((waits.wait(120), subject.http("/startup")[0]), (0, 200), "it has started")
            same(log_in(subject.port).value("SELECT 1"), "1")
        finally:
            subject.stop()


def test_worker_that_stands_still_is_seen(here):
    """One of two threads is held as a deadlock would hold it: /live, the image's health check and the watchdog tell of it
    while the other thread serves, and of its end."""
    if reason := one_thread.why_not():
        return f"not here: {reason}"
    folder = here.directory()
    manager = Manager(folder)
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    with running.running(here.pgmend({"workers": 2}, environment=environment)) as subject:
        asks = [here.binary, "--config", subject.config, "--health-check"]
        workers = poll(lambda: len(found := one_thread.threads(subject.process.pid, "pgmend-worker")) == 2 and found, "two workers")
        same(subject.http("/live")[0], 200)
        with one_thread.standing_still(workers[0]):
            poll(lambda: subject.http("/live")[0] == 503, "it is seen", timeout=60)
            check("a worker does not answer" in subject.http("/live")[1], "it says why")
            same(subprocess.run(asks, stderr=subprocess.DEVNULL).returncode, 1, "the health check")
            manager.forget()
            same(manager.words_within(1.2), [], "three times the watchdog's patience")
        poll(lambda: subject.http("/live")[0] == 200, "it goes on", timeout=60)
        same(manager.next(), "WATCHDOG=1")
        same(subprocess.run(asks, stderr=subprocess.DEVNULL).returncode, 0, "the health check")
        same(log_in(subject.port).value("SELECT 1"), "1")


# ---- systemd ----------------------------------------------------------------------------------------------


class Manager:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(60)

    def next(self):
        return self.socket.recv(4096).decode().split("\n")[0]

    def forget(self):
        """What has come so far."""
        while select.select([self.socket], [], [], 0)[0]:
            self.next()

    def words_within(self, seconds):
        heard, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                heard.append(self.next())
        return heard

    def wait_for(self, word):
        seen = []
        while not seen or seen[-1] != word:
            seen.append(self.next())
        return seen


def test_service_manager_is_told(here):
    folder = here.directory()
    manager = Manager(folder)
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    with running.running(here.pgmend(environment=environment)) as subject:
        same(manager.next(), "READY=1", "the first word")
        for _ in range(3):
            same(manager.next(), "WATCHDOG=1")
        subject.process.send_signal(signal.SIGHUP)
        check("RELOADING=1" in manager.wait_for("READY=1"), "reading files again is a reload")
        client = log_in(subject.port)
        client.query("BEGIN")
        subject.process.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        same(manager.next(), "WATCHDOG=1", "the watchdog is fed while it drains")
        client.close()
        same(ended(subject, 10)[0], 0)


def test_ready_means_served(here):
    """READY=1 comes when a client is served, not before: systemd then starts what depends on it."""
    folder = here.directory()
    manager = Manager(folder)
    subject = here.pgmend(environment={"NOTIFY_SOCKET": str(manager.path)})
    subject.write_config()
    subject.spawn([here.binary, "--config", subject.config], harness.clean_environment(**subject.environment))
    try:
        same(manager.next(), "READY=1")
        same(log_in(subject.port).value("SELECT 1"), "1")
    finally:
        subject.stop()


class Activated(harness.Pgmend):
    """A pgmend that is given a listening socket as descriptor 3, as systemd gives it."""

    listening = None

    def spawn(self, command, environment=None):
        descriptor = self.listening.fileno()

        def become():
            harness.die_with_parent()()
            os.dup2(descriptor, 3)
            os.environ["LISTEN_PID"] = str(os.getpid())
            os.execve(command[0], [str(part) for part in command],
                      {**environment, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})

        with open(self.log, "ab") as log:
            # preexec_fn runs in the child, whose number it is: there it becomes pgmend itself.
            self.process = subprocess.Popen(["/bin/false"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            cwd=self.directory, preexec_fn=become, close_fds=False)


def activated(here, listening, settings):
    subject = Activated(here.postgres, here.directory(), here.binary, settings=settings)
    subject.listening, subject.port = listening, listening.getsockname()[1]
    return subject


def test_socket_activation_refuses_nobody_while_it_restarts(here):
    """systemctl restart of a service whose socket systemd holds: clients that come meanwhile wait, those that are
    in finish, and nobody meets an error."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    os.set_inheritable(listening.fileno(), True)
    settings = {"shutdown": {"linger": "60s"}}
    crowd = [Naive(listening.getsockname()[1]) for _ in range(64)]
    restarts = 30
    with contextlib.ExitStack() as stack:
        subject = stack.enter_context(running.running(activated(here, listening, settings)))
        for each in crowd:
            each.start()
        for _ in range(restarts):
            before = sum(each.served for each in crowd)
            poll(lambda: sum(each.served for each in crowd) > before + 50, "clients are served", timeout=60)
            subject.process.send_signal(signal.SIGTERM)
            same(ended(subject, 60)[0], 0)
            subject = stack.enter_context(running.running(activated(here, listening, settings)))
        errors, served = Naive.finish(crowd)
        same(errors, [])
        started = poll(lambda: logged(subject, "started"), "it says how it started")[0]
        check(f"listen=127.0.0.1:{subject.port}" in started, f"the inherited address is named: {started}")
    listening.close()
    return f"{restarts} restarts under {len(crowd)} clients, {served} statements, 0 errors"


def successor_of(subject, times):
    line = poll(lambda: len(logged(subject, "taken_over")) > times and logged(subject, "taken_over")[-1],
                "a successor takes over", timeout=30)
    return int(re.search(r"by=(\d+)", line).group(1))


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_takeover_refuses_and_drops_nobody(here):
    """SIGUSR2 again and again under naive clients. One client stays from before the first to after the last, and
    runs a transaction across all of them."""
    takeovers, clients = 30, 64
    # Those that are replaced are children of children; this process inherits them when their parents end.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    pids = []
    with running.running(here.pgmend({"pool": {"size": 4}, "listen": {"backlog": 1024}})) as subject:
        try:
            pids.append(subject.process.pid)
            stayer = log_in(subject.port)
            stayer.query("BEGIN; CREATE TEMPORARY TABLE mine (n int) ON COMMIT DROP; INSERT INTO mine VALUES (7)")
            crowd = [Naive(subject.port) for _ in range(clients)]
            for each in crowd:
                each.start()
            for number in range(takeovers):
                before = sum(each.served for each in crowd)
                poll(lambda: sum(each.served for each in crowd) > before + 100, "clients are served", timeout=30)
                os.kill(pids[-1], signal.SIGUSR2)
                pids.append(successor_of(subject, number))
            same(stayer.value("SELECT n FROM mine"), "7", "the client of the first process")
            errors, served = Naive.finish(crowd)
            same(errors, [])
            poll(lambda: all(gone(pid) for pid in pids[1:-1]), "processes without clients end", timeout=30)
            check(not gone(pids[0]), "the first process still has a client")
            same(subject.http("/ready")[0], 200, "the last one answers on http")
            stayer.query("COMMIT")
            stayer.close()
            same(ended(subject, 10)[0], 0, "the first process")
        finally:
            for pid in pids[1:]:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
            for pid in pids[1:]:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
    return f"{takeovers} takeovers under {clients} clients, {served} statements, 0 errors"


def test_failed_takeover_changes_nothing(here):
    with running.running(here.pgmend()) as subject:
        subject.config.write_text(subject.config.read_text() + "\nnonsense: 1\n")
        subject.process.send_signal(signal.SIGUSR2)
        poll(lambda: logged(subject, "takeover_failed"), "the successor is known to have failed")
        same(subject.http("/ready")[0], 200)
        same(log_in(subject.port).value("SELECT 1"), "1")


# ---- limits of the cgroup ---------------------------------------------------------------------------------


def cgroup(folder, **files):
    """One after the other, and each as a whole: they are looked at all the time."""
    root = folder / "cgroup"
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        (root / "new").write_text(text + "\n")
        (root / "new").rename(root / name.replace("_", "."))
    return root


MIB = 1 << 20


def worker_count(subject):
    line = poll(lambda: logged(subject, "started"), "it says how it started")[0]
    return int(re.search(r" workers=(\d+)", line).group(1))


def test_workers_follow_the_cpu_quota(here):
    root = cgroup(here.directory(), cpu_max="150000 100000")
    wanted = min(2, os.cpu_count())
    with running.running(here.pgmend({"workers": "auto", "machine": {"cgroup_root": str(root)}})) as subject:
        same(worker_count(subject), wanted)
    root = cgroup(here.directory(), cpu_max="50000 100000")
    with running.running(here.pgmend({"workers": "auto", "machine": {"cgroup_root": str(root)}})) as subject:
        same(worker_count(subject), 1)


def test_clients_are_refused_before_memory_ends(here):
    root = cgroup(here.directory(), memory_max=str(64 * MIB), memory_current=str(30 * MIB), memory_stat="anon 1")
    with running.running(here.pgmend({"machine": {"cgroup_root": str(root)}})) as subject:
        inside = log_in(subject.port)
        same(inside.value("SELECT 1"), "1")
        # A page cache the kernel would drop first is no reason to refuse anybody.
        cgroup(root.parent, memory_stat=f"anon 1\ninactive_file {30 * MIB}", memory_current=str(62 * MIB))
        seen = lambda: re.search(r"^pgmend_memory_used_bytes (\S+)", subject.http("/metrics")[1], re.M).group(1)
        poll(lambda: float(seen()) == 32 * MIB, "the new figures are seen")
        log_in(subject.port).close()
        cgroup(root.parent, memory_stat="anon 1")
        poll(lambda: logged(subject, "memory_nearly_used_up"), "the limit is near")
        try:
            log_in(subject.port)
            raise harness.Failure("a client was let in with too little memory")
        except wire.Refused as refusal:
            same(refusal.fields["C"], "53200")
        same(inside.value("SELECT 2"), "2", "who is in goes on")
        check('pgmend_clients_refused_total{reason="memory"} 1' in subject.http("/metrics")[1], "it is counted")
        cgroup(root.parent, memory_current=str(30 * MIB))
        poll(lambda: logged(subject, "memory_available_again"), "memory came back")
        log_in(subject.port).close()


def large_query(size):
    return wire.message("Q", b"SELECT length('" + b"x" * size + b"')\0")


def refused_for_memory(client):
    fields = wire.error_fields(client.until("E")[-1][1])
    same((fields["S"], fields["C"]), ("ERROR", "53200"))


def test_large_requests_are_refused_before_memory_ends(here):
    """Who is in goes on when memory is nearly used up, but for what would take more of it while it waits for a server."""
    root = cgroup(here.directory(), memory_max=str(64 * MIB), memory_current=str(30 * MIB), memory_stat="anon 1")
    with running.running(here.pgmend({"machine": {"cgroup_root": str(root)}, "pool": {"size": 1}})) as subject:
        busy, whole, half, parsed, small = (log_in(subject.port) for _ in range(5))
        busy.query("BEGIN")
        cgroup(root.parent, memory_current=str(62 * MIB))
        poll(lambda: logged(subject, "memory_nearly_used_up"), "the limit is near")
        whole.socket.sendall(large_query(8000))
        refused_for_memory(whole)
        whole.until("Z")
        request = large_query(100000)
        half.socket.sendall(request[:50000])
        refused_for_memory(half)
        half.until("Z")
        half.socket.sendall(request[50000:])
        parsed.socket.sendall(wire.message("P", b"\0SELECT 1 /*" + b"x" * 8000 + b"*/\0\0\0"))
        refused_for_memory(parsed)
        parsed.socket.sendall(wire.message("B", b"\0\0" + bytes(6)) + wire.message("E", b"\0" + bytes(4)) + wire.message("S"))
        parsed.until("Z")
        small.socket.sendall(wire.message("Q", b"SELECT 7\0"))
        same(busy.value(f"SELECT length('{'x' * 8000}')"), "8000", "who has a server")
        busy.query("COMMIT")
        check(any(kind == "D" for kind, _ in small.until("Z")), "a small request waits and is answered")
        for client in (whole, half, parsed):
            same(client.value("SELECT 8"), "8", "who was refused goes on")
        check('pgmend_clients_refused_total{reason="memory"} 3' in subject.http("/metrics")[1], "it is counted")
        cgroup(root.parent, memory_current=str(30 * MIB))
        poll(lambda: logged(subject, "memory_available_again"), "memory came back")
        same(whole.value(f"SELECT length('{'x' * 8000}')"), "8000")


def test_large_requests_of_all_clients_within_64_mib(here):
    """600 clients send 200 kB each while all servers are busy: twice of what may be used. Whoever waits is answered in the end, the
    others are refused, and nobody is cut off."""
    settings = {"auth": {"method": "trust"}, "machine": {"memory": "64MiB"}, "pool": {"size": 4, "wait_timeout": "10min"}}
    with running.running(here.pgmend(settings)) as subject:
        inside, _ = crowd_of(subject, 604)
        busy, crowd = inside[:4], inside[4:]
        for client in busy:
            client.query("BEGIN")
        # A value: a statement of this size would be one that nobody has understood, which keeps its server.
        request = wire.parse("", "SELECT length($1)") + wire.bind("", "", ["x" * 200000]) + wire.execute() + wire.message("S")
        for client in crowd:
            client.socket.sendall(request)
        refused = lambda: int(re.search(r'reason="memory"} (\d+)', subject.http("/metrics")[1]).group(1))
        poll(lambda: refused() > 300, "what is too much is refused", timeout=60)
        for client in busy:
            client.query("COMMIT")
        outcomes = {"D": 0, "E": 0}
        for client in crowd:
            messages = client.until("Z")
            outcomes[next(kind for kind, _ in messages if kind in "DE")] += 1
        peak = subject.memory_peak()
        check(peak < 64 * MIB, f"{peak} bytes")
        same(outcomes["E"], refused())
        check(outcomes["D"] > 20, f"{outcomes}")
        for client in crowd:
            client.drop()
    return f"peak {peak / MIB:.1f} MiB, {outcomes['D']} answered, {outcomes['E']} refused"


def resident(subject):
    return int(pathlib.Path(f"/proc/{subject.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def crowd_of(subject, count):
    """Logs in as many as get in: those, and how many were refused with which code."""
    inside, refused = [], {}
    for _ in range(count):
        client = wire.Wire("127.0.0.1", subject.port, timeout=30)
        try:
            inside.append(client.login("app", None, "app"))
        except wire.Refused as refusal:
            refused[refusal.fields["C"]] = refused.get(refusal.fields["C"], 0) + 1
            client.drop()
    return inside, refused


def test_two_thousand_clients_within_64_mib(here):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    trust = {"auth": {"method": "trust"}}
    with running.running(here.pgmend({**trust, "machine": {"memory": "64MiB"}})) as subject:
        inside, refused = crowd_of(subject, 2000)
        same(refused, {}, "at 64 MiB")
        for client in inside[::100]:
            same(client.value("SELECT 1"), "1")
        peak, full = subject.memory_peak(), resident(subject)
        check(peak < 64 * MIB, f"{peak} bytes")
        for client in inside:
            client.drop()
    with running.running(here.pgmend(trust)) as subject:
        inside, _ = crowd_of(subject, 1)
        same(inside[0].value("SELECT 1"), "1")
        ready = resident(subject)
    # What a program has in memory before the first client differs from machine to machine, and from start to start by as
    # much as some clients take: the limit is lowered until it is met by some of them.
    for part in (0.75, 0.5, 0.25, 0, -0.25, -0.5):
        limit = int(ready + (full - ready) * part) * 10 // 9 // 1024 * 1024
        with running.running(here.pgmend({**trust, "machine": {"memory": f"{limit // 1024}KiB"}})) as subject:
            inside, refused = crowd_of(subject, 2000)
            tight = subject.memory_peak()
            if inside:
                same(inside[0].value("SELECT 1"), "1", "who is in goes on")
            for client in inside:
                client.drop()
            check(set(refused) <= {"53200"}, f"refused with {refused}")
            check(tight < limit, f"{tight} bytes at a limit of {limit}")
        if refused:
            break
    check(refused and len(inside) > 50, f"{len(inside)} in, refused with {refused}")
    return f"peak {peak / MIB:.1f} MiB with 2,000; at {limit / MIB:.1f} MiB {len(inside)} in, {refused} refused"


def test_busy_clients_within_64_mib_of_data(here):
    """The kernel refuses more than 64 MiB of data (prlimit), as a limit of a control group would kill: 2,000 clients are
    idle and 50 work, and nothing aborts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    settings = {"auth": {"method": "trust"}, "machine": {"memory": "64MiB"}, "pool": {"size": 10}}
    with running.running(here.pgmend(settings)) as subject:
        resource.prlimit(subject.process.pid, resource.RLIMIT_DATA, (64 * MIB, 64 * MIB))
        idle, refused = crowd_of(subject, 2000)
        same(refused, {}, "at 64 MiB")
        crowd = [Naive(subject.port, statements=20, pause=0.002) for _ in range(50)]
        for each in crowd:
            each.start()
        poll(lambda: all(each.served > 20 or each.errors for each in crowd), "they all work", timeout=120)
        errors, served = Naive.finish(crowd)
        same(errors, [])
        for client in idle[::100]:
            same(client.value("SELECT 1"), "1", "who was idle meanwhile")
        data = int(re.search(r"^VmData:\s+(\d+) kB", pathlib.Path(f"/proc/{subject.process.pid}/status").read_text(), re.M).group(1))
        check(subject.alive(), "it aborted")
        for client in idle:
            client.drop()
    return f"{served} statements beside 2,000 idle clients, {data // 1024} MiB of data"


def test_limit_that_the_kernel_enforces(here):
    """64 MiB for a control group: 2,000 clients, 50 more that work, and nobody is killed. Then less, until some have to be
    refused before the kernel's limit is met."""
    if reason := control_group.why_not():
        return f"not here: {reason}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))

    def confined(limit, then):
        with control_group.limited(limit, here.directory()) as group:
            settings = {"auth": {"method": "trust"}, "pool": {"size": 10}, "machine": {"cgroup_root": str(group.root)}}
            subject = control_group.Confined(here.postgres, here.directory(), here.binary, settings=settings)
            subject.group = group
            with running.running(subject):
                started = poll(lambda: logged(subject, "started"), "it says how it started")[0]
                check(f"memory_limit={limit}" in started, f"it knows its limit: {started}")
                ready = resident(subject)
                inside, refused = crowd_of(subject, 2000)
                result = then(subject, ready, inside, refused)
                peaks.append(group.peak())
                same((group.killed(), subject.alive()), ("0", True), "nobody was killed")
                for client in inside:
                    client.drop()
                return result

    def roomy(subject, ready, inside, refused):
        same(refused, {}, "at 64 MiB")
        full = resident(subject)
        crowd = [Naive(subject.port, statements=20, pause=0.002) for _ in range(50)]
        for each in crowd:
            each.start()
        poll(lambda: all(each.served > 20 or each.errors for each in crowd), "they all work", timeout=120)
        errors, served = Naive.finish(crowd)
        same(errors, [])
        for client in inside[::100]:
            same(client.value("SELECT 1"), "1", "who was idle meanwhile")
        return ready, full, served

    def tight(subject, ready, inside, refused):
        check(set(refused) <= {"53200"}, f"refused with {refused}")
        for client in inside[:1]:
            same(client.value("SELECT 1"), "1", "who is in goes on")
        return len(inside), refused.get("53200", 0)

    peaks = []
    ready, full, served = confined(64 * MIB, roomy)
    # As above: what a process has before its first client differs from start to start.
    for part in (0.75, 0.5, 0.25, 0, -0.25, -0.5):
        limit = int(ready + (full - ready) * part) * 10 // 9 // 4096 * 4096
        inside, refused = confined(limit, tight)
        if refused:
            break
    check(refused, f"{inside} in and nobody refused at {limit} bytes")
    return f"64 MiB: the group's peak was {peaks[0] / MIB:.1f} with 2,000 clients and {served} statements; {limit / MIB:.1f} MiB: " \
           f"{peaks[-1] / MIB:.1f}, {inside} in, {refused} refused; nobody killed"


def test_storm_of_tls_clients_within_64_mib(here):
    """2,000 clients ask for TLS at one time, which takes more memory than there is: some get in, the others are told, in clear
    text where there is no memory for a handshake. The kernel kills nobody, and those who are in go on."""
    if reason := control_group.why_not():
        return f"not here: {reason}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    folder, said = here.directory(), []
    certificate, key = harness.make_certificate(folder, "localhost")
    for direct, refusals in ((False, {"53200"}), (True, {"53200", "alert"})):
        with control_group.limited(64 * MIB, here.directory()) as group:
            settings = {"auth": {"method": "trust"}, "pool": {"size": 10}, "machine": {"cgroup_root": str(group.root)},
                        "listen": {"backlog": 4096, "tls": {"mode": "prefer", "cert": str(certificate), "key": str(key)}}}
            subject = control_group.Confined(here.postgres, here.directory(), here.binary, settings=settings)
            subject.group = group
            with running.running(subject):
                crowd = tls_storm.come(subject.port, 2000, direct)
                found = tls_storm.outcomes(crowd)
                same((group.killed(), subject.alive()), ("0", True), f"nobody was killed: {found}")
                same(set(found) - refusals, {"in"}, f"{found}")
                inside = [each for each in crowd if each.outcome == "in"]
                check(len(inside) > 100, f"{found}")
                refused = int(re.search(r'reason="memory"} (\d+)', subject.http("/metrics")[1]).group(1))
                same(refused, 2000 - len(inside), "it is counted")
                for number, each in enumerate(inside):
                    each.asks(number)
                tls_storm.settle(inside)
                same([number for number, each in enumerate(inside) if str(number).encode() not in each.said], [], "their answers")
                same((group.killed(), subject.alive()), ("0", True), "nobody was killed")
                said.append(f"{'direct' if direct else 'asked for'}: peak {group.peak() / MIB:.1f} MiB, {found}")
                for each in crowd:
                    each.socket.close()
                poll(lambda: log_in(subject.port).value("SELECT 1") == "1", "it serves when they have gone", timeout=60)
    return "; ".join(said)


# ---- networks ---------------------------------------------------------------------------------------------


IPV6_ONLY = "ip link set lo up && ip addr del 127.0.0.1/8 dev lo && ip addr add fd00::1/128 dev lo"


def in_network(here, setup, *program):
    """Runs a program of this folder in a network of its own; the server is reached by its Unix socket."""
    folder = here.directory()
    hosts = here.directory() / "hosts"
    hosts.write_text("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")  # as the kubelet writes it
    command = f"{setup} && mount --bind {hosts} /etc/hosts && exec {sys.executable} {HERE}/{' '.join(program)} {here.binary} {folder}" \
              f" {here.postgres.directory} {here.postgres.port}"
    return running.said(["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", command], timeout=400,
                        env=harness.clean_environment())


def test_pod_with_ipv6_only(here):
    in_network(here, IPV6_ONLY, "inside_network.py", "v6")


def test_node_without_ipv6(here):
    in_network(here, "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && ip link set lo up", "inside_network.py", "v4")


def test_pods_from_start_to_end(here):
    """The manifests of sidecars with the kubelet's order of starts, probes, hooks and signals: an application beside each meets no
    error from its first connection to its last, and a job's pod ends."""
    in_network(here, IPV6_ONLY, "inside_pod.py")


# ---- how long a start takes -------------------------------------------------------------------------------


def start_once(here, server_port, http, auth="trust"):
    """Milliseconds from the start of the program until a client is answered."""
    port = harness.free_port()
    url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{server_port}/app?sslmode=disable"
    environment = harness.clean_environment(DATABASE_URL=url, PGMEND_LISTEN_PORT=str(port),
                                            PGMEND_HTTP_PORT=str(http), PGMEND_AUTH_METHOD=auth)
    began = time.monotonic()
    process = subprocess.Popen([here.binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                client = wire.Wire("127.0.0.1", port, timeout=30)
                break
        if server_port == here.postgres.port:
            password = None if auth == "trust" else harness.PASSWORDS["app"]
            same(client.login("app", password, "app").value("SELECT 1"), "1")
        else:
            client.send(wire.request(wire.SSL_REQUEST))
            same(client.socket.recv(1), b"N")
        took = (time.monotonic() - began) * 1000
        client.drop()
        return took
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def ahead_of_others(*pids):
    """What else runs on this machine is not to be measured with it; only root may ask for that."""
    if os.geteuid() != 0:
        yield
        return
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(10))
    try:
        yield
    finally:
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def test_start_is_fast(here):
    """The best of several, as the machine may be busy: to the first query of a client that is let in without a password exchange,
    most of which is the test's own, and to the first word to one where no server is."""
    nobody, http = harness.free_port(), harness.free_port()
    with ahead_of_others(0, here.postgres.process.pid):
        served = min(start_once(here, here.postgres.port, http) for _ in range(10))
        alone = min(start_once(here, nobody, http) for _ in range(10))
        usual = statistics.median(start_once(here, here.postgres.port, http, "scram-sha-256") for _ in range(10))
    check(served <= 50, f"{served:.1f} ms until the first query is answered, 50 are allowed")
    check(alone <= 20, f"{alone:.1f} ms until a client is spoken to with no server there, 20 are allowed")
    said = f"{served:.1f} ms to the first query ({usual:.1f} ms the median with SCRAM), {alone:.1f} ms to the first answer with no server"
    print(f"note: {said}")
    return said


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
