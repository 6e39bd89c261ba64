"""The same bad login to PostgreSQL itself and to pgmend: what is said has to be the same, byte for byte.

Both are given the same certificates, authorities and revocation list, so that the situation is the same. What may differ is
said where it does: the place in PostgreSQL's source (F, L, R), which pgmend has none of, and the port in libpq's own words."""

import contextlib
import re

import psycopg
import wire
from certificates import Authority, server_tls
from harness import PASSWORDS, Failure, check, same
from registry import register
from secure import tls_context

TESTS = []
test = register(TESTS)
OURS = ("pgmend",)
SOURCE = "FLR"  # file, line and routine


def error_of(t, place, user, password, **options):
    """Every field of the ErrorResponse but where in the source it was raised."""
    try:
        t.wire(user, "app", password=password, **place, **options)
    except wire.Refused as error:
        return {key: value for key, value in error.fields.items() if key not in SOURCE}
    raise Failure(f"{user} came in")


def words_of(t, place, **more):
    """libpq's own message; the port is the only thing in it that says where."""
    given = t.conninfo(on=place.get("on") or t.postgres, **{"host": "localhost", "hostaddr": "127.0.0.1", **more})
    try:
        psycopg.connect(**given).close()
    except psycopg.OperationalError as error:
        return re.sub(r"port \d+", "port PORT", str(error))
    raise Failure(f"it came in with {more}")


def situations(t, authority, stranger):
    """(name, what is done at a place and what comes of it)."""
    app, foreign = authority.issue("app", "/CN=app"), stranger.issue("app", "/CN=app")
    revoked = authority.issue("revoked", "/CN=app")
    server_revoked = authority.directory / "server-revoked.crl"
    trusted, other = str(authority.certificate), str(stranger.certificate)

    def shows(certificate):
        return {"sslmode": "require", "sslcert": certificate[0], "sslkey": certificate[1]}

    for tls in (None, tls_context()):
        over = "over TLS" if tls else "in clear"
        yield f"wrong password, {over}", lambda place, tls=tls: error_of(t, place, "app", "wrong", tls=tls)
        yield f"unknown user, {over}", lambda place, tls=tls: error_of(t, place, "nobody", "wrong", tls=tls)
        yield (f"expired user, {over}",
               lambda place, tls=tls: error_of(t, place, "crowd", PASSWORDS["crowd"], tls=tls))
    for method in ("legacy", "other"):  # asked by md5, and for the password in clear
        yield f"wrong password of {method}", lambda place, user=method: error_of(t, place, user, "wrong")
    yield "certificate of somebody else", lambda place: error_of(t, place, "streamer", "", tls=tls_context(certificate=app))
    yield "no certificate where one is asked for", lambda place: error_of(t, place, "streamer", "", tls=tls_context())
    # Ended by TLS itself, whose alert libpq puts into words.
    yield "certificate of a wrong authority", lambda place: words_of(t, place, **shows(foreign))
    yield "certificate that was revoked", lambda place: words_of(t, place, **shows(revoked))
    # What the client finds wrong with the server.
    yield "server of a wrong authority", lambda place: words_of(t, place, sslmode="verify-ca", sslrootcert=other)
    yield ("server of a wrong host",
           lambda place: words_of(t, place, sslmode="verify-full", sslrootcert=trusted, host="elsewhere.test"))
    yield ("server that was revoked",
           lambda place: words_of(t, place, sslmode="verify-ca", sslrootcert=trusted, sslcrl=str(server_revoked)))
    authority.revocations("revoked")
    kept = (authority.directory / "ca.crl").read_bytes()
    authority.revocations("postgres")
    server_revoked.write_bytes((authority.directory / "ca.crl").read_bytes())
    (authority.directory / "ca.crl").write_bytes(kept)
    (authority.directory / "ca.crl").chmod(0o644)


HBA = ("hostssl all streamer all cert\nhost all legacy all md5\nhost all other all password\n"
       "host all all all scram-sha-256\n")
SIX = ("wrong password", "unknown user", "expired user", "wrong authority", "wrong host", "revoked")


@test("refusals: who knows a wrong password, user, authority or host, or was revoked, hears what PostgreSQL says",
      subjects=OURS, seconds=120)
def same_words(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    t.admin("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'asker') THEN "
            "CREATE ROLE asker SUPERUSER LOGIN PASSWORD 'asks'; END IF; END $$; "
            "ALTER ROLE crowd VALID UNTIL '2001-01-01'")
    t.closing.callback(lambda: t.admin("DROP ROLE IF EXISTS asker; ALTER ROLE crowd VALID UNTIL 'infinity'"))
    with contextlib.ExitStack() as stack:
        certificate = authority.server("postgres", owner="postgres" if t.postgres.owner else None)
        cases = list(situations(t, authority, stranger))
        crl = authority.directory / "ca.crl"
        stack.enter_context(server_tls(t, authority, HBA, ssl_ca_file=authority.certificate, ssl_crl_file=crl,
                                       certificate=certificate))
        for name, key in zip(("crt", "key"), certificate):
            (t.directory / f"front.{name}").write_bytes(key.read_bytes())
        tls = {"cert": str(t.directory / "front.crt"), "key": str(t.directory / "front.key"),
               "ca": str(authority.certificate), "crl": str(crl)}
        auth = {"hba": HBA.strip().splitlines(), "query": {"user": "asker", "password": "asks", "database": "postgres"}}
        url = f"postgres://app:{PASSWORDS['app']}@localhost:{t.postgres.port}/app?sslmode=require"
        # PostgreSQL's own users are asked of it, so that it is the same who is known and who has expired.
        subject = t.own("refusing", url=url, only_live=True,
                        settings={"listen": {"tls": tls}, "auth": auth, "users": [{"name": "unused", "password": "x"}]})
        for name, attempt in cases:
            wanted = attempt({"direct": True})
            same((name, attempt({"on": subject})), (name, wanted))
        for each in SIX:
            check(any(each in name for name, _ in cases), f"{each} was tried")
