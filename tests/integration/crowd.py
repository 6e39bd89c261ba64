"""Very many clients over few servers."""

import selectors
import threading
import time

import wire
from harness import check, same
from registry import register

TESTS = []
test = register(TESTS)


def log_in(t, count, threads=4):
    """Logs in that many raw clients, a few at a time."""
    clients, failures = [], []
    guard = threading.Lock()

    def some(amount):
        try:
            for _ in range(amount):
                client = wire.Wire(t.host, t.port, timeout=60).login("crowd", "s3cret-of-crowd", "app")
                with guard:
                    clients.append(client)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=some, args=(count // threads,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    check(not failures, f"after {len(clients)} logins: {failures[:2]}")
    return clients


class Active:
    """A client that sends its next statement as soon as the last is answered."""

    def __init__(self, client, number, form):
        self.client, self.number, self.form = client, number, form
        self.turns, self.longest, self.sent = 0, 0.0, 0.0
        self.tail = b""

    def ask(self, now):
        value = str(self.number * 1000 + self.turns)
        if self.form == "simple":
            data = wire.query(f"SELECT {value}")
        elif self.form == "block":
            data = wire.query(f"BEGIN; SELECT {value}; COMMIT")
        else:
            data = wire.run("SELECT $1::text", [value]) + wire.SYNC
        self.expected = value.encode()
        self.sent = now
        self.client.socket.send(data)

    def readable(self, now):
        """Whether the answer is whole."""
        got = self.client.socket.recv(65536)
        check(got, f"client {self.number} was disconnected")
        self.tail += got
        if not self.tail.endswith(b"Z\0\0\0\5I"):
            return False
        check(self.expected in self.tail and b"SERROR" not in self.tail, f"client {self.number} got {self.tail!r}")
        self.tail = b""
        self.turns += 1
        self.longest = max(self.longest, now - self.sent)
        return True


def work(actives, seconds):
    selector = selectors.DefaultSelector()
    begun = time.monotonic()
    for active in actives:
        selector.register(active.client.socket, selectors.EVENT_READ, active)
        active.ask(time.monotonic())
    waiting = len(actives)
    while waiting:
        events = selector.select(20)
        check(events, "no client was answered for 20 s")
        now = time.monotonic()
        for key, _ in events:
            active = key.data
            if active.readable(now):
                if now - begun < seconds:
                    active.ask(now)
                else:
                    waiting -= 1
                    selector.unregister(active.client.socket)
    selector.close()


def crowd(t, idle, busy, seconds):
    clients = log_in(t, idle + busy)
    try:
        actives = [Active(client, number, ("simple", "extended", "block")[number % 3])
                   for number, client in enumerate(clients[idle:])]
        work(actives, seconds)
        turns = sorted(active.turns for active in actives)
        longest = max(active.longest for active in actives)
        check(turns[0] >= 3, f"somebody was starving: {turns[0]} statements, the median had {turns[len(turns) // 2]}")
        check(turns[0] * 4 >= turns[len(turns) // 2], f"unequal: from {turns[0]} to {turns[-1]}")
        check(longest < 5, f"the longest wait was {longest:.2f} s")
        if t.subject.pool_size:
            check(t.server_counts()["crowd@app"] <= t.subject.pool_size, "servers within the pool's size")
        for client in clients[:idle:50]:
            same(client.rows("SELECT 'still here'"), [["still here"]])
        if t.subject.kind == "pgmend":
            print(f"      {idle} idle, {busy} active: {sum(turns)} statements, from {turns[0]} to {turns[-1]} each, "
                  f"longest {longest * 1000:.0f} ms, VmHWM {t.subject.memory_peak() >> 20} MB")
    finally:
        for client in clients:
            client.drop()


@test("5,000 idle clients and 500 active ones over 20 servers: none refused, none starving", pool=20, slow=True,
      seconds=120, subjects=("pgmend", "pgbouncer"))
def five_thousand(t):
    crowd(t, 5000, 500, 6)


@test("200 idle clients and 60 active ones over 20 servers: none refused, none starving", pool=20)
def two_hundred(t):
    crowd(t, 200, 60, 2)


@test("a herd of 300 logins at once is served", pool=8, seconds=60, subjects=("pgmend", "pgbouncer"))
def herd(t):
    clients = log_in(t, 300, threads=30)
    same(len(clients), 300)
    for client in clients[::10]:
        same(client.rows("SELECT 1"), [["1"]])
        client.close()
    for client in clients:
        client.socket.close()


@test("waiters are served in the order they came", pool=1, subjects=("pgmend", "pgbouncer"))
def fifo(t):
    t.admin("SET ROLE app; DROP SEQUENCE IF EXISTS order_of_service; CREATE SEQUENCE order_of_service")
    holder = t.wire()
    holder.query("BEGIN")
    waiters = [t.wire() for _ in range(20)]
    for waiter in waiters:
        waiter.send(wire.query("SELECT nextval('order_of_service')"))
        time.sleep(0.01)  # what is tested is the order of arrival, so they arrive one after the other
    holder.query("COMMIT")
    order = [int(wire.rows_of(waiter.ready())[0][0]) for waiter in waiters]
    same(order, sorted(order))


@test("a waiter is told when its time is over, and its connection stays usable or is closed with a reason", pool=1,
      settings={"pool": {"wait_timeout": "300ms"}}, subjects=("pgmend",))
def wait_timeout(t):
    holder = t.wire()
    holder.query("BEGIN")
    holder.query("SELECT 1")
    waiter = t.wire()
    begun = time.monotonic()
    waiter.send(wire.query("SELECT 1"))
    kind, body = waiter.receive()
    same(kind, "E")
    fields = wire.error_fields(body)
    check(fields["C"] in ("53300", "57014", "08006", "57P03", "53400"), f"{fields}")
    check(0.2 < time.monotonic() - begun < 3, "about when the setting says")
    holder.query("COMMIT")
    if fields["V"] == "ERROR":
        waiter.ready()
        same(waiter.rows("SELECT 1"), [["1"]])
    else:
        check(waiter.at_end(), "closed after FATAL")
