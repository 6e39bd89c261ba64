"""What plain statements reach without saying so: triggers, rules, defaults, policies and their like that change the
session. No other client meets it, who caused it keeps it, and what changes nothing keeps nobody from sharing."""

import re

import wire
from harness import check, poll, same
from registry import register

TESTS = []
test = register(TESTS)

OURS = dict(subjects=("pgmend", "direct"))

OBJECTS = """
DROP SCHEMA IF EXISTS hiding CASCADE; CREATE SCHEMA hiding; SET search_path = hiding;
CREATE FUNCTION note(who text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM set_config('app.tenant', who, false); RETURN who; END $$;
CREATE FUNCTION outer_note(who text) RETURNS text LANGUAGE sql AS $$ SELECT note(who) $$;
CREATE FUNCTION is_noted(who text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM note(who); RETURN true; END $$;
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM note(NEW.who); RETURN NEW; END $$;
CREATE FUNCTION note_old() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM note(OLD.who); RETURN OLD; END $$;
CREATE TABLE by_trigger (who text);
CREATE TRIGGER t BEFORE INSERT ON by_trigger FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TABLE at_commit (who text);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON at_commit DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TABLE by_rule (who text);
CREATE RULE r AS ON INSERT TO by_rule DO ALSO SELECT note(NEW.who);
CREATE TABLE by_default (number int, who text DEFAULT set_config('app.tenant', 'by_default', false));
CREATE TABLE by_check (who text CHECK (is_noted(who)));
CREATE DOMAIN noted AS text CHECK (is_noted(value));
CREATE TABLE by_domain (who noted);
CREATE TABLE base (who text); INSERT INTO base VALUES ('by_view');
CREATE VIEW by_view AS SELECT note(who) AS who FROM base;
CREATE VIEW by_view_of_view AS SELECT who || '' AS who FROM by_view;
CREATE TABLE by_policy (who text); INSERT INTO by_policy VALUES ('by_policy');
ALTER TABLE by_policy ENABLE ROW LEVEL SECURITY; ALTER TABLE by_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON by_policy USING (is_noted(who));
CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents SELECT generate_series(1, 1000);
CREATE TABLE children (id int REFERENCES parents ON DELETE CASCADE, who text DEFAULT 'by_cascade');
INSERT INTO children SELECT generate_series(1, 1000);
CREATE TRIGGER t BEFORE DELETE ON children FOR EACH ROW EXECUTE FUNCTION note_old();
CREATE TABLE parted (who text) PARTITION BY LIST (who);
CREATE TABLE part PARTITION OF parted DEFAULT;
CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE FUNCTION same_who(a text, b text) RETURNS bool LANGUAGE sql AS $$ SELECT note(a) = b $$;
CREATE TABLE by_body (who text);
CREATE FUNCTION insert_other() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO by_trigger VALUES (NEW.who); RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT ON by_body FOR EACH ROW EXECUTE FUNCTION insert_other();
CREATE PROCEDURE by_procedure() LANGUAGE plpgsql AS $$ BEGIN PERFORM note('by_procedure'); END $$;
GRANT ALL ON SCHEMA hiding TO app; GRANT ALL ON ALL TABLES IN SCHEMA hiding TO app;
ALTER TABLE by_policy OWNER TO app;
"""

# What is sent, and what the session must hold afterwards.
WAYS = {
    "a trigger": ("INSERT INTO by_trigger VALUES ('one')", "one"),
    "a trigger, qualified and quoted": ('INSERT INTO hiding."by_trigger" VALUES (\'two\')', "two"),
    "a trigger by COPY": ("COPY by_trigger FROM STDIN", "three"),
    "a deferred trigger": ("INSERT INTO at_commit VALUES ('four')", "four"),
    "a rule": ("INSERT INTO by_rule VALUES ('five')", "five"),
    "a default": ("INSERT INTO by_default (number) VALUES (1)", "by_default"),
    "a check": ("INSERT INTO by_check VALUES ('six')", "six"),
    "a domain of a column": ("INSERT INTO by_domain VALUES ('seven')", "seven"),
    "a domain in a cast": ("SELECT 'eight'::noted", "eight"),
    "a view": ("SELECT * FROM by_view", "by_view"),
    "a view of a view": ("SELECT * FROM by_view_of_view", "by_view"),
    "a policy": ("SELECT * FROM by_policy", "by_policy"),
    "a cascade": ("DELETE FROM parents WHERE id = (SELECT min(id) FROM parents)", "by_cascade"),
    "a partition": ("INSERT INTO parted VALUES ('nine')", "nine"),
    "a function that calls one": ("SELECT outer_note('ten')", "ten"),
    "a trigger's own insert": ("INSERT INTO by_body VALUES ('eleven')", "eleven"),
    "a procedure": ("CALL by_procedure()", "by_procedure"),
    "a CTE": ("WITH x AS (INSERT INTO by_trigger VALUES ('twelve') RETURNING who) SELECT * FROM x", "twelve"),
    "EXPLAIN ANALYZE": ("EXPLAIN ANALYZE INSERT INTO by_trigger VALUES ('thirteen')", "thirteen"),
    "a cursor": ("BEGIN; DECLARE c CURSOR FOR SELECT * FROM by_view; FETCH c; COMMIT", "by_view"),
    "several statements": ("SELECT 1; INSERT INTO by_trigger VALUES ('fourteen'); SELECT 2", "fourteen"),
}

TENANT = "SELECT coalesce(current_setting('app.tenant', true), '')"


def pins(t, reason="unknown"):
    body = t.subject.http("/metrics")[1]
    return int(re.search(rf'^pgmend_pins_total{{reason="{reason}"}} (\d+)', body, re.M).group(1))


def send(client, way, statement):
    client.query("SET search_path = hiding")
    if way.endswith("COPY"):
        client.send(wire.query(statement) + wire.copy_data(b"three\n") + wire.COPY_DONE)
        return client.ready()
    return client.query(statement)


def meets_nothing(t, words, count=3):
    for _ in range(count):
        other = t.wire()
        same(other.value(TENANT), "", words)
        other.close()


@test("hidden: whatever a statement reaches, no other client meets it and its owner keeps it", pool=2, **OURS)
def every_way(t):
    t.admin(OBJECTS)
    for way, (statement, tenant) in WAYS.items():
        owner = t.wire()
        same(wire.sqlstates(send(owner, way, statement)), [], way)
        meets_nothing(t, way)
        same(owner.value(TENANT), tenant, way)
        owner.close()
        meets_nothing(t, f"after {way}", 2)


@test("hidden: a trigger made a moment ago counts for every client", pool=8,
      settings={"workers": 2}, **OURS)
def fresh_trigger(t):
    t.admin(OBJECTS)
    for turn in range(8):
        maker, owner = t.wire(), t.wire()
        maker.query("SET search_path = hiding")
        owner.query("SET search_path = hiding")
        maker.rows(f"CREATE TABLE fresh_{turn} (who text)")
        owner.ask(wire.parse("insert", f"INSERT INTO fresh_{turn} VALUES ('early')") + wire.SYNC)
        same(wire.sqlstates(owner.ask(wire.bind("", "insert") + wire.execute() + wire.SYNC)), [])
        maker.rows(f"CREATE TRIGGER t BEFORE INSERT ON fresh_{turn} FOR EACH ROW EXECUTE FUNCTION note_row()")
        if turn % 2 == 0:
            owner.rows(f"INSERT INTO fresh_{turn} VALUES ('turn {turn}')")
        else:
            # Prepared before there was a trigger.
            same(wire.sqlstates(owner.ask(wire.bind("", "insert") + wire.execute() + wire.SYNC)), [])
        meets_nothing(t, f"turn {turn}", 6)
        same(owner.value(TENANT), f"turn {turn}" if turn % 2 == 0 else "early")
        maker.close()
        owner.close()


@test("hidden: a trigger made and fired in one transaction is met by nobody else", pool=2, **OURS)
def made_and_fired(t):
    t.admin(OBJECTS)
    ways = {
        "in a block": ["BEGIN", "CREATE TABLE inner_0 (who text)",
                       "CREATE TRIGGER t BEFORE INSERT ON inner_0 FOR EACH ROW EXECUTE FUNCTION note_row()",
                       "INSERT INTO inner_0 VALUES ('made')", "COMMIT"],
        "in one query": ["CREATE TABLE inner_1 (who text); CREATE TRIGGER t BEFORE INSERT ON inner_1 FOR EACH ROW "
                         "EXECUTE FUNCTION note_row(); INSERT INTO inner_1 VALUES ('made')"],
        "by DO": ["DO $$ BEGIN CREATE TABLE inner_2 (who text); CREATE TRIGGER t BEFORE INSERT ON inner_2 "
                  "FOR EACH ROW EXECUTE FUNCTION note_row(); END $$", "INSERT INTO inner_2 VALUES ('made')"],
    }
    for way, statements in ways.items():
        owner = t.wire()
        owner.query("SET search_path = hiding")
        for statement in statements:
            same(wire.sqlstates(owner.query(statement)), [], way)
        meets_nothing(t, way)
        same(owner.value(TENANT), "made", way)
        owner.close()
    another = t.wire()
    another.query("SET search_path = hiding")
    another.rows("INSERT INTO inner_2 VALUES ('later')")
    meets_nothing(t, "a trigger that a DO block made")


@test("hidden: a trigger made behind pgmend's back counts after catalog.refresh at the latest", pool=2,
      settings={"catalog": {"refresh": "1s"}}, subjects=("pgmend",))
def made_elsewhere(t):
    t.admin(OBJECTS + "CREATE TABLE elsewhere (who text); GRANT ALL ON elsewhere TO app")
    client = t.wire()
    client.query("SET search_path = hiding")
    client.rows("INSERT INTO elsewhere VALUES ('harmless')")
    before = pins(t)
    t.admin("SET search_path = hiding; "
            "CREATE TRIGGER t BEFORE INSERT ON elsewhere FOR EACH ROW EXECUTE FUNCTION note_row()")

    def noticed():
        other = t.wire()
        other.query("SET search_path = hiding")
        other.rows("INSERT INTO elsewhere VALUES ('seen')")
        other.close()
        return pins(t) > before

    poll(noticed, "the new trigger is known", timeout=20, step=0.1)
    meets_nothing(t, "once it is known")


@test("hidden: triggers and functions that change nothing keep no client from sharing its server", pool=2,
      subjects=("pgmend",))
def harmless(t):
    t.admin(OBJECTS + """
        CREATE TABLE plain (id serial, who text, changed_at timestamptz, mine text);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          NEW.changed_at := now(); PERFORM set_config('app.here', 'x', true); SET LOCAL work_mem = '5MB'; RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT OR UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE FUNCTION add_plain(w text) RETURNS int LANGUAGE sql AS
          $$ INSERT INTO plain (who) VALUES (w) RETURNING id $$;
        CREATE FUNCTION count_plain() RETURNS bigint STABLE LANGUAGE sql AS $$ SELECT count(*) FROM plain $$;
        CREATE PROCEDURE clear_plain() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM plain; COMMIT; END $$;
        CREATE VIEW plain_view AS SELECT id, upper(who) AS who FROM plain;
        GRANT ALL ON ALL TABLES IN SCHEMA hiding TO app; GRANT ALL ON ALL SEQUENCES IN SCHEMA hiding TO app""")
    with t.neighbours(3):
        clients = [t.wire(parameters={"search_path": "hiding"}) for _ in range(10)]
        for client in clients:
            client.rows("INSERT INTO plain (who) VALUES ('a'); UPDATE plain SET who = 'b'")
            client.rows("SELECT add_plain('c'), count_plain()")
            client.rows("SELECT * FROM plain_view")
            same(wire.sqlstates(client.query("CALL clear_plain()")), [])
            same(wire.sqlstates(client.ask(wire.run("SELECT add_plain($1)", ["d"]) + wire.SYNC)), [])
        same(pins(t), 0, "clients pinned")
    check(t.subject.http("/metrics")[1].count('catalog_surveys_total{result="failed"} 0') == 1, "surveys succeed")


@test("hidden: an event trigger, an operator or a cast that changes the session is suspected of all it may serve",
      pool=2, **OURS)
def nameless(t):
    t.admin(OBJECTS + """
        CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = same_who);
        CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
          $$ BEGIN PERFORM hiding.note('ddl'); END $$;
        CREATE EVENT TRIGGER note_ddl ON ddl_command_start EXECUTE FUNCTION note_ddl()""")
    try:
        for statement, tenant in (("SELECT 'fifteen'::text === 'x'", "fifteen"),
                                  ("CREATE TABLE any_table (a int)", "ddl")):
            owner = t.wire()
            owner.query("SET search_path = hiding")
            same(wire.sqlstates(owner.query(statement)), [], statement)
            meets_nothing(t, statement)
            same(owner.value(TENANT), tenant)
            owner.close()
    finally:
        t.admin("DROP EVENT TRIGGER note_ddl; DROP SCHEMA hiding CASCADE")
