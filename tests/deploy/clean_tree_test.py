#!/usr/bin/python3
"""deploy/README.md's three ways to run pgmend, each from a clone of what is committed, by the commands that stand there. All of
them compile, so they are for --full. Both programs that are shipped, the package's and the image's, are compiled in different
folders of different systems, and have to be the same.

CLEAN_TREE_CACHE names a folder where ccache keeps what was compiled, for whoever runs this again on a slow machine: one for this
system's clones and one for the container, so that neither program is made of the other's parts. The clones are in one place then:
were they found again by their relative names, these would stand in the program."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

import debian_root
import image_test
import rootless
import running
from running import ROOT, harness, log_in
from harness import check, poll, same

README = ROOT / "deploy/README.md"
BUILT_WITHIN = 5400
CACHE = pathlib.Path(os.environ["CLEAN_TREE_CACHE"]).resolve() if os.environ.get("CLEAN_TREE_CACHE") else None


def section(number):
    return re.search(rf"^## {number}\. .*?(?=^## )", README.read_text(), re.M | re.S).group(0)


def commands(number):
    """The lines of a section's code, as a reader would type them."""
    text = "\n".join(re.findall(r"^```\n(.*?)^```$", section(number), re.M | re.S))
    return [line.split("  #")[0].rstrip() for line in text.splitlines() if line]


def clone(here):
    folder = (CACHE or here.directory()) / "pgmend"
    if CACHE:
        shutil.rmtree(folder, ignore_errors=True)
    running.said(["git", "clone", "--quiet", ROOT, folder])
    same(running.said(["git", "status", "--porcelain", "--ignored"], cwd=folder), "", "what is in the clone beside the files")
    return folder


def typed(command, folder, **variables):
    """Everything is compiled, if no cache was asked for."""
    variables |= {"CCACHE_DIR": f"{CACHE}/here"} if CACHE else {"CCACHE_DISABLE": "1"}
    return running.said(["bash", "-euo", "pipefail", "-c", command], cwd=folder, timeout=BUILT_WITHIN,
                        env=harness.clean_environment(**variables))


def test_the_ways_are_documented(here):
    """What is tried below is what is written there, and every file it names is one that a clone has."""
    same(commands(1), ["deploy/quickstart.sh", "deploy/failover_demo.sh"])
    same((commands(2)[0], commands(2)[-1]), ("deploy/packages.sh build", "apt install ./build/release/pgmend_*.deb"))
    version = running.said([here.binary, "--version"]).split()[1]
    same((commands(3)[0], commands(3)[1].split()[:2], commands(3)[1].split()[-1]),
         (f"podman build --format docker -f deploy/Dockerfile -t pgmend:{version} .", ["podman", "run"], f"pgmend:{version}"))
    committed = set(running.said(["git", "ls-files"], cwd=ROOT).splitlines())
    folders = {str(parent) for file in committed for parent in pathlib.Path(file).parents}
    for name in re.findall(r"\]\(([\w/.-]+)\)", README.read_text()):
        check({f"deploy/{name}"} & (committed | folders), f"{name} is not in a clone")


def full_in_the_foreground(here):
    state = here.directory()
    for command in commands(1):
        port, http = harness.free_port(), harness.free_port()
        typed(f"{command} --check", clone_once(here), XDG_STATE_HOME=str(state), PGMEND_LISTEN_PORT=str(port),
              PGMEND_HTTP_PORT=str(http))


def clone_once(here):
    if not hasattr(here, "clean_tree"):
        here.clean_tree = clone(here)
    return here.clean_tree


def full_as_a_service(here):
    """Installed by apt into a Debian of its own; the service's command line serves there as the service's account."""
    folder = clone(here)
    for command in commands(2)[:-1]:
        typed(command, folder)
    (deb,) = (folder / "build/release").glob("pgmend_*.deb")
    unpacked = here.directory()
    running.said(["dpkg-deb", "--extract", deb, unpacked])
    here.packaged = stripped(unpacked / "usr/bin/pgmend", here.directory())
    root = here.directory() / "root"
    root.mkdir()
    running.said(["tar", "-xf", debian_root.archive(debian_root.field(deb, "Depends")), "-C", root, "--exclude=./dev/*"])
    for device in ("null", "urandom"):
        (root / "dev" / device).touch()
        running.said(["mount", "--bind", f"/dev/{device}", root / "dev" / device])
    try:
        (root / "tmp/build/release").mkdir(parents=True)
        shutil.copy(deb, root / "tmp/build/release")
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        running.said(["chroot", root, "sh", "-ec", "cd /tmp && " + commands(2)[-1].replace("apt ", "apt-get --yes ")], env=path)
        unit = (root / "lib/systemd/system/pgmend.service").read_text()
        port = harness.free_port()
        url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{here.postgres.port}/app"
        process = subprocess.Popen(
            ["setpriv", "--no-new-privs", "--bounding-set=-all,+sys_chroot,+setuid,+setgid", "--inh-caps=-all", "chroot",
             "--userspec=pgmend:pgmend", root, *re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()],
            env={**path, "DATABASE_URL": url, "PGMEND_LISTEN_PORT": str(port), "PGMEND_HTTP_PORT": "0"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            poll(lambda: not image_test.log_fails(port) or process.poll() is not None, "it serves", timeout=60)
            same(log_in(port).value("SELECT 7"), "7")
        finally:
            process.terminate()
            same(process.wait(60), 0)
    finally:
        for device in ("null", "urandom"):
            subprocess.run(["umount", root / "dev" / device], check=False)
    return f"{deb.name}, {deb.stat().st_size // 1024} KiB"


def stripped(program, folder):
    running.said(["strip", "-o", folder / "stripped", program])
    check(str(folder.parent).encode() not in (folder / "stripped").read_bytes(), "it says where it was compiled")
    return hashlib.sha256((folder / "stripped").read_bytes()).hexdigest()


def cache_of_containers():
    """The words that put a cache where ccache looks for one in a build."""
    if not CACHE:
        return []
    folder = CACHE / "container"
    folder.mkdir(parents=True, exist_ok=True)
    rootless.Account.own(folder)
    return ["--volume", f"{folder}:/root/.cache/ccache"]


def full_in_a_container(here):
    """Every stage of the Dockerfile, from a Debian that has nothing but its package manager."""
    with rootless.account(here.directory()) as account:
        base = account.give(debian_root.archive("ca-certificates"), "base.tar")
        account.said("podman", "import", "--quiet", base, "localhost/debian")
        shutil.copytree(clone(here), account.home / "context", symlinks=True)
        account.own(account.home / "context")
        identity, about = image_test.build(account, account.home / "context", *cache_of_containers(), BASE="localhost/debian")
        image_test.serve(here, account, identity)
        account.said("podman", "cp", "served:/usr/bin/pgmend", account.home / "program")
        program = here.directory() / "pgmend"
        shutil.copy(account.home / "program", program)
    if hasattr(here, "packaged"):
        same(stripped(program, here.directory()), here.packaged, "the package's program and the image's")
    if CACHE:
        print("note: with caches of what was compiled before, one for the clones and one for the container")
    return f"{about['Size'] / (1 << 20):.0f} MiB, {identity[:12]}"


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(running.main(globals(), __doc__))
