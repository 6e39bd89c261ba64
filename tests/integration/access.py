"""Who may come in, by which rule, known from where: hba rules, certificates, secrets, rotation, auth_query, abuse."""

import base64
import contextlib
import hashlib
import hmac
import socket
import struct
import subprocess
import threading
import time

import psycopg
import wire
from certificates import Authority, server_side, server_tls
from harness import PASSWORDS, Failure, check, clean_environment, poll, same
from registry import register
from secure import refused_by_server, tls_context, topology

TESTS = []
test = register(TESTS)
OURS = ("pgmend",)
SOON = {"files": {"check_interval": "50ms"}}


def refusal(t, user="app", database="app", password=None, parameters=None, **options):
    """Severity, SQLSTATE and message of a login that must fail."""
    try:
        t.wire(user, database, parameters, password=password or PASSWORDS.get(user, "wrong"), **options)
    except wire.Refused as error:
        return tuple(error.fields.get(key) for key in "SVCM")
    raise Failure(f"{user} came in to {database}")


def comes_in(t, subject, user="app", database="app", **options):
    with contextlib.closing(t.wire(user, database, on=subject, **options)) as client:
        same(client.rows("SELECT current_user, 1"), [[user, "1"]])
    return True


def fits(t, subject, password, user="app"):
    """Whether a password lets in now."""
    try:
        return comes_in(t, subject, user, password=password)
    except wire.Refused as error:
        check(error.fields["C"] in ("28P01", "28000"), f"{error}")
        return False


# ---- rules ----------------------------------------------------------------------------------------------


@test("access: rules refuse in PostgreSQL's own words, byte for byte", subjects=OURS)
def hba_words(t):
    rules = ("host other all all scram-sha-256\nhost app crowd all reject\nhost app app 127.0.0.1/32 scram-sha-256\n"
             "host replication streamer all reject\n")
    attempts = [dict(user="app", database="postgres"), dict(user="crowd"), dict(user="other", database="app"),
                dict(user="no\"body", database="x y"), dict(user="streamer", parameters={"replication": "true"}),
                dict(user="app", parameters={"replication": "true"}), dict(user="app", password="wrong")]
    with server_side(t, rules):
        wanted = [refusal(t, direct=True, **each) for each in attempts]
    listed = t.own("listed", settings={"auth": {"hba": rules.strip().splitlines()}})
    same([refusal(t, on=listed, **each) for each in attempts], wanted)
    file = t.directory / "hba.conf"
    file.write_text(rules)
    filed = t.own("filed", settings={"auth": {"hba_file": str(file)}, **SOON})
    same([refusal(t, on=filed, **each) for each in attempts], wanted)
    for subject in (listed, filed):
        comes_in(t, subject)
        comes_in(t, subject, "legacy", "other")
    # The file changes, and a file that is wrong changes nothing.
    file.write_text(rules + "host all all all peer\n")
    poll(lambda: "file_not_taken" in filed.log.read_text(), "it is said")
    check(f"{file}:5:18: the rule has a method" in filed.log.read_text(), "where")
    same([refusal(t, on=filed, **each) for each in attempts], wanted)
    file.write_text("host all all all trust\n")
    poll(lambda: fits(t, filed, "anything"), "the new rules are taken")


@test("access: a rule that needs what there is not ends the start, with its place and what is allowed", subjects=OURS)
def hba_refused(t):
    file = t.directory / "hba.conf"
    for rule, column, said in (("host all +admins all md5", 10, "role membership, which pgmend does not know; allowed: all, names"),
                               ("host @databases all all md5", 6, "file (@) or a pattern (/), which is not supported; allowed: all, sameuser"),
                               ("host all all db.example md5", 14, "names of hosts are not supported; allowed: all, samehost, samenet"),
                               ("host all all all gss", 18, "not one of trust, reject, password, md5, scram-sha-256, cert"),
                               ("include more.conf", 1, "another file (include), which is not supported")):
        file.write_text(f"# first\nlocal all all trust\n{rule}\n")
        for number, (auth, place) in enumerate((({"hba_file": str(file)}, f"{file}:3:{column}: "),
                                                ({"hba": [rule]}, "pgmend.yaml:"))):
            refused = t.run.pgmend(f"refused-{number}", settings={"auth": auth})
            refused.write_config()
            process = t.start(refused.binary, "--config", refused.config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=clean_environment())
            output, _ = process.communicate(timeout=30)
            check(process.returncode == 1 and place in output and said in output, f"{rule}: {process.returncode} {output}")


@test("access: rules as YAML mappings, for TLS and for Unix sockets", subjects=OURS)
def hba_yaml(t):
    authority = Authority(t.directory)
    certificate, key = authority.server()
    sockets = t.directory / "sockets"
    sockets.mkdir()
    settings = {
        "listen": {"tls": {"cert": str(certificate), "key": str(key)}, "unix_socket_dir": str(sockets)},
        "auth": {"hba": [{"type": "local", "user": "app", "method": "trust"},
                         {"type": "hostssl", "database": "app", "user": "app", "method": "password"},
                         {"type": "hostnossl", "user": "other", "address": "127.0.0.0/8", "method": "md5"}]}}
    subject = t.own("yaml", settings=settings, only_live=True)
    plain = refusal(t, on=subject)
    same(plain[2:], ("28000", 'no pg_hba.conf entry for host "127.0.0.1", user "app", database "app", no encryption'))
    client = t.wire(on=subject, tls=tls_context())
    same(struct.unpack_from(">I", client.greeting[0][1])[0], 3, "asked for the password")
    secure = refusal(t, "other", "other", on=subject, tls=tls_context())
    check("SSL encryption" in secure[3], secure)
    comes_in(t, subject, "other", "other")
    client = t.wire(on=subject, host=str(sockets), password="anything")
    same(client.rows("SELECT 1"), [["1"]])
    local = refusal(t, "other", "other", on=subject, host=str(sockets))
    check('host "[local]"' in local[3], local)


@test("access: certificates let in by common, distinguished and alternative name, and by a map", subjects=OURS)
def certificates(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    certificate, key = authority.server()
    idents = t.directory / "ident.conf"
    idents.write_text('people "O=Ltd,CN=Ada Lovelace" other\npeople /^(.*)@example\\.com$ \\1\n')
    app = authority.issue("app", "/CN=app")
    ada = authority.issue("ada", "/O=Ltd/CN=Ada Lovelace", "email:crowd@example.com,DNS:legacy")
    tls = {"cert": str(certificate), "key": str(key), "ca": str(authority.certificate)}

    def subject_with(name, **auth):
        return t.own(name, settings={"listen": {"tls": tls}, "auth": auth, **SOON}, only_live=True)

    with server_tls(t, authority, "hostssl all all all cert\n", ssl_ca_file=authority.certificate):
        wanted = [refusal(t, "other", "other", direct=True, tls=tls_context(certificate=app)),
                  refusal(t, direct=True, tls=tls_context())]
    subject = subject_with("cert", method="cert")
    comes_in(t, subject, tls=tls_context(certificate=app))
    same(t.wire(on=subject, tls=tls_context(certificate=app)).greeting[0], ("R", struct.pack(">I", 0)), "nothing is asked")
    same([refusal(t, "other", "other", on=subject, tls=tls_context(certificate=app)),
          refusal(t, on=subject, tls=tls_context())], wanted)
    same(refusal(t, on=subject)[2:], ("28000", "connection requires a valid client certificate"))
    with contextlib.suppress(OSError, wire.Closed):
        refusal(t, on=subject, tls=tls_context(certificate=stranger.issue("app", "/CN=app")))
    subject = subject_with("named", cert_name="san", method="cert")
    comes_in(t, subject, "legacy", tls=tls_context(certificate=ada))
    same(refusal(t, "crowd", on=subject, tls=tls_context(certificate=ada))[2], "28000")
    rules = ["hostssl all other all cert clientname=DN map=people", "hostssl all all all cert clientname=SAN map=people"]
    subject = subject_with("mapped", hba=rules, ident_file=str(idents))
    comes_in(t, subject, "other", "other", tls=tls_context(certificate=ada))
    comes_in(t, subject, "crowd", tls=tls_context(certificate=ada))
    same(refusal(t, "app", on=subject, tls=tls_context(certificate=ada))[2], "28000")
    # A second proof besides the password.
    subject = subject_with("both", hba=["hostssl all all all scram-sha-256 clientcert=verify-full"])
    comes_in(t, subject, tls=tls_context(certificate=app))
    same(refusal(t, password="wrong", on=subject, tls=tls_context(certificate=app))[2], "28P01")
    same(refusal(t, "other", "other", on=subject, tls=tls_context(certificate=app))[2:],
         ("28P01", 'password authentication failed for user "other"'))


# ---- where secrets come from ----------------------------------------------------------------------------


@test("secrets: PgBouncer's userlist, password files and their order", subjects=OURS)
def sources(t):
    userlist, file = t.directory / "userlist.txt", t.directory / "password"
    userlist.write_text(f'; ours\n"other" "{PASSWORDS["other"]}"\n"crowd" "wrong, users says better"\n')
    file.write_text(PASSWORDS["app"] + "\n")
    users = [{"name": "crowd", "password": PASSWORDS["crowd"]}]
    url = f"postgres://app@{t.postgres.host}:{t.postgres.port}/app"
    subject = t.own("sources", url=url, settings={"users": users, "auth": {"userlist": str(userlist)},
                                                  "upstream": {"password_file": str(file)}, **SOON})
    for user in ("app", "other", "crowd"):
        comes_in(t, subject, user, "app")
    same(refusal(t, "legacy", on=subject)[2], "28P01")
    userlist.write_text(userlist.read_text() + f'"legacy" "{PASSWORDS["legacy"]}"\n')
    poll(lambda: fits(t, subject, PASSWORDS["legacy"], "legacy"), "the new user is known")
    # A writer in place leaves an empty file for a moment; nobody is refused for that.
    whole = userlist.read_text()
    for _ in range(10):
        userlist.write_text("")
        time.sleep(0.02)
        userlist.write_text(whole)
        comes_in(t, subject, "legacy")
    userlist.write_text("rubbish")
    poll(lambda: "file_not_taken" in subject.log.read_text(), "it is said")
    comes_in(t, subject, "legacy")
    log = subject.log.read_text()
    check(not any(word in log for word in PASSWORDS.values()), "a secret in the log")


@test("secrets: the environment gives them too, and of all places the first that knows a user decides", subjects=OURS)
def order(t):
    userlist = t.directory / "userlist.txt"
    # Of each user the first place that knows it has the password that is right; the database itself has all of them right.
    userlist.write_text(f'"crowd" "not asked for"\n"other" "{PASSWORDS["other"]}"\n"app" "not its own place"\n')
    t.admin("CREATE ROLE asker SUPERUSER LOGIN PASSWORD 'asks'")
    t.closing.callback(lambda: t.admin("DROP ROLE IF EXISTS asker"))
    query = {"user": "asker", "password": "asks", "database": "postgres"}
    subject = t.own("order", url=f"postgres://app@{t.postgres.host}:{t.postgres.port}/app", only_live=True,
                    settings={"auth": {"userlist": str(userlist), "query": query}},
                    environment={"PGMEND_USERS": f"[{{name: crowd, password: {PASSWORDS['crowd']}}}]",
                                 "PGPASSWORD": PASSWORDS["app"]})
    for user in ("crowd", "other", "streamer"):
        comes_in(t, subject, user, "app")
    same(refusal(t, "crowd", password="not asked for", on=subject)[2], "28P01", "the environment's list goes first")
    same(refusal(t, "app", on=subject)[2], "28P01", "the list goes before the password of the connection string")
    comes_in(t, t.own("string", url=f"postgres://app@{t.postgres.host}:{t.postgres.port}/app", only_live=True, settings={"users": [{"name": "unused", "password": "x"}]},
                      environment={"PGPASSWORD": PASSWORDS["app"]}), "app")


@test("secrets: a password beyond ASCII is prepared as PostgreSQL and its clients prepare it, on both sides", subjects=OURS)
def prepared_password(t):
    # A soft hyphen that counts for nothing, a letter of two forms that are one, and a ligature: RFC 4013.
    written, meant = "I\u00adX \u2168 pa\u0308ss\ufb01", "IX IX p\u00e4ssfi"
    t.admin(f"CREATE ROLE beyond LOGIN PASSWORD '{written}'")
    t.closing.callback(lambda: t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'beyond'; DROP ROLE beyond"))
    subject = t.own("beyond", settings={"users": [{"name": "beyond", "password": meant}]})
    for password in (written, meant):
        given = {**t.conninfo(on=subject, password=password), "user": "beyond"}
        with contextlib.closing(psycopg.connect(**given)) as client:
            same(client.execute("SELECT current_user").fetchone(), ("beyond",))
    same(refusal(t, "beyond", password="IX IX passfi", on=subject)[2], "28P01")


@test("secrets: a password file is read again where Kubernetes swaps the link it is reached by", subjects=OURS)
def mounted_password(t):
    mount = t.directory / "secret"
    for version, password in (("v1", "not-yet"), ("v2", PASSWORDS["app"])):
        (mount / version).mkdir(parents=True)
        (mount / version / "password").write_text(password + "\n")
    (mount / "..data").symlink_to("v1")
    (mount / "password").symlink_to("..data/password")
    url = f"postgres://app@{t.postgres.host}:{t.postgres.port}/app"
    subject = t.own("mounted", url=url, settings={"users": [{"name": "crowd", "password": PASSWORDS["crowd"]}], "upstream": {"password_file": str(mount / "password")}, **SOON}, only_live=True)
    same(refusal(t, on=subject)[2], "28P01")
    (mount / "..new").symlink_to("v2")
    (mount / "..new").rename(mount / "..data")
    poll(lambda: fits(t, subject, PASSWORDS["app"]), "the new password is known, to both sides")


@test("secrets: a verifier alone is enough, the keys of the client's proof log in to the server", subjects=OURS)
def passthrough(t):
    stored = dict(t.admin("SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword LIKE 'SCRAM%'"))
    users = [{"name": "app", "password": stored["app"]}, {"name": "other", "password": stored["other"]}]
    url = f"postgres://app@{t.postgres.host}:{t.postgres.port}/app"
    subject = t.own("verifier", url=url, settings={"users": users})
    poll(lambda: "health_has_no_password" in subject.log.read_text(), "it is said that checks cannot log in")
    comes_in(t, subject)
    same(topology(subject)["condition"], "up")
    t.admin("DROP ROLE IF EXISTS watcher; CREATE ROLE watcher LOGIN PASSWORD 'watches'")
    secret = t.directory / "watcher"
    secret.write_text("stale\nwatches\n")
    watched = t.own("watched", url=url, settings={"users": users, "health": {"user": "watcher", "password_file": str(secret)}})
    poll(lambda: topology(watched)["timeline"], "checks log in by their own user", 20)
    check("health_has_no_password" not in watched.log.read_text(), "nothing is missing")
    same(refusal(t, "watcher", password="watches", on=watched)[2], "28P01", "who looks at servers is no client")
    comes_in(t, subject, "other", "other")
    same(refusal(t, password="wrong", on=subject), refusal(t, password="wrong", direct=True))
    # The same password under another salt is another verifier.
    try:
        t.admin(f"ALTER ROLE other PASSWORD '{PASSWORDS['other']}'")
        fresh = t.own("stale", url=url, settings={"users": users}, only_live=True)
        said = refusal(t, "other", "other", on=fresh)
        check("verifier is not the one" in said[3], said)
    finally:
        t.admin(f"ALTER ROLE other PASSWORD '{stored['other']}'")


def holds(subject, secret):
    """Whether the process has these bytes anywhere in memory of its own."""
    with open(f"/proc/{subject.process.pid}/maps") as maps, open(f"/proc/{subject.process.pid}/mem", "rb") as memory:
        for line in maps:
            place, rights, *_ = line.split()
            if not rights.startswith("rw") or "[vvar" in line:
                continue
            begin, end = (int(word, 16) for word in place.split("-"))
            with contextlib.suppress(OSError, ValueError):
                memory.seek(begin)
                if secret in memory.read(end - begin):
                    return True
    return False


def client_key(t, user, password):
    """What SCRAM proves that the password is known by, for the salt that the server keeps."""
    stored = dict(t.admin("SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword LIKE 'SCRAM%'"))[user]
    rounds, salt = stored.split("$")[1].split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    return stored, hmac.new(salted, b"Client Key", "sha256").digest()


@test("secrets: the keys of a client's proof are wiped when its user is gone", subjects=OURS)
def wiped(t):
    stored, key = client_key(t, "app", PASSWORDS["app"])
    userlist = t.directory / "userlist.txt"
    userlist.write_text(f'"app" "{stored}"\n')
    url = f"postgres://other:{PASSWORDS['other']}@{t.postgres.host}:{t.postgres.port}/app"
    subject = t.own("wiped", url=url, settings={"users": [{"name": "crowd", "password": PASSWORDS["crowd"]}], "auth": {"userlist": str(userlist)}, **SOON})
    check(not holds(subject, key), "nobody has come in")
    comes_in(t, subject)
    check(holds(subject, key), "it is what logs in to the server")
    userlist.write_text('"crowd" "x"\n')
    poll(lambda: not fits(t, subject, PASSWORDS["app"]), "app is forgotten")
    poll(lambda: not holds(subject, key), "and so is its key", 20)


@test("secrets: passwords that files and the policy have no more, and those that clients tell, are not left in memory", subjects=OURS,
      seconds=120)
def forgotten(t):
    # One that a string holds within itself, and those that it does not.
    words = {"brief_one": "Tell-no-one-7", "long_one": "a-password-of-which-nobody-else-has-ever-heard",
             "told_one": "one-that-the-policy-itself-has-told"}
    changed = "another-one-that-is-long-enough-as-well"
    t.admin("; ".join(f"CREATE ROLE {user} LOGIN PASSWORD '{word}'" for user, word in words.items()))
    t.closing.callback(lambda: t.admin("; ".join(f"DROP ROLE {user}" for user in words)))
    t.closing.callback(lambda: t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE '%\\_one'"))
    userlist, file = t.directory / "userlist.txt", t.directory / "password"
    userlist.write_text(f'"brief_one" "{words["brief_one"]}"\n"filler" "of the list"\n"third" "x"\n')
    file.write_text(words["long_one"] + "\n")
    url = f"postgres://other:{PASSWORDS['other']}@{t.postgres.host}:{t.postgres.port}/app"
    users = [{"name": "long_one", "password_file": str(file)}]
    subject = t.own("forgetful", url=url, settings={"users": [*users, {"name": "told_one", "password": words["told_one"]}],
                                                    "auth": {"userlist": str(userlist), "method": "password"},
                                                    "pool": {"lifetime": "100ms", "idle_timeout": "100ms"}, **SOON})
    for user, word in words.items():
        check(holds(subject, word.encode()), f"{user}'s is known")
        comes_in(t, subject, user, password=word)
    key = client_key(t, "long_one", words["long_one"])[1]
    check(holds(subject, key), "the key that logged in to the server")
    # Who guesses tells as well.
    guess = "a-guess-that-is-wrong-and-rather-long"
    same(refusal(t, "brief_one", password=guess, on=subject)[2], "28P01")
    poll(lambda: not holds(subject, guess.encode()), "what was told is not kept", 30)
    # Two users are gone, the third one's password is changed on both sides, and the new one has worked.
    userlist.write_text('"filler" "of the list"\n')
    subject.settings["users"] = users
    subject.write_config()
    t.admin(f"ALTER ROLE long_one PASSWORD '{changed}'")
    file.write_text(changed + "\n")
    for user in ("brief_one", "told_one"):
        poll(lambda user=user: not fits(t, subject, words[user], user), f"{user} is forgotten", 30)
    poll(lambda: fits(t, subject, changed, "long_one"), "the new one is known", 30)
    # A login to a server that was under way has brought a key back, at the worst; the next change of a file takes it.
    userlist.write_text('"filler" "of another list"\n')
    for user, word in words.items():
        poll(lambda word=word: not holds(subject, word.encode()), f"{user}'s is wiped", 30)
    poll(lambda: not holds(subject, key), "and so is the key", 30)


@test("secrets: a password changes on the server and in its file while 64 clients work: no error", subjects=OURS,
      seconds=90)
def rotation(t):
    file = t.directory / "password"
    file.write_text(PASSWORDS["crowd"])
    users = [{"name": "crowd", "password_file": str(file)}]
    # Servers are replaced all the time, so that logins happen throughout.
    pool = {"lifetime": "200ms", "size": 8, "idle_timeout": "200ms"}
    subject = t.own("rotating", settings={"users": users, "pool": pool, **SOON})
    stop, errors, done = threading.Event(), [], []

    def work(number):
        served = 0
        try:
            client = t.wire("crowd", "app", on=subject, timeout=30, password=PASSWORDS["crowd"])
            while not stop.is_set():
                same(client.rows(f"SELECT {number}"), [[str(number)]])
                served += 1
                time.sleep(0.01)
        except Exception as error:
            errors.append(error)
        done.append(served)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    try:
        old = PASSWORDS["crowd"]
        for turn in range(3):
            new = f"rotated-{turn}"
            file.write_text(f"{new}\n{old}\n")
            poll(lambda: fits(t, subject, new, "crowd"), "the file is read")
            time.sleep(0.3)
            t.admin(f"ALTER ROLE crowd PASSWORD '{new}'")
            time.sleep(0.5)
            file.write_text(new)
            poll(lambda: not fits(t, subject, old, "crowd"), "the old one is gone")
            old = new
        # Without a time of both: first the file, then the server a moment later, then the other way round.
        file.write_text("abrupt-1")
        time.sleep(0.5)
        t.admin("ALTER ROLE crowd PASSWORD 'abrupt-1'")
        time.sleep(0.5)
        t.admin("ALTER ROLE crowd PASSWORD 'abrupt-2'")
        time.sleep(0.5)
        file.write_text("abrupt-2")
        time.sleep(1)
        check(not errors, f"{len(errors)} clients: {errors[:2]}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        t.admin(f"ALTER ROLE crowd PASSWORD '{PASSWORDS['crowd']}'")
    check(not errors, f"{len(errors)} clients: {errors[:2]}")
    check(min(done) > 10, f"everybody was served: {min(done)}")


# ---- auth_query -----------------------------------------------------------------------------------------


def with_query(t, name="asking", **query):
    """A pgmend that knows nobody and asks as the superuser."""
    asked = {"user": "asker", "password": "asks", "database": "postgres", **query}
    t.admin("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'asker') THEN "
            "CREATE ROLE asker SUPERUSER LOGIN PASSWORD 'asks'; END IF; END $$")
    t.closing.callback(lambda: t.admin("DROP ROLE IF EXISTS asker"))
    url = f"postgres://app:{PASSWORDS['app']}@{t.postgres.host}:{t.postgres.port}/app"
    return t.own(name, url=url, settings={"users": [{"name": "unused", "password": "x"}], "auth": {"query": asked}})


@test("auth_query: users of the database come in with what it keeps of them", subjects=OURS)
def auth_query(t):
    subject = with_query(t)
    for user in ("other", "crowd"):
        comes_in(t, subject, user, "app")
        same(refusal(t, user, password="wrong", on=subject), refusal(t, user, password="wrong", direct=True))
    same(refusal(t, "nobody", on=subject), refusal(t, "nobody", direct=True))
    t.admin("ALTER ROLE crowd PASSWORD 'another'")
    try:
        poll(lambda: fits(t, subject, "another", "crowd"), "the new password counts")
        check(not fits(t, subject, PASSWORDS["crowd"], "crowd"), "the old one does not")
    finally:
        t.admin(f"ALTER ROLE crowd PASSWORD '{PASSWORDS['crowd']}'")
    # A hash is asked for by md5, as by PostgreSQL.
    subject = t.own("hashed", settings={"users": [{"name": "x", "password": "y"}],
                                        "auth": {"method": "md5", "query": {"user": "asker", "password": "asks",
                                                                           "database": "postgres"}}})
    comes_in(t, subject, "legacy", "app")
    comes_in(t, subject, "crowd", "app")


@test("auth_query: VALID UNTIL is honoured (CVE-2025-2291)", subjects=OURS)
def valid_until(t):
    subject = with_query(t)
    t.admin("ALTER ROLE crowd VALID UNTIL '2001-01-01'")
    try:
        same(refusal(t, "crowd", on=subject), refusal(t, "crowd", direct=True))
    finally:
        t.admin("ALTER ROLE crowd VALID UNTIL 'infinity'")
    poll(lambda: fits(t, subject, PASSWORDS["crowd"], "crowd"), "valid again")
    t.admin("ALTER ROLE crowd NOLOGIN")
    try:
        poll(lambda: not fits(t, subject, PASSWORDS["crowd"], "crowd"), "no login, no coming in")
    finally:
        t.admin("ALTER ROLE crowd LOGIN")


@test("auth_query: no startup parameter of a client reaches its session (CVE-2025-12819)", subjects=OURS)
def startup_parameters(t):
    t.admin("CREATE SCHEMA evil; CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS "
            "$$ SELECT 'stolen by ' || current_setting('search_path') $$; GRANT USAGE ON SCHEMA evil TO public;"
            "CREATE TABLE public.seen (path text, name text, options text); GRANT ALL ON public.seen TO public;"
            "CREATE FUNCTION public.look(n text, OUT name text, OUT secret text) LANGUAGE sql AS $$ INSERT INTO "
            "public.seen VALUES (current_setting('search_path'), current_setting('application_name'), "
            "current_setting('work_mem')); SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = n $$")
    t.closing.callback(lambda: t.admin("DROP SCHEMA IF EXISTS evil CASCADE; DROP FUNCTION IF EXISTS public.look(text);"
                                       "DROP TABLE IF EXISTS public.seen"))
    subject = with_query(t, database="app", sql="SELECT * FROM public.look(lower($1))")
    for parameters in ({"search_path": "evil, pg_catalog"}, {"options": "-c search_path=evil,pg_catalog -c work_mem=7MB"}):
        comes_in(t, subject, "crowd", parameters={**parameters, "application_name": "attacker"})
        time.sleep(1.1)  # what was asked a moment ago is not asked again
    rows = t.admin("SELECT DISTINCT path, name, options FROM public.seen")
    same(rows, [("pg_catalog", "pgmend auth_query", "4MB")])


@test("auth_query: few ask at a time, an answer is shared, and an outage locks nobody out", subjects=OURS, seconds=90)
def bounded(t):
    t.admin("CREATE FUNCTION public.slow(n text, OUT name text, OUT secret text) LANGUAGE sql AS $$ SELECT "
            "pg_sleep(0.3); SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = n $$", "postgres")
    t.closing.callback(lambda: t.admin("DROP FUNCTION IF EXISTS public.slow(text)", "postgres"))
    subject = with_query(t, sql="SELECT * FROM public.slow($1)", connections=2)
    names = ["other", "crowd", "streamer", "legacy"] * 10 + [f"nobody{i}" for i in range(6)]
    most, results = [], []

    def come(user):
        try:
            results.append(comes_in(t, subject, user, "app"))
        except wire.Refused as error:
            results.append(error.fields["C"])

    threads = [threading.Thread(target=come, args=(user,)) for user in names]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most.append(t.admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgmend auth_query'")[0][0])
        time.sleep(0.05)
    check(max(most) <= 2, f"{max(most)} connections asked")
    same(results.count(True), 30)
    same(results.count("28P01"), 16)
    check(time.monotonic() - begun < 20, "46 logins of 10 names take ten questions, not 46")
    # The database stops answering this question: who was known stays known.
    t.admin("ALTER FUNCTION public.slow(text) RENAME TO gone", "postgres")
    try:
        time.sleep(1.2)
        comes_in(t, subject, "other", "other")
        check("auth_query_failed" in subject.log.read_text(), "it is said")
        said = refusal(t, "unheard_of", on=subject)
        check(said[2] == "57P03", said)
    finally:
        t.admin("ALTER FUNCTION public.gone(text) RENAME TO slow", "postgres")


@test("login: a server's error without SQLSTATE harms nobody (CVE-2026-6666)", subjects=OURS)
def no_sqlstate(t):
    listening = socket.create_server(("127.0.0.1", 0))
    t.closing.callback(listening.close)
    errors = [b"", b"SFATAL\0Mhalf\0\0", b"M\0\0", b"C\0\0", b"\0", b"SERROR\0", b"C12\0Mshort\0\0"]
    served = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with contextlib.suppress(OSError), client:
                    client.recv(10000)
                    client.sendall(b"N")
                    client.recv(10000)
                    client.sendall(wire.message("E", errors[len(served) % len(errors)]))
                    served.append(1)

    threading.Thread(target=serve, daemon=True).start()
    url = f"postgres://app:{PASSWORDS['app']}@127.0.0.1:{listening.getsockname()[1]}/app"
    subject = t.own("odd", url=url, settings={"pool": {"wait_timeout": "1s"}}, only_live=True)
    for _ in range(2 * len(errors)):
        with contextlib.suppress(wire.Refused, wire.Closed):
            t.wire(on=subject, timeout=10)
    check(len(served) >= len(errors), f"only {len(served)} were served")
    check(subject.alive(), "it died")


# ---- abuse ----------------------------------------------------------------------------------------------


@test("abuse: failures of one address are answered late, the right password never is", subjects=OURS)
def throttle(t):
    subject = t.own("throttled", settings={"auth": {"failure_burst": 5, "failure_delay": "2s"}})
    times = []
    for _ in range(8):
        begun = time.monotonic()
        same(refusal(t, password="guess", on=subject)[2], "28P01")
        times.append(time.monotonic() - begun)
    check(max(times[:5]) < 1.8, f"{times}")
    check(min(times[5:]) >= 1.9, f"pgmend counts from when it woke to the login: {times}")
    begun = time.monotonic()
    comes_in(t, subject)
    check(time.monotonic() - begun < 1.8, "who knows it comes in at once")


@test("abuse: half-finished logins push one another out, not those who finish", subjects=OURS)
def half_finished(t):
    subject = t.own("few", settings={"listen": {"max_logins": 10}})
    before = subject.descriptors()
    idle = [wire.Wire(subject.host, subject.port, timeout=10) for _ in range(40)]
    comes_in(t, subject)
    poll(lambda: subject.descriptors() <= before + 25, "the oldest were closed")
    closed = sum(client.at_end() for client in idle[:25])
    same(closed, 25)
    check('pgmend_clients_refused_total{reason="login_limit"}' in subject.http("/metrics")[1], "counted")
    for client in idle:
        client.drop()
    poll(lambda: subject.descriptors() <= before + 12, "no descriptor is leaked")
    # Long first packets hold no more than one packet each.
    fat = [wire.Wire(subject.host, subject.port, timeout=10) for _ in range(10)]
    for client in fat:
        client.send(struct.pack(">II", 10000, wire.PROTOCOL_3_0) + b"user\0" + b"x" * 9000)
    comes_in(t, subject)
