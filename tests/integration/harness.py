"""Processes of an integration run: a private PostgreSQL, the subject in front of it, and what a test may ask of them."""

import collections
import contextlib
import ctypes
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import psycopg
import psycopg2

import wire

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POSTGRES_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PASSWORDS = {
    "app": "s3cret-of-app",
    "other": "s3cret-of-other",
    "legacy": "s3cret-of-legacy",
    "streamer": "s3cret-of-streamer",
    "crowd": "s3cret-of-crowd",
}
PR_SET_PDEATHSIG = 1
# pgmend's health monitor keeps a connection of its own, beside the pools.
NOT_THE_MONITOR = "application_name NOT IN ('pgmend health', 'pgmend listen')"

# select(), which psycopg's Python implementation waits with, ends at descriptor 1023; crowds go beyond.
psycopg.waiting.wait = psycopg.waiting.wait_epoll


class Failure(AssertionError):
    """A check of a test did not hold."""


def check(condition, words):
    if not condition:
        raise Failure(words)


def same(found, wanted, words=""):
    if found != wanted:
        raise Failure(f"{words or 'values differ'}\n  found  {found!r}\n  wanted {wanted!r}")


def poll(condition, words, timeout=10.0, step=0.02):
    """Waits until condition() is true; what it last said is part of the failure."""
    deadline = time.monotonic() + timeout
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout} s: {words} (last seen: {last!r})")
        time.sleep(step)


def free_port():
    """A port below the range from which outgoing connections get theirs, so that none of these takes it meanwhile."""
    while True:
        port = random.randint(10000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def die_with_parent(number=signal.SIGKILL):
    """For preexec_fn: a run that is killed leaves no process behind."""
    return lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def clean_environment(**more):
    """The caller's environment without anything libpq or pgmend would read."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "DATABASE_URL"))}
    kept.update(more)
    return kept


def tail(path, lines=40):
    try:
        return "\n".join(pathlib.Path(path).read_text("utf-8", "replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error})"


def make_certificate(directory, name, owner=None):
    """A self-signed certificate for localhost; returns the paths of certificate and key."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    if not certificate.exists():
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                               "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
                               "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 0, done.stdout)
        key.chmod(0o600)
        if owner:
            shutil.chown(key, owner, owner)
    return certificate, key


class Postgres:
    """A PostgreSQL 15 of our own: loopback and a Unix socket, SCRAM, no fsync. Runs as postgres when we are root."""

    def __init__(self, directory, **settings):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.host = "127.0.0.1"
        self.data = self.directory / "data"
        self.log = self.directory / "postgresql.log"
        self.process = None
        self.owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.settings = {
            "fsync": "off",
            "timezone": "Etc/UTC",  # whatever TZ says here
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "300",
            "superuser_reserved_connections": "5",
            "shared_buffers": "128MB",
            "wal_level": "logical",
            "max_wal_senders": "10",
            "max_replication_slots": "10",
            "max_prepared_transactions": "10",
            "max_wal_size": "4GB",
            "autovacuum": "off",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "password_encryption": "scram-sha-256",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] %u@%d/%a ",
            **settings,
        }

    def create(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.owner:
            account = pwd.getpwnam("postgres")
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        self.call("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8",
                  "--locale=C.UTF-8")
        lines = [f"{key} = '{value}'" for key, value in self.settings.items()] + [f"port = {self.port}"]
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write("\n".join(lines) + "\n")
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\n"
            "host all legacy 127.0.0.1/32 md5\n"
            "host replication all 127.0.0.1/32 scram-sha-256\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.start()
        with self.admin() as admin:
            for user, password in PASSWORDS.items():
                if user == "legacy":
                    admin.execute("SET password_encryption = 'md5'")
                admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
                admin.execute("RESET password_encryption")
            admin.execute("ALTER ROLE streamer REPLICATION")
            admin.execute("GRANT pg_read_all_stats TO app")
            admin.execute("CREATE DATABASE app OWNER app")
            admin.execute("CREATE DATABASE other OWNER other")
        return self

    def call(self, program, *arguments):
        done = subprocess.run([POSTGRES_BIN / program, *arguments], cwd=self.directory, env=clean_environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self.owner)
        check(done.returncode == 0, f"{program}: {done.stdout}")

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([POSTGRES_BIN / "postgres", "-D", str(self.data)], cwd=self.directory,
                                            env=clean_environment(), stdout=log, stderr=log,
                                            preexec_fn=die_with_parent(signal.SIGINT), **self.owner)
        poll(self.answers, f"PostgreSQL starts: {tail(self.log)}", timeout=30)

    def answers(self):
        try:
            with self.admin() as admin:
                return admin.execute("SELECT 1").fetchone()
        except psycopg.OperationalError:
            return False

    def stop(self, number=signal.SIGINT):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self):
        self.stop()
        self.start()

    def admin(self, database="postgres"):
        return psycopg.connect(host=str(self.directory), port=self.port, user="postgres", dbname=database,
                               autocommit=True)

    def log_size(self):
        return self.log.stat().st_size

    def log_since(self, offset):
        with open(self.log, "rb") as log:
            log.seek(offset)
            return log.read().decode("utf-8", "replace")


def yaml_lines(value, indent=0):
    """Block YAML of nested dictionaries, lists of flat dictionaries or scalars; strings are always quoted."""
    pad = " " * indent
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{pad}{key}:"
            yield from yaml_lines(item, indent + 2)
        elif isinstance(item, list):
            yield f"{pad}{key}:"
            for entry in item:
                if isinstance(entry, dict):
                    inner = ", ".join(f"{k}: {scalar(v)}" for k, v in entry.items())
                    yield f"{pad}  - {{{inner}}}"
                else:
                    yield f"{pad}  - {scalar(entry)}"
        else:
            yield f"{pad}{key}: {scalar(item)}"


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def merged(base, more):
    result = dict(base)
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Direct:
    """No subject at all: tests run against PostgreSQL itself, which is what every other subject is measured by."""

    kind = "direct"
    pool_size = None
    log = None

    def __init__(self, postgres):
        self.host, self.port = postgres.host, postgres.port

    def start(self):
        return self

    def stop(self):
        pass

    def alive(self):
        return True

    def memory_peak(self):
        return 0

    def reset_memory_peak(self):
        pass


class Process:
    """A subject with a process of its own."""

    process = None

    def spawn(self, command, environment=None):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.directory,
                                            env=environment or clean_environment(),
                                            preexec_fn=die_with_parent(), **self.owner)

    owner = {}

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, number=signal.SIGINT, timeout=15):
        if self.alive():
            self.process.send_signal(number)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failure(f"{self.kind} did not stop on signal {number} within {timeout} s")
        return self.process.returncode if self.process else None

    def memory_peak(self):
        """VmHWM in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def reset_memory_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def local_ports(self):
        """The local TCP ports of its sockets: what PostgreSQL calls client_port."""
        inodes = set()
        for link in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
        lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
        fields = [line.split() for line in lines]
        return {int(field[1].rsplit(":", 1)[1], 16) for field in fields if field[9] in inodes}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Pgmend(Process):
    kind = "pgmend"
    engine = None  # relay.engine, where a test does not say; None: the default

    def __init__(self, postgres, directory, binary, settings=None, pool_size=8, url=None, environment=None,
                 only_live=False):
        self.postgres = postgres
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.binary = binary
        self.host, self.port, self.http_port = "127.0.0.1", free_port(), free_port()
        self.log = self.directory / "pgmend.log"
        self.config = self.directory / "pgmend.yaml"
        self.environment = environment or {}
        self.only_live = only_live
        base = {
            "listen": {"host": self.host, "port": self.port},
            "http": {"host": self.host, "port": self.http_port},
            "upstream": {
                "url": url or f"postgres://app:{PASSWORDS['app']}@{postgres.host}:{postgres.port}/app"
            },
            "users": [{"name": name, "password": word} for name, word in PASSWORDS.items()],
            "pool": {"mode": "transaction", "size": pool_size, "wait_timeout": "60s"},
        }
        self.settings = merged(base, settings or {})
        self.pool_size = self.settings["pool"]["size"]

    def write_config(self):
        self.config.write_text("\n".join(yaml_lines(self.settings)) + "\n")

    def start(self):
        """Returns when /ready says so, or, where no server may be reachable, when /live does."""
        self.write_config()
        environment = {**({"PGMEND_RELAY_ENGINE": self.engine} if self.engine else {}), **self.environment}
        self.spawn([self.binary, "--config", self.config], clean_environment(**environment))
        poll(lambda: self.says(200, "/live" if self.only_live else "/ready"), "pgmend gets ready", timeout=20)
        return self

    def says(self, status, path):
        if not self.alive():
            raise Failure(f"pgmend ended with {self.process.returncode}\n{tail(self.log)}")
        return self.http(path)[0] == status

    def http(self, path):
        """Status and text; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


class Pgbouncer(Process):
    """Debian's PgBouncer in the same place, to see what a test is worth. Not part of any gate."""

    kind = "pgbouncer"

    def __init__(self, postgres, directory, binary=None, settings=None, pool_size=8, **_):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.host, self.port = "127.0.0.1", free_port()
        self.pool_size = (settings or {}).get("pool", {}).get("size", pool_size)
        self.log = self.directory / "pgbouncer.log"
        self.owner = postgres.owner
        mode = (settings or {}).get("pool", {}).get("mode", "transaction")
        users = self.directory / "users.txt"
        users.write_text("".join(f'"{name}" "{word}"\n' for name, word in PASSWORDS.items()))
        self.config = self.directory / "pgbouncer.ini"
        self.config.write_text(
            f"[databases]\n* = host={postgres.host} port={postgres.port}\n[pgbouncer]\n"
            f"listen_addr = {self.host}\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
            f"auth_file = {users}\npool_mode = {mode}\nmax_client_conn = 10000\n"
            f"default_pool_size = {self.pool_size}\nlog_connections = 0\nlog_disconnections = 0\n"
        )
        if self.owner:
            for path in (self.directory, users, self.config):
                shutil.chown(path, "postgres", "postgres")

    def start(self):
        self.spawn(["pgbouncer", self.config])
        poll(self.accepts, f"pgbouncer starts\n{tail(self.log)}", timeout=10)
        return self

    def accepts(self):
        with contextlib.suppress(OSError):
            socket.create_connection((self.host, self.port), 1).close()
            return True
        return False


class Test:
    """What one running test may use. Everything opened through it is closed when it ends."""

    def __init__(self, run, subject, postgres, quick):
        self.run, self.subject, self.postgres, self.quick = run, subject, postgres, quick
        self.host, self.port = subject.host, subject.port
        self.closing = contextlib.ExitStack()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="test-", dir=run.directory))
        self.directory.chmod(0o777)

    @property
    def direct(self):
        return self.subject.kind == "direct"

    # -- connections

    def wire(self, user="app", database="app", parameters=None, direct=False, login=True, version=wire.PROTOCOL_3_0,
             password=None, on=None, **options):
        place = self.postgres if direct else on or self.subject
        host, port = place.host, place.port
        connection = wire.Wire(options.pop("host", host), options.pop("port", port), **options)
        self.closing.callback(connection.socket.close)
        if login:
            connection.login(user, password or PASSWORDS.get(user, ""), database, parameters, version)
        return connection

    def conninfo(self, user="app", database="app", on=None, **more):
        place = on or self.subject
        words = {"host": place.host, "port": place.port, "user": user, "password": PASSWORDS[user],
                 "dbname": database, "sslmode": "prefer", "connect_timeout": 30, **more}
        return words

    def psycopg(self, **more):
        options = {k: more.pop(k) for k in ("autocommit", "prepare_threshold", "row_factory") if k in more}
        connection = psycopg.connect(**self.conninfo(**more), **options)
        self.closing.callback(connection.close)
        return connection

    def psycopg2(self, **more):
        connection = psycopg2.connect(**self.conninfo(**more))
        self.closing.callback(connection.close)
        return connection

    def admin(self, sql, database="app"):
        """Rows of one statement, run as superuser beside the subject."""
        with self.postgres.admin(database) as admin:
            cursor = admin.execute(sql)
            return cursor.fetchall() if cursor.description else []

    # -- programs

    def environment(self, user="app", database="app", **more):
        return clean_environment(PGHOST=self.host, PGPORT=str(self.port), PGUSER=user,
                                 PGPASSWORD=PASSWORDS[user], PGDATABASE=database, PGCONNECT_TIMEOUT="30", **more)

    def start(self, *command, env=None, **options):
        process = subprocess.Popen([str(part) for part in command], env=env or self.environment(),
                                   cwd=self.directory, preexec_fn=die_with_parent(), **options)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()

        self.closing.callback(end)
        return process

    def program(self, *command, env=None, timeout=120, status=0, **options):
        """Runs a program to its end and returns its output (stdout and stderr together)."""
        process = self.start(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             stdin=options.pop("stdin", subprocess.DEVNULL), text=True, **options)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{command[0]} did not end within {timeout} s") from None
        check(status is None or process.returncode == status,
              f"{' '.join(map(str, command))} ended with {process.returncode}\n{output[-4000:]}")
        return output

    def psql(self, *arguments, **options):
        return self.program(POSTGRES_BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-At", *arguments, **options)

    def own(self, name, **options):
        """A further pgmend for this test alone; wire(on=...) and conninfo(on=...) reach it."""
        return self.closing.enter_context(self.run.started(self.run.pgmend(name, **options)))

    @contextlib.contextmanager
    def neighbours(self, count=6, user="app", database="app", habit="short", plain=None, given=None):
        """Other clients that run short transactions on the same servers until the block ends; half of them with the
        startup parameters `plain`, half with `given`."""
        startup = json.dumps([plain or {}, given or plain or {}])
        process = self.start(sys.executable, HERE / "neighbours.py", self.host, self.port, user, PASSWORDS[user],
                             database, count, habit, startup, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        same(process.stdout.readline().strip(), "running", "what the neighbours say when all have logged in")
        yield process
        output, _ = process.communicate("stop\n", timeout=60)
        check(process.returncode == 0, f"a neighbour was disturbed\n{output[-3000:]}")

    # -- what is seen on the server

    def servers(self, where="true"):
        """Server connections of everyone but the test's superuser."""
        return self.admin("SELECT pid, usename, state, query, backend_type FROM pg_stat_activity WHERE "
                          f"backend_type = 'client backend' AND usename <> 'postgres' AND {NOT_THE_MONITOR} AND ({where})")

    def server_counts(self):
        """How many server connections the subject has, by user and database."""
        rows = self.admin("SELECT client_port, usename || '@' || datname FROM pg_stat_activity WHERE backend_type = "
                          f"'client backend' AND usename <> 'postgres' AND {NOT_THE_MONITOR}")
        ports = {port for port, _ in rows} if self.direct else self.subject.local_ports()
        return collections.Counter(whose for port, whose in rows if port in ports)

    @contextlib.contextmanager
    def watched(self):
        """The most server connections that were seen at once while the block ran, by user and database."""
        most, over = collections.Counter(), threading.Event()

        def watch():
            while not over.wait(0.05):
                for whose, count in self.server_counts().items():
                    most[whose] = max(most[whose], count)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield most
        finally:
            over.set()
            thread.join()

    def quiet(self, words, timeout=10):
        """Waits until no server is in a transaction or busy; says which one was."""
        seen = []

        def none():
            seen[:] = self.servers("state LIKE 'idle in transaction%' OR state = 'active'")
            return not seen

        try:
            poll(none, words, timeout)
        except Failure as failure:
            raise Failure(f"{failure}\n" + "\n".join(f"  {row}" for row in seen[:8])) from None

    def check_recovery(self):
        """Every test ends here: the subject serves a fresh client, and the servers it holds are clean."""
        if self.direct:
            self.quiet("backends of closed clients end")
            return
        check(self.subject.alive(), "the subject died")
        with contextlib.closing(self.wire(timeout=20)) as fresh:
            same(fresh.rows("SELECT 40 + 2"), [["42"]], "a fresh client is served")
        self.quiet("no server stays in a transaction or busy")
        for whose, count in self.server_counts().items():
            check(count <= self.subject.pool_size, f"{count} server connections of {whose}")
        poll(lambda: not self.admin("SELECT pid FROM pg_locks WHERE locktype = 'advisory'"),
             "no advisory lock is left", 10)
