"""SQL and the protocol speak of the same prepared statements: PREPARE, EXECUTE and DEALLOCATE among Parse, Bind and Close, in
blocks, behind errors, in one write; every answer is the one a direct connection gives."""

import random

import wire
from console import console, one
from differential import compare, q, raw, x
from harness import poll, same
from registry import register
from transcripts import Script, Step
from wire import FLUSH, SYNC, bind, close, describe, execute, parse, query, run

TESTS = []
test = register(TESTS)
MANY = ("pgmend", "direct")


def spoken_scripts():
    two = x(parse("s1", "SELECT 1"), parse("s2", "SELECT 2"))
    both = x(bind("", "s1"), execute()), x(bind("", "s2"), execute())
    yield Script("two names in one Query", [two, q("DEALLOCATE s1; DEALLOCATE s2"), *both])
    yield Script("two names in one Query, the second unknown", [two, q("DEALLOCATE s1; DEALLOCATE nope"), *both])
    yield Script("two names in one Query, then an error", [two, q("DEALLOCATE s1; SELECT 1/0; DEALLOCATE s2"), *both])
    yield Script("one name twice in one Query", [two, q("DEALLOCATE s1; DEALLOCATE s1"), *both])
    yield Script("used and forgotten in one Query", [two, q("EXECUTE s1; DEALLOCATE s1; EXECUTE s2; EXECUTE s1"), *both])
    yield Script("forgotten and prepared anew in one Query", [two, q("DEALLOCATE s1; PREPARE s1 AS SELECT 3; EXECUTE s1"), *both,
                 q("EXECUTE s1; DEALLOCATE s1"), *both])
    yield Script("all forgotten and prepared anew in one Query", [two, q("DEALLOCATE ALL; PREPARE s2 AS SELECT 4"), *both,
                 q("DEALLOCATE ALL"), *both])
    yield Script("prepared by SQL, closed by the protocol", [q("PREPARE s1 AS SELECT 5"), x(bind("", "s1"), execute()),
                 x(close("S", "s1")), q("EXECUTE s1"), x(parse("s1", "SELECT 6")), q("EXECUTE s1"), q("PREPARE s1 AS SELECT 7")])
    yield Script("many names in one Query", [x(*[parse(f"n{i}", f"SELECT {i}") for i in range(40)]),
                 q("; ".join(f"EXECUTE n{i}" for i in range(40))), q("; ".join(f"DEALLOCATE n{i}" for i in range(40))),
                 x(bind("", "n39"), execute())])
    yield Script("by the extended protocol in one group", [two, x(run("DEALLOCATE s1"), run("DEALLOCATE s2")), *both,
                 x(parse("s1", "SELECT 8"), run("EXECUTE s1"), run("DEALLOCATE s1"), parse("s1", "SELECT 9"), run("EXECUTE s1"))])
    gone = q("SET search_path = nowhere")
    yield Script("one that cannot be parsed any more is taken away", [x(parse("s1", "SELECT name FROM items"), parse("s2", "SELECT 2"),
                 parse("s3", "SELECT n FROM items WHERE name = $1")), gone, q("DEALLOCATE s1"), *both, x(run("DEALLOCATE s3")),
                 x(bind("", "s3", ["x"]))])
    yield Script("one that cannot be parsed any more is in the way of another", [x(parse("s1", "SELECT name FROM items")), gone,
                 q("PREPARE s1 AS SELECT 1"), x(run("PREPARE s1 AS SELECT 1")), q("RESET search_path"), x(bind("", "s1"), execute(limit=1))])
    yield Script("taken away by a statement that is not carried out", [two, x(parse("d", "DEALLOCATE s1"), bind("", "d"), run("EXECUTE s1")),
                 *both, x(bind("", "d"), execute(), run("EXECUTE s2")), *both])
    named = x(parse("e", "EXECUTE s1"))
    yield Script("described in a group of its own", [two, named, x(describe("S", "e")), x(parse("", "EXECUTE s2")), x(describe("S", "")),
                 x(bind("", ""), describe("P", ""), execute()), x(describe("S", "e"), bind("", "e"), execute())])
    yield Script("bound, described and run in groups of their own", [two, named, q("BEGIN"), x(bind("", "e")), x(describe("P", "")),
                 x(execute()), x(bind("p", "e")), x(describe("P", "p")), x(execute("p")), x(close("P", "p")), q("COMMIT"), *both,
                 q("DEALLOCATE s1"), x(describe("S", "e")), x(bind("", "e"))])
    yield Script("run behind a Parse of what it names", [x(parse("e", "EXECUTE s1"), parse("p", "PREPARE s1 AS SELECT 4")),
                 x(bind("", "e"), parse("s1", "SELECT 5"), execute()), x(bind("", "p"), execute()), q("EXECUTE s1"),
                 x(bind("", "e"), close("S", "s1"), parse("s1", "SELECT 6"), execute()), q("EXECUTE s1")])
    yield Script("prepared by SQL in the group that took it away", [two, x(run("DEALLOCATE s1"), run("PREPARE s1 AS SELECT 11")),
                 both[0], x(run("EXECUTE s2"), close("S", "s2"), run("PREPARE s2 AS SELECT 12")), both[1], q("EXECUTE s1; EXECUTE s2")])
    yield Script("taken away by a Close that is not carried out", [two, x(run("EXECUTE s1"), run("SELECT 1/0"), close("S", "s1")),
                 *both, q("DEALLOCATE s1"), q("PREPARE s1 AS SELECT 13"), *both])
    for end in ("ROLLBACK", "COMMIT", "ROLLBACK TO SAVEPOINT a", "ROLLBACK AND CHAIN"):
        failed = q("BEGIN; SAVEPOINT a"), q("SELECT 1/0")
        yield Script(f"behind {end} in one Query", [two, *failed, q(f"{end}; DEALLOCATE s1"), *both, q("ROLLBACK"), *failed,
                     q(f"{end}; DEALLOCATE nope"), q("ROLLBACK"), *both])
        if "SAVEPOINT" not in end:
            yield Script(f"run behind {end} in one Query", [two, *failed, q(f"{end}; EXECUTE s2"), *both, q("ROLLBACK"), *failed,
                         q(f"{end}; EXECUTE s1; DEALLOCATE s1; SELECT 1/0"), q("ROLLBACK"), *both])
        yield Script(f"behind {end} that was answered in its group", [two, *failed, raw(run(end), FLUSH, until="C"),
                     raw(run("DEALLOCATE s1"), FLUSH, until="CE"), x(run("SELECT 1")), q("ROLLBACK"), *both])
    yield Script("in a block that is rolled back", [two, q("BEGIN"), q("DEALLOCATE s1; PREPARE p AS SELECT 10"), q("SELECT 1/0"),
                 q("ROLLBACK"), *both, q("EXECUTE p"), q("DEALLOCATE p")])


@test("names: SQL forgets and prepares what the protocol has prepared, several names in one Query", pool=3, subjects=MANY)
def spoken_of(t):
    compare(t, list(spoken_scripts()))


@test("names: EXECUTE prepared by the protocol keeps its server, as its result is what the name once stood for", pool=2, subjects=MANY)
def what_it_stood_for(t):
    admin, client, first, second = console(t), t.wire(), t.wire(), t.wire()
    same(wire.sqlstates(client.ask(parse("s1", "SELECT 2") + parse("e", "EXECUTE s1") + SYNC)), [])
    first.query("BEGIN; SELECT 1")
    second.send(query("SELECT 1"))
    poll(lambda: one(admin, "SHOW POOLS", user="app")["cl_waiting"] == "1", "there is one server for the others")
    client.query("DEALLOCATE s1")
    same(wire.sqlstates(client.ask(describe("S", "e") + SYNC)), ["26000"], "as it had a row to describe when it was parsed")
    client.close()
    same(wire.sqlstates(second.ready()), [])
    first.query("COMMIT")


NAMES = ("s1", "s2", "s3", '"S 4"')
EXTENDED = tuple(name.strip('"') for name in NAMES)


def clause(pick, name=None):
    name = name or pick.choice(NAMES)
    return pick.choice((f"DEALLOCATE {name}", f"DEALLOCATE {name}", f"EXECUTE {name}", f"EXECUTE {name}",
                        f"PREPARE {name} AS SELECT 'sql {pick.randint(1, 9)}'", "DEALLOCATE ALL", "SELECT 1",
                        pick.choice(("SELECT 1/0", "DISCARD ALL", "DEALLOCATE PREPARE s1", "SELECT 2; SELECT 3",
                                     "EXPLAIN (COSTS off) EXECUTE s1", "SAVEPOINT a", "ROLLBACK TO a"))))


def group(pick):
    """Some messages of the extended protocol; the caller puts a Sync behind them."""
    data = b""
    for _ in range(pick.randint(0, 4)):
        name = pick.choice(("", *EXTENDED))
        habit = pick.randint(0, 6)
        if habit == 0:
            data += parse(name, f"SELECT 'protocol {pick.randint(1, 9)}'")
        elif habit <= 2:
            data += bind("", name) + (describe("P", "") if pick.random() < 0.3 else b"") + execute()
        elif habit == 3:
            data += close("S", name)
        elif habit == 4:
            data += describe("S", name)
        else:
            data += run(clause(pick).split(";")[0])
    return data


def mixed(seed):
    pick = random.Random(seed)
    steps = []
    for _ in range(pick.randint(4, 12)):
        data, count = b"", 0
        for _ in range(pick.choice((1, 1, 2, 4, 8))):
            habit = pick.random()
            if habit < 0.5:
                data += group(pick) + SYNC
            elif habit < 0.9:
                # Often all of one name: forgotten, prepared anew, used.
                name = pick.choice((None, *NAMES))
                data += query("; ".join(clause(pick, name) for _ in range(pick.choice((1, 1, 2, 3, 5)))))
            else:
                data += query(pick.choice(("BEGIN", "COMMIT", "ROLLBACK", "BEGIN")))
            count += 1
        steps.append(Step(data, "Z", count))
    return Script(f"names {seed}", [*steps, q("ROLLBACK"), *[x(bind("", name), execute()) for name in EXTENDED],
                                    *[q(f"EXECUTE {name}") for name in NAMES]])


@test("names: random scripts that speak of statements in both languages get the answers of a direct connection", pool=3, workers=2,
      seconds=150, subjects=MANY)
def random_names(t):
    count = 60 if t.quick else 250
    seed = t.run.options.seed
    compare(t, [mixed(seed * 1000 + i) for i in range(count)])
