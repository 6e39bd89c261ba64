#!/usr/bin/python3
"""The Debian package: built by CPack, installed into, upgraded in and removed from a root of the test's own; its manual
pages and systemd units. Process 1 is no systemd here, so the units are checked by systemd-analyze, and the service's
command line is what the installed program is started with."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import debian_root
import running
from debian_root import field
from running import ROOT, harness, log_in
from harness import check, same

UNITS = ROOT / "deploy/systemd"
# systemd-analyze's figure for the service: 0 is locked in, 10 is unprotected.
MOST_EXPOSED = 1.5

NOT_HERE = ("systemd as process 1: units are read by systemd-analyze; restart_test.py runs the service by a systemd of its own",)


def in_root(root, *command):
    return running.said(["chroot", root, *command], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})


def files_of(root):
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def settings_in(root, *arguments):
    return in_root(root, "/usr/bin/env", "DATABASE_URL=postgres://app:x@127.0.0.1/app", "/usr/bin/pgmend", "--config",
                   "/etc/pgmend/pgmend.yaml", *arguments)


def test_package_is_built(here):
    deb = debian_root.package()
    names = running.said(["dpkg-deb", "--contents", deb])
    for wanted in ("./usr/bin/pgmend", "./usr/share/man/man1/pgmend.1.gz", "./usr/share/man/man5/pgmend.yaml.5.gz",
                   "./lib/systemd/system/pgmend.service", "./lib/systemd/system/pgmend.socket",
                   "./etc/pgmend/pgmend.yaml", "./etc/default/pgmend"):
        check(f" {wanted}\n" in names, f"{wanted} is not in the package:\n{names}")
    check("root/root" in names and "/work" not in names, names)
    depends = field(deb, "Depends")
    for library in ("libpq5", "libssl3", "libyaml-cpp0.7", "libpg-query", "liburing2", "adduser"):
        check(library in depends, f"{library} is not in: {depends}")
    return f"{deb.stat().st_size // 1024} KiB, {field(deb, 'Installed-Size')} KiB installed"


def test_program_does_not_say_where_it_was_compiled(here):
    """As it is shipped (PGMEND_TESTS=OFF): a source compiled in two folders gives one object. The whole program is compared by
    clean_tree_test.py."""
    objects = []
    for name in ("one", "another/one"):
        folder = here.directory() / name
        for part in ("CMakeLists.txt", "CMakePresets.json", "deploy/cmake", "deploy/config.example.yaml", "config", "protocol", "health",
                     "pool", "proxy"):
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)
        environment = harness.clean_environment(CCACHE_DISABLE="1")
        running.said(["cmake", "--preset", "release", "-DPGMEND_TESTS=OFF"], cwd=folder, env=environment)
        target = "config/CMakeFiles/pgmend_config.dir/cgroup_limits.cpp.o"
        running.said(["ninja", "-C", folder / "build/release", target], env=environment)
        objects.append((folder / "build/release" / target).read_bytes())
        every = json.loads((folder / "build/release/compile_commands.json").read_text())
        same([each["file"] for each in every if f"-ffile-prefix-map={folder}=." not in each["command"]], [], "all are compiled so")
        check(str(folder).encode() not in objects[-1], "the folder's name is in it")
    same(objects[0] == objects[1], True, "the objects are the same")


def told(root):
    """What the package has asked of a systemd that notes it, since the last time; that files are to be read again goes without
    saying."""
    log = root / "var/log/systemctl"
    lines = log.read_text().splitlines() if log.exists() else []
    log.write_text("")
    check("--system daemon-reload" in lines, f"units are not read again: {lines}")
    return [line for line in lines if line != "--system daemon-reload"]


def test_package_is_installed_upgraded_and_removed(here):
    (deb,) = (debian_root.WORK / "package").glob("*.deb")
    root = here.directory() / "root"
    root.mkdir()
    running.said(["tar", "-xf", debian_root.archive(field(deb, "Depends")), "-C", root, "--exclude=./dev/*"])
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
        running.said(["mount", "--bind", f"/dev/{device}", root / "dev" / device])
    try:
        shutil.copy(deb, root / "tmp/pgmend.deb")
        (root / "run/systemd/system").mkdir(parents=True)
        (root / "usr/bin/systemctl").write_text('#!/bin/sh\necho "$*" >>/var/log/systemctl\n')
        (root / "usr/bin/systemctl").chmod(0o755)
        before = files_of(root)
        in_root(root, "dpkg", "--install", "/tmp/pgmend.deb")
        same(in_root(root, "dpkg-query", "-W", "-f=${db:Status-Status}", "pgmend"), "installed")
        same(told(root), [], "nobody has said yet where the server is, so it is not started")
        account = in_root(root, "getent", "passwd", "pgmend").split(":")
        check(account[6].strip().endswith("nologin"), f"{account}")
        config = root / "etc/pgmend/pgmend.yaml"
        same((config.stat().st_mode & 0o777, config.stat().st_gid), (0o640, int(account[3])), "it may hold passwords")
        settings_in(root, "--check")

        # An upgrade keeps what was changed, and says so.
        config.write_text("pool:\n  size: 3\n")
        in_root(root, "dpkg", "--force-confold", "--install", "/tmp/pgmend.deb")
        same(config.read_text(), "pool:\n  size: 3\n", "the file after an upgrade")
        same(told(root), ["try-restart pgmend.service"], "a restart drops nobody; a stop before it would")
        check(re.search(r"pool.size\s+\| 3 ", settings_in(root, "--print-config")), "the file is read")

        in_root(root, "dpkg", "--remove", "pgmend")
        same(told(root), ["stop pgmend.service pgmend.socket"])
        check(config.exists() and not (root / "usr/bin/pgmend").exists(), "removal keeps settings, and only these")
        in_root(root, "dpkg", "--purge", "pgmend")
        left = {path for path in files_of(root) - before
                if not path.startswith(("var/lib/dpkg", "var/log", "var/cache", "run/adduser", "etc/passwd", "etc/group", "etc/shadow",
                                        "etc/gshadow", "etc/subuid", "etc/subgid"))}
        same(left, set(), "left behind after purge")
    finally:
        for device in ("null", "urandom"):
            subprocess.run(["umount", root / "dev" / device], check=False)


def test_manual_pages_are_read(here):
    for page, words in (("pgmend.1", ("SIGUSR2", "--health-check", "DATABASE_URL")),
                        ("pgmend.yaml.5", ("pool.size", "PGMEND_SHUTDOWN_LINGER", "machine.memory"))):
        file = here.directory() / page
        file.write_text(running.said([here.binary, "--print-man", page]))
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", file], capture_output=True, text=True,
                              env=harness.clean_environment(MANWIDTH="100", LC_ALL="C.UTF-8", MAN_KEEP_FORMATTING="0"))
        same((done.returncode, done.stderr), (0, ""), page)
        plain = re.sub(r".\x08", "", done.stdout)
        for word in words:
            check(word in plain, f"{word} is not on {page}")


def test_units_are_sound(here):
    """systemd's own reading of the units, with the program where they expect it."""
    folder = here.directory()
    for name in ("pgmend.service", "pgmend.socket"):
        text = (UNITS / name).read_text().replace("/usr/bin/pgmend", str(here.binary))
        # Manual pages are not installed on this machine.
        (folder / name).write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
    said = running.said(["systemd-analyze", "verify", folder / "pgmend.service", folder / "pgmend.socket"],
                        env=harness.clean_environment(SYSTEMD_UNIT_PATH=f"{folder}:"))
    same(said, "", "what systemd-analyze verify says")
    said = running.said(["systemd-analyze", "security", "--offline=true", folder / "pgmend.service"],
                        env=harness.clean_environment(SYSTEMD_UNIT_PATH=f"{folder}:", SYSTEMD_COLORS="0"))
    exposure = float(re.search(r"Overall exposure level for pgmend.service: ([\d.]+)", said).group(1))
    check(exposure <= MOST_EXPOSED, said)
    stated = float(re.search(r"`systemd-analyze security` gives it ([\d.]+) of 10", (ROOT / "deploy/README.md").read_text()).group(1))
    check(exposure <= stated, f"deploy/README.md says {stated}: {exposure}")
    return f"exposure {exposure}"


def test_service_gives_enough_time(here):
    """What the unit allows for stopping is more than the settings may take."""
    text = (UNITS / "pgmend.service").read_text()
    seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1))
    settings = running.said([here.binary, "--print-config"], env=harness.clean_environment(DATABASE_URL="postgres://a@b/c"))
    drain, linger = (int(re.search(rf"^shutdown.{name}\s+\| (\d+)s? ", settings, re.M).group(1)) for name in ("drain_timeout", "linger"))
    check(linger + drain + 5 <= seconds, f"{linger} s of lingering and {drain} s of draining, {seconds} s allowed")


def test_hardened_service_serves(here):
    """As far as that goes without systemd: an account without privileges and no capability that could be won back."""
    url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{here.postgres.port}/app"
    port = harness.free_port()
    program = here.directory() / "pgmend"
    shutil.copy(here.binary, program)
    program.chmod(0o755)
    command = [program]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs",
                   "--bounding-set=-all", "--inh-caps=-all", *command]
    environment = harness.clean_environment(DATABASE_URL=url, PGMEND_LISTEN_PORT=str(port), PGMEND_HTTP_PORT="0")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        harness.poll(lambda: not log_fails(port), "it serves", timeout=20)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        if os.geteuid() == 0:
            same(re.search(r"CapBnd:\s+(\S+)", status).group(1).strip("0"), "", "capabilities")
    finally:
        process.terminate()
        same(process.wait(10), 0)


def log_fails(port):
    try:
        client = log_in(port)
        client.value("SELECT 1")
        client.close()
        return False
    except OSError as error:
        return error


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
