"""A headless Chromium, driven over a pipe in its own DevTools protocol: no port, no driver, nothing to install but
itself."""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

from harness import Failure, check, clean_environment

PATIENCE = 60.0  # for one answer; a loaded machine takes its time
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--hide-scrollbars",
         "--force-color-profile=srgb", "--remote-debugging-pipe", "about:blank"]


class Chromium:
    def __init__(self, folder):
        program = shutil.which("chromium")
        check(program, "chromium is not installed: deploy/packages.sh test")
        self.folder = pathlib.Path(folder)
        self._numbers = itertools.count(1)
        self._unread = b""
        self._told = []  # events nobody has asked for
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        arguments = [program, f"--user-data-dir={self.folder / 'profile'}", *FLAGS]
        with open(self.folder / "chromium.log", "wb") as log:
            # It reads commands from descriptor 3 and answers on 4.
            self.process = subprocess.Popen(
                ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "chromium", *arguments],
                pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=clean_environment(HOME=str(self.folder)))
        os.close(commands)
        os.close(answers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._read)
        os.close(self._write)

    def message(self, until):
        while b"\0" not in self._unread:
            left = until - time.monotonic()
            ready = left > 0 and select.select([self._read], [], [], left)[0]
            if not ready:
                return None
            data = os.read(self._read, 1 << 20)
            check(data, "chromium has ended: " + (self.folder / "chromium.log").read_text(errors="replace")[-2000:])
            self._unread += data
        one, _, self._unread = self._unread.partition(b"\0")
        return json.loads(one)

    def call(self, method, session=None, **parameters):
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if session:
            order["sessionId"] = session
        os.write(self._write, json.dumps(order).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            message = self.message(until)
            if message is None:
                raise Failure(f"chromium does not answer {method}")
            if message.get("id") == number:
                if "error" in message:
                    raise Failure(f"{method}: {message['error']}")
                return message["result"]
            self._told.append(message)

    def told(self):
        """What it has said unasked since the last time, as far as it has been read."""
        told, self._told = self._told, []
        return told

    def page(self, width=1280, height=900, headers=None):
        return Page(self, width, height, headers)


class Page:
    """A tab, which remembers every complaint of its scripts, of its policy and of the network."""

    def __init__(self, browser, width, height, headers):
        self.browser = browser
        self.complaints = []
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        if headers:
            self.call("Network.setExtraHTTPHeaders", headers=headers)
        self.size(width, height)

    def call(self, method, **parameters):
        result = self.browser.call(method, self.session, **parameters)
        for event in self.browser.told():
            if event.get("sessionId") == self.session:
                self._hear(event["method"], event["params"])
        return result

    def _hear(self, method, what):
        if method == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog: {what['message']}")
            self.browser.call("Page.handleJavaScriptDialog", self.session, accept=True)
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.complaints.append(f"{what['entry']['source']}: {what['entry']['text']} {what['entry'].get('url', '')}")

    def size(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def colours(self, scheme):
        """What the system prefers: light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of an expression in the page; a promise is awaited."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise Failure(f"{script}: {done['exceptionDetails'].get('exception', {}).get('description')}")
        return done["result"].get("value")

    def text(self, selector="#page"):
        """What a person reads there; empty when it is not there."""
        return self.run(f"(document.querySelector({json.dumps(selector)}) ?? {{innerText: ''}}).innerText")

    def texts(self, selector):
        return self.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(each => each.innerText)")

    def click(self, words):
        """The button with these words."""
        script = f"""(() => {{
            const found = [...document.querySelectorAll('button')].find(each => each.innerText === {json.dumps(words)});
            if (found) found.click();
            return Boolean(found);
        }})()"""
        check(self.run(script), f"no button says {words!r}")

    def wait(self, condition, words, timeout=60.0):
        """Until the expression is true. On failure it says what the page shows."""
        until = time.monotonic() + timeout
        while not (last := self.run(condition)):
            if time.monotonic() > until:
                raise Failure(f"not within {timeout} s: {words} ({condition} is {last!r})\n{self.complaints}\n{self.text()}")
            time.sleep(0.05)
        return last

    def wait_text(self, selector, words, timeout=60.0):
        return self.wait(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(words)})",
                         f"{selector} says {words!r}", timeout)

    def picture(self, path, whole=True):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        more = {"clip": clip, "captureBeyondViewport": True} if whole else {}
        data = self.call("Page.captureScreenshot", format="png", **more)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))
