"""What people and their tools ask over HTTP: health, and the tables of the console as JSON."""

import base64
import http.client
import json
import socket
import time

import wire
from console import COLUMNS, INT4, INT8, NUMERIC, console, table
from harness import PASSWORDS, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def ask(subject, path, method="GET", user=None, password=None, host=None, **headers):
    """Status, headers and what the JSON says (or the text)."""
    connection = http.client.HTTPConnection(host or subject.host, subject.http_port, timeout=15)
    if user:
        both = f"{user}:{password or PASSWORDS[user]}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(both).decode()
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json"
    return answer.status, answer.headers, json.loads(text) if is_json and text else text


def state(subject, path="/health"):
    status, _, body = ask(subject, path)
    return status, body


@test("http: every table of the console is there as JSON, with its columns, its order and its types", subjects=PGMEND)
def tables(t):
    busy = t.wire(parameters={"application_name": 'so "called"\n\x01'})
    busy.query("BEGIN")
    _, _, listed = ask(t.subject, "/api")
    topics = [name for name in listed["tables"] if name != "events"]
    check(set(COLUMNS) <= {name.upper() for name in topics}, topics)
    desk = console(t)
    for topic in topics:
        status, headers, body = ask(t.subject, f"/api/{topic}")
        same((status, headers["Content-Type"], list(body)), (200, "application/json", [topic]))
        messages = desk.query(f"SHOW {topic}")
        columns = [(one[0], one[3]) for kind, one in
                   ((kind, column) for kind, data in messages if kind == "T" for column in wire.row_description(data)
                    for kind in "T")]
        for row in body[topic]:
            same(list(row), [name for name, _ in columns], topic)
            for name, oid in columns:
                number = oid in (INT4, INT8, NUMERIC)
                check(row[name] is None or isinstance(row[name], int if number else str), f"{topic}.{name}: {row[name]!r}")
    rows = ask(t.subject, "/api/CLIENTS?x=1")[2]["CLIENTS"]
    check(any(row["application_name"].startswith('so "called"') for row in rows), rows)
    wanted = {(row["key"], row["value"]) for row in table(desk, "SHOW CONFIG")}
    same({(row["key"], row["value"]) for row in ask(t.subject, "/api/config")[2]["config"]}, wanted, "one source")
    secrets = json.dumps([ask(t.subject, f"/api/{topic}")[2] for topic in topics])
    check(not any(word in secrets for word in PASSWORDS.values()), "no secret is told")
    same(ask(t.subject, "/api/help")[0], 404)
    same(ask(t.subject, "/api/nothing")[0], 404)
    same(ask(t.subject, "/api/pools", "POST")[0], 405)
    same(ask(t.subject, "/api/events?limit=many")[0], 400)
    busy.query("ROLLBACK")


@test("http: /health says what is well, and POST /health/check looks at once", subjects=PGMEND)
def healthy(t):
    subject = t.own("well", settings={"health": {"interval": "30s"}})
    same(subject.http("/startup")[0], 200)
    poll(lambda: state(subject)[1]["state"] == "healthy", "the first look")
    status, body = state(subject)
    same((status, body["state"], body["score"], body["recommendations"]), (200, "healthy", 100, []))
    name = f"server:{t.postgres.host}:{t.postgres.port}"
    same(set(body["components"]), {"topology", name, "pools", "clients", "memory"})
    check("checks" not in body["components"][name], "figures are for who asks for them")
    status, body = state(subject, "/health?detailed=true&history=true&limit=5")
    figures = body["components"][name]
    same((figures["condition"], figures["role"], figures["success_rate"], figures["failures_in_a_row"]),
         ("up", "primary", 1.0, 0))
    check(1 <= len(figures["history"]) <= 5 and figures["history"][-1]["result"] == "ok", figures)
    before = figures["checks"]
    status, _, body = ask(subject, "/health/check", "POST")
    same(status, 200)
    check(body["components"][name]["checks"] > before, "somebody has looked")
    same(ask(subject, "/health/check")[0], 405)
    same(ask(subject, "/health?limit=-1")[0], 400)


@test("http: while there is no server /health is 503 and says since when and why; /startup and /live are not", subjects=PGMEND)
def unwell(t):
    nobody = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{nobody.getsockname()[1]}"
    nobody.close()
    subject = t.own("unwell", url=f"postgres://app:{PASSWORDS['app']}@{place}/app", only_live=True)
    poll(lambda: state(subject)[0] == 503, "it is noticed")
    status, body = state(subject, "/health?detailed=1&history=1&limit=3")
    same((status, body["state"]), (503, "critical"))
    check("there is no primary" in body["components"]["topology"]["reason"], body)
    server = body["components"][f"server:{place}"]
    same((server["state"], server["level"], server["condition"]), ("critical", "critical", "down"))
    check("refused" in server["reason"] and server["failures_in_a_row"] >= 1, server)
    check(all(entry["result"] == "refused" for entry in server["history"]), server)
    check(any("promote a standby" in words for words in body["recommendations"]), body["recommendations"])
    same([subject.http(path)[0] for path in ("/startup", "/live")], [200, 200])


@test("http: what was healed is told by /api/events, in order, with its cause", subjects=PGMEND)
def events(t):
    subject = t.own("healed")
    client = t.wire(on=subject)
    for _ in range(2):
        client.query("BEGIN")
        pid = client.value("SELECT pg_backend_pid()")
        t.admin(f"SELECT pg_terminate_backend({pid})")
        check(wire.sqlstates(client.query("SELECT 1")), "a block is lost with its server")
        client.query("ROLLBACK")
    told = ask(subject, "/api/events")[2]["events"]
    check(all(told[i]["at"] <= told[i + 1]["at"] for i in range(len(told) - 1)), told)
    same([one["kind"] for one in told], ["primary", "server_lost", "server_lost"])
    lost = told[-1]
    check("57P01" in lost["cause"] and lost["server"] and lost["client"] and lost["outcome"], lost)
    latest = ask(subject, "/api/events?limit=1")[2]["events"]
    same([one["number"] for one in latest], [lost["number"]], "the latest")
    same(len(ask(subject, "/health?detailed=true")[2]["actions"]), 3)


@test("http: who comes by a name that is not this machine's own shows a password; roles hold",
      subjects=PGMEND)
def door(t):
    subject = t.own("door", settings={"admin": {"users": "app", "stats_users": "other"}})
    same(ask(subject, "/api/state", user="other")[0], 200)
    same(ask(subject, "/health/check", "POST", user="other")[0], 403, "stats users look")
    check(ask(subject, "/health/check", "POST", user="app")[2]["components"], "administrators may")
    same(ask(subject, "/api/pools", user="crowd")[0], 403, "no role")
    for user, password in (("app", "wrong"), ("nobody", "wrong")):
        status, headers, body = ask(subject, "/api/pools", user=user, password=password)
        same((status, headers["WWW-Authenticate"][:5], body["error"]),
             (401, "Basic", "The user or the password is not right."))
    same(ask(subject, "/api/pools", Authorization="Bearer x")[0], 401)
    # A page in a browser on this machine, by another name for loopback or from another site.
    same(ask(subject, "/api/pools", Host="evil.example")[0], 401)
    same(ask(subject, "/health/check", "POST", Origin="http://evil.example")[0], 403)
    same(ask(subject, "/api/pools", Origin=f"http://127.0.0.1:{subject.http_port}")[0], 200)
    for path in ("/live", "/ready", "/startup", "/metrics"):
        same(ask(subject, path, Host="evil.example")[0], 200, path)


@test("http: a probe for a password waits when there were too many, and one that knows it does not", subjects=PGMEND)
def guessing(t):
    subject = t.own("guessing", settings={"admin": {"users": "app"}, "auth": {"failure_burst": 3, "failure_delay": "1s"}})
    for _ in range(3):
        same(ask(subject, "/api/state", user="app", password="guess")[0], 401)
    begin = time.monotonic()
    same(ask(subject, "/api/state", user="app", password="guess")[0], 401)
    check(time.monotonic() - begin > 0.9, "the fourth waits")
    same(ask(subject, "/api/state", user="app")[0], 200)
