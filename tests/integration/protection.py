"""SHOW PROTECTION: with what privileges the outcome of a lost COMMIT could be found out, and the helper that grants them."""

import json
import subprocess

import wire
from clusters import Cluster
from commit_outcome import PGMEND, WATCHED
from harness import PASSWORDS, POSTGRES_BIN, ROOT, check, clean_environment, poll, same, tail
from registry import register

TESTS = []
test = register(TESTS)
CONSOLE = {"admin": {"users": "app"}}
RULES = {"server_life", "commit_evidence", "commit_status", "old_backend"}


def protection(t, subject):
    """Rule to (works, why), of the one database and the one server there are."""
    console = t.wire(on=subject, user="app", database="pgmend")
    rows = wire.rows_of(console.query("SHOW PROTECTION"))
    console.close()
    return {row[3]: (row[4], row[5]) for row in rows}


def writes(t, subject):
    client = t.wire(on=subject)
    for sql in ("BEGIN", "INSERT INTO protected VALUES (1)", "COMMIT"):
        same(wire.sqlstates(client.query(sql)), [], tail(subject.log))
    client.close()


def grants(cluster, *variables):
    given = [word for variable in variables for word in ("-v", variable)]
    done = subprocess.run([POSTGRES_BIN / "psql", "-X", "-h", cluster.primary.host, "-p", str(cluster.primary.port), *given,
                           "-f", ROOT / "deploy/grants.sql", "app"],
                          env=clean_environment() | {"PGUSER": "granter", "PGPASSWORD": "grants"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    same(done.returncode, 0, done.stdout)
    return done.stdout


@test("protection: an ordinary role's rules work, its WAL does not, and each missing function is named", subjects=PGMEND,
      seconds=60)
def ordinary(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE protected (id int)")
    off = t.own("off", url=cluster.url(), settings=CONSOLE)
    same(protection(t, off), {"commit_outcome": ("no", "guard.commit_outcome is off")})
    subject = t.own("ordinary", url=cluster.url(), settings={**WATCHED, **CONSOLE})
    wal = poll(lambda: (found := protection(t, subject))["wal_record"][0] == "no" and found["wal_record"],
               f"it is asked at the start\n{tail(subject.log)}")
    check("replication" in wal[1], wal)
    writes(t, subject)
    found = protection(t, subject)
    same({rule: found[rule] for rule in RULES}, {rule: ("yes", None) for rule in RULES})
    body = json.loads(subject.http("/api/protection")[1])
    check({"server_life", "wal_record"} <= {row["rule"] for row in body["protection"]}, body)
    # Without a function its rule does not work, and nobody's transaction is the worse for it.
    for function, rule in (("pg_xact_status(xid8)", "commit_status"), ("gen_random_uuid()", "commit_evidence"),
                           ("pg_terminate_backend(int, bigint)", "old_backend"), ("pg_control_checkpoint()", "server_life")):
        cluster.sql(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
        other = t.own(f"without{rule}", url=cluster.url(), settings={**WATCHED, **CONSOLE})
        writes(t, other)
        found = protection(t, other)
        same(found[rule][0], "no", function)
        words = function.split("(")[0] if rule != "server_life" else "42501"
        check(words in found[rule][1], found[rule])
        cluster.sql(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")


@test("protection: the helper grants what is missing and no more, twice as well as once, and then all rules work",
      subjects=PGMEND, seconds=60)
def granted(t):
    cluster = Cluster(t, standbys=0)
    cluster.sql("SET ROLE app; CREATE TABLE protected (id int)")
    cluster.sql("CREATE ROLE granter LOGIN SUPERUSER PASSWORD 'grants'")
    revoked = ("pg_xact_status(xid8)", "pg_control_checkpoint()", "pg_control_system()", "pg_terminate_backend(int, bigint)",
               "pg_logical_emit_message(boolean, text, text)", "gen_random_uuid()")
    for function in revoked:
        cluster.sql(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")
    check("psql -v app=ROLE" in grants(cluster), "it says how it is called")
    for _ in range(2):
        grants(cluster, "app=app", "health=pgmend_health")
    same(cluster.sql("SELECT rolreplication, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = 'pgmend_health'"),
         [(True, False, False)])
    given = {row[0] for row in cluster.sql("SELECT DISTINCT proname FROM pg_proc, aclexplode(proacl) a WHERE a.grantee IN "
                                           "('app'::regrole, 'pgmend_health'::regrole) AND pronamespace = 'pg_catalog'::regnamespace")}
    same(given, {function.split("(")[0] for function in revoked})
    cluster.sql("ALTER ROLE pgmend_health PASSWORD 'looks'")
    secret = t.directory / "health"
    secret.write_text("looks\n")
    subject = t.own("granted", url=cluster.url(), settings={**WATCHED, **CONSOLE, "health": {
        "user": "pgmend_health", "password_file": str(secret)}})
    writes(t, subject)
    poll(lambda: protection(t, subject)["wal_record"][0] == "yes", f"its WAL can be read\n{tail(subject.log)}")
    same({works for works, _ in protection(t, subject).values()}, {"yes"})
