"""The PostgreSQL under the measurement and the contenders in front of it, each a process of ours on loopback."""

import ctypes
import errno
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from . import wire

ROOT = pathlib.Path(__file__).resolve().parents[3]
PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
USER, PASSWORD, DATABASE = "bench", "bench-secret", "bench"
POOL_SIZE = 20
SCALE = 10


def as_postgres():
    """PostgreSQL and PgBouncer refuse to run as root; Popen changes the user itself, so the pid stays ours."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def log_in(port, timeout=60):
    return wire.Connection(port, USER, PASSWORD, DATABASE, timeout)


def wait_for_login(port, process, seconds=60):
    """Until a login and a query succeed; the one proof of being up that holds for every contender."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = log_in(port)
            connection.query("select 1")
            connection.close()
            return
        except (OSError, wire.ServerError) as error:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args[0]} ended with status {process.returncode}") from error
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Postgres:
    """Tuned so that the disk plays no part: fsync off, no autovacuum, no jit, no TLS, SCRAM, scale 10."""

    SETTINGS = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "jit": "off",
        "ssl": "off",
        "shared_buffers": "512MB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "1h",
        "max_connections": "700",
        "max_parallel_workers_per_gather": "0",
        "log_min_messages": "fatal",
    }

    def __init__(self, folder):
        self.folder = folder / "postgres"
        self.port = free_port()
        self.process = None

    def start(self):
        self.folder.mkdir(mode=0o700)
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        data = self.folder / "data"
        run = dict(check=True, stdout=subprocess.DEVNULL, cwd="/", **as_postgres())
        initdb = [PG_BIN / "initdb", "-D", data, "-U", USER, f"--pwfile={secret}", "-A", "scram-sha-256"]
        subprocess.run([*initdb, "-E", "UTF8", "--locale=C", "--no-sync"], **run)
        settings = [part for name, value in self.SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [PG_BIN / "postgres", "-D", data, "-p", str(self.port), *settings],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **as_postgres(),
        )
        self._create_database()
        wait_for_login(self.port, self.process)
        pgbench = [PG_BIN / "pgbench", "-i", "-q", "-s", str(SCALE), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER]
        subprocess.run([*pgbench, DATABASE], check=True, env=self.environment(), stderr=subprocess.DEVNULL)
        connection = log_in(self.port)
        for sql in (
            "create table bench_out as select i, repeat(md5(i::text), 30) as filler from generate_series(1, 100000) i",
            "create unlogged table bench_in (line text)",
            "vacuum analyze",
            "checkpoint",
        ):
            connection.query(sql)
        connection.close()

    def _create_database(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                connection = wire.Connection(self.port, USER, PASSWORD, "postgres")
                connection.query(f"create database {DATABASE}")
                connection.close()
                return
            except (OSError, wire.ServerError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def verifier(self):
        """The SCRAM verifier as pg_authid has it: what PgBouncer's list must hold to be compared fairly."""
        connection = log_in(self.port)
        connection.socket.sendall(wire.frame(b"Q", f"select rolpassword from pg_authid where rolname = '{USER}'\0".encode()))
        answer = None
        while True:
            kind, body = connection.read_message()
            if kind == b"D":
                answer = body[6:].decode()
            if kind == b"Z":
                connection.close()
                return answer

    @staticmethod
    def environment():
        return {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C"}

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(30)


class Contender:
    """A way from the client to PostgreSQL. Subclasses say how it is started and what it cannot do."""

    name = ""
    pools = True  # many clients share few server connections
    prepared = True  # protocol-level prepared statements work
    stop_signal = signal.SIGTERM

    def __init__(self, postgres, folder):
        self.postgres = postgres
        self.folder = folder
        self.port = free_port()
        self.process = None
        self.log = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {"PATH": os.environ["PATH"], "LC_ALL": "C"}

    def user(self):
        return {}

    def start(self, wrapper=()):
        """`wrapper` is a command that executes the rest in its own place, as valgrind does."""
        self.log = open(self.folder / f"{self.name}-{self.port}.log", "wb")
        self.process = subprocess.Popen(
            [*map(str, wrapper), *map(str, self.command())],
            cwd="/",
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **self.user(),
        )
        try:
            wait_for_login(self.port, self.process)
        except Exception as error:
            self.stop()
            said = pathlib.Path(self.log.name).read_text(errors="replace").strip()[-600:]
            raise RuntimeError(f"{self.name} did not come up: {error}\n{said}") from error
        return self

    def pids(self):
        return family(self.process.pid) if self.process else []

    def stop(self):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None
        self.log.close()


def family(pid):
    """A process and what it started. A child that goes away while we look was in it, and counts no more."""
    pids = [pid]
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        children = [child for task in tasks for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return pids
    for child in children:
        pids += family(int(child))
    return pids


class Direct(Contender):
    name = "direct"
    pools = False

    def start(self, wrapper=()):
        self.port = self.postgres.port
        return self


class PgBouncer(Contender):
    """Debian's 1.18: verifier in the list, no TLS to the server, nothing logged for each connection."""

    name = "pgbouncer"
    prepared = False

    def command(self):
        users, config = self.folder / f"pgbouncer-{self.port}.users", self.folder / f"pgbouncer-{self.port}.ini"
        users.write_text(f'"{USER}" "{self.postgres.verifier()}"\n')
        config.write_text(
            f"""[databases]
{DATABASE} = host=127.0.0.1 port={self.postgres.port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 8000
server_tls_sslmode = disable
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
log_stats = 0
"""
        )
        return ["/usr/sbin/pgbouncer", config]

    def user(self):
        return as_postgres()


class HAProxy(Contender):
    """A plain TCP relay: one server connection for each client, no protocol, one thread."""

    name = "haproxy"
    pools = False

    def command(self):
        config = self.folder / f"haproxy-{self.port}.cfg"
        config.write_text(
            f"""global
    maxconn 2000
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
listen bench
    bind 127.0.0.1:{self.port}
    server postgres 127.0.0.1:{self.postgres.port}
"""
        )
        return ["/usr/sbin/haproxy", "-db", "-f", config]


class Pgmend(Contender):
    name = "pgmend"
    engine = "epoll"
    stop_signal = signal.SIGINT
    binary = ROOT / "build/release/proxy/pgmend"
    settings = {}  # further variables of the environment

    def command(self):
        if not self.binary.exists():
            raise FileNotFoundError(f"{self.binary}: build it first (cmake --build --preset release --target pgmend)")
        return [self.binary]

    def environment(self):
        return super().environment() | {
            "DATABASE_URL": f"postgres://{USER}:{PASSWORD}@127.0.0.1:{self.postgres.port}/{DATABASE}?sslmode=disable",
            "PGMEND_LISTEN_PORT": str(self.port),
            "PGMEND_HTTP_PORT": str(free_port()),
            "PGMEND_POOL_SIZE": str(POOL_SIZE),
            "PGMEND_LOG_LEVEL": "warning",
            "PGMEND_RELAY_ENGINE": self.engine,
            **self.settings,
        }


class CountedPgmend(Pgmend):
    """Servers are checked by the clock, and what is counted for each transaction must not depend on how long it took."""

    def environment(self):
        return super().environment() | {"PGMEND_HEALTH_INTERVAL": "1h"}


class RingPgmend(Pgmend):
    name = "pgmend-uring"
    engine = "io_uring"


class CountedRingPgmend(CountedPgmend):
    name = "pgmend-uring"
    engine = "io_uring"


def has_io_uring():
    """Whether io_uring is allowed here; what else pgmend needs of it, Linux 6.1 has."""
    libc = ctypes.CDLL(None, use_errno=True)
    # io_uring_setup with room for nothing: EFAULT or EINVAL from the call itself, EPERM or ENOSYS without it.
    libc.syscall(425, 1, None)
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)


CONTENDERS = {each.name: each for each in (Direct, PgBouncer, HAProxy, Pgmend, RingPgmend)}
