"""node's clients. They are installed once into build/integration/node, by the lock file in node/."""

import shutil
import subprocess

from harness import HERE, ROOT, check
from registry import register

TESTS = []
test = register(TESTS)
INSTALLED = ROOT / "build" / "integration" / "node"


def installed():
    """The folder with node_modules as the lock file says; `npm ci` runs when that has changed."""
    lock = (HERE / "node" / "package-lock.json").read_text()
    stamp = INSTALLED / "installed.json"
    if not stamp.exists() or stamp.read_text() != lock:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "node" / name, INSTALLED / name)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=INSTALLED,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 0, f"npm ci: {done.stdout}")
        stamp.write_text(lock)
    shutil.copy(HERE / "node" / "checks.js", INSTALLED / "checks.js")
    return INSTALLED


for library in ("pg", "pg-cursor", "postgres"):

    @test(f"node: {library} is content among neighbours", pool=4, workers=2, seconds=100)
    def node(t, library=library):
        folder = installed()
        # Half of them give the parameters that pg and postgres do: those share its servers.
        with t.neighbours(8, given={"client_encoding": "UTF8"}):
            t.program("node", folder / "checks.js", library, timeout=80)


@test("node: pg with a pool of 64 shares 8 servers", slow=True, seconds=120)
def crowd(t):
    folder = installed()
    with t.watched() as most:
        t.program("node", folder / "checks.js", "a pool of 64", timeout=80)
    check(t.direct or 1 < most["app@app"] <= 8, f"{most}")
