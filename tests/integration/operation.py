"""Running it: signals, configuration, http, Unix socket, several servers, servers that come and go."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import harness
import wire
from harness import PASSWORDS, POSTGRES_BIN, check, clean_environment, free_port, poll, same, tail
from registry import register
from tcp_gate import TcpGate

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def fatal(client, sqlstate):
    """The connection ends with this FATAL."""
    kind, body = client.receive()
    while kind != "E":
        kind, body = client.receive()
    fields = wire.error_fields(body)
    same((fields["V"], fields["C"]), ("FATAL", sqlstate))
    check(client.at_end(), "closed after FATAL")
    client.drop()


def refuses(subject):
    with contextlib.suppress(OSError):
        with socket.create_connection((subject.host, subject.port), 2) as probe:
            probe.settimeout(2)
            return probe.recv(1) == b""
    return True


# ---- signals --------------------------------------------------------------------------------------------


@test("SIGTERM drains: idle clients get 57P01, a transaction finishes, nobody new comes in, then it ends with 0",
      subjects=PGMEND)
def drain(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS drained; CREATE TABLE drained (a int)")
    subject = t.own("drain", settings={"shutdown": {"drain_timeout": "20s"}})
    idle, busy, fetching = (t.wire(on=subject) for _ in range(3))
    idle.rows("SELECT 1")
    busy.query("BEGIN")
    busy.query("INSERT INTO drained VALUES (1)")
    fetching.send(wire.query("SELECT pg_sleep(1), 'finishes'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%finishes%'"), "it runs")
    subject.process.send_signal(signal.SIGTERM)
    fatal(idle, "57P01")
    poll(lambda: subject.http("/ready")[0] == 503, "/ready is 503")
    same(subject.http("/live")[0], 200, "/live while draining")
    check(subject.http("/metrics")[0] == 200, "/metrics while draining")
    poll(lambda: refuses(subject), "new connections are refused")
    same(wire.rows_of(fetching.until("Z")), [["", "finishes"]])
    fatal(fetching, "57P01")
    busy.query("INSERT INTO drained VALUES (2)")
    same(wire.tags(busy.query("COMMIT")), ["COMMIT"])
    fatal(busy, "57P01")
    same(subject.process.wait(10), 0, "exit status")
    same(t.admin("SELECT count(*) FROM drained"), [(2,)])


@test("SIGTERM is not held up by a client that keeps its end open after 57P01", subjects=PGMEND)
def drain_deaf(t):
    subject = t.own("deaf", settings={"shutdown": {"drain_timeout": "20s"}})
    deaf, reader = t.wire(on=subject), t.wire(on=subject)
    deaf.rows("SELECT 1")
    begun = time.monotonic()
    subject.process.send_signal(signal.SIGTERM)
    check(reader.at_end(), "closed after FATAL")
    same(subject.process.wait(15), 0, "exit status")
    check(time.monotonic() - begun < 8, f"it took {time.monotonic() - begun:.1f} s")


@test("SIGTERM with clients that never finish ends after drain_timeout, rolled back", subjects=PGMEND)
def drain_timeout(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS undrained; CREATE TABLE undrained (a int)")
    subject = t.own("timeout", settings={"shutdown": {"drain_timeout": "500ms"}})
    busy, sleeping = t.wire(on=subject), t.wire(on=subject)
    busy.query("BEGIN")
    busy.query("INSERT INTO undrained VALUES (1)")
    sleeping.send(wire.query("SELECT pg_sleep(60), 'never'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%never%'"), "it runs")
    begun = time.monotonic()
    subject.process.send_signal(signal.SIGTERM)
    same(subject.process.wait(10), 0, "exit status")
    check(0.4 < time.monotonic() - begun < 5, f"it took {time.monotonic() - begun:.1f} s")
    check(busy.at_end() and sleeping.at_end(), "the clients are disconnected")
    same(t.admin("SELECT count(*) FROM undrained"), [(0,)])
    poll(lambda: not t.servers("query LIKE '%never%' AND state = 'active'"), "no orphan works on")


@test("SIGINT stops at once, whatever the clients do", subjects=PGMEND)
def stop_now(t):
    subject = t.own("int")
    clients = [t.wire(on=subject) for _ in range(6)]
    clients[0].query("BEGIN")
    clients[1].send(wire.query("SELECT pg_sleep(60), 'interrupted'"))
    clients[2].send(wire.query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"))
    clients[2].until("d")
    poll(lambda: t.servers("state = 'active' AND query LIKE '%interrupted%'"), "it runs")
    begun = time.monotonic()
    subject.process.send_signal(signal.SIGINT)
    same(subject.process.wait(10), 0, "exit status")
    check(time.monotonic() - begun < 3, "at once")
    for client in clients:
        check(client.at_end(), "closed")
    poll(lambda: not t.servers("query LIKE '%interrupted%' AND state = 'active'"), "no orphan works on")
    poll(lambda: not t.servers("application_name <> 'x' AND state = 'idle in transaction'"), "none in a transaction")


# ---- configuration --------------------------------------------------------------------------------------


def called(t, *arguments, **environment):
    """Runs pgmend to its end and returns status, stdout and stderr."""
    done = subprocess.run([t.run.options.binary, *arguments], env=clean_environment(**environment), timeout=20,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=t.directory)
    return done.returncode, done.stdout, done.stderr


BAD = """\
listen:
  port: 70000
  hots: 127.0.0.1
pool:
  mode: transactions
  size: many
  wait_timeout: 12 parsecs
users: 7
nonsense: true
workers: -1
"""


@test("a bad configuration: every error with file:line:column, status 1, nothing started", subjects=PGMEND)
def bad_configuration(t):
    path = t.directory / "bad.yaml"
    path.write_text(BAD)
    for arguments in (["--config", str(path)], ["--config", str(path), "--check"]):
        status, out, err = called(t, *arguments)
        same(status, 1, "exit status")
        words = out + err
        lines = [line for line in words.splitlines() if "bad.yaml:" in line]
        for at, key, hint in ((2, "port", "65535"), (3, "hots", "host"), (5, "mode", "transaction"), (6, "size", "many"),
                              (7, "wait_timeout", "parsecs"), (8, "users", ""), (9, "nonsense", ""), (10, "workers", "")):
            found = [line for line in lines if re.search(rf"bad\.yaml:{at}:\d+", line)]
            check(found and key in found[0] and hint in found[0], f"line {at} ({key}, {hint}) in\n{words}")
    path.write_text("listen: {port: [\n  oh: no\n")
    status, out, err = called(t, "--config", str(path))
    same(status, 1)
    check(re.search(r"bad\.yaml:\d+:\d+", out + err), out + err)
    status, out, err = called(t, "--config", str(t.directory / "absent.yaml"))
    same(status, 1)
    check("absent.yaml" in out + err, out + err)
    status, out, err = called(t, PGMEND_POOL_SIZE="lots", DATABASE_URL="postgres://a@127.0.0.1/b")
    same(status, 1)
    check("PGMEND_POOL_SIZE" in out + err and "lots" in out + err, out + err)
    same(called(t, "--no-such-option")[0] != 0, True)


@test("--check, --print-config, --print-reference and --version say what they should, and no secret", subjects=PGMEND)
def command_line(t):
    config = t.directory / "good.yaml"
    subject = t.run.pgmend("unused")
    subject.write_config()
    shutil.copy(subject.config, config)
    status, out, err = called(t, "--config", str(config), "--check")
    same(status, 0, f"--check\n{out}{err}")
    printed = called(t, "--config", str(config), "--print-config", PGMEND_POOL_WAIT_TIMEOUT="77s")
    same(printed[0], 0, printed[2])
    check("77s" in printed[1], "a variable wins over the file")
    for word in PASSWORDS.values():
        check(word not in out + err + printed[1] + printed[2], "a secret was printed")
    again = t.directory / "again.yaml"
    again.write_text(printed[1])
    status, out, err = called(t, "--print-reference")
    same(status, 0)
    for name in ("wait_timeout", "unix_socket_dir", "drain_timeout", "method"):
        check(name in out, f"{name} is not in the reference")
    status, out, err = called(t, "--version")
    same(status, 0)
    check(re.search(r"pgmend \d+\.\d+", out), out)


@test("DATABASE_URL alone is enough; hosts that are dead are passed over; framework parameters do no harm",
      subjects=PGMEND)
def database_url(t):
    for url in (
        f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{free_port()},127.0.0.1:{t.postgres.port}/app",
        f"postgresql://app:{PASSWORDS['app']}@{t.postgres.host}:{t.postgres.port}/app?sslmode=prefer&pgbouncer=true"
        "&connection_limit=5&schema=public&load_balance_hosts=disable&sslnegotiation=postgres&require_auth=scram-sha-256",
        f"host=127.0.0.1,127.0.0.1 port={free_port()},{t.postgres.port} user=app dbname=app password={PASSWORDS['app']}",
        f"postgres://app:{PASSWORDS['app']}@/app?host={t.postgres.directory}&port={t.postgres.port}",
        f"postgres://app:{PASSWORDS['app'].replace('-', '%2D')}@localhost:{t.postgres.port}/app?options=-c%20work_mem%3D6MB",
    ):
        port, http = free_port(), free_port()
        process = t.start(t.run.options.binary, stdout=subprocess.DEVNULL, stderr=open(t.directory / "url.log", "w"),
                          env=clean_environment(DATABASE_URL=url, PGMEND_LISTEN_PORT=str(port),
                                                PGMEND_HTTP_PORT=str(http), PGMEND_POOL_SIZE="3"))
        place = type("Place", (), {"host": "127.0.0.1", "port": port})

        def answers():
            check(process.poll() is None, f"{url}\n{tail(t.directory / 'url.log')}")
            with contextlib.suppress(OSError, wire.Closed):
                return t.wire(on=place, timeout=10).rows("SELECT current_database()") == [["app"]]
            return False

        poll(answers, f"it serves {url}")
        if "work_mem" in url:
            same(t.wire(on=place).rows("SHOW work_mem"), [["6MB"]])
        check(PASSWORDS["app"] not in (t.directory / "url.log").read_text(), "the password is in the log")
        process.send_signal(signal.SIGINT)
        same(process.wait(10), 0)


@test("a port in use is said so, with a status", subjects=PGMEND)
def port_in_use(t):
    status, out, err = called(t, "--config", str(t.subject.config))
    check(status not in (0, -6, -11), f"status {status}")
    check(str(t.subject.port) in out + err, out + err)


@test("the Unix socket serves like the port", subjects=PGMEND)
def unix_socket(t):
    folder = t.directory / "run"
    folder.mkdir()
    subject = t.own("unix", settings={"listen": {"unix_socket_dir": str(folder)}})
    same(t.program(POSTGRES_BIN / "psql", "-X", "-At", "-h", folder, "-p", subject.port, "-c", "SELECT 'by socket'",
                   env=t.environment()), "by socket\n")
    client = t.wire(host=str(folder), port=subject.port)
    client.send(wire.query("SELECT pg_sleep(20), 'unix'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%''unix''%'"), "it runs")
    cancel = wire.Wire(str(folder), subject.port)
    cancel.send(wire.cancel(client.pid, client.key))
    same(wire.sqlstates(client.ready()), ["57014"])
    subject.stop()
    same(list(folder.iterdir()), [], "the socket file is removed")


# ---- http and log ---------------------------------------------------------------------------------------


@test("/metrics, /live and /ready answer, and count what happened", subjects=PGMEND)
def http(t):
    def metric(name):
        status, body = t.subject.http("/metrics")
        same(status, 200)
        return sum(float(line.rsplit(" ", 1)[1]) for line in body.splitlines()
                   if re.match(re.escape(name) + r"(\{.*\})? ", line))

    before = metric("pgmend_queries_total"), metric("pgmend_client_logins_total")
    client = t.wire()
    for _ in range(10):
        client.rows("SELECT 1")
    poll(lambda: metric("pgmend_queries_total") >= before[0] + 10, "queries are counted")
    poll(lambda: metric("pgmend_client_logins_total") >= before[1] + 1, "logins are counted")
    check(metric("pgmend_clients_connected") >= 1, "connected clients")
    poll(lambda: 0 < metric("pgmend_servers") == sum(t.server_counts().values()), "server connections are counted")
    same(t.subject.http("/live")[0], 200)
    same(t.subject.http("/ready")[0], 200)
    same(t.subject.http("/nothing")[0], 404)
    for data in (b"GET", b"\x16\x03\x01", b"POST /metrics HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
                 b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection((t.subject.host, t.subject.http_port), 5) as odd:
            with contextlib.suppress(OSError):
                odd.sendall(data)
    same(t.subject.http("/live")[0], 200)


@test("the log: a start-up line, JSON where asked, no secret even at debug", subjects=PGMEND)
def log(t):
    subject = t.own("json", settings={"log": {"format": "json", "level": "debug"}})
    client = t.wire(on=subject)
    client.rows("SELECT 1")
    for password in ("wrong-word", PASSWORDS["other"]):
        with contextlib.suppress(wire.Refused):
            t.wire(on=subject, password=password)
    client.send(wire.message("@", b""))
    check(client.at_end(), "refused")
    subject.stop()
    words = subject.log.read_text()
    lines = [json.loads(line) for line in words.splitlines()]
    check(len(lines) > 3, words)
    for word in [*PASSWORDS.values(), "wrong-word"]:
        check(word not in words, "a secret is in the log")
    first = " ".join(words.splitlines()[:6])
    check(str(subject.port) in first and str(t.postgres.port) in first, f"the start-up lines name both ends: {first}")


# ---- servers that come and go ---------------------------------------------------------------------------


@test("a server restarted while everybody is idle is noticed by nobody", subjects=("pgmend",))
def restart_while_idle(t):
    clients = [t.wire() for _ in range(12)]
    for number, client in enumerate(clients):
        client.ask(wire.parse("kept", f"SELECT {number}, $1::int") + wire.SYNC)
        client.rows("SET work_mem = '5MB'")
        client.rows("SELECT 1")
    t.postgres.restart()
    for number, client in enumerate(clients):
        same(wire.rows_of(client.ask(wire.bind("", "kept", ["1"]) + wire.execute() + wire.SYNC)), [[str(number), "1"]])
        same(client.rows("SHOW work_mem"), [["5MB"]])


@test("idle backends that are terminated one by one are replaced before anybody meets them", subjects=("pgmend",))
def terminated_idle(t):
    clients = [t.wire() for _ in range(6)]
    for _ in range(30):
        pids = {row[0] for row in t.servers("usename = 'app' AND state = 'idle'")}
        t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle'")
        poll(lambda: not pids & {row[0] for row in t.servers()}, "the backends end")
        for client in clients:
            same(client.rows("SELECT 7"), [["7"]])


@test("a backend terminated in a transaction: its client is told 57P01 or healed, the others notice nothing",
      subjects=("pgmend", "direct"))
def terminated_busy(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS terminated; CREATE TABLE terminated (a int)")
    with t.neighbours(4):
        for _ in range(5):
            client = t.wire()
            client.query("BEGIN")
            client.query("INSERT INTO terminated VALUES (1)")
            pid = client.value("SELECT pg_backend_pid()")
            t.admin(f"SELECT pg_terminate_backend({pid})")
            poll(lambda: not t.servers(f"pid = {pid}"), "the backend ends")
            try:
                client.send(wire.query("COMMIT"))
                answer = client.ready()
                committed = wire.tags(answer) == ["COMMIT"]
            except wire.Closed:
                committed = False
            same(t.admin("SELECT count(*) FROM terminated"), [(1 if committed else 0,)], "what was said is true")
            t.admin("TRUNCATE terminated")


@test("a session whose state cannot move is told so when its backend dies, never given an empty one",
      subjects=("pgmend", "direct"))
def terminated_pinned(t):
    client = t.wire()
    client.rows("CREATE TEMP TABLE pinned (a int); SELECT 1")
    pid = client.value("SELECT pg_backend_pid()")
    t.admin(f"SELECT pg_terminate_backend({pid})")
    fatal(client, "57P01")


@test("it starts without a server, and serves when one comes", subjects=PGMEND)
def late_server(t):
    port = free_port()
    subject = t.own("late", url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{port}/app", only_live=True,
                    settings={"pool": {"retry_delay_max": "200ms"}})
    same(subject.http("/live")[0], 200)
    waiter = {}

    def wait():
        with contextlib.suppress(Exception):
            waiter["rows"] = t.wire(on=subject, timeout=30).rows("SELECT 1")

    gate = TcpGate((t.postgres.host, t.postgres.port), port)
    thread = threading.Thread(target=wait)
    try:
        thread.start()
        gate.open()

        def served():
            with contextlib.suppress(OSError, wire.Closed, wire.Refused, wire.Late):
                return t.wire(on=subject, timeout=5).rows("SELECT 3") == [["3"]]
            return False

        poll(served, "it serves once the server is there", 15)
        poll(lambda: subject.http("/ready")[0] == 200, "/ready says so")
    finally:
        gate.close()
        thread.join()


@contextlib.contextmanager
def silent_server():
    """The port of somebody who lets everybody in and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield listening.getsockname()[1]


def connects(subject, result):
    found = re.search(rf'pgmend_server_connects_total{{result="{result}"}} (\d+)', subject.http("/metrics")[1])
    return int(found.group(1)) if found else 0


IMPATIENT = {"upstream": {"connect_timeout": "300ms"}, "hold": {"timeout": "2s"}, "pool": {"retry_delay_max": "200ms"}}


@test("a server that accepts and stays silent is passed over for the next host of the URL", subjects=PGMEND)
def silent_first(t):
    with silent_server() as port:
        subject = t.own("silent-first", settings={**IMPATIENT, "hold": {"timeout": "60s"}}, only_live=True,
                        url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{port},127.0.0.1:{t.postgres.port}/app")
        same(t.wire(on=subject, timeout=60).rows("SELECT inet_server_port()"), [[str(t.postgres.port)]])


@test("a server that accepts and stays silent is given up after connect_timeout, and the error names it", subjects=PGMEND)
def silent_only(t):
    with silent_server() as port:
        subject = t.own("silent-only", settings=IMPATIENT, only_live=True,
                        url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{port}/app")
        try:
            answer = t.wire(on=subject, timeout=60).query("SELECT 1")
            fields = [wire.error_fields(body) for kind, body in answer if kind == "E"][0]
        except wire.Refused as error:
            fields = error.fields
        check(fields["C"][:2] in ("08", "57"), f"{fields}")
        check(f"127.0.0.1:{port}" in f"{fields['M']} {fields.get('D')}", f"{fields}")
        check(connects(subject, "timeout") > 0, "no login was given up")


@test("the limit of descriptors is raised for as many clients as may come, and the start-up line says so", subjects=PGMEND)
def descriptors(t):
    port, http = free_port(), free_port()
    path = t.directory / "start.log"
    with open(path, "w") as log:
        process = t.start("sh", "-c", 'ulimit -Sn 64 && exec "$0"', t.run.options.binary, stdout=log, stderr=log,
                          env=clean_environment(DATABASE_URL=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{t.postgres.port}/app",
                                                PGMEND_LISTEN_PORT=str(port), PGMEND_HTTP_PORT=str(http),
                                                PGMEND_POOL_SIZE="3", PGMEND_LISTEN_MAX_CLIENTS="500"))
    place = type("Place", (), {"host": "127.0.0.1", "port": port})
    poll(lambda: " started " in path.read_text() or check(process.poll() is None, tail(path)), "it starts", 30)
    clients = [t.wire(on=place) for _ in range(100)]
    for number, client in enumerate(clients):
        same(client.rows(f"SELECT {number}"), [[str(number)]])
    line = next(line for line in path.read_text().splitlines() if " started " in line)
    version = called(t, "--version")[1].split()[1]
    for word in (f"version={version}", f"listen=127.0.0.1:{port}", f"http=127.0.0.1:{http}", "pool_size=3", "max_clients=500",
                 f"servers=127.0.0.1:{t.postgres.port}"):
        check(f" {word} " in line + " ", f"{word} is not in: {line}")
    said = int(re.search(r"descriptors=(\d+)", line).group(1))
    limits = (pathlib.Path("/proc") / str(process.pid) / "limits").read_text()
    same(re.search(r"Max open files +(\d+)", limits).group(1), str(said), "the limit it says")
    check(said > 500, line)


@test("a server that cannot be reached gives an error within the limits, not a hang", subjects=PGMEND)
def no_server(t):
    subject = t.own("nobody", url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{free_port()}/app", only_live=True,
                    settings={"hold": {"timeout": "1s"}})
    begun = time.monotonic()
    try:
        answer = t.wire(on=subject, timeout=15).query("SELECT 1")
        codes = wire.sqlstates(answer)
    except wire.Refused as error:
        codes = [error.fields["C"]]
    except wire.Closed:
        codes = ["closed"]
    check(codes and codes[0][:2] in ("08", "57", "53"), f"{codes}")
    check(time.monotonic() - begun < 10, "in time")


@test("idle servers are closed after idle_timeout, and opened again when needed", subjects=PGMEND,
      settings={"pool": {"idle_timeout": "300ms"}})
def idle_timeout(t):
    clients = [t.wire(user="crowd") for _ in range(4)]
    for client in clients:
        client.send(wire.query("SELECT pg_sleep(0.1)"))
    for client in clients:
        client.ready()
    poll(lambda: not t.servers("usename = 'crowd'"), "idle servers are closed", 5)
    for client in clients:
        same(client.rows("SELECT 1"), [["1"]])


@test("a dropped and re-created role is served again", pool=3)
def role_again(t):
    t.admin("DROP ROLE IF EXISTS crowd")
    t.admin(f"CREATE ROLE crowd LOGIN PASSWORD '{PASSWORDS['crowd']}'")
    t.wire("crowd", "app").rows("SELECT 1")


@test("two workers serve and cancel like one", settings={"workers": 2}, pool=4, subjects=PGMEND)
def two_workers(t):
    with t.neighbours(8):
        clients = [t.wire() for _ in range(8)]
        for number, client in enumerate(clients):
            client.send(wire.query(f"SELECT pg_sleep(20), 'worker {number}'"))
            poll(lambda: t.servers(f"state = 'active' AND query LIKE '%worker {number}%'"), "it runs")
            # Sent over several connections, so that any worker may be the one that reads it.
            for _ in range(3):
                cancel = wire.Wire(t.host, t.port)
                cancel.send(wire.cancel(client.pid, client.key))
                check(cancel.at_end(), "closed")
            same(wire.sqlstates(client.ready()), ["57014"])
            same(client.rows("SELECT 1"), [["1"]])
