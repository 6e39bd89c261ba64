#!/usr/bin/python3
"""The container image: deploy/Dockerfile built by buildah on a Debian made by mmdebstrap, looked into, and run the way
Kubernetes runs it (not root, read-only, no capability). The stage that compiles is left out: no registry of images and
no network are wanted here, so the program built by this tree takes its place (--build-arg PROGRAM)."""

import json
import os
import pathlib
import subprocess
import sys
import time

import package_test
import running
from running import ROOT, harness, log_in
from harness import check, poll, same

BASE, COMPILED, IMAGE = "localhost/pgmend-test-base", "localhost/pgmend-test-compiled", "localhost/pgmend-test"


class Store:
    """Images and containers in a folder of the test's own, by the driver that needs nothing of the kernel."""

    def __init__(self, folder):
        self.folder = folder
        self.options = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        (folder / "policy.json").write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        (folder / "containers.conf").write_text('[containers]\n[engine]\nruntime="crun"\ncgroup_manager="cgroupfs"\n'
                                                'events_logger="file"\n')
        self.environment = harness.clean_environment(CONTAINERS_CONF=str(folder / "containers.conf"),
                                                     BUILDAH_ISOLATION="chroot", TMPDIR=str(folder))

    def buildah(self, *arguments):
        return running.said(["buildah", *self.options, *arguments], env=self.environment, cwd=ROOT).strip()

    def podman(self, *arguments, **more):
        return running.said(["podman", *self.options, "--cgroup-manager", "cgroupfs", *arguments], env=self.environment,
                            cwd="/", **more).strip()


def store(here):
    if not hasattr(here, "store"):
        folder = here.directory()
        here.store = Store(folder)
        build(here.store, here.binary)
    return here.store


def build(place, binary):
    depends = package_test.field(package_test.package(), "Depends")
    container = place.buildah("from", "scratch")
    place.buildah("add", "--quiet", container, package_test.base_root(depends), "/")
    place.buildah("commit", "--quiet", container, BASE)
    # Stripped, as the stage that compiles does it.
    program = place.folder / "pgmend"
    running.said(["strip", "-o", program, binary])
    place.buildah("add", "--quiet", "--chmod", "755", container, program, "/usr/bin/pgmend")
    place.buildah("commit", "--quiet", container, COMPILED)
    place.buildah("rm", container)
    make(place, IMAGE)


def make(place, name):
    place.buildah("build", "--quiet", "--format", "docker", "--timestamp", "1700000000", "--pull=never", "--no-cache",
                  "--build-arg", f"BASE={BASE}", "--build-arg", f"PROGRAM={COMPILED}", "--file", "deploy/Dockerfile",
                  "--tag", name, ".")


def test_image_is_small_and_says_what_it_is(here):
    place = store(here)
    facts = json.loads(place.buildah("inspect", "--type", "image", IMAGE))
    config = facts["Docker"]["config"]
    same((config["User"], config["Entrypoint"]), ("65532:65532", ["/usr/bin/pgmend"]))
    same(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/pgmend", "--health-check"])
    same(config["Labels"]["org.opencontainers.image.title"], "pgmend")
    version = running.said([here.binary, "--version"]).split()[1]
    same(config["Labels"]["org.opencontainers.image.version"], version)
    container = place.buildah("from", "--pull=never", IMAGE)
    root = pathlib.Path(place.buildah("mount", container))
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.name for path in files}
    check(not names & {"sh", "bash", "dash", "busybox", "apt", "dpkg", "perl"}, "a shell or a package manager is there")
    size = sum(path.stat().st_size for path in files)
    check(size < 100 << 20, f"{size} bytes")
    check(not [path for path in files if path.stat().st_mode & 0o6000], "a program that changes its user is there")
    place.buildah("umount", container)
    place.buildah("rm", container)
    return f"{size / (1 << 20):.0f} MiB, {len(files)} files"


def test_image_is_reproducible(here):
    place = store(here)
    make(place, IMAGE + "-again")
    digests = [json.loads(place.buildah("inspect", "--type", "image", name))["FromImageDigest"]
               for name in (IMAGE, IMAGE + "-again")]
    same(digests[0], digests[1], "digests of two builds")


def test_image_serves_locked_down(here):
    """Another user than root, no capability, nothing to write to, seccomp's default: and a query is answered, the
    health check passes without a shell, and the end is in order."""
    place = store(here)
    port, http = harness.free_port(), harness.free_port()
    url = f"postgres://app:{harness.PASSWORDS['app']}@127.0.0.1:{here.postgres.port}/app"
    name = f"pgmend-test-{os.getpid()}"
    place.podman("run", "--detach", "--name", name, "--network", "host", "--cgroups", "disabled", "--read-only",
                 "--cap-drop", "all", "--security-opt", "no-new-privileges", "--env", f"DATABASE_URL={url}",
                 "--env", f"PGMEND_LISTEN_PORT={port}", "--env", f"PGMEND_HTTP_PORT={http}",
                 "--env", "PGMEND_HTTP_HOST=127.0.0.1", IMAGE)
    try:
        poll(lambda: not package_test.log_fails(port), "the container serves", timeout=20)
        same(log_in(port).value("SELECT 1"), "1")
        pid = int(place.podman("inspect", "--format", "{{.State.Pid}}", name))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        same((facts["Uid"].split()[0], facts["CapEff"].strip("0"), facts["NoNewPrivs"]), ("65532", "", "1"))
        same(facts["Seccomp"], "2", "a seccomp filter is in force")
        place.podman("exec", name, "/usr/bin/pgmend", "--health-check")
        began = time.monotonic()
        place.podman("stop", "--time", "20", name)
        took = time.monotonic() - began
        same(place.podman("inspect", "--format", "{{.State.ExitCode}}", name), "0", "its exit status")
        check(took < 15, f"it took {took:.1f} s to stop")
    finally:
        subprocess.run(["podman", *place.options, "rm", "--force", "--time", "0", name], env=place.environment,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
