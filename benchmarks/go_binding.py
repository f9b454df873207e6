"""Xen's own Go binding of libxl, a contender of lists, and of creates and destroys.

Debian has no package of it, but the source of its package ``xen`` has the binding's. That is compiled against the
headers of the release that is measured. Where the archive does not hand out the release's source, it is that of another
release: the binding calls the same functions of libxl. Without any, the contender is left out.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from benchmarks.measure import GO_PROGRAMS
from lab import Lab, LabError, buildroot, releases
from lab.releases import Release
from tests.oracle import debian
from tests.oracle.debian import SetupFailed, Sources

__all__ = ["PARTS", "put"]

PARTS: Final = ("host_list", "create_destroy")
"""The benchmarks in which it is a contender."""

_PROGRAMS: Final = Path(__file__).resolve().parent / "go"
_PLACE: Final = "tools/golang/xenlight"
_IMPORTED: Final = f"xenbits.xenproject.org/git-http/xen.git/{_PLACE}"
_MODULE: Final = "xenlight"
_VERSION: Final = "version"


def put(dom0: Lab) -> str:
    """Put the Go programs into dom0, if they can be compiled; return what the results are to say of it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            version = _compile(dom0.release, Path(folder))
        except (SetupFailed, LabError) as error:
            print(f"benchmarks: Xen's Go binding is left out: {error}", file=sys.stderr, flush=True)
            return f"Xen's own Go binding is left out: {_reason(error)}"
        for program in sorted(Path(folder).iterdir()):
            dom0.put(program, str(GO_PROGRAMS / program.name))
    return f"Go has Xen's own binding, `{_PLACE}`, of Debian's source of xen {version}."


def _reason(error: Exception) -> str:
    """Return the last line of an error, which a compiler and apt end with, without names of this machine's."""
    last = str(error).rstrip().splitlines()[-1]
    return re.sub(r"\S+://\S+|(?<!\S)[('`]?/\S+", "…", last)


def _compile(release: Release, folder: Path) -> str:
    """Compile the programs into a folder, and return the version of the source that the binding is from."""
    source = _source(release)
    for program in sorted(_PROGRAMS.glob("*.go")):
        buildroot.compile_go(release, program, folder / program.stem, {_IMPORTED: source / _MODULE})
    return (source / _VERSION).read_text()


def _source(release: Release) -> Path:
    """Return the folder with the binding and a file with its version; fetched if it is not in the cache.

    Raises:
        SetupFailed: Debian's archive has none.
    """
    name, recipe = f"xen-{release.xen}-go", hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    debian.set_up(name, recipe, lambda folder: _fetch(release, folder))
    return debian.cached(name, recipe)


def _fetch(release: Release, folder: Path) -> None:
    others = [other for other in releases.RELEASES if other != release]
    lacking = []
    for suite in [each.suite for each in (release, *others)]:
        sources = Sources(suite, folder / "apt" / suite)
        for version in sources.versions("xen"):
            try:
                archive = sources.upstream(f"xen={version}")
            except SetupFailed:
                lacking.append(version)
                continue
            _unpack(archive, folder / _MODULE)
            (folder / _VERSION).write_text(version)
            shutil.rmtree(folder / "apt")
            return
    raise SetupFailed(f"Debian's archive does not hand out the source of xen {', '.join(lacking)}.")


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as members:
        for member in members:
            path = PurePosixPath(member.name)
            content = members.extractfile(member) if path.suffix in (".go", ".mod") else None
            if content is not None and str(path.parent).endswith(_PLACE):
                (folder / path.name).write_bytes(content.read())
    if not (folder / "go.mod").exists():
        raise SetupFailed(f"{archive.name} has no {_PLACE}")
