"""Other clients of the same servers: short transactions without end, until a line comes on standard input.

Each checks that it never meets anything that is not its own, and uses the names others use on purpose. Only clients with
equal startup parameters share servers, so every second neighbour logs in with those it is given."""

import json
import random
import sys
import threading
import time

import wire

stop = threading.Event()
complaints = []


def odd(number):
    """Kilobytes that are no whole number of megabytes, which PostgreSQL would show as such."""
    return 2 * number + 2001


def short(client, number, turn):
    """Transactions that leave nothing behind by the rules of PostgreSQL itself."""
    pick = turn % 5
    if pick == 0:
        wire_rows = client.rows(f"SELECT {number}")
        assert wire_rows == [[str(number)]], wire_rows
    elif pick == 1:
        answer = client.query(f"BEGIN; SET LOCAL work_mem = '{odd(number)}kB'; SHOW work_mem; COMMIT")
        assert wire.rows_of(answer) == [[f"{odd(number)}kB"]], answer
    elif pick == 2:
        client.query("BEGIN")
        client.query("SELECT no_such_column")
        assert wire.statuses(client.query("ROLLBACK")) == "I"
    elif pick == 3:
        answer = client.ask(wire.run("SELECT $1::int + 1", [str(number)]) + wire.SYNC)
        assert wire.rows_of(answer) == [[str(number + 1)]], answer
    else:
        name = ("s1", "stmt", "a")[turn % 3]
        answer = client.ask(
            wire.parse(name, f"SELECT 'of {number}', $1::text") + wire.bind("", name, ["x"]) + wire.execute()
            + wire.close("S", name) + wire.SYNC
        )
        assert wire.rows_of(answer) == [[f"of {number}", "x"]], answer


def lasting(client, number, turn):
    """What should be kept apart by whoever shares the servers: settings and prepared statements."""
    if turn == 0:
        client.query(f"SET search_path = s{number}; SET work_mem = '{odd(100 + number)}kB'; SET app.who = '{number}'")
        client.ask(wire.parse("s1", f"SELECT 'lasting {number}'") + wire.SYNC)
        return
    assert client.value("SHOW work_mem") == f"{odd(100 + number)}kB"
    assert client.value("SELECT current_setting('app.who', true)") == str(number)
    assert client.value("SHOW search_path") == f"s{number}"
    answer = client.ask(wire.bind("", "s1") + wire.execute() + wire.SYNC)
    assert wire.rows_of(answer) == [[f"lasting {number}"]], answer


def live(host, port, user, password, database, number, habit, parameters, think, logged_in):
    client = None
    try:
        client = wire.Wire(host, port, timeout=60).login(user, password, database, parameters)
        logged_in.release()
        turn = 0
        pause = random.Random(number)
        while not stop.is_set():
            habit(client, number, turn)
            turn += 1
            time.sleep(pause.random() * think)  # a thinking time, so that the servers change hands
        client.close()
    except Exception as error:
        complaints.append(f"neighbour {number}: {type(error).__name__} {error}")
        logged_in.release()


def main():
    host, port, user, password, database, count, habit, parameters = sys.argv[1:]
    plain, given = json.loads(parameters)
    think = 0.001 * max(4, int(count))  # a crowd asks no more often than four of them
    logged_in = threading.Semaphore(0)
    threads = [
        threading.Thread(target=live, args=(host, int(port), user, password, database, number, globals()[habit],
                                            given if number % 2 else plain, think, logged_in))
        for number in range(1, int(count) + 1)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        logged_in.acquire()
    print("running" if not complaints else complaints, flush=True)
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    print("\n".join(complaints))
    return 1 if complaints else 0


sys.exit(main())
