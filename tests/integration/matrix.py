"""Every client, by every method, without TLS, with it, and directly, to a server that asks by every method."""

import asyncio
import contextlib
import itertools
import json
import pathlib
import re
import shutil
import ssl
import subprocess

import asyncpg
import psycopg
from certificates import Authority, server_side
from harness import HERE, POSTGRES_BIN, Failure, check, clean_environment, same
from node_clients import installed
from registry import register

TESTS = []
test = register(TESTS)
PROGRAMS = HERE / "matrix_clients"
JDBC = pathlib.Path("/usr/share/java/postgresql.jar")
WORD = "s3cret of the m@trix"
METHODS = ("trust", "password", "md5", "scram-sha-256", "cert")
TRANSPORTS = ("clear", "tls", "direct")
ASKS = ("password", "md5", "scram-sha-256")  # who is asked for a password can give a wrong one


def user_of(method):
    return "m_" + method.split("-")[0]


class Attempt:
    """One login: of a client, by a method, over a transport; with a wrong password or the right one."""

    def __init__(self, place, authority, certificates, method, transport, wrong):
        self.place, self.authority, self.method, self.transport, self.wrong = place, authority, method, transport, wrong
        self.user, self.password = user_of(method), "wrong" if wrong else WORD
        self.certificate = certificates[method] if method == "cert" else None
        self.name = f"{method}/{transport}{'/wrong' if wrong else ''}"
        self.wanted = f'28P01 password authentication failed for user "{self.user}"' if wrong else "ok"

    def libpq(self):
        words = {"host": "localhost", "hostaddr": "127.0.0.1", "port": self.place.port, "user": self.user,
                 "dbname": "app", "password": self.password, "sslmode": "disable", "connect_timeout": 20}
        if self.transport == "tls":
            words |= {"sslmode": "verify-full", "sslrootcert": self.authority.certificate}
            if self.method == "scram-sha-256":
                words["channel_binding"] = "require"
        if self.certificate:
            words |= {"sslcert": self.certificate[0], "sslkey": self.certificate[1]}
        return words

    def context(self):
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if self.transport == "direct":
            context.set_alpn_protocols(["postgresql"])
        if self.certificate:
            context.load_cert_chain(*self.certificate)
        return context


def by_psql(t, attempts):
    for each in attempts:
        if each.transport == "direct":
            continue
        words = " ".join(f"{key}='{value}'" for key, value in each.libpq().items())
        done = subprocess.run([POSTGRES_BIN / "psql", "-X", "-At", "-c", "SELECT 40 + 2", words],
                              env=clean_environment(), capture_output=True, text=True)
        if done.stdout.strip() == "42":
            yield each, "ok"
        else:
            # psql says no SQLSTATE of a login; its words stand for it.
            yield each, "28P01 " + done.stderr.strip().splitlines()[-1].split("FATAL:  ")[-1]


def by_psycopg(t, attempts):
    for each in attempts:
        if each.transport == "direct":
            continue
        try:
            with contextlib.closing(psycopg.connect(**each.libpq())) as client:
                yield each, "ok" if client.execute("SELECT 40 + 2").fetchone() == (42,) else "wrong rows"
        except psycopg.OperationalError as error:
            yield each, "28P01 " + str(error).split("FATAL:  ")[-1].strip()


def by_asyncpg(t, attempts):
    async def one(each):
        try:
            client = await asyncpg.connect(host="localhost", port=each.place.port, user=each.user, database="app",
                                           password=each.password, direct_tls=each.transport == "direct",
                                           ssl=False if each.transport == "clear" else each.context(), timeout=20)
        except asyncpg.PostgresError as error:
            return f"{error.sqlstate} {error}"
        answer = await client.fetchval("SELECT 40 + 2")
        await client.close()
        return "ok" if answer == 42 else "wrong rows"

    for each in attempts:
        yield each, asyncio.run(one(each))


def spoken(attempts, output):
    """What a program said of each attempt, by name."""
    said = dict(line.split("\t", 1) for line in output.splitlines() if "\t" in line)
    for each in attempts:
        yield each, said.get(each.name, f"nothing\n{output}")


def by_node(t, attempts):
    folder = installed()
    shutil.copy(PROGRAMS / "login.js", folder / "login.js")
    wanted = []
    for each in attempts:
        one = {"name": each.name, "host": "localhost", "port": each.place.port, "user": each.user, "database": "app",
               "password": each.password}
        if each.transport != "clear":
            cert, key = map(str, each.certificate or ("", ""))
            one["tls"] = {"ca": str(each.authority.certificate), "cert": cert, "key": key,
                          "negotiation": "direct" if each.transport == "direct" else "postgres"}
        wanted.append(one)
    yield from spoken(attempts, t.program("node", folder / "login.js", json.dumps(wanted), env=clean_environment()))


def by_jdbc(t, attempts):
    attempts = [each for each in attempts if each.transport != "direct"]
    lines = []
    for each in attempts:
        words = {"place": f"localhost:{each.place.port}/app", "user": each.user, "password": each.password,
                 "sslmode": "disable", "loginTimeout": "20"}
        if each.transport == "tls":
            words |= {"sslmode": "verify-full", "sslrootcert": each.authority.certificate}
        if each.certificate:
            # pgjdbc reads keys as DER.
            der = each.certificate[1].with_suffix(".pk8")
            subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", each.certificate[1],
                            "-out", der], check=True)
            words |= {"sslcert": each.certificate[0], "sslkey": der}
        lines.append("\t".join([each.name, *(f"{key}={value}" for key, value in words.items())]))
    (t.directory / "attempts").write_text("\n".join(lines) + "\n")
    with open(t.directory / "attempts") as stdin:
        output = t.program("java", "-cp", f"{JDBC}:/usr/share/java/scram-client.jar", PROGRAMS / "Login.java",
                           env=clean_environment(), stdin=stdin)
    for each, said in spoken(attempts, output):
        yield each, said.replace("FATAL: ", "")


def by_pgx(t, attempts):
    attempts = [each for each in attempts if each.transport != "direct"]
    program = t.directory / "login"
    t.program("go", "build", "-o", program, PROGRAMS / "login.go", timeout=300,
              env=clean_environment(GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="-p=2",
                                    GOCACHE=str(pathlib.Path.home() / ".cache" / "go-build")))
    lines = []
    for each in attempts:
        words = {key: value for key, value in each.libpq().items() if key not in ("hostaddr", "channel_binding")}
        lines.append(each.name + "\t" + " ".join(f"{key}='{value}'" for key, value in words.items()))
    (t.directory / "attempts").write_text("\n".join(lines) + "\n")
    with open(t.directory / "attempts") as stdin:
        output = t.program(program, env=clean_environment(), stdin=stdin)
    yield from spoken(attempts, output)


CLIENTS = {"psql": by_psql, "psycopg": by_psycopg, "asyncpg": by_asyncpg, "node-postgres": by_node, "pgjdbc": by_jdbc,
           "pgx": by_pgx}


@contextlib.contextmanager
def server_asking(t, method, authority):
    """PostgreSQL with the matrix's users, who come in by one method; what pgmend needs to be let in."""
    users = [user_of(each) for each in METHODS]
    t.admin(f"SET password_encryption = '{'md5' if method == 'md5' else 'scram-sha-256'}'; "
            + "; ".join(f"CREATE ROLE {user} LOGIN PASSWORD '{WORD}'" for user in users))
    idents = t.postgres.data / "pg_ident.conf"
    kept = idents.read_text()
    idents.write_text("".join(f"any pgmend {user}\n" for user in users) + "any pgmend app\n")
    certificate, key = authority.server(f"postgres-{method}", owner="postgres" if t.postgres.owner else None)
    rule = "cert map=any" if method == "cert" else method
    rules = f"hostssl all all all {rule}\n" + ("" if method == "cert" else f"hostnossl all all all {rule}\n")
    try:
        with server_side(t, rules, ssl_cert_file=certificate, ssl_key_file=key, ssl_ca_file=authority.certificate,
                         ssl="on", log_connections="on"):
            own = authority.issue(f"pgmend-{method}", "/CN=pgmend")
            tls = {"mode": "verify-full", "ca": str(authority.certificate), "cert": str(own[0]), "key": str(own[1])}
            if method == "scram-sha-256":
                yield {"tls": tls, "channel_binding": "require"}
            elif method == "cert":
                yield {"tls": tls, "require_auth": "none"}
            else:
                yield {"tls": tls if method == "password" else {"mode": "disable"}}
    finally:
        idents.write_text(kept)
        t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'm\\_%'")
        t.admin("; ".join(f"DROP ROLE {user}" for user in users))


def attempts_at(subject, authority, certificates):
    for method, transport, wrong in itertools.product(METHODS, TRANSPORTS, (False, True)):
        if (method == "cert" and transport == "clear") or (wrong and method not in ASKS):
            continue
        yield Attempt(subject, authority, certificates, method, transport, wrong)


for library, asked in itertools.product(CLIENTS, METHODS):

    @test(f"matrix: {library} by every method, to a server that asks by {asked}", subjects=("pgmend",), seconds=400,
          slow=library in ("pgx", "pgjdbc") or asked in ("trust", "password"))
    def matrix(t, library=library, asked=asked):
        authority = Authority(t.directory)
        certificates = {"cert": authority.issue("client", f"/CN={user_of('cert')}")}
        front = authority.server("front")
        rules = [f"{'hostssl' if method == 'cert' else 'host'} all {user_of(method)} all {method}" for method in METHODS]
        begins = t.postgres.log_size()
        with server_asking(t, asked, authority) as upstream:
            settings = {
                "listen": {"tls": {"cert": str(front[0]), "key": str(front[1]), "ca": str(authority.certificate)}},
                "users": [{"name": user_of(method), "password": WORD} for method in METHODS],
                "auth": {"hba": [*rules, "host all app all scram-sha-256"]},
                "upstream": upstream}
            url = f"postgres://app:s3cret-of-app@localhost:{t.postgres.port}/app"
            subject = t.own("matrix", settings=settings, url=url, only_live=True)
            attempts, seen = list(attempts_at(subject, authority, certificates)), []
            for attempt, said in CLIENTS[library](t, attempts):
                seen.append(attempt)
                if said != attempt.wanted:
                    raise Failure(f"{attempt.name}: {said}, wanted {attempt.wanted}")
            ways = TRANSPORTS if library in ("asyncpg", "node-postgres") else ("clear", "tls")
            same(sorted(each.name for each in seen), sorted(each.name for each in attempts if each.transport in ways))
            # trust, three that ask with a right and a wrong password, cert over TLS alone.
            same(len(seen), len(ways) * 7 + len(ways) - 1, "no cell is missing")
            ways = re.findall(r"connection authenticated: .* method=(\S+)", t.postgres.log_since(begins))
            same(set(ways), {asked} - {"trust"}, "so the server asked")
