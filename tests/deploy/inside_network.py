"""Run by lifecycle_test.py in a network of its own, with only one family of addresses: pgmend has to serve there with
settings that name all addresses. The server is reached by its Unix socket."""

import pathlib
import sys

import running
from running import harness, wire
from harness import check, same
from lifecycle_test import asked, ended, post

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
