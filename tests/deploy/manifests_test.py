#!/usr/bin/python3
"""What deploy/ has for Kubernetes: manifests, kustomize overlays and the helm chart. No cluster is here: every document
is checked against models made from the Kubernetes OpenAPI schema, values and names of fields; kustomize is kubectl's;
helm is not in the registries, so the chart is rendered by a small program with the engine and the functions helm has.
What can be run is run: the settings that manifests and chart carry are read by pgmend itself."""

import filecmp
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jsonschema
import yaml

import running
from running import ROOT, harness
from harness import check, same

HERE = pathlib.Path(__file__).resolve().parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/pgmend"
WORK = ROOT / "build/deploy"
SECRET_URL = "postgres://app:secret@127.0.0.1:5432/app"

NOT_HERE = ("a cluster: documents are checked against the Kubernetes OpenAPI schema",
            "helm: the chart is rendered by a program with the engine and the functions helm has")


def checker():
    """The folder with node_modules as the lock file says; `npm ci` runs when that has changed."""
    folder, source = WORK / "kubernetes", HERE / "kubernetes"
    folder.mkdir(parents=True, exist_ok=True)
    lock = "package-lock.json"
    fresh = (folder / "node_modules").is_dir() and (folder / lock).exists() and filecmp.cmp(source / lock, folder / lock)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    if not fresh:
        (folder / lock).unlink()
        shutil.copy(source / lock, folder)
        running.said(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder)
    return folder / "check.js"


def valid(files):
    done = subprocess.run(["node", checker(), *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, done.stdout)
    return int(re.search(r"^(\d+) documents passed", done.stdout, re.M).group(1))


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


def by_kind(found):
    return {each["kind"]: each for each in found}


def pgmend_containers(document):
    pod = document["spec"]["template"]["spec"]
    every = pod.get("initContainers", []) + pod["containers"]
    return pod, [each for each in every if each["name"] == "pgmend"]


def environment_of(container):
    given = {each["name"]: each.get("value", SECRET_URL) for each in container.get("env", [])}
    return harness.clean_environment(**given)


def accepted(here, container, settings=None):
    """The settings a container gets, as pgmend prints them."""
    command = [here.binary]
    if settings is not None:
        file = here.directory() / "pgmend.yaml"
        file.write_text(settings)
        command += ["--config", str(file)]
    text = running.said([*command, "--print-config"], env=environment_of(container))
    running.said([*command, "--check"], env=environment_of(container))
    return {line.split(" | ")[0].strip(): line.split(" | ")[1].strip() for line in text.splitlines()[1:]}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h|)", text).groups()
    return int(number) * {"": 1, "ms": 0.001, "s": 1, "min": 60, "h": 3600}[unit]


def fits(pod, settings):
    """Whether lingering and draining end before the kubelet ends them."""
    longest = seconds(settings["shutdown.linger"]) + seconds(settings["shutdown.drain_timeout"])
    grace = pod.get("terminationGracePeriodSeconds", 30)
    check(longest + 5 <= grace, f"{longest} s of ending, {grace} s of grace")


def locked_down(pod, container):
    context = container["securityContext"]
    check(context["readOnlyRootFilesystem"] and context["runAsNonRoot"] and not context["allowPrivilegeEscalation"],
          f"{context}")
    same((context["capabilities"], context["seccompProfile"]), ({"drop": ["ALL"]}, {"type": "RuntimeDefault"}))
    same(pod["automountServiceAccountToken"], False)
    check("memory" in container["resources"]["limits"], "no limit on memory")
    same(set(container["resources"]["requests"]), {"cpu", "memory"}, "what it asks of a node")


def probed(container):
    """All three: by what they ask, and so that a slow start is no death."""
    same([container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")],
         [{"path": path, "port": "http"} for path in ("/startup", "/live", "/ready")], "its probes")
    start, live = container["startupProbe"], container["livenessProbe"]
    check(start["periodSeconds"] == 1 and start["failureThreshold"] >= 30 and live["failureThreshold"] > 1, f"{start}, {live}")


def threads(container, settings):
    """One beside one application; `auto` only where a limit says how many that is, and not the node."""
    wanted = "auto" if "cpu" in container["resources"]["limits"] else "1"
    same(settings["workers"], wanted, "workers")


def belong_together(kinds, *other_ports):
    """What selects pods selects these, and every port that is named is one they have."""
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    _, (container,) = pgmend_containers(kinds["Deployment"])
    (settings,) = (each for each in kinds["Deployment"]["spec"]["template"]["spec"]["volumes"] if each["name"] == "settings")
    same(settings["configMap"]["name"], kinds["ConfigMap"]["metadata"]["name"], "the settings")
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    known = set(ports) | set(ports.values())
    check(kinds["Service"]["spec"]["selector"].items() <= labels, "the Service's pods")
    check({each["targetPort"] for each in kinds["Service"]["spec"]["ports"]} <= known, f"the Service's ports, of {ports}")
    check({container[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe", "readinessProbe")} <= known, "the probes' ports")
    if policy := kinds.get("NetworkPolicy", {}).get("spec"):
        check(policy["podSelector"]["matchLabels"].items() <= labels, "the NetworkPolicy's pods")
        same({each["port"] for rule in policy["ingress"] for each in rule["ports"]}, set(ports.values()), "what may come in")
        leaves = {(each["port"], each["protocol"]) for rule in policy["egress"] for each in rule["ports"]}
        same(leaves, {(53, "UDP"), *((port, "TCP") for port in (53, 5432, *other_ports))}, "what may go out")
    if budget := kinds.get("PodDisruptionBudget", {}).get("spec"):
        check(budget["selector"]["matchLabels"].items() <= labels, "the PodDisruptionBudget's pods")
    if monitor := kinds.get("PodMonitor", {}).get("spec"):
        check(monitor["selector"]["matchLabels"].items() <= labels, "the PodMonitor's pods")
        (endpoint,) = monitor["podMetricsEndpoints"]
        same((endpoint["port"] in ports, endpoint["path"]), (True, "/metrics"), "where metrics are")


def kustomized(folder):
    return running.said(["kubectl", "kustomize", DEPLOY / "kubernetes" / folder])


# ---- manifests --------------------------------------------------------------------------------------------


def test_checker_convicts(here):
    """A test of the test: a misspelt field and a wrong type are found."""
    for wrong in ("containers: [{name: a, livenessProb: {}}]", "containers: [{name: a, ports: [{containerPort: x}]}]"):
        file = here.directory() / "wrong.yaml"
        file.write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{{wrong}}}\n")
        try:
            valid([file])
        except harness.Failure:
            continue
        raise harness.Failure(f"accepted: {wrong}")


def test_sidecars_are_valid_and_pgmend_takes_their_settings(here):
    files = sorted((DEPLOY / "kubernetes/sidecar").glob("*.yaml"))
    same(valid(files), 4)
    (monitor,) = documents((DEPLOY / "kubernetes/sidecar/podmonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for file in files:
        (document,) = documents(file.read_text())
        if document == monitor:
            continue
        pod, (container,) = pgmend_containers(document)
        settings = accepted(here, container)
        locked_down(pod, container)
        fits(pod, settings)
        threads(container, settings)
        native = container in pod.get("initContainers", [])
        same((file.name, native, container.get("restartPolicy")),
             (file.name, file.name == "native.yaml", "Always" if native else None))
        same(settings["listen.host"], "localhost", "only its own pod may connect, whichever family it has")
        if file.name == "classic.yaml":
            check(seconds(settings["shutdown.linger"]) > 0, "it dies together with its application")
        if file.name == "job.yaml":
            same(settings["http.quit"], "loopback")
            continue
        same(settings["http.host"], "*", "the kubelet asks from outside")
        labels = document["spec"]["template"]["metadata"]["labels"].items()
        check(monitor["spec"]["selector"]["matchLabels"].items() <= labels, "the PodMonitor's pods")
        check(endpoint["port"] in {each["name"] for each in container["ports"]}, "the PodMonitor's port")
        probed(container)


def test_overlays_build_and_are_valid(here):
    counts = {}
    for folder in ("base", "overlays/production", "overlays/monitoring"):
        text = "\n".join(line for line in kustomized(folder).splitlines() if not line.startswith("# Warning"))
        file = here.directory() / "built.yaml"
        file.write_text(text)
        counts[folder] = valid([file])
        kinds = by_kind(documents(text))
        pod, (container,) = pgmend_containers(kinds["Deployment"])
        settings = accepted(here, container, kinds["ConfigMap"]["data"]["pgmend.yaml"])
        locked_down(pod, container)
        fits(pod, settings)
        threads(container, settings)
        probed(container)
        same((settings["listen.host"], settings["http.host"], settings["workers"]), ("*", "*", "auto"))
        check(seconds(settings["shutdown.linger_quiet"]) >= 5, "clients are sent here for some seconds more")
        belong_together(kinds)
    same(counts, {"base": 4, "overlays/production": 5, "overlays/monitoring": 6})
    same(kinds["Deployment"]["spec"]["replicas"], 3)


# ---- the helm chart ---------------------------------------------------------------------------------------


def renderer():
    """Compiled when its source has changed."""
    program, source = WORK / "helm_render", HERE / "helm_render/main.go"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        environment = harness.clean_environment(GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="")
        running.said(["go", "build", "-o", program, source], env=environment)
    return program


def rendered(values):
    """The documents of a release, after the values have met their schema, as in helm."""
    merged = harness.merged(yaml.safe_load((CHART / "values.yaml").read_text()), values)
    jsonschema.validate(merged, json.loads((CHART / "values.schema.json").read_text()))
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    data = {
        "Values": merged,
        "Chart": {"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
        "Release": {"Name": "db", "Namespace": "database", "Service": "Helm"},
    }
    files = {str(file.relative_to(CHART)): file.read_text() for file in sorted((CHART / "templates").rglob("*.*"))}
    done = subprocess.run([renderer()], input=json.dumps({"files": files, "data": data}), capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    texts = json.loads(done.stdout)
    return texts.pop("templates/NOTES.txt"), [each for text in texts.values() for each in documents(text)]


def refused(values, words):
    try:
        rendered(values)
    except (ValueError, jsonschema.ValidationError) as error:
        check(words in str(error), f"{values}: {error}")
        return
    raise harness.Failure(f"accepted: {values}")


EVERYTHING = {
    "database": {"existingSecret": "", "url": SECRET_URL},
    "settings": {"pool": {"size": 40}, "listen": {"max_clients": 500}, "limits": {"table_size": 1000000}},
    "shutdown": {"linger": 10, "lingerQuiet": 2, "drainTimeout": 20},
    "networkPolicy": {"enabled": True, "clientNamespaceLabels": {"team": "shop"}, "otherPorts": [8008]},
    "probes": {"liveness": {"timeoutSeconds": 20}},
    "priorityClassName": "important",
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                                   "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "pgmend"}}}],
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "database", "operator": "Exists"}],
    "extraVolumes": [{"name": "certificates", "secret": {"secretName": "tls"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}],
    "service": {"annotations": {"a": "b"}},
    "imagePullSecrets": [{"name": "pull"}],
}


def test_chart_renders_valid_documents(here):
    counts = []
    for values in ({"database": {"existingSecret": "mine"}}, EVERYTHING):
        notes, found = rendered(values)
        file = here.directory() / "chart.yaml"
        file.write_text(yaml.safe_dump_all(found))
        counts.append(valid([file]))
        kinds = by_kind(found)
        pod, (container,) = pgmend_containers(kinds["Deployment"])
        locked_down(pod, container)
        probed(container)
        settings = accepted(here, container, kinds["ConfigMap"]["data"]["pgmend.yaml"])
        fits(pod, settings)
        threads(container, settings)
        check("db-pgmend.database:6432" in notes, notes)
        same(container["env"][0]["valueFrom"]["secretKeyRef"]["name"], values["database"]["existingSecret"] or "db-pgmend")
        belong_together(kinds, *values.get("networkPolicy", {}).get("otherPorts", ()))
        selector = kinds["Service"]["spec"]["selector"]
        check(not selector.items() <= kinds["Pod"]["metadata"]["labels"].items(), "helm's test pod is in the Service")
        # The test reads all that the settings name, from where the release's pods read it.
        (tester,) = kinds["Pod"]["spec"]["containers"]
        for name in ("image", "imagePullPolicy", "env", "volumeMounts", "securityContext", "resources"):
            same((name, tester[name]), (name, container[name]))
        for name in ("volumes", "imagePullSecrets", "nodeSelector", "tolerations"):
            same((name, kinds["Pod"]["spec"].get(name)), (name, pod.get(name)))
    same(counts, [5, 8])
    same((settings["pool.size"], settings["listen.max_clients"], settings["listen.host"]), ("40", "500", "*"))
    same(settings["limits.table_size"], "1000000", "a number that Go would write with an exponent")
    same((settings["shutdown.linger"], settings["shutdown.linger_quiet"], settings["shutdown.drain_timeout"]), ("10s", "2s", "20s"))
    same(pod["terminationGracePeriodSeconds"], 35)


def another(schema, name):
    """A value that the schema takes and the chart has not got."""
    if "enum" in schema:
        return schema["enum"][-1]
    if schema.get("pattern", "").startswith("^(postgres"):
        return SECRET_URL
    kind = schema.get("type", "object")
    kind = kind if isinstance(kind, str) else kind[0]
    if schema.get("items", {}).get("type") == "integer":
        return [17]
    one = {"name": "another", "key": "another", "mountPath": "/another", "another": "another"}
    return {"integer": 17, "array": [one], "string": "17s" if name == "interval" else "another",
            "object": {"pool": {"size": 17}} if name == "settings" else {"another": "another"}}[kind]


def leaves(schema, path=()):
    for name, each in schema["properties"].items():
        if "properties" in each:
            yield from leaves(each, (*path, name))
        elif name != "global":  # helm's own
            yield (*path, name), each


def test_every_value_of_the_chart_does_something(here):
    """What the schema takes is used by a template: each value, changed alone, changes what is rendered."""
    base = {"database": {"existingSecret": "mine"}, "networkPolicy": {"enabled": True}, "podMonitor": {"enabled": True}}
    before, count = rendered(base), 0
    values = json.loads((CHART / "values.schema.json").read_text())
    for path, schema in leaves(values):
        changed = path[-1] != "enabled" and another(schema, path[-1])
        for name in reversed(path):
            changed = {name: changed}
        if path == ("database", "url"):
            changed["database"]["existingSecret"] = ""
        check(rendered(harness.merged(base, changed)) != before, f"{'.'.join(path)} changes nothing")
        count += 1
    known = yaml.safe_load((CHART / "values.yaml").read_text())
    check(set(known) <= set(values["properties"]), "the schema does not know a value")
    return f"{count} values"


def test_chart_refuses_wrong_values(here):
    refused({}, "no server is known")
    refused({"database": {"existingSecret": "a", "url": SECRET_URL}}, "not both")
    refused({"database": {"url": "mysql://x"}}, "does not match")
    refused({"database": {"existingSecret": "a"}, "replicaCount": "two"}, "is not of type 'integer'")
    refused({"database": {"existingSecret": "a"}, "replicas": 3}, "Additional properties are not allowed")
    refused({"database": {"existingSecret": "a"}, "podDisruptionBudget": {"maxUnavailable": "some"}}, "does not match")
    refused({"database": {"existingSecret": "a"}, "probes": {"liveness": {"periodSeconds": 0}}}, "less than the minimum")
    refused({"database": {"existingSecret": "a"}, "probes": {"liveness": {"httpGet": {"path": "/ready"}}}}, "Additional properties")
    refused({"database": {"existingSecret": "a"}, "networkPolicy": {"otherPorts": [70000]}}, "greater than the maximum")
    # What would leave Service, probes or grace period behind.
    refused({"database": {"existingSecret": "a"}, "settings": {"listen": {"port": 7000}}}, "settings.listen.port")
    refused({"database": {"existingSecret": "a"}, "settings": {"http": {"port": 7000}}}, "settings.http.port")
    refused({"database": {"existingSecret": "a"}, "settings": {"shutdown": {"linger": "10min"}}}, "settings.shutdown")


def settings_schema():
    """What the chart's schema says of settings: pgmend's own, without its words, in the words of draft 7."""
    def told(node):
        if isinstance(node, list):
            return [told(each) for each in node]
        if not isinstance(node, dict):
            return node.replace("#/$defs/", "#/definitions/") if isinstance(node, str) else node
        return {name: told(each) for name, each in node.items() if name not in ("$schema", "$defs", "title", "description")}

    whole = json.loads((DEPLOY / "pgmend.schema.json").read_text())
    return told(whole["$defs"]), {**told(whole), "type": "object"}


def test_chart_knows_every_setting(here):
    """It refuses a setting that pgmend would refuse, before a pod is made of it. PGMEND_UPDATE_GENERATED=1 writes it anew."""
    file = CHART / "values.schema.json"
    words, settings = settings_schema()
    check("description" not in settings["properties"], "a setting that would get lost")
    if os.environ.get("PGMEND_UPDATE_GENERATED"):
        places = ",\n".join(f"      {json.dumps(name)}: {json.dumps(each)}" for name, each in settings.pop("properties").items())
        named = "".join(f"    {json.dumps(name)}: {json.dumps(each)},\n" for name, each in words.items())
        text, found = re.subn(r'^    "words": .*?(?=^  },$)', lambda _: f'{named}    "settings": {json.dumps(settings)[:-1]}, "properties": {{\n'
                              f"{places}\n    }}}}\n", file.read_text(), flags=re.M | re.S)
        same(found, 1, "places for it")
        file.write_text(text)
        words, settings = settings_schema()
    known = json.loads(file.read_text())
    same(known["definitions"], {"map": known["definitions"]["map"], **words, "settings": settings},
         "what the chart knows; PGMEND_UPDATE_GENERATED=1 tests/deploy/manifests_test.py writes it anew")
    for wrong, why in (({"pool": {"sze": 3}}, "'sze' was unexpected"), ({"pool": {"size": "many"}}, "'many' does not match"),
                       ({"pol": {}}, "'pol' was unexpected"), ({"workers": 0}, "0 is less than")):
        refused({"database": {"existingSecret": "a"}, "settings": wrong}, why)


def test_settings_change_the_pod(here):
    """Otherwise an upgrade with new settings would leave the old pods running."""
    def pods(values):
        _, found = rendered({"database": {"existingSecret": "a"}, **values})
        return by_kind(found)["Deployment"]["spec"]["template"]

    check(pods({}) != pods({"settings": {"pool": {"size": 3}}}), "the same pods")
    same(pods({}), pods({}))
    urls = [{"database": {"existingSecret": "", "url": url}} for url in (SECRET_URL, SECRET_URL + "2")]
    check(pods(urls[0]) != pods(urls[1]), "the same pods for another server")
    check(SECRET_URL not in str(pods(urls[0])), "the pod says what the Secret is for")


def test_settings_change_the_pods_of_an_overlay(here):
    def pods(folder):
        return by_kind(documents(running.said(["kubectl", "kustomize", folder])))["Deployment"]["spec"]["template"]

    folder = here.directory() / "base"
    shutil.copytree(DEPLOY / "kubernetes/base", folder)
    before = pods(folder)
    with open(folder / "pgmend.yaml", "a") as settings:
        settings.write("pool:\n  size: 3\n")
    check(pods(folder) != before, "the same pods")


def test_versions_agree(here):
    version = running.said([here.binary, "--version"]).split()[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    same((chart["version"], chart["appVersion"]), (version, version))
    for file in (DEPLOY / "kubernetes").rglob("*.yaml"):
        for image in re.findall(r"image: (pgmend:\S+)", file.read_text()):
            same((file.name, image), (file.name, f"pgmend:{version}"))


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
