#!/usr/bin/python3
"""The dashboard in a headless Chromium, in front of real servers: a failover as a person sees it, hostile names, the
buttons and who has them, light and dark, a telephone, and pgmend gone.

Ends with "N passed, N failed". PGMEND_TEST_PICTURES=FOLDER keeps what the pages looked like.
"""

import base64
import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import types

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "deploy"))

import running  # noqa: E402
import wire  # noqa: E402
from chromium import Chromium  # noqa: E402
from clusters import Cluster, crash  # noqa: E402
from harness import PASSWORDS, Pgmend, check, free_port, poll, same  # noqa: E402
from running import ROOT, log_in  # noqa: E402

SOURCES = ROOT / "proxy/dashboard"
HOSTILE = '<img src=x onerror="document.title=\'taken\'">'


class Application(threading.Thread):
    """Works on one connection, and knows no retry."""

    def __init__(self, subject, name, statement):
        super().__init__(daemon=True)
        self.subject, self.name_shown, self.statement = subject, name, statement
        self.told_to_stop = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            with psycopg.connect(host=self.subject.host, port=self.subject.port, user="app", password=PASSWORDS["app"],
                                 dbname="app", application_name=self.name_shown, autocommit=True) as client:
                while not self.told_to_stop.wait(0.02):
                    client.execute(self.statement)
        except psycopg.Error as error:
            self.error = error

    def finish(self):
        self.told_to_stop.set()
        self.join(90)
        check(not self.is_alive(), f"{self.name_shown} did not come to its end")


def address(subject):
    return f"http://{subject.host}:{subject.http_port}/"


def keep(page, name):
    """A picture for whoever wants to look; that it can be made at all is a part of the test."""
    folder = pathlib.Path(os.environ.get("PGMEND_TEST_PICTURES", page.browser.folder))
    page.picture(folder / f"{name}.png")


def basic(user):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()}


def test_page_is_what_its_sources_make(here):
    """Byte for byte: what is compiled in was made from what can be read."""
    page = here.directory() / "page.html"
    done = subprocess.run([SOURCES / "build.sh", ROOT / "build/dashboard", page], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    same(done.returncode, 0, done.stdout)
    check(page.read_bytes() == (SOURCES / "page.html").read_bytes(),
          "proxy/dashboard/page.html is not what its sources make: cmake --build --preset release --target dashboard")
    lock = (SOURCES / "package-lock.json").read_text()
    check("resolved" not in lock, "the lock file names a host")
    return f"{page.stat().st_size // 1024} KiB"


def test_failover(here):
    folder = here.directory()
    with contextlib.ExitStack() as closing:
        cluster = Cluster(types.SimpleNamespace(directory=folder, closing=closing), standbys=1)
        old, new = cluster.servers
        subject = Pgmend(old, folder / "pgmend", here.binary, url=cluster.url(), settings={"hold": {"timeout": "5min"}})
        closing.enter_context(running.running(subject))
        page = closing.enter_context(Chromium(folder)).page()
        page.colours("light")
        page.open(address(subject))
        page.wait_text("h1", "All is well.")
        page.wait("document.querySelectorAll('.server').length === 2", "both servers")
        names = [f"{each.host}:{each.port}" for each in (old, new)]
        check("Primary" in page.text(".server.primary") and names[0] in page.text(".server.primary"), page.text(".servers"))
        applications = [Application(subject, name, "SELECT count(*) FROM pg_class") for name in ("orders", "reports")]
        page.wait_text(".clients", "orders")
        page.wait("[...document.querySelectorAll('.plot path')].filter(each => each.getAttribute('d').includes('L')).length >= 5",
                  "lines in the plots")
        check("ms" in page.text(".plots") or "µs" in page.text(".plots"), "latencies")
        keep(page, "1-well")

        crash(old)
        page.wait_text("h1", "There is no primary")
        page.wait_text(".verdict dl", f"{names[0]} is down")
        page.wait_text(".verdict dl", "promote a standby")
        page.wait("/\\d clients? waits? of/.test(document.querySelector('.verdict dl').innerText)", "who suffers")
        page.wait_text(".server.bad", names[0])
        page.wait_text(".ledger", "are held")
        page.wait_text(".clients", "waits for")
        keep(page, "2-no-primary")

        new.promote()
        page.wait_text("h1", f"{names[1]} has taken over")
        page.wait("document.querySelector('.server.primary strong')?.innerText === " + repr(names[1]), "the new primary")
        page.wait_text(".ledger", "went on, after")
        page.wait_text(".verdict dl", "Nobody waits")
        page.wait_text(".verdict dl", f"fenced {names[0]}")
        page.wait_text(".verdict dl", f"Bring it back as a standby of {names[1]}")
        page.wait_text(".ledger", f"{names[0]} is fenced")
        keep(page, "3-taken-over")
        for each in applications:
            each.finish()
            same(each.error, None, each.name_shown)

        # The story from its beginning; what has one moment may stand in any order.
        told = page.run("[...document.querySelectorAll('.ledger li')].reverse().map(each => each.dataset.kind + ' ' + each.dataset.outcome)")
        first = {each: told.index(each) for each in
                 ("primary lost", "server down", "hold begun", "hold ended", "hold released")}
        lost, elected = first["primary lost"], len(told) - 1 - told[::-1].index("primary elected")
        check(told[0] == "primary elected", f"it begins with the first primary: {told}")
        check(max(lost, first["server down"], first["hold begun"]) < min(elected, first["hold ended"]) <= first["hold released"],
              f"{told}")
        times = page.run("[...document.querySelectorAll('.ledger time')].map(each => each.dateTime)")
        same(times, sorted(times, reverse=True), "the latest stands first")
        check(names[0] in page.text(".ledger") and "it was promoted" in page.text(".ledger"), page.text(".ledger"))
        check(page.run("document.querySelectorAll('.plot .mark').length") >= 6, "marks in the plots")
        same(page.complaints, [])

        # A page that is opened now is told the same.
        late = page.browser.page()
        late.open(address(subject))
        late.wait_text(".ledger", "went on, after")
        same(late.texts(".ledger .told > strong"), page.texts(".ledger .told > strong"))

        # Nobody is there any more, and then a successor is.
        subject.stop()
        page.wait_text(".absence", "has not answered")
        keep(page, "4-no-answer")
        subject.start()
        page.wait("!document.querySelector('.absence')", "it is found again")
        page.wait_text(".masthead", "live")
        page.wait_text(".ledger footer", "as it happens")


def test_hostile_names_are_only_text(here):
    subject = here.pgmend()
    with running.running(subject), Chromium(here.directory()) as browser:
        page = browser.page()
        page.open(address(subject))
        application = Application(subject, HOSTILE, "SELECT 1")
        other = log_in(subject.port)
        other.query("BEGIN")
        pid = other.value(f"SELECT pg_backend_pid() /* {HOSTILE} */")
        with here.postgres.admin() as admin:
            admin.execute(f"SELECT pg_terminate_backend({pid})")
        with contextlib.suppress(wire.Closed):
            other.query(f'SELECT 1 AS "{HOSTILE}"')
        page.wait_text(".clients", HOSTILE)
        page.wait_text(".ledger", "A server was lost")
        page.run("""(() => { const choice = document.querySelector('.tables select');
            choice.value = 'clients'; choice.dispatchEvent(new Event('change', {bubbles: true})); })()""")
        page.wait_text(".tables table", HOSTILE)
        same(page.run("document.querySelectorAll('#page img, #page script, [onerror]').length"), 0)
        check("taken" not in page.run("document.title"), "nothing of it has run")
        # Even if something were let in, it would not run.
        page.run(f"document.querySelector('#page').insertAdjacentHTML('beforeend', {HOSTILE!r})")
        poll(lambda: page.run("1") and any("Content Security Policy" in each for each in page.complaints),
             "the policy speaks", 30)
        check("taken" not in page.run("document.title"), "the policy lets nothing run")
        application.finish()
        same(application.error, None)


def test_buttons(here):
    subject = here.pgmend({"admin": {"users": "app", "stats_users": "other"}})
    with running.running(subject), Chromium(here.directory()) as browser:
        page = browser.page()
        page.open(address(subject))
        page.wait_text(".controls", "Pause")
        client = log_in(subject.port)
        same(client.value("SELECT 1"), "1")
        page.click("Pause")
        page.wait_text(".question", "every database")
        page.click("Leave it")
        page.wait("!document.querySelector('.question')", "nothing is done unasked")
        page.click("Pause")
        page.wait_text(".question", "every database")
        page.run("document.querySelector('.question .sure').click()")
        page.wait_text("h1", "Everything is paused")
        waiting = Application(subject, "patient", "SELECT 2")
        page.wait_text(".clients", "waits for")
        page.click("Resume")
        page.wait_text("h1", "All is well")
        waiting.finish()
        same(waiting.error, None)
        # What ran is told by its shape, and whether it would have survived a failover.
        page.wait("document.querySelector('[aria-labelledby=statements]').innerText.includes('SELECT ?')", "the shape of what ran")
        page.wait("/app\\s+100.00 % of transactions/.test(document.querySelector('.coverage').innerText)", "its coverage")
        page.wait("document.querySelector('[aria-labelledby=limits]').innerText.includes('listen.max_clients')", "its limits")
        page.click("Ban")
        page.wait_text(".question", f"Ban {subject.postgres.host}:{subject.postgres.port}?")
        page.run("document.querySelector('.question .sure').click()")
        page.wait_text(".said", "is the only one that requests can go to")
        same(client.value("SELECT 1"), "1")
        page.click("Check servers")
        page.wait_text(".said", "Check servers: Done.")
        subject.settings["pool"]["size"] = 5
        subject.write_config()
        page.click("Reload")
        page.wait_text(".said", "Reload: Done.")
        subject.config.write_text("pool:\n  size: none\n")
        page.click("Reload")
        page.wait_text(".said", "RELOAD failed, nothing has changed")
        check("bad" in page.run("document.querySelector('.said').className"), "it looks like what it is")

        watcher = browser.page(headers=basic("other"))
        watcher.open(address(subject))
        watcher.wait_text(".controls", "other may look at everything")
        same(watcher.run("document.querySelectorAll('.controls button').length"), 0)
        same(watcher.run("fetch('/api/command/pause', {method: 'POST', headers: {'X-Pgmend-Command': 'yes'}}).then(each => each.status)"), 403)
        same(watcher.run("fetch('/api/overview').then(each => each.json()).then(each => each.process.paused)"), False)


def test_looks(here):
    subject = here.pgmend()
    with running.running(subject), Chromium(here.directory()) as browser:
        page = browser.page()
        page.colours("light")
        page.open(address(subject))
        page.wait_text("h1", "All is well")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.run(ground)
        page.colours("dark")
        page.wait(f"{ground} !== {light!r}", "it is dark where the system is")
        dark = page.run(ground)
        page.click("light")
        page.wait(f"{ground} === {light!r}", "unless somebody wants it light")
        page.colours("light")
        page.click("dark")
        page.wait(f"{ground} === {dark!r}", "or dark")
        page.open(address(subject))
        page.wait_text("h1", "All is well")
        page.wait(f"{ground} === {dark!r}", "which is remembered")
        page.click("auto")
        page.wait(f"{ground} === {light!r}", "or as the system says")
        application = Application(subject, "a rather long name of an application which goes on", "SELECT 1")
        page.wait_text(".clients", "a rather long name")
        for width in (390, 320, 768, 1280):
            page.size(width, 844, mobile=width < 500)
            page.wait(f"window.innerWidth === {width}", "the size")
            same(page.run("document.documentElement.scrollWidth"), width, f"nothing stands beside the page at {width}")
            keep(page, f"5-width-{width}")
        application.finish()
        small = page.run("[...document.querySelectorAll('button')].filter(each => each.getBoundingClientRect().height < 24).length")
        same(small, 0, "buttons can be hit")
        same(page.complaints, [])


def test_without_a_server_and_without_a_password(here):
    subject = here.pgmend(url=f"postgres://app:x@127.0.0.1:{free_port()}/app", only_live=True)
    with running.running(subject), Chromium(here.directory()) as browser:
        page = browser.page()
        page.open(address(subject))
        page.wait_text("h1", "There is no primary")
        page.wait_text(".verdict dl", "refused")
        check("No client is connected" in page.text() and "There is no pool" in page.text(), page.text())
        keep(page, "6-nobody")
        # A name that is not this machine's own: the door of pgmend asks for a password, and the page says so.
        page.call("Network.setExtraHTTPHeaders", headers={"Authorization": "Basic eDp5"})
        page.wait_text("h1", "The door is closed")
        keep(page, "7-door")


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
