"""Writes outside of a block whose answer is lost: what became of them is found out, and nobody is lied to."""

import asyncio
import contextlib
import random
import threading
import time

import asyncpg
import psycopg

import wire
from clusters import Cluster, crash
from commit_outcome import PGMEND, WATCHED, extended, gated, once, outcomes, plain, quiet_server
from crash_outcome import Scene
from harness import check, poll, same, tail
from registry import register
from replay import counted

TESTS = []
test = register(TESTS)
STRICT = {"guard": {"commit_outcome": "on", "autocommit_writes": "strict"}}


def shape(answer):
    return [kind for kind, _ in answer]


def insert(table, number):
    return extended(f"INSERT INTO {table} VALUES ({number}, 'x')")


@test("write: cut ahead of its Sync and at its end, its client gets PostgreSQL's own answer, and it is done once",
      subjects=PGMEND, seconds=60)
def cut_either_way(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE cut_write (id int, b text)")
    number = 0
    for name, settings in (("cutflight", WATCHED), ("cutstrict", STRICT)):
        gate, subject = gated(t, name, cluster.primary, **settings)
        client = t.wire(on=subject)
        undisturbed = client.ask(insert("cut_write", 0))
        for where, reason in (("asking", "status_aborted"), ("answering", "status_committed")):
            number += 1
            before = outcomes(subject, reason)
            gate.call(lambda: setattr(gate, "at_sync", once(where)))
            told = client.ask(insert("cut_write", number))
            words = f"{name} {where}\n{tail(subject.log, 40)}"
            same((wire.tags(told), shape(told)), (["INSERT 0 1"], shape(undisturbed)), words)
            same(outcomes(subject, reason), before + 1, words)
            same(cluster.sql(f"SELECT count(*) FROM cut_write WHERE id = {number}"), [(1,)], words)
            same(client.rows("SELECT 5"), [["5"]])
        client.close()


@test("write: where nothing is known of it yet it is 08007, and nothing but that; strictly, it is run again",
      subjects=PGMEND, seconds=60)
def not_known_yet(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE silent_write (id int, b text)")
    for number, (name, settings, wanted) in enumerate((("silentflight", WATCHED, ["08007"]), ("silentstrict", STRICT, []))):
        gate, subject = gated(t, name, cluster.primary, **settings)
        client = t.wire(on=subject)
        client.ask(insert("silent_write", 0))
        gate.call(lambda: setattr(gate, "at_flush" if settings is STRICT else "at_sync", once("silent")))
        told = client.ask(insert("silent_write", 1 + number))
        same((wire.sqlstates(told), wire.statuses(told)), (wanted, "I"), tail(subject.log, 40))
        same(cluster.sql(f"SELECT count(*) FROM silent_write WHERE id = {1 + number}"), [(1,)], name)
        same(client.rows("SELECT 5"), [["5"]])
        same(outcomes(subject, "no_evidence"), len(wanted))
        client.close()


@test("write: what comes out otherwise when it is run again is not committed, and its client is told 40001",
      subjects=PGMEND, seconds=60)
def comes_out_otherwise(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE key_write (id serial, b text)")
    for name, settings in (("otherflight", WATCHED), ("otherstrict", STRICT)):
        gate, subject = gated(t, name, cluster.primary, **settings)
        client = t.wire(on=subject)
        say = extended(f"INSERT INTO key_write (b) VALUES ('{name}') RETURNING id")
        client.ask(say)
        gate.call(lambda: setattr(gate, "at_sync", once("asking")))
        same(wire.sqlstates(client.ask(say)), ["40001"], tail(subject.log, 40))
        same(cluster.sql(f"SELECT count(*) FROM key_write WHERE b = '{name}'"), [(1,)], name)
        # Whose end alone is lost has its keys.
        gate.call(lambda: setattr(gate, "at_sync", once("answering")))
        rows = wire.rows_of(client.ask(say))
        same(cluster.sql(f"SELECT max(id)::text FROM key_write WHERE b = '{name}'"), [tuple(rows[0])], name)
        client.close()


@test("write: several statements of one group, one that writes nothing, and errors are answered as without it",
      subjects=PGMEND, seconds=60)
def as_without(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE same_write (id int PRIMARY KEY, b text); CREATE TABLE late_write (id int, "
                "UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)")
    one = b"".join(wire.parse("", sql) + wire.bind("", "") + wire.describe("P", "") + wire.execute()
                   for sql in ("INSERT INTO same_write VALUES (1, 'x'), (2, 'y') RETURNING id", "SELECT 7",
                               "UPDATE same_write SET b = 'z' WHERE id = 1")) + wire.SYNC
    groups = [one, extended("UPDATE same_write SET b = 'q' WHERE id = 77"), one, extended("INSERT INTO same_write VALUES ('x')"),
              extended("DELETE FROM same_write"),
              wire.parse("", "INSERT INTO late_write VALUES (5), (5)") + wire.bind("", "") + wire.execute() + wire.SYNC,
              wire.parse("", "DELETE FROM same_write") + wire.bind("", "") + wire.execute() + wire.FLUSH + wire.SYNC]
    direct = t.wire(host=cluster.primary.host, port=cluster.primary.port)
    wanted = [direct.ask(group) for group in groups]
    cluster.sql("DELETE FROM same_write")
    for name, settings in (("sameflight", WATCHED), ("samestrict", STRICT)):
        subject = t.own(name, url=cluster.url(), settings=settings)
        client = t.wire(on=subject)
        same([client.ask(group) for group in groups], wanted, name)
        # All but the one that fails where it is parsed.
        same(plain(subject, "pgmend_commit_evidence_total"), len(groups), name)
        client.close()
    # That wrote nothing, and its end is lost.
    gate, subject = gated(t, "samenothing", cluster.primary)
    client = t.wire(on=subject)
    client.ask(groups[1])
    for where in ("asking", "answering"):
        gate.call(lambda: setattr(gate, "at_sync", once(where)))
        same(client.ask(groups[1]), wanted[1], f"{where}\n{tail(subject.log, 40)}")
    same(outcomes(subject, "nothing_written"), 2)


@test("write: behind another write of the same flight it is not asked about, as both would be run again", subjects=PGMEND,
      seconds=60)
def behind_another(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE two_writes (id int, b text)")
    gate, subject = gated(t, "twowrites", cluster.primary)
    client = t.wire(on=subject)
    client.ask(insert("two_writes", 0))
    # The second group waits until the first one has told what its name stands for.
    first = wire.parse("mine", "INSERT INTO two_writes VALUES ($1, 'x')") + wire.bind("", "mine", ["1"]) + wire.execute() + wire.SYNC
    second = wire.bind("", "mine", ["2"]) + wire.execute() + wire.SYNC
    plan = [None, "asking"]
    gate.call(lambda: setattr(gate, "at_sync", lambda: plan.pop(0) if plan else None))
    told = client.ask(first + second, 2)
    same((wire.tags(told), wire.statuses(told)), (["INSERT 0 1"] * 2, "II"), tail(subject.log, 40))
    same(cluster.sql("SELECT id, count(*) FROM two_writes WHERE id > 0 GROUP BY id ORDER BY id"), [(1, 1), (2, 1)])
    same((plan, plain(subject, "pgmend_commit_evidence_total")), (["asking"], 2))


@test("write: a server that refuses to tell costs nobody a write", subjects=PGMEND, seconds=60)
def refused_to_tell(t):
    cluster = quiet_server(t)
    cluster.sql("SET ROLE app; CREATE TABLE untold_write (id int, b text)")
    subject = t.own("untoldwrite", url=cluster.url(), pool_size=1, settings=WATCHED)
    client = t.wire(on=subject)
    same(wire.tags(client.ask(insert("untold_write", 1))), ["INSERT 0 1"])
    cluster.sql("REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC")
    for number in (2, 3):
        same(wire.tags(client.ask(insert("untold_write", number))), ["INSERT 0 1"], tail(subject.log, 40))
    same(cluster.sql("SELECT count(*) FROM untold_write"), [(3,)])
    check(counted(subject, "pgmend_commits_unguarded_total", 'reason="refused"') >= 1, "and that is counted")


class Inserts:
    """A client without any code for failures that inserts rows with numbers of its own, each once, outside of blocks."""

    def __init__(self, t, subject, number):
        self.t, self.subject, self.number = t, subject, number
        self.done, self.acknowledged, self.unknown, self.errors = 0, [], [], []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.by_asyncpg if number % 2 else self.by_psycopg)

    def outcome(self, key, code, words):
        if code is None:
            self.acknowledged.append(key)
        elif code in ("08007", "closed"):
            self.unknown.append((key, code, words))
        else:
            self.errors.append((key, code, words))
        self.done += 1

    def key(self):
        return self.number * 1000000 + self.done

    def by_psycopg(self):
        connection = None
        while not self.over.is_set():
            key = self.key()
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(**self.t.conninfo(on=self.subject), autocommit=True,
                                                 prepare_threshold=2 if self.number % 4 else None)
                connection.execute("INSERT INTO inserts VALUES (%s, %s)", (key, "x"))
                self.outcome(key, None, "")
            except psycopg.Error as error:
                self.outcome(key, error.sqlstate or "closed", str(error).splitlines()[0])
            time.sleep(0.002)
        connection.close()

    def by_asyncpg(self):
        asyncio.run(self.work())

    async def work(self):
        info = self.t.conninfo(on=self.subject)
        wanted = {"host": info["host"], "port": info["port"], "user": info["user"], "password": info["password"],
                  "database": info["dbname"]}
        connection = None
        while not self.over.is_set():
            key = self.key()
            try:
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(**wanted)
                await connection.execute("INSERT INTO inserts VALUES ($1, $2)", key, "x")
                self.outcome(key, None, "")
            except asyncpg.PostgresError as error:
                self.outcome(key, error.sqlstate, str(error).splitlines()[0])
            except (OSError, asyncpg.InterfaceError) as error:
                self.outcome(key, "closed", str(error))
            await asyncio.sleep(0.002)
        with contextlib.suppress(Exception):
            await connection.close()


def inserts(t, cluster, subject, strike, clients=6):
    """Naive clients that insert while `strike` does its worst: none of what they were told is a lie. Returns what they
    were told is unknown."""
    cluster.sql("SET ROLE app; CREATE TABLE inserts (id bigint, b text)")
    workers = [Inserts(t, subject, number) for number in range(1, clients + 1)]
    for worker in workers:
        worker.thread.start()

    def works(more):
        before = [worker.done for worker in workers]
        poll(lambda: all(worker.done > done + more for worker, done in zip(workers, before)),
             f"everybody works\n{tail(subject.log)}", 60)

    try:
        works(3)
        strike(works)
        works(3)
    finally:
        for worker in workers:
            worker.over.set()
        for worker in workers:
            worker.thread.join(60)
    there = dict(cluster.sql("SELECT id, count(*) FROM inserts GROUP BY id"))
    same({key: times for key, times in there.items() if times != 1}, {}, f"none twice\n{tail(subject.log)}")
    told = {key for worker in workers for key in worker.acknowledged}
    same(told - set(there), set(), f"none lost\n{tail(subject.log)}")
    unknown = [each for worker in workers for each in worker.unknown]
    same(set(there) - told - {key for key, _, _ in unknown}, set(), "no error was a lie")
    same([error for worker in workers for error in worker.errors], [], tail(subject.log))
    print(f"    {len(told)} inserts acknowledged, {len(unknown)} unknown")
    return unknown


def cut_writes(t, name, words, settings):
    cluster = quiet_server(t)
    gate, subject = gated(t, name, cluster.primary, **settings)
    dice = random.Random(1)
    cuts = []

    def throw():
        where = dice.choice(words) if dice.random() < 0.15 else None
        if where:
            cuts.append(where)
        return where

    def strike(works):
        gate.call(lambda: setattr(gate, "at_sync", throw))
        gate.call(lambda: setattr(gate, "at_flush", lambda: "silent" if dice.random() < 0.05 else None))
        poll(lambda: all(cuts.count(word) >= 10 for word in words), f"they are cut\n{tail(subject.log)}", 90)
        gate.call(lambda: setattr(gate, "at_sync", lambda: None))
        gate.call(lambda: setattr(gate, "at_flush", lambda: None))

    told = inserts(t, cluster, subject, strike)
    print(f"    cut: {', '.join(f'{cuts.count(word)} {word}' for word in words)}")
    return subject, told, cuts


@test("write: naive clients that insert while their writes are cut at random hear of it only where nothing was known yet",
      subjects=PGMEND, seconds=180)
def cut_at_random(t):
    subject, told, cuts = cut_writes(t, "randomwrites", ("asking", "answering", "silent"), WATCHED)
    same({code for _, code, _ in told}, {"08007"}, f"{told}\n{tail(subject.log)}")
    same(len(told), cuts.count("silent"), f"{told}\n{tail(subject.log)}")
    check(outcomes(subject, "status_committed") >= 10, "those that were carried out are answered")
    check(outcomes(subject, "status_aborted") >= 10, "those that were not are run again")


@test("write: strictly, naive clients that insert while their writes are cut at random hear nothing of it",
      subjects=PGMEND, seconds=180)
def cut_strictly(t):
    subject, told, _ = cut_writes(t, "strictwrites", ("asking", "answering", "silent"), STRICT)
    # What is cut silently behind its Sync has been asked about before that.
    same(told, [], tail(subject.log))


@test("write: naive clients that insert through crashes and restarts are lied to by no answer", subjects=PGMEND, seconds=180)
def through_crashes(t):
    cluster = Cluster(t, standbys=0, checkpoint_timeout="1h")
    subject = t.own("crashedwrites", url=cluster.url(), pool_size=6,
                    settings={**WATCHED, **Scene.health(t, True), "hold": {"timeout": "60s"}})

    def strike(works):
        for _ in range(5):
            crash(cluster.primary)
            cluster.primary.start()
            works(3)

    for _, code, words in inserts(t, cluster, subject, strike):
        same(code, "08007", words)


@test("write: strictly, naive clients that insert through crashes and restarts hear nothing of it", subjects=PGMEND,
      seconds=180)
def strictly_through_crashes(t):
    cluster = Cluster(t, standbys=0, checkpoint_timeout="1h")
    subject = t.own("strictcrashed", url=cluster.url(), pool_size=6,
                    settings={**STRICT, **Scene.health(t, True), "hold": {"timeout": "60s"}})

    def strike(works):
        for _ in range(5):
            crash(cluster.primary)
            cluster.primary.start()
            works(3)

    same(inserts(t, cluster, subject, strike), [], tail(subject.log, 60))
