"""A kubelet of the tests' own: runs a pod of a manifest as processes of this network, with the order, the probes, the hooks and
the signals of the real one. Native sidecars start first and each has to pass its startup probe; containers start one after the
other, each when the postStart hook of the one before has ended; a deletion sends SIGTERM to all containers at one time, and to
sidecars when these have ended."""

import contextlib
import os
import subprocess
import time
import urllib.request

from running import harness
from harness import check, poll


class Pod:
    def __init__(self, document, address, programs, secrets, folder):
        """`address`: where probes ask. `programs`: for an image's name what is run in place of its entry point. `secrets`: values
        by key. `folder`: for what the containers say."""
        self.pod = document["spec"]["template"]["spec"]
        self.address, self.programs, self.secrets, self.folder = address, programs, secrets, folder
        self.processes, self.waits_for = {}, None

    def environment(self, container):
        given = {each["name"]: each["value"] if "value" in each else self.secrets[each["valueFrom"]["secretKeyRef"]["key"]]
                 for each in container.get("env", [])}
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **given}

    def run(self, container):
        program = container.get("command") or self.programs[container["image"].split(":")[0]]
        with open(self.said_in(container["name"]), "wb") as log:
            self.processes[container["name"]] = subprocess.Popen(
                [*program, *container.get("args", [])], env=self.environment(container), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=harness.die_with_parent())

    def said_in(self, name):
        return self.folder / f"{name}.log"

    def probed(self, container, name):
        probe = container[name]["httpGet"]
        port = {each["name"]: each["containerPort"] for each in container["ports"]}[probe["port"]]
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://{self.address}:{port}{probe['path']}", timeout=5) as answer:
                return answer.status == 200
        return False

    @contextlib.contextmanager
    def waiting(self, container):
        self.waits_for = container["name"]
        yield
        self.waits_for = None

    def start(self):
        for container in self.pod.get("initContainers", []):
            check(container["restartPolicy"] == "Always", "not a sidecar")
            self.run(container)
            with self.waiting(container):
                poll(lambda container=container: self.probed(container, "startupProbe"), f"{container['name']} has started", timeout=60)
        for container in self.pod["containers"]:
            self.run(container)
            if hook := container.get("lifecycle", {}).get("postStart"):
                with self.waiting(container):
                    command = hook["exec"]["command"]
                    check(command[0] == "/usr/bin/pgmend", f"{command} is not in the image")
                    done = subprocess.run([self.programs["hook"], *command[1:]], env=self.environment(container), timeout=60, check=False)
                    check(done.returncode == 0, "the hook failed, so the container is killed")

    def ready(self):
        for container in self.pod.get("initContainers", []) + self.pod["containers"]:
            for name in ("livenessProbe", "readinessProbe"):
                if name in container:
                    poll(lambda container=container, name=name: self.probed(container, name), f"{container['name']}: {name}", timeout=60)

    def status(self, name, within=60):
        """What a container ends with."""
        return self.processes[name].wait(within)

    def delete(self):
        """The statuses of all; nobody may need longer than the pod has."""
        until = time.monotonic() + self.pod.get("terminationGracePeriodSeconds", 30)
        sidecars = [[each] for each in reversed(self.pod.get("initContainers", []))]
        for together in [self.pod["containers"], *sidecars]:
            for container in together:
                self.processes[container["name"]].terminate()
            for container in together:
                try:
                    self.processes[container["name"]].wait(max(0, until - time.monotonic()))
                except subprocess.TimeoutExpired as late:
                    raise harness.Failure(f"{container['name']} is killed at the end of the grace period") from late
        return {name: each.returncode for name, each in self.processes.items()}

    def end(self):
        """Whatever happened: nothing of it goes on."""
        for each in self.processes.values():
            each.kill()
            each.wait()
