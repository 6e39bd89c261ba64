"""Bytes no client should send: a FATAL with the right SQLSTATE and a close; nobody else is disturbed."""

import os
import random
import struct
import threading

import wire
from harness import check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


def ends(t, client, sqlstates, words):
    """The connection ends behind one FATAL of one of these codes. PostgreSQL closes without a word where it has lost step
    with its client; pgmend always says why."""
    client.socket.settimeout(30)
    seen = []
    try:
        while True:
            kind, body = client.receive()
            if kind == "E":
                fields = wire.error_fields(body)
                seen.append((fields.get("V"), fields.get("C")))
    except wire.Closed:
        pass
    except wire.Late:
        check(False, f"{words}: the connection stays open and silent; so far {seen}")
    silent = not seen and t.subject.kind != "pgmend"
    fatal = [code for severity, code in seen if severity == "FATAL"]
    check(silent or seen and seen[-1][0] == "FATAL" and len(fatal) == 1 and fatal[0] in sqlstates,
          f"{words}: ended with {seen}, wanted one FATAL of {sqlstates}")


def first_bytes():
    pick = random.Random(11)
    huge = struct.pack(">II", 0x7FFFFFFF, wire.PROTOCOL_3_0)
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "TLS without asking", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    yield "length zero", struct.pack(">II", 0, wire.PROTOCOL_3_0)
    yield "length 4", struct.pack(">I", 4) + b"\0" * 20
    yield "length 7", struct.pack(">I", 7) + b"\0" * 20
    yield "negative length", struct.pack(">II", 0xFFFFFFFF, wire.PROTOCOL_3_0)
    yield "two gigabytes", huge + b"user\0app\0"
    yield "20 kB of parameters", wire.startup({"user": "app", "x": "y" * 20000})
    yield "protocol 2", wire.startup({"user": "app"}, 131072)
    yield "protocol 4", wire.startup({"user": "app"}, 262144)
    yield "no user", wire.startup({"database": "app"})
    yield "empty user", wire.startup({"user": ""})
    yield "no end of the list", struct.pack(">II", 8 + 9, wire.PROTOCOL_3_0) + b"user\0app\0"
    yield "a key without value", struct.pack(">II", 8 + 6, wire.PROTOCOL_3_0) + b"user\0\0"
    yield "unterminated", struct.pack(">II", 8 + 8, wire.PROTOCOL_3_0) + b"userxapp"
    yield "bytes behind the end", struct.pack(">II", 8 + 14, wire.PROTOCOL_3_0) + b"user\0app\0\0junk"
    yield "noise", pick.randbytes(300)
    yield "zeros", bytes(300)


# What PostgreSQL says to these differs by case.
STARTUP_STATES = ("08P01", "0A000", "28000")


@test("hostile: garbage as first bytes is refused and logged, nothing else happens")
def first_garbage(t):
    with t.neighbours(3):
        for words, data in first_bytes():
            client = t.wire(login=False, timeout=5)
            client.send(data)
            if words in ("noise", "HTTP", "zeros", "TLS without asking", "two gigabytes"):
                try:
                    client.socket.shutdown(1)
                except OSError:
                    pass
            ends(t, client, STARTUP_STATES, words)


@test("hostile: too many startup parameters or an endless list cost nothing")
def many_parameters(t):
    for count in (500, 2000):
        client = t.wire(login=False, timeout=5)
        client.send(wire.startup({"user": "app", **{f"a.b{i}": "x" for i in range(count)}}))
        try:
            client.authenticate("app", "wrong")
        except (wire.Refused, wire.Closed):
            pass
    same(t.wire().rows("SELECT 1"), [["1"]])


def encryption_twice(t, code):
    client = t.wire(login=False, timeout=5)
    client.send(wire.request(code))
    same(client.socket.recv(1), b"N", "no encryption offered")
    client.send(wire.request(code))
    return client


@test("hostile: SSLRequest and GSSENCRequest are answered, twice is refused", subjects=("pgmend", "pgbouncer"))
def requests(t):
    client = t.wire(login=False, timeout=5)
    client.send(wire.request(wire.GSSENC_REQUEST))
    same(client.socket.recv(1), b"N", "GSSENCRequest is answered N")
    client.send(wire.request(wire.SSL_REQUEST))
    check(client.socket.recv(1) in (b"N", b"S"), "SSLRequest after it")
    client.drop()
    client = t.wire(login=False, timeout=5)
    client.send(wire.request(wire.GSSENC_REQUEST))
    client.socket.recv(1)
    client.login("app", "s3cret-of-app", "app")
    same(client.rows("SELECT 1"), [["1"]])
    for code in (wire.SSL_REQUEST, wire.GSSENC_REQUEST):
        client = encryption_twice(t, code)
        ends(t, client, ("08P01", "0A000"), "the same request twice")
    # Bytes sent with the request, before its answer, could be injected by somebody in between.
    client = t.wire(login=False, timeout=5)
    client.send(wire.request(wire.SSL_REQUEST) + wire.startup({"user": "app", "database": "app"}))
    first = client.socket.recv(1)
    if first == b"S":
        ends(t, client, ("08P01",), "plain bytes behind SSLRequest")


def in_login():
    yield "Query instead of a password", wire.query("SELECT 1")
    yield "Terminate", wire.TERMINATE
    yield "a password of two gigabytes", b"p" + struct.pack(">I", 0x7FFFFFFF) + b"x" * 100
    yield "a password of 1 MB", wire.message("p", b"x" * (1 << 20))
    yield "length 3", b"p\0\0\0\3"
    yield "unknown mechanism", wire.message("p", wire.text("SCRAM-MD5") + struct.pack(">I", 3) + b"n,,")
    yield "no mechanism", wire.message("p", b"")
    yield "a response longer than the message", wire.message("p", wire.text("SCRAM-SHA-256")
                                                              + struct.pack(">I", 500) + b"n,,n=,r=abc")
    for body in (b"", b"n", b"n,", b"n,,", b"x,,n=,r=abc", b"p=tls-unique,,n=,r=abc", b"n,a=other,n=,r=abc", b"n,,m=x,n=,r=abc",
                 b"n,,n=,r=" + b"\xff" * 20, b"n,,n=,r=" + b"x" * 60000):
        yield f"client-first {body[:20]!r}", wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", len(body))
                                                           + body)


@test("hostile: a login that breaks the rules ends with FATAL")
def login_order(t):
    with t.neighbours(3):
        for words, data in in_login():
            client = t.wire(login=False, timeout=5)
            client.send(wire.startup({"user": "app", "database": "app"}))
            same(client.receive()[0], "R")
            try:
                client.send(data)
                if "length 3" in words or "gigabytes" in words:
                    client.socket.shutdown(1)
            except (wire.Closed, OSError):
                continue  # closed already: it was refused while we were still writing
            ends(t, client, ("08P01", "28000", "28P01", "0A000"), words)


@test("hostile: a wrong SCRAM final message is 28P01 or 08P01")
def scram_final(t):
    finals = ["", "c=biws", "c=biws,r=abc,p=AAAA", "c=eSws,r={r},p=" + "A" * 43 + "=", "c=biws,r={r},p=" + "A" * 43 + "=",
              "c=biws,r={r},p=???", "c=biws,r={r}x,p=" + "A" * 43 + "=", "r={r},c=biws,p=x", "c=biws,r={r},m=1,p=" + "A" * 44]
    for final in finals:
        client = t.wire(login=False, timeout=5)
        client.send(wire.startup({"user": "app", "database": "app"}))
        client.receive()
        first = b"n,,n=,r=clientnonceclientnonce"
        client.send(wire.message("p", wire.text("SCRAM-SHA-256") + struct.pack(">I", len(first)) + first))
        _, body = client.receive()
        nonce = body[4:].decode().split(",")[0][2:]
        client.send(wire.message("p", final.replace("{r}", nonce).encode()))
        ends(t, client, ("28P01", "08P01"), final)


def in_session():
    yield "unknown type", wire.message("@", b"what")
    yield "a server's type", wire.message("Z", b"I")
    yield "type zero", b"\0\0\0\0\4"
    yield "length 3", b"Q\0\0\0\3"
    yield "length zero", b"Q\0\0\0\0"
    yield "negative length", b"Q\xff\xff\xff\xff"
    yield "Sync of two gigabytes", b"S\x7f\xff\xff\xff"
    yield "Describe of one gigabyte", b"D\x40\0\0\0S"
    yield "noise", b"\x91\x02\xff" * 100
    yield "a password after login", wire.message("p", b"secret\0")
    yield "a startup packet", wire.startup({"user": "app"})


def bad_bodies():
    """Right frames with wrong bodies: PostgreSQL answers ERROR 08P01 (or FATAL) and either may follow."""
    yield "Query without end", wire.message("Q", b"SELECT 1")
    yield "Query with bytes behind its end", wire.message("Q", b"SELECT 1\0junk")
    yield "empty Query", wire.message("Q", b"")
    yield "Parse cut", wire.message("P", b"name\0SELECT 1")
    yield "Parse with too few types", wire.message("P", b"n\0SELECT 1\0\0\5")
    yield "Bind cut", wire.message("B", b"\0\0\0\0")
    yield "Bind with a value longer than the message", wire.message("B", b"\0\0\0\0\0\1\0\0\xff\xffx")
    yield "Bind with a negative length", wire.message("B", b"\0\0\0\0\0\1\xff\xff\xff\xf0\0\0")
    yield "Execute cut", wire.message("E", b"\0")
    yield "Describe of nothing", wire.message("D", b"")
    yield "Describe of an unknown kind", wire.message("D", b"Xname\0")
    yield "Close of an unknown kind", wire.message("C", b"Xname\0")
    yield "Sync with a body", wire.message("S", b"body")
    yield "Flush with a body", wire.message("H", b"body")
    yield "FunctionCall cut", wire.message("F", b"\0\0")


@test("hostile: broken frames in a session end it with FATAL 08P01", pool=3)
def session_garbage(t):
    with t.neighbours(4):
        for before in ("", "BEGIN", "SET work_mem = '9MB'"):
            for words, data in in_session():
                client = t.wire(timeout=5)
                client.query("SELECT 1")
                if before:
                    client.query(before)
                client.send(data)
                ends(t, client, ("08P01",), f"{words} after {before!r}")


@test("hostile: nobody waits for an answer that is kept back, nor behind a copy that is never ended", pool=1)
def waiting_in_vain(t):
    # Without a Sync the server keeps ParseComplete to itself, and DEALLOCATE waits for what is owed.
    client = t.wire(timeout=5)
    for words in ("DEALLOCATE nothing", "DISCARD ALL"):
        got = client.ask(wire.parse("", "SELECT 1") + wire.query(words))
        same(wire.kinds(got).replace("E", "C").replace("S", ""), "1CZ", words)
    client.query("CREATE TABLE IF NOT EXISTS copied (i int)")
    client.close()
    for words, data in (("DISCARD ALL", wire.query("DISCARD ALL")), ("Parse", wire.parse("", "SELECT 1") + wire.SYNC)):
        client = t.wire(timeout=5)
        client.send(wire.query("COPY copied FROM STDIN") + data)
        ends(t, client, ("08P01",), f"{words} in a copy")
        client = t.wire(timeout=5)
        client.send(wire.query("COPY copied FROM STDIN") + data)
        client.until("G")
        client.drop()
        same(t.wire(timeout=5).rows("SELECT 1"), [["1"]], "the only server is free")


@test("hostile: wrong bodies are answered 08P01, and the session goes on or ends as PostgreSQL's does", pool=3)
def session_bodies(t):
    with t.neighbours(4):
        for words, data in bad_bodies():
            outcomes = []
            for direct in (True, False):
                client = t.wire(timeout=5, direct=direct)
                client.query("SELECT 1")
                client.send(data + wire.SYNC)
                states = []
                try:
                    while True:
                        kind, body = client.receive()
                        if kind == "E":
                            fields = wire.error_fields(body)
                            states.append((fields["V"], fields["C"]))
                        if kind == "Z":
                            client.send(wire.query("SELECT 5"))
                            client.until("C")
                            states.append("lives")
                            break
                except (wire.Closed, wire.Late) as error:
                    states.append(type(error).__name__)
                outcomes.append(states)
            # Where PostgreSQL recovers, a proxy may still end the session, but never accept or hang.
            direct, through = outcomes
            ended = [("FATAL", "08P01"), "Closed"]
            check(through in (direct, ended), f"{words}: direct {direct}, here {through}")


@test("hostile: noise of all lengths against a busy subject", pool=3, workers=2, seconds=90)
def noise(t):
    pick = random.Random(t.run.options.seed)
    with t.neighbours(4):
        for _ in range(100 if t.quick else 300):
            client = t.wire(login=pick.random() < 0.7, timeout=10)
            data = pick.randbytes(pick.choice((1, 4, 5, 30, 3000)))
            if pick.random() < 0.5 and client.pid:  # a legal frame with wild content
                data = wire.message(pick.choice("QPBEDCSHFdcf"), data)
            try:
                client.send(data)
                client.socket.shutdown(1)
                client.at_end()
            except (wire.Closed, OSError):
                pass
            client.drop()
        same(t.wire().rows("SELECT 1"), [["1"]])


@test("hostile: connections that say nothing do not stand in anybody's way")
def silent(t):
    silents = [t.wire(login=False) for _ in range(200)]
    begun = [t.wire() for _ in range(5)]
    for client in begun:
        same(client.rows("SELECT 1"), [["1"]])
    for client in silents:
        client.reset()


@test("hostile: absurd messages from many threads leave memory flat", subjects=("pgmend",))
def memory(t):
    t.wire().rows("SELECT 1")
    t.subject.reset_memory_peak()
    before = t.subject.memory_peak()

    def one():
        for kind in "QPBd":
            client = t.wire(timeout=5)
            client.send(kind.encode() + struct.pack(">I", 0x3FFFFFFF) + os.urandom(100000))
            client.drop()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = t.subject.memory_peak() - before
    check(grown < 32 << 20, f"peak memory grew by {grown >> 20} MB")
    poll(lambda: not t.servers("state = 'active'"), "servers are free again")
