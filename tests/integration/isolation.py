"""No client ever meets another's settings, temporary tables, prepared statements, locks or transactions."""

import re
import threading

import wire
from harness import check, poll, same
from registry import register

TESTS = []
test = register(TESTS)


@test("isolation: neighbours keep their own settings and statements on few servers", pool=3, workers=2)
def lasting_neighbours(t):
    with t.neighbours(8, habit="lasting"), t.neighbours(4):
        clients = [t.wire() for _ in range(6)]
        for turn in range(40):
            for number, client in enumerate(clients):
                same(client.rows("SHOW work_mem"), [["4MB"]], f"turn {turn}")
                same(client.rows("SHOW search_path"), [['"$user", public']], f"turn {turn}")
                same(wire.sqlstates(client.ask(wire.bind("", "s1") + wire.execute() + wire.SYNC)), ["26000"])
                if turn % 10 == 9:
                    client.query(f"SET app.who = 'client {number}'; RESET ALL")


SETTINGS = {
    "work_mem": ("4MB", "5MB"),
    "search_path": ('"$user", public', "pg_catalog"),
    "statement_timeout": ("0", "1min"),
    "default_transaction_read_only": ("off", "on"),
    "default_transaction_isolation": ("read committed", "serializable"),
    "DateStyle": ("ISO, MDY", "German, DMY"),
    "TimeZone": ("Etc/UTC", "Asia/Tokyo"),
    "application_name": ("", "someone"),
    "client_min_messages": ("notice", "error"),
    "standard_conforming_strings": ("on", "off"),
    "bytea_output": ("hex", "escape"),
    "extra_float_digits": ("1", "3"),
    "role": ("none", "other"),
    "client_encoding": ("UTF8", "LATIN1"),
}

WAYS = {
    "SET": lambda name, value: wire.query(f"SET {name} = '{value}'"),
    "SET SESSION in a block": lambda name, value: wire.query(f"BEGIN; SET SESSION {name} = '{value}'; COMMIT"),
    "set_config": lambda name, value: wire.query(f"SELECT set_config('{name}', '{value}', false)"),
    "set_config in a CTE": lambda name, value: wire.query(
        f"WITH c AS (SELECT set_config('{name}', '{value}', false) AS x) SELECT x FROM c"
    ),
    "DO": lambda name, value: wire.query(
        f"DO $do$ BEGIN EXECUTE format('SET %I = %L', '{name}', '{value}'); END $do$"
    ),
    "extended": lambda name, value: wire.run(f"SET {name} = '{value}'") + wire.SYNC,
    "extended set_config": lambda name, value: wire.run("SELECT set_config($1, $2, false)", [name, value]) + wire.SYNC,
    "several commands": lambda name, value: wire.query(f"SELECT 1; SET {name} = '{value}'; SELECT 2"),
    "a function": lambda name, value: wire.query(f"SELECT hidden_set('{name}', '{value}')"),
    "UPDATE pg_settings": lambda name, value: wire.query(
        f"UPDATE pg_settings SET setting = '{value}' WHERE name = '{name}'"
    ),
    "a trigger": lambda name, value: wire.query(f"INSERT INTO triggers_set VALUES ('{name}', '{value}')"),
}

HIDDEN = """
CREATE OR REPLACE FUNCTION hidden_set(name text, value text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RETURN set_config(name, value, false); END $$;
CREATE TABLE IF NOT EXISTS triggers_set (name text, value text);
CREATE OR REPLACE FUNCTION trigger_set() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config(NEW.name, NEW.value, false); RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER hidden BEFORE INSERT ON triggers_set FOR EACH ROW EXECUTE FUNCTION trigger_set();
"""

ASK = "; ".join(f"SHOW {name}" for name in SETTINGS)


def fresh_values(rows):
    return dict(zip(SETTINGS, (row[0] for row in rows)))


@test("isolation: a setting changed by whatever means is met by nobody else, and kept by its owner", pool=2)
def settings_stay(t):
    t.admin("SET ROLE app; " + HIDDEN)
    t.admin("GRANT other TO app")
    plain = {name: values[0] for name, values in SETTINGS.items()}
    problems = []
    for way, message in WAYS.items():
        for name, (_, value) in SETTINGS.items():
            if way == "UPDATE pg_settings" and name in ("role", "client_encoding"):
                continue  # not listed there, or not by this spelling
            owner = t.wire()
            answer = owner.ask(message(name, value))
            if wire.sqlstates(answer):
                problems.append(f"{way} {name}: {wire.sqlstates(answer)}")
                continue
            for other in [t.wire() for _ in range(2)]:
                found = fresh_values(other.rows(ASK))
                if found != plain:
                    problems.append(f"{way} {name}: another client met "
                                    f"{ {k: v for k, v in found.items() if v != plain[k]} }")
                other.close()
            shown = owner.value(f"SHOW {name}").replace(" ", "")
            if shown != value.replace(" ", ""):
                problems.append(f"{way} {name}: its owner now sees {shown}")
            owner.close()
            after = t.wire()
            found = fresh_values(after.rows(ASK))
            if found != plain:
                problems.append(f"{way} {name}: left behind { {k: v for k, v in found.items() if v != plain[k]} }")
            after.close()
    t.admin("REVOKE other FROM app")
    check(not problems, f"{len(problems)} leaks or losses\n" + "\n".join(problems[:25]))


@test("isolation: a role goes with its client from server to server", pool=2, seconds=60)
def roles_move(t):
    """Nobody is pinned by it; others meet it nowhere; what only the login may set is restored with the login's rights."""
    t.admin("ALTER ROLE crowd SUPERUSER")
    t.closing.callback(lambda: t.admin("ALTER ROLE crowd NOSUPERUSER"))
    t.admin("SET ROLE app; " + HIDDEN)
    t.admin("GRANT other TO app")
    t.closing.callback(lambda: t.admin("REVOKE other FROM app"))
    asked = "SELECT current_user, current_setting('role'), current_setting('session_replication_role')"

    def pins():
        body = t.subject.http("/metrics")[1]
        return int(re.search(r'^pgmend_pins_total\{reason="role"\} (\d+)', body, re.M).group(1))

    owner, plain, privileged = t.wire(), t.wire(), t.wire("crowd")
    before = pins() if t.subject.kind == "pgmend" else 0
    owner.query("SET ROLE other")
    privileged.query("SET session_replication_role = 'replica'; SET ROLE other")
    login = t.wire("crowd")
    helpers = [t.wire() for _ in range(2)]
    others = [t.wire("crowd") for _ in range(2)]
    for turn in range(12):
        # Somebody is in a block on one server of each user, so the rest meet on what is left.
        blocks = helpers[turn % 2], others[turn % 2]
        for helper in blocks:
            helper.query("BEGIN; SELECT 1")
        for client, wanted in ((owner, ["other", "other", "origin"]), (plain, ["app", "none", "origin"]),
                               (privileged, ["other", "other", "replica"]), (login, ["crowd", "none", "origin"])):
            same(client.rows(asked), [wanted], f"turn {turn}")
        same(blocks[0].rows(asked), [["app", "none", "origin"]])
        for helper in blocks:
            helper.query("COMMIT")
    if t.subject.kind == "pgmend":
        same(pins(), before, "roles that are known pin nobody")
    # What a transaction takes back, and what only a transaction has.
    owner.query("BEGIN; SET ROLE NONE; ROLLBACK")
    same(owner.rows(asked)[0][0], "other")
    owner.query("BEGIN; SET LOCAL ROLE NONE; COMMIT")
    same(owner.rows(asked)[0][0], "other")
    owner.query("RESET ALL")
    same(owner.rows(asked)[0][0], "other", "RESET ALL leaves it")
    owner.query("DISCARD ALL")
    same(owner.rows(asked)[0][0], "app", "DISCARD ALL does not")
    # Set where nobody sees it, the server is kept, and cleaned before anybody else has it.
    owner.query("SELECT hidden_set('role', 'other')")
    for client in (plain, *helpers):
        same(client.rows(asked)[0][0], "app")
    same(owner.rows(asked)[0][0], "other")
    # One that may be set no more is not quietly left out: the session ends.
    owner.query("SET ROLE other")
    owner.close()
    owner = t.wire()
    owner.query("SET ROLE other")
    t.admin("REVOKE other FROM app")
    for turn in range(4):
        plain.query("SELECT 1")
        helpers[0].query("BEGIN; SELECT 1")
        plain.query("SELECT 1")
        helpers[0].query("COMMIT")
    try:
        answer = owner.query("SELECT current_user")
        check(wire.sqlstates(answer) in (["57P01"], []), answer)
        check(wire.sqlstates(answer) or b"other" in repr(answer).encode(), f"it ran as somebody else: {answer}")
    except wire.Closed:
        pass


@test("isolation: custom parameters of row security stay with their owner", pool=2)
def custom_parameters(t):
    for way in ("SET app.tenant = 'mine'", "SELECT set_config('app.tenant', 'mine', false)",
                "DO $$ BEGIN PERFORM set_config('app.tenant', 'mine', false); END $$"):
        t.admin("SET ROLE app; " + HIDDEN)
        owner = t.wire()
        owner.rows(way)
        for _ in range(3):
            other = t.wire()
            check(other.value("SELECT coalesce(current_setting('app.tenant', true), '')") == "", way)
            other.close()
        same(owner.value("SELECT current_setting('app.tenant', true)"), "mine", way)
        owner.close()


@test("isolation: temporary objects, cursors, locks and SQL statements are their owner's alone", pool=3)
def objects_stay(t):
    with t.neighbours(5):
        owner = t.wire()
        owner.rows("CREATE TEMP TABLE mine AS SELECT 'secret' AS x")
        owner.rows("DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10)")
        owner.rows("PREPARE plan AS SELECT 'of the owner'")
        owner.rows("SELECT pg_advisory_lock(4711)")
        for _ in range(15):
            other = t.wire()
            same(wire.sqlstates(other.query("SELECT * FROM mine")), ["42P01"])
            same(wire.sqlstates(other.query("FETCH held")), ["34000"])
            same(wire.sqlstates(other.query("EXECUTE plan")), ["26000"])
            same(other.value("SELECT pg_try_advisory_lock(4711)"), "f")
            same(other.rows("SELECT name FROM pg_prepared_statements WHERE from_sql"), [])
            same(other.rows("SELECT name FROM pg_cursors WHERE is_holdable"), [])
            same(other.rows("SELECT * FROM pg_listening_channels()"), [])
            other.close()
            same(owner.rows("SELECT * FROM mine"), [["secret"]])
            same(owner.rows("EXECUTE plan"), [["of the owner"]])
        same(owner.rows("FETCH 3 held"), [["1"], ["2"], ["3"]])
        owner.rows("CREATE TEMP TABLE left_behind (a int); LISTEN left_behind")
        owner.drop()
        poll(lambda: t.wire().value("SELECT pg_try_advisory_xact_lock(4711)") == "t", "the lock ends with its owner")
        for _ in range(8):
            other = t.wire()
            same(wire.sqlstates(other.query("SELECT * FROM mine")), ["42P01"])
            same(wire.sqlstates(other.query("SELECT * FROM left_behind")), ["42P01"])
            same(wire.sqlstates(other.query("FETCH held")), ["34000"])
            same(wire.sqlstates(other.query("EXECUTE plan")), ["26000"])
            same(other.rows("SELECT * FROM pg_listening_channels()"), [])
            other.close()


@test("isolation: equal names mean each client's own statement", pool=3, workers=2)
def equal_names(t):
    with t.neighbours(4):
        clients = [t.wire() for _ in range(20)]
        for number, client in enumerate(clients):
            client.ask(wire.parse("same", f"SELECT 'client {number}', $1::text") + wire.SYNC)
            client.ask(wire.parse("", f"SELECT 'unnamed {number}'") + wire.SYNC)
        for turn in range(10):
            for number, client in enumerate(clients):
                answer = client.ask(wire.bind("", "same", [str(turn)]) + wire.execute() + wire.SYNC)
                same(wire.rows_of(answer), [[f"client {number}", str(turn)]])
                answer = client.ask(wire.bind("", "") + wire.execute() + wire.SYNC)
                same(wire.rows_of(answer), [[f"unnamed {number}"]])


@test("isolation: search_path at Parse time decides what a statement of equal text means", pool=2)
def search_path_and_statements(t):
    for name in ("left", "right"):
        t.admin(f'SET ROLE app; CREATE SCHEMA IF NOT EXISTS "{name}"; DROP TABLE IF EXISTS "{name}".who; '
                f'CREATE TABLE "{name}".who AS SELECT \'{name}\' AS side')
    with t.neighbours(3):
        clients = [(side, t.wire(parameters={"search_path": side})) for side in ("left", "right") * 4]
        for _, client in clients:
            client.ask(wire.parse("who", "SELECT side FROM who") + wire.SYNC)
        for _ in range(10):
            for side, client in clients:
                answer = client.ask(wire.bind("", "who") + wire.execute() + wire.SYNC)
                same(wire.rows_of(answer), [[side]])
                same(wire.rows_of(client.ask(wire.run("SELECT side FROM who") + wire.SYNC)), [[side]])


@test("isolation: users and databases never share a server", pool=3)
def users_apart(t):
    with t.neighbours(4), t.neighbours(4, user="other", database="other"):
        for _ in range(15):
            for user in ("app", "other"):
                for database in ("app", "other"):
                    client = t.wire(user, database)
                    same(client.rows("SELECT current_user, session_user, current_database()"),
                         [[user, user, database]])
                    client.close()


@test("isolation: an open transaction's statements all run on one server", pool=3)
def one_server_per_block(t):
    with t.neighbours(6):
        def block():
            client = t.wire()
            for _ in range(10):
                client.query("BEGIN")
                pids = {client.value("SELECT pg_backend_pid()") for _ in range(6)}
                pids.add(wire.rows_of(client.ask(wire.run("SELECT pg_backend_pid()::text") + wire.SYNC))[0][0])
                same(len(pids), 1, "one backend for one transaction")
                client.query("COMMIT")

        failures = []

        def guarded():
            try:
                block()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures, f"{failures}")


@test("isolation: session mode resets everything between clients", settings={"pool": {"mode": "session", "size": 1}},
      subjects=("pgmend", "direct", "pgbouncer"))
def session_mode(t):
    first = t.wire()
    first.rows("SET work_mem = '9MB'; SET app.x = 'y'; CREATE TEMP TABLE st (a int); LISTEN c; PREPARE p AS SELECT 1")
    first.rows("DECLARE h CURSOR WITH HOLD FOR SELECT 1")
    first.ask(wire.parse("s", "SELECT 1") + wire.SYNC)
    first.rows("SELECT pg_advisory_lock(11)")
    same(first.rows("SHOW work_mem"), [["9MB"]])
    first.query("BEGIN")
    first.drop()
    second = t.wire()
    same(second.rows("SHOW work_mem"), [["4MB"]])
    same(second.rows("SELECT coalesce(current_setting('app.x', true), '')"), [[""]])
    same(wire.sqlstates(second.query("SELECT * FROM st")), ["42P01"])
    same(wire.sqlstates(second.query("EXECUTE p")), ["26000"])
    same(wire.sqlstates(second.query("FETCH h")), ["34000"])
    same(wire.sqlstates(second.ask(wire.bind("", "s") + wire.SYNC)), ["26000"])
    poll(lambda: second.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [["0"]],
         "the lock ends with its owner")
    same(second.rows("SELECT * FROM pg_listening_channels()"), [])
