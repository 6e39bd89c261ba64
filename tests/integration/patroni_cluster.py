"""A Patroni cluster on an etcd of its own, from Debian's packages, as a test's property."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

import psycopg

from harness import PASSWORDS, POSTGRES_BIN, check, clean_environment, die_with_parent, free_port, poll, tail

# Patroni's own clock, as fast as it allows: a leader that says nothing is replaced after `ttl`.
DCS = {"ttl": 8, "loop_wait": 1, "retry_timeout": 3, "maximum_lag_on_failover": 1048576}


def service(run, directory, log, owner=None):
    """A process that ends with the run."""
    with open(log, "ab") as out:
        return subprocess.Popen([str(part) for part in run], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                cwd=directory, env=clean_environment(LC_ALL="C.UTF-8", HOME=str(directory)),
                                preexec_fn=die_with_parent(signal.SIGTERM), **(owner or {}))


class Member:
    """One Patroni and its PostgreSQL."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.name = f"m{number}"
        self.host, self.port, self.api_port = "127.0.0.1", free_port(), free_port()
        self.directory = cluster.directory / self.name
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.log = self.directory / "patroni.log"
        self.data = self.directory / "data"
        self.config = self.directory / "patroni.yml"
        self.process = None
        self.write()
        if cluster.owner:
            shutil.chown(self.directory, "postgres", "postgres")
            shutil.chown(self.config, "postgres", "postgres")

    @property
    def url(self):
        return f"http://{self.host}:{self.api_port}"

    def write(self):
        settings = {
            "scope": "pgmend", "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.api_port}", "connect_address": f"127.0.0.1:{self.api_port}"},
            "etcd3": {"host": f"127.0.0.1:{self.cluster.etcd_port}"},
            "bootstrap": {
                "dcs": {**DCS, "synchronous_mode": self.cluster.synchronous,
                        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": {
                            "wal_level": "replica", "hot_standby": "on", "max_connections": 100, "wal_log_hints": "on",
                            "max_wal_senders": 10, "max_replication_slots": 10, "wal_keep_size": "128MB"}}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "no-sync"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(POSTGRES_BIN),
                # Without it the first backup waits for a checkpoint that takes its time.
                "create_replica_methods": ["basebackup"], "basebackup": [{"checkpoint": "fast"}, "no-sync"],
                "pgpass": str(self.directory / "pgpass"),
                "authentication": {"superuser": {"username": "postgres", "password": "super"},
                                   "replication": {"username": "replicator", "password": "repl"},
                                   "rewind": {"username": "rewinder", "password": "rewind"}},
                "parameters": {"unix_socket_directories": str(self.directory), "fsync": "off", "autovacuum": "off",
                               "log_min_messages": "warning", "password_encryption": "scram-sha-256"},
                "pg_hba": ["local all all trust", "host replication all 127.0.0.1/32 scram-sha-256",
                           "host all all 127.0.0.1/32 scram-sha-256"],
            },
        }
        self.config.write_text(json.dumps(settings, indent=1))  # JSON is YAML

    def start(self):
        self.process = service(["patroni", self.config], self.directory, self.log, self.cluster.owner)
        return self

    def says(self, path="/patroni"):
        """Status and the parsed answer; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (OSError, ValueError):
            return 0, {}

    def admin(self, database="postgres"):
        return psycopg.connect(host=str(self.directory), port=self.port, user="postgres", dbname=database,
                               autocommit=True)

    def postmaster(self):
        with contextlib.suppress(OSError, ValueError):
            return int((self.data / "postmaster.pid").read_text().splitlines()[0])
        return None

    def kill(self):
        """Patroni, the postmaster and every backend are gone at once, as with their machine."""
        main = self.postmaster()
        self.process.kill()
        self.process.wait()
        if main:
            with contextlib.suppress(OSError):
                children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()
                for pid in [main, *map(int, children)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # One that is stopped during a switchover leaves its PostgreSQL running.
        main = self.postmaster()
        if main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(main, signal.SIGQUIT)
            poll(lambda: not pathlib.Path(f"/proc/{main}").exists(), "PostgreSQL ends", 20)


class PatroniCluster:
    """Owned by one test; everything is stopped when the test ends."""

    def __init__(self, test, members=2, synchronous=False):
        self.directory = test.directory / "patroni"
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.synchronous = synchronous
        self.etcd_port = free_port()
        test.closing.callback(self.stop)
        self.members = []
        peers = free_port()
        store = self.directory / "etcd"
        self.etcd = service(
            ["etcd", "--data-dir", store, "--listen-client-urls", f"http://127.0.0.1:{self.etcd_port}",
             "--advertise-client-urls", f"http://127.0.0.1:{self.etcd_port}", "--unsafe-no-fsync",
             "--listen-peer-urls", f"http://127.0.0.1:{peers}", "--initial-advertise-peer-urls",
             f"http://127.0.0.1:{peers}", "--initial-cluster", f"default=http://127.0.0.1:{peers}"],
            self.directory, self.directory / "etcd.log")
        poll(self.store_answers, f"etcd starts\n{tail(self.directory / 'etcd.log')}", 30)
        for number in range(1, members + 1):
            self.add(number)
            if number == 1:
                poll(lambda: self.leader() is not None, f"a leader\n{tail(self.members[0].log)}", 90)
                with self.members[0].admin() as admin:
                    for user, password in PASSWORDS.items():
                        admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
                    admin.execute("CREATE DATABASE app OWNER app")
        self.settled()

    def add(self, number):
        member = Member(self, number)
        self.members.append(member)
        return member.start()

    def store_answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.etcd_port}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        for member in self.members:
            member.stop()
        self.etcd.kill()
        self.etcd.wait()

    def leader(self):
        """The member that holds the leader's lock and takes writes; None while nobody does."""
        for member in self.members:
            if member.process.poll() is None and member.says("/primary")[0] == 200:
                return member
        return None

    def settled(self, seconds=90):
        """A leader, and everybody else that runs follows it."""
        def so():
            leader = self.leader()
            others = [member for member in self.members if member is not leader and member.process.poll() is None]
            if not leader or not all(member.says("/replica")[0] == 200 for member in others):
                return False
            # Only who has the leader's word for it may take over.
            return not self.synchronous or not others or any(member.says("/sync")[0] == 200 for member in others)

        poll(so, "the cluster is whole\n" + "\n".join(tail(member.log, 15) for member in self.members), seconds, 0.1)
        return self.leader()

    def switchover(self, to):
        """As `patronictl switchover` does; returns when the new leader takes writes."""
        leader = self.leader()
        body = json.dumps({"leader": leader.name, "candidate": to.name}).encode()
        request = urllib.request.Request(leader.url + "/switchover", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            check(answer.status == 200, answer.read().decode())
        poll(lambda: self.leader() is to, f"{to.name} leads\n{tail(to.log)}", 60)

    def sql(self, statement, on=None, database="app"):
        with (on or self.leader()).admin(database) as admin:
            cursor = admin.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def urls(self):
        return [member.url for member in self.members]
