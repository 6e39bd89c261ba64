"""Programs in drivers/ that use one driver each as applications do: what they print through the subject is what they print
direct, quietly and among neighbours that run short transactions on the same servers."""

import collections
import contextlib
import dataclasses
import difflib
import re
import subprocess
import sys
import typing

import node_clients
from harness import HERE, PASSWORDS, ROOT, check, clean_environment, die_with_parent
from registry import register

TESTS = []
test = register(TESTS)
PROGRAMS = HERE / "drivers"
BUILT = ROOT / "build" / "integration"
# More than there are servers, so that neither they nor the program can each keep one.
NEIGHBOURS = 12
NAME = "a neighbour"
# At least so often a program must have worked on a server right after a neighbour.
HAND_OVERS = 10
STATEMENT = re.compile(r"^\S+ \S+ \S+ \[(\d+)\] app@driver_busy/(.*?) LOG:  (?:statement|execute [^:]*): ", re.M)


@dataclasses.dataclass
class Program:
    driver: str  # in the test's name
    command: typing.Callable  # of nothing: builds what is to be built, returns the command
    startup: dict = dataclasses.field(default_factory=dict)  # what most of its connections log in with
    quick: bool = False  # runs in --quick too, quietly


def fresh_database(t, name):
    """A database of one kind of run, with nothing of the last program in it. It is kept, as are the servers pooled for it."""
    if not t.admin(f"SELECT 1 FROM pg_database WHERE datname = '{name}'", "postgres"):
        t.admin(f"CREATE DATABASE {name} OWNER app", "postgres")
        if name == "driver_busy":
            t.admin(f"ALTER DATABASE {name} SET log_statement = 'all'", "postgres")  # for hand_overs()
    with t.postgres.admin(name) as admin:
        admin.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        for schema, in admin.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information)'").fetchall():
            admin.execute(f'DROP SCHEMA "{schema}" CASCADE')
        for publication, in admin.execute("SELECT pubname FROM pg_publication").fetchall():
            admin.execute(f'DROP PUBLICATION "{publication}"')
        admin.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT ALL ON SCHEMA public TO PUBLIC; "
                      "COMMENT ON SCHEMA public IS 'standard public schema'")


def start(t, program, place, database, output):
    environment = clean_environment(PGHOST=place.host, PGPORT=str(place.port), PGUSER="app", PGDATABASE=database,
                                    PGPASSWORD=PASSWORDS["app"], PGCONNECT_TIMEOUT="30", TZ="UTC", LC_ALL="C.UTF-8",
                                    STREAMER_PASSWORD=PASSWORDS["streamer"])
    with open(output, "wb") as file:
        process = subprocess.Popen([str(part) for part in program.command()], env=environment, cwd=t.directory,
                                   stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                   preexec_fn=die_with_parent())

    def end():
        if process.poll() is None:
            process.kill()
        process.wait()

    t.closing.callback(end)
    return process


def printed(program, process, output, timeout):
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        status = "no status within the time"
    text = re.sub(r"driver_(direct|quiet|busy)", "driver_database", output.read_text("utf-8", "replace"))
    lines = re.sub(r"pg_temp_\d+", "pg_temp", text).splitlines()
    check(status == 0 and lines and lines[-1] == "-- the end",
          f"{program.driver} ended with {status}\n" + "\n".join(lines[-15:]))
    return lines


@contextlib.contextmanager
def shared_with_neighbours(t, startup=None):
    """Neighbours on the servers of clients that log in with `startup`. Only what happened on shared servers counts, so
    the servers must have changed hands between them and whoever else works in the database."""
    fresh_database(t, "driver_busy")
    begun = t.postgres.log_size()
    with t.neighbours(NEIGHBOURS, database="driver_busy", plain={"application_name": NAME},
                      given={**(startup or {}), "application_name": NAME}):
        yield
    taken = taken_over(t.postgres.log_since(begun))
    check(taken >= HAND_OVERS or t.direct, f"a server came from a neighbour to somebody else {taken} times: nobody was disturbed")


def taken_over(log):
    """How often the next statement on a neighbour's server was another client's, by what the server logged."""
    last, taken = {}, 0
    for pid, name in STATEMENT.findall(log):
        taken += last.get(pid) == NAME != name
        last[pid] = name
    return taken


def compare(t, program, database, timeout=100):
    fresh_database(t, "driver_direct")
    fresh_database(t, database)
    outputs = [t.directory / "direct", t.directory / "through"]
    processes = [start(t, program, t.postgres, "driver_direct", outputs[0]),
                 start(t, program, t.subject, database, outputs[1])]
    through = printed(program, processes[1], outputs[1], timeout)
    direct = printed(program, processes[0], outputs[0], timeout)
    if direct != through:
        check(False, "\n".join(difflib.unified_diff(direct, through, "direct", "through", lineterm="", n=2)))
    check(len(direct) > 20, f"only {len(direct)} lines")


def built(source, target, *command, environment=None):
    """The program built from source, in a folder under build/integration; again when the source or the command changed."""
    stamp = target / "built.from"
    wanted = " ".join(map(str, command)) + "\n" + source.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        target.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([str(part) for part in command], env=clean_environment(**(environment or {})), cwd=target,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 0, f"{source.name} is not built: {done.stdout[-3000:]}")
        stamp.write_text(wanted)
    return target


def java():
    source, target, driver = PROGRAMS / "java" / "App.java", BUILT / "java", "/usr/share/java/postgresql.jar"
    built(source, target, "javac", "-encoding", "UTF-8", "-d", target, "-cp", driver, source)
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp", f"{target}:{driver}", "App"]


def go(name):
    def command():
        source, target = PROGRAMS / "go" / name / "main.go", BUILT / "go" / name
        # Debian's libraries are a GOPATH; without modules nothing is asked of any network.
        return [built(source, target, "go", "build", "-o", target / "app", source,
                      environment={"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(BUILT / "go" / "cache")})
                / "app"]

    return command


def node(library):
    # Packages are looked for beside the program, and then where NODE_PATH says.
    return lambda: ["env", f"NODE_PATH={node_clients.installed() / 'node_modules'}", "node", "--no-deprecation",
                    PROGRAMS / "node" / "app.js", library]


def python(name):
    return lambda: [sys.executable, PROGRAMS / "python" / f"{name}_app.py"]


ALL = [
    Program("psycopg2", python("psycopg2"), quick=True),
    Program("psycopg 3", python("psycopg3"), quick=True),
    Program("asyncpg", python("asyncpg"), {"client_encoding": "'utf-8'"}),
    Program("SQLAlchemy", python("sqlalchemy")),
    Program("Django", python("django"), {"options": "-c statement_timeout=50s"}),
    Program("JDBC", java,
            {"client_encoding": "UTF8", "DateStyle": "ISO", "TimeZone": "UTC", "extra_float_digits": "2"}),
    Program("Go's lib/pq", go("pq"),
            {"client_encoding": "UTF8", "datestyle": "ISO, MDY", "extra_float_digits": "2"}),
    Program("pgx", go("pgx")),
    Program("Perl's DBD::Pg", lambda: ["perl", PROGRAMS / "perl" / "app.pl"]),
    Program("Ruby's pg", lambda: ["ruby", PROGRAMS / "ruby" / "app.rb"]),
    Program("PHP's pdo_pgsql", lambda: ["php", PROGRAMS / "php" / "app.php"]),
    Program("node's pg", node("pg"), {"client_encoding": "UTF8"}),
    Program("node's pg-cursor", node("pg-cursor"), {"client_encoding": "UTF8"}),
    Program("node's postgres", node("postgres"), {"client_encoding": "UTF8"}),
]

for each in ALL:

    @test(f"drivers: {each.driver} prints the same as direct", slow=not each.quick, seconds=120)
    def quietly(t, program=each):
        compare(t, program, "driver_quiet")

    @test(f"drivers: {each.driver} prints the same as direct among neighbours", slow=True, seconds=240)
    def among_neighbours(t, program=each):
        with shared_with_neighbours(t, program.startup):
            compare(t, program, "driver_busy", timeout=200)
