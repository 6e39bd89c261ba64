#!/usr/bin/python3
"""The container image: built from deploy/Dockerfile by deploy/README.md's own command as an ordinary user, run by podman, asked a
query. The stage that compiles is stood in for by an image that has the program already; clean_tree_test.py has that compile too.
Then what the image consists of, entered without any container tool, and the Dockerfile's own words."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

import debian_root
import rootless
import running
from running import ROOT, harness, log_in
from harness import check, poll, same

DOCKERFILE = ROOT / "deploy/Dockerfile"

NOT_HERE = ("a registry: the base is made by mmdebstrap from Debian's packages",
            "systemd for podman's timer of health checks: the check is run by hand")


def root_of_image(here):
    """What the stage `collected` makes, with the program where the Dockerfile has it."""
    if not hasattr(here, "image_root"):
        folder = here.directory()
        program = folder / "pgmend"
        running.said(["strip", "-o", program, here.binary])
        here.image_root = folder / "image"
        running.said([ROOT / "deploy/image-root.sh", program, here.image_root])
        (here.image_root / str(program).lstrip("/")).rename(here.image_root / "usr/bin/pgmend")
    return here.image_root


def instructions():
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")))
    return [tuple(line.split(" ", 1)) for line in text.splitlines() if line]


def log_fails(port):
    try:
        client = log_in(port)
        client.value("SELECT 1")
        client.close()
        return False
    except OSError as error:
        return error


def documented(verb="build"):
    """The command that deploy/README.md builds or runs the image with, in words."""
    (line,) = re.findall(rf"^podman {verb} .*$", (ROOT / "deploy/README.md").read_text(), re.M)
    return shlex.split(line)


def run_as_documented(url):
    """What stands between `podman run` and the image, but for the port: tests are in the host's network."""
    *words, image = documented("run")[2:]
    same(image, documented()[documented().index("-t") + 1], "the image that is run is the one that is built")
    del words[words.index("--publish"):words.index("--publish") + 2]
    check({"--read-only", "--cap-drop"} < set(words), f"{words}")
    return [f"{word}={url}" if word == "DATABASE_URL" else word for word in words]


def build(account, context, *more, **arguments):
    """The identity and description of deploy/Dockerfile's image, made of a context by the documented command, as this account and from
    local images alone."""
    tool, _, *words, folder = documented()
    same((tool, folder, words[words.index("-f") + 1]), ("podman", ".", "deploy/Dockerfile"))
    words[words.index("-f") + 1] = context / "deploy/Dockerfile"
    given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    said = account.said(tool, "build", *words, "--timestamp", "1700000000", *more, *given, context)
    identity = said.splitlines()[-1]
    (about,) = json.loads(account.said("podman", "image", "inspect", identity))
    check(f"localhost/{words[words.index('-t') + 1]}" in about["RepoTags"], f"it is called {about['RepoTags']}")
    return identity, about


def profile(account):
    """What RuntimeDefault comes to: the runtime's own filter of system calls. That of podman lets io_uring through, those of
    Docker and containerd do not: whoever asks for it is killed here."""
    rules = json.loads(pathlib.Path("/usr/share/containers/seccomp.json").read_text())
    forbidden = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
    for rule in rules["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name not in forbidden]
    rules["syscalls"].append({"names": forbidden, "action": "SCMP_ACT_KILL_PROCESS"})
    file = account.folder / "seccomp.json"
    file.write_text(json.dumps(rules))
    return account.give(file, "seccomp.json")


def writable(pid, place):
    """Whether a file system of its own is mounted there that takes writes."""
    return any(line.split()[4] == place and "rw" in line.split()[5].split(",")
               for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


def locked_up(pid):
    """What the kernel says of the process in the container."""
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    same((status["Name"], status["Seccomp"], status["NoNewPrivs"]), ("pgmend", "2", "1"), "a filter of system calls")
    same({status[name].strip("0") for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")}, {""}, "capabilities")
    # Inside it is 65532: the container's 1 is the account's first subordinate.
    first = int(rootless.SUBORDINATE.split(":")[1])
    check(os.geteuid() != 0 or set(status["Uid"].split()) == {str(first + 65531)}, f"its user outside: {status['Uid']}")
    root = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/"]
    check("ro" in root[-1][5].split(","), f"its root is mounted {root[-1][5]}")
    # As a pod has it: podman alone would give it a /tmp, /run and /var/tmp to write to.
    same([place for place in ("/tmp", "/run", "/var/tmp") if writable(pid, place)], [], "where it can write")


def serve(here, account, identity):
    """Runs the image as its words say, asks it a query and its own health, and ends it."""
    port, http = harness.free_port(), harness.free_port()
    url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{here.postgres.port}/app"
    # podman keeps the time of health checks by systemd, which a container in a test has not got: it is run by hand.
    process = subprocess.Popen(account.command(
        "podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", *run_as_documented(url), "--name", "served",
        "--network", "host", "--read-only-tmpfs=false", "--security-opt", "no-new-privileges",
        "--security-opt", f"seccomp={profile(account)}", "--health-interval", "disable", "--env", f"PGMEND_LISTEN_PORT={port}",
        "--env", f"PGMEND_HTTP_PORT={http}", "--env", "PGMEND_RELAY_ENGINE=auto", identity),
        cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        poll(lambda: not log_fails(port) or process.poll() is not None, "it serves", timeout=30)
        check(process.poll() is None, f"it ended: {process.stdout.read() if process.poll() is not None else ''}")
        locked_up(int(account.said("podman", "inspect", "--format", "{{.State.Pid}}", "served")))
        account.said("podman", "--runtime", "runc", "healthcheck", "run", "served")
        account.said("podman", "--runtime", "runc", "exec", "served", "/usr/bin/pgmend", "--health-check")
        done = subprocess.run(account.command("podman", "--runtime", "runc", "exec", "served", "/bin/sh", "-c", "true"), cwd="/",
                              capture_output=True, check=False)
        check(done.returncode != 0, "there is a shell")
        same(log_fails(port), False, "it goes on")
        account.said("podman", "--runtime", "runc", "stop", "--time", "20", "served")
        same(process.wait(10), 0, "its status after SIGTERM")
        said = process.stdout.read()
        check("relay_engine engine=epoll" in said and "killed" in said, f"who asked for io_uring was killed, and not pgmend\n{said}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_image_is_built_and_serves_rootless(here):
    with rootless.account(here.directory()) as account:
        program = account.folder / "pgmend"
        running.said(["strip", "-o", program, here.binary])
        account.give(ROOT / "deploy/image-root.sh", "context/deploy/image-root.sh")
        text, compiled = DOCKERFILE.read_text(), "FROM compiled AS collected\n"
        same(text.count(compiled), 1, "where the program comes from")
        (account.folder / "Dockerfile").write_text(text.replace(compiled, "FROM localhost/with-program AS collected\n"))
        account.give(account.folder / "Dockerfile", "context/deploy/Dockerfile")
        base = account.give(debian_root.archive(debian_root.field(debian_root.package(), "Depends")), "base.tar")
        account.said("podman", "import", "--quiet", base, "localhost/debian")
        account.said("buildah", "from", "--name", "with-program", "localhost/debian")
        account.said("buildah", "copy", "with-program", account.give(program, "pgmend"), "/usr/bin/pgmend")
        account.said("buildah", "commit", "--quiet", "with-program", "localhost/with-program")
        first, _ = build(account, account.home / "context", BASE="localhost/debian")
        identity, about = build(account, account.home / "context", BASE="localhost/debian")
        (before,) = json.loads(account.said("podman", "image", "inspect", first))
        same(before["RootFS"]["Layers"], about["RootFS"]["Layers"], "the same sources make the same files")
        same((about["User"], about["Healthcheck"]["Test"]), ("65532:65532", ["CMD", "/usr/bin/pgmend", "--health-check"]))
        labels = {name.removeprefix("org.opencontainers.image."): text for name, text in about["Labels"].items()}
        version = running.said([here.binary, "--version"]).split()[1]
        stated = int(re.search(r"one program and its libraries, less than (\d+) MiB", (ROOT / "deploy/README.md").read_text()).group(1))
        check(about["Size"] < stated << 20, f"deploy/README.md says {stated} MiB: {about['Size']} bytes")
        same((labels.get("title"), labels.get("version"), bool(labels.get("description"))), ("pgmend", version, True), "its labels")
        serve(here, account, identity)
        return f"{about['Size'] / (1 << 20):.0f} MiB, {identity[:12]}"


def test_root_has_one_program_and_no_shell(here):
    root = root_of_image(here)
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    programs = [path.name for path in files if path.parent == root / "usr/bin"]
    same(programs, ["pgmend"])
    check(not {path.name for path in files} & {"sh", "bash", "dash", "busybox", "apt", "dpkg", "perl"}, "a shell is there")
    check(not [path for path in files if path.stat().st_mode & 0o6000], "a program that changes its user is there")
    size = sum(path.stat().st_size for path in files)
    check(size < 100 << 20, f"{size} bytes")
    return f"{size / (1 << 20):.0f} MiB, {len(files)} files"


def test_root_serves_as_nobody(here):
    """Entered as the image's user, without capabilities: a query is answered and the image's own health check passes."""
    root = root_of_image(here)
    check(os.geteuid() == 0, "only root may enter another root")
    port, http = harness.free_port(), harness.free_port()
    url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{here.postgres.port}/app"
    environment = {"PATH": "/usr/sbin:/usr/bin", "DATABASE_URL": url, "PGMEND_LISTEN_PORT": str(port),
                   "PGMEND_HTTP_PORT": str(http)}
    settings = dict(instructions())
    entrypoint = re.findall(r'"([^"]+)"', settings["ENTRYPOINT"])
    healthcheck = re.findall(r'"([^"]+)"', settings["HEALTHCHECK"].split("CMD", 1)[1])
    environment.update(part.split("=", 1) for part in shlex.split(settings["ENV"]))
    # chroot may enter and become the user; nothing is left of that afterwards.
    enter = ["setpriv", "--no-new-privs", "--bounding-set=-all,+sys_chroot,+setuid,+setgid", "--inh-caps=-all", "chroot",
             f"--userspec={settings['USER']}", root]
    process = subprocess.Popen([*enter, *entrypoint], env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        poll(lambda: not log_fails(port), "it serves", timeout=20)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        same((re.search(r"CapEff:\s+0*(\S*)\n", status).group(1), re.search(r"Uid:\s+(\d+)", status).group(1)),
             ("", settings["USER"].split(":")[0]))
        running.said([*enter, *healthcheck], env=environment)
        began = time.monotonic()
        process.terminate()
        same(process.wait(15), 0)
        check(time.monotonic() - began < 15, "it took too long to stop")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_dockerfile_says_what_it_should(here):
    every = instructions()
    settings = dict(every)
    check(not settings["USER"].startswith("0"), "it runs as root")
    same((settings["STOPSIGNAL"], settings["EXPOSE"]), ("SIGTERM", "6432 9632"))
    version = running.said([here.binary, "--version"]).split()[1]
    check(("ARG", f"VERSION={version}") in every, f"the label's version is not {version}")
    for word in ("title", "description", "version"):
        check(f"org.opencontainers.image.{word}=" in settings["LABEL"], word)
    stages = {match.group(1) for name, rest in every if name == "FROM" and (match := re.search(r" AS (\w+)$", rest))}
    used = {match.group(1) for name, rest in every if name == "COPY" and (match := re.search(r"--from=(\w+)", rest))}
    # A stage is named as it is: podman of Debian 12 takes one that an argument names for an image of a registry.
    bases = [rest.split()[0] for name, rest in every if name == "FROM"]
    same((used <= stages, bases), (True, ["${BASE}", "compiled", "scratch"]))
    for name, rest in every:
        if name == "COPY" and "--from" not in rest:
            check((ROOT / rest.split()[0]).exists(), f"{rest.split()[0]} is not in the tree")


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
