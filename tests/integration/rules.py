"""Rules that little else would notice if they were broken: what is read wrongly, what leaves a trace, what is planned too early."""

import wire
from harness import check, same
from registry import register

TESTS = []
test = register(TESTS)

HIDDEN = "SELECT coalesce(current_setting('app.hidden', true), '')"
CALL = "set_config($q$app.hidden$q$, $q$x$q$, false)"


def meets_nothing(t, words):
    for _ in range(3):
        other = t.wire()
        same(other.value(HIDDEN), "", words)
        other.close()


@test("rules: a text is unknown where its quotes may lie", pool=2, subjects=("pgmend", "direct"))
def lying_quotes(t):
    # Two strings to whoever thinks that a backslash is a character like any other.
    owner = t.wire()
    owner.query("SET standard_conforming_strings = off; SET escape_string_warning = off")
    same(len(owner.rows(rf"SELECT '\' , ' , {CALL} -- '")[0]), 2)
    meets_nothing(t, "standard_conforming_strings = off")
    same(owner.value(HIDDEN), "x")
    owner.close()
    meets_nothing(t, "when it has left")
    # The second byte of this letter is a backslash to whoever reads bytes.
    owner = t.wire(parameters={"client_encoding": "SJIS"})
    owner.send(wire.message("Q", b"SELECT E'\x83\x5c', " + CALL.encode() + b", ' --'\0"))
    same(wire.kinds(owner.ready()), "TDCZ")
    meets_nothing(t, "an ambiguous encoding")
    same(owner.value(HIDDEN), "x")
    owner.close()
    meets_nothing(t, "when it has left, too")


@test("rules: temporary objects leave no trace for the next client of the server", pool=1,
      settings={"pool": {"own_server": False}}, subjects=("pgmend", "direct"))
def no_trace(t):
    for end in ("DROP TABLE mine", "DISCARD TEMP", "DISCARD ALL", "SELECT 1"):
        first = t.wire()
        first.query("CREATE TEMP TABLE mine (a int)")
        first.query(end)
        first.close()
        second = t.wire()
        same(second.value("SELECT pg_my_temp_schema()::oid::text"), "0", end)
        same(wire.sqlstates(second.query("SELECT * FROM mine")), ["42P01"])
        second.close()


@test("rules: a statement with 'now' is planned when its client says so", pool=1, subjects=("pgmend", "direct"))
def planned_now(t):
    values = []
    for _ in range(4):
        client = t.wire()
        answer = client.ask(wire.parse("now", "SELECT 'now'::timestamptz") + wire.SYNC)
        same(wire.sqlstates(answer), [])
        for _ in range(2):
            values.append(wire.rows_of(client.ask(wire.bind("", "now") + wire.execute() + wire.SYNC))[0][0])
        client.close()
    same(values[::2], values[1::2], "the same for each use of one client")
    check(len(set(values)) == 4, f"each client's own: {values}")
