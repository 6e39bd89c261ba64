"""What a connection string means to libpq it means to pgmend: password and service files, and all of sslmode."""

import psycopg
from certificates import Authority, server_side, server_tls
from harness import PASSWORDS, check, same
from registry import register
from secure import ASK_TLS, OURS, refused_by_server, with_tls

TESTS = []
test = register(TESTS)
# Clients are asked for nothing, and no secret is in the policy: what logs in to the server comes from elsewhere.
NO_SECRETS = {"auth": {"method": "trust"}, "users": [{"name": "somebody", "password": "else"}]}


def private(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


@test("a password file is found where libpq would find it, and only where nobody else may read it", subjects=OURS)
def password_files(t):
    url = f"postgres://app@127.0.0.1:{t.postgres.port}/app"
    home = t.directory / "home"
    home.mkdir()
    words = (f"# of ours\n127.0.0.1:1:app:app:wrong\n*:{t.postgres.port}:other:app:wrong\n"
             f"127.0.0.1:{t.postgres.port}:*:app:{PASSWORDS['app']}\n*:*:*:*:wrong\n")
    private(home / ".pgpass", words)
    named = private(t.directory / "named", words)
    nothing = private(t.directory / "nothing", "")
    elsewhere = {"HOME": str(nothing)}  # where no ~/.pgpass can be
    subjects = {
        "home": t.own("home", url=url, settings=NO_SECRETS, environment={"HOME": str(home)}),
        "variable": t.own("variable", url=url, settings=NO_SECRETS,
                          environment={**elsewhere, "PGPASSFILE": str(named)}),
        "setting": t.own("setting", url=url, settings={**NO_SECRETS, "upstream": {"passfile": str(named)}},
                         environment=elsewhere),
        "string": t.own("string", url=f"{url}?passfile={named}", settings=NO_SECRETS, environment=elsewhere),
    }
    for name, subject in subjects.items():
        same((name, t.wire(on=subject).rows("SELECT current_user")), (name, [["app"]]))
    open_to_all = private(t.directory / "open", words, 0o644)
    said = refused_by_server(t, "open", {"passfile": str(open_to_all)}, url=url, environment=elsewhere,
                             **NO_SECRETS)
    check("others may read it" in said, said)
    for subject in subjects.values():
        check(PASSWORDS["app"] not in subject.log.read_text(), "the password is in the log")


@test("a service names host, port, user and the rest, the string goes before it", subjects=OURS)
def services(t):
    file = private(t.directory / "services", f"[other]\nhost=192.0.2.1\n[mine]\nhost=127.0.0.1\nport={t.postgres.port}\n"
                   f"user=app\npassword={PASSWORDS['app']}\ndbname=postgres\n")
    subject = t.own("service", url="service=mine dbname=app", settings=NO_SECRETS,
                    environment={"PGSERVICEFILE": str(file)})
    same(t.wire(on=subject).rows("SELECT current_user, current_database()"), [["app", "app"]])


@test("sslmode=allow: in clear where the server lets us, by TLS where it insists; from clients either", subjects=OURS)
def allow(t):
    authority = Authority(t.directory)
    url = f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{t.postgres.port}/app"
    method = "all all all scram-sha-256\n"
    for rules, allowed, preferred in ((f"host {method}", "f", "t"), (f"hostssl {method}", "t", "t"),
                                      (f"hostnossl {method}", "f", "f")):
        with server_tls(t, authority, rules):
            for mode, encrypted in (("allow", allowed), ("prefer", preferred)):
                with t.run.started(t.run.pgmend(f"by-{mode}", url=f"{url}?sslmode={mode}")) as subject:
                    same((rules, mode, t.wire(on=subject).rows(ASK_TLS)), (rules, mode, [[encrypted]]))
    with server_side(t, f"hostssl {method}"):
        said = refused_by_server(t, "no-tls", {"tls": {"mode": "allow"}})
        check("no pg_hba.conf entry" in said, said)
    front = with_tls(t, authority, "allow", name="allow")
    for mode in ("disable", "allow", "prefer", "require"):
        with psycopg.connect(**t.conninfo(on=front, sslmode=mode)) as connection:
            same((mode, connection.pgconn.ssl_in_use), (mode, mode in ("prefer", "require")))
