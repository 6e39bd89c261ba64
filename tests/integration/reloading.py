"""Settings that change while clients work: by SIGHUP, RELOAD, a changed file, a swapped link, SET."""

import os
import random
import re
import signal
import threading
import time

import certificates
import wire
from console import console, error, one, table
from harness import PASSWORDS, check, merged, poll, same, yaml_lines
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def write(subject, more):
    """Another policy, written as editors do: beside the old one, then put in its place."""
    beside = subject.config.with_suffix(".new")
    beside.write_text("\n".join(yaml_lines(merged(subject.settings, more))) + "\n")
    os.replace(beside, subject.config)


def config(client, key):
    return one(client, "SHOW CONFIG", key=key)["value"]


@test("reload: a thousand of them with changes while 64 clients work: no error, and every limit is kept", subjects=PGMEND,
      seconds=300)
def under_load(t):
    subject = t.own("reload", settings={"listen": {"max_clients": 100}})
    random_numbers = random.Random(t.run.options.seed)
    crowd, turns = 64, 100 if t.quick else 1000
    stop, errors, done = threading.Event(), [], [0] * crowd
    clients = [t.wire(on=subject) for _ in range(crowd)]

    def work(number):
        try:
            while not stop.is_set():
                answer = clients[number].query("BEGIN; SELECT 1; COMMIT")
                answer += clients[number].ask(wire.parse("s", f"SELECT {number}") + wire.bind("", "s") + wire.execute()
                                              + wire.close("S", "s") + wire.SYNC)
                same(wire.sqlstates(answer), [])
                done[number] += 1
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=work, args=[number]) for number in range(crowd)]
    for thread in threads:
        thread.start()
    admin = console(t, on=subject)
    for turn in range(turns):
        size = random_numbers.randint(1, 8)
        write(subject, {"pool": {"size": size, "wait_timeout": f"{30 + turn}s",
                                 "max_prepared_statements": random_numbers.randint(1, 20)},
                        "limits": {"classify_text": f"{random_numbers.randint(1, 64)}KiB"},
                        "hold": {"timeout": f"{10 + turn}s"}})
        if turn % 2:
            subject.process.send_signal(signal.SIGHUP)
            poll(lambda: config(admin, "pool.wait_timeout") in (f"{30 + turn}s", in_minutes(30 + turn)), "SIGHUP is heard")
        else:
            same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
        same(config(admin, "pool.size"), str(size))
        if turn % 50 == 0:
            poll(lambda: len(table(admin, "SHOW SERVERS")) <= size, "what is too much is closed")
            before = list(done)
            poll(lambda: all(now > then for now, then in zip(done, before)), "everybody is served", timeout=30)
    stop.set()
    for thread in threads:
        thread.join(30)
    same(errors, [])
    check(all(done), done)
    log = subject.log.read_text()
    check("settings_not_taken" not in log and "setting_changed key=pool.size" in log, log[-1000:])


def in_minutes(seconds):
    return f"{seconds // 60}min" if seconds % 60 == 0 else f"{seconds}s"


@test("reload: a bad file changes nothing and says where it is bad; what needs a restart says so, secrets are not said",
      subjects=PGMEND)
def bad(t):
    subject = t.own("bad")
    admin = console(t, on=subject)
    before = table(admin, "SHOW CONFIG")
    for more, words in [
        ({"pool": {"size": 5, "sise": 4}}, r":\d+:\d+: key 'pool.sise': unknown"),
        ({"pool": {"size": 0}}, r":\d+:\d+: key 'pool.size': '0' is out of range"),
        ({"pool": {"size": 5, "min_size": 6}}, r":\d+:\d+: key 'pool.min_size': 6 is more than"),
        ({"pool": {"size": 5}, "auth": {"hba_file": "/nowhere"}}, "auth.hba_file"),
        ({"pool": {"size": 5}, "listen": {"tls": {"cert": "/dev/null", "key": "/dev/null"}}}, "listen.tls"),
    ]:
        write(subject, more)
        fields = error(admin.query("RELOAD"))
        same(fields["C"], "F0000")
        found = re.search(words, fields["M"])
        check(found, f"{words} in {fields['M']}")
        same(table(admin, "SHOW CONFIG"), before, "nothing has changed")
    subject.config.write_text("pool: {size: 5\n")
    same(error(admin.query("RELOAD"))["C"], "F0000", "no YAML")
    subject.config.unlink()
    same(error(admin.query("RELOAD"))["C"], "F0000", "no file")
    same(table(admin, "SHOW CONFIG"), before)
    check("settings_not_taken" in subject.log.read_text(), "it is logged")
    users = [{"name": name, "password": "changed-" + word} for name, word in PASSWORDS.items() if name != "app"]
    write(subject, {"pool": {"size": 5}, "users": users, "health": {"interval": "3s"}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    same((config(admin, "pool.size"), config(admin, "health.interval")), ("5", "1s"))
    log = subject.log.read_text()
    check("setting_needs_restart key=health.interval from=1s to=3s" in log, log[-2000:])
    check("setting_changed key=pool.size from=8 to=5" in log, log[-2000:])
    check("setting_changed key=users" in log and "changed-" not in log, "secrets")
    # The ledger tells the same: each refusal with its place, and what was taken with its differences.
    acts = lambda: [row for row in table(admin, "SHOW HEALINGS") if row["kind"] == "settings"]
    poll(lambda: len(acts()) == 8, "all of them", 30)
    same([row["outcome"] for row in acts()], ["refused"] * 7 + ["taken"])
    check(re.search(r":\d+:\d+: key 'pool.sise': unknown", acts()[0]["cause"]), acts()[0])
    taken = acts()[-1]["cause"]
    check("pool.size: 8 -> 5" in taken and "health.interval waits for a restart: 1s -> 3s" in taken, taken)
    check("changed-" not in taken and "users: " in taken, "secrets")
    t.admin(f"ALTER ROLE other PASSWORD 'changed-{PASSWORDS['other']}'")
    try:
        new = {"user": "other", "database": "other", "password": "changed-" + PASSWORDS["other"]}
        same(refused(t, subject, **new), None, "the new password")
    finally:
        t.admin(f"ALTER ROLE other PASSWORD '{PASSWORDS['other']}'")
    same(refused(t, subject, user="other", database="other"), "28P01", "the old password")


@test("reload: a changed file is noticed by itself, behind a link as Kubernetes swaps it too; SET holds until then",
      subjects=PGMEND)
def by_itself(t):
    subject = t.own("noticed", settings={"files": {"check_interval": "50ms"}})
    admin = console(t, on=subject)
    write(subject, {"pool": {"size": 3}})
    poll(lambda: config(admin, "pool.size") == "3", "a new file")
    # A ConfigMap: the file is a link into ..data, which is a link to the version of the day.
    versions = t.directory
    for name, size in (("v1", 4), ("v2", 5)):
        (versions / name).mkdir()
        (versions / name / "pgmend.yaml").write_text(
            "\n".join(yaml_lines(merged(subject.settings, {"pool": {"size": size}}))) + "\n")
        (versions / name / "pgmend.yaml").chmod(0o644)
    os.symlink("v1", versions / "..data")
    subject.config.unlink()
    os.symlink(versions / "..data" / "pgmend.yaml", subject.config)
    poll(lambda: config(admin, "pool.size") == "4", "a link in its place")
    os.symlink("v2", versions / "..next")
    os.replace(versions / "..next", versions / "..data")
    poll(lambda: config(admin, "pool.size") == "5", "the link is swapped")
    # A bad one is refused once, and the next good one taken.
    (versions / "v2" / "pgmend.yaml").write_text("pool: {size: none}\n")
    poll(lambda: "settings_not_taken" in subject.log.read_text(), "refused")
    same(config(admin, "pool.size"), "5")
    same(wire.tags(admin.query("SET default_pool_size = 2; SET query_wait_timeout = 90")), ["SET", "SET"])
    same((config(admin, "pool.size"), config(admin, "pool.wait_timeout")), ("2", "90s"))
    same(error(admin.query("SET pool.size = 0"))["C"], "22023")
    same(error(admin.query("SET listen.port = 1"))["C"], "55P02")
    same(config(admin, "pool.size"), "2")
    os.symlink("v1", versions / "..next")
    os.replace(versions / "..next", versions / "..data")
    poll(lambda: config(admin, "pool.size") == "4", "the file counts again")
    same(config(admin, "pool.wait_timeout"), "1min")


def refused(t, subject, keep=False, **how):
    """The SQLSTATE a client is sent away with, or None. `keep`: it stays in t.crowd."""
    t.crowd = getattr(t, "crowd", [])
    try:
        client = t.wire(on=subject, **how)
    except wire.Refused as refusal:
        return refusal.fields["C"]
    if keep:
        t.crowd.append(client)
    else:
        client.close()
    return None


def shown(subject, sql, t, **how):
    client = t.wire(on=subject, **how)
    try:
        return client.value(sql)
    finally:
        client.close()


def tells_of_consoles(t, subject):
    before = subject.log.stat().st_size
    desk, end, told = console(t, on=subject), time.monotonic() + 1, False
    while not told and time.monotonic() < end:
        told = "console_opened" in subject.log.read_text()[before:]
    desk.close()
    return told


def prepared_kept(t, subject):
    client = t.wire(on=subject)
    client.query("BEGIN")
    for number in range(20):
        client.ask(wire.parse(f"kept{number}", f"SELECT {number} + {time.monotonic_ns()}") + wire.bind("", f"kept{number}")
                   + wire.execute() + wire.SYNC)
    count = client.value("SELECT count(*) < 5 FROM pg_prepared_statements")
    client.query("ROLLBACK")
    client.close()
    return count


def own_statements(t, subject):
    client = t.wire(on=subject)
    answer = [client.ask(wire.parse(f"own{number}", "SELECT 1") + wire.SYNC) for number in range(3)]
    client.close()
    return wire.sqlstates(answer[-1])


def backends_of_two(t, subject):
    """Whether a client keeps its server between two statements while another needs one."""
    first, second = t.wire(on=subject), t.wire(on=subject)
    first.query("SELECT 1")
    kept = wire.sqlstates(second.query("SELECT 2")) == ["53300"]
    first.close()
    second.close()
    return kept


def waits_in_vain(t, subject):
    """Whether who waits for a server is told so within half a second."""
    holder, waiter = t.wire(on=subject), t.wire(on=subject)
    holder.query("BEGIN")
    begin = time.monotonic()
    same(wire.sqlstates(waiter.query("SELECT 1")), ["53300"])
    holder.close()
    waiter.close()
    return time.monotonic() - begin < 0.6


def leaves_in_a_block(t, subject):
    t.admin("TRUNCATE reloaded")
    client = t.wire(on=subject)
    client.query("BEGIN; INSERT INTO reloaded VALUES (1)")
    client.close()
    t.quiet("state = 'idle in transaction'")
    return t.admin("SELECT count(*) FROM reloaded")[0][0]


def pinned_by_set(t, subject):
    client = t.wire(on=subject)
    client.query("SET work_mem = '5MB'")
    client.query("SELECT 1")
    count = sum(int(row["clients"]) for row in table(console(t, on=subject), "SHOW PINS"))
    client.close()
    return count > 0


def hears_without_a_pin(t, subject):
    client = t.wire(on=subject)
    client.query("LISTEN somewhere")
    desk, free, end = console(t, on=subject), False, time.monotonic() + 1
    while not free and time.monotonic() < end:
        client.query("SELECT 1")
        free = sum(int(row["clients"]) for row in table(desk, "SHOW PINS")) == 0
    client.close()
    desk.close()
    return free


def speaks_tls(t, subject):
    raw = t.wire(on=subject, login=False)
    raw.send(wire.request(wire.SSL_REQUEST))
    answer = raw.socket.recv(1)
    raw.drop()
    return answer


def sent_away(t, subject):
    raw = t.wire(on=subject, login=False)
    raw.timeout = 1.0
    raw.socket.settimeout(1.0)
    gone = raw.at_end()
    raw.drop()
    return gone


def pushed_out(t, subject):
    first = t.wire(on=subject, login=False)
    second = t.wire(on=subject, login=False)
    second.send(wire.request(wire.SSL_REQUEST))
    second.socket.recv(1)
    first.timeout = 0.5
    first.socket.settimeout(0.5)
    gone = first.at_end()
    first.drop()
    second.drop()
    return gone


def crowd_uses(t, subject):
    """Whether four at once have more than two servers."""
    clients = [t.wire(on=subject) for _ in range(4)]
    for client in clients:
        client.send(wire.query("SELECT pg_backend_pid() FROM pg_sleep(0.3)"))
    used = {wire.rows_of(client.ready())[0][0] for client in clients}
    for client in clients:
        client.close()
    return len(used) > 2


def two_requests(t, subject):
    client = t.wire(on=subject)
    states = [wire.sqlstates(client.query("SELECT 1")) for _ in range(2)]
    client.close()
    return states


def third_waits(t, subject):
    """What a client is told when two wait already for the only server."""
    clients = [t.wire(on=subject) for _ in range(4)]
    clients[0].query("BEGIN")
    desk = console(t, on=subject)
    for number in (1, 2):
        clients[number].send(wire.query("SELECT 1"))
        poll(lambda: one(desk, "SHOW POOLS", user="app")["cl_waiting"] == str(number), "it waits")
    limited = [row for row in table(desk, "SHOW LIMITS") if row["name"] == "waiting"]
    clients[3].send(wire.query("SELECT 1"))
    if not limited:
        poll(lambda: one(desk, "SHOW POOLS", user="app")["cl_waiting"] == "3", "it waits as well")
        clients[0].query("COMMIT")
    states = wire.sqlstates(clients[3].ready())
    clients[0].query("COMMIT")
    for client in clients[1:3]:
        client.ready()
    for client in clients + [desk]:
        client.close()
    return states


def crowd_of_twenty(t, subject):
    states = {refused(t, subject, keep=True) for _ in range(20)}
    for client in t.crowd:
        client.close()
    poll(lambda: not [row for row in table(console(t, on=subject), "SHOW CLIENTS") if row["database"] == "app"], "gone")
    return states - {None}


def six_consoles(t, subject):
    states = {refused(t, subject, database="pgbouncer", keep=True) for _ in range(6)}
    for client in t.crowd:
        client.close()
    return states - {None}


# What SET says, how to see it, and what is seen before and after. Each holds at once, or for who comes next.
EFFECTS = [
    ("listen.login_timeout", "300ms", sent_away, False, True),
    ("listen.max_logins", "1", pushed_out, False, True),
    ("listen.max_channels", "8", hears_without_a_pin, False, True),
    ("listen.tls.mode", "disable", speaks_tls, b"S", b"N"),
    ("listen.max_clients", "10", crowd_of_twenty, set(), {"53300"}),
    ("admin.max_consoles", "4", six_consoles, set(), {"53300"}),
    ("admin.stats_users", "other", lambda t, on: refused(t, on, user="other", database="pgbouncer"), "42501", None),
    ("admin.users", "app, crowd", lambda t, on: refused(t, on, user="crowd", database="pgbouncer"), "42501", None),
    ("upstream.options", "-c work_mem=7MB", lambda t, on: shown(on, "SHOW work_mem", t), "4MB", "7MB"),
    ("upstream.application_name", "reloaded", lambda t, on: shown(on, "SHOW application_name", t), "", "reloaded"),
    ("pool.session_state", "pin", pinned_by_set, False, True),
    ("pool.max_prepared_statements", "3", prepared_kept, "f", "t"),
    ("pool.on_abandoned_transaction", "commit", leaves_in_a_block, 0, 1),
    ("pool.size", "2", crowd_uses, True, False),
    ("limits.client_prepared_statements", "2", own_statements, [], ["54000"]),
    ("limits.user_clients", "5", crowd_of_twenty, set(), {"53300"}),
    ("limits.database_clients", "5", crowd_of_twenty, set(), {"53300"}),
    ("limits.address_clients", "5", crowd_of_twenty, set(), {"53300"}),
    ("limits.application_clients", "5", crowd_of_twenty, set(), {"53300"}),
    ("limits.user_requests", "1/h", two_requests, [[], []], [[], ["53400"]]),
    ("limits.database_requests", "2/h burst 1", two_requests, [[], []], [[], ["53400"]]),
    ("limits.address_requests", "hourly burst 1", two_requests, [[], []], [[], ["53400"]]),
    ("limits.application_requests", "strict burst 1", two_requests, [[], []], [[], ["53400"]]),
    ("limits.rules", "[{user: app, requests: 1/h}]", two_requests, [[], []], [[], ["53400"]]),
    ("log.level", "error", tells_of_consoles, True, False),
    ("auth.method", "trust", lambda t, on: refused(t, on, password="wrong"), "28P01", None),
]
# The same with a pool of one.
EFFECTS_OF_ONE = [
    ("pool.wait_timeout", "100ms", waits_in_vain, False, True),
    ("limits.waiting_clients", "2", third_waits, [], ["53300"]),
    ("pool.mode", "session", backends_of_two, False, True),
]


@test("reload: each of these settings holds as soon as SET has said so, and no longer than it says", subjects=PGMEND,
      seconds=120)
def effects(t):
    certificate, key = certificates.Authority(t.directory).server("localhost")
    base = {"admin": {"users": "app", "max_consoles": 30}}
    subject = t.own("effects", settings=merged(base, {"listen": {"tls": {"cert": str(certificate), "key": str(key)}}}))
    of_one = t.own("effects-of-one", settings=merged(base, {"pool": {"size": 1, "wait_timeout": "1s"}}))
    t.admin("SET ROLE app; DROP TABLE IF EXISTS reloaded; CREATE TABLE reloaded (a int)")
    for place, effects in ((subject, EFFECTS), (of_one, EFFECTS_OF_ONE)):
        admin = console(t, on=place)
        for key, value, probe, before, after in effects:
            same(probe(t, place), before, f"before SET {key}")
            answer = admin.query(f"SET {key} = '{value}'")
            same((wire.sqlstates(answer), wire.tags(answer)), ([], ["SET"]), key)
            same(probe(t, place), after, f"after SET {key}")
            same(wire.tags(admin.query("RELOAD")), ["RELOAD"], key)
            same(probe(t, place), before, f"{key} after RELOAD")
    t.admin("SET ROLE app; DROP TABLE reloaded")
