"""What deploy/RUNBOOK.md sends people to, where no other test comes along: the symptom is made, then looked at where the line says,
then done what it says."""

import contextlib
import os
import re
import resource
import signal
import threading

import wire
from alerts import Receiver, paused, quick, resumed
from clusters import Cluster
from console import console, one, table
from discovery import BASE, UPSTREAM
from harness import PASSWORDS, check, poll, same, tail
from healing import served
from http_api import state
from limits import NOTHING, count, turned_away
from patroni import Api, url
from registry import register
from reloading import write
from tcp_gate import TcpGate

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
OFTEN = {"health": {"interval": "100ms", "timeout": "500ms"}, "retry": {"delay_min": "20ms", "delay_max": "100ms"},
         "upstream": {"connect_timeout": "300ms"}}


def probes(subject, result):
    return count(subject, "pgmend_probes_total", f'{{result="{result}"}}')


def refused(subject, reason):
    return count(subject, "pgmend_clients_refused_total", f'{{reason="{reason}"}}')


def line(subject, event):
    """The last line of the log with this event; fails when there is none."""
    found = [each for each in subject.log.read_text().splitlines() if f" {event}" in each]
    check(found, f"{event} is not in the log")
    return found[-1]


def reloaded(t, subject):
    same(wire.tags(console(t, on=subject).query("RELOAD")), ["RELOAD"])


@test("runbook: pgmend_probes_total and pgmend_server_connects_total say why a server that is there is of no use", subjects=PGMEND,
      seconds=120)
def why_not(t):
    cluster = Cluster(t, standbys=0)
    gate = TcpGate((cluster.primary.host, cluster.primary.port))
    gate.open()
    t.closing.callback(gate.close)
    newcomers = []
    subject = t.own("why", url=cluster.url(ports=[gate.port]), settings={**OFTEN, "hold": {"timeout": "2min"}})
    served(t, subject, "SELECT 1")
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"

    def password(word):
        cluster.sql(f"ALTER ROLE app PASSWORD '{word}'")

    def stopped():
        cluster.primary.stop()

    def silenced():
        gate.silence()
        newcomers.append(threading.Thread(target=lambda: t.wire("other", "other", on=subject, timeout=60).close()))
        newcomers[-1].start()  # who has no server yet needs a new connection

    # What is wrong, how it is mended, what probes and connections say of it.
    troubles = (
        (lambda: cluster.sql("ALTER ROLE app CONNECTION LIMIT 0"), lambda: cluster.sql("ALTER ROLE app CONNECTION LIMIT -1"),
         "full", "server_error"),
        (lambda: password("another"), lambda: password(PASSWORDS["app"]), "rejected", "login_failed"),
        (silenced, gate.speak, "timeout", "timeout"),
        (stopped, cluster.primary.start, "lost", None),
    )
    for trouble, mend, probe, connection in troubles:
        before = probes(subject, probe), count(subject, "pgmend_server_connects_total", f'{{result="{connection}"}}')
        client = t.wire(on=subject)
        trouble()
        if cluster.primary.process.poll() is None and trouble != silenced:
            cluster.sql(drop)
        client.send(wire.query("SELECT 7"))
        poll(lambda: probes(subject, probe) > before[0], f"probes say {probe}\n{tail(subject.log)}", 30)
        if connection:
            poll(lambda: count(subject, "pgmend_server_connects_total", f'{{result="{connection}"}}') > before[1],
                 f"connections say {connection}\n{tail(subject.log)}", 30)
        mend()
        same(wire.rows_of(client.ready()), [["7"]], f"{probe}: what was asked meanwhile")
        client.close()
    for each in newcomers:
        each.join(60)
    cluster.primary.stop()
    gate.call(gate.server.close)  # nobody listens there
    gate.reset_one()
    poll(lambda: probes(subject, "refused") > 0, f"nobody is there\n{tail(subject.log)}", 30)


@test("runbook: of two primaries one is kept and gets the writes, the other is fenced until it is a standby or stopped", subjects=PGMEND,
      seconds=120)
def split(t):
    cluster = Cluster(t)
    right, wrong = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("split", url=cluster.url())
    served(t, subject, "SELECT 1")
    cluster.caught_up()
    # It forgets that it is a standby, without a promotion.
    wrong.stop()
    (wrong.data / "standby.signal").unlink()
    wrong.start()
    poll(lambda: "server_fenced" in subject.log.read_text(), f"it is told\n{tail(subject.log)}", 30)
    poll(lambda: "two_primaries" in subject.log.read_text(), "that too")
    check(f"server={wrong.host}:{wrong.port}" in line(subject, "server_fenced"), line(subject, "server_fenced"))
    check(f"kept={right.host}:{right.port}" in line(subject, "two_primaries"), line(subject, "two_primaries"))
    for number in range(10):
        same(served(t, subject, f"INSERT INTO kept VALUES ({number}) RETURNING a"), [[str(number)]])
    same([cluster.sql("SELECT count(*) FROM kept", on=server) for server in (right, wrong)], [[(10,)], [(0,)]])
    wrong.stop()
    (wrong.data / "standby.signal").touch()
    wrong.start()
    poll(lambda: one(console(t, on=subject), "SHOW TOPOLOGY", server=f"{wrong.host}:{wrong.port}")["role"] == "standby", "mended", 30)


@test("runbook: each reason of pgmend_clients_refused_total that an alert speaks of, and what helps", subjects=PGMEND, seconds=90)
def refusals(t):
    subject = t.own("refusals", pool_size=1, settings={"listen": {"max_clients": 3}, "pool": {"wait_timeout": "300ms"}})
    clients = [t.wire(on=subject) for _ in range(3)]
    fields = turned_away(t, on=subject)
    same(fields["C"], "53300")
    poll(lambda: refused(subject, "client_limit") == 1.0, "it is counted")
    poll(lambda: (count(subject, "pgmend_clients_connected"), count(subject, "pgmend_clients_active")) == (3.0, 0.0), "clients that leak")
    write(subject, {"listen": {"max_clients": 4}})
    reloaded(t, subject)
    same(turned_away(t, on=subject), None)
    clients[0].query("BEGIN")
    answer = clients[1].query("SELECT 1")
    check(wire.sqlstates(answer), f"{answer}")
    poll(lambda: refused(subject, "wait_timeout") == 1.0, "it is counted")
    same(count(subject, "pgmend_servers", '{state="active"}'), 1.0, "all of pool.size")
    idle = t.admin("SELECT application_name FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'app'")
    same(len(idle), 1, "PostgreSQL names who holds it")
    clients[0].query("COMMIT")
    same(clients[1].value("SELECT 1"), "1")
    # No descriptor for one more: it is closed, and a higher limit helps at once.
    pid = subject.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(each) for each in os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    crowd = []
    with contextlib.suppress(OSError, wire.Closed):
        while len(crowd) < 100:
            crowd.append(t.wire(on=subject, login=False))
            crowd[-1].send(wire.request(wire.SSL_REQUEST))
            if not crowd[-1].socket.recv(1):
                raise wire.Closed("without a word")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    for each in crowd:
        each.drop()
    poll(lambda: refused(subject, "descriptors") > 0, "it is counted", 30)
    poll(lambda: " no_descriptors_left" in subject.log.read_text(), "it is logged", 30)
    same(served(t, subject, "SELECT 2"), [["2"]])


@test("runbook: what GET /health says of those who wait, of a crowd and of the way out", subjects=PGMEND, seconds=90)
def in_health(t):
    subject = t.own("told", pool_size=1, settings={"listen": {"max_clients": 5}, "shutdown": {"drain_timeout": "2min"}})

    def told(name):
        status, body = state(subject)
        one = body["components"][name]
        return status, one["state"], one.get("reason", ""), " ".join(body["recommendations"])

    def well():
        return state(subject)[1]["state"] == "healthy"

    poll(well, "all is well", 30)
    clients = [t.wire(on=subject) for _ in range(2)]
    clients[0].query("BEGIN")
    clients[1].send(wire.query("SELECT 'waited'"))
    poll(lambda: told("pools")[1] == "degraded", "somebody waits", 30)
    status, _, reason, advice = told("pools")
    check(status == 200 and reason.startswith("a client has waited ") and "SHOW PINS" in advice, (status, reason, advice))
    clients[0].query("COMMIT")
    same(wire.rows_of(clients[1].ready()), [["waited"]])
    poll(well, "nobody waits", 30)
    clients += [t.wire(on=subject) for _ in range(2)]
    poll(lambda: told("clients")[1:3] == ("degraded", "4 of 5 clients"), f"{told('clients')}", 30)
    clients.append(t.wire(on=subject))
    poll(lambda: told("clients")[:3] == (503, "critical", "5 of 5 clients: no other comes in"), f"{told('clients')}", 30)
    fields = turned_away(t, on=subject)
    same([fields[key] for key in "SCMDH"],
         ["FATAL", "53300", "sorry, too many clients already", "The limit is 5 (listen.max_clients), 0 remain.",
          "Retry when one of them has left, or ask for a higher limit."])
    check("SHOW CLIENTS" in told("clients")[3], told("clients"))
    for client in clients[1:]:
        client.close()
    poll(well, "there is room", 30)
    clients[0].query("BEGIN")
    subject.process.send_signal(signal.SIGTERM)
    poll(lambda: subject.http("/ready")[0] == 503, "it drains", 30)
    same(subject.http("/live")[0], 200)
    same(told("clients")[:3], (200, "degraded", "pgmend is on its way out"))
    same(wire.tags(clients[0].query("COMMIT")), ["COMMIT"])
    same(subject.process.wait(60), 0)


@test("runbook: servers that are lost under their clients are counted, whoever ends them", subjects=PGMEND)
def lost(t):
    subject = t.own("lost")
    counted = lambda: count(subject, "pgmend_server_closed_total", '{reason="lost_in_use"}')
    client = t.wire(on=subject)
    client.query("BEGIN")
    client.query("SELECT 1 AS in_a_block")
    t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%in_a_block' AND state LIKE 'idle in%'")
    poll(lambda: counted() == 1.0, "an administrator")
    client.query("ROLLBACK")
    same(client.value("SELECT 1"), "1")
    # It is run again, as idle as before, so it may be the server's word to the client in the end.
    idle = t.wire(on=subject)
    idle.query("BEGIN")
    idle.query("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
    poll(lambda: counted() >= 2.0, "idle_in_transaction_session_timeout")
    same(client.value("SELECT 2"), "2")


@test("runbook: the log names the addresses that give wrong passwords, and both passwords may hold for a while", subjects=PGMEND)
def passwords(t):
    words = t.directory / "both"
    words.write_text(f"{PASSWORDS['app']}\nnewer than that\n")
    subject = t.own("passwords", settings={"users": [{"name": "app", "password_file": str(words)}]})
    before = count(subject, "pgmend_client_logins_total", '{result="wrong_password"}')
    same(turned_away(t, on=subject, password="a guess")["C"], "28P01")
    same(count(subject, "pgmend_client_logins_total", '{result="wrong_password"}'), before + 1)
    poll(lambda: " client_refused" in subject.log.read_text(), "it is logged")
    check("127.0.0.1" in line(subject, "client_refused"), line(subject, "client_refused"))
    for word in (PASSWORDS["app"], "newer than that"):
        same(t.wire(on=subject, password=word).value("SELECT 1"), "1")


@test("runbook: a rule takes somebody out of all limits and out of SHOW LIMITS; more than table_size count as one", subjects=PGMEND)
def limits(t):
    free = [{"user": "app", "clients": 0, "requests": "none"}, {"user": "app", "per": "application_name", "clients": 0}]
    subject = t.own("limits", settings={"limits": {"rules": free, "user_clients": 2, "application_clients": 1, "table_size": 16},
                                        "admin": {"users": "app"}})
    watch = console(t, on=subject)
    clients = [t.wire(on=subject) for _ in range(4)]
    listed = [row for row in table(watch, "SHOW LIMITS") if "app" in row["scope"] and row["name"] in ("clients", "requests")]
    same(listed, [], "who is never limited")
    for each in clients:
        each.close()
    crowd = [t.wire(user="other", database="other", on=subject, parameters={"application_name": f"one of many {number}"})
             for number in range(2)]
    same(turned_away(t, on=subject, user="other", database="other")["M"], 'too many connections for role "other"')
    for each in crowd:
        each.close()
    write(subject, {"limits": {"rules": NOTHING, "user_clients": 0}})
    reloaded(t, subject)
    crowd, told = [], None
    while len(crowd) < 40 and told is None:
        try:
            crowd.append(t.wire(on=subject, parameters={"application_name": f"one of many {len(crowd)}"}))
        except wire.Refused as refusal:
            told = refusal.fields
    check(told and "several" in told["M"] and "count as one" in told["M"], f"{told}")
    check(any("several" in row["scope"] for row in table(watch, "SHOW LIMITS")), "and on the console")
    write(subject, {"limits": {"rules": NOTHING, "user_clients": 0, "table_size": 100}})
    reloaded(t, subject)
    same(turned_away(t, on=subject, parameters={"application_name": "one of many more"}), None, "a larger table")


@test("runbook: SHOW STATEMENTS and SHOW PINS name who keeps servers, what is slow, and shapes that are made up", subjects=PGMEND,
      settings={"admin": {"statements": 16, "users": "app"}, "workers": 1})
def statements(t):
    watch, client = console(t), t.wire()
    client.rows("SELECT pg_sleep(0.3)")
    client.query("CREATE TEMPORARY TABLE mine (a int)")
    first = table(watch, "SHOW STATEMENTS")[0]
    check("pg_sleep" in first["statement"] and int(first["p99_us"]) >= 250_000, f"what took most time stands first: {first}")
    by_whom = lambda: [row["statement"] for row in table(watch, "SHOW STATEMENTS") if row["pins"] != "0"]
    named = poll(by_whom, "it is counted", 30)
    check(len(named) == 1 and "TEMPORARY" in named[0].upper(), f"{named}")
    poll(lambda: count(t.subject, "pgmend_pins", '{reason="temporary_table"}') == 1.0, "the metric")
    same([row["reason"] for row in table(watch, "SHOW PINS") if row["clients"] != "0"], ["temporary_table"])
    client.close()
    same(wire.sqlstates(watch.query("RESET STATEMENTS")), [])
    check(not any("pg_sleep" in row["statement"] for row in table(watch, "SHOW STATEMENTS")), "what was before is gone")
    client = t.wire()
    for number in range(300):
        client.query(f"SELECT 1 AS made_up_{number}")
    check(count(t.subject, "pgmend_statement_shapes_forgotten_total") > 0, "it grows")
    check(any(row["statement"] == "(all others)" for row in table(watch, "SHOW STATEMENTS")), "where they are counted")
    before = count(t.subject, "pgmend_errors_total")
    same(wire.sqlstates(client.query("SELECT 1/0")), ["22012"])
    same(count(t.subject, "pgmend_errors_total"), before + 1)


@test("runbook: an alert that lasts is told again, and a new process knows nothing of those before it", subjects=PGMEND)
def lasting(t):
    receiver = Receiver(t)
    subject = t.own("lasting", settings=quick(receiver, repeat="300ms"))
    t.wire(on=subject).value("SELECT 1")
    paused(t, subject)
    told = [receiver.next("pools")[2] for _ in range(3)]
    same([each["status"] for each in told], ["firing", "lasting", "lasting"])
    same(len({each["id"] for each in told}), 1, "one alert")
    subject.stop()
    subject.start()
    same(count(subject, "pgmend_alerts_firing"), 0.0)
    t.wire(on=subject).value("SELECT 1")
    paused(t, subject)
    fresh = receiver.next("pools")[2]
    while fresh["status"] == "lasting" and fresh["id"] == told[0]["id"]:
        fresh = receiver.next("pools")[2]
    check(fresh["status"] == "firing" and fresh["id"] != told[0]["id"], f"{fresh}")
    resumed(t, subject)


@test("runbook: a rollout's rows: what the log says of lingering and draining, and what clients meet", subjects=PGMEND, seconds=90)
def rollout(t):
    # Nobody is connected: it is over soon, unless linger_quiet says otherwise.
    subject = t.own("nobody", settings={"shutdown": {"linger": "5min", "drain_timeout": "5s"}})
    subject.process.send_signal(signal.SIGTERM)
    same(subject.process.wait(60), 0)
    text = subject.log.read_text()
    check(0 <= text.find(" lingering") < text.find(" draining"), text[-2000:])
    subject = t.own("stays", settings={"shutdown": {"linger": "400ms", "drain_timeout": "5s"}})
    client = t.wire(on=subject)
    subject.process.send_signal(signal.SIGTERM)
    same(wire.error_fields(client.until("E")[-1][1])["C"], "57P01")
    check("timeout_ms=400" in line(subject, "lingering"), line(subject, "lingering"))
    line(subject, "draining")
    same(subject.process.wait(60), 0)


@test("runbook: a ban is its process's own: who takes over does not know it until it is told again", subjects=PGMEND, seconds=90)
def ban(t):
    cluster = Cluster(t)
    standby = f"{cluster.servers[1].host}:{cluster.servers[1].port}"
    subject = t.own("ban", url=cluster.url(), settings={"admin": {"users": "app"}})
    old = console(t, on=subject)
    poll(lambda: one(old, "SHOW TOPOLOGY", server=standby)["role"] == "standby", "it is known", 30)
    same(wire.tags(old.query(f"BAN {standby}")), ["BAN"])
    subject.process.send_signal(signal.SIGUSR2)
    poll(lambda: "taken_over" in subject.log.read_text(), f"a successor\n{tail(subject.log)}", 60)
    successor = int(re.search(r" by=(\d+)", line(subject, "taken_over")).group(1))
    try:
        same(one(old, "SHOW TOPOLOGY", server=standby)["banned"], "until UNBAN", "the old one keeps it")
        new = console(t, on=subject)
        same(one(new, "SHOW TOPOLOGY", server=standby)["banned"], "no")
        same(wire.tags(new.query(f"BAN {standby}")), ["BAN"])
        same(one(new, "SHOW TOPOLOGY", server=standby)["banned"], "until UNBAN")
        # Nothing goes there, then it may be restarted.
        same(one(new, "SHOW TOPOLOGY", server=standby)["sv_connections"], "0")
        old.close()
        subject.process.wait(60)
    finally:
        os.kill(successor, signal.SIGTERM)
        poll(lambda: not os.path.exists(f"/proc/{successor}/fd") or not os.listdir(f"/proc/{successor}/fd"), "it ends", 60)


@test("runbook: lists of servers: what is foreign or not reached, what is used though no list names it, and a start without one",
      subjects=PGMEND, seconds=150)
def lists(t):
    cluster, other = Cluster(t), Cluster(t_below(t), standbys=0)
    primary, standby = cluster.servers
    api = Api(t, [(primary, "leader"), (standby, "replica")])
    api.mood = "503"
    subject = t.run.pgmend("start", pool_size=8, only_live=True, settings={
        **BASE, "hold": {"timeout": "1s"},
        "upstream": {**UPSTREAM, "patroni": {"urls": url(api), "interval": "300ms", "timeout": "300ms"}}})
    del subject.settings["upstream"]["url"]
    t.closing.enter_context(t.run.started(subject))
    fields = turned_away(t, on=subject)
    same(fields["C"], "57P03")
    check("no list has named a server yet" in " ".join(fields.values()), f"{fields}")
    poll(lambda: " server_list_kept" in subject.log.read_text(), "it is logged")
    check(url(api).split("//")[1] in line(subject, "server_list_kept"), line(subject, "server_list_kept"))
    api.mood = "good"
    served(t, subject, "SELECT 1")

    api.servers.append((other.primary, "replica"))
    watch = console(t, on=subject)

    def row(server):
        return {each["server"]: each for each in table(watch, "SHOW TOPOLOGY")}.get(f"{server.host}:{server.port}", {})

    poll(lambda: (row(primary).get("role"), row(standby).get("role"), row(other.primary).get("role"))
         == ("primary", "standby", "foreign"), f"their roles\n{table(watch, 'SHOW TOPOLOGY')}", 30)
    # A member nobody can reach.
    other.primary.stop()
    # Taken out while it works: another one has to be promoted before it is left.
    api.servers = [(standby, "leader")]
    poll(lambda: row(primary).get("listed") == "no", "it has left the list", 30)
    same((row(primary)["role"], served(t, subject, "SELECT inet_server_port()")), ("primary", [[str(primary.port)]]))
    cluster.caught_up()
    standby.promote()
    poll(lambda: served(t, subject, "SELECT inet_server_port()") == [[str(standby.port)]], f"followed\n{tail(subject.log)}", 30)


def t_below(t):
    """The test, with a folder of its own for a second cluster."""
    class Below:
        directory, closing = t.directory / "other", t.closing

    Below.directory.mkdir()
    Below.directory.chmod(0o777)
    return Below
