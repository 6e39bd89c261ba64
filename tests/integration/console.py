"""The admin console: what was written for PgBouncer's runs unchanged, commands do what they say, roles hold."""

import contextlib
import json
import re
import select
import threading
import time

import psycopg
import psycopg2

import wire
from clusters import Cluster, crash
from harness import PASSWORDS, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
ROLES = {"admin": {"users": "app, crowd", "stats_users": "other"}}

# PgBouncer 1.25's columns and the client_login_count of 1.26, in its order, with the types that its RowDescription gives (OIDs of pg_type).
TEXT, INT4, INT8, NUMERIC = 25, 23, 20, 1700
SOCKET = [("type", TEXT), ("user", TEXT), ("database", TEXT), ("replication", TEXT), ("state", TEXT), ("addr", TEXT),
          ("port", INT4), ("local_addr", TEXT), ("local_port", INT4), ("connect_time", TEXT), ("request_time", TEXT),
          ("wait", INT4), ("wait_us", INT4), ("close_needed", INT4), ("ptr", TEXT), ("link", TEXT),
          ("remote_pid", INT4), ("tls", TEXT), ("application_name", TEXT), ("prepared_statements", INT4), ("id", INT4)]
BUFFERS = [(name, INT4) for name in "recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail".split()]
TOTALS = ["server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time",
          "query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count", "client_login_count"]
COLUMNS = {
    "VERSION": [("version", TEXT)],
    "CONFIG": [("key", TEXT), ("value", TEXT), ("default", TEXT), ("changeable", TEXT)],
    "DATABASES": [("name", TEXT), ("host", TEXT), ("port", INT4), ("database", TEXT), ("force_user", TEXT)]
    + [(name, INT4) for name in "pool_size min_pool_size reserve_pool_size server_lifetime".split()]
    + [("pool_mode", TEXT), ("load_balance_hosts", TEXT)]
    + [(name, INT4) for name in "max_connections current_connections max_client_connections "
       "current_client_connections paused disabled".split()],
    "POOLS": [("database", TEXT), ("user", TEXT)]
    + [(name, INT4) for name in "cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active "
       "sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us".split()]
    + [("pool_mode", TEXT), ("load_balance_hosts", TEXT), ("pool_size", INT4)],
    "PEER_POOLS": [(name, INT4) for name in "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel "
                   "sv_login".split()],
    "CLIENTS": SOCKET,
    "SERVERS": SOCKET,
    "SOCKETS": SOCKET + BUFFERS,
    "ACTIVE_SOCKETS": SOCKET + BUFFERS,
    "USERS": [(name, TEXT) for name in "name pool_size reserve_pool_size pool_mode".split()]
    + [(name, INT4) for name in "max_user_connections current_connections max_user_client_connections "
       "current_client_connections".split()],
    "STATS": [("database", TEXT)]
    + [(f"total_{name}", NUMERIC) for name in "server_assignment_count xact_count query_count received sent xact_time "
       "query_time wait_time client_parse_count server_parse_count bind_count client_login_count".split()]
    + [(f"avg_{name}", NUMERIC) for name in "server_assignment_count xact_count query_count recv sent xact_time "
       "query_time wait_time client_parse_count server_parse_count bind_count client_login_count".split()],
    "STATS_TOTALS": [("database", TEXT)] + [(name, NUMERIC) for name in TOTALS],
    "STATS_AVERAGES": [("database", TEXT)]
    + [(name, NUMERIC) for name in TOTALS[:8] + ["avg_" + name for name in TOTALS[8:11]] + TOTALS[11:]],
    "TOTALS": [("name", TEXT), ("value", NUMERIC)],
    "LISTS": [("list", TEXT), ("items", INT4)],
    "MEM": [("name", TEXT), ("size", INT4), ("used", INT4), ("free", INT4), ("memtotal", INT4)],
    "STATE": [("key", TEXT), ("value", TEXT)],
    "DNS_HOSTS": [("hostname", TEXT), ("ttl", INT8), ("addrs", TEXT)],
    "DNS_ZONES": [("zonename", TEXT), ("serial", INT8), ("count", INT4)],
    "PEERS": [("peer_id", INT4), ("host", TEXT), ("port", INT4), ("pool_size", INT4)],
    "TOPOLOGY": [("server", TEXT), ("condition", TEXT), ("role", TEXT), ("read_only", TEXT), ("timeline", INT8),
                 ("lsn", TEXT), ("lag_ms", INT8), ("latency_us", INT8), ("addresses", TEXT), ("sv_connections", INT4),
                 ("banned", TEXT), ("source", TEXT), ("listed", TEXT), ("said", TEXT), ("since", TEXT), ("in_words", TEXT)],
    "PINS": [("reason", TEXT), ("clients", INT8), ("total", INT8), ("meaning", TEXT)],
    "LIMITS": [("name", TEXT), ("scope", TEXT), ("current", INT8), ("most", INT8), ("refused", INT8),
               ("setting", TEXT)],
    "MEMORY": [("name", TEXT), ("items", INT8), ("bytes", INT8), ("meaning", TEXT)],
    "BREAKERS": [("server", TEXT), ("class", TEXT), ("state", TEXT), ("reason", TEXT), ("in_a_row", INT4),
                 ("calls", INT8), ("failures", INT8), ("slow", INT8), ("trials", INT4), ("opened", INT8),
                 ("open_ms", INT8), ("worker", INT4)],
    "HEALINGS": [(name, TEXT) for name in "time kind server database user client outcome reason cause "
                 "statement".split()] + [("attempt", INT4), ("count", INT8), ("duration_ms", INT8), ("worker", INT4)],
    "STATEMENTS": [(name, INT8) for name in "calls errors retries pins time_ms timed mean_us p50_us p95_us "
                   "p99_us".split()] + [("statement", TEXT)],
    "COVERAGE": [("database", TEXT), ("outcome", TEXT), ("live", INT8), ("recent", INT8), ("total", INT8),
                 ("recent_percent", TEXT), ("total_percent", TEXT), ("statement", TEXT), ("meaning", TEXT)],
    "HEALTH": [(name, TEXT) for name in "component state since in_words suffers done advice".split()],
    "PROTECTION": [(name, TEXT) for name in "server database user rule works why meaning".split()] + [("asked_ago_s", INT8)],
}


def console(t, on=None, user="app", **more):
    return t.wire(user=user, database="pgbouncer", on=on, **more)


def table(client, command):
    """The rows of a command as dictionaries."""
    messages = client.query(command)
    same(wire.sqlstates(messages), [], command)
    names = [column[0] for column in wire.row_description(next(body for kind, body in messages if kind == "T"))]
    return [dict(zip(names, row)) for row in wire.rows_of(messages)]


def one(client, command, **where):
    found = [row for row in table(client, command) if all(row[key] == value for key, value in where.items())]
    check(len(found) == 1, f"{command} {where}: {found}")
    return found[0]


def error(messages):
    found = [wire.error_fields(body) for kind, body in messages if kind == "E"]
    check(found, f"no error in {messages}")
    return found[0]


def psql(t, on, *arguments, database="pgbouncer", status=0):
    environment = t.environment(database=database)
    environment["PGPORT"] = str(on.port)
    return t.psql(*arguments, env=environment, status=status)


# ---- what was written for PgBouncer ---------------------------------------------------------------------


@test("console: every SHOW has PgBouncer's columns in order with their types, by both protocols and in binary",
      subjects=PGMEND)
def columns(t):
    busy = t.wire()
    busy.query("BEGIN")
    simple, extended = console(t), t.wire(database="pgmend")
    for topic, wanted in COLUMNS.items():
        messages = simple.query(f"SHOW {topic};")
        same([(column[0], column[3]) for column in described(messages)[0]], wanted, topic)
        same(wire.tags(messages), ["SHOW"], topic)
        ask = wire.parse("s", f"show {topic.lower()}") + wire.describe("S", "s") + wire.bind("p", "s", results=[1])
        ask += wire.describe("P", "p") + wire.execute("p") + wire.close("S", "s") + wire.SYNC
        answer = extended.ask(ask)
        same(wire.sqlstates(answer), [], topic)
        same([[(column[0], column[3], column[6]) for column in each] for each in described(answer)],
             [[(name, oid, form) for name, oid in wanted] for form in (0, 1)], f"{topic} as text and in binary")
        for row in rows(answer):
            for value, (name, oid) in zip(row, wanted):
                size = {INT4: 4, INT8: 8}.get(oid)
                check(value is None or size is None or len(value) == size, f"{topic}.{name}: {value!r}")
    busy.query("ROLLBACK")


def described(messages):
    return [wire.row_description(body) for kind, body in messages if kind == "T"]


def rows(messages):
    return [wire.data_row(body) for kind, body in messages if kind == "D"]


@test("console: psql scripts written for PgBouncer run unchanged", subjects=PGMEND)
def scripts(t):
    worker = t.wire(parameters={"application_name": "their job"})
    worker.query("BEGIN; SELECT 1")
    # A check of the kind that is found in cron jobs: columns by number and by name.
    waiting = psql(t, t.subject, "-F,", "-c", "SHOW POOLS").splitlines()
    fields = [line.split(",") for line in waiting if line.startswith("app,app,")]
    check(len(fields) == 1 and int(fields[0][2]) >= 1 and int(fields[0][3]) == 0, waiting)
    script = t.directory / "check.sql"
    script.write_text("SHOW VERSION;\nSHOW STATS;\nshow lists;\nSHOW DATABASES;\nSHOW CLIENTS;\nSHOW SERVERS;\n"
                      "SHOW CONFIG;\n-- a comment\nSHOW USERS;\nSHOW STATE;\nSHOW MEM;\nSHOW HELP;\n")
    output = psql(t, t.subject, "-f", str(script))
    for words in ("pgmend ", "databases|", "default_pool_size|8|20|yes", "their job", "active|yes", "Console usage"):
        check(words in output, f"{words} in\n{output}")
    # psql -c takes several; watch and \\gset are of psql itself.
    output = psql(t, t.subject, "-c", "SHOW VERSION; SHOW STATE")
    check("pgmend" in output and "suspended|no" in output, output)
    same(psql(t, t.subject, "-c", "select version").count("pgmend"), 1, "SELECT stands for SHOW")
    same(psql(t, t.subject, "-c", ";"), "", "an empty query")
    worker.query("ROLLBACK")


# What prometheus-community's pgbouncer_exporter reads: the columns that become metrics, and its labels.
EXPORTER = {
    "SHOW DATABASES": (["name", "host", "port", "database", "force_user", "pool_mode"],
                       ["pool_size", "reserve_pool_size", "max_connections", "current_connections", "paused",
                        "disabled", "max_client_connections", "current_client_connections"]),
    "SHOW STATS_TOTALS": (["database"], ["query_count", "query_time", "bytes_received", "bytes_sent", "wait_time",
                                         "xact_count", "xact_time", "client_parse_count", "server_parse_count",
                                         "bind_count", "server_assignment_count"]),
    "SHOW POOLS": (["database", "user"], ["cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req",
                                          "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used",
                                          "sv_tested", "sv_login", "maxwait", "maxwait_us"]),
}


@test("console: what pgbouncer_exporter asks is answered as it expects, each series once", subjects=PGMEND)
def exporter(t):
    t.wire().rows("SELECT 1")
    with contextlib.closing(psycopg2.connect(**t.conninfo(database="pgbouncer"))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SHOW VERSION;")
        check(re.search(r"\d+\.\d+\.\d+", cursor.fetchone()[0]), "a version that a regular expression finds")
        for command, (labels, numbers) in EXPORTER.items():
            cursor.execute(command + ";")
            names = [column.name for column in cursor.description]
            check(set(labels + numbers) <= set(names), f"{command}: {names}")
            series = set()
            for row in cursor.fetchall():
                values = dict(zip(names, row))
                for name in numbers:
                    float(values[name])
                key = tuple(values[label] for label in labels)
                check(key not in series, f"{command}: {key} twice")
                series.add(key)
            check(series, f"{command} has rows")
        cursor.execute("SHOW LISTS;")
        found = dict(cursor.fetchall())
        check(set(found) == {"databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients",
                             "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries",
                             "dns_pending"}, found)
        cursor.execute("SHOW CONFIG;")
        found = {row[0]: row[1] for row in cursor.fetchall()}
        same({name: found.get(name) for name in ("listen_backlog", "max_client_conn", "default_pool_size",
                                                 "min_pool_size", "reserve_pool_size", "reserve_pool_timeout")},
             {"listen_backlog": "128", "max_client_conn": "10000", "default_pool_size": "8", "min_pool_size": "0",
              "reserve_pool_size": "0", "reserve_pool_timeout": "5"})
        check(not any(secret in str(found) for secret in PASSWORDS.values()), "no secret in SHOW CONFIG")


@test("console: drivers that use the extended protocol and open blocks unasked", subjects=PGMEND)
def drivers(t):
    with contextlib.closing(psycopg.connect(**t.conninfo(database="pgmend"))) as connection:
        same(connection.execute("SHOW STATE").fetchall()[0], ("active", "yes"), "inside a block that psycopg began")
        with connection.cursor(binary=True) as cursor:
            pools = cursor.execute("SHOW POOLS").fetchall()
            check(all(isinstance(value, int) for value in pools[0][2:15]), pools)
        try:
            connection.execute("PAUSE")
            check(False, "PAUSE in a block")
        except psycopg.errors.ActiveSqlTransaction:
            pass
        try:
            connection.execute("SHOW STATE")
            check(False, "the block has failed")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        connection.rollback()
        for _ in range(8):  # psycopg prepares after the fifth
            totals = dict(connection.execute("SHOW TOTALS", prepare=True).fetchall())
        check(totals["total_query_count"] >= 0, totals)
    client = t.wire(database="pgmend")
    answer = client.ask(wire.run("SHOW CONFIG", limit=3) + wire.execute("", 2) + wire.SYNC)
    same((len(rows(answer)), "".join(wire.kinds(answer)).count("s")), (5, 2), "portals are suspended")
    same(error(client.ask(wire.run("KILL_CLIENT $1", ["1"]) + wire.SYNC))["C"], "22023")
    same(error(client.ask(wire.parse("", "SHOW STATE") + wire.bind("", "", ["1"]) + wire.SYNC))["C"], "08P01")
    same(error(client.ask(wire.bind("", "none") + wire.execute() + wire.SYNC))["C"], "26000")
    same(wire.rows_of(client.ask(wire.run("SHOW CLIENT_ENCODING") + wire.SYNC)), [["UTF8"]])
    same(client.value("SELECT 1"), "1")
    same(wire.tags(client.query("SET application_name = 'x'; SET extra_float_digits = 3")), ["SET", "SET"])


@test("console: what is wrong is said with a SQLSTATE and what was meant", subjects=PGMEND)
def wrong(t):
    client = console(t)
    for command, sqlstate, words in [
        ("SHOW POLS", "42601", "SHOW POOLS"), ("PAUS", "42601", "PAUSE"), ("SHOW", "42601", "SHOW HELP"),
        ("gibberish and more", "42601", "SHOW HELP"), ("PAUSE app app", "42601", "PAUSE"),
        ("DISABLE", "42601", "database"), ("PAUSE 'unterminated", "42601", "Close"), ("SUSPEND", "0A000", "PAUSE"),
        ("SHOW FDS", "0A000", "SHOW SOCKETS"), ("SELECT 1 + 1", "0A000", "SHOW HELP"), ("KILL_CLIENT x", "22023", "SHOW"),
        ("KILL_CLIENT 999999", "42704", "SHOW CLIENTS"), ("PAUSE never_heard_of", "3D000", "SHOW DATABASES"),
        ("RESUME", "55000", None), ("RESUME app", "55000", None), ("SET nonsense = 1", "42704", None),
        ("SET pool.sise = 1", "42704", "pool.size"), ("KILL pgbouncer", "55000", None), ("SHUTDOWN NOW", "42601", "WAIT"),
    ]:
        answer = client.query(command)
        check("E" in wire.kinds(answer), f"{command}: {answer}")
        fields = error(answer)
        same((fields["S"], fields["C"]), ("ERROR", sqlstate), command)
        check(words is None or words in fields.get("H", ""), f"{command}: {fields}")
        same(wire.statuses(answer), "I", command)
    same(error(client.query("SHOW STATE; SHOW NOTHING"))["C"], "42601", "nothing of a wrong text is carried out")
    client.send(b"Q" + (2 << 20).to_bytes(4, "big"))
    same(error(client.until("E"))["C"], "08P01", "a message beyond limits.held_message")


# ---- who may ----------------------------------------------------------------------------------------------


@test("console: only those who are named come in, stats users change nothing (CVE-2026-6667), secrets are asked for",
      settings=ROLES, subjects=PGMEND)
def roles(t):
    for user, database in [("legacy", "pgbouncer"), ("streamer", "pgmend")]:
        try:
            t.wire(user=user, database=database)
            check(False, f"{user} came in")
        except wire.Refused as refused:
            same(refused.fields["C"], "42501")
    try:
        t.wire(database="pgbouncer", password="wrong")
        check(False, "a wrong password")
    except wire.Refused as refused:
        same(refused.fields["C"], "28P01")
    victim = t.wire()
    victim.rows("SELECT 1")
    stats = console(t, user="other")
    number = one(stats, "SHOW CLIENTS", user="app", database="app")["id"]
    for command in ["KILL_CLIENT " + number, "KILL", "KILL app", "PAUSE", "RESUME", "DISABLE app", "ENABLE app",
                    "RECONNECT", "RELOAD", "SHUTDOWN", "SET pool.size = 3", "WAIT_CLOSE"]:
        same(error(stats.query(command))["C"], "42501", command)
        same(error(stats.ask(wire.run(command) + wire.SYNC))["C"], "42501", command)
    same(victim.value("SELECT 2"), "2", "nobody was killed")
    same(table(stats, "SHOW STATE")[1]["value"], "no", "nothing was paused")
    same(wire.tags(console(t, user="crowd").query("KILL_CLIENT " + number)), ["KILL_CLIENT"], "an admin may")
    kind, body = victim.receive()
    same((kind, wire.error_fields(body)["C"]), ("E", "57P01"))


@test("console: without a list only the upstream user administers; a crowd of clients does not lock it out",
      settings={"listen": {"max_clients": 3}, "admin": {"max_consoles": 2}}, subjects=PGMEND)
def alone(t):
    clients = [t.wire() for _ in range(3)]
    try:
        t.wire()
        check(False, "a fourth client")
    except wire.Refused as refused:
        same(refused.fields["C"], "53300")
    first, second = console(t), console(t)
    try:
        console(t)
        check(False, "a third console")
    except wire.Refused as refused:
        same([refused.fields[key] for key in "CMDH"],
             ["53300", "too many consoles are open", "The limit is 2 (admin.max_consoles), 0 remain.",
              "Retry when one of them has left, or ask for a higher limit."])
    same(one(first, "SHOW LIMITS", name="clients")["current"], "3")
    same(one(second, "SHOW LIMITS", name="consoles")["current"], "2")
    second.close()
    poll(lambda: one(first, "SHOW LIMITS", name="consoles")["current"] == "1", "its place is free")
    console(t).close()
    try:
        t.wire(user="other", database="pgmend")
        check(False, "another user")
    except wire.Refused as refused:
        same(refused.fields["C"], "42501")
    for client in clients:
        client.close()
    poll(lambda: one(first, "SHOW LIMITS", name="clients")["current"] == "0", "they are gone")


@test("console: it answers while no server does", subjects=PGMEND, settings={"pool": {"wait_timeout": "2s"}})
def outage(t):
    subject = t.own("outage", url=f"postgres://app:{PASSWORDS['app']}@127.0.0.1:1/app", only_live=True)
    client = console(t, on=subject)
    node = table(client, "SHOW TOPOLOGY")[0]
    same((node["server"], node["role"]), ("127.0.0.1:1", "unknown"))
    check(node["condition"] == "down", node)
    same(table(client, "SHOW POOLS"), [])


# ---- what commands do --------------------------------------------------------------------------------------


@test("console: SHOW tells what is there: clients, servers, pools, statistics, pins", subjects=PGMEND)
def facts(t):
    subject = t.own("facts", settings={"admin": {"stats_period": "1s"}})
    client = t.wire(on=subject, parameters={"application_name": "facts of a client"})
    client.query("BEGIN")
    pid = client.value("SELECT pg_backend_pid()")
    watch = console(t, on=subject)
    mine = one(watch, "SHOW CLIENTS", application_name="facts of a client")
    same((mine["type"], mine["user"], mine["database"], mine["state"]), ("C", "app", "app", "active"))
    same((mine["addr"], mine["port"]), (client.socket.getsockname()[0], str(client.socket.getsockname()[1])))
    same(mine["local_port"], str(subject.port))
    server = one(watch, "SHOW SERVERS", remote_pid=pid)
    same((server["state"], server["ptr"], server["link"], server["port"]),
         ("active", mine["link"], mine["ptr"], str(t.postgres.port)))
    pool = one(watch, "SHOW POOLS", database="app", user="app")
    same((pool["cl_active"], pool["cl_waiting"], pool["sv_active"], pool["pool_mode"]), ("1", "0", "1", "transaction"))
    client.query("ROLLBACK")
    same(one(watch, "SHOW CLIENTS", application_name="facts of a client")["state"], "idle")
    before = one(watch, "SHOW STATS", database="app")
    for _ in range(5):
        client.rows("SELECT 1")
    client.query("BEGIN; SELECT 1")
    client.rows("SELECT pg_sleep(0.2)")
    client.query("COMMIT")
    client.ask(wire.parse("named", "SELECT 3") + wire.bind("", "named") + wire.execute() + wire.SYNC)
    after = one(watch, "SHOW STATS", database="app")
    grown = {name: int(after[name]) - int(before[name]) for name in after if name.startswith("total_")}
    same({name: grown["total_" + name] for name in ("xact_count", "query_count", "server_assignment_count",
                                                    "client_parse_count", "server_parse_count", "bind_count")},
         {"xact_count": 7, "query_count": 9, "server_assignment_count": 7, "client_parse_count": 1,
          "server_parse_count": 1, "bind_count": 1})
    check(200_000 <= grown["total_query_time"] <= grown["total_xact_time"] + 1000 < 5_000_000, grown)
    check(grown["total_received"] > 100 and grown["total_sent"] > 200, grown)
    same(one(watch, "SHOW CLIENTS", application_name="facts of a client")["prepared_statements"], "1")
    poll(lambda: [client.rows("SELECT 1"), int(one(watch, "SHOW STATS", database="app")["avg_query_count"])][1] > 0,
         "averages of the last period")
    client.query("LISTEN nothing")
    poll(lambda: one(watch, "SHOW PINS", reason="listen")["clients"] == "1", "a pin: the server is asked after LISTEN")
    client.close()
    poll(lambda: one(watch, "SHOW PINS", reason="listen")["clients"] == "0", "the pin is gone")
    same(one(watch, "SHOW TOPOLOGY")["role"], "primary")
    kept = one(watch, "SHOW STATS", database="app")
    check(int(kept["total_xact_count"]) >= int(after["total_xact_count"]), "statistics outlive their clients")


@test("console: SHOW STATEMENTS tells of every shape how often it ran, failed, was sent again, pinned, and its time",
      subjects=PGMEND)
def statements(t):
    subject = t.own("statements", settings={"admin": {"users": "app", "stats_users": "other"}})
    client, watch = t.wire(on=subject), console(t, on=subject)

    def of(text):
        found = [row for row in table(watch, "SHOW STATEMENTS") if row["statement"] == text]
        check(len(found) <= 1, found)
        return {name: int(value) for name, value in found[0].items() if name != "statement"} if found else None

    def counts(text, *names):
        row = of(text)
        return row and tuple(row[name] for name in names)

    for i in range(5):
        same(client.value(f"SELECT {i} + 7 /* {i} */"), str(i + 7))
    same(counts("SELECT ? + ?", "calls", "errors", "retries", "pins", "timed"), (5, 0, 0, 0, 5))
    client.query("SELECT 1 / 0")
    same(counts("SELECT ? / ?", "calls", "errors", "timed"), (1, 1, 1))
    client.rows("SELECT pg_sleep(0.25)")
    slow = of("SELECT pg_sleep ( ? )")
    check(min(slow[name] for name in ("mean_us", "p50_us", "p95_us", "p99_us", "time_ms")) >= 250, slow)
    check(min(slow[name] for name in ("mean_us", "p50_us", "p95_us", "p99_us")) >= 250_000, slow)
    # By the extended protocol too: by name, unnamed, with an error before it runs, and a portal read in parts.
    again = wire.bind("", "by name", ["z"]) + wire.execute()
    client.ask(wire.parse("by name", "SELECT 'x' || $1", [25]) + again + wire.SYNC)
    client.ask(again + wire.SYNC)
    same(counts("SELECT ? || $1", "calls", "errors", "timed"), (2, 0, 2))
    nowhere = wire.parse("", "SELECT nothing_there") + wire.bind("", "") + wire.execute() + wire.SYNC
    same(wire.sqlstates(client.ask(nowhere)), ["42703"])
    same(counts("SELECT nothing_there", "calls", "errors"), (1, 1))
    client.query("BEGIN")
    client.ask(wire.parse("rows", "SELECT * FROM generate_series(1, 3)") + wire.bind("p", "rows") +
               wire.execute("p", 1) + wire.SYNC)
    client.ask(wire.parse("", "SELECT true") + wire.bind("", "") + wire.execute() + wire.SYNC)
    client.ask(wire.execute("p", 1) + wire.SYNC)
    client.query("COMMIT")
    same(counts("SELECT * FROM generate_series ( ? , ? )", "calls", "timed"), (1, 1), "its first rows")
    same(counts("SELECT true", "calls", "timed"), (1, 1), "further rows of another portal are not its own")
    same((counts("BEGIN", "calls", "timed"), counts("COMMIT", "calls", "timed")), ((1, 1), (1, 1)))
    # A pipeline: the time is that of the last statement, each has its call.
    client.ask(wire.parse("", "SELECT 1.5") + wire.bind("", "") + wire.execute() + again + wire.SYNC)
    same((counts("SELECT ?", "calls", "timed"), counts("SELECT ? || $1", "calls", "timed")), ((1, 0), (3, 3)))
    # Who keeps a server, and for what statement.
    client.query("SELECT pg_advisory_lock(4713)")
    poll(lambda: counts("SELECT pg_advisory_lock ( ? )", "calls", "pins") == (1, 1), "the server is asked first", timeout=30)
    client.query("SELECT pg_advisory_unlock(4713)")
    # A read whose server is lost is sent again, and is one answer.
    t.admin("CREATE TABLE IF NOT EXISTS waited_for (a int)")
    t.admin("GRANT ALL ON waited_for TO app")
    with t.postgres.admin("app") as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE waited_for")
        client.send(wire.query("SELECT count(*) FROM waited_for WHERE a = 5"))
        waits = "FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock' AND query LIKE '%waited_for%'"
        poll(lambda: t.admin("SELECT count(pg_terminate_backend(pid)) " + waits)[0][0], "it is under way", timeout=30)
        holder.execute("ROLLBACK")
    same(wire.sqlstates(client.until("Z")), [])
    same(counts("SELECT count ( * ) FROM waited_for WHERE a = ?", "calls", "errors", "retries", "timed"), (2, 0, 1, 1))
    t.admin("DROP TABLE waited_for")
    other = console(t, on=subject, user="other")
    same(error(other.query("RESET STATEMENTS"))["C"], "42501")
    same(wire.tags(watch.query("RESET STATEMENTS")), ["RESET"])
    same(table(watch, "SHOW STATEMENTS"), [])
    client.ask(again + wire.SYNC)
    same(counts("SELECT ? || $1", "calls", "errors", "timed"), (1, 0, 1))


@test("console: SHOW STATEMENTS has a bound, and what has no place of its own is counted all the same", subjects=PGMEND)
def many_statements(t):
    subject = t.own("many-statements", settings={"admin": {"statements": 16}, "workers": 1})
    client, watch = t.wire(on=subject), console(t, on=subject)
    for i in range(200):
        client.query(f"SELECT 1 AS column_{i}")
    found = [row for row in table(watch, "SHOW STATEMENTS") if row["statement"].startswith(("SELECT ? AS", "(all"))]
    check(len(found) <= 17, f"{len(found)} rows")
    same(sum(int(row["calls"]) for row in found), 200)
    check(100 <= sum(int(row["timed"]) for row in found) <= 300, f"{found}")  # of all others one in eight


@test("console: SHOW COVERAGE tells what share would survive the loss of a server, and which statements do not",
      subjects=PGMEND)
def coverage(t):
    subject = t.own("coverage", settings={"admin": {"stats_period": "1s"}})
    t.admin("CREATE TABLE IF NOT EXISTS covered (a int)")
    t.admin("GRANT ALL ON covered TO app")
    client, watch = t.wire(on=subject), console(t, on=subject)

    def outcomes(column="total"):
        return {row["outcome"]: int(row[column]) for row in table(watch, "SHOW COVERAGE") if row["database"] == "app"}

    before = outcomes().get("covered", 0)
    for _ in range(4):
        client.query("BEGIN")
        client.query("INSERT INTO covered VALUES (1)")
        client.query("COMMIT")
        client.query("SELECT 1")
    same(outcomes(), {"covered": before + 8}, "blocks that write, and plain reads")
    for _ in range(2):
        client.query("INSERT INTO covered VALUES (2)")
    client.query("BEGIN")
    client.query("SELECT pg_advisory_xact_lock(4714)")
    client.query("ROLLBACK")
    same(outcomes(), {"covered": before + 8, "wrote_outside": 2, "advisory_lock": 1})
    blamed = {(row["outcome"], row["statement"]): int(row["total"])
              for row in table(watch, "SHOW COVERAGE") if row["database"] is None}
    same(blamed, {("wrote_outside", "INSERT INTO covered VALUES ( ? )"): 2,
                  ("advisory_lock", "SELECT pg_advisory_xact_lock ( ? )"): 1})
    metrics = subject.http("/metrics")[1]
    for reason, count in (("wrote_outside", 2), ("advisory_lock", 1), ("pinned", 0)):
        check(f'pgmend_uncovered_requests_total{{reason="{reason}"}} {count}\n' in metrics, reason)
    # What is under way: one that would be run again, one that would not.
    client.query("BEGIN")
    client.query("INSERT INTO covered VALUES (3)")
    other = t.wire(on=subject)
    other.query("BEGIN")
    other.query("SELECT pg_advisory_xact_lock(4714)")
    same(outcomes("live"), {"covered": 1, "wrote_outside": 0, "advisory_lock": 1})
    client.query("COMMIT")
    other.query("COMMIT")
    same(sum(outcomes("live").values()), 0)
    # Who keeps a server for older state is lost with it.
    client.query("CREATE TEMPORARY TABLE mine (a int)")
    client.query("SELECT 1")
    poll(lambda: outcomes().get("pinned") == 1, "who keeps a server is lost with it", timeout=30)
    poll(lambda: [client.query("SELECT 1"), outcomes("recent").get("pinned", 0)][1] > 0, "of the last period", timeout=30)
    client.close()
    t.admin("DROP TABLE covered")


@test("console: PAUSE waits for transactions, holds everybody, and RESUME loses nothing, under load", subjects=PGMEND)
def pause(t):
    subject = t.own("pause", pool_size=4)
    stop, errors, done = threading.Event(), [], [0] * 8
    clients = [t.wire(on=subject) for _ in range(8)]

    def work(number):
        try:
            while not stop.is_set():
                answer = clients[number].query("BEGIN; SELECT 1; COMMIT")
                same(wire.sqlstates(answer), [])
                done[number] += 1
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    admin = console(t, on=subject)
    for turn in range(10):
        command = ("PAUSE", "PAUSE app")[turn % 2]
        poll(lambda: sum(done) > 50 * turn, "they work")
        same(wire.tags(admin.query(command)), ["PAUSE"])
        same(subject_servers(t, subject), 0, "PAUSE returns when every server is closed")
        before = list(done)
        poll(lambda: one(admin, "SHOW POOLS", database="app")["cl_waiting"] == "8", "everybody waits")
        same(done, before, "nobody was served meanwhile")
        paused = one(admin, "SHOW DATABASES", name="app")["paused"]
        same((paused, table(admin, "SHOW STATE")[1]["value"]), ("1", "yes" if turn % 2 == 0 else "no"))
        same(wire.tags(admin.query(command.replace("PAUSE", "RESUME"))), ["RESUME"])
        poll(lambda: all(now > then for now, then in zip(done, before)), "everybody goes on")
    stop.set()
    for thread in threads:
        thread.join(20)
    same(errors, [])
    # A transaction is waited for; ^C takes the PAUSE back.
    clients[0].query("BEGIN")
    admin.send(wire.query("PAUSE"))
    watch = console(t, on=subject)
    poll(lambda: table(watch, "SHOW STATE")[1]["value"] == "yes", "it pauses")
    same(error(watch.query("PAUSE"))["C"], "55000", "twice")
    same(clients[0].value("SELECT 'goes on'"), "goes on", "who is in a transaction is served")
    with contextlib.closing(t.wire(on=subject, login=False)) as canceller:
        canceller.send(wire.cancel(admin.pid, admin.key))
        check(canceller.at_end(), "closed")
    same(error(admin.until("Z"))["C"], "57014")
    same(table(watch, "SHOW STATE")[1]["value"], "no")
    same(clients[1].value("SELECT 'too'"), "too")
    # A login is waited with as well, and is served after RESUME.
    clients[0].query("COMMIT")
    same(wire.tags(admin.query("PAUSE")), ["PAUSE"])
    late = t.wire(on=subject, user="other", database="other", login=False)
    login = threading.Thread(target=lambda: late.login("other", PASSWORDS["other"], "other"))
    login.start()
    poll(lambda: [row["cl_waiting"] for row in table(admin, "SHOW POOLS") if row["database"] == "other"] == ["1"],
         "a login waits")
    same(wire.tags(admin.query("RESUME")), ["RESUME"])
    login.join(20)
    same(late.value("SELECT 'in'"), "in")


def subject_servers(t, subject):
    rows = t.admin("SELECT client_port FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres' "
                   "AND application_name <> 'pgmend health'")
    ports = subject.local_ports()
    return sum(port in ports for port, in rows)


@test("console: KILL closes clients at once and holds new ones, KILL_CLIENT closes one, in a transaction too",
      subjects=PGMEND)
def kill(t):
    subject = t.own("kill", pool_size=4)
    admin = console(t, on=subject)
    victims = [t.wire(on=subject, parameters={"application_name": f"victim {number}"}) for number in range(4)]
    t.admin("SET ROLE app; DROP TABLE IF EXISTS killed; CREATE TABLE killed (a int)")
    victims[0].query("BEGIN; INSERT INTO killed VALUES (1)")
    victims[1].send(wire.query("SELECT pg_sleep(60)"))
    number = {row["application_name"]: row["id"] for row in table(admin, "SHOW CLIENTS")}
    poll(lambda: t.servers("state = 'active' AND query LIKE '%pg_sleep(60)%'"), "it runs")
    for victim in (0, 1):
        same(wire.tags(admin.query(f"KILL_CLIENT {number[f'victim {victim}']}")), ["KILL_CLIENT"])
        messages = victims[victim].until("E")
        same(error(messages)["C"], "57P01")
        check(victims[victim].at_end(), "closed")
    same(error(admin.query(f"KILL_CLIENT {number['victim 0']}"))["C"], "42704", "it is gone")
    poll(lambda: not t.servers("query LIKE '%pg_sleep(60)%' AND state = 'active'"), "its statement was cancelled")
    same(victims[2].value("SELECT count(*) FROM killed"), "0", "rolled back")
    same(wire.tags(admin.query("KILL app")), ["KILL"])
    for victim in victims[2:]:
        same(error(victim.until("E"))["C"], "57P01")
        check(victim.at_end(), "closed")
    poll(lambda: subject_servers(t, subject) == 0, "no server is left")
    held = t.wire(on=subject)
    held.send(wire.query("SELECT 'held'"))
    poll(lambda: one(admin, "SHOW POOLS", database="app")["cl_waiting"] == "1", "a new client waits")
    same(wire.tags(admin.query("RESUME app")), ["RESUME"])
    same(wire.rows_of(held.until("Z")), [["held"]])


@test("console: SHOW TOPOLOGY tells where servers are now, and how far a standby is behind that receives nothing any more",
      subjects=PGMEND, seconds=90)
def lag(t):
    cluster = Cluster(t, standbys=1)
    old, new = cluster.servers
    subject = t.own("lag", url=cluster.url(), settings={"health": {"interval": "100ms"},
                                                        "admin": {"users": "app", "stats_users": "other"}})
    watch = console(t, on=subject)

    def shown(server):
        return one(watch, "SHOW TOPOLOGY", server=f"{server.host}:{server.port}")

    poll(lambda: shown(new)["role"] == "standby", "both are known", timeout=30)
    before = shown(old)["lsn"]
    cluster.sql("CREATE TABLE lagging (a int)")
    poll(lambda: shown(old)["lsn"] != before, "what is shown of the primary is of now", timeout=30)
    poll(lambda: shown(new)["lag_ms"] == "0", "the standby follows", timeout=30)
    link = cluster.sql("SHOW primary_conninfo", on=new)[0][0].replace("'", "''")
    with new.admin() as admin:
        admin.execute("ALTER SYSTEM SET primary_conninfo = ''")
        admin.execute("SELECT pg_reload_conf()")
    poll(lambda: not cluster.sql("SELECT 1 FROM pg_stat_wal_receiver", on=new), "it receives nothing", timeout=30)
    cluster.sql("INSERT INTO lagging VALUES (1)")
    poll(lambda: int(shown(new)["lag_ms"]) > 1000, "it falls behind", timeout=30)
    same(cluster.sql("SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()", on=new), [(True,)],
         "by what it knows itself it lacks nothing")
    with new.admin() as admin:
        admin.execute(f"ALTER SYSTEM SET primary_conninfo = '{link}'")
        admin.execute("SELECT pg_reload_conf()")
    poll(lambda: shown(new)["lag_ms"] == "0", "it has caught up", timeout=30)


@test("console: BAN keeps new requests from a server, lets transactions end, and UNBAN brings it back; the last one is refused",
      subjects=PGMEND, seconds=60)
def ban(t):
    cluster = Cluster(t, standbys=1)
    old, new = cluster.servers
    subject = t.own("ban", url=cluster.url(), settings={"hold": {"timeout": "5min"}, "pool": {"wait_timeout": "5min"},
                                                        "admin": {"users": "app", "stats_users": "other"}})
    watch, client = console(t, on=subject), t.wire(on=subject)
    names = {server: f"{server.host}:{server.port}" for server in (old, new)}
    client.query("CREATE TABLE banned (a int)")

    def standing(server):
        return one(watch, "SHOW TOPOLOGY", server=names[server])["banned"]

    poll(lambda: one(watch, "SHOW TOPOLOGY", server=names[new])["role"] == "standby", "both are known", timeout=30)
    same((standing(old), standing(new)), ("no", "no"))
    # The only server that requests can go to: only by force.
    told = error(watch.query(f"BAN {names[old]}"))
    same((told["C"], "only one" in told["M"], "FORCE" in told["H"]), ("55000", True, True))
    same(error(watch.query("BAN nowhere:1"))["C"], "42704")
    same(error(watch.query(f"UNBAN {names[old]}"))["C"], "55000")
    same(error(console(t, on=subject, user="other").query(f"BAN {names[new]}"))["C"], "42501")
    # A standby nobody is sent to may be banned, for a time, and that ends by itself.
    same(wire.tags(watch.query(f"BAN {names[new]} 1")), ["BAN"])
    check(re.fullmatch(r"[01] s left|no", standing(new)), standing(new))
    poll(lambda: standing(new) == "no", "its time is over", timeout=30)
    # By force: the transaction under way ends where it is, what comes next waits.
    client.query("BEGIN")
    client.query("INSERT INTO banned VALUES (1)")
    same(wire.tags(watch.query(f"BAN {names[old]} FORCE")), ["BAN"])
    same(standing(old), "until UNBAN")
    same(wire.sqlstates(client.query("INSERT INTO banned VALUES (2)")), [])
    same(wire.tags(client.query("COMMIT")), ["COMMIT"])
    poll(lambda: not cluster.sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'app' "
                                 "AND application_name NOT LIKE 'pgmend%'"), "its connections are closed", timeout=30)
    client.send(wire.query("SELECT count(*) FROM banned"))
    poll(lambda: one(watch, "SHOW POOLS", database="app", user="app")["cl_waiting"] == "1", "it waits", timeout=30)
    health = json.loads(subject.http("/health")[1])
    same((health["state"], health["components"]["topology"]["state"]), ("critical", "critical"))
    check("banned" in health["components"]["topology"]["reason"], health)
    check("pgmend_servers_banned 1\n" in subject.http("/metrics")[1], "the metric")
    # Another one takes over: what waits goes there, and the ban of the old one stays.
    cluster.caught_up()
    crash(old)
    new.promote()
    messages = client.until("Z")
    same((wire.sqlstates(messages), wire.rows_of(messages)), ([], [["2"]]))
    same(wire.tags(watch.query(f"UNBAN {names[old]}")), ["UNBAN"])
    same(standing(old), "no")
    acts = [(row["server"], row["outcome"]) for row in table(watch, "SHOW HEALINGS") if row["kind"] == "ban"]
    same(acts, [(names[new], "banned"), (names[new], "ban_over"), (names[old], "banned"), (names[old], "unbanned")])
    check("by app" in table(watch, "SHOW HEALINGS")[-1]["cause"], "who it was")
    check("pgmend_servers_banned 0\n" in subject.http("/metrics")[1], "the metric")


@test("console: DISABLE keeps new clients out and leaves the others, RECONNECT renews every server, WAIT_CLOSE waits",
      subjects=PGMEND)
def reconnect(t):
    subject = t.own("reconnect", pool_size=4)
    admin, client, busy = console(t, on=subject), t.wire(on=subject), t.wire(on=subject)
    same(wire.tags(admin.query("DISABLE app")), ["DISABLE"])
    try:
        t.wire(on=subject)
        check(False, "a new client")
    except wire.Refused as refused:
        same(refused.fields["C"], "55000")
        check("not currently accepting connections" in refused.fields["M"], refused.fields)
    same(client.value("SELECT 1"), "1", "who is in stays")
    same(one(admin, "SHOW DATABASES", name="app")["disabled"], "1")
    same(wire.tags(admin.query("ENABLE app")), ["ENABLE"])
    t.wire(on=subject).close()
    busy.query("BEGIN")
    old = busy.value("SELECT pg_backend_pid()")
    client.rows("SELECT 1")
    same(wire.tags(admin.query("RECONNECT")), ["RECONNECT"])
    same(busy.value("SELECT pg_backend_pid()"), old, "a transaction keeps its server")
    same(one(admin, "SHOW SERVERS", remote_pid=old)["close_needed"], "1")
    watch = console(t, on=subject)
    admin.send(wire.query("WAIT_CLOSE app"))
    time_out = time.monotonic() + 0.3
    while time.monotonic() < time_out:
        same([row["remote_pid"] for row in table(watch, "SHOW SERVERS") if row["close_needed"] == "1"], [old])
    check(not admin_answered(admin), "WAIT_CLOSE waits")
    busy.query("COMMIT")
    same(wire.tags(admin.until("Z")), ["WAIT_CLOSE"])
    check(busy.value("SELECT pg_backend_pid()") != old, "another server")
    poll(lambda: not t.servers(f"pid = {old}"), "the old one is gone")


def admin_answered(client):
    return bool(select.select([client.socket], [], [], 0)[0])


@test("console: SHUTDOWN WAIT_FOR_CLIENTS lets them finish, WAIT_FOR_SERVERS their transactions, SHUTDOWN ends at once",
      subjects=PGMEND)
def shutdown(t):
    for command in ("SHUTDOWN WAIT_FOR_CLIENTS", "SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN"):
        subject = t.own("shutdown")
        admin, client = console(t, on=subject), t.wire(on=subject)
        client.query("BEGIN")
        if command == "SHUTDOWN":
            admin.send(wire.query(command))
            same(subject.process.wait(10), 0, "exit status")
            continue
        same(wire.tags(admin.query(command)), ["SHUTDOWN"])
        poll(lambda: subject.http("/ready")[0] == 503, "/ready is 503")
        same(client.value("SELECT 'goes on'"), "goes on", command)
        check(subject.alive(), "it is still there")
        same(error(admin.query("PAUSE"))["C"], "55000", "it is shutting down")
        same(wire.tags(client.query("COMMIT")), ["COMMIT"])
        if command.endswith("CLIENTS"):
            same(client.value("SELECT 'and on'"), "and on")
            client.close()
        same(subject.process.wait(10), 0, "exit status")


@test("console: commands are logged with who gave them; a disconnected console leaves nothing behind", subjects=PGMEND)
def logged(t):
    subject = t.own("logged")
    admin = console(t, on=subject)
    admin.query("RECONNECT app")
    holder = t.wire(on=subject)
    holder.query("BEGIN")
    admin.send(wire.query("PAUSE app"))
    watch = console(t, on=subject)
    poll(lambda: one(watch, "SHOW DATABASES", name="app")["paused"] == "1", "paused")
    admin.drop()
    poll(lambda: one(watch, "SHOW LIMITS", name="consoles")["current"] == "1", "its place is free")
    holder.query("COMMIT")
    same(wire.tags(watch.query("RESUME app")), ["RESUME"], "the pause stands until RESUME")
    log = subject.log.read_text()
    check(re.search(r"console_command user=app command=\"?RECONNECT app", log), log[-2000:])
