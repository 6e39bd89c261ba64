"""TLS and channel binding on both sides: who is believed, what is refused, and that files may change meanwhile."""

import contextlib
import json
import os
import socket
import ssl
import struct
import threading

import psycopg
import wire
from certificates import Authority, Middle, openssl, server_side, server_tls
from harness import PASSWORDS, Failure, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)
ASK_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
OURS = ("pgmend",)


def tls_context(authority=None, alpn=None, certificate=None, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority.certificate)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if certificate:
        context.load_cert_chain(*certificate)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def with_tls(t, authority, mode="prefer", auth=None, name="tls", **more):
    """A pgmend whose clients find TLS with a certificate of this authority."""
    certificate, key = authority.server(f"front-{name}")
    settings = {"listen": {"tls": {"mode": mode, "cert": str(certificate), "key": str(key),
                                   **{k: str(v) for k, v in more.items()}}}, "files": {"check_interval": "100ms"}}
    if auth:
        settings["auth"] = auth
    return t.own(name, settings=settings, only_live=True)


def libpq_error(t, on, **more):
    """libpq's message when it does not come in."""
    try:
        psycopg.connect(**t.conninfo(on=on, **more)).close()
    except psycopg.OperationalError as error:
        return str(error)
    raise Failure(f"it came in with {more}")


def refused_by_server(t, name, upstream, url=None, environment=None, **settings):
    """What a client hears of a pgmend that no server lets in, or that trusts none; also its log."""
    subject = t.own(name, settings={"upstream": upstream, "pool": {"wait_timeout": "500ms"},
                                    "hold": {"timeout": "500ms"}, **settings},
                    only_live=True, url=url, environment=environment)
    try:
        t.wire(on=subject, timeout=10)
        said = None
    except (wire.Refused, wire.Closed) as error:
        said = error
    subject.stop()  # its log is whole then, and it does not go on knocking while the next one is looked at
    check(said is not None, f"{name}: a client was served")
    return f"{said}\n{subject.log.read_text()}"


# ---- channel binding ------------------------------------------------------------------------------------


@test("channel binding: libpq may require it of pgmend", subjects=OURS)
def binding_from_libpq(t):
    authority = Authority(t.directory)
    subject = with_tls(t, authority)
    with contextlib.closing(psycopg.connect(**t.conninfo(on=subject, sslmode="verify-full", channel_binding="require",
                                                         sslrootcert=authority.certificate))) as client:
        same(client.execute("SELECT 1").fetchone(), (1,))
    for binding in ("prefer", "disable"):
        psycopg.connect(**t.conninfo(on=subject, sslmode="require", channel_binding=binding)).close()
    message = libpq_error(t, subject, sslmode="disable", channel_binding="require")
    check("channel binding required, but SSL not in use" in message, message)
    # What is offered is what works: PLUS over TLS alone.
    for tls, wanted in ((tls_context(), [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]), (None, [b"SCRAM-SHA-256"])):
        client = t.wire(on=subject, tls=tls, login=False)
        client.send(wire.startup({"user": "app"}))
        _, body = client.receive()
        same(body[4:].strip(b"\0").split(b"\0"), wanted)


@test("channel binding: a man in the middle with another certificate is refused by both sides", subjects=OURS)
def man_in_the_middle(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    subject = with_tls(t, authority)
    middle = Middle(t, *stranger.server("middle"), (subject.host, subject.port))
    for binding in ("require", "prefer"):
        message = libpq_error(t, middle, sslmode="require", channel_binding=binding)
        check("SCRAM channel binding check failed" in message, message)
    # It does sit in the middle: without binding it sees everything.
    with contextlib.closing(psycopg.connect(**t.conninfo(on=middle, sslmode="require", channel_binding="disable"))) as c:
        c.execute("SELECT 'seen by the middle'")
    check(b"seen by the middle" in middle.seen, "the middle reads along")
    with server_tls(t, authority):
        behind = Middle(t, *stranger.server("behind"), (t.postgres.host, t.postgres.port))
        url = f"postgres://app:{PASSWORDS['app']}@{behind.host}:{behind.port}/app?sslmode=require"
        for binding in ("require", "prefer"):
            said = refused_by_server(t, f"middle-{binding}", {"channel_binding": binding}, url=url)
            check("channel binding check failed" in said, said)


@test("channel binding: it may be required of servers", subjects=OURS)
def binding_to_servers(t):
    authority = Authority(t.directory)
    tls = {"mode": "verify-full", "ca": str(authority.certificate)}
    with server_tls(t, authority, "hostssl all legacy all md5\nhost all all all scram-sha-256\n"):
        subject = t.own("bound", settings={"upstream": {"channel_binding": "require", "tls": tls}})
        same(t.wire(on=subject).rows(ASK_TLS), [["t"]])
        url = f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{t.postgres.port}/app?sslmode=require&channel_binding=require"
        same(t.wire(on=t.own("bound-url", url=url)).rows(ASK_TLS), [["t"]])
        # A server user that only md5 knows cannot bind.
        try:
            t.wire("legacy", "app", on=subject)
            raise Failure("md5 was answered where binding is required")
        except wire.Refused as error:
            check("channel binding required but not supported" in error.fields["M"], error.fields)
    said = refused_by_server(t, "unbound", {"channel_binding": "require", "tls": {"mode": "disable"}})
    check("channel binding required, but SSL not in use" in said, said)


@test("require_auth: a server that asks for another method is not answered", subjects=OURS)
def require_auth(t):
    with server_side(t, "host all all all password\n"):
        said = refused_by_server(t, "no-password", {"require_auth": "scram-sha-256"})
        check('authentication method requirement "scram-sha-256" failed: server requested a cleartext password' in said,
              said)
        same(t.wire(on=t.own("any")).rows("SELECT 1"), [["1"]])
    with server_side(t, "host all all all trust\n"):
        said = refused_by_server(t, "no-trust", {"require_auth": "!none"})
        check("server did not complete authentication" in said, said)
    same(t.wire(on=t.own("scram", settings={"upstream": {"require_auth": "scram-sha-256"}})).rows("SELECT 1"), [["1"]])


class Asking:
    """A server without TLS that asks every login for its password in clear, and keeps what it is told."""

    def __init__(self, t):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.told = []  # of each connection, the types of the messages behind the question
        t.closing.callback(self.listening.close)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=[self.listening.accept()[0]], daemon=True).start()

    def serve(self, connection):
        said = b""
        with contextlib.suppress(OSError), connection:
            while True:
                length, code = struct.unpack(">II", connection.recv(8, socket.MSG_WAITALL))
                connection.recv(length - 8, socket.MSG_WAITALL)
                if code == wire.PROTOCOL_3_0:
                    break
                connection.sendall(b"N")
            connection.sendall(struct.pack(">cII", b"R", 8, 3))
            while part := connection.recv(4096):
                said += part
        self.told.append(said)


@test("require_auth: health checks hold to it as clients' logins do", subjects=OURS)
def require_auth_of_checks(t):
    def told(name, upstream, count):
        server = Asking(t)
        url = f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{server.port}/app"
        subject = t.own(name, url=url, settings={"upstream": upstream, "health": {"recovery_interval": "10ms"}}, only_live=True)
        poll(lambda: len(server.told) >= count, "it was asked often enough", 30)
        subject.stop()
        return b"".join(server.told), subject.log.read_text()

    said, _ = told("willing", {}, 1)
    check(PASSWORDS["app"].encode() in said, f"where anything goes it is told: {said}")
    for name, upstream in (("prefer", {"require_auth": "scram-sha-256"}),
                           ("clear", {"require_auth": "scram-sha-256", "tls": {"mode": "disable"}}),
                           ("md5", {"require_auth": "md5"}), ("none", {"require_auth": "none"})):
        said, log = told(name, upstream, 8)
        same(said, b"", name)
        check("to=up" in log and "that libpq may send" in log, f"{name}: it lives, and why nothing more is known is said: {log}")
    authority = Authority(t.directory)
    with server_tls(t, authority):
        subject = t.own("bound-checks", settings={"upstream": {"require_auth": "scram-sha-256", "tls": {"mode": "require"}}})
        poll(lambda: topology(subject)["role"] == "primary" and topology(subject)["timeline"], "checks come in, bound", 20)


def topology(subject):
    """What health checks know of the only server."""
    return json.loads(subject.http("/api/topology")[1])["topology"][0]


# ---- TLS to servers -------------------------------------------------------------------------------------


@test("TLS toward servers: a wrong authority, host, or a revoked certificate is refused; nothing is sent", subjects=OURS)
def untrusted_servers(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    with server_tls(t, authority):
        good = {"mode": "verify-full", "ca": str(authority.certificate)}
        same(t.wire(on=t.own("good", settings={"upstream": {"tls": good}})).rows(ASK_TLS), [["t"]])
        said = refused_by_server(t, "wrong-ca", {"tls": {"mode": "verify-ca", "ca": str(stranger.certificate)}})
        check("certificate refused" in said and "unable to get local issuer" in said, said)
        said = refused_by_server(t, "system", {"tls": {"mode": "verify-full", "ca": "system"}})
        check("certificate refused" in said, said)
        url = f"postgres://app:{PASSWORDS['app']}@127.0.0.2:{t.postgres.port}/app"
        with server_side_listening(t):
            said = refused_by_server(t, "wrong-host", {"tls": good}, url=url)
            check("IP address mismatch" in said, said)
            # libpq's hostaddr: where to connect, not who it has to be.
            url = (f"host=localhost hostaddr=127.0.0.1 port={t.postgres.port} user=app dbname=app "
                   f"password={PASSWORDS['app']} sslmode=verify-full sslrootcert={authority.certificate}")
            same(t.wire(on=t.own("hostaddr", url=url)).rows(ASK_TLS), [["t"]])
        revoked = authority.revocations("postgres")
        said = refused_by_server(t, "revoked", {"tls": {**good, "crl": str(revoked)}})
        check("certificate revoked" in said, said)
    with server_tls(t, stranger):
        said = refused_by_server(t, "stranger", {"tls": good})
        check("certificate refused" in said, said)


@contextlib.contextmanager
def server_side_listening(t):
    """127.0.0.2 leads to PostgreSQL as well, by a relay: listen_addresses needs a restart."""
    listening = socket.create_server(("127.0.0.2", t.postgres.port))
    threading.Thread(target=relay, args=(listening, t.postgres.port), daemon=True).start()
    try:
        yield
    finally:
        listening.close()


def relay(listening, port):
    def carry(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    with contextlib.suppress(OSError):
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()


@test("TLS toward servers: a certificate of ours is shown where the server asks for one", subjects=OURS)
def client_certificate_to_servers(t):
    authority = Authority(t.directory)
    certificate, key = authority.issue("app", "/CN=app")
    with server_tls(t, authority, "hostssl all all all cert\n", ssl_ca_file=authority.certificate):
        tls = {"mode": "verify-full", "ca": str(authority.certificate), "cert": str(certificate), "key": str(key)}
        subject = t.own("cert", settings={"upstream": {"tls": tls}})
        same(t.wire(on=subject).rows("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), [["/CN=app"]])
        said = refused_by_server(t, "no-cert", {"tls": {"mode": "require"}})
        check("connection requires a valid client certificate" in said, said)


@test("TLS toward servers: the certificate that is shown, its key and the authority are taken over without a restart",
      subjects=OURS, seconds=120)
def new_client_certificate(t):
    first, second = Authority(t.directory, "first"), Authority(t.directory, "second")
    both = t.directory / "both.crt"
    both.write_bytes(first.certificate.read_bytes() + second.certificate.read_bytes())
    both.chmod(0o644)
    mount = t.directory / "mount"
    for version, authority in (("v1", first), ("v2", second)):
        (mount / version).mkdir(parents=True)
        for name, path in zip(("tls.crt", "tls.key"), authority.issue(f"app-{version}", "/CN=app")):
            (mount / version / name).write_bytes(path.read_bytes())
            (mount / version / name).chmod(0o600)
    (mount / "v1" / "ca.crt").write_bytes(first.certificate.read_bytes())
    (mount / "v2" / "ca.crt").write_bytes(both.read_bytes())
    # As Kubernetes mounts a Secret: files are links into ..data, which is a link that is swapped.
    (mount / "..data").symlink_to("v1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (mount / name).symlink_to(f"..data/{name}")
    tls = {"mode": "verify-full", "ca": str(mount / "ca.crt"), "cert": str(mount / "tls.crt"), "key": str(mount / "tls.key")}
    # Servers are replaced all the time, so that there are logins throughout.
    settings = {"upstream": {"tls": tls}, "files": {"check_interval": "50ms"},
                "pool": {"lifetime": "200ms", "idle_timeout": "200ms"}}
    ask = "SELECT issuer_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    stop, errors, done = threading.Event(), [], []

    def work(client):
        try:
            while not stop.wait(0.005):
                done.append(client.rows(ask)[0][0])
        except Exception as error:
            errors.append(error)

    owner = "postgres" if t.postgres.owner else None
    server = first.server("postgres", owner=owner)
    with server_tls(t, first, "hostssl all all all cert\n", certificate=server, ssl_ca_file=both):
        subject = t.own("shown", settings=settings)
        threads = [threading.Thread(target=work, args=[t.wire(on=subject)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            poll(lambda: len(done) > 50, "they work", 30)
            same(set(done), {"/CN=first"})
            (mount / "..new").symlink_to("v2")
            (mount / "..new").rename(mount / "..data")
            poll(lambda: set(done[-30:]) == {"/CN=second"}, "the new certificate is shown", 60)
            # The server's own is changed as well, to one of the authority that is new.
            for old, new in zip(server, second.server("postgres", owner=owner)):
                old.write_bytes(new.read_bytes())
            t.admin("SELECT pg_reload_conf()")
            seen = t.wire(on=subject)
            since = seen.value("SELECT clock_timestamp()")
            begun = f"SELECT backend_start > '{since}' FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            poll(lambda: seen.value(begun) == "t", "a server of the new authority is believed", 60)
            # A key that is not the certificate's, as while files are written one by one: what was good stays.
            (mount / "v2" / "tls.key").write_bytes((mount / "v1" / "tls.key").read_bytes())
            poll(lambda: "file_not_taken" in subject.log.read_text(), "it is said", 30)
            count = len(done)
            poll(lambda: len(done) > count + 100, "they go on", 30)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        check(not errors, f"{len(errors)} clients: {errors[:2]}")
        same(set(done[-30:]), {"/CN=second"})


@test("TLS toward servers: sslrootcert=system believes the authorities of the operating system", subjects=OURS)
def system_authorities(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    hashed = t.directory / "hashed"
    hashed.mkdir()
    (hashed / "ours.pem").write_bytes(authority.certificate.read_bytes())
    openssl("rehash", hashed, directory=t.directory)
    url = f"postgres://app:{PASSWORDS['app']}@localhost:{t.postgres.port}/app?sslrootcert=system"
    with server_tls(t, authority):
        # OpenSSL's own words for where these are, and no others; what a wrong one says is above.
        named = t.own("file", url=url, environment={"SSL_CERT_FILE": str(authority.certificate)})
        same(t.wire(on=named).rows(ASK_TLS), [["t"]])
        poll(lambda: topology(named)["role"] == "primary" and topology(named)["timeline"], "checks believe it, too", 30)
        foldered = t.own("folder", url=url, environment={"SSL_CERT_DIR": str(hashed)}, only_live=True)
        same(t.wire(on=foldered).rows(ASK_TLS), [["t"]])
        said = refused_by_server(t, "other", {}, url=url, environment={"SSL_CERT_FILE": str(stranger.certificate)})
        check("certificate refused" in said, said)
        # `system` is verify-full: the name counts.
        url = (f"host=elsewhere.test hostaddr=127.0.0.1 port={t.postgres.port} user=app dbname=app "
               f"password={PASSWORDS['app']} sslrootcert=system")
        said = refused_by_server(t, "host", {}, url=url, environment={"SSL_CERT_FILE": str(authority.certificate)})
        check("hostname mismatch" in said, said)


@test("TLS toward servers: versions are bounded, and the name of the host is told or kept", subjects=OURS)
def server_versions(t):
    authority = Authority(t.directory)
    ask = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with server_tls(t, authority):
        for low, high, wanted in (("any", "TLSv1.2", "TLSv1.2"), ("TLSv1.3", "any", "TLSv1.3")):
            tls = {"mode": "require", "min_version": low, "max_version": high}
            same(t.wire(on=t.own(f"v-{wanted}", settings={"upstream": {"tls": tls}})).rows(ask), [[wanted]])
    names = []
    certificate, key = authority.server("sni")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _, name, __: names.append(name)
    listening = socket.create_server(("127.0.0.1", 0))
    t.closing.callback(listening.close)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with contextlib.suppress(OSError, ssl.SSLError), client:
                    client.recv(8)
                    client.sendall(b"S")
                    context.wrap_socket(client, server_side=True).close()

    threading.Thread(target=serve, daemon=True).start()
    for sni, wanted in (("true", "localhost"), ("false", None)):
        url = f"postgres://app:x@localhost:{listening.getsockname()[1]}/app?sslmode=require"
        names.clear()
        refused_by_server(t, f"sni-{sni}", {"tls": {"sni": sni}}, url=url)
        same(set(names), {wanted})


@test("TLS toward servers: PostgreSQL gives no session to come back to, which is why pgmend asks for none", subjects=OURS)
def server_sessions(t):
    with server_tls(t, Authority(t.directory)):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = tls_context(version=version)
            first = t.wire(on=t.postgres, tls=context)
            first.query("SELECT 1")
            session = first.socket.session
            again = t.wire(on=t.postgres, tls=context, session=session)
            same((session.has_ticket, again.socket.session_reused), (False, False), f"{version}")


@test("TLS toward servers: clear bytes behind the answer are refused (CVE-2021-23222)", subjects=OURS)
def injected_by_the_middle(t):
    listening = socket.create_server(("127.0.0.1", 0))
    t.closing.callback(listening.close)
    heard = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                client.recv(8)
                # A middle that answers for the server and lets the rest come later.
                client.sendall(b"S" + wire.message("R", struct.pack(">I", 0)) + wire.message("Z", b"I"))
                client.settimeout(2)
                with contextlib.suppress(OSError):
                    while data := client.recv(1 << 16):
                        heard.append(data)
                client.close()

    threading.Thread(target=serve, daemon=True).start()
    url = f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{listening.getsockname()[1]}/app?sslmode=require"
    said = refused_by_server(t, "injected", {}, url=url)
    check("tls_failed" in said, said)
    check(b"user" not in b"".join(heard), "the startup packet was sent")


# ---- TLS to clients -------------------------------------------------------------------------------------


@test("TLS toward clients: clear bytes behind the request are refused (CVE-2021-23214)", subjects=OURS)
def injected_by_the_client(t):
    authority = Authority(t.directory)
    subject = with_tls(t, authority)
    client = wire.Wire(subject.host, subject.port, timeout=5)
    client.send(wire.request(wire.SSL_REQUEST) + wire.startup({"user": "app"}) + wire.query("SELECT 'injected'"))
    answer = b""
    with contextlib.suppress(OSError):
        while data := client.socket.recv(100):
            answer += data
    check(b"S" != answer[:1], f"TLS was begun over {answer!r}")
    same(t.wire(on=subject, tls=tls_context()).rows("SELECT 1"), [["1"]])


@test("TLS toward clients: direct TLS with ALPN, and not without it", subjects=OURS)
def direct_tls(t):
    authority = Authority(t.directory)
    subject = with_tls(t, authority, "require")

    def direct(alpn):
        plain = socket.create_connection((subject.host, subject.port), 10)
        t.closing.callback(plain.close)
        client = wire.Wire.__new__(wire.Wire)
        client.timeout, client.inbox, client.at, client.parameters, client.greeting = 10, bytearray(), 0, {}, []
        client.socket = tls_context(authority, alpn).wrap_socket(plain, server_hostname="localhost")
        return client

    client = direct(["postgresql"])
    same(client.socket.selected_alpn_protocol(), "postgresql")
    client.login("app", PASSWORDS["app"], "app")
    same(client.rows("SELECT 1"), [["1"]])
    same(len(client.rows("SELECT repeat('x', 1000) FROM generate_series(1, 3000)")), 3000)
    for alpn in (None, ["http/1.1"]):
        try:
            direct(alpn).login("app", PASSWORDS["app"], "app")
            raise Failure(f"ALPN {alpn} came in")
        except (ssl.SSLError, OSError, wire.Closed):
            pass
    # libpq of PostgreSQL 15 knows no direct TLS: pgmend's own other side does.
    tls = {"mode": "verify-full", "ca": str(authority.certificate), "negotiation": "direct"}
    url = f"postgres://app:{PASSWORDS['app']}@localhost:{subject.port}/app"
    for more in ({}, {"channel_binding": "require"}):
        second = t.own("second", url=url, settings={"upstream": {"tls": tls, **more}})
        same(t.wire(on=second).rows("SELECT 2"), [["2"]])
    # Protocol 3.2 with a client, 3.0 with the server: a long key of ours cancels what runs there.
    client = t.wire(on=second, version=wire.PROTOCOL_3_2)
    check(len(client.key) > 4, "a long key")
    client.send(wire.query("SELECT pg_sleep(60), 'through both'"))
    poll(lambda: t.servers("state = 'active' AND query LIKE '%through both%'"), "it runs")
    cancel = wire.Wire(second.host, second.port)
    cancel.send(wire.cancel(client.pid, client.key))
    same(wire.sqlstates(client.ready()), ["57014"])
    second = t.own("by-url", url=f"{url}?sslnegotiation=direct&sslmode=verify-full&sslrootcert={authority.certificate}")
    same(t.wire(on=second).rows("SELECT 3"), [["3"]])


@test("TLS toward clients: versions are bounded and sessions resumed", subjects=OURS)
def client_versions(t):
    authority = Authority(t.directory)
    subject = with_tls(t, authority, min_version="TLSv1.3", name="new")
    try:
        t.wire(on=subject, tls=tls_context(version=ssl.TLSVersion.TLSv1_2), login=False)
        raise Failure("TLS 1.2 was spoken")
    except (ssl.SSLError, OSError):
        pass
    old = with_tls(t, authority, max_version="TLSv1.2", name="old")
    same(t.wire(on=old, tls=tls_context()).socket.version(), "TLSv1.2")
    for on, version in ((subject, ssl.TLSVersion.TLSv1_3), (old, ssl.TLSVersion.TLSv1_2)):
        context = tls_context(version=version)
        first = t.wire(on=on, tls=context)
        first.query("SELECT 1")
        session = first.socket.session
        again = t.wire(on=on, tls=context, session=session)
        check(again.socket.session_reused, f"{version} was resumed")
        same(again.rows("SELECT 'over what was resumed'"), [["over what was resumed"]])


@test("TLS toward clients: verify-ca and verify-full ask for certificates, revoked ones are refused", subjects=OURS)
def verified_clients(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    app, foreign = authority.issue("app", "/CN=app"), stranger.issue("app", "/CN=app")
    bad = authority.issue("bad", "/CN=other")
    crl = authority.revocations("bad")
    for mode in ("verify-ca", "verify-full"):
        subject = with_tls(t, authority, mode, ca=authority.certificate, crl=crl, name=mode)
        same(t.wire(on=subject, tls=tls_context(certificate=app)).rows("SELECT 1"), [["1"]])
        for certificate in (foreign, bad, None):
            try:
                t.wire(on=subject, tls=tls_context(certificate=certificate))
                raise Failure(f"{mode}: {certificate} came in")
            except (ssl.SSLError, OSError, wire.Closed):
                pass
        try:
            t.wire(on=subject)
            raise Failure("clear text came in")
        except wire.Refused as error:
            same(error.fields["C"], "28000")
    # verify-full: the name counts too.
    try:
        t.wire("other", "other", on=subject, tls=tls_context(certificate=app))
        raise Failure("app's certificate let other in")
    except wire.Refused as error:
        same((error.fields["C"], error.fields["M"]), ("28P01", 'password authentication failed for user "other"'))
    # Revoked while pgmend runs: the list is read again.
    authority.revocations("app")

    def comes_in():
        with contextlib.suppress(ssl.SSLError, OSError, wire.Closed):
            return t.wire(on=subject, tls=tls_context(certificate=app)) is not None

    poll(lambda: not comes_in(), "who was let in is not any more")


@test("TLS toward clients: who names a host is shown the certificate of that name, and may bind to it", subjects=OURS, seconds=90)
def named_certificates(t):
    authority = Authority(t.directory)
    own, other = authority.server("own"), authority.issue("other", "/CN=other", "DNS:other.test,DNS:*.many.test")
    tls = {"mode": "require", "cert": str(own[0]), "key": str(own[1]),
           "certificates": [{"cert": str(other[0]), "key": str(other[1])}]}
    subject = t.own("named", settings={"listen": {"tls": tls}, "files": {"check_interval": "100ms"}})

    def shown(host):
        context = tls_context(authority)
        context.check_hostname = False
        with contextlib.closing(socket.create_connection((subject.host, subject.port), 10)) as plain:
            plain.sendall(wire.request(wire.SSL_REQUEST))
            same(plain.recv(1), b"S")
            with context.wrap_socket(plain, server_hostname=host) as secured:
                return secured.getpeercert()["subject"][0][0][1], secured.getpeercert()["serialNumber"]

    for host, name in (("localhost", "own"), ("other.test", "other"), ("a.many.test", "other"), ("nobody.test", "own"), (None, "own")):
        same(shown(host)[0], name, host)
    for host in ("localhost", "other.test"):
        given = t.conninfo(on=subject, sslmode="verify-full", channel_binding="require", sslrootcert=str(authority.certificate))
        with contextlib.closing(psycopg.connect(**{**given, "host": host, "hostaddr": subject.host})) as client:
            same(client.execute("SELECT 1").fetchall(), [(1,)])
    before = shown("other.test")
    authority.issue("other", "/CN=other", "DNS:other.test")
    poll(lambda: shown("other.test")[1] != before[1], "the new certificate of that name is shown")


@test("TLS toward clients: certificates and authorities are taken over when their files change", subjects=OURS, seconds=90)
def new_certificates(t):
    first, second = Authority(t.directory, "first"), Authority(t.directory, "second")
    mount = t.directory / "mount"
    mount.mkdir()
    for name, authority in (("v1", first), ("v2", second)):
        (mount / name).mkdir()
        certificate, key = authority.server(f"server-{name}")
        (mount / name / "tls.crt").write_bytes(certificate.read_bytes())
        (mount / name / "tls.key").write_bytes(key.read_bytes())
        (mount / name / "ca.crt").write_bytes(authority.certificate.read_bytes())
    # As Kubernetes mounts a Secret: files are links into ..data, which is a link that is swapped.
    (mount / "..data").symlink_to("v1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (mount / name).symlink_to(f"..data/{name}")
    tls = {"mode": "require", "cert": str(mount / "tls.crt"), "key": str(mount / "tls.key"), "ca": str(mount / "ca.crt")}
    subject = t.own("mounted", settings={"listen": {"tls": tls}, "files": {"check_interval": "100ms"}})
    old = t.wire(on=subject, tls=tls_context(first))
    (mount / "..new").symlink_to("v2")
    os.rename(mount / "..new", mount / "..data")

    def speaks(authority):
        with contextlib.suppress(ssl.SSLError, OSError):
            return t.wire(on=subject, tls=tls_context(authority), login=False) is not None

    poll(lambda: speaks(second), "the new certificate is shown")
    check(not speaks(first), "the old one no more")
    same(old.rows("SELECT 'still here'"), [["still here"]])
    # A client of the new authority is believed, one of the old is not.
    t.wire(on=subject, tls=tls_context(second, certificate=second.issue("app", "/CN=app")))
    try:
        t.wire(on=subject, tls=tls_context(second, certificate=first.issue("app", "/CN=app")))
        raise Failure("a client of the old authority came in")
    except (ssl.SSLError, OSError, wire.Closed):
        pass
    # What is no certificate is not taken, and said.
    (mount / "v2" / "tls.crt").write_text("rubbish")
    poll(lambda: "file_not_taken" in subject.log.read_text(), "it is said")
    check(speaks(second), "the last good one stays")
    same(t.wire(on=subject, tls=tls_context(second)).rows("SELECT 1"), [["1"]])


@test("TLS toward servers: a new authority is taken over without a restart", subjects=OURS)
def new_authority(t):
    first, second = Authority(t.directory, "first"), Authority(t.directory, "second")
    root = t.directory / "root.crt"
    root.write_bytes(first.certificate.read_bytes())
    settings = {"upstream": {"tls": {"mode": "verify-full", "ca": str(root)}}, "files": {"check_interval": "100ms"},
                "pool": {"wait_timeout": "10s"}}
    with server_tls(t, first):
        subject = t.own("rooted", settings=settings)
        client = t.wire(on=subject)
        same(client.rows(ASK_TLS), [["t"]])
    with server_tls(t, second):
        root.write_bytes(first.certificate.read_bytes() + second.certificate.read_bytes())
        t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")

        def served():
            with contextlib.suppress(AssertionError, wire.Refused, wire.Closed):
                return t.wire(on=subject).rows(ASK_TLS) == [["t"]]

        poll(served, "the server of the new authority is believed", 20)


@test("TLS toward clients: a thousand idle clients cost at most 20 kB each", subjects=OURS, slow=True, seconds=120)
def idle_memory(t):
    authority = Authority(t.directory)
    subject = with_tls(t, authority)

    def resident():
        text = open(f"/proc/{subject.process.pid}/smaps_rollup").read()
        return int(next(line for line in text.splitlines() if line.startswith("Rss")).split()[1]) * 1024

    context = tls_context()
    for _ in range(50):
        t.wire(on=subject, tls=context).query("SELECT 1")
    before = resident()
    clients = [t.wire(on=subject, tls=context) for _ in range(1000)]
    for client in clients:
        client.query("SELECT 1")
    each = (resident() - before) / 1000
    check(each <= 20 * 1024, f"{each / 1024:.1f} kB for an idle client")
    same(clients[500].rows("SELECT 1"), [["1"]])
