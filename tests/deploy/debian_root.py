"""pgmend's Debian package, and a Debian with everything it depends on: the package is installed there, and the image's
program comes from there."""

import hashlib
import pathlib
import re
import shutil

import running
from running import ROOT, harness

BUILD = ROOT / "build/release"
WORK = ROOT / "build/deploy"


def package():
    """The package, built anew: seconds, as the program is there."""
    folder = WORK / "package"
    shutil.rmtree(folder, ignore_errors=True)
    # A build folder may have been set up for another place.
    running.said(["cmake", "-B", BUILD, "-DCMAKE_INSTALL_PREFIX=/usr"], cwd=ROOT)
    running.said(["cmake", "--build", BUILD, "--target", "pgmend", "manual"], cwd=ROOT)
    running.said(["cpack", "-G", "DEB", "-B", folder], cwd=BUILD)
    (file,) = folder.glob("*.deb")
    return file


def field(deb, name):
    return running.said(["dpkg-deb", "--field", deb, name]).strip()


def archive(depends):
    """A tar of a Debian with these packages. It is kept: making it takes a minute."""
    names = sorted({re.split(r"[ (|]", part.strip())[0] for part in depends.split(",")})
    file = WORK / f"root-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:12]}.tar"
    if not file.exists():
        options = [f"--aptopt={each}" for each in sorted(pathlib.Path("/etc/apt/apt.conf.d").glob("*")) if each.is_file()]
        sources = [str(each) for pattern in ("sources.list", "sources.list.d/*.sources", "sources.list.d/*.list")
                   for each in sorted(pathlib.Path("/etc/apt").glob(pattern))]
        partial = file.with_suffix(".partial.tar")
        running.said(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(names)}", *options, "bookworm",
                      partial, *sources], env=harness.clean_environment(DEBIAN_FRONTEND="noninteractive"), cwd="/")
        partial.rename(file)
    return file
