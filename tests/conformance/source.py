"""PostgreSQL's own suites: fetched from Debian's source package, with the psql that goes with them, and built.

Debian does not keep every version's sources, so the newest that can be had is taken; psql comes in the same version,
because what a script prints depends on it. Everything lands in build/conformance and is kept."""

import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "conformance"
SERVER_INCLUDE = "/usr/include/postgresql/15/server"
SERVER_LIBRARIES = pathlib.Path("/usr/lib/postgresql/15/lib")
PGXS_TESTS = SERVER_LIBRARIES / "pgxs/src/test"


class Unavailable(Exception):
    """The suites cannot be had here."""


def call(*command, cwd=None):
    done = subprocess.run([str(word) for word in command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def apt_options():
    """apt's options for a copy of the system's package sources that asks for source packages."""
    own = KEPT / "apt"
    (own / "sources").mkdir(parents=True, exist_ok=True)
    (own / "lists/partial").mkdir(parents=True, exist_ok=True)
    for place in pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"):
        lines = ["Types: deb-src" if line.startswith("Types:") else line for line in place.read_text().splitlines()]
        (own / "sources" / place.name).write_text("\n".join(lines) + "\n")
    one_line = pathlib.Path("/etc/apt/sources.list")
    if one_line.exists():
        lines = [line.replace("deb ", "deb-src ", 1) for line in one_line.read_text().splitlines()
                 if line.startswith("deb ")]
        (own / "sources" / "system.list").write_text("\n".join(lines) + "\n")
    return ["-q", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={own / 'sources'}",
            "-o", f"Dir::State::Lists={own / 'lists'}", "-o", "APT::Sandbox::User=root"]


def fetch():
    """The unpacked sources and the directory of the psql that fits them."""
    ready = KEPT / "ready"
    if ready.exists():
        source, client = ready.read_text().split("\n")[:2]
        return pathlib.Path(source), pathlib.Path(client)
    KEPT.mkdir(parents=True, exist_ok=True)
    options = apt_options()
    call("apt-get", *options, "update")
    shown = call("apt-cache", *options, "showsrc", "postgresql-15")
    versions = sorted({line.split()[1] for line in shown.splitlines() if line.startswith("Version:")}, reverse=True)
    said = []
    for version in versions:
        try:
            call("apt-get", *options, "--download-only", "source", f"postgresql-15={version}", cwd=KEPT)
            call("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"postgresql-client-15={version}",
                 cwd=KEPT)
        except Unavailable as error:
            said.append(str(error))
            continue
        upstream = version.split("-")[0]
        call("tar", "xf", next(KEPT.glob(f"postgresql-15_{upstream}.orig.tar.*")), cwd=KEPT)
        call("dpkg-deb", "-x", next(KEPT.glob(f"postgresql-client-15_{version}_*.deb")), "client", cwd=KEPT)
        source, client = KEPT / f"postgresql-{upstream}", KEPT / "client/usr/lib/postgresql/15/bin"
        ready.write_text(f"{source}\n{client}\n")
        return source, client
    raise Unavailable("no version of PostgreSQL 15's source package can be fetched\n" + "\n".join(said))


def libraries(source, directory):
    """What the regression tests load into the server."""
    directory.mkdir()
    call("cc", "-shared", "-fPIC", "-O1", f"-I{SERVER_INCLUDE}", source / "src/test/regress/regress.c", "-o",
         directory / "regress.so")
    for name in ("refint.so", "autoinc.so"):
        shutil.copy(SERVER_LIBRARIES / name, directory)


def pipeline_program(source, directory):
    program = directory / "libpq_pipeline"
    call("cc", "-O1", "-I/usr/include/postgresql", f"-I{SERVER_INCLUDE}",
         source / "src/test/modules/libpq_pipeline/libpq_pipeline.c", "-o", program, "-lpq",
         f"-L{SERVER_LIBRARIES}", "-lpgcommon", "-lpgport")
    return program
