"""Fetches Debian packages of another release, and the sources of packages, into a folder; nothing is installed.

The machine's own apt sources are the ground: the same servers and keys, with the release's name changed, under a
private configuration that leaves the machine's apt alone. Sources of packages come from the same servers, whether the
machine's apt asks for them or not.

What is made of them is kept in the cache, in a folder for each recipe: checkouts that make it differently share the
cache without taking it from each other.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

SOURCES = Path("/etc/apt/sources.list")
SOURCES_FOLDER = Path("/etc/apt/sources.list.d")

COMMAND = "python3 -m tests.oracle.setup"
"""What sets the oracles up."""

KEPT = 30 * 24 * 3600
"""How long a folder of the cache outlives its last set-up, in seconds."""


class SetupFailed(Exception):
    """An oracle cannot be set up on this machine; the message says why and what helps."""


def cache_folder() -> Path:
    """Return where the oracles live: ``$PYXEN_CACHE/oracle``, or under ``~/.cache/pyxen``."""
    chosen = os.environ.get("PYXEN_CACHE")
    if chosen:
        return Path(chosen) / "oracle"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pyxen" / "oracle"


def cached(name: str, recipe: str) -> Path:
    """Return the folder of the cache that holds `name`, made by a recipe of this digest.

    Raises:
        SetupFailed: It was not set up, or by another recipe only; the message names the command.
    """
    folder = _place(name, recipe)
    if not folder.exists():
        raise SetupFailed(f"{name} is not set up: run `{COMMAND}`")
    return folder


def set_up(name: str, recipe: str, make: Callable[[Path], None]) -> None:
    """Have `make` fill the folder of the cache that holds `name`, unless that was done.

    It is filled elsewhere and moved there when it is whole. Whoever else makes it meanwhile does no harm.
    """
    folder = _place(name, recipe)
    if folder.exists():
        os.utime(folder)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.new-", dir=folder.parent) as made:
            content = Path(made) / "content"
            content.mkdir()
            make(content)
            try:
                content.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    for other in folder.parent.glob(f"{name}-{'[0-9a-f]' * _DIGITS}"):
        if other != folder and other.stat().st_mtime < time.time() - KEPT:
            shutil.rmtree(other, ignore_errors=True)


_DIGITS = 12
_SECONDS = 1200.0
"""How long a program may take: mostly for a slow network, or a compiler on a busy machine."""


def _place(name: str, recipe: str) -> Path:
    return cache_folder() / f"{name}-{recipe[:_DIGITS]}"


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program and return what it printed; SetupFailed with its last words where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=cwd, timeout=_SECONDS)
    except FileNotFoundError as error:
        raise SetupFailed(f"{command[0]} is needed to set up the oracles, and is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SetupFailed(f"{' '.join(map(str, command))} took longer than {_SECONDS:.0f} s") from error
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-2000:]
        raise SetupFailed(f"{' '.join(map(str, command))} failed with status {done.returncode}:\n{tail}")
    return done.stdout


def host_codename() -> str:
    """Return the codename of the machine's release, ``bookworm`` for Debian 12."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if not found:
        raise SetupFailed("/etc/os-release names no release: the oracles need Debian")
    return found[1]


Kind = Literal["deb", "deb-src"]
"""What apt is to know of: packages, or the sources of packages."""


def sources_for(codename: str, kind: Kind = "deb") -> tuple[str, str]:
    """Return the machine's Debian sources with its release changed to `codename`: (one-line style, deb822 style)."""
    host = host_codename()
    mentioned = re.compile(rf"\b{host}\b")
    files = [SOURCES, *SOURCES_FOLDER.glob("*.list")]
    lines = [
        re.sub(r"^deb(-src)?\b", kind, mentioned.sub(codename, line))
        for path in files
        if path.exists()
        for line in path.read_text().splitlines()
        if re.match(rf"deb\s+(\[[^]]*\]\s+)?\S*/debian\S*\s+{host}", line)
    ]
    stanzas = [
        re.sub(r"^Types:.*$", f"Types: {kind}", mentioned.sub(codename, stanza), flags=re.MULTILINE)
        for path in SOURCES_FOLDER.glob("*.sources")
        for stanza in re.split(r"\n\s*\n", path.read_text())
        if re.search(rf"^Suites:.*\b{host}\b", stanza, re.MULTILINE) and "debian-archive-keyring" in stanza
    ]
    if not lines and not stanzas:
        raise SetupFailed(f"no apt source of Debian {host} found under /etc/apt: the oracles are Debian's packages")
    return "\n".join(lines) + "\n", "\n\n".join(stanzas) + "\n"


class _Apt:
    """What Debian has of one kind in one release, under a private apt configuration in `folder`."""

    kind: Kind

    def __init__(self, codename: str, folder: Path) -> None:
        self._folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "sources.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        one_line, deb822 = sources_for(codename, self.kind)
        (folder / "sources.list").write_text(one_line)
        (folder / "sources.d" / "debian.sources").write_text(deb822)
        (folder / "status").touch()
        self._options = [
            f"Dir::Etc::SourceList={folder / 'sources.list'}",
            f"Dir::Etc::SourceParts={folder / 'sources.d'}",
            f"Dir::State={folder / 'state'}",
            f"Dir::State::Status={folder / 'status'}",
            f"Dir::Cache={folder / 'cache'}",
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
        ]
        self._run("apt-get", "update", "--error-on=any")

    def _run(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        options = [part for option in self._options for part in ("-o", option)]
        return run(tool, "-q", *options, *arguments, cwd=cwd)

    def _downloads(self) -> Path:
        """Return an empty folder to download into."""
        downloads = self._folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        return downloads


def newest_first(versions: Iterable[str]) -> list[str]:
    """Return versions of a package in Debian's order, the newest first."""

    def compare(one: str, other: str) -> int:
        done = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False, timeout=_SECONDS)
        return 1 if done.returncode == 0 else -1

    return sorted(versions, key=functools.cmp_to_key(compare))


class Sources(_Apt):
    """The sources of the packages of one Debian release."""

    kind = "deb-src"

    def versions(self, name: str) -> list[str]:
        """Return the versions of the package `name` that the archive lists, the newest first."""
        lines = self._run("apt-cache", "madison", name).splitlines()
        return newest_first({line.split("|")[1].strip() for line in lines})

    def upstream(self, name: str) -> Path:
        """Download the newest source of the package `name`, or of ``NAME=VERSION``, and return its authors' tar file.

        Raises:
            SetupFailed: The archive does not hand it out.
        """
        downloads = self._downloads()
        self._run("apt-get", "source", "--download-only", "--tar-only", "--only-source", name, cwd=downloads)
        found = sorted(downloads.glob("*.orig.tar.*"))
        if not found:
            raise SetupFailed(f"apt-get source {name} brought no .orig.tar file")
        return found[0]


class Packages(_Apt):
    """The packages of one Debian release."""

    kind = "deb"

    def with_libraries(self, *names: str) -> list[str]:
        """Return the packages `names` and every shared library that they need, directly or not."""
        listing = self._run(
            "apt-cache",
            "depends",
            "--recurse",
            "--important",
            "--no-pre-depends",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            *names,
        )
        needs: dict[str, list[str]] = {}
        current = ""
        for line in listing.splitlines():
            if not line.startswith((" ", "|")):
                current = line.strip()
                needs[current] = []
            elif "Depends:" in line:
                needs[current].append(line.split("Depends:")[1].strip())
        wanted = list(names)
        for name in wanted:
            for need in needs.get(name, []):
                if need.startswith(("lib", "zlib")) and need not in wanted:
                    wanted.append(need)
        return wanted

    def unpack(self, names: list[str], tree: Path) -> None:
        """Download the packages `names` and unpack them below `tree`."""
        downloads = self._downloads()
        self._run("apt-get", "download", *names, cwd=downloads)
        tree.mkdir(parents=True, exist_ok=True)
        for package in sorted(downloads.glob("*.deb")):
            run("dpkg-deb", "-x", package, tree)
