#!/usr/bin/python3
"""Alerts, dashboard and runbook: the rules meet their unit tests (promtool), every expression is one Prometheus takes,
and every metric, label and label's value in them is one that pgmend has."""

import json
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import yaml

import manifests_test
import running
from running import ROOT
from harness import check, die_with_parent, free_port, poll, same, tail

MONITORING = ROOT / "deploy/monitoring"
# What Prometheus itself adds, and what a process exports beside our own metrics.
FOREIGN = {"up"}
TARGET_LABELS = {"job", "instance", "le"}

NOT_HERE = ("Grafana: the dashboard is checked as a document, and its queries against the metrics",)


def declared():
    """Metrics with their label and its values, from the generated reference."""
    found = {}
    for line in (ROOT / "deploy/METRICS.md").read_text().splitlines():
        match = re.match(r"\| `(\w+)` \| (\w+) \| (?:`(\w+)`: ([^|]*))?", line)
        if match:
            name, kind, label, words = match.groups()
            for each in [name] + ([f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else []):
                found[each] = (label, {word.strip() for word in (words or "").split(",")})
    return found


def rules():
    return yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]


def panels():
    return json.loads((MONITORING / "dashboard.json").read_text())["panels"]


def expressions():
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", []):
            plain = target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
            yield panel["title"], plain


def test_rules_meet_their_tests(here):
    running.said(["promtool", "check", "rules", MONITORING / "alerts.yaml"])
    said = running.said(["promtool", "test", "rules", "alerts_test.yaml"], cwd=MONITORING)
    check("SUCCESS" in said, said)
    fired = set(re.findall(r"alertname: (\w+)\n\s+eval_time: \S+\n\s+exp_alerts",
                           (MONITORING / "alerts_test.yaml").read_text()))
    same(fired, {rule["alert"] for rule in rules()}, "alerts that a test sees firing")


def changed(rule):
    """What may go wrong with a rule while it is written: never, at once, too late, too easily, too seldom, for too much, for too
    little. Each with what is to be replaced in the rule, and by what."""
    expression = rule["expr"]
    yield "never", {"expr": "vector(0) > 1"}
    if "for" in rule:
        yield "at once", {"for": "0s"}
        yield "too late", {"for": "20m"}
    if threshold := re.search(r"> ([\d.]+)$", expression):
        before, number = expression[:threshold.start()], float(threshold.group(1))
        yield "too easily", {"expr": before + (">= 0" if number == 0 else "> 0")}
        yield "too seldom", {"expr": f"{before}> {number * 20 + 1:g}"}
    for matcher in re.findall(r'\w+(?:=~|!=|=)"[^"]*"', expression):
        yield f"without {matcher}", {"expr": expression.replace(matcher, "", 1)}
        words = matcher.split('"')[1].split("|")
        for word in words if len(words) > 1 else ():
            fewer = matcher.replace("|".join(words), "|".join(each for each in words if each != word))
            yield f"without {word}", {"expr": expression.replace(matcher, fewer, 1)}


def test_rule_tests_convict(here):
    """A test of the tests: whatever is wrong with a rule, they fail."""
    folder, count = here.directory(), 0
    (folder / "alerts_test.yaml").write_text((MONITORING / "alerts_test.yaml").read_text())
    for rule in rules():
        for how, words in changed(rule):
            every = [{**each, **words} if each == rule else each for each in rules()]
            (folder / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "pgmend", "rules": every}]}))
            done = subprocess.run(["promtool", "test", "rules", "alerts_test.yaml"], cwd=folder, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
            check(done.returncode != 0, f"{rule['alert']} may fire {how} and no test notices")
            count += 1
    return f"{count} changes"


def test_expressions_are_understood(here):
    groups = [{"name": "all", "rules": [{"record": f"x{number}", "expr": expression}
                                        for number, (_, expression) in enumerate(expressions())]}]
    file = here.directory() / "expressions.yaml"
    file.write_text(yaml.safe_dump({"groups": groups}))
    running.said(["promtool", "check", "rules", file])
    return f"{len(groups[0]['rules'])} expressions"


def test_rules_are_an_object_of_the_operator(here):
    """What deploy/README.md gives to kubectl: the operator's word for these rules, and nothing else in it."""
    (command,) = re.findall(r"^(\(printf .*\)) \| kubectl apply -f -$", (ROOT / "deploy/README.md").read_text(), re.M)
    file = here.directory() / "rules.yaml"
    file.write_text(running.said(["bash", "-c", command], cwd=ROOT))
    same(manifests_test.valid([file]), 1)
    document = yaml.safe_load(file.read_text())
    same((document["kind"], document["spec"]), ("PrometheusRule", yaml.safe_load((MONITORING / "alerts.yaml").read_text())))


def test_metrics_and_labels_exist(here):
    known = declared()
    for where, expression in expressions():
        for name in re.findall(r"\b(?:pgmend|process)_\w+|\bup\b", expression):
            check(name in known or name in FOREIGN, f"{where}: there is no metric {name}")
        for name, selector in re.findall(r"(\w+)\{([^}]*)\}", expression):
            for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', selector):
                if label in TARGET_LABELS:
                    continue
                same((where, label), (where, known[name][0]), f"the label of {name}")
                for word in value.split("|"):
                    check(word in known[name][1], f"{where}: {name} has no {label} {word}")
        own = {known[name][0] for name in re.findall(r"\b\w+\b", expression) if name in known}
        for group in re.findall(r"by \(([^)]*)\)", expression):
            for label in group.replace(" ", "").split(","):
                check(label in own | TARGET_LABELS, f"{where}: nothing has a label {label}")


def test_runbook_knows_every_alert(here):
    headings = re.findall(r"^## (\w+)$", (ROOT / "deploy/RUNBOOK.md").read_text(), re.M)
    same(headings, [rule["alert"] for rule in rules()], "headings of the runbook and alerts")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", (ROOT / "deploy/RUNBOOK.md").read_text(), re.M | re.S))
    for rule in rules():
        check(len(sections[rule["alert"]].split()) > 20, f"the runbook says next to nothing on {rule['alert']}")
        same(rule["annotations"]["runbook"], f"deploy/RUNBOOK.md#{rule['alert'].lower()}")
    for name in re.findall(r"`(pgmend_\w+)", (ROOT / "deploy/RUNBOOK.md").read_text()):
        check(name in declared(), f"the runbook names {name}, which is no metric")


def test_dashboard_is_whole(here):
    every = panels()
    same(len({panel["id"] for panel in every}), len(every), "ids of panels")
    places = set()
    for panel in every:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        check(not places & cells and place["x"] + place["w"] <= 24, f"{panel['title']} lies on another panel")
        places |= cells
        check(panel["type"] == "row" or panel["targets"], f"{panel['title']} shows nothing")


def test_scrape_has_what_is_asked_for(here):
    """The names in the reference are those of a running pgmend."""
    with running.running(here.pgmend()) as subject:
        client = running.log_in(subject.port)
        client.value("SELECT 1")
        text = subject.http("/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    check(done.returncode == 0 and not done.stdout.strip(), f"promtool has no opinion either: {done.stdout}")
    served = set(re.findall(r"^(\w+)", text, re.M))
    for where, expression in expressions():
        for name in re.findall(r"\b(?:pgmend|process)_\w+", expression):
            check(name in served, f"{where}: {name} is not served")


def test_prometheus_itself_scrapes(here):
    """Prometheus prefers OpenMetrics and is strict with it; it goes on scraping while pgmend drains."""
    with running.running(here.pgmend(settings={"shutdown": {"drain_timeout": "2min"}})) as subject:
        client = running.log_in(subject.port)
        client.value("SELECT 1")
        request = urllib.request.Request(f"http://127.0.0.1:{subject.http_port}/metrics",
                                         headers={"Accept": "application/openmetrics-text"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            check(answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0"), str(answer.headers))
            check(answer.read().decode().endswith("# EOF\n"), "it says its end")
        folder, port = here.directory(), free_port()
        scrapes = {"job_name": "pgmend", "static_configs": [{"targets": [f"127.0.0.1:{subject.http_port}"]}]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrapes]}))

        def asked(query):
            address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
            try:
                with urllib.request.urlopen(address, timeout=10) as answer:
                    return {point["metric"].get("reason", ""): float(point["value"][1])
                            for point in json.load(answer)["data"]["result"]}
            except OSError:
                return {}

        with open(folder / "prometheus.log", "wb") as log:
            prometheus = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, preexec_fn=die_with_parent())
        try:
            seen = lambda: asked("pgmend_queries_total").get("", 0)
            poll(lambda: seen() >= 1, f"it is scraped\n{tail(folder / 'prometheus.log')}", timeout=60)
            same(asked("up"), {"": 1.0})
            client.query("BEGIN")
            before = client.value("SELECT 2")
            subject.process.send_signal(signal.SIGTERM)
            poll(lambda: subject.http("/ready")[0] == 503, "it drains", timeout=30)
            same(before, "2")
            client.value("SELECT 3")
            poll(lambda: seen() >= 3, "scraped while it drains", timeout=60)
            client.query("COMMIT")
        finally:
            prometheus.terminate()
            prometheus.wait(30)


if __name__ == "__main__":
    sys.exit(running.main(globals(), __doc__))
