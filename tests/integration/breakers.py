"""What pgmend tells of its healing, how breakers keep it from running a server over, and the pauses of its retries."""

import contextlib
import re
import signal
import threading
import time

import wire
from clusters import Cluster, crash
from console import console, one, table
from harness import check, poll, same, tail
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
QUICK = {"retry_delay_min": "20ms", "retry_delay_max": "40ms"}


def story(client, **where):
    """What was healed, in the order it happened."""
    return [row for row in table(client, "SHOW HEALINGS") if all(row[key] == value for key, value in where.items())]


def told(client, kind):
    return [(row["outcome"], row["reason"]) for row in story(client, kind=kind)]


def ask(client, sql):
    """In the background; the list has the messages when there is an answer."""
    answer = []

    def run():
        with contextlib.suppress(wire.Closed, OSError):
            answer.append(client.query(sql))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answer


@test("breakers: a server that has no slot left is tried one login at a time, and used again as soon as it has",
      subjects=PGMEND, seconds=60)
def slots(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("slots", url=cluster.url(), pool_size=10, settings={"pool": QUICK})
    watch = console(t, on=subject)
    clients = [t.wire(on=subject) for _ in range(10)]
    for client in clients:
        client.rows("SELECT 1")
    server = f"{cluster.primary.host}:{cluster.primary.port}"
    same({row["state"] for row in table(watch, "SHOW BREAKERS")}, {"closed"})
    cluster.sql("ALTER ROLE app CONNECTION LIMIT 0")
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                "AND application_name <> 'pgmend health'")
    asked = [ask(client, "SELECT 7") for client in clients]
    poll(lambda: one(watch, "SHOW BREAKERS", server=server, **{"class": "resource"})["state"] == "open",
         f"the breaker opens\n{tail(subject.log)}", 10)
    same(one(watch, "SHOW BREAKERS", server=server, **{"class": "local"})["state"], "closed", "it can be reached")
    same(told(watch, "breaker"), [("open", "failures_in_a_row")])
    check("breaker_opens" in subject.log.read_text(), "it is logged")
    check(not any(answer for _, answer in asked), "nobody was told anything")
    offset = cluster.primary.log_size()
    time.sleep(1)  # of many times the pause
    tries = cluster.primary.log_since(offset).count("too many connections")
    check(2 <= tries <= 60, f"it is tried, one login after the other: {tries}")
    cluster.sql("ALTER ROLE app CONNECTION LIMIT -1")
    freed = time.monotonic()
    for thread, answer in asked:
        thread.join(20)
        same(wire.rows_of(answer[0]), [["7"]])
    print(f"    all served {1000 * (time.monotonic() - freed):.0f} ms after there was a slot")
    poll(lambda: told(watch, "breaker")[-1] == ("closed", "trials_passed"), f"it closes: {told(watch, 'breaker')}", 10)
    same(told(watch, "hold"), [("begun", None), ("ended", None), ("released", None)])
    released = story(watch, kind="hold")[-1]
    same((released["count"], released["database"], released["user"]), ("10", "app", "app"))
    check(int(released["duration_ms"]) > 1000, f"{released}")
    metrics = subject.http("/metrics")[1]
    check('pgmend_breaker_changes_total{reason="failures_in_a_row"} 1' in metrics, "it is counted")
    check('pgmend_breakers{state="closed"} 2' in metrics, "and both are closed again")


@test("breakers: with its rules at zero no breaker opens, and logins go on as before", subjects=PGMEND, seconds=60)
def switched_off(t):
    cluster = Cluster(t, standbys=0)
    off = {"failures": 0, "failure_rate": 0, "slow_rate": 0}
    subject = t.own("off", url=cluster.url(), settings={"pool": QUICK, "breaker": off})
    watch = console(t, on=subject)
    client = t.wire(on=subject)
    client.rows("SELECT 1")
    cluster.primary.stop(signal.SIGQUIT)
    thread, answer = ask(client, "SELECT 8")
    failures = re.compile(r'pgmend_server_connects_total\{result="(?:refused|server_error|lost)"\} (\d+)')
    poll(lambda: sum(map(int, failures.findall(subject.http("/metrics")[1]))) > 8, "logins fail", 10)
    cluster.primary.start()
    thread.join(20)
    same(wire.rows_of(answer[0]), [["8"]])
    same(told(watch, "breaker"), [])


@test("breakers: many users' logins to a primary that is away are one at a time, and it is not waited for longer than it "
      "takes", subjects=PGMEND, seconds=90)
def one_at_a_time(t):
    cluster = Cluster(t, standbys=0)
    users = ["app", "other", "crowd"]
    subject = t.own("many", url=cluster.url(), settings={"pool": QUICK})
    watch = console(t, on=subject)
    clients = [t.wire(on=subject, user=user, timeout=60) for user in users]
    for client in clients:
        client.rows("SELECT 1")
    cluster.primary.stop(signal.SIGQUIT)
    asked = [ask(client, "SELECT current_user") for client in clients]
    poll(lambda: ("open", "failures_in_a_row") in told(watch, "breaker"), f"it opens\n{tail(subject.log)}", 20)
    poll(lambda: len([row for row in story(watch, kind="hold") if row["outcome"] == "begun"]) == len(users),
         "all of them are held", 10)
    cluster.primary.start()
    accepts = time.monotonic()
    for (thread, answer), user in zip(asked, users):
        thread.join(20)
        same(wire.rows_of(answer[0]), [[user]])
    took = time.monotonic() - accepts
    print(f"    all users served {1000 * took:.0f} ms after it accepted")
    check(took < 3, f"the cooldown of 30 s is not waited for: {took:.1f} s")


@test("healings: a crash and a promotion are one story on the console: what was lost, held, found and released",
      subjects=PGMEND, seconds=90)
def one_story(t):
    cluster = Cluster(t, standbys=1)
    subject = t.own("story", url=cluster.url())
    watch = console(t, on=subject)
    old, new = (f"{server.host}:{server.port}" for server in cluster.servers)
    client, block = t.wire(on=subject), t.wire(on=subject)
    client.rows("SELECT 1")
    block.query("BEGIN")
    block.query("SELECT 1")
    cluster.caught_up()
    crash(cluster.primary)
    thread, answer = ask(client, "SELECT 9")
    poll(lambda: any(row["outcome"] == "begun" for row in story(watch, kind="hold")), "it is held", 10)
    # In the middle of it: one SHOW says what is the matter, since when, who notices, what is done and what to do.
    poll(lambda: one(watch, "SHOW HEALTH", component="topology")["state"] == "critical", "no primary", 20)
    night = one(watch, "SHOW HEALTH", component="all")
    check(night["in_words"].startswith("topology: there is no primary: no server that can be reached says"), night)
    check(night["since"] and re.search(r"\d clients? wait", night["suffers"]) and "holds what clients ask for" in night["done"], night)
    check("promote a standby" in night["advice"], night)
    check("requests wait for a server" in one(watch, "SHOW HEALTH", component=f"server:{old}")["advice"], "of the one that is down")
    check(one(watch, "SHOW TOPOLOGY", server=old)["in_words"].startswith("down"), "and why")
    cluster.servers[1].promote()
    thread.join(60)
    same(wire.rows_of(answer[0]), [["9"]])
    poll(lambda: ("released", None) in told(watch, "hold"), f"{told(watch, 'hold')}", 10)
    # The log's lines about one request have its name in common.
    poll(lambda: " transaction_replayed" in subject.log.read_text(), "it is told", 20)
    log = subject.log.read_text()
    name = re.search(r" transaction_replayed .*request=(\S+) .*outcome=continued", log).group(1)
    for event in ("server_lost", "transaction_replayed"):
        check(re.search(rf" {event} .*request={re.escape(name)} ", log), f"{event} of {name}\n{log[-3000:]}")
    rows = story(watch)
    times = [row["time"] for row in rows]
    same(times, sorted(times), "by time")
    lost = next(row for row in rows if row["kind"] == "server_lost")
    same((lost["server"], lost["outcome"], lost["reason"], lost["database"], lost["user"]),
         (old, "replayed", "replayable", "app", "app"))
    check("5" in lost["cause"] or "broke" in lost["cause"], f"with its evidence: {lost}")
    # Who went, why; that nobody was left, and who it had been; who took over, from whom; what became of the old one.
    servers = [row for row in rows if row["kind"] in ("server", "primary")]
    same([(row["kind"], row["server"], row["outcome"]) for row in servers],
         [("primary", old, "elected"), ("server", old, "down"), ("primary", None, "lost"), ("primary", new, "elected"),
          ("server", old, "fenced")])
    first, down, none, second, fenced = [row["cause"] for row in servers]
    same(first, "none was known before, timeline 1")
    check("refused" in down or "shutting down" in down or "closed" in down, f"why it is down: {down}")
    check(none.startswith(f"before it was {old}, timeline 1: "), none)
    same(second, f"before it was {old}, timeline 1; now {new}, timeline 2")
    same(fenced, f"it is on timeline 1, {new} on timeline 2")
    check(int(servers[3]["duration_ms"]) > 0, "how long nobody was")
    order = [row["kind"] for row in rows if row["kind"] in ("server", "hold")]
    same(order[-2:], ["hold", "hold"], f"{order}")
    ended = next(row for row in rows if row["kind"] == "hold" and row["outcome"] == "ended")
    same(ended["cause"], f"{new} is the primary")
    night = one(watch, "SHOW HEALTH", component="all")
    check(f"chose {new} as the primary" in night["done"] and f"fenced {old}" in night["done"], night)
    check("Bring it back as a standby" in one(watch, "SHOW HEALTH", component=f"server:{old}")["advice"], "what to do now")
    cluster.servers[0].start()
    poll(lambda: [row["outcome"] for row in story(watch, kind="server")] == ["down", "fenced", "up"], "it is back", 30)
    check("an older timeline" in one(watch, "SHOW HEALTH", component=f"server:{old}")["in_words"], "and what it says of itself")


@test("retries: the first is at once, the next ones after a pause, and a cancel ends one that pauses", subjects=PGMEND,
      seconds=60)
def pauses(t):
    subject = t.own("pauses", settings={"retry": {"delay_min": "4s", "delay_max": "5s"}})
    watch = console(t, on=subject)
    t.admin("SET ROLE app; DROP TABLE IF EXISTS lost_twice; CREATE TABLE lost_twice (a int)")
    holder = t.wire(direct=True)
    holder.query("BEGIN")
    holder.query("LOCK TABLE lost_twice")
    sql = "SELECT count(*) FROM lost_twice"

    def running():
        return t.admin("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%lost_twice' "
                       "AND pid <> pg_backend_pid()")

    def lost_twice():
        client = t.wire(on=subject)
        thread, answer = ask(client, sql)
        for _ in range(2):
            pid = poll(running, "it runs", 10)[0][0]
            t.admin(f"SELECT pg_terminate_backend({pid})")
            poll(lambda: not t.servers(f"pid = {pid}"), "the backend ends")
        return client, thread, answer, time.monotonic()

    _, thread, answer, lost = lost_twice()
    time.sleep(0.5)  # into the pause
    same((running(), answer), ([], []), "it waits")
    check(time.monotonic() - lost < 3.9, "this was asked within the pause")
    poll(running, "it is sent again", 10)
    holder.query("COMMIT")
    thread.join(30)
    same(wire.rows_of(answer[0]), [["0"]])
    holder.query("BEGIN")
    holder.query("LOCK TABLE lost_twice")
    check("pgmend_retry_pause_seconds_count 1" in subject.http("/metrics")[1], "it is counted")
    done = story(watch, kind="request_done")
    same([(row["outcome"], row["attempt"]) for row in done], [("healed", "2")])
    same([row["attempt"] for row in story(watch, kind="server_lost")], ["0", "1"])
    client, thread, answer, lost = lost_twice()
    time.sleep(0.2)  # into the pause
    same(running(), [], "it waits")
    other = t.wire(on=subject, login=False)
    other.send(wire.cancel(client.pid, client.key))
    thread.join(5)
    took = time.monotonic() - lost
    same(wire.sqlstates(answer[0]), ["57014"])
    check(took < 3.9, f"cancelled within the pause: after {took:.2f} s")
    same(client.rows("SELECT 3"), [["3"]])
    gone, _, _, _ = lost_twice()
    with contextlib.suppress(OSError):
        gone.socket.shutdown(2)
    poll(lambda: one(watch, "SHOW LIMITS", name="clients")["current"] == "2", "who leaves in a pause is gone", 5)
