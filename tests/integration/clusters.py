"""A primary and its streaming standbys, broken in every way a test wants."""

import contextlib
import os
import shutil
import signal

from harness import PASSWORDS, Postgres, poll, tail


class Standby(Postgres):
    """Follows another server by streaming replication."""

    def __init__(self, directory, primary):
        super().__init__(directory)
        self.primary = primary

    def create(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.owner:
            shutil.chown(self.directory, "postgres", "postgres")
        source = (f"host={self.primary.host} port={self.primary.port} user=streamer "
                  f"password={PASSWORDS['streamer']}")
        self.call("pg_basebackup", "-d", source, "-D", str(self.data), "-R", "-X", "stream", "--checkpoint=fast",
                  "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write(f"port = {self.port}\nunix_socket_directories = '{self.directory}'\n")
        self.start()
        return self

    def promote(self):
        """Returns when it takes writes."""
        with self.admin() as admin:
            admin.execute("SELECT pg_promote(true, 30)")


class Cluster:
    """Owned by one test; everything is stopped when the test ends."""

    def __init__(self, test, standbys=1, **settings):
        directory = test.directory
        self.primary = Postgres(directory / "pg0", synchronous_commit="on", wal_level="replica", **settings)
        self.servers = [self.primary]
        test.closing.callback(self.stop)
        self.primary.create()
        for number in range(1, standbys + 1):
            standby = Standby(directory / f"pg{number}", self.primary)
            self.servers.append(standby)
            standby.create()

    def stop(self):
        for server in self.servers:
            with contextlib.suppress(OSError):
                server.process.send_signal(signal.SIGCONT)
            server.stop(signal.SIGQUIT)

    def url(self, user="app", database="app", ports=None):
        """`ports`: of gates before the servers, in their order."""
        ports = ports or [server.port for server in self.servers]
        hosts = ",".join(f"{server.host}:{port}" for server, port in zip(self.servers, ports))
        return f"postgres://{user}:{PASSWORDS[user]}@{hosts}/{database}"

    def sql(self, statement, on=None, database="app"):
        with (on or self.primary).admin(database) as admin:
            cursor = admin.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def caught_up(self):
        """Every standby has replayed what the primary has written."""
        at = self.sql("SELECT pg_current_wal_lsn()")[0][0]
        for standby in self.servers[1:]:
            poll(lambda: self.sql(f"SELECT pg_last_wal_replay_lsn() >= '{at}'", on=standby)[0][0],
                 f"the standby follows: {tail(standby.log)}", 20)


def crash(server):
    """The postmaster and all its backends are gone, without a word to anybody but what PostgreSQL itself says."""
    server.stop(signal.SIGQUIT)


def freeze(server):
    """Every process of it stops where it is; its sockets stay open."""
    for pid in processes(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def thaw(server):
    for pid in processes(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def processes(server):
    """The postmaster and its children."""
    main = server.process.pid
    with open(f"/proc/{main}/task/{main}/children") as children:
        return [main] + [int(pid) for pid in children.read().split()]

