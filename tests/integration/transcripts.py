"""Protocol scripts: what a client sends step by step, and the transcript of what it got, made comparable."""

import ast
import contextlib
import dataclasses
import hashlib
import random
import struct

import wire


@dataclasses.dataclass
class Step:
    data: bytes
    until: str = "Z"  # read up to the count-th message of one of these kinds
    count: int = 1
    who: str = "a"
    pieces: int = 0  # > 0: written in pieces of random length, this number being the seed


@dataclasses.dataclass
class Script:
    name: str
    steps: list
    parameters: dict = dataclasses.field(default_factory=dict)
    user: str = "app"
    database: str = "app"


SCHEMA = """
CREATE TABLE items (id serial PRIMARY KEY, name text UNIQUE, n integer NOT NULL DEFAULT 0 CHECK (n < 1000));
CREATE TABLE copied (a integer, b text);
CREATE TABLE late (a integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION say(word text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE NOTICE 'said %', word USING DETAIL = 'a detail', HINT = 'a hint'; RETURN word; END $$;
CREATE FUNCTION fail(word text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'failed %', word USING ERRCODE = 'P0077', DETAIL = 'why', HINT = 'how'; END $$;
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.items (id integer, name text);
"""

RESET = """
TRUNCATE items, copied, late, elsewhere.items RESTART IDENTITY;
INSERT INTO elsewhere.items VALUES (77, 'from elsewhere');
INSERT INTO items (name, n) SELECT 'item ' || i, i FROM generate_series(1, 20) i;
"""


def prepare_schema(test):
    with test.postgres.admin("app") as admin:
        if not admin.execute("SELECT to_regclass('public.copied')").fetchone()[0]:
            admin.execute("SET ROLE app; " + SCHEMA)


def play(script, connect, movers=None):
    """Runs a script and returns its raw transcript: one list of (kind, body) for each step, the greeting first."""
    connections = {}
    transcript = []

    def connection(who):
        if who not in connections:
            connections[who] = connect(script)
        return connections[who]

    try:
        try:
            first = connection("a")
            transcript.append(first.greeting)
        except wire.Refused as refused:
            return [[("refused", refused.fields)]]
        for number, step in enumerate(script.steps):
            got = []
            transcript.append(got)
            client = connection(step.who)
            let_go = movers.before(number) if movers else None
            try:
                if step.pieces:
                    pick = random.Random(step.pieces)
                    at = 0
                    while at < len(step.data):
                        size = pick.choice((1, 2, 3, 5, 11, 40, 300))
                        client.send(step.data[at : at + size])
                        at += size
                elif len(step.data) > 60000:
                    client.send_while_reading(step.data)
                else:
                    client.send(step.data)
                if let_go:
                    let_go()
                left = step.count
                while left:
                    kind, body = client.receive()
                    got.append((kind, body))
                    if kind in step.until:
                        left -= 1
            except wire.Late:
                got.append(("late", b""))
                return transcript
            except wire.Closed:
                got.append(("closed", b""))
                return transcript
    finally:
        for client in connections.values():
            with contextlib.suppress(Exception):
                client.close()
    return transcript


def comparable(transcript):
    """The transcript without what may rightly differ between two runs: pids, keys, relation numbers."""
    relations = {}
    result = []
    for number, step in enumerate(transcript):
        lines = []
        reported = {}
        for kind, body in step:
            if kind == "S":
                key, value = body.split(b"\0")[:2]
                reported[key.decode()] = value.decode("utf-8", "replace")
                continue
            # A server reports ahead of ReadyForQuery; where in a group that comes means nothing.
            if reported and number and kind == "Z":
                lines.append(f"S {sorted(reported.items())}")
                reported = {}
            lines.extend(line(kind, body, relations))
        if number == 0:  # the order of the greeting's ParameterStatus means nothing
            lines = [f"S {key} = {value}" for key, value in sorted(reported.items())] + lines
        elif reported:
            lines.append(f"S {sorted(reported.items())}")
        result.append(lines)
    return result


def line(kind, body, relations):
    if kind == "refused":
        yield f"refused {sorted(body.items())}"
    elif kind in "EN" and body:
        yield f"{kind} {sorted(wire.error_fields(body).items())}"
    elif kind == "R":
        if struct.unpack_from(">I", body)[0] == 0:
            yield "R authenticated"
    elif kind == "K":
        yield f"K {len(body)} bytes"
    elif kind == "A":
        yield f"A {body[4:]!r}"
    elif kind == "T":
        columns = []
        for name, table, *rest in wire.row_description(body):
            if table >= 16384:
                table = "relation " + str(relations.setdefault(table, len(relations)))
            columns.append((name, table, *rest))
        yield f"T {columns}"
    elif len(body) > 300:
        yield f"{kind} {len(body)} bytes {body[:40]!r} {hashlib.md5(body).hexdigest()}"
    else:
        yield f"{kind} {body!r}"


def in_failed_blocks(transcript):
    """What each ReadyForQuery answers, as (answers, whether it began in a failed block), over all steps."""
    groups, failed = [], False
    answers = []
    for text in (text for step in transcript for text in step):
        answers.append(text)
        if text.startswith("Z "):
            groups.append((answers, failed))
            failed, answers = text == "Z b'E'", []
    groups.append((answers, False))  # a refused login, the last words of a connection: no ReadyForQuery ends them
    return groups


def same_line(wanted, found):
    """Whether two lines say the same. Where pgmend answers in a server's stead it says all that a client may act on: not where in
    PostgreSQL's source that is said, nor how far a COPY had come."""
    if wanted == found:
        return True
    if not (wanted.startswith("E [") and found.startswith("E [")):
        return False
    left, right = (dict(ast.literal_eval(text[2:])) for text in (wanted, found))
    # In a failed block any message of a group says the same, and which one of a group is sent on first is pgmend's affair.
    elsewhere = "FLR" if left["C"] == right["C"] == "25P02" else ""
    if not elsewhere and right.keys() & set("FLRW"):
        return False
    here = {key: value for key, value in right.items() if key not in elsewhere}
    return {key: value for key, value in left.items() if key not in (elsewhere or "FLRW")} == here


def same_lines(wanted, found):
    return len(wanted) == len(found) and all(map(same_line, wanted, found))


def without_what_a_failed_block_hides(direct, through):
    """A statement that is not on the client's server cannot be prepared there inside a failed block: the answer is 25P02
    where PostgreSQL would describe it or find another mistake first. Everything else has to be equal."""
    left, right = in_failed_blocks(direct), in_failed_blocks(through)
    if len(left) != len(right):
        return False
    for (wanted, failed), (found, _) in zip(left, right):
        same = len(found) - 2
        refused = (failed and same >= 0 and found[:same] == wanted[:same] and "'25P02'" in found[same]
                   and found[-1] == wanted[-1] == "Z b'E'")
        if not same_lines(wanted, found) and not refused and not two_mistakes(wanted, found):
            return False
    return True


def two_mistakes(wanted, found):
    """A Bind with the wrong number of values, of a statement that cannot be parsed under today's search_path: PostgreSQL
    counts first, and where the statement has to be parsed on another server first, that mistake is met first."""
    differing = [(left, right) for left, right in zip(wanted, found) if left != right]
    return (len(wanted) == len(found) and len(differing) == 1 and "bind message supplies" in differing[0][0]
            and differing[0][1].startswith("E [('C', '42"))


def identical(direct, through):
    return len(direct) == len(through) and all(map(same_lines, direct, through))


def difference(direct, through):
    """The first step whose lines differ, in words; empty when there is none."""
    if identical(direct, through):
        return ""
    for number in range(max(len(direct), len(through))):
        wanted = direct[number] if number < len(direct) else ["(no such step)"]
        found = through[number] if number < len(through) else ["(no such step)"]
        if same_lines(wanted, found):
            continue
        words = [f"step {number}:"]
        for at in range(max(len(wanted), len(found))):
            left = wanted[at] if at < len(wanted) else "(nothing)"
            right = found[at] if at < len(found) else "(nothing)"
            if same_line(left, right):
                words.append(f"      {left[:150]}")
            else:
                words.append(f"    - {left[:1000]}\n    + {right[:1000]}")
        if len(words) > 40:
            first = next(i for i, w in enumerate(words) if w.startswith("    -"))
            words = words[:1] + words[max(1, first - 5) : first + 20]
        return "\n".join(words)
    return ""


# ---- random scripts -------------------------------------------------------------------------------------

STATEMENTS = [
    ("SELECT 1", 0),
    ("SELECT id, name FROM items ORDER BY id LIMIT 7", 0),
    ("SELECT $1::int + 1", 1),
    ("SELECT name FROM items WHERE id = $1::int", 1),
    ("INSERT INTO items (name, n) VALUES ($1::text, 5) RETURNING id", 1),
    ("UPDATE items SET n = n + 1 WHERE id = $1::int", 1),
    ("DELETE FROM items WHERE id = $1::int", 1),
    ("SELECT say($1::text)", 1),
    ("SELECT fail($1::text)", 1),
    ("SELECT 1 / ($1::int - 3)", 1),
    ("SELECT $1::text, $2::text", 2),
    ("SELECT generate_series(1, 12)", 0),
    ("SELECT no_such_column", 0),
    ("SELEC 1", 0),
    ("", 0),
    ("BEGIN", 0),
    ("COMMIT", 0),
    ("ROLLBACK", 0),
    ("SAVEPOINT one", 0),
    ("ROLLBACK TO one", 0),
    ("INSERT INTO late VALUES ($1::int), ($1::int)", 1),
    ("SET work_mem = '3MB'", 0),
    ("SHOW work_mem", 0),
    ("SHOW DateStyle", 0),
    ("SET DateStyle = 'German'", 0),
    ("RESET ALL", 0),
]

QUERIES = [sql for sql, count in STATEMENTS if not count] + [
    ";",
    "SELECT 1; SELECT 2",
    "SELECT 1; SELECT 1/0; SELECT 3",
    "BEGIN; INSERT INTO items (name) VALUES ('in a block'); SELECT count(*) FROM items",
    "COMMIT; SELECT 'after'",
    "ROLLBACK; BEGIN",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    "COMMIT AND CHAIN",
    "SET LOCAL work_mem = '5MB'",
    "SET search_path = elsewhere, public",
    "SHOW search_path",
    "SELECT name FROM items ORDER BY id LIMIT 2",
    "RESET search_path",
    "SET app.who = 'me'; SELECT current_setting('app.who')",
    "SELECT set_config('work_mem', '4MB', false)",
    "DISCARD ALL",
    "DEALLOCATE ALL",
    "DEALLOCATE s1",
    "PREPARE sql1 AS SELECT 'prepared in SQL'",
    "EXECUTE sql1",
    "DEALLOCATE sql1",
    "DECLARE c CURSOR FOR SELECT generate_series(1, 9)",
    "FETCH 4 FROM c",
    "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 9)",
    "FETCH 2 FROM held",
    "CLOSE held",
    "CREATE TEMP TABLE mine (a int)",
    "INSERT INTO mine VALUES (1)",
    "SELECT * FROM mine",
    "DROP TABLE mine",
    "DISCARD TEMP",
    "SELECT pg_advisory_lock(99)",
    "SELECT pg_advisory_unlock(99)",
    "SELECT pg_advisory_unlock_all()",
    "DO $$ BEGIN RAISE NOTICE 'from a block'; END $$",
    "COPY (SELECT * FROM items ORDER BY id LIMIT 5) TO STDOUT",
    "LISTEN somewhere",
    "NOTIFY somewhere, 'x'",
    "UNLISTEN *",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET work_mem = '9MB'; SELECT 1/0",
    "BEGIN; SET TimeZone = 'Asia/Tokyo'",
    "SET TimeZone TO DEFAULT",
    "SHOW TimeZone",
    "SET LOCAL search_path = elsewhere; SELECT count(*) FROM items",
    "SELECT pg_advisory_xact_lock(98)",
    "MOVE 3 IN c",
    "CLOSE ALL",
]
CALLED = (1317, 1317, 1317, 999999)  # textlen, and a function that is not there


def random_script(seed):
    """A legal client gone wild: names in use, names unknown, errors anywhere, pipelines of several Syncs."""
    pick = random.Random(seed)
    names = ("", "", "s1", "s2", "a")
    portals = ("", "", "p1", "p2")
    steps = []
    for _ in range(pick.randint(6, 24)):
        data, count = b"", 0
        for _ in range(pick.choice((1, 1, 1, 2, 3, 6))):
            habit = pick.random()
            if habit < 0.36:
                sql = pick.choice(QUERIES)
                data += wire.query(sql)
                count += 1
            elif habit < 0.42:
                extended = pick.random() < 0.5
                data += wire.run("COPY copied FROM STDIN") if extended else wire.query("COPY copied FROM STDIN")
                data += wire.copy_data("1\tone\n") + pick.choice(
                    (wire.COPY_DONE, wire.copy_fail("no"), wire.copy_data("x\ty\n") + wire.COPY_DONE)
                )
                data += wire.SYNC if extended else b""
                count += 1
            elif habit < 0.45:
                data += wire.function_call(pick.choice(CALLED), [b"12345"])
                count += 1
            elif habit < 0.7:
                # What changes a session does so by either protocol.
                sql, arguments = pick.choice(STATEMENTS) if pick.random() < 0.7 else (pick.choice(QUERIES), 0)
                name, portal = pick.choice(names), pick.choice(portals)
                data += wire.parse(name, sql)
                data += wire.describe("S", name) if pick.random() < 0.4 else b""
                data += wire.FLUSH if pick.random() < 0.2 else b""
                data += wire.bind(portal, name, [str(pick.randint(1, 9)) for _ in range(arguments)])
                data += wire.describe("P", portal) if pick.random() < 0.5 else b""
                data += wire.execute(portal, pick.choice((0, 0, 3)))
                data += wire.execute(portal, 2) if pick.random() < 0.2 else b""
                data += wire.SYNC
                count += 1
            else:
                bound = ["nope"]
                for _ in range(pick.randint(0, 7)):
                    data += loose_message(pick, names, portals, bound)
                data += wire.SYNC
                count += 1
        steps.append(Step(data, "Z", count, pieces=pick.randint(1, 1 << 30) if pick.random() < 0.15 else 0))
    return Script(f"random {seed}", steps)


def loose_message(pick, names, portals, bound):
    """Any message in any order. Portals are used only in the Sync group that bound them: Execute of a portal bound
    before the error of a failed block makes PostgreSQL 15.20 itself crash (seen with signal 11)."""
    kind = pick.randint(0, 7)
    if kind == 0:
        return wire.parse(pick.choice(names), pick.choice(STATEMENTS)[0])
    if kind in (1, 2):
        values = [str(pick.randint(1, 9)) for _ in range(pick.choice((0, 0, 1, 1, 2)))]
        bound.append(pick.choice(portals))
        return wire.bind(bound[-1], pick.choice(names), values)
    if kind == 3:
        return wire.describe("S", pick.choice(names))
    if kind == 4:
        return wire.describe("P", pick.choice(bound))
    if kind == 5:
        return wire.close(*pick.choice([("S", pick.choice(names)), ("P", pick.choice(portals))]))
    if kind == 6:
        return wire.FLUSH
    return wire.execute(pick.choice(bound), pick.choice((0, 0, 1, 4)))
