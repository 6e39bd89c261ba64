"""More clients than the server can serve: who is refused and who is not, and pools that find their size by trying."""

import threading
import time

import wire
from clusters import Cluster
from console import console, error, one
from harness import PASSWORDS, check, poll, same
from limits import count
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


class Crowd:
    """Clients that ask for one thing without a pause, each on a connection of its own, until `over`."""

    def __init__(self, t, clients, sql, on=None, pause=0.05):
        self.over = threading.Event()
        self.served, self.refused, self.errors = [], 0, []
        self.guard = threading.Lock()
        self.threads = [threading.Thread(target=self._work, args=(t, sql, on, pause)) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _work(self, t, sql, on, pause):
        try:
            client = t.wire(**({"on": on} if on else {}), timeout=120)
            while not self.over.is_set():
                began = time.monotonic()
                states = wire.sqlstates(client.query(sql))
                check(set(states) <= {"53300"}, states)
                with self.guard:
                    if states:
                        self.refused += 1
                    else:
                        self.served.append(time.monotonic() - began)
                if states:
                    self.over.wait(pause)
            client.close()
        except Exception as problem:
            self.errors.append(problem)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(120)
        same(self.errors, [])


def resized(subject, why):
    return count(subject, "pgmend_pool_resizes_total", '{reason="%s"}' % why)


@test("overload: behind a line that stands, who has waited limits.queue_delay is refused with 53300, and stays", pool=1,
      settings={"limits": {"queue_delay": "200ms"}}, subjects=PGMEND)
def standing_line(t):
    holder, early, late = t.wire(), t.wire(), t.wire()
    admin = console(t)
    holder.query("BEGIN")
    early.send(wire.query("SELECT 'early'"))
    # A client that comes in meanwhile is not turned away, nor made to wait: it asks for nothing yet.
    t.wire().close()
    answer = early.ready()
    fields = error(answer)
    same([fields[key] for key in "SCMH"],
         ["ERROR", "53300", "the request was refused, as too many wait for a server connection", "Retry after 1 s."])
    words = fields["D"].split()
    check(int(words[4]) >= 2000, fields["D"])
    check("the limit under overload is 200 ms (limits.queue_delay)" in fields["D"], fields["D"])
    same(wire.statuses(answer), "I")
    # The line is empty by then: a new one is a burst at first.
    late.send(wire.query("SELECT 'late'"))
    poll(lambda: one(admin, "SHOW POOLS", user="app")["cl_waiting"] == "1", "it waits")
    holder.query("COMMIT")
    same(wire.rows_of(late.ready()), [["late"]])
    same(early.value("SELECT 'again'"), "again")
    same(count(t.subject, "pgmend_clients_refused_total", '{reason="overload"}'), 1.0)
    # Behind a BEGIN that was sent with more comes a failed block, and nothing of it runs.
    holder.query("BEGIN")
    early.send(wire.query("BEGIN") + wire.query("SELECT 1"))
    same(wire.sqlstates(early.ready()), ["53300"])
    holder.query("COMMIT")
    answer = early.ready() + early.query("COMMIT")
    same((wire.sqlstates(answer), wire.tags(answer), wire.statuses(answer)), (["25P02"], ["ROLLBACK"], "EI"))
    for client in (holder, early, late):
        client.close()


@test("overload: with ten times as many clients as it can serve, a pool serves as much, and nobody waits long", pool=4,
      settings={"limits": {"queue_delay": "100ms"}}, subjects=PGMEND, seconds=120)
def ten_times(t):
    sql = "SELECT pg_sleep(0.02)"
    alone = Crowd(t, 4, sql)
    poll(lambda: len(alone.served) >= 100, "four clients alone", timeout=60)
    alone.stop()
    crowd = Crowd(t, 40, sql)
    poll(lambda: crowd.refused >= 40 and len(crowd.served) >= 200, "some are served, some refused", timeout=100)
    crowd.stop()
    # The first of them have waited for the line to be seen as standing.
    settled = sorted(crowd.served[len(crowd.served) // 2:])
    check(settled[len(settled) // 2] < 1.0, f"the median of those who were served: {settled[len(settled) // 2]:.3f} s")
    same(count(t.subject, "pgmend_clients_refused_total", '{reason="overload"}'), float(crowd.refused))


@test("overload: a pool that finds its size by trying grows as long as more are served", pool=16, subjects=PGMEND, slow=True,
      settings={"pool": {"sizing": "adaptive", "least_size": 2}}, seconds=120)
def grows(t):
    admin = console(t)
    crowd = Crowd(t, 32, "SELECT pg_sleep(0.05)")
    poll(lambda: one(admin, "SHOW POOLS", user="app")["pool_size"] == "16", "all of pool.size is used", timeout=90)
    check(resized(t.subject, "trial_more") >= 3, "2, 4, 8, 16")
    crowd.stop()
    check(one(admin, "SHOW POOLS", user="app")["pool_size"] == "16", "it stays when nobody waits")
    check("pool_resized" in t.subject.log.read_text(), "it is logged")


@test("overload: a pool that finds its size by trying goes back where more only wait for each other", pool=16, subjects=PGMEND,
      settings={"pool": {"sizing": "adaptive", "least_size": 2}}, slow=True, seconds=120)
def goes_back(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS one_by_one; CREATE TABLE one_by_one (n int); INSERT INTO one_by_one VALUES (0)")
    admin = console(t)
    crowd = Crowd(t, 24, "UPDATE one_by_one SET n = n + 1 RETURNING pg_sleep(0.01)")
    poll(lambda: resized(t.subject, "no_gain") >= 1, "a larger size was tried in vain", timeout=90)
    poll(lambda: one(admin, "SHOW POOLS", user="app")["pool_size"] == "2", "it is the least again", timeout=60)
    crowd.stop()
    same(t.admin("SELECT n FROM one_by_one")[0][0], len(crowd.served))
    t.admin("SET ROLE app; DROP TABLE one_by_one")


@test("overload: sizing is switched live, and RELOAD puts a pool back to its fixed size", pool=6, subjects=PGMEND,
      settings={"pool": {"sizing": "adaptive", "least_size": 1}})
def switched(t):
    from reloading import write
    admin, first, second = console(t), t.wire(), t.wire()
    same(one(admin, "SHOW POOLS", user="app")["pool_size"], "1")
    first.query("BEGIN")
    second.send(wire.query("SELECT 1"))
    poll(lambda: one(admin, "SHOW POOLS", user="app")["cl_waiting"] == "1", "there is one server")
    write(t.subject, {"pool": {"sizing": "fixed", "size": 6}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    same(wire.rows_of(second.ready()), [["1"]], "there is room now")
    same(one(admin, "SHOW POOLS", user="app")["pool_size"], "6")
    same(count(t.subject, "pgmend_pool_size"), 6.0)
    first.query("COMMIT")
    first.close()
    second.close()


def grown(t, **settings):
    """A cluster's primary and a pgmend of the test's own whose pools find their size, between 2 and 40."""
    cluster = Cluster(t, standbys=0, **settings)
    subject = t.own("sized", settings={"upstream": {"url": cluster.url()},
                                       "pool": {"size": 40, "sizing": "adaptive", "least_size": 2}})
    return cluster, subject


@test("overload: a pool that finds its size by trying leaves the server connections for others", subjects=PGMEND, slow=True,
      seconds=120)
def leaves_some(t):
    # Twelve for who is no superuser, of which the health check has one.
    cluster, subject = grown(t, max_connections="15", superuser_reserved_connections="3")
    crowd = Crowd(t, 30, "SELECT pg_sleep(0.02)", on=subject)
    poll(lambda: resized(subject, "trial_more") >= 2, "it grows", timeout=60)
    for _ in range(20):
        others = wire.Wire(cluster.primary.host, cluster.primary.port).login("app", PASSWORDS["app"], "app")
        same(others.value("SELECT 1"), "1")
        others.close()
        crowd.over.wait(0.2)
    size = int(one(console(t, on=subject), "SHOW POOLS", user="app")["pool_size"])
    check(4 <= size <= 8, f"{size} of the twelve, three of them for others")
    crowd.stop()
    same(crowd.refused, 0)


@test("overload: when the server refuses one more connection with 53300, a pool is content with those it has", subjects=PGMEND,
      seconds=120)
def content(t):
    cluster, subject = grown(t)
    cluster.sql("ALTER ROLE app CONNECTION LIMIT 6")
    crowd = Crowd(t, 30, "SELECT pg_sleep(0.02)", on=subject)
    poll(lambda: resized(subject, "server_full") >= 1, "it has met the limit", timeout=60)
    served = len(crowd.served)
    poll(lambda: len(crowd.served) > served + 200, "it goes on with those it has")
    size = int(one(console(t, on=subject), "SHOW POOLS", user="app")["pool_size"])
    check(size <= 6, f"{size} connections where there are six")
    crowd.stop()
    same(crowd.refused, 0)
