"""COMMITs whose answer is lost together with their server, which recovers or is replaced: what became of them is found
out as far as it can be proven, by an ordinary role and by one that may read the WAL, and nobody is lied to."""

import wire
from clusters import Cluster, crash, freeze, thaw
from commit_outcome import PGMEND, WATCHED, outcomes, transfers
from harness import PASSWORDS, check, poll, same, tail
from registry import register
from tcp_gate import TcpGate

TESTS = []
test = register(TESTS)


class Scene:
    """Servers behind gates, a pgmend before them, and a client whose COMMIT meets its fate."""

    def __init__(self, t, name, standbys=0, reads_wal=True, **settings):
        self.t = t
        self.cluster = Cluster(t, standbys=standbys, checkpoint_timeout="1h", **settings)
        self.cluster.sql("SET ROLE app; CREATE TABLE fates (id int, b text)")
        self.gates = []
        for server in self.cluster.servers:
            gate = TcpGate((server.host, server.port))
            t.closing.callback(gate.close)
            gate.open()
            self.gates.append(gate)
        self.subject = t.own(name, url=self.cluster.url(ports=[gate.port for gate in self.gates]),
                             settings={**WATCHED, **self.health(t, reads_wal), "hold": {"timeout": "60s"}})

    @staticmethod
    def health(t, reads_wal):
        if not reads_wal:
            return {}
        secret = t.directory / "streamer"
        secret.write_text(PASSWORDS["streamer"] + "\n")
        return {"health": {"user": "streamer", "password_file": str(secret)}}

    def lose_commit(self, number, where):
        """The client, its COMMIT on the way: it is cut at the first server's gate, and nobody can be asked there.
        Returns the client and the number of its transaction."""
        gate = self.gates[0]
        for other in self.gates[1:]:
            other.silence()
        client = self.t.wire(on=self.subject, timeout=90)
        client.query("BEGIN")
        same(wire.tags(client.query(f"INSERT INTO fates VALUES ({number}, 'x')")), ["INSERT 0 1"])
        rows = self.cluster.sql("SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE usename = 'app' "
                                "AND backend_xid IS NOT NULL")
        same(len(rows), 1, "one transaction")

        def met():
            gate.at_commit = lambda: None
            if where == "asking":
                gate.passable.clear()
            return where

        gate.call(lambda: setattr(gate, "at_answer", gate.passable.clear))
        gate.call(lambda: setattr(gate, "at_commit", met))
        client.send(wire.query("COMMIT"))
        poll(lambda: not gate.call(gate.passable.is_set), "it is cut")
        same(self.there(number), int(where == "answering"))
        return client, rows[0][0]

    def there(self, number, on=None):
        return self.cluster.sql(f"SELECT count(*) FROM fates WHERE id = {number}", on=on)[0][0]

    def use_up(self, number, on=None):
        """Others write until the number is given once more, and committed; False where it was not given again."""
        given = 0
        while given < number:
            given = self.cluster.sql("INSERT INTO fates VALUES (0) RETURNING pg_current_xact_id()::text::bigint", on=on)[0][0]
        return given == number and self.status(number, on) == "committed"

    def status(self, number, on=None):
        return self.cluster.sql(f"SELECT pg_xact_status('{number}')", on=on)[0][0]

    def restart(self):
        crash(self.cluster.primary)
        self.cluster.primary.start()

    def told(self, client, number, reason, wanted, on=None):
        """What the client hears at last, by which reason, and that it is so."""
        before = outcomes(self.subject, reason)
        for gate in self.gates:
            gate.speak()
        answer = client.ready()
        words = f"{reason}\n{tail(self.subject.log, 60)}"
        same(wire.tags(answer) or wire.sqlstates(answer), [wanted], words)
        same(outcomes(self.subject, reason), before + 1, words)
        return self.there(number, on)


@test("crash: a COMMIT that was carried out before the server crashed is answered where its record is in the WAL",
      subjects=PGMEND, seconds=90)
def survives_crash(t):
    scene = Scene(t, "survives")
    client, number = scene.lose_commit(1, "answering")
    scene.restart()
    same(scene.status(number), "committed")
    same(scene.told(client, 1, "wal_survived", "COMMIT"), 1)
    # Two crashes, and a checkpoint of the server's own: the record is where it was.
    client, number = scene.lose_commit(2, "answering")
    scene.restart()
    scene.cluster.sql("CHECKPOINT")
    scene.restart()
    same(scene.told(client, 2, "wal_survived", "COMMIT"), 1)


@test("crash: of the same COMMIT an ordinary role cannot know, and its client is told so", subjects=PGMEND, seconds=60)
def ordinary_role(t):
    scene = Scene(t, "ordinary", reads_wal=False)
    client, _ = scene.lose_commit(1, "answering")
    scene.restart()
    same(scene.told(client, 1, "recovery_between", "08007"), 1)
    check("wal_unreadable" in scene.subject.log.read_text(), f"it is said that the WAL cannot be read\n{tail(scene.subject.log)}")


def lose_and_reuse(scene, crashes, attempts=8):
    """A client whose COMMIT never arrived, and whose number somebody else was given after a crash."""
    for number in range(1, attempts + 1):
        client, given = scene.lose_commit(number, "asking")
        scene.restart()
        if scene.use_up(given):
            for _ in range(crashes - 1):
                for _ in range(10):  # so that recovery ends far behind the record
                    scene.cluster.sql("INSERT INTO fates VALUES (0)")
                scene.restart()
            return client, number
        for gate in scene.gates:
            gate.speak()
        client.ready()
        client.close()
    raise AssertionError("it happens that a number is given again")


@test("crash: a number that was given again belongs to somebody else: by where recovery ended it is known, and the "
      "transaction runs again", subjects=PGMEND, seconds=120)
def given_again(t):
    scene = Scene(t, "reused", reads_wal=False)
    client, number = lose_and_reuse(scene, crashes=1)
    same(scene.told(client, number, "wal_lost", "COMMIT"), 1)


def given_again_twice(t, reads_wal, reason, wanted, there):
    scene = Scene(t, f"twice{reads_wal}", reads_wal=reads_wal)
    client, number = lose_and_reuse(scene, crashes=2)
    same(scene.told(client, number, reason, wanted), there)


@test("crash: a number that was given again before a second crash is known by the WAL alone", subjects=PGMEND, seconds=120)
def known_by_wal(t):
    given_again_twice(t, True, "wal_lost", "COMMIT", 1)


@test("crash: of a number that was given again before a second crash an ordinary role cannot know", subjects=PGMEND,
      seconds=120)
def not_known_without(t):
    given_again_twice(t, False, "recovery_between", "08007", 0)


def promote(scene):
    crash(scene.cluster.primary)
    new = scene.cluster.servers[1]
    new.promote()
    return new


def survives_promotion(t, reads_wal, reason, wanted):
    scene = Scene(t, f"promoted{reads_wal}", standbys=1, reads_wal=reads_wal)
    client, number = scene.lose_commit(1, "answering")
    scene.cluster.caught_up()
    new = promote(scene)
    same(scene.status(number, on=new), "committed")
    same(scene.told(client, 1, reason, wanted, on=new), 1)


@test("crash: a COMMIT that the promoted standby has is answered where the WAL can be read", subjects=PGMEND, seconds=90)
def promoted_with_it(t):
    survives_promotion(t, True, "wal_survived", "COMMIT")


@test("crash: of a COMMIT that the promoted standby has an ordinary role cannot know", subjects=PGMEND, seconds=90)
def promoted_not_known(t):
    survives_promotion(t, False, "recovery_between", "08007")


def lost_by_promotion(t, reads_wal, reused, reason, wanted, there):
    scene = Scene(t, f"behind{reads_wal}{reused}", standbys=1, reads_wal=reads_wal)
    scene.cluster.caught_up()
    standby = scene.cluster.servers[1]
    scene.cluster.sql("ALTER SYSTEM SET primary_conninfo = ''", on=standby)
    scene.cluster.sql("SELECT pg_reload_conf()", on=standby)
    poll(lambda: not scene.cluster.sql("SELECT 1 FROM pg_stat_wal_receiver", on=standby), "it hears no more")
    client, number = scene.lose_commit(1, "answering")
    promote(scene)
    if reused:
        check(scene.use_up(number, on=standby), "the number is given again")
    else:
        same(scene.cluster.sql("SELECT pg_current_snapshot()::text", on=standby)[0][0].split(":")[1], str(number))
    same(scene.told(client, 1, reason, wanted, on=standby), there)


@test("crash: a COMMIT that the promoted standby does not have runs again there, once", subjects=PGMEND, seconds=90)
def promoted_without_it(t):
    lost_by_promotion(t, False, False, "not_assigned", "COMMIT", 1)


@test("crash: so does one whose number the promoted standby has given again, where the WAL can be read", subjects=PGMEND,
      seconds=90)
def promoted_and_reused(t):
    lost_by_promotion(t, True, True, "wal_lost", "COMMIT", 1)


@test("crash: of one whose number the promoted standby has given again an ordinary role cannot know", subjects=PGMEND,
      seconds=90)
def promoted_reused_not_known(t):
    lost_by_promotion(t, False, True, "recovery_between", "08007", 0)


@test("crash: a COMMIT that a hung primary carries out when it wakes, behind a promotion, was run again on the new one, once",
      subjects=PGMEND, seconds=120)
def hung_then_woken(t):
    scene = Scene(t, "woken", standbys=1, reads_wal=False)
    scene.cluster.caught_up()
    old, new = scene.cluster.servers
    client = t.wire(on=scene.subject, timeout=90)
    client.query("BEGIN")
    same(wire.tags(client.query("INSERT INTO fates VALUES (1, 'x')")), ["INSERT 0 1"])
    client.query("SELECT 1")  # by now its number is known
    freeze(old)
    client.send(wire.query("COMMIT"))
    new.promote()
    try:
        same(wire.tags(client.ready()), ["COMMIT"], tail(scene.subject.log, 60))
        same(scene.there(1, on=new), 1)
    finally:
        thaw(old)
    asleep = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in transaction%'"
    poll(lambda: not scene.cluster.sql(asleep, on=old), "what it had been sent is over there", 30)
    print(f"    carried out behind the promotion: {scene.there(1, on=old)}")
    same(client.rows("SELECT count(*) FROM fates WHERE id = 1"), [["1"]])
    same(scene.there(1, on=new), 1, f"and nowhere else\n{tail(scene.subject.log)}")


@test("crash: a session that keeps what cannot be moved ends with its server, and no empty one takes its place",
      subjects=PGMEND, seconds=60)
def cannot_be_moved(t):
    cluster = Cluster(t, standbys=0)
    subject = t.own("unmoved", url=cluster.url(), settings=WATCHED)
    kept = ("CREATE TEMP TABLE mine (id int)", "SELECT pg_advisory_lock(7)", "DECLARE held CURSOR WITH HOLD FOR SELECT 1")
    clients = [t.wire(on=subject) for _ in kept]
    plain = t.wire(on=subject, timeout=60)
    for client, sql in zip(clients, kept):
        same(wire.sqlstates(client.query(sql)), [], sql)
    crash(cluster.primary)
    cluster.primary.start()
    for client, sql in zip(clients, kept):
        same(wire.sqlstates(client.until("E")), ["57P01"], sql)
        check(client.at_end(), sql)
    same(plain.rows("SELECT 5"), [["5"]])


@test("crash: naive clients that move money through crashes and restarts hear of no COMMIT where the WAL can be read",
      subjects=PGMEND, seconds=180)
def naive_restarts(t):
    cluster = Cluster(t, standbys=0, checkpoint_timeout="1h")
    subject = t.own("naive", url=cluster.url(), pool_size=6,
                    settings={**WATCHED, **Scene.health(t, True), "hold": {"timeout": "60s"}})

    def strike(works):
        for _ in range(6):
            crash(cluster.primary)
            cluster.primary.start()
            works(3)

    same(transfers(t, cluster, subject, strike), [], tail(subject.log, 60))


@test("crash: naive clients that move money through a crash and the promotion of a synchronous standby hear of no COMMIT",
      subjects=PGMEND, seconds=180)
def naive_promotion(t):
    cluster = Cluster(t, standbys=1, checkpoint_timeout="1h")
    subject = t.own("naivepromoted", url=cluster.url(), pool_size=6,
                    settings={**WATCHED, **Scene.health(t, True), "hold": {"timeout": "60s"}})

    def strike(works):
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        cluster.sql("SELECT pg_reload_conf()")
        works(20)
        crash(cluster.primary)
        cluster.servers[1].promote()
        cluster.primary = cluster.servers[1]  # by which is judged

    told = transfers(t, cluster, subject, strike)
    same(told, [], tail(subject.log, 60))
