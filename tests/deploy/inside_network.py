"""Run by lifecycle_test.py in a network of its own, with only one family of addresses: pgmend has to serve there with
settings that name all addresses. The server is reached by its Unix socket."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import threading
import urllib.request

import yaml

import running
from running import harness, wire
from harness import check, same
from lifecycle_test import asked, ended, post



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


def as_native_sidecar():
    """With the environment deploy/kubernetes gives it, in a pod that has IPv6 alone."""
    relay = Relay(f"{server_directory}/.s.PGSQL.{server_port}")
    relay.start()
    manifest = yaml.safe_load((running.ROOT / "deploy/kubernetes/sidecar/native.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["initContainers"]
    url = f"postgres://app:{harness.PASSWORDS['app']}@[::1]:{relay.port}/app?sslmode=disable"
    environment = harness.clean_environment(**{each["name"]: each.get("value", url) for each in container["env"]})
    process = subprocess.Popen([binary], env=environment, stderr=subprocess.DEVNULL)
    try:
        def probed(name, host="[fd00::1]"):
            with contextlib.suppress(OSError):
                path = container[name]["httpGet"]["path"]
                with urllib.request.urlopen(f"http://{host}:{container['ports'][0]['containerPort']}{path}", timeout=5) as answer:
                    return answer.status == 200
            return False

        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            harness.poll(lambda name=name: probed(name), f"the kubelet's {name}", timeout=60)
        client = running.log_in(6432, host="::1")
        same(client.value("SELECT 1"), "1")
        client.close()
        with socket.socket(socket.AF_INET6) as probe:
            check(probe.connect_ex(("fd00::1", 6432)) != 0, "clients of other pods are let in")
        running.said([binary, "--health-check"], env=environment)
    finally:
        process.terminate()
        same(process.wait(60), 0)


kind, binary, folder, server_directory, server_port = sys.argv[1:]
loopback = {"v6": "::1", "v4": "127.0.0.1"}[kind]


class Server:
    host, port = server_directory, server_port


settings = {
    "listen": {"host": "*"},
    "http": {"host": "*", "quit": "loopback"},
    "auth": {"method": "trust"},
    "upstream": {"url": f"postgresql://postgres@/app?host={server_directory}&port={server_port}"},
}
# In a network of its own every port is free, and the address the harness looks for them on may not be there.
ports = iter((6432, 9632))
harness.free_port = lambda: next(ports)
subject = harness.Pgmend(Server, pathlib.Path(folder), binary, settings=settings)
subject.host = f"[{loopback}]" if kind == "v6" else loopback
subject.settings["listen"]["host"] = subject.settings["http"]["host"] = "*"
with running.running(subject):
    client = wire.Wire(loopback, subject.port).login("postgres", None, "app")
    same(client.value("SELECT 1"), "1")
    client.close()
    same(subject.http("/ready")[0], 200)
    command = [binary, "--config", str(subject.config), "--health-check"]
    running.said(command)
    if kind == "v6":
        # An address of this machine that is not loopback: whoever comes from it may not end anything.
        same(post(f"http://[fd00::1]:{subject.http_port}/quit"), 403)
        # Nor does it see the console or the tables without a password, though the rule says trust.
        for database in ("pgmend", "pgbouncer"):
            wire.Wire(loopback, subject.port).login("postgres", None, database).close()
            try:
                wire.Wire("fd00::1", subject.port).login("postgres", None, database)
                raise harness.Failure("it came in to the console")
            except wire.Refused as refused:
                same((refused.fields["C"], refused.fields["M"]), ("28000", "the console asks for authentication"))
        same(asked(f"http://[fd00::1]:{subject.http_port}/api/pools"), 401)
        same(asked(f"http://[{loopback}]:{subject.http_port}/api/pools"), 200)
    same(post(f"http://{subject.host}:{subject.http_port}/quit"), 200)
    same(ended(subject, 10)[0], 0)
check(not subject.alive(), "it has ended")

if kind == "v6":
    as_native_sidecar()
