"""Replication connections pass through: pinned, counted, gone when their client is."""

import struct
import subprocess

import wire
from harness import POSTGRES_BIN, check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


def senders(t):
    return t.admin("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'")[0][0]


def gone(t):
    poll(lambda: senders(t) == 0, "no walsender is left")


@test("replication: raw START_REPLICATION streams both ways and ends in order")
def raw_physical(t):
    client = t.wire("streamer", None, {"replication": "true"})
    system, timeline, position, _ = client.rows("IDENTIFY_SYSTEM")[0]
    check(len(system) > 10 and timeline == "1", f"{system} {timeline}")
    same(client.rows("SHOW wal_level"), [["logical"]])
    client.send(wire.query(f"START_REPLICATION PHYSICAL {position} TIMELINE 1"))
    same(client.receive()[0], "W")
    t.admin("CREATE TABLE IF NOT EXISTS streamed (a text); INSERT INTO streamed SELECT repeat('x', 1000) FROM "
            "generate_series(1, 3000)")
    received = 0
    while received < 2_000_000:
        kind, body = client.receive()
        same(kind, "d")
        if body[:1] == b"w":
            received += len(body) - 25
    client.send(wire.copy_data(b"r" + struct.pack(">QQQqB", 0, 0, 0, 0, 1)))
    kind, body = client.receive()
    while not (kind == "d" and body[:1] == b"k"):
        kind, body = client.receive()
    client.send(wire.COPY_DONE)
    kind, body = client.receive()
    while kind != "c":
        kind, body = client.receive()
    check("Z" in wire.kinds(client.until("Z")), "ready again")
    same(client.rows("IDENTIFY_SYSTEM")[0][0], system)
    client.close()
    gone(t)


@test("replication: a walsender whose client vanishes in the stream ends too")
def vanished(t):
    for way in ("drop", "reset"):
        client = t.wire("streamer", None, {"replication": "true"})
        position = client.rows("IDENTIFY_SYSTEM")[0][2]
        client.send(wire.query(f"START_REPLICATION PHYSICAL {position}"))
        same(client.receive()[0], "W")
        getattr(client, way)()
        t.admin("SELECT pg_switch_wal()")
        gone(t)


@test("replication: logical decoding on a database, SQL included")
def logical(t):
    client = t.wire("streamer", "app", {"replication": "database"})
    same(client.rows("SELECT current_database()"), [["app"]])
    client.rows("CREATE_REPLICATION_SLOT through TEMPORARY LOGICAL test_decoding")
    t.admin("CREATE TABLE IF NOT EXISTS decoded (a int); INSERT INTO decoded VALUES (4711)")
    client.send(wire.query("START_REPLICATION SLOT through LOGICAL 0/0"))
    same(client.receive()[0], "W")
    while True:
        kind, body = client.receive()
        same(kind, "d")
        if b"4711" in body:
            break
    client.close()
    gone(t)
    same(t.admin("SELECT count(*) FROM pg_replication_slots"), [(0,)])


@test("replication: pg_basebackup through the subject", seconds=90)
def basebackup(t):
    back_up(t)


@test("replication: pg_basebackup through the subject, neighbours at work", seconds=90)
def basebackup_among_neighbours(t):
    with t.neighbours(4):
        back_up(t)


def back_up(t):
    t.program(POSTGRES_BIN / "pg_basebackup", "-D", t.directory / "backup", "-X", "stream", "-c", "fast",
                  env=t.environment("streamer"))
    t.program(POSTGRES_BIN / "pg_verifybackup", "-e", t.directory / "backup", env=t.environment("streamer"))
    gone(t)


@test("replication: pg_receivewal gets whole segments")
def receivewal(t):
    folder = t.directory / "wal"
    folder.mkdir()
    process = t.start(POSTGRES_BIN / "pg_receivewal", "-D", folder, "--no-loop", env=t.environment("streamer"),
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    poll(lambda: senders(t) == 1, "it streams")
    t.admin("CREATE TABLE IF NOT EXISTS walled (a text); INSERT INTO walled SELECT repeat('y', 1000) FROM "
            "generate_series(1, 2000)")
    t.admin("SELECT pg_switch_wal()")
    t.admin("INSERT INTO walled VALUES ('next')")
    poll(lambda: [path for path in folder.iterdir() if not path.suffix], "a whole segment arrives")
    process.send_signal(2)
    same(process.wait(10), 0, "it ends in order")
    for path in folder.iterdir():
        if not path.suffix:
            check(path.read_bytes() == (t.postgres.data / "pg_wal" / path.name).read_bytes(), f"{path.name} differs")
    gone(t)


@test("replication: who may not replicate is told so, and it does not take the pool's servers", pool=2)
def refused(t):
    try:
        t.wire("app", "app", {"replication": "database"})
        check(False, "app may not replicate")
    except wire.Refused as error:
        same((error.fields["V"], error.fields["C"]), ("FATAL", "42501"))
    clients = [t.wire("streamer", None, {"replication": "true"}) for _ in range(4)]
    same(t.wire("streamer", "app").rows("SELECT 1"), [["1"]])
    for client in clients:
        same(len(client.rows("IDENTIFY_SYSTEM")), 1)
        client.close()
    gone(t)
