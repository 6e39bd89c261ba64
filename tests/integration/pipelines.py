"""Pipelines at their limits: statements evicted under them, any order of Close and DISCARD, errors long before their Sync, and
errors that have to reach a writer who has not finished writing."""

import random
import select

import wire
from bulk import MB, bounded, memory_before
from differential import compare, q, raw, x
from harness import check, poll, same
from registry import register
from transcripts import Script, Step
from wire import (COPY_DONE, FLUSH, SYNC, bind, close, copy_data, describe, execute, function_call, parse, query, run)

TESTS = []
test = register(TESTS)
MANY = ("pgmend", "direct")


def beside_others(words, pool=4, seconds=60, **options):
    """A test that runs quietly, and once more with neighbours on the same servers, who are not to be disturbed either."""
    def add(function):
        def crowded(t):
            with t.neighbours(6):
                function(t)

        test(words, seconds=seconds, **options)(function)
        test(f"{words}; among neighbours", pool=pool, seconds=2 * seconds, **options)(crowded)
        return function

    return add


# ---- statements --------------------------------------------------------------------------------------------


def uses(names, value):
    return [bind("", f"m{i}", [value]) + execute() for i in names]


def evicted_scripts():
    """Thirty statements of one client where a server keeps four: each pipeline needs many that are not there."""
    names = [f"m{i}" for i in range(30)]
    prepare = [parse(name, f"SELECT '{name}', $1::int") for name in names]
    fails = "SELECT 1 / $1::int"
    yield Script("all in one pipeline", [x(*prepare), x(*uses(range(30), "1")), x(*uses(reversed(range(30)), "2"))])
    yield Script("parsed and used at once", [x(*[one + bind("", name, ["1"]) + execute() for one, name in zip(prepare, names)]),
                                             x(*uses((0, 29, 0, 15), "2"))])
    yield Script("a Sync behind each", [x(*prepare), Step(b"".join(one + SYNC for one in uses([*range(30)] * 3, "3")), "Z", 90)])
    yield Script("an error among them", [x(*prepare, parse("bad", fails)), x(*uses(range(10), "1"), bind("", "bad", ["0"]),
                 execute(), *uses(range(10, 30), "1")), x(*uses(range(30), "4"))])
    yield Script("a wrong Bind among them", [x(*prepare), x(*uses(range(20), "1"), bind("", "m20", []), *uses(range(30), "1")),
                 x(*uses(range(30), "4"))])
    yield Script("in a block", [x(*prepare), q("BEGIN"), x(*uses(range(30), "1")), q("SAVEPOINT a"), x(run("SELECT 1/0")),
                                q("ROLLBACK TO a"), x(*uses(range(30), "5")), q("COMMIT"), x(*uses(range(30), "6"))])
    yield Script("described and closed", [x(*prepare), x(*[describe("S", name) for name in names]),
                 x(*[close("S", name) for name in names[::2]]), x(*uses(range(1, 30, 2), "1")), x(*uses((1, 2), "1")),
                 x(*[parse(name, "SELECT 'again', $1::int") for name in names[::2]]), x(*uses(range(30), "2"))])
    yield Script("portals outlive the eviction of their statement", [x(*prepare), q("BEGIN"),
                 x(bind("p", "m0", ["7"]), *uses(range(1, 30), "1"), execute("p")), x(bind("p2", "m1", ["8"])),
                 x(*uses(range(2, 30), "1")), x(execute("p2")), q("COMMIT")])
    yield Script("Flush and DEALLOCATE ALL between", [x(*prepare), raw(*uses(range(15), "1"), FLUSH, until="C", count=15),
                 raw(*uses(range(15, 30), "1"), FLUSH, until="C", count=15), x(), q("DEALLOCATE ALL"), x(*uses((3,), "1")),
                 x(*prepare), x(*uses(range(30), "1"))])


@test("pipeline: statements are evicted under it, and each is there when its Bind comes", pool=2,
      settings={"pool": {"max_prepared_statements": 4}}, subjects=MANY)
def eviction(t):
    compare(t, list(evicted_scripts()), moves=True)


def shuffled(seed):
    """Everything that makes and unmakes names, many groups in one write."""
    pick = random.Random(seed)
    steps = []
    for _ in range(6):
        data, count = b"", 0
        for _ in range(pick.randint(5, 40)):
            name = pick.choice(("", "s1", "s2", "s3"))
            habit = pick.randint(0, 9)
            if habit <= 2:
                data += parse(name, f"SELECT {pick.randint(1, 9)}, '{name}'") + (SYNC if pick.random() < 0.5 else b"")
                count += data.endswith(SYNC)
            elif habit <= 5:
                data += bind("", name) + describe("P", "") + execute() + SYNC
                count += 1
            elif habit == 6:
                data += close("S", name) + (SYNC if pick.random() < 0.5 else b"")
                count += data.endswith(SYNC)
            elif habit == 7:
                data += SYNC + query(pick.choice(("DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE s1", "DISCARD PLANS",
                                                  "EXECUTE s2", "SELECT 1/0", "SELECT 1")))
                count += 2
            elif habit == 8:
                data += run(pick.choice(("DEALLOCATE s2", "DEALLOCATE ALL", "SELECT 1/0", "SELECT 2"))) + SYNC
                count += 1
            else:
                data += describe("S", name) + FLUSH
        steps.append(Step(data + SYNC, "Z", count + 1))
    return Script(f"shuffled {seed}", steps)


@test("pipeline: Parse, Close, DEALLOCATE and DISCARD in any order, many in one write", pool=2, workers=2, subjects=MANY)
def any_order(t):
    compare(t, [shuffled(t.run.options.seed * 100 + number) for number in range(12 if t.quick else 60)])


@test("pipeline: FunctionCalls and Queries are sent before the last ReadyForQuery", pool=2, subjects=MANY)
def before_the_last(t):
    call = function_call(1317, [b"12345"])
    compare(t, [
        Script("200 calls", [Step(call * 200, "Z", 200)]),
        Script("calls among other requests", [Step((call + run("SELECT 1") + SYNC + query("SELECT 2") + function_call(999999, [])
                                                    + query("BEGIN") + call + query("SELECT 1/0") + call + query("ROLLBACK"))
                                                   * 20, "Z", 180)]),
        Script("300 Queries, every tenth wrong", [Step(b"".join(query("SELECT 1/0" if i % 10 == 9 else f"SELECT {i}")
                                                                for i in range(300)), "Z", 300)]),
        Script("Queries behind a copy", [Step(query("COPY copied FROM STDIN") + copy_data("1\tone\n") + COPY_DONE
                                              + query("SELECT count(*) FROM copied") + query("COPY copied TO STDOUT")
                                              + run("SELECT 3") + SYNC, "Z", 4)]),
        Script("named portals of several statements, fetched in turns", [q("BEGIN"), x(*[
            parse(f"g{i}", f"SELECT {i}, generate_series(1, 40)") + bind(f"p{i}", f"g{i}") for i in range(8)]),
            *[x(*[execute(f"p{i}", 7) for i in range(8)]) for _ in range(7)], x(execute("p9", 1)), q("ROLLBACK")]),
    ])


@test("pipeline: nothing is answered between an error and its Sync, whatever is sent and however late", pool=1, subjects=MANY)
def sync_delayed(t):
    client = t.wire()
    client.ask(parse("kept", "SELECT 'kept'") + SYNC)
    for opening in (b"", query("BEGIN")):
        if opening:
            client.ask(opening)
        client.send(run("SELECT 1/0") + FLUSH)
        client.until("E")
        for _ in range(50):
            client.send(run("SELECT 2") + parse("new", "SELECT 3") + close("S", "kept") + describe("S", "nope") + FLUSH)
        check(not select.select([client.socket], [], [], 0.2)[0], "something came before the Sync")
        same(wire.kinds(client.ask(SYNC)), "Z")
        if opening:
            client.query("ROLLBACK")
        same(wire.rows_of(client.ask(bind("", "kept") + execute() + SYNC)), [["kept"]])
        same(wire.sqlstates(client.ask(bind("", "new") + execute() + SYNC)), ["26000"])


@test("pipeline: nothing of our own gets into a message that has come in part, however full the queue of answers is", pool=2,
      settings={"limits": {"owed_replies": 16}}, subjects=MANY)
def whole_messages(t):
    client = t.wire()
    for count in range(1, 20):
        last = bind("", "", ["the last of " + "x" * 40]) + execute()
        data = parse("", "SELECT $1::text") + (bind("", "", ["x"]) + execute()) * count + FLUSH
        client.send(data + last[:30])
        client.until("C", count)
        client.send(last[30:] + SYNC)
        same(wire.rows_of(client.ready()), [["the last of " + "x" * 40]], f"behind {count}")


# ---- writers that have not finished ------------------------------------------------------------------------


def sent_until_error(client, piece, limit):
    """Writes pieces until an ErrorResponse has come; returns how many bytes were written by then."""
    client.socket.setblocking(False)
    sent, rest = 0, memoryview(piece)
    try:
        while sent < limit:
            readable, writable, _ = select.select([client.socket], [client.socket], [], 20)
            check(readable or writable, "the peer neither reads nor writes")
            if readable:
                client.fill()
                if any(kind == "E" for kind, _ in peeked(client)):
                    return sent, rest
            if writable:
                count = client.socket.send(rest[: 1 << 16])
                sent += count
                rest = rest[count:] if count < len(rest) else memoryview(piece)
        return sent, rest
    finally:
        client.socket.settimeout(client.timeout)


def peeked(client):
    """Whole messages of the inbox, which stay there."""
    at = client.at
    found = []
    while len(client.inbox) - at >= 5:
        length = int.from_bytes(client.inbox[at + 1 : at + 5], "big")
        if len(client.inbox) - at < 1 + length:
            break
        found.append((chr(client.inbox[at]), bytes(client.inbox[at + 5 : at + 1 + length])))
        at += 1 + length
    return found


def rest_of(piece, rest):
    return bytes(rest) if len(rest) != len(piece) else b""


@beside_others("an error reaches a writer: COPY IN that failed at once, with 100 MB still to send", seconds=90, subjects=MANY)
def copy_fails_early(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS refused; CREATE TABLE refused (a int, b text)")
    size = 100 * MB  # the sockets of both ways together hold a fifth of it
    piece = copy_data("1\t" + "x" * 8000 + "\n") * 100
    before = memory_before(t)
    for extended in (False, True):
        client = t.wire()
        opening = run("COPY refused FROM STDIN") + FLUSH if extended else query("COPY refused FROM STDIN")
        client.send(opening + copy_data("not a number\tx\n"))
        sent, rest = sent_until_error(client, piece, size)
        check(sent < size / 2, f"the error came only after {sent / MB:.0f} of {size / MB:.0f} MB")
        # The stubborn writer goes on to the end, as libpq's PQputCopyData does, and reads only then.
        client.socket.sendall(rest_of(piece, rest) + piece * ((size - sent) // len(piece)) + COPY_DONE
                              + (SYNC if extended else b""))
        same(wire.sqlstates(client.ready()), ["22P02"])
        same(client.rows("SELECT count(*) FROM refused"), [["0"]])
    bounded(t, before, 16 * MB, "a copy that failed early")


@beside_others("an error reaches a writer: COPY IN that is terminated or cancelled by the server under way", seconds=60, subjects=MANY)
def copy_cancelled(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS refused; CREATE TABLE refused (a int, b text)")
    piece = copy_data("1\t" + "x" * 8000 + "\n") * 100
    client = t.wire()
    client.query("SET statement_timeout = '300ms'")
    client.send(query("COPY refused FROM STDIN"))
    client.until("G")
    sent, rest = sent_until_error(client, piece, 20000 * MB)
    client.socket.sendall(rest_of(piece, rest) + COPY_DONE)
    same(wire.sqlstates(client.ready()), ["57014"])
    same(client.rows("SELECT count(*) FROM refused"), [["0"]])
    client.query("RESET statement_timeout")
    # The server's last words reach the client although what it still writes can go nowhere; the one or the other is met first.
    for _ in range(5 if t.quick else 60):
        client = t.wire()
        client.query("BEGIN")
        client.query("SELECT pg_advisory_xact_lock(4711)")  # what has locked that is not run again
        client.send(query("COPY refused FROM STDIN"))
        client.until("G")
        client.send(piece)
        pid = t.servers("query LIKE 'COPY refused FROM STDIN%' AND state = 'active'")[0][0]
        t.admin(f"SELECT pg_terminate_backend({pid})")
        _, rest = sent_until_error(client, piece, 2000 * MB)
        fields = next(wire.error_fields(body) for kind, body in peeked(client) if kind == "E")
        if t.direct:
            same((fields["V"], fields["C"]), ("FATAL", "57P01"))
            check(client.at_end(), "the connection ends behind the FATAL")
            continue
        # The block is lost, its client is kept: what it has still to send counts for nothing.
        same((fields["V"], fields["C"]), ("ERROR", "40003"))
        client.send(rest_of(piece, rest) + COPY_DONE)
        same(client.ready()[-1][1], b"E")
        same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
        client.query("ROLLBACK")
        same(client.rows("SELECT count(*) FROM refused"), [["0"]])


@test("pipeline: Binds, Parses and Queries of 100 MB pass, and no memory grows by them", seconds=120, subjects=MANY)
def huge_taken(t):
    size = (40 if t.quick else 100) * MB
    value = "g" * size
    client = t.wire(timeout=60)
    client.ask(parse("long", "SELECT length($1::text)") + SYNC)
    before = memory_before(t)
    for message, name in ((bind("", "long", [value]), "a Bind"), (parse("", f"SELECT length('{value}')") + bind("", ""), "a Parse"),
                          (parse("huge", f"SELECT length('{value}')") + bind("", "huge"), "a Parse of a name")):
        client.send_while_reading(message + execute() + SYNC, 1 << 20)
        same(wire.rows_of(client.ready()), [[str(size)]], name)
    same(wire.rows_of(client.ask(bind("", "huge") + execute() + SYNC)), [[str(size)]], "the name is kept")
    client.ask(close("S", "huge") + SYNC)
    client.send_while_reading(query(f"SELECT length('{value}')"), 1 << 20)
    same(wire.rows_of(client.ready()), [[str(size)]], "a Query")
    client.query("CREATE TEMP TABLE huge (a text)")
    client.send_while_reading(query("COPY huge FROM STDIN") + copy_data(value + "\n") + COPY_DONE, 1 << 20)
    same(wire.tags(client.ready()), ["COPY 1"], "one line of COPY")
    bounded(t, before, 16 * MB, "messages that were taken")
    client.close()


@beside_others("an error reaches a writer: huge Binds and Parses that are refused", seconds=90, subjects=MANY)
def huge_refused(t):
    size = 40 * MB
    before = memory_before(t)
    value = "y" * size
    client = t.wire(timeout=60)
    client.ask(parse("two", "SELECT $1::text, $2::text") + parse("number", "SELECT $1::int") + SYNC)
    for message, state in ((bind("", "nobody's", [value]), "26000"), (bind("", "two", [value]), "08P01"),
                           (bind("", "number", [value]), "22P02"), (parse("", f"SELEC '{value}'"), "42601")):
        client.send_while_reading(message + execute() + SYNC, 1 << 20)
        same(wire.sqlstates(client.ready()), [state])
        same(client.rows("SELECT 1"), [["1"]])
    # A failed block refuses the same, and what follows a refusal is skipped whatever its size.
    client.query("BEGIN")
    client.query("SELECT 1/0")
    client.send_while_reading(bind("", "two", [value, "x"]) + execute() + SYNC, 1 << 20)
    same(wire.sqlstates(client.ready()), ["25P02"])
    client.query("ROLLBACK")
    client.send(run("SELECT 1/0") + FLUSH)
    client.until("E")
    client.send_while_reading(bind("", "two", [value, "x"]) + execute() + SYNC, 1 << 20)
    same(wire.kinds(client.ready()), "Z")
    same(client.rows("SELECT 1"), [["1"]])
    bounded(t, before, 24 * MB, "huge messages that were refused")


@beside_others("an error reaches a writer: executemany whose first row fails is told before it has sent the rest", seconds=60,
      subjects=MANY)
def pipeline_fails_early(t):
    client = t.wire()
    before = memory_before(t)
    client.ask(parse("divide", "SELECT 1 / $1::int, $2::text") + SYNC)
    client.send(bind("", "divide", ["0", "x"]) + execute())
    piece = (bind("", "divide", ["1", "z" * 4000]) + execute()) * 100
    size = 60 * MB
    sent, rest = sent_until_error(client, piece, size)
    check(sent < size / 2, f"the error came only after {sent / MB:.0f} of {size / MB:.0f} MB")
    client.socket.sendall(rest_of(piece, rest) + piece * ((size - sent) // len(piece)) + SYNC)
    same(wire.sqlstates(client.ready()), ["22012"])
    same(client.rows("SELECT 1"), [["1"]])
    bounded(t, before, 16 * MB, "a pipeline that failed early")
    poll(lambda: not t.servers("state = 'active' AND query LIKE 'SELECT 1 / $1%'"), "its server is idle")
