"""Much data: equal checksums, bounded memory, nobody delayed by somebody who does not read."""

import hashlib
import os
import select
import signal
import threading
import time

import wire
from harness import POSTGRES_BIN, check, same
from registry import register

TESTS = []
test = register(TESTS)
MB = 1 << 20


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def bounded(t, before, limit, words):
    if t.subject.kind == "pgmend":
        grown = t.subject.memory_peak() - before
        check(grown < limit, f"{words}: peak memory grew by {grown / MB:.1f} MB")


def memory_before(t):
    if t.subject.kind != "pgmend":
        return 0
    t.subject.reset_memory_peak()
    return t.subject.memory_peak()


@test("COPY of 200 MB (20 MB quickly) both ways, equal checksums and flat memory", seconds=120)
def copy_both_ways(t):
    size = 20 if t.quick else 200
    source, back = t.directory / "source", t.directory / "back"
    t.admin("SET ROLE app; DROP TABLE IF EXISTS bulk; CREATE TABLE bulk (a bigint, b text)")
    with open(source, "wb") as file:
        line = hashlib.sha256(b"bulk").hexdigest() * 15
        written = number = 0
        while written < size * MB:
            written += file.write(b"".join(b"%d\t%d%s\n" % (i, i * 7919, line.encode())
                                           for i in range(number, number + 1000)))
            number += 1000
    before = memory_before(t)
    with t.neighbours(3), open(source, "rb") as file:
        t.psql("-c", "COPY bulk FROM STDIN", stdin=file)
        with open(back, "wb") as out:
            process = t.start(POSTGRES_BIN / "psql", "-X", "-c", "COPY bulk TO STDOUT", stdout=out)
            same(process.wait(100), 0, "psql")
    same(os.path.getsize(back), os.path.getsize(source), "bytes")
    same(checksum(back), checksum(source), "checksum")
    bounded(t, before, 16 * MB, "COPY")
    t.admin("DROP TABLE bulk")


@test("back-pressure: a client that does not read 500 MB holds nobody up and fills no memory", seconds=90)
def slow_reader(t):
    before = memory_before(t)
    slow = t.wire(receive_buffer=65536)
    slow.send(wire.query("SELECT repeat('x', 10000) FROM generate_series(1, 50000)"))
    first = sum(len(body) for kind, body in slow.until("D", 3) if kind == "D")
    others = [t.wire() for _ in range(10)]
    longest, failures = [], []

    def work(client):
        try:
            for turn in range(150):
                begun = time.monotonic()
                same(client.rows(f"SELECT {turn}"), [[str(turn)]])
                longest.append(time.monotonic() - begun)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failures, f"{failures[:2]}")
    check(max(longest) < 2, f"the slowest of the others' statements took {max(longest):.2f} s")
    bounded(t, before, 16 * MB, "with a client that does not read")
    if not t.quick:
        read = 0
        kind = ""
        while kind != "Z":
            kind, body = slow.receive()
            read += len(body) if kind == "D" else 0
        same(first + read, 50000 * 10006, "bytes of the late reader")
        bounded(t, before, 16 * MB, "after it was read")


@test("back-pressure: clients that do not read and go away leave the pool whole", pool=3)
def slow_readers_leave(t):
    for way in ("drop", "reset"):
        stuck = [t.wire(receive_buffer=16384) for _ in range(3)]
        for client in stuck:
            client.send(wire.query("SELECT repeat('x', 10000) FROM generate_series(1, 50000)"))
            client.until("D")
        for client in stuck:
            getattr(client, way)()
        for _ in range(3):
            same(t.wire().rows("SELECT 1"), [["1"]])


@test("back-pressure: a pipeline larger than every buffer does not dead-lock, among neighbours on its servers", pool=3, seconds=120)
def pipeline_among_neighbours(t):
    with t.neighbours(6):
        pipeline_beyond_buffers(t)


@test("back-pressure: a pipeline larger than every buffer does not dead-lock", seconds=90)
def pipeline_beyond_buffers(t):
    before = memory_before(t)
    count = 4000 if t.quick else 20000
    client = t.wire(timeout=40)
    data = wire.parse("big", "SELECT $1::text, repeat('y', 1500)") + wire.SYNC
    data += (wire.bind("", "big", ["x" * 1500]) + wire.execute() + wire.SYNC) * count
    client.send_while_reading(data)
    answer = client.ready(count + 1)
    same(wire.kinds(answer).count("D"), count, "rows")
    same(wire.sqlstates(answer), [])
    bounded(t, before, 16 * MB, "a large pipeline")


@test("back-pressure: a client that writes for ever and never reads is stopped by its socket", subjects=("pgmend",))
def writes_only(t):
    before = memory_before(t)
    client = t.wire()
    client.socket.setblocking(False)
    data = (wire.parse("", "SELECT repeat('z', 100)") + wire.bind("", "") + wire.execute() + wire.SYNC) * 1000
    sent, blocked = 0, 0
    while sent < 400 * MB and blocked < 3:
        if select.select([], [client.socket], [], 1.0)[1]:
            sent += client.socket.send(data[sent % len(data):])
            blocked = 0
        else:
            blocked += 1
    check(blocked, "it could write 400 MB without reading")
    bounded(t, before, 24 * MB, "an unread pipeline")
    same(t.wire().rows("SELECT 1"), [["1"]])
    client.reset()


@test("back-pressure: COPY IN toward a server that does not read stops the writer, not the others")
def server_does_not_read(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS blocked; CREATE TABLE blocked (a text)")
    before = memory_before(t)
    client = t.wire()
    client.query("BEGIN")
    client.send(wire.query("COPY blocked FROM STDIN"))
    client.until("G")
    # A backend takes CopyData whatever happens; only a stopped one does not read.
    pid = int(t.servers("query LIKE 'COPY blocked%' AND state = 'active'")[0][0])
    os.kill(pid, signal.SIGSTOP)
    try:
        client.socket.setblocking(False)
        piece = wire.copy_data("x" * 60000 + "\n") * 16
        sent, blocked = 0, 0
        while sent < 200 * MB and blocked < 2:
            if select.select([], [client.socket], [], 0.5)[1]:
                sent += client.socket.send(piece[sent % len(piece):])
                blocked = 0
            else:
                blocked += 1
        check(blocked, "it could write 200 MB to a server that does not read")
        bounded(t, before, 16 * MB, "a server that does not read")
        same(t.wire().rows("SELECT 1"), [["1"]])
    finally:
        os.kill(pid, signal.SIGCONT)
    client.reset()


@test("many rows of every size arrive unchanged")
def sizes(t):
    client = t.wire()
    sql = "SELECT i, repeat(chr(65 + i % 26), i) FROM generate_series({}, {}, {}) i"
    for low, high, step in ((0, 300, 1), (4050, 4150, 1), (8150, 8250, 1), (16300, 16450, 3), (65400, 65700, 7),
                            (131000, 131200, 13), (1048500, 1048700, 50)):
        for form in (wire.query(sql.format(low, high, step)), wire.run(sql.format(low, high, step)) + wire.SYNC):
            rows = [wire.data_row(body) for kind, body in client.ask(form) if kind == "D"]
            same(len(rows), (high - low) // step + 1)
            for number, data in rows:
                size = int(number)
                check(data == bytes([65 + size % 26]) * size, f"the row of {size} bytes differs")


@test("messages split at every byte mean the same")
def every_split(t):
    client = t.wire()
    data = (wire.parse("sp", "SELECT $1::text") + wire.describe("S", "sp") + wire.bind("", "sp", ["abc"])
            + wire.execute() + wire.close("S", "sp") + wire.SYNC + wire.query("SELECT 2"))
    wanted = client.ask(data, 2)
    for at in range(1, len(data)):
        client.send(data[:at])
        time.sleep(0.0005)  # so that the pieces travel apart; nothing is waited for
        client.send(data[at:])
        same(client.ready(2), wanted, f"split at {at}")
    for byte in range(len(data)):
        client.send(data[byte : byte + 1])
    same(client.ready(2), wanted, "one byte at a time")
