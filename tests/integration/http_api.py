"""What people and their tools ask over HTTP: health, and the tables of the console as JSON."""

import base64
import gzip
import hashlib
import http.client
import json
import re
import signal
import socket
import time

import wire
from console import COLUMNS, INT4, INT8, NUMERIC, console, table
from harness import PASSWORDS, check, poll, same, tail
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
        client.query("SELECT pg_advisory_xact_lock(4711)")  # so that it is not run again
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
    # An image, a script or a fetch without permission of another page has no Origin, but its browser says whose it is.
    for site in ("cross-site", "same-site"):
        others = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}
        for path in ("/api/events/stream", "/api/pools", "/health"):
            status, _, body = ask(subject, path, **others)
            same((status, "another site" in body["error"]), (403, True), f"{path} {site}")
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "document"}
        check(ask(subject, "/", **link)[0] != 403, "a link")
    same(ask(subject, "/api/pools", **{"Sec-Fetch-Site": "same-origin"})[0], 200)


@test("http: a probe for a password waits when there were too many, and one that knows it does not", subjects=PGMEND)
def guessing(t):
    subject = t.own("guessing", settings={"admin": {"users": "app"}, "auth": {"failure_burst": 3, "failure_delay": "1s"}})
    for _ in range(3):
        same(ask(subject, "/api/state", user="app", password="guess")[0], 401)
    begin = time.monotonic()
    same(ask(subject, "/api/state", user="app", password="guess")[0], 401)
    check(time.monotonic() - begin > 0.9, "the fourth waits")
    same(ask(subject, "/api/state", user="app")[0], 200)


class Stream:
    """A listener to /api/events, which is told of acts as they happen."""

    def __init__(self, subject, path="/api/events/stream", **headers):
        self.connection = http.client.HTTPConnection(subject.host, subject.http_port, timeout=60)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status, self.last_id = self.answer.status, None

    def event(self):
        """Name and data of the next event; a heartbeat is (None, None), the end None."""
        found, read = {}, False
        while line := self.answer.readline().decode():
            read = True
            if line == "\n":
                break
            key, _, value = line.rstrip("\n").partition(": ")
            found[key] = value
        if not read:
            return None
        self.last_id = found.get("id", self.last_id)
        return found.get("event"), json.loads(found["data"]) if "data" in found else None

    def act(self):
        """The next event that is no heartbeat."""
        while (event := self.event()) == (None, None):
            pass
        return event

    def close(self):
        self.connection.close()
        self.answer.close()


def lose_a_server(t, client):
    """The client's server, in a transaction; what is told of it."""
    client.query("BEGIN")
    client.query("SELECT pg_advisory_xact_lock(4712)")  # so that it is not run again
    pid = client.value("SELECT pg_backend_pid()")
    t.admin(f"SELECT pg_terminate_backend({pid})")
    client.query("SELECT 1")
    client.query("ROLLBACK")


@test("http: who listens to /api/events is told as it happens, and who comes again what was missed", subjects=PGMEND)
def stream(t):
    subject = t.own("stream", settings={"ledger": {"events": 3}})
    client = t.wire(on=subject)
    listener = Stream(subject)
    same((listener.status, listener.answer.headers["Content-Type"]), (200, "text/event-stream"))
    name, begun = listener.act()
    same((name, begun["resumed"], begun["missed"]), ("begin", False, 0))
    same(listener.act()[1]["kind"], "primary")
    lose_a_server(t, client)
    name, act = listener.act()
    same((name, act["kind"], act["outcome"], act["reason"], act["worker"]),
         ("healing", "server_lost", "block_failed", "block_lost", 0))
    same({key: value for key, value in act.items() if key not in ("at", "worker")},
         {key: value for key, value in ask(subject, "/api/events?limit=1")[2]["events"][0].items() if key != "at"})
    listener.close()
    # Five more, of which the ledger keeps three.
    for _ in range(5):
        lose_a_server(t, client)
    again = Stream(subject, "/api/events", Accept="text/event-stream", **{"Last-Event-ID": listener.last_id})
    name, begun = again.act()
    same((name, begun["resumed"], begun["missed"]), ("begin", True, 2))
    same([again.act()[1]["number"] for _ in range(3)], [act["number"] + 3, act["number"] + 4, act["number"] + 5])
    last = again.last_id
    again.close()
    quiet = Stream(subject, **{"Last-Event-ID": last})
    same(quiet.act()[1]["missed"], 0)
    lose_a_server(t, client)
    same(quiet.act()[1]["number"], act["number"] + 6, "and nothing twice")
    # Ids of another process, or of nobody, begin anew.
    for strange in ("1.2", last + ".0", "x", last.split(".")[0] + ".99999999999999999999"):
        other = Stream(subject, **{"Last-Event-ID": strange})
        same(other.act()[1]["resumed"], False, strange)
        other.close()
    few = Stream(subject, "/api/events/stream?limit=1")
    few.act()
    same(few.act()[1]["number"], act["number"] + 6, "the latest")
    same(Stream(subject, "/api/events/stream?limit=x").status, 400)
    quiet.close()
    few.close()


@test("http: listeners have a limit, are told when nothing happens, and are told the end", subjects=PGMEND)
def listeners(t):
    subject = t.own("listeners", settings={"http": {"max_streams": 2, "heartbeat": "200ms"},
                                           "shutdown": {"drain_timeout": "30s"}})
    client = t.wire(on=subject)
    client.query("BEGIN")  # it holds up the end
    first, second = Stream(subject), Stream(subject)
    for each in (first, second):
        same(each.act()[0], "begin")
        same(each.act()[0], "healing")
        same([each.event(), each.event()], [(None, None)] * 2, "heartbeats")
    status, _, body = ask(subject, "/api/events/stream")
    same((status, "http.max_streams" in body["error"]), (503, True))
    second.close()
    third = poll(lambda: (found := Stream(subject)).status == 200 and found, "a place is free again")
    same(third.act()[0], "begin")
    same(client.value("SELECT 1"), "1", "nobody waits for listeners")
    subject.process.send_signal(signal.SIGTERM)
    for each in (first, third):
        while (event := each.act())[0] == "healing":
            pass
        same(event, ("end", {"reason": "draining"}))
        same(each.event(), None, "and that is all")
    same(ask(subject, "/api/events/stream")[0], 503, "no other is let in")
    client.query("COMMIT")


@test("http: administrators give commands, with a header that pages of other sites cannot send", subjects=PGMEND)
def commands(t):
    subject = t.own("commands", settings={"admin": {"users": "app", "stats_users": "other"}})
    client = t.wire(on=subject)
    meant = {"X-Pgmend-Command": "yes"}

    def paused():
        return ask(subject, "/api/overview")[2]["process"]["paused"]

    same(ask(subject, "/api/command/pause", "POST")[0], 403)
    same(ask(subject, "/api/command/pause", **meant)[0], 405)
    same(ask(subject, "/api/command/pause", "POST", Origin="http://evil.example", **meant)[0], 403)
    same(ask(subject, "/api/command/pause", "POST", Host="evil.example", **meant)[0], 401)
    same(ask(subject, "/api/command/pause", "POST", user="other", **meant)[0], 403)
    same(ask(subject, "/api/command/shutdown", "POST", **meant)[0], 404)
    same(paused(), False)
    # A transaction under way is let end, and who paused is not kept waiting for it.
    client.query("BEGIN")
    client.query("SELECT 1")
    status, _, body = ask(subject, "/api/command/pause", "POST", user="app", **meant)
    same((status, body), (202, {"begun": "PAUSE"}))
    same(paused(), True)
    client.query("COMMIT")
    same(ask(subject, "/api/command/pause", "POST", **meant)[0], 409, "it is paused")
    same(ask(subject, "/api/command/resume", "POST", **meant)[2], {"done": "RESUME"})
    same((paused(), client.value("SELECT 1")), (False, "1"))
    same(ask(subject, "/api/command/pause?database=%61pp", "POST", **meant)[2], {"done": "PAUSE"})
    rows = ask(subject, "/api/databases?name=app")[2]["databases"]
    same([(row["name"], row["paused"]) for row in rows], [("app", 1)])
    same(ask(subject, "/api/command/resume?database=app", "POST", **meant)[0], 200)
    same(ask(subject, "/api/command/resume?database=%zz", "POST", **meant)[0], 400)
    status, _, body = ask(subject, "/api/command/pause?database=none", "POST", **meant)
    same((status, "none" in body["error"]), (409, True))
    same(ask(subject, "/api/command/reload", "POST", **meant)[2], {"done": "RELOAD"})
    same(ask(subject, "/api/command/reset_statements", "POST", **meant)[2], {"done": "RESET"})
    server = ask(subject, "/api/topology")[2]["topology"][0]["server"]
    for wrong in ("", "?server=", f"?server={server}&seconds=0", f"?server={server}&seconds=soon"):
        same(ask(subject, f"/api/command/ban{wrong}", "POST", **meant)[0], 400, wrong)
    status, _, body = ask(subject, f"/api/command/ban?server={server}", "POST", **meant)
    same((status, "only one" in body["error"], "FORCE" in body["hint"]), (409, True, True))
    same(ask(subject, f"/api/command/ban?server={server}&seconds=600&force", "POST", **meant)[2], {"done": "BAN"})
    check("s left" in ask(subject, "/api/topology")[2]["topology"][0]["banned"], "it is banned")
    same(ask(subject, f"/api/command/unban?server={server}", "POST", user="app", **meant)[2], {"done": "UNBAN"})
    same(ask(subject, "/api/topology")[2]["topology"][0]["banned"], "no")
    same(client.value("SELECT 1"), "1")
    subject.config.write_text("pool:\n  size: none\n")
    status, _, body = ask(subject, "/api/command/reload", "POST", **meant)
    same((status, "nothing has changed" in body["error"], "pool.size" in body["error"]), (409, True, True))
    check('user=app command=PAUSE' in tail(subject.log, 400), "the log says who")


@test("http: the dashboard is one page that loads nothing from elsewhere; tables can be cut and chosen from", subjects=PGMEND)
def dashboard(t):
    connection = http.client.HTTPConnection(t.subject.host, t.subject.http_port, timeout=15)
    connection.request("GET", "/", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    page = gzip.decompress(answer.read())
    same((answer.status, answer.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
    policy = answer.headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        check(part in policy, policy)
    check("unsafe" not in policy, policy)
    for kind in ("script", "style"):
        text = re.search(rb"<%b>(.*?)</%b>" % (kind.encode(), kind.encode()), page, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        check(f"{kind}-src 'sha256-{digest}'" in policy, f"{kind}: {policy}")
    same(re.findall(rb"(?:src|href)=.?(?:https?:)?//[^\s>]+", page), [], "nothing from elsewhere")
    same((answer.headers["X-Frame-Options"], answer.headers["X-Content-Type-Options"]), ("DENY", "nosniff"))
    same(ask(t.subject, "/")[0], 406, "not unpacked")
    status, headers, _ = ask(t.subject, "/", Host="evil.example")
    same((status, headers["WWW-Authenticate"][:5]), (401, "Basic"))
    status, headers, _ = ask(t.subject, "/api/overview", Host="evil.example", Accept="application/json")
    same((status, headers["WWW-Authenticate"][:6]), (401, "xBasic"), "its requests raise no question")
    check("frame-ancestors 'none'" in headers["Content-Security-Policy"], "every answer has a policy")
    clients = [t.wire(parameters={"application_name": name}) for name in ("one", "two & three")]
    clients[1].query("BEGIN")
    clients[1].query("SELECT 1")
    found = ask(t.subject, "/api/clients?application_name=two+%26%20three")[2]["clients"]
    same([(row["application_name"], row["state"]) for row in found], [("two & three", "active")])
    same(len(ask(t.subject, "/api/clients?limit=1")[2]["clients"]), 1)
    same(ask(t.subject, "/api/clients?limit=x")[0], 400)
    body = ask(t.subject, "/api/overview")[2]
    same(set(body), {"you", "process", "health", "topology", "breakers", "databases", "pools"})
    same((body["you"]["role"], body["process"]["workers"]), ("admin", 1))
    clients[1].query("COMMIT")
