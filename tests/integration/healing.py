"""Servers that crash, hang, are restarted and promoted, and clients that have no code for it."""

import contextlib
import signal
import threading
import time

import wire
from clusters import Cluster, crash, freeze, thaw
from harness import check, poll, same, tail
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)


def served(t, subject, sql, timeout=30):
    """The first answer a fresh client gets."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with contextlib.closing(t.wire(on=subject, timeout=timeout)) as client:
                return client.rows(sql)
        except (wire.Refused, wire.Closed, OSError, AssertionError):
            check(time.monotonic() < deadline, f"{sql} is not served\n{tail(subject.log)}")


@test("healing: the primary is found among several servers, wherever it stands in the list", subjects=PGMEND,
      seconds=90)
def primary_found(t):
    cluster = Cluster(t, standbys=2)
    cluster.servers = [cluster.servers[1], cluster.servers[0], cluster.servers[2]]
    subject = t.own("found", url=cluster.url())
    for _ in range(20):
        with contextlib.closing(t.wire(on=subject)) as client:
            same(client.rows("SELECT pg_is_in_recovery(), inet_server_port()"), [["f", str(cluster.primary.port)]])


@test("healing: after crash and promotion the promoted server is used, and the old primary is fenced when it returns",
      subjects=PGMEND, seconds=120)
def promoted(t):
    cluster = Cluster(t)
    old, new = cluster.servers
    cluster.sql("SET ROLE app; CREATE TABLE kept (a int)")
    subject = t.own("promoted", url=cluster.url())
    served(t, subject, "INSERT INTO kept VALUES (1) RETURNING a")
    cluster.caught_up()
    crash(old)
    poll(lambda: "no_primary" in subject.log.read_text(), "the loss is noticed", 5)
    new.promote()
    begun = time.monotonic()
    same(served(t, subject, "INSERT INTO kept VALUES (2) RETURNING a"), [["2"]])
    print(f"    first write {1000 * (time.monotonic() - begun):.0f} ms after the promotion")
    # It comes back as it was and believes it is the primary still.
    old.start()
    poll(lambda: "server_fenced" in subject.log.read_text(), f"it is fenced\n{tail(subject.log)}", 5)
    for number in range(30):
        served(t, subject, f"INSERT INTO kept VALUES ({10 + number}) RETURNING a")
    same(cluster.sql("SELECT count(*) FROM kept", on=old), [(1,)], "nothing is written behind the promotion")
    same(cluster.sql("SELECT count(*) FROM kept", on=new), [(32,)], "all is written where it belongs")
