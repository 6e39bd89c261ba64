"""Alerts: somebody is told once of what is the matter, and of its end, over HTTP, whoever answers there and how."""

import http.server
import json
import queue
import threading
import time

import wire
from console import console, table
from harness import check, poll, same
from limits import count
from registry import register
from reloading import write

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
KEYS = ["advice", "at_ms", "id", "instance", "lasted_ms", "level", "name", "reason", "source", "status"]


class Receiver:
    """Takes what is posted; `answers` are the status codes of the next ones, 204 behind them. None: no answer at all."""

    def __init__(self, t, answers=()):
        self.messages, self.answers, self.attempts = queue.Queue(), list(answers), 0
        self.over = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.attempts += 1
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status is None:
                    receiver.over.wait(60)
                    return
                self.send_response(status)
                self.end_headers()
                if status < 300:
                    receiver.messages.put((self.path, self.headers, json.loads(body)))

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        t.closing.callback(self.close)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?to=us"

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def next(self, name):
        """The next message about it; others may come between."""
        while True:
            path, headers, body = self.messages.get(timeout=60)
            if body["name"] == name:
                return path, headers, body

    def nothing_of(self, name):
        seen = []
        while not self.messages.empty():
            seen.append(self.messages.get()[2])
        same([each for each in seen if each["name"] == name], [])


def quick(receiver, **more):
    return {"alerts": {"webhook": receiver.url, "interval": "100ms", "delay": "300ms", **more}}


def say(t, place, command):
    admin = console(t, on=place)
    answer = admin.query(command)
    admin.close()
    return answer


def paused(t, place):
    same(wire.tags(say(t, place, "PAUSE app")), ["PAUSE"])


def resumed(t, place):
    same(wire.tags(say(t, place, "RESUME app")), ["RESUME"])


@test("alerts: what is the matter is posted once, and again when it is over; the ledger and the metrics have it too",
      subjects=PGMEND)
def once(t):
    receiver = Receiver(t)
    place = t.own("once", settings=quick(receiver))
    t.wire(on=place).value("SELECT 1")
    paused(t, place)
    path, headers, told = receiver.next("pools")
    same(path, "/hook?to=us")
    same((headers["Content-Type"], headers["User-Agent"]), ("application/json", "pgmend"))
    same(sorted(told), KEYS)
    same([told[key] for key in ("source", "status", "level", "reason", "advice")],
         ["pgmend", "firing", "warning", "a pool is paused", "RESUME on the console ends it."])
    check(abs(told["at_ms"] / 1000 - time.time()) < 60 and told["lasted_ms"] >= 300, told)
    poll(lambda: count(place, "pgmend_alerts_firing") == 1.0, "it fires")
    time.sleep(1)
    receiver.nothing_of("pools")
    resumed(t, place)
    _, _, over = receiver.next("pools")
    same([over[key] for key in ("status", "id", "name")], ["over", told["id"], "pools"])
    check(over["lasted_ms"] > told["lasted_ms"], over)
    poll(lambda: count(place, "pgmend_alerts_firing") == 0.0, "it is over")
    check(count(place, "pgmend_alert_notices_total", "{result=\"delivered\"}") >= 2, "counted")
    acts = [row for row in table(console(t, on=place), "SHOW HEALINGS") if row["kind"] == "alert" and "pools" in row["cause"]]
    same([(row["outcome"], row["reason"]) for row in acts], [("firing", "warning"), ("over", "warning")])
    check("alert" in place.log.read_text(), "it is logged")


@test("alerts: an attempt that fails is made again, a bounded number of times, and what waits comes in its order",
      subjects=PGMEND)
def again(t):
    receiver = Receiver(t, [500, 302, None])
    place = t.own("again", settings=quick(receiver, attempts=4, timeout="500ms"))
    t.wire(on=place).value("SELECT 1")
    paused(t, place)
    poll(lambda: receiver.attempts >= 1, "the first attempt", timeout=30)
    resumed(t, place)
    same([receiver.next("pools")[2]["status"] for _ in range(2)], ["firing", "over"])
    same(receiver.attempts, 5, "three failed, two were taken")
    poll(lambda: count(place, "pgmend_alert_notices_total", "{result=\"delivered\"}") == 2.0, "delivered")
    same(count(place, "pgmend_alert_notices_total", "{result=\"failed\"}"), 3.0)
    receiver.answers = [503, 503]
    write(place, quick(receiver, attempts=2))
    same(wire.tags(say(t, place, "RELOAD")), ["RELOAD"])
    paused(t, place)
    poll(lambda: count(place, "pgmend_alert_notices_total", "{result=\"given_up\"}") == 1.0, "it is given up", timeout=30)
    resumed(t, place)
    same(receiver.next("pools")[2]["status"], "over")
    check("alert_undelivered" in place.log.read_text(), "and logged")


@test("alerts: clients notice nothing of a receiver that is not there, or never answers", subjects=PGMEND)
def nobody_waits(t):
    receiver = Receiver(t, [None] * 1000)
    place = t.own("nobody", settings=quick(receiver, delay="0ms", timeout="60s"))
    client = t.wire(on=place)
    for _ in range(5):
        client.value("SELECT 1")
        paused(t, place)
        poll(lambda: count(place, "pgmend_alerts_firing") == 1.0, "it fires", timeout=30)
        resumed(t, place)
        same(client.value("SELECT 2"), "2")
        poll(lambda: count(place, "pgmend_alerts_firing") == 0.0, "it is over", timeout=30)
    same(receiver.attempts, 1, "one at a time")
    write(place, {"alerts": {"webhook": "http://127.0.0.1:1/", "interval": "100ms", "delay": "0ms"}})
    same(wire.tags(say(t, place, "RELOAD")), ["RELOAD"])
    paused(t, place)
    poll(lambda: count(place, "pgmend_alerts_firing") == 1.0, "it fires", timeout=30)
    resumed(t, place)
    same(client.value("SELECT 3"), "3")
    answer = say(t, place, "SET alerts.webhook = 'https://alerts'")
    check(wire.sqlstates(answer), "an address of another kind is refused")


@test("alerts: thresholds of the policy: who waits, a pool that is used up, requests that fail", subjects=PGMEND)
def thresholds(t):
    receiver = Receiver(t)
    place = t.own("thresholds", pool_size=1,
                  settings=quick(receiver, delay="0ms", wait="500ms", pool_percent=100, error_percent=50))
    first, second = t.wire(on=place), t.wire(on=place)
    first.query("BEGIN")
    told = receiver.next("pool:app@app")[2]
    same((told["status"], told["reason"]),
         ("firing", "1 of 1 server connections are in use, 100 % or more (alerts.pool_percent)"))
    second.send(wire.query("SELECT 1"))
    told = receiver.next("wait:app@app")[2]
    same((told["status"], told["reason"]),
         ("firing", "a client waits for a server connection for longer than 500ms (alerts.wait)"))
    first.query("COMMIT")
    same(wire.rows_of(second.ready()), [["1"]])
    deadline = time.monotonic() + 60
    while receiver.messages.empty() or not any(each[2]["name"] == "errors" for each in list(receiver.messages.queue)):
        check(time.monotonic() < deadline, "nobody is told of errors")
        second.ask(wire.query("SELECT 1/0") * 100, 100)
    told = receiver.next("errors")[2]
    same((told["status"], told["level"]), ("firing", "warning"))
    check(told["reason"].endswith("requests have failed, 50 % or more (alerts.error_percent)"), told)
    same(receiver.next("errors")[2]["status"], "over")


@test("alerts: what is critical is told where the policy wants nothing less, and nothing less is", subjects=PGMEND)
def levels(t):
    receiver = Receiver(t)
    place = t.own("levels", settings={**quick(receiver, level="critical")})
    t.wire(on=place).value("SELECT 1")
    paused(t, place)
    time.sleep(1)
    receiver.nothing_of("pools")
    resumed(t, place)
    admin = console(t, on=place)
    server = f"{t.postgres.host}:{t.postgres.port}"
    same(wire.sqlstates(admin.query(f"BAN {server} FORCE")), [])
    told = receiver.next("topology")[2]
    same([told[key] for key in ("status", "level", "reason")],
         ["firing", "critical", "the primary is banned: requests wait for another one"])
    same(wire.sqlstates(admin.query(f"UNBAN {server}")), [])
    same(receiver.next("topology")[2]["status"], "over")
