"""Policies from elsewhere: what a pgbouncer.ini comes to, and the schema that editors check a policy with."""

import json
import pathlib
import socket

import jsonschema
import yaml

import wire
from console import one
from harness import PASSWORDS, check, poll, same, yaml_lines
from registry import register

TESTS = []
test = register(TESTS)
PGMEND = ("pgmend",)
ROOT = pathlib.Path(__file__).resolve().parents[2]


@test("policy: what --from-pgbouncer writes is good, lists what has no equivalent, and serves the same clients",
      subjects=PGMEND)
def from_pgbouncer(t):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    users = t.directory / "userlist.txt"
    users.write_text("".join(f'"{name}" "{word}"\n' for name, word in PASSWORDS.items()))
    ini = t.directory / "pgbouncer.ini"
    ini.write_text(f"[databases]\napp = host={t.postgres.host} port={t.postgres.port} server_lifetime=77\n"
                   f"* = host={t.postgres.host} port={t.postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
                   f"listen_port = {port}\nunix_socket_dir = {t.directory}\nauth_type = scram-sha-256\n"
                   f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 3\nadmin_users = app\n"
                   "query_timeout = 5\nsuspend_timeout = 7\nserver_reset_query = DISCARD ALL\n"
                   "[users]\napp = query_wait_timeout=9\n")
    policy = t.directory / "pgmend.yaml"
    text = t.program(t.subject.binary, "--from-pgbouncer", ini)
    lines = text.splitlines()
    check("no equivalent: suspend_timeout = 7" in lines and "#   suspend_timeout = 7" in lines and "  query_timeout: 5s" in lines, text)
    check(any(line.startswith("#   server_reset_query: ") for line in lines), text)
    policy.write_text("\n".join(line for line in lines if not line.startswith("no equivalent: ")) + "\n")
    environment = t.environment(PGMEND_HTTP_PORT="0")
    check("the settings are good" in t.program(t.subject.binary, "--config", policy, "--check", env=environment), "--check")
    t.start(t.subject.binary, "--config", policy, env=environment)

    def serves():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    poll(serves, "it listens where PgBouncer did")
    client = t.wire(port=port)
    same(client.value("SELECT 6 * 7"), "42")
    other = t.wire(user="other", database="other", port=port)
    same(other.value("SELECT current_user"), "other")
    watch = t.wire(database="pgbouncer", port=port)
    same(watch.rows("SHOW STATE")[0], ["active", "yes"])
    same(one(watch, "SHOW DATABASES", name="app")["server_lifetime"], "77")
    same(one(watch, "SHOW LIMITS", name="wait_timeout_ms", scope="app@app")["most"], "9000")


@test("policy: the schema takes what pgmend takes, and refuses what it refuses", subjects=PGMEND)
def schema(t):
    told = json.loads(t.program(t.subject.binary, "--print-schema"))
    same(told, json.loads((ROOT / "deploy" / "pgmend.schema.json").read_text()), "the committed one is current")
    judge = jsonschema.Draft202012Validator(told)
    judge.check_schema(told)
    example = (ROOT / "deploy" / "config.example.yaml").read_text()
    same(list(judge.iter_errors(yaml.safe_load(example))), [], "the example as it stands")
    every = "\n".join(line.replace("#", "", 1) if "#" in line and not line.lstrip().startswith("# ") else line
                      for line in example.splitlines())
    same([error.message for error in judge.iter_errors(yaml.safe_load(every))], [], "with every setting in it")
    same(list(judge.iter_errors(yaml.safe_load("\n".join(yaml_lines(t.subject.settings))))), [], "ours")
    for text in ("pool: {size: 0}", "pool: {size: many}", "pool: {sise: 4}", "pool: {wait_timeout: 5}",
                 "pool: {mode: statement}", "users: [{password: x}]", "listen: {tls: {mode: perhaps}}", "pool: [1]",
                 "retry: {max_bytes: 1MB}", "workers: most", "auth: {hba: [{user: x}]}", "nothing: 1"):
        check(list(judge.iter_errors(yaml.safe_load(text))), f"the schema takes {text}")
        policy = t.directory / "bad.yaml"
        policy.write_text(text + "\n")
        t.program(t.subject.binary, "--config", policy, "--check", status=1)
