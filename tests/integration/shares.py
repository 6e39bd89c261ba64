"""Several workers and one pool: what one leaves of it another may have."""

import wire
from console import console, one
from harness import check, poll, same
from limits import count
from registry import register
from reloading import write

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
WORKER_BITS = 6  # the first of a cancel key


def worker_of(client):
    return client.key[0] >> (8 - WORKER_BITS)


def by_worker(t, least):
    """Clients of two workers, so many of each at least: the kernel decides whose a client is."""
    groups = ([], [])
    while min(map(len, groups)) < least:
        check(sum(map(len, groups)) < 200, [len(group) for group in groups])
        client = t.wire()
        groups[worker_of(client)].append(client)
    return groups


def moved(t, why):
    return int(count(t.subject, "pgmend_pool_shares_moved_total", '{reason="%s"}' % why))


BEGIN = wire.query("BEGIN; SELECT 1")


@test("shares: clients of one worker may have the whole pool but one, and give it back when others need theirs", pool=8,
      settings={"workers": 2}, subjects=PGMEND)
def moves(t):
    with t.watched() as most:
        many, few = by_worker(t, 9)
        for client in many[:9]:
            client.send(BEGIN)
        # Four were given to each worker. All but one are in a block of these: two wait, as nobody who works gives way.
        for client in many[:7]:
            same(wire.sqlstates(client.ready()), [])
        same((moved(t, "unused"), moved(t, "given_back")), (3, 0))
        same(wire.sqlstates(few[0].query("SELECT 1")), [], "the last one stays with who lent")
        # Now others want theirs: whenever one of these is free it goes there, although two still wait here.
        for client in few[:4]:
            client.send(BEGIN)
        same(wire.sqlstates(few[0].ready()), [])
        poll(lambda: moved(t, "given_back") == 3, "three are promised")
        for done, client in enumerate(many[:3]):
            same(wire.sqlstates(client.query("COMMIT")), [])
            same(wire.sqlstates(few[1 + done].ready()), [], "it has gone to who was given it")
        for client in many[3:7]:
            client.query("COMMIT")
        for client in many[7:9] + few[:4]:
            if client in many:
                same(wire.sqlstates(client.ready()), [])
            client.query("COMMIT")
    check(max(most.values()) <= 8, dict(most))
    for client in many + few:
        client.close()


@test("shares: other sizes are given anew, whoever has more", pool=8, settings={"workers": 2}, subjects=PGMEND)
def anew(t):
    many, few = by_worker(t, 7)
    for client in many[:7]:
        client.send(BEGIN)
    for client in many[:7]:
        same(wire.sqlstates(client.ready()), [])
    same(moved(t, "unused"), 3)
    write(t.subject, {"pool": {"size": 4}})
    same(wire.tags(console(t).query("RELOAD")), ["RELOAD"])
    for client in many[:7]:
        client.query("COMMIT")
    for client in few[:2]:
        client.send(BEGIN)
    for client in few[:2]:
        same(wire.sqlstates(client.ready()), [])
    for client in few[:2]:
        client.query("COMMIT")
    poll(lambda: one(console(t), "SHOW POOLS", user="app")["pool_size"] == "4", "four in all")
    for client in many + few:
        client.close()
