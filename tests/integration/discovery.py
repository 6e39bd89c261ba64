"""Servers that nobody configured: DNS names them (SRV), they come and go, and what names them fails and lies."""

import contextlib

from clusters import Cluster, crash
from console import console, table
from harness import PASSWORDS, check, poll, same, tail
from healing import served
from names import NameServer, own_without_url
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
SERVICE = "_postgresql._tcp.db.example"
UPSTREAM = {"user": "app", "password": PASSWORDS["app"], "database": "app"}
# The console's users are those of `users`.
BASE = {"admin": {"users": "app"}, "health": {"interval": "200ms"}}


def topology(t, subject):
    """SHOW TOPOLOGY by server."""
    with contextlib.closing(console(t, on=subject)) as watch:
        return {row["server"]: row for row in table(watch, "SHOW TOPOLOGY")}


def acts(t, subject, kind):
    """What the ledger has of this kind, the oldest first."""
    with contextlib.closing(console(t, on=subject)) as watch:
        return [row for row in table(watch, "SHOW HEALINGS") if row["kind"] == kind]


def lists(subject, result):
    """How often a list was asked for with this result."""
    for line in subject.http("/metrics")[1].splitlines():
        if line.startswith(f'pgmend_server_lists_total{{result="{result}"}}'):
            return float(line.split()[-1])
    return 0.0


def named(server, host, priority=0):
    return (priority, 1, server.port, host)


@test("discovery: DNS SRV names the servers, and others, and a failover to one that came later is followed",
      subjects=PGMEND, seconds=150)
def srv(t):
    cluster = Cluster(t)
    old, new = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    names = NameServer(t)
    names.hosts = {"one.example": "127.0.0.1", "two.example": "127.0.0.1"}
    names.services[SERVICE] = [named(old, "one.example")]
    subject = own_without_url(t, "srv", names, {**BASE, "upstream": {**UPSTREAM, "srv": SERVICE}})
    same(served(t, subject, "INSERT INTO kept VALUES (1) RETURNING a"), [["1"]])
    first, second = f"one.example:{old.port}", f"two.example:{new.port}"
    found = topology(t, subject)
    same(sorted(found), [first])
    same((found[first]["source"], found[first]["listed"], found[first]["role"]), ("srv", "yes", "primary"))
    # One more, without a restart.
    names.services[SERVICE].append(named(new, "two.example", 5))
    poll(lambda: topology(t, subject).get(second, {}).get("role") == "standby", f"it is seen\n{tail(subject.log)}", 15)
    cluster.caught_up()
    crash(old)
    new.promote()
    same(served(t, subject, "INSERT INTO kept VALUES (2) RETURNING a"), [["2"]])
    # The crashed one is taken out, and then forgotten; nobody notices.
    names.services[SERVICE] = [named(new, "two.example")]
    poll(lambda: topology(t, subject).get(first, {}).get("listed") == "no", f"it has left\n{tail(subject.log)}", 15)
    same(served(t, subject, "SELECT count(*) FROM kept"), [["2"]])
    text = subject.http("/metrics")[1]
    check('pgmend_servers_listed{source="srv"} 1' in text, "who names the servers is counted")
    same([(row["server"], row["outcome"], row["reason"]) for row in acts(t, subject, "listed")][-2:],
         [(second, "listed", "srv"), (first, "leaving", "srv")])


@test("discovery: name servers that are silent, fail, lie or send garbage change nothing", subjects=PGMEND, seconds=150)
def srv_fails(t):
    cluster = Cluster(t)
    names = NameServer(t)
    names.hosts = {"one.example": "127.0.0.1", "two.example": "127.0.0.1"}
    names.services[SERVICE] = [named(server, host)
                               for server, host in zip(cluster.servers, ("one.example", "two.example"))]
    subject = own_without_url(t, "srvfails", names, {**BASE, "upstream": {**UPSTREAM, "srv": SERVICE}})
    served(t, subject, "SELECT 1")
    with contextlib.closing(t.wire(on=subject)) as client:
        for mood, result in (("silent", "failed"), ("servfail", "failed"), ("nxdomain", "failed"), ("garbage", None),
                             ("empty", "failed"), ("cut", None), ("root", "refused")):
            before = lists(subject, "failed") + lists(subject, "refused")
            of_kind = lists(subject, result) if result else 0
            names.mood = mood
            poll(lambda: lists(subject, "failed") + lists(subject, "refused") > before,
                 f"{mood} is counted\n{tail(subject.log)}", 30)
            if result:
                poll(lambda: lists(subject, result) > of_kind, f"{mood} counts as {result}\n{tail(subject.log)}", 30)
            same(client.rows("SELECT 1"), [["1"]])
            served(t, subject, "SELECT 1")
            found = topology(t, subject)
            same([each["listed"] for each in found.values()], ["yes", "yes"], f"{mood}: the servers stay")
            same(sorted(each["role"] for each in found.values()), ["primary", "standby"], mood)
    check("server_list_kept" in subject.log.read_text(), "and it is told why")
    names.mood = "good"
    answered = lists(subject, "ok")
    poll(lambda: lists(subject, "ok") > answered, "it is asked again", 15)


@test("discovery: servers that are configured are used until DNS first answers, and then it has its say",
      subjects=PGMEND, seconds=150)
def srv_seeds(t):
    cluster = Cluster(t)
    primary, standby = cluster.servers
    names = NameServer(t)
    names.hosts = {"one.example": "127.0.0.1", "two.example": "127.0.0.1"}
    names.mood = "servfail"
    names.services[SERVICE] = [named(primary, "one.example"), named(standby, "two.example")]
    seeds = [f"127.0.0.1:{primary.port}"]
    subject = own_without_url(t, "seeds", names, {**BASE, "upstream": {**UPSTREAM, "srv": SERVICE, "servers": seeds}})
    with contextlib.closing(t.wire(on=subject)) as client:
        client.rows("BEGIN")
        before = client.rows("SELECT pg_backend_pid()")
        same(list(topology(t, subject)), seeds)
        names.mood = "good"
        # The same server under its other name: it takes over, the other is no second primary, and a transaction that
        # is open on it goes on.
        other = f"one.example:{primary.port}"
        poll(lambda: topology(t, subject).get(other, {}).get("role") == "primary", f"named\n{tail(subject.log)}", 20)
        poll(lambda: [row["server"] for row in acts(t, subject, "primary")][-1:] == [other], "and is elected", 10)
        same(client.rows("SELECT pg_backend_pid()"), before)
        client.rows("COMMIT")
        same(client.rows("SELECT pg_is_in_recovery()"), [["f"]])
    log = subject.log.read_text()
    check("two_primaries" not in log and "server_fenced" not in log, f"nothing is alarmed of\n{tail(subject.log)}")


@test("discovery: a standby that DNS names no longer gets nothing new, and who is busy there is not disturbed",
      subjects=PGMEND, seconds=150)
def left_in_peace(t):
    cluster = Cluster(t, standbys=2)
    hosts = ("one.example", "two.example", "three.example")
    names = NameServer(t)
    names.hosts = dict.fromkeys(hosts, "127.0.0.1")
    everybody = [named(server, host, order) for order, (server, host) in enumerate(zip(cluster.servers, hosts))]
    names.services[SERVICE] = everybody
    subject = own_without_url(t, "leaves", names, {**BASE, "upstream": {
        **UPSTREAM, "srv": SERVICE, "target_session_attrs": "standby"}})
    left, stays = cluster.servers[1:]
    poll(lambda: sorted(row["role"] for row in topology(t, subject).values()) == ["primary", "standby", "standby"],
         f"all are known\n{tail(subject.log)}", 20)
    # The order is that of the priorities.
    port = "SELECT inet_server_port()"
    with contextlib.closing(t.wire(on=subject)) as client:
        client.rows("BEGIN")
        same(client.rows(port), [[str(left.port)]])
        names.services[SERVICE] = [everybody[0], everybody[2]]
        poll(lambda: topology(t, subject)[f"two.example:{left.port}"]["listed"] == "no", f"left\n{tail(subject.log)}", 20)
        for _ in range(10):
            same(served(t, subject, port), [[str(stays.port)]], "somebody new")
        same(client.rows(port), [[str(left.port)]], "who is busy")
        client.rows("COMMIT")
        same(client.rows(port), [[str(stays.port)]], "who was busy")
        poll(lambda: topology(t, subject)[f"two.example:{left.port}"]["sv_connections"] == "0", "nobody is there", 20)
        # It comes back, without a restart.
        names.services[SERVICE] = everybody
        poll(lambda: topology(t, subject)[f"two.example:{left.port}"]["listed"] == "yes", "it is back", 20)
