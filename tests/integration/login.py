"""Who may come in, and how it is said: SCRAM, md5, trust, TLS on both sides, protocol versions, login errors."""

import contextlib
import pathlib
import re
import ssl
import struct
import threading
import time

import psycopg
import wire
from harness import PASSWORDS, Failure, check, make_certificate, poll, same
from registry import register

TESTS = []
test = register(TESTS)


def refused(t, user="app", password="wrong", database="app", **options):
    """The fields of the error that ends a login; fails when the login works."""
    try:
        t.wire(user, database, password=password, **options)
    except wire.Refused as error:
        return {key: error.fields.get(key) for key in "SVCM"}
    raise Failure(f"{user} came in to {database}")


@test("login: a wrong password is 28P01 with PostgreSQL's words")
def wrong_password(t):
    same(refused(t), refused(t, direct=True))
    same(refused(t)["C"], "28P01")
    same(t.wire().rows("SELECT 1"), [["1"]])


@test("login: the time of a refusal does not tell whether the user exists", subjects=("pgmend",))
def equal_times(t):
    # What tells does so each time; a machine that does other work meanwhile does not slow down the same ones again and again.
    most_rounds, names = 5, 30
    known = [f"known{i}" for i in range(most_rounds * names)]
    secrets = t.directory / "two"
    secrets.write_text("first\nsecond\n")
    users = [{"name": name, "password": "secret"} if i % 2 else {"name": name, "password_file": str(secrets)}
             for i, name in enumerate(known)]

    def scram(client):
        client.send(wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", 30) + b"n,,n=,r=clientnonceclientnonce"))
        nonce = client.receive()[1][4:].decode().split(",")[0][2:]
        client.send(wire.message("p", f"c=biws,r={nonce},p={'A' * 43}=".encode()))

    def middle_times(subject, names, answer):
        took = {True: [], False: []}
        asked = {True: set(), False: set()}
        # Each name once: what is derived at the first login of a user would be seen.
        for name in names:
            for exists in (True, False):
                client = t.wire(login=False, on=subject)
                client.send(wire.startup({"user": name if exists else f"no{name}", "database": "app"}))
                kind, body = client.receive()
                asked[exists].add((kind, body[:4]))
                begun = time.monotonic()
                answer(client)
                same(wire.error_fields(client.receive()[1])["C"], "28P01")
                took[exists].append(time.monotonic() - begun)
                client.drop()
        same(asked[True], asked[False], "the same question")
        return [sorted(took[exists])[len(names) // 2] for exists in (True, False)]

    for method, answer in (("scram-sha-256", scram), ("md5", lambda client: client.send(wire.message("p", b"md5" + b"0" * 32 + b"\0"))),
                           ("password", lambda client: client.send(wire.message("p", b"wrong\0")))):
        subject = t.own(method, settings={"users": users, "auth": {"method": method, "failure_burst": 100_000}})
        rounds = []
        while not rounds or max(rounds[-1]) >= 1.25 * min(rounds[-1]) + 0.0003:
            check(len(rounds) < most_rounds, f"{method}: who exists and who does not, {rounds}")
            rounds.append(middle_times(subject, known[len(rounds) * names:][:names], answer))


@test("login: an unknown user looks exactly like a wrong password")
def unknown_user(t):
    known, unknown = [], []
    for user, got in (("app", known), ("nobody_here", unknown)):
        for _ in range(2):
            client = t.wire(login=False)
            client.send(wire.startup({"user": user, "database": "app"}))
            first = b"n,,n=,r=clientnonceclientnonce"
            got.append(client.receive())
            client.send(wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", len(first)) + first))
            kind, body = client.receive()
            words = body[4:].decode().split(",")
            got.append((kind, words[1:]))
            nonce = words[0][2:]
            client.send(wire.message("p", f"c=biws,r={nonce},p={'A' * 43}=".encode()))
            kind, body = client.receive()
            got.append((kind, wire.error_fields(body)["C"], wire.error_fields(body)["M"].replace(user, "USER")))
            check(client.at_end(), "closed after it")
    same(known[0], unknown[0], "the same methods are offered")
    same([len(part) for part in known[1][1]], [len(part) for part in unknown[1][1]], "salts of equal length")
    same(unknown[1][1], unknown[4][1], "an unknown user's salt is the same every time, like a known one's")
    same(known[2], unknown[2], "the same error")
    same(refused(t, "nobody_here"), refused(t, "nobody_here", direct=True))


@test("login: an unknown database is 3D000 for who may come in, a password error for who may not")
def unknown_database(t):
    same(refused(t, password=PASSWORDS["app"], database="nowhere"),
         refused(t, password=PASSWORDS["app"], database="nowhere", direct=True))
    same(refused(t, database="nowhere"), refused(t, database="nowhere", direct=True))
    same(t.wire().rows("SELECT 1"), [["1"]])


@test("login: a user that only the proxy knows gets the server's refusal, FATAL and soon",
      settings={"users": [{"name": "ghost", "password": "boo"}]}, subjects=("pgmend",))
def ghost(t):
    fields = refused(t, "ghost", "boo")
    same(fields["V"], "FATAL")
    check(fields["C"] in ("28P01", "28000"), f"{fields}")
    same(t.wire().rows("SELECT 1"), [["1"]])


@test("login: other users and databases of the server work", subjects=("pgmend", "direct", "pgbouncer"))
def wildcard(t):
    for user in ("app", "other", "legacy", "crowd"):
        for database in ("app", "other", "postgres"):
            client = t.wire(user, database)
            same(client.rows("SELECT current_user, current_database()"), [[user, database]])
            client.close()


@test("login: a role that may not log in or a database that is closed says so as PostgreSQL does", pool=2)
def server_refuses(t):
    t.admin("ALTER ROLE crowd NOLOGIN")
    try:
        same(refused(t, "crowd", PASSWORDS["crowd"]), refused(t, "crowd", PASSWORDS["crowd"], direct=True))
    finally:
        t.admin("ALTER ROLE crowd LOGIN")
    t.admin("ALTER DATABASE other ALLOW_CONNECTIONS false", "postgres")
    try:
        wanted = refused(t, "legacy", PASSWORDS["legacy"], "other", direct=True)
        same(refused(t, "legacy", PASSWORDS["legacy"], "other"), wanted)
    finally:
        t.admin("ALTER DATABASE other ALLOW_CONNECTIONS true", "postgres")
    poll(lambda: t.wire("legacy", "other").rows("SELECT 1") == [["1"]], "it works again")


for method, code in (("trust", 0), ("password", 3), ("md5", 5), ("scram-sha-256", 10)):

    @test(f"login: auth.method {method} asks for what it says", settings={"auth": {"method": method}},
          subjects=("pgmend",))
    def methods(t, method=method, code=code):
        for user in ("app", "other", "legacy"):
            client = t.wire(user, "app")
            same(struct.unpack_from(">I", client.greeting[0][1])[0], code)
            same(client.rows("SELECT current_user"), [[user]])
            client.close()
            if method != "trust":
                same(refused(t, user)["C"], "28P01")
        if method == "trust":
            t.wire("app", "app", password="anything").close()
        else:
            same(refused(t, "nobody_here")["C"], "28P01")
        same(t.psql("-c", "SELECT 1"), "1\n")


@test("login: a server with md5 and a server with SCRAM are both logged in to")
def server_methods(t):
    for user in ("legacy", "app"):
        client = t.wire(user, "app")
        same(client.rows("SELECT current_user"), [[user]])


# ---- protocol versions ----------------------------------------------------------------------------------


@test("login: protocol 3.0 has a key of four bytes and no negotiation")
def protocol_30(t):
    client = t.wire()
    check("v" not in wire.kinds(client.greeting), "nothing to negotiate")
    same(len(client.key), 4)
    check(client.pid > 0, "a pid")


@test("login: protocol 3.2 is spoken, with longer cancel keys that work", subjects=("pgmend",))
def protocol_32(t):
    client = t.wire(version=wire.PROTOCOL_3_2)
    check("v" not in wire.kinds(client.greeting), "3.2 is supported")
    check(8 <= len(client.key) <= 256, f"a key of {len(client.key)} bytes")
    client.send(wire.query("SELECT pg_sleep(20), 'three two'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%three two%'"), "it runs")
    for key in (client.key[:4], client.key[:-1], client.key + b"x", bytes(len(client.key))):
        bad = wire.Wire(t.host, t.port, timeout=5)
        bad.send(wire.cancel(client.pid, key))
        check(bad.at_end(), "closed")
    check(t.servers("state = 'active' AND query LIKE '%three two%'"), "wrong keys do nothing")
    good = wire.Wire(t.host, t.port, timeout=5)
    good.send(wire.cancel(client.pid, client.key))
    check(good.at_end(), "closed")
    same(wire.sqlstates(client.ready()), ["57014"])


@test("login: later minor versions and _pq_ options are negotiated down")
def negotiation(t):
    newest = 0 if t.direct else 2
    for version, options in ((196608 + 9999, {}), (196611, {}), (196608, {"_pq_.unknown": "1", "_pq_.more": "x"}),
                             (196608 + 7, {"_pq_.unknown": "1"})):
        client = t.wire(parameters=options, version=version)
        body = next(body for kind, body in client.greeting if kind == "v")
        same(struct.unpack_from(">I", body)[0] & 0xFFFF, 0 if version == 196608 and not t.direct else newest,
             f"the minor version answered to {version}")
        count = struct.unpack_from(">I", body, 4)[0]
        names = [part.decode() for part in body[8:].split(b"\0") if part]
        same((count, sorted(names)), (len(options), sorted(options)))
        same(client.rows("SELECT 1"), [["1"]])


# ---- TLS ------------------------------------------------------------------------------------------------


def tls_client():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_subject(t, mode):
    certificate, key = make_certificate(t.run.directory, "proxy")
    return certificate, t.own(f"tls-{mode}", settings={"listen": {"tls": {"mode": mode, "cert": str(certificate),
                                                                        "key": str(key)}}})


@test("TLS toward clients: prefer takes both, and drivers verify the certificate", subjects=("pgmend",))
def tls_prefer(t):
    certificate, subject = tls_subject(t, "prefer")
    client = t.wire(on=subject, tls=tls_client())
    same(client.rows("SELECT 1"), [["1"]])
    check(client.socket.version() in ("TLSv1.2", "TLSv1.3"), f"{client.socket.version()}")
    same(t.wire(on=subject).rows("SELECT 1"), [["1"]])
    for mode in ("disable", "prefer", "require", "verify-ca", "verify-full"):
        with contextlib.closing(psycopg.connect(**t.conninfo(on=subject, sslmode=mode, sslrootcert=certificate))) as c:
            same(c.execute("SELECT 2").fetchone(), (2,))
            same(c.pgconn.ssl_in_use, mode != "disable")
    rows = client.rows("SELECT i, repeat('x', 2000) FROM generate_series(1, 5000) i")
    same([int(number) for number, _ in rows], list(range(1, 5001)))
    same(len(wire.rows_of(client.ask(wire.run("SELECT length($1)", ["y" * 3_000_000]) + wire.SYNC))), 1)
    data = (wire.run("SELECT $1::text", ["z" * 1000]) + wire.SYNC) * 300
    client.send(data)
    same(wire.kinds(client.ready(300)).count("D"), 300)
    client.send(wire.query("SELECT pg_sleep(20), 'tls'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%''tls''%'"), "it runs")
    cancel = wire.Wire(subject.host, subject.port, tls=tls_client())
    cancel.send(wire.cancel(client.pid, client.key))
    same(wire.sqlstates(client.ready()), ["57014"])


@test("TLS toward clients: require refuses who does not ask", subjects=("pgmend",))
def tls_require(t):
    _, subject = tls_subject(t, "require")
    same(t.wire(on=subject, tls=tls_client()).rows("SELECT 1"), [["1"]])
    fields = refused(t, password=PASSWORDS["app"], on=subject)
    same((fields["V"], fields["C"]), ("FATAL", "28000"))


@test("TLS toward clients: handshakes broken off, garbage and old versions harm nobody", subjects=("pgmend",))
def tls_broken(t):
    _, subject = tls_subject(t, "prefer")
    for data in (b"", b"\x16", b"\x16\x03\x01\x40\x00" + b"x" * 300, b"GET / HTTP/1.0\r\n\r\n", bytes(600)):
        for way in ("drop", "reset"):
            client = t.wire(on=subject, login=False)
            client.send(wire.request(wire.SSL_REQUEST))
            same(client.socket.recv(1), b"S")
            client.send(data)
            getattr(client, way)()
    old = tls_client()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    try:
        t.wire(on=subject, login=False, tls=old)
        raise Failure("TLS 1.1 was accepted")
    except (ssl.SSLError, OSError):
        pass
    client = t.wire(on=subject, tls=tls_client())
    client.query("BEGIN")
    client.socket.close()
    same(t.wire(on=subject, tls=tls_client()).rows("SELECT 1"), [["1"]])


@contextlib.contextmanager
def server_tls(t):
    """PostgreSQL with TLS on for the time of the block; gives the certificate."""
    certificate, key = make_certificate(t.run.directory, "server", "postgres" if t.postgres.owner else None)
    for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
        t.admin(f"ALTER SYSTEM SET {name} = '{value}'")
    t.admin("SELECT pg_reload_conf()")
    poll(lambda: t.admin("SHOW ssl") == [("on",)], "TLS is on")
    try:
        yield certificate
    finally:
        t.admin("ALTER SYSTEM RESET ALL")
        t.admin("SELECT pg_reload_conf()")
        poll(lambda: t.admin("SHOW ssl") == [("off",)], "TLS is off")


@test("TLS toward servers: prefer takes what is there", subjects=("pgmend",))
def server_tls_prefer(t):
    ask = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    same(t.wire(on=t.own("plain")).rows(ask), [["f"]])
    with server_tls(t) as certificate:
        settings = {"upstream": {"tls": {"mode": "prefer"}}}
        same(t.wire(on=t.own("prefer", settings=settings)).rows(ask), [["t"]])
        for mode in ("require", "verify-ca", "verify-full"):
            settings = {"upstream": {"tls": {"mode": mode, "ca": str(certificate)}}}
            subject = t.own(mode, settings=settings)
            client = t.wire(on=subject)
            same(client.rows(ask), [["t"]])
            same(len(client.rows("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")), 5000)
        url = f"postgres://app:{PASSWORDS['app']}@localhost:{t.postgres.port}/app?sslmode=verify-full&sslrootcert={certificate}"
        same(t.wire(on=t.own("url", url=url)).rows(ask), [["t"]])
        settings = {"upstream": {"tls": {"mode": "disable"}}}
        same(t.wire(on=t.own("disable", settings=settings)).rows(ask), [["f"]])


@test("TLS toward servers: require and verify never fall back", subjects=("pgmend",))
def server_tls_require(t):
    def turned_away(name, settings):
        subject = t.own(name, settings=settings, only_live=True)
        try:
            client = t.wire(on=subject, timeout=10)
            answer = client.query("SELECT 1")
        except (wire.Refused, wire.Closed, wire.Late):
            return
        check(wire.sqlstates(answer), "a query was answered")

    wait = {"wait_timeout": "1s"}
    turned_away("required", {"upstream": {"tls": {"mode": "require"}}, "pool": wait})
    with server_tls(t):
        other, _ = make_certificate(t.run.directory, "stranger")
        for mode in ("verify-ca", "verify-full"):
            turned_away(mode, {"upstream": {"tls": {"mode": mode, "ca": str(other)}}, "pool": wait})


@test("login: the kernel is asked to notice a client that is cut off", subjects=("pgmend",))
def kept_alive(t):
    client = t.wire()
    ours = "{:04X}".format(client.socket.getsockname()[1])

    def timer():
        """Which timer the kernel runs for pgmend's end of the connection: 2 is the one of keepalive."""
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, _, running, *_ = line.split()
            if local.endswith(f":{t.port:04X}") and remote.endswith(f":{ours}"):
                return running.split(":")[0]
        raise Failure("the connection is gone")

    poll(lambda: timer() == "02", "keepalive is on", 30)


@test("login: hundreds of wrong passwords disturb nobody")
def many_wrong(t):
    failures = []

    def guess():
        for _ in range(20):
            try:
                refused(t, "app", "guess")
            except Exception as error:
                failures.append(error)

    with t.neighbours(3):
        threads = [threading.Thread(target=guess) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    check(not failures, f"{failures[:2]}")
    if t.subject.log:
        check(not re.search("guess|" + re.escape(PASSWORDS["app"]), t.subject.log.read_text()), "passwords in the log")
