#!/usr/bin/python3
"""The house rules as a test.

Arrows between folders, third parties each folder may see, lengths, banned words with their replacement, heads
of headers, formatting, and with --headers that every header compiles alone. Prints one line for each violation
(file:line: rule: what to do instead) and ends with "N passed, N failed", counted in files and rules.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["protocol", "config", "health", "pool", "proxy"]

# Who may include whom, and tests may include everything. A folder always sees itself.
ARROWS = {
    "protocol": set(),
    "config": set(),
    "health": {"config", "protocol"},
    "pool": {"config", "protocol"},
    "proxy": {"protocol", "config", "health", "pool"},
}

# Third parties by the prefix of the include, and the folders that may see them. What is in no row is std or the
# system and free for all. An entry "folder/file" opens one file (either ending) and not its folder.
THIRD_PARTIES = {
    "boost/system/": set(FOLDERS),
    "boost/asio/awaitable": {"config/environment", "health", "pool", "proxy"},
    "boost/regex": {"config/ident_map"},
    "boost/": {"health", "pool", "proxy"},
    "openssl/ssl": {"pool", "proxy"},
    "openssl/": {"protocol", "pool", "proxy"},
    "libpq-fe.h": {"health", "config/connection_url"},
    "pg_query": {"protocol"},
    "xxhash.h": {"protocol"},
    "yaml-cpp/": {"config"},
    "spdlog/": {"config"},
    "fmt/": {"config"},
    "prometheus/": {"config", "proxy"},
    "liburing": {"pool"},
}


@dataclass(frozen=True)
class Ban:
    """A word that must not stand in the code, outside the places where it belongs."""

    pattern: str
    instead: str
    allowed: tuple = ()  # prefixes of paths
    only: tuple = ("",)  # prefixes of paths it is about


BANS = [
    Ban(r"\bany_completion_handler\b", "recurses without end in Boost 1.81: park on an event_gate or a timer"),
    Ban(r"\bawaitable_operators\b", "3.7 KB a session and racy: one event_gate with a bit for each cause"),
    Ban(r"\bssl::stream\b", "85 KB a connection: pool/tls_stream",
        # One connection, for the time of one question, on the control plane.
        ("proxy/servers/patroni_finder",)),
    Ban(
        r"\bsystem_clock::now\b",
        "time is an argument; the wall clock belongs to the log and the production environment",
        ("config/log", "proxy/process/real_"),
    ),
    Ban(
        r"\bsteady_clock::now\b",
        "time is an argument; ask environment::now()",
        # proxy/server is the control plane: it has no environment, only Asio's timers.
        ("config/log", "proxy/process/real_", "proxy/server.", "proxy/server_watch", "proxy/servers/server_probes", "pool/event_loop",
         "pool/handshake_helper", "tests/"),
    ),
    Ban(r"\brandom_device\b", "randomness is an argument; ask environment::rng()", ("proxy/process/real_",)),
    Ban(r"\bstd::regex\b", "allocates and recurses without bound: write the loop"),
    Ban(r"\bsleep_for\b|\bsleep_until\s*\(\s*std::chrono|\busleep\s*\(", "nothing sleeps: wait for the event, with a deadline"),
    Ban(
        r"\bmutex\b",
        "no lock while a query is in flight: immutable snapshots and post",
        # The loop's own is for work that other threads post, and taken only when there is some; the resolver's is held
        # for a copy when a server connection is opened; the limits' when a client comes, goes or is refused; the helper's for a
        # step of a handshake.
        ("config/", "proxy/limits/limit_book", "pool/event_loop", "pool/handshake_helper", "proxy/servers/address_resolver", "proxy/server.", "proxy/worker", "tests/"),
    ),
    Ban(r"\bTODO\b|\bFIXME\b|\bXXX\b|\bHACK\b", "do it, or open an issue"),
    Ban(r"\bfor now\b|\bsimplified\b", "say what it does and why, or finish it"),
    Ban(
        r"\bstd::function\b",
        "no type-erased call for a message: a virtual function, a template or a plain one",
        only=("protocol/", "pool/stream", "pool/channel", "pool/socket_stream", "pool/tls_stream", "pool/event_gate",
              "pool/reply_pump", "proxy/session/request_relay", "proxy/session/client_session"),
    ),
]

# What GCC 12.2 compiles wrongly, looked for in each statement that contains co_await.
COROUTINE_TRAPS = [
    (r"[(,]\s*\{", "an aggregate or a list in braces is destroyed twice: name it on the line above and move it"),
    (r"[(,]\s*\[[^\]]+\]\s*[({]", "a capturing lambda is freed twice: name it on the line above and move it"),
    (r"\?[^:]*[^:]:[^:]", "not in a ternary: write the if"),
]

FILE_LINES, TEST_FILE_LINES, FUNCTION_LINES = 500, 800, 70
SOURCE_ENDINGS = {".hpp", ".cpp", ".h", ".c"}


def sources():
    """Every source file git knows or would know, so that build folders and other litter do not count."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return sorted(p for p in map(pathlib.Path, set(listed.stdout.splitlines())) if (ROOT / p).is_file())


def without_comments_and_strings(text):
    """The code alone, with every line where it was: what was a comment or a literal becomes blanks."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^()\\ ]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)

    def blank(match):
        found = match.group(0)
        # A digit separator (10'000) is no character literal.
        if found[0] == "'" and match.start() > 0 and text[match.start() - 1].isalnum():
            return found
        return re.sub(r"[^\n]", " ", found)

    return token.sub(blank, text)


def in_place(path, places):
    return any(path.startswith(place) for place in places)


def check_arrows(path, lines, report):
    folder = path.split("/")[0]
    if folder not in ARROWS:
        return
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not match:
            continue
        kind, target = match.groups()
        other = target.split("/")[0]
        if kind == '"' and (ROOT / folder / target).is_file():
            report(path, number, "arrows", f'"{target}": include from the root as "{folder}/{target}"')
        elif other in ARROWS and other != folder and other not in ARROWS[folder]:
            report(path, number, "arrows", f"{folder} may not include {other}")
        elif other == "tests":
            report(path, number, "arrows", "the program may not include its tests")
        check_third_party(path, number, folder, target, report)


def check_third_party(path, number, folder, target, report):
    stem = path.rsplit(".", 1)[0]
    for prefix, allowed in THIRD_PARTIES.items():
        if target.startswith(prefix):
            if folder not in allowed and stem not in allowed:
                report(path, number, "arrows", f"{folder} may not see <{target}>; allowed: {', '.join(sorted(allowed))}")
            return


def check_words(path, text, code, report):
    code_lines, lines = code.splitlines(), text.splitlines()
    for ban in BANS:
        if in_place(path, ban.allowed) or not in_place(path, ban.only):
            continue
        # Words about unfinished work hide in comments; all others count only in code.
        where = lines if "TODO" in ban.pattern or "for now" in ban.pattern else code_lines
        for number, line in enumerate(where, 1):
            found = re.search(ban.pattern, line)
            if found:
                report(path, number, "banned", f"{found.group(0).strip()}: {ban.instead}")


def check_coroutines(path, code, report):
    for found in re.finditer(r"\bco_await\b[^;]*;", code):
        begin = max(code.rfind(end, 0, found.start()) for end in ";{}") + 1
        statement, number = code[begin : found.end()], code.count("\n", 0, found.start()) + 1
        # A condition ends where the body of its if or loop begins, and that may use what braces it likes.
        statement = re.split(r"\)\s*\{", statement)[0]
        for pattern, instead in COROUTINE_TRAPS:
            if re.search(pattern, statement):
                report(path, number, "coroutine", f"in a co_await: {instead}")
    # A lambda with captures that is itself a coroutine dies before its frame, unless co_spawn keeps it.
    for found in re.finditer(r"\[[^\]\n]+\]\s*\([^)]*\)\s*(?:mutable\s*)?->\s*(?:\w+::)*(?:task|awaitable)<", code):
        statement = code[max(code.rfind(end, 0, found.start()) for end in ";{}") + 1 : found.start()]
        if "co_spawn" not in statement:
            line = code.count("\n", 0, found.start()) + 1
            report(path, line, "coroutine", "a lambda with captures as a coroutine: give it parameters, or a function")


def check_lengths(path, text, code, report):
    lines = text.count("\n") + (not text.endswith("\n"))
    limit = TEST_FILE_LINES if path.startswith("tests/") else FILE_LINES
    if lines > limit:
        report(path, lines, "length", f"{lines} lines, at most {limit}: split it by responsibility")
    for number, length, name in long_functions(code):
        if length > FUNCTION_LINES and not name.startswith(("TEST_CASE", "SCENARIO")):
            report(path, number, "length", f"{name} has {length} lines, at most {FUNCTION_LINES}: a function fits a screen")


def long_functions(code):
    """Yields (line, length, name) of what looks like a function body: `name(...) … {` not inside another one.

    Braces of namespaces, types and enums are transparent; the first brace after a parenthesis list opens a
    function, and everything up to its partner is its body.
    """
    depth_of_body, start, name, stack, head_begin = None, 0, "", [], 0
    line = 1
    for position, char in enumerate(code):
        if char == "\n":
            line += 1
        elif char == "{":
            if depth_of_body is None:
                head = code[head_begin:position]
                if re.search(r"\)\s*(const|noexcept|override|final|mutable|->[^;{]*|:[^:][^;]*|\s)*$", head) and not re.match(
                    r"\s*(namespace|class|struct|union|enum|extern)\b(?![^{]*\)\s*$)", head
                ):
                    called = re.search(r"([\w:~]+|operator[^\s(]+)\s*\(", head)
                    name = called.group(1) if called else "?"
                    depth_of_body, start = len(stack), line
            stack.append(char)
            head_begin = position + 1
        elif char == "}":
            if stack:
                stack.pop()
            if depth_of_body is not None and len(stack) == depth_of_body:
                # A table written as a switch counts an entry as one line: the label and its value.
                body = code.splitlines()[start - 1 : line]
                labels = sum(1 for text in body if re.match(r"\s*case [\w:]+:$", text))
                yield start, line - start + 1 - labels, name
                depth_of_body = None
            head_begin = position + 1
        elif char == ";" and depth_of_body is None:
            head_begin = position + 1


def check_header(path, lines, report):
    if not path.endswith(".hpp"):
        return
    content = [line for line in lines if line.strip()]
    if "#pragma once" not in content:
        report(path, 1, "header", "#pragma once is missing")
    head = [line for line in content[:3] if line.startswith("//")]
    if not head:
        report(path, 1, "header", "a comment at the head says what this is for and why")


def check_format(paths, report):
    tool = "clang-format-14"
    done = subprocess.run([tool, "--dry-run", "--ferror-limit=1", *map(str, paths)], cwd=ROOT, capture_output=True, text=True)
    for line in done.stderr.splitlines():
        found = re.match(r"([^:\s]+):(\d+):\d+: (?:warning|error): code should be clang-formatted", line)
        if found:
            report(found.group(1), int(found.group(2)), "format", f"{tool} -i {found.group(1)}")
    if done.returncode != 0 and not done.stderr.strip():
        report(".clang-format", 1, "format", f"{tool} ended with status {done.returncode}")


def check_headers_alone(paths, report):
    """Compiles every header as a file of its own, with the flags of the program."""
    flags = ["-std=c++20", f"-I{ROOT}", "-I/usr/include/postgresql", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    flags += ["-DBOOST_ASIO_NO_DEPRECATED", "-DBOOST_ASIO_SEPARATE_COMPILATION", "-DBOOST_BEAST_SEPARATE_COMPILATION"]

    def compile_one(path):
        text = f'#include "{path}"\n'
        return path, subprocess.run(["g++", *flags, "-x", "c++", "-"], cwd=ROOT, input=text, capture_output=True, text=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, done in pool.map(compile_one, paths):
            if done.returncode != 0:
                first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                report(str(path), 1, "header", f"does not compile alone: {first}")


def check_mutations(report):
    """The text of a rule that tests/mutations switches off stands in its file as it says, once."""
    sys.path.insert(0, str(ROOT / "tests/mutations"))
    from rules import RULES

    for rule in RULES:
        times = (ROOT / rule.file).read_text(encoding="utf-8").count(rule.text)
        if times != 1:
            report(rule.file, 1, "mutations", f"the text of the rule {rule.name!r} stands here {times} times")


def known_tests():
    """The names of the integration tests, and of the functions that are tests of deploy."""
    names = set()
    for path in (ROOT / "tests/integration").glob("*.py"):
        for match in re.finditer(r'^@test\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', path.read_text(encoding="utf-8"), re.M):
            names.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1))))
    for path in (ROOT / "tests/deploy").glob("*_test.py"):
        names.update(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M))
    return names


def check_tried(report):
    """Each row and each part of the runbook names tests that try it, and each test it names is there; so does each row
    of the README's table of what is healed."""
    tests = known_tests()

    def check_names(path, number, names):
        for name in names:
            if not any(name in each for each in tests):
                report(path, number, "tried", f"there is no test `{name}`")
        if not names:
            report(path, number, "tried", "nothing says which test tries this")

    path = "deploy/RUNBOOK.md"
    part = None  # of an alert, until a test is named
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            if part:
                report(path, part, "tried", "nothing says which test tries this")
            part = number if re.fullmatch(r"## Pgmend\w+", line) else None
        elif line.startswith("Tried by: "):
            part = None
            check_names(path, number, re.findall(r"`([^`]+)`", line))
        elif line.startswith("| ") and not line.startswith("| symptom |"):
            check_names(path, number, re.findall(r"`([^`]+)`", line.rsplit(" | ", 1)[1]))
    if part:
        report(path, part, "tried", "nothing says which test tries this")
    for number, line in enumerate((ROOT / "README.md").read_text(encoding="utf-8").splitlines(), 1):
        if shown := re.search(r"\(tests/integration/\w+\.py\): (.*) \|$", line):
            check_names("README.md", number, re.findall(r"`([^`]+)`", shown.group(1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headers", action="store_true", help="also compile every header alone")
    options = parser.parse_args()
    violations = []

    def report(path, line, rule, text):
        violations.append((path, rule))
        print(f"{path}:{line}: {rule}: {text}")

    paths = [p for p in sources() if p.suffix in SOURCE_ENDINGS]
    for path in paths:
        text = (ROOT / path).read_text(encoding="utf-8")
        lines, code, name = text.splitlines(), without_comments_and_strings(text), str(path)
        check_arrows(name, lines, report)
        check_words(name, text, code, report)
        check_coroutines(name, code, report)
        check_lengths(name, text, code, report)
        check_header(name, lines, report)
    check_format(paths, report)
    check_mutations(report)
    check_tried(report)
    if options.headers:
        check_headers_alone([p for p in paths if p.suffix == ".hpp"], report)

    # A file is a test; so a file with several violations failed once, and each violation has its own line above.
    bad = {path for path, _ in violations}
    print(f"{len(paths) - len(bad & set(map(str, paths)))} passed, {len(bad)} failed")
    return 1 if bad or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
