"""What clients may have and ask for: each limit with its texts, and that nobody else notices it.

Rates are by the hour wherever a test counts: on a machine that stands still for a while no token comes in between."""

import threading

import wire
from console import console, error, one, table
from harness import check, merged, poll, same
from registry import register
from reloading import write

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
RETRY_CONNECT = "Retry when one of them has left, or ask for a higher limit."


def turned_away(t, **how):
    """The fields of the error that a login ends with; None when there is none."""
    try:
        t.wire(**how).close()
    except wire.Refused as refusal:
        return refusal.fields
    return None


def comes_in(t, **how):
    """A client whose place has become free a moment ago, or is about to."""
    found = []

    def tried():
        try:
            found.append(t.wire(**how))
        except wire.Refused as refusal:
            same(refusal.fields["C"], "53300")
        return found

    poll(tried, "a place becomes free", timeout=30)
    return found[0]


def count(subject, name, label=""):
    """A metric's value."""
    line = [line for line in subject.http("/metrics")[1].splitlines() if line.startswith(name + label + " ")]
    return float(line[0].split()[-1]) if line else 0.0


def run(sql):
    return wire.run(sql) + wire.SYNC


def values(messages):
    """The rows of answers that may have errors among them."""
    return [[value.decode() for value in wire.data_row(body)] for kind, body in messages if kind == "D"]


def over(answer, subject="role \"app\"", setting="limits.user_requests", rate="3 requests per hour, 3 at once",
         retry=range(1, 1201), of="of"):
    """The one refusal in an answer, with all its texts."""
    fields = error(answer)
    same((fields["S"], fields["C"]), ("ERROR", "53400"))
    same(fields["M"], f"too many requests {of} {subject}")
    same(fields["D"], f"The limit is {rate} ({setting}), 0 remain.")
    words = fields["H"].split()
    same((words[:2], words[3:]), (["Retry", "after"], ["s."]))
    check(int(words[2]) in retry, fields["H"])


@test("limits: one connection too many of a user is refused at login with 53300, and its place is free when one leaves",
      settings={"limits": {"user_clients": 2}}, subjects=PGMEND)
def of_a_user(t):
    clients = [t.wire() for _ in range(2)]
    fields = turned_away(t)
    same([fields[key] for key in "SCMDH"],
         ["FATAL", "53300", "too many connections for role \"app\"",
          "The limit is 2 (limits.user_clients), 2 are connected, 0 remain.", RETRY_CONNECT])
    same(turned_away(t, user="other", database="other"), None, "somebody else")
    for client in clients:
        same(client.value("SELECT 1"), "1", "who is in stays in")
    row = one(console(t), "SHOW LIMITS", name="clients", scope="role \"app\"")
    same([row[key] for key in ("current", "most", "refused", "setting")], ["2", "2", "1", "limits.user_clients"])
    same(one(console(t), "SHOW USERS", name="app")["max_user_client_connections"], "2")
    same(one(console(t), "SHOW DATABASES", name="app")["max_client_connections"], "0")
    same(count(t.subject, "pgmend_limited_clients_total", "{per=\"user\"}"), 1.0)
    same(count(t.subject, "pgmend_clients_refused_total", "{reason=\"limit\"}"), 1.0)
    clients[0].close()
    comes_in(t).close()
    clients[1].close()


@test("limits: connections of a database, an address and an application have limits of their own", subjects=PGMEND)
def of_others(t):
    def subject(name, value):
        return t.own(name, settings={"limits": {f"{name}_clients": value}})

    place = subject("database", 1)
    first = t.wire(on=place)
    fields = turned_away(t, on=place, user="crowd")
    same((fields["C"], fields["M"]), ("53300", "too many connections for database \"app\""))
    same(fields["D"], "The limit is 1 (limits.database_clients), 1 are connected, 0 remain.")
    same(turned_away(t, on=place, user="other", database="other"), None)
    first.close()
    place = subject("address", 1)
    first = t.wire(on=place)
    fields = turned_away(t, on=place, user="other", database="other")
    same((fields["C"], fields["M"]), ("53300", "too many connections from address \"127.0.0.1\""))
    same(fields["D"], "The limit is 1 (limits.address_clients), 1 are connected, 0 remain.")
    first.close()
    place = subject("application", 1)
    first = t.wire(on=place, parameters={"application_name": "report"})
    fields = turned_away(t, on=place, parameters={"application_name": "report"})
    same((fields["C"], fields["M"]), ("53300", "too many connections for application \"report\""))
    same(fields["D"], "The limit is 1 (limits.application_clients), 1 are connected, 0 remain.")
    same(turned_away(t, on=place, parameters={"application_name": "web"}), None)
    first.close()


RULES = [{"user": "crowd", "clients": 0, "requests": "none"},
         {"user": "app", "database": "app", "per": "together", "clients": 2},
         {"address": "127.0.0.0/8", "application_name": "report", "per": "application_name", "requests": "3/h burst 2"}]


NOTHING = [{"user": "nobody", "requests": "none"}]


@test("limits: the first rule that fits and speaks of a limit decides, and takes effect for who is in when it is loaded",
      subjects=PGMEND)
def rules(t):
    place = t.own("rules", settings={"limits": {"rules": RULES, "user_clients": 1, "user_requests": "3/h burst 3"}})
    admin = console(t, on=place)
    crowd = [t.wire(on=place, user="crowd") for _ in range(3)]
    for client in crowd:
        for _ in range(4):
            same(client.value("SELECT 1"), "1", "no limit, by rule")
    first = t.wire(on=place)
    fields = turned_away(t, on=place)
    same(fields["M"], "too many connections for role \"app\"", "the rule leaves the user's own limit to the default")
    write(place, {"limits": {"user_clients": 5}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    second = t.wire(on=place, parameters={"application_name": "report"})
    fields = turned_away(t, on=place)
    same(fields["M"], "too many connections for limits.rules[1]")
    same(fields["D"], "The limit is 2 (limits.rules[1]), 2 are connected, 0 remain.")
    # Both rules count what the second one asks for: the tighter one says no.
    for _ in range(2):
        same(second.value("SELECT 1"), "1")
    over(second.query("SELECT 1"), "application \"report\"", "limits.rules[2]", "3 requests per hour, 2 at once")
    same(first.value("SELECT 1"), "1", "what was refused has cost the user nothing")
    over(first.query("SELECT 1"), rate="3 requests per hour, 3 at once")
    write(place, {"limits": {"rules": NOTHING, "user_clients": 0, "user_requests": "none"}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    for client in (first, second):
        same(client.value("SELECT 2"), "2", "the limit is gone for who is in")
    same(turned_away(t, on=place), None)
    write(place, {"limits": {"rules": [{"user": "app", "requests": "strict burst 1"}]}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    same(first.value("SELECT 3"), "3")
    over(second.query("SELECT 3"), setting="limits.rules[0]", rate="10 requests per minute, 1 at once", retry=range(1, 7))
    for client in crowd + [first, second]:
        client.close()


@test("limits: one request too many is refused with 53400, in either protocol, and the connection stays",
      settings={"limits": {"user_requests": "3/h burst 3"}}, subjects=PGMEND)
def too_many(t):
    client, same_user = t.wire(), t.wire()
    same(client.value("SELECT 1"), "1")
    same(wire.rows_of(same_user.ask(run("SELECT 2"))), [["2"]])
    same(client.value("SELECT 3"), "3")
    answer = client.query("SELECT 4")
    over(answer)
    same((wire.kinds(answer), wire.statuses(answer)), ("EZ", "I"))
    answer = same_user.ask(run("SELECT 5"))
    over(answer)
    same((wire.kinds(answer), wire.statuses(answer)), ("EZ", "I"), "skipped to the Sync")
    # Answers come when they are asked for, and nothing behind the error until the Sync.
    same_user.send(wire.parse("", "SELECT 6") + wire.message("H"))
    over(same_user.until("E"))
    answer = same_user.ask(wire.bind("", "") + wire.execute() + wire.query("SELECT 7") + wire.SYNC)
    same(wire.kinds(answer), "Z")
    # A lone Sync asks for nothing; what is refused may be long, and come in pieces.
    same(wire.kinds(client.ask(wire.SYNC)), "Z")
    long = wire.query("SELECT '" + "x" * 3_000_000 + "'")
    client.send(long[:100_000])
    over(client.until("Z"))
    client.send(long[100_000:])
    same(wire.kinds(client.ask(wire.SYNC)), "Z")
    other = t.wire(user="other", database="other")
    for _ in range(3):
        same(other.value("SELECT 1"), "1", "somebody else has tokens of its own")
    row = one(console(t), "SHOW LIMITS", name="requests", scope="role \"app\"")
    same([row[key] for key in ("current", "most", "refused", "setting")], ["3", "3", "4", "limits.user_requests"])
    same(count(t.subject, "pgmend_limited_requests_total", "{per=\"user\"}"), 4.0)
    check("requests_limited" in t.subject.log.read_text(), "it is logged")
    write(t.subject, {"limits": {"user_requests": "none"}})
    same(wire.tags(console(t).query("RELOAD")), ["RELOAD"])
    for each in (client, same_user):
        same(each.value("SELECT 8"), "8")
        each.close()


@test("limits: in a pipeline what is over the limit is refused in its place, and the answers before it come first",
      settings={"limits": {"user_requests": "3/h burst 3"}}, subjects=PGMEND)
def pipeline(t):
    admin = console(t)
    for turn, requests in enumerate([[wire.query(f"SELECT {n}") for n in range(6)],
                                     [run(f"SELECT {n}") for n in range(6)],
                                     [run("SELECT 0"), wire.query("SELECT 1"), run("SELECT 2"), wire.query("SELECT 3"),
                                      run("SELECT 4"), run("SELECT 5")]]):
        client = t.wire()
        answer = client.ask(b"".join(requests), 6)
        same(values(answer), [["0"], ["1"], ["2"]], f"turn {turn}")
        same((wire.sqlstates(answer), wire.statuses(answer)), (["53400"] * 3, "IIIIII"))
        same(wire.kinds(answer).replace("1", "").replace("2", "").replace("n", "")[-6:], "EZEZEZ")
        client.close()
        # Other tokens for the next turn.
        write(t.subject, {"limits": {"user_requests": f"3/h burst {4 + turn}"}})
        same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
        if turn < 2:
            spend = t.wire()
            for _ in range(1 + turn):
                same(spend.value("SELECT 1"), "1")
            spend.close()


@test("limits: a transaction block counts once, and nothing inside it is refused", subjects=PGMEND)
def blocks(t):
    for mode in ("transaction", "session"):
        place = t.own(mode, settings={"pool": {"mode": mode}, "limits": {"user_requests": "3/h burst 3"}})
        client = t.wire(on=place)
        client.query("BEGIN")
        for _ in range(5):
            same(client.value("SELECT 1"), "1")
        same(wire.sqlstates(client.query("SELECT 1/0")), ["22012"])
        same(wire.sqlstates(client.query("SELECT 1")), ["25P02"])
        same(wire.tags(client.query("ROLLBACK")), ["ROLLBACK"])
        answer = client.ask(wire.query("BEGIN") + run("SELECT 1") * 3 + wire.query("COMMIT"), 5)
        same((wire.sqlstates(answer), wire.statuses(answer)), ([], "TTTTI"))
        same(client.value("SELECT 1"), "1")
        over(client.query("BEGIN"))
        same(wire.statuses(client.query("BEGIN")), "I")
        client.close()


@test("limits: what stands behind a BEGIN that is refused does not run outside the block", subjects=PGMEND)
def refused_begin(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS refused_begin; CREATE TABLE refused_begin (a int)")
    for mode in ("transaction", "session"):
        for begin in (wire.query("BEGIN"), run("BEGIN")):
            place = t.own(f"{mode}-{begin[:1].decode()}",
                          settings={"pool": {"mode": mode}, "limits": {"user_requests": "1/h burst 1"}})
            client = t.wire(on=place)
            same(client.value("SELECT 1"), "1")
            insert = "INSERT INTO refused_begin VALUES (1)"
            answer = client.ask(begin + wire.query(insert) + run(insert) + wire.query("COMMIT"), 4)
            same((wire.sqlstates(answer), wire.tags(answer)), (["53400", "25P02", "25P02"], ["ROLLBACK"]), mode)
            same(wire.statuses(answer), "EEEI")
            over(client.query("SELECT 1"), rate="1 requests per hour, 1 at once", retry=range(1, 3601))
            client.close()
    same(t.admin("SELECT count(*) FROM refused_begin")[0][0], 0)
    t.admin("SET ROLE app; DROP TABLE refused_begin")


@test("limits: tokens come back with time", subjects=PGMEND,
      settings={"limits": {"rules": [{"application_name": "metered", "requests": "20/s burst 2"}]}})
def refill(t):
    client = t.wire(parameters={"application_name": "metered"})
    answers = [client.query("SELECT 1") for _ in range(2)]
    for turn in range(3):
        poll(lambda: wire.sqlstates(client.query("SELECT 1")) == ["53400"], "the bucket is empty", timeout=30, step=0)
        poll(lambda: wire.tags(client.query("SELECT 1")) == ["SELECT 1"], f"a token comes, turn {turn}")
    same(wire.sqlstates(answers[0]), [])


@test("limits: a limit is one number, however many workers there are", subjects=PGMEND)
def workers(t):
    place = t.own("workers", settings={"workers": 3, "limits": {"user_clients": 7, "user_requests": "5/h burst 5"}})
    clients = [t.wire(on=place) for _ in range(7)]
    same(turned_away(t, on=place)["D"], "The limit is 7 (limits.user_clients), 7 are connected, 0 remain.")
    answers = [wire.sqlstates(client.query("SELECT 1")) for client in clients]
    same(answers, [[]] * 5 + [["53400"]] * 2)
    admin = console(t, on=place)
    same(one(admin, "SHOW LIMITS", name="clients", scope="role \"app\"")["current"], "7")
    write(place, {"limits": {"user_clients": 6}})
    same(wire.tags(admin.query("RELOAD")), ["RELOAD"])
    poll(lambda: [row["current"] for row in table(admin, "SHOW LIMITS") if row["setting"] == "limits.user_clients"] == ["7"],
         "who is in stays in, and counts")
    for client in clients[:2]:
        client.close()
    comes_in(t, on=place)


@test("limits: a request that is sent again, or planned anew, has counted once", subjects=PGMEND)
def once(t):
    t.admin("SET ROLE app; DROP TABLE IF EXISTS limited_plan; CREATE TABLE limited_plan (a int)")
    place = t.own("once", pool_size=1, settings={"limits": {"user_requests": "9/h burst 9"}})
    admin, client = console(t, on=place), t.wire(on=place)

    def used():
        return int(one(admin, "SHOW LIMITS", name="requests")["current"])

    same(wire.sqlstates(client.ask(wire.parse("s", "SELECT * FROM limited_plan") + wire.bind("", "s") + wire.describe("P", "")
                                   + wire.execute() + wire.SYNC)), [])
    same(used(), 1)
    t.admin("SET ROLE app; ALTER TABLE limited_plan ADD COLUMN b int")
    same(wire.sqlstates(client.ask(wire.bind("", "s") + wire.describe("P", "") + wire.execute() + wire.SYNC)), [])
    same(used(), 2)
    # Its server goes while it works: sent again, in a pipeline with others behind it.
    client.send(wire.query("SELECT 1 FROM pg_sleep(0.5)") + wire.query("SELECT 2"))
    poll(lambda: t.servers("query LIKE 'SELECT 1 FROM pg_sleep%' AND state = 'active'"), "it runs")
    t.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT 1 FROM pg_sleep%'")
    same(wire.rows_of(client.ready(2)), [["1"], ["2"]])
    same(used(), 4)
    client.close()
    t.admin("SET ROLE app; DROP TABLE limited_plan")


@test("limits: only so many clients of a pool wait for a server; one more is told so at once, and stays", pool=1,
      settings={"limits": {"waiting_clients": 2}}, subjects=PGMEND)
def waiting(t):
    clients = [t.wire() for _ in range(4)]
    admin = console(t)
    clients[0].query("BEGIN")
    for number in (1, 2):
        clients[number].send(wire.query(f"SELECT {number}"))
        poll(lambda: one(admin, "SHOW POOLS", user="app")["cl_waiting"] == str(number), "it waits")
    fields = error(clients[3].query("SELECT 3"))
    same([fields[key] for key in "SCM"], ["ERROR", "53300", "too many clients wait for a server connection"])
    same(fields["D"], "The limit is 2 (limits.waiting_clients), 2 more clients wait.")
    same(one(admin, "SHOW LIMITS", name="waiting")["current"], "2")
    same(count(t.subject, "pgmend_clients_refused_total", "{reason=\"waiters\"}"), 1.0)
    clients[0].query("COMMIT")
    for number in (1, 2):
        same(wire.rows_of(clients[number].ready()), [[str(number)]])
    same(clients[3].value("SELECT 4"), "4")
    for client in clients:
        client.close()


@test("limits: whoever is over a limit takes nothing from the others: not a server, not an answer", pool=1, seconds=180,
      settings={"limits": {"rules": [{"application_name": "greedy", "requests": "5/h burst 5"}]}}, subjects=PGMEND)
def undisturbed(t):
    stop, counts, errors = threading.Event(), [], []

    def greedy():
        try:
            client = t.wire(parameters={"application_name": "greedy"})
            mine = [0, 0]
            while not stop.is_set():
                states = wire.sqlstates(client.ask(wire.query("SELECT 'greedy'") * 20, 20))
                check(set(states) <= {"53400"}, states)
                mine[0] += 20 - len(states)
                mine[1] += len(states)
            counts.append(mine)
            client.close()
        except Exception as problem:
            errors.append(problem)

    threads = [threading.Thread(target=greedy) for _ in range(6)]
    before = count(t.subject, "pgmend_queries_total")
    for thread in threads:
        thread.start()
    client = t.wire(parameters={"application_name": "modest"})
    done = 50 if t.quick else 300
    for number in range(done):
        same(client.value(f"SELECT {number}"), str(number))
    poll(lambda: count(t.subject, "pgmend_limited_requests_total", "{per=\"application_name\"}") > 500, "many were refused", 60)
    stop.set()
    for thread in threads:
        thread.join(60)
    same(errors, [])
    same(sum(each[0] for each in counts), 5, "what the greedy ones got")
    check(sum(each[1] for each in counts) > 500, counts)
    # No refused request has reached a server.
    same(count(t.subject, "pgmend_queries_total") - before, float(done + 5))
    lines = t.subject.log.read_text().count("requests_limited")
    check(lines == 1, f"{lines} lines in the log")
    client.close()


@test("limits: one prepared statement too many is refused with 54000, and there is room when one is closed", subjects=PGMEND,
      settings={"limits": {"client_prepared_statements": 2}})
def statements(t):
    client, other = t.wire(), t.wire()
    for number in (1, 2):
        same(wire.sqlstates(client.ask(wire.parse(f"s{number}", f"SELECT {number}") + wire.SYNC)), [])
    answer = client.ask(wire.parse("s3", "SELECT 3") + wire.SYNC)
    fields = error(answer)
    same([fields[key] for key in "SCMDH"],
         ["ERROR", "54000", "too many prepared statements",
          "One client has as many as it may have (limits.client_prepared_statements), 0 remain.",
          "Retry when one of them is closed, or ask for a higher limit."])
    same(wire.statuses(answer), "I")
    same(wire.rows_of(client.ask(run("SELECT 4"))), [["4"]], "one without a name is none of them")
    same(wire.sqlstates(other.ask(wire.parse("s3", "SELECT 3") + wire.SYNC)), [], "each client for itself")
    for request in (wire.close("S", "s1"), wire.parse("s3", "SELECT 3")):
        same(wire.sqlstates(client.ask(request + wire.SYNC)), [])
    same(wire.rows_of(client.ask(wire.bind("", "s3") + wire.execute() + wire.SYNC)), [["3"]])
    for each in (client, other):
        each.close()


@test("limits: SHOW LIMITS and /api/limits tell the same", settings={"limits": {"user_clients": 9, "user_requests": "9/h"}},
      subjects=PGMEND)
def shown(t):
    client = t.wire()
    client.query("SELECT 1")
    rows = [row for row in table(console(t), "SHOW LIMITS") if row["scope"] == "role \"app\""]
    same([(row["name"], row["current"], row["most"]) for row in rows], [("clients", "1", "9"), ("requests", "1", "9")])
    status, body = t.subject.http("/api/limits")
    same(status, 200)
    check("role \\\"app\\\"" in body and "limits.user_requests" in body, body)
    client.close()
