"""Run by lifecycle_test.py in a network of its own that has IPv6 alone: pods of deploy/kubernetes/sidecar from start to end, as
the kubelet runs them. The server is at [::1] of this network, by a relay to its Unix socket."""

import contextlib
import os
import pathlib
import socket
import sys
import threading

import yaml

import kubelet
import running
from running import ROOT, harness
from harness import check, poll, same

HERE = pathlib.Path(__file__).resolve().parent
MANIFESTS = ROOT / "deploy/kubernetes/sidecar"

binary, folder, server_directory, server_port = sys.argv[1:]
folder = pathlib.Path(folder)


class Relay(threading.Thread):
    """The server, at [::1] of this network."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.port = self.listening.getsockname()[1]

    def run(self):
        while True:
            near, _ = self.listening.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.path)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def started(name, status=0):
    """A pod whose pgmend is slow to start: nothing that needs it may be started before it serves."""
    place = folder / f"{name}-{status}"
    place.mkdir()
    gate, path = place / "gate", place / "bin"
    path.mkdir()
    migrate = path / "migrate"
    migrate.write_text(f"#!/bin/sh\nSTATUS={status} exec {sys.executable} {HERE}/application.py once\n")
    migrate.chmod(0o755)
    os.environ["PATH"] = f"{path}:{os.environ['PATH']}"
    programs = {"pgmend": ["sh", "-c", 'while ! [ -e "$0" ]; do sleep 0.05; done; exec "$@"', gate, binary],
                "hook": binary, "app": [sys.executable, HERE / "application.py"]}
    word = harness.PASSWORDS["app"]
    secrets = {"url": f"postgres://app:{word}@[::1]:{relay.port}/app?sslmode=disable",
               "url-through-pgmend": f"postgres://app:{word}@[::1]:6432/app"}
    pod = kubelet.Pod(yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text()), "[fd00::1]", programs, secrets, place)
    ran_before = []

    def open_gate():
        poll(lambda: pod.waits_for == "pgmend", "it is waited for", timeout=60)
        ran_before.extend(pod.processes)
        gate.touch()

    threading.Thread(target=open_gate, daemon=True).start()
    try:
        pod.start()
        same((name, ran_before), (name, ["pgmend"]), "what ran before pgmend served")
        yield pod
    except Exception:
        for each in pod.processes:
            print(f"---- {name}, {each}:\n{pod.said_in(each).read_text()[-3000:]}")
        raise
    finally:
        pod.end()
        os.environ["PATH"] = os.environ["PATH"].partition(":")[2]


def beside_an_application(name):
    with started(name) as pod:
        pod.ready()
        poll(lambda: "works" in pod.said_in("app").read_text(), f"{name}: the application works", timeout=60)
        client = running.log_in(6432, host="::1")
        same(client.value("SELECT 1"), "1")
        client.close()
        with socket.socket(socket.AF_INET6) as probe:
            check(probe.connect_ex(("fd00::1", 6432)) != 0, f"{name}: clients of other pods are let in")
        running.said([binary, "--health-check"], env=pod.environment(
            next(each for each in pod.pod.get("initContainers", []) + pod.pod["containers"] if each["name"] == "pgmend")))
        same((name, pod.delete()), (name, {"pgmend": 0, "app": 0}), "nothing is cut, nothing is killed")


def in_a_job(status):
    with started("job", status) as pod:
        same(pod.status("migrate"), status, "the job's own status")
        same(pod.status("pgmend"), 0, "the pod ends with its application")


relay = Relay(f"{server_directory}/.s.PGSQL.{server_port}")
relay.start()
for manifest in ("native", "classic"):
    beside_an_application(manifest)
for outcome in (0, 3):
    in_a_job(outcome)
