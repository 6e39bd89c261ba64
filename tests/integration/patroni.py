"""Patroni names the servers: an API that misbehaves on command, and a real cluster on etcd."""

import contextlib
import http.server
import json
import ssl
import threading
import time

from certificates import Authority
from clusters import Cluster, crash
from discovery import BASE, UPSTREAM, lists, topology
from harness import check, merged, poll, same, tail
from healing import judge, naive_clients, served
from patroni_cluster import PatroniCluster
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


class Api:
    """Answers /cluster for servers that no Patroni looks after. `mood` says how."""

    def __init__(self, test, servers, tls=None):
        self.servers = list(servers)  # (PostgreSQL, role)
        self.mood = "good"
        self.asked = []
        self.ended = threading.Event()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                api.asked.append(self.path)
                with contextlib.suppress(OSError):
                    api.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        test.closing.callback(self.stop)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def members(self):
        return [{"name": f"m{number}", "role": role, "state": "running", "host": server.host, "port": server.port,
                 "api_url": "http://127.0.0.1:1/patroni", "timeline": 1, "lag": 0}
                for number, (server, role) in enumerate(self.servers)]

    def answer(self, handler):
        members = self.members()
        status, body = 200, json.dumps({"members": members, "scope": "test"})
        if self.mood == "slow":
            self.ended.wait(60)
            return
        if self.mood == "503":
            status, body = 503, json.dumps({"members": []})
        elif self.mood == "redirect":
            status = 302
        elif self.mood == "garbage":
            body = "<html>an apology</html>"
        elif self.mood == "empty":
            body = json.dumps({"members": []})
        elif self.mood == "huge":
            body = json.dumps({"members": members, "padding": "x" * 400_000})
        elif self.mood == "many":
            body = json.dumps({"members": members * 40})
        elif self.mood == "two leaders":
            body = json.dumps({"members": [{**each, "role": "leader"} for each in members]})
        elif self.mood == "cut":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + body.encode())
            return
        elif self.mood == "no http":
            handler.wfile.write(b"\x00\x01\x02 who are you?\r\n\r\n" * 20)
            return
        elif self.mood == "endless header":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-More: 0123456789\r\n" * 5000)
            return
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())


def asks(t, name, urls, **more):
    """A pgmend that knows nothing but where to ask."""
    subject = t.run.pgmend(name, pool_size=8, settings=merged(BASE, {
        "upstream": {**UPSTREAM, "patroni": {"urls": urls, "interval": "500ms", "timeout": "500ms", **more}}}))
    del subject.settings["upstream"]["url"]
    return t.closing.enter_context(t.run.started(subject))


def url(api, scheme="http"):
    return f"{scheme}://127.0.0.1:{api.port}"


def key(server):
    return f"{server.host}:{server.port}"


def settled(subject, api, result, seconds=20):
    """The API is asked once more, with this result."""
    before = lists(subject, result)
    poll(lambda: lists(subject, result) > before, f"{api.mood} counts as {result}\n{tail(subject.log)}", seconds)


@test("patroni: its API names the servers, and others; what it says of them is told and proves nothing", subjects=PGMEND,
      seconds=150)
def names_servers(t):
    cluster = Cluster(t)
    old, new = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    api = Api(t, [(old, "leader")])
    subject = asks(t, "named", [url(api)])
    same(served(t, subject, "INSERT INTO kept VALUES (1) RETURNING a"), [["1"]])
    found = topology(t, subject)
    same(list(found), [key(old)])
    same([found[key(old)][column] for column in ("source", "listed", "said")], ["patroni", "yes", "leader, running"])
    # It lies: the new member is said to lead. It is a standby all the same, and nothing is sent there.
    api.servers = [(old, "replica"), (new, "leader")]
    poll(lambda: topology(t, subject).get(key(new), {}).get("role") == "standby", f"it is seen\n{tail(subject.log)}", 20)
    same(topology(t, subject)[key(new)]["said"], "leader, running")
    for number in range(20):
        served(t, subject, f"INSERT INTO kept VALUES ({100 + number}) RETURNING a")
    # It forgets the primary: that is no reason to leave it.
    api.servers = [(new, "leader")]
    poll(lambda: topology(t, subject)[key(old)]["listed"] == "no", f"it is forgotten\n{tail(subject.log)}", 20)
    for number in range(20):
        served(t, subject, f"INSERT INTO kept VALUES ({200 + number}) RETURNING a")
    same(topology(t, subject)[key(old)]["role"], "primary")
    # Then what it said comes true.
    cluster.caught_up()
    crash(old)
    new.promote()
    served(t, subject, "INSERT INTO kept VALUES (2) RETURNING a")
    same(cluster.sql("SELECT count(*) FROM kept", on=new), [(42,)], "all of it is there")


@test("patroni: an API that is slow, broken, huge or lies about itself changes nothing, and the next one is asked",
      subjects=PGMEND, seconds=200)
def misbehaves(t):
    cluster = Cluster(t)
    servers = list(zip(cluster.servers, ("leader", "replica")))
    api = Api(t, servers)
    subject = asks(t, "moods", [url(api)])
    served(t, subject, "SELECT 1")
    with contextlib.closing(t.wire(on=subject)) as client:
        for mood, result in (("slow", "failed"), ("503", "failed"), ("redirect", "failed"), ("cut", "failed"),
                             ("no http", "failed"), ("garbage", "refused"), ("empty", "refused"), ("huge", "refused"),
                             ("many", "refused"), ("two leaders", "refused"), ("endless header", "refused")):
            api.mood = mood
            settled(subject, api, result)
            same(client.rows("SELECT 1"), [["1"]])
            found = topology(t, subject)
            same(sorted(each["role"] for each in found.values()), ["primary", "standby"], mood)
            same([each["listed"] for each in found.values()], ["yes", "yes"], f"{mood}: the servers stay")
    log = subject.log.read_text()
    for words in ("no answer in time", "answers with status 503", "what it answers is no JSON",
                  "what it answers is too long", "what it answers has two leaders"):
        check(words in log, f"{words}\n{tail(subject.log)}")
    # A failover while the API says nothing.
    api.mood = "slow"
    cluster.caught_up()
    crash(cluster.primary)
    cluster.servers[1].promote()
    same(served(t, subject, "SELECT pg_is_in_recovery()"), [["f"]])
    # Where there are two, one is enough.
    other = Api(t, [(cluster.servers[1], "leader")])
    both = asks(t, "both", [url(api), url(other)])
    same(served(t, both, "SELECT pg_is_in_recovery()"), [["f"]])
    settled(both, other, "ok")


@test("patroni: its API over TLS, by whose authority it is believed", subjects=PGMEND, seconds=90)
def over_tls(t):
    authority, stranger = Authority(t.directory), Authority(t.directory, "stranger")
    api = Api(t, [(t.postgres, "leader")], tls=authority.server())
    subject = asks(t, "tls", [url(api, "https")], ca=str(authority.certificate))
    same(served(t, subject, "SELECT 1"), [["1"]])
    wrong = t.run.pgmend("wrong", settings=merged(BASE, {"upstream": {**UPSTREAM, "patroni": {
        "urls": [url(api, "https")], "ca": str(stranger.certificate), "interval": "500ms"}}}))
    del wrong.settings["upstream"]["url"]
    t.closing.enter_context(t.run.started(wrong))
    poll(lambda: lists(wrong, "failed") > 1, f"it is not believed\n{tail(wrong.log)}", 20)
    check("certificate verify failed" in wrong.log.read_text(), tail(wrong.log))
    same(topology(t, wrong), {})


@test("patroni: naive clients through a switchover and back: only who was being committed can hear of it", subjects=PGMEND,
      seconds=300)
def real_switchover(t):
    cluster = PatroniCluster(t, synchronous=True)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = asks(t, "switchover", cluster.urls(), interval="10s")
    first = cluster.leader()
    second = next(member for member in cluster.members if member is not first)
    with naive_clients(t, subject) as clients:
        for to in (second, first):
            cluster.settled()
            done = [client.done for client in clients]
            begun = time.monotonic()
            cluster.switchover(to)
            poll(lambda: all(client.done > count + 5 for client, count in zip(clients, done)),
                 f"everybody works\n{tail(subject.log)}", 60)
            print(f"    switchover to {to.name}: {time.monotonic() - begun:.1f} s until everybody had worked again")
    errors = judge(cluster, clients)
    same(errors["read"], [], f"reads see nothing of it\n{tail(subject.log)}")
    # A write or a COMMIT that had no answer yet when its connection broke has been carried out, or not: that is the truth.
    for code, words in errors["write"] + errors["block"]:
        check(code == "08007", f"{code} {words}")
    for client in clients:
        check(len(client.errors) <= 2, f"one for each switchover at most: {client.kind} {client.errors}")
    same(sum(client.lost_connections for client in clients), 0, "connections are kept")


@test("patroni: naive clients through the death of the leader's machine: reads see nothing, and nothing is lied about",
      subjects=PGMEND, seconds=300, slow=True)
def real_death(t):
    cluster = PatroniCluster(t, synchronous=True)
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = asks(t, "death", cluster.urls(), interval="10s")
    dead = cluster.leader()
    with naive_clients(t, subject) as clients:
        begun = time.monotonic()
        dead.kill()
        poll(lambda: cluster.leader() is not None, "another one leads\n"
             + "\n".join(tail(member.log, 15) for member in cluster.members), 90)
        print(f"    another leader after {time.monotonic() - begun:.1f} s")
        # A third member comes, of which nobody has told pgmend but Patroni.
        third = cluster.add(3)
        cluster.settled()
        poll(lambda: topology(t, subject).get(key(third), {}).get("role") == "standby",
             f"it is seen\n{tail(subject.log)}", 40)
        poll(lambda: topology(t, subject).get(key(dead), {}).get("listed", "no") == "no",
             f"the dead one is not listed\n{tail(subject.log)}", 60)
    errors = judge(cluster, clients)
    same(errors["read"], [], f"reads see nothing of it\n{tail(subject.log)}")
    for code, words in errors["write"] + errors["block"]:
        check(code in ("08007", "40003", "40001"), f"{code} {words}")
    for client in clients:
        check(len(client.errors) <= 1, f"one failure each at most: {client.kind} {client.errors}")
    same(sum(client.lost_connections for client in clients), 0, "connections are kept")
