"""Fetches Debian packages of another release, unpacked into a folder and never installed.

The machine's own apt sources are the ground: the same servers and keys, with the release's name changed, under a
private configuration that leaves the machine's apt alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

SOURCES = Path("/etc/apt/sources.list")
SOURCES_FOLDER = Path("/etc/apt/sources.list.d")


class SetupFailed(Exception):
    """An oracle cannot be set up on this machine; the message says why and what helps."""


def cache_folder() -> Path:
    """Return where the oracles live: ``$PYXEN_CACHE/oracle``, or under ``~/.cache/pyxen``."""
    chosen = os.environ.get("PYXEN_CACHE")
    if chosen:
        return Path(chosen) / "oracle"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pyxen" / "oracle"


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program and return what it printed; SetupFailed with its last words where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=cwd)
    except FileNotFoundError as error:
        raise SetupFailed(f"{command[0]} is needed to set up the oracles, and is not installed") from error
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


def sources_for(codename: str) -> tuple[str, str]:
    """Return the machine's Debian sources with its release changed to `codename`: (one-line style, deb822 style)."""
    host = host_codename()
    mentioned = re.compile(rf"\b{host}\b")
    files = [SOURCES, *SOURCES_FOLDER.glob("*.list")]
    lines = [
        mentioned.sub(codename, line)
        for path in files
        if path.exists()
        for line in path.read_text().splitlines()
        if re.match(rf"deb\s+(\[[^]]*\]\s+)?\S*/debian\S*\s+{host}", line)
    ]
    stanzas = [
        mentioned.sub(codename, stanza)
        for path in SOURCES_FOLDER.glob("*.sources")
        for stanza in re.split(r"\n\s*\n", path.read_text())
        if re.search(rf"^Suites:.*\b{host}\b", stanza, re.MULTILINE) and "debian-archive-keyring" in stanza
    ]
    if not lines and not stanzas:
        raise SetupFailed(f"no apt source of Debian {host} found under /etc/apt: the oracles are Debian's packages")
    return "\n".join(lines) + "\n", "\n\n".join(stanzas) + "\n"


class Packages:
    """The package lists of one Debian release, under a private apt configuration in `folder`."""

    def __init__(self, codename: str, folder: Path) -> None:
        self._folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "sources.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        one_line, deb822 = sources_for(codename)
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
        self._apt("apt-get", "update", "--error-on=any")

    def _apt(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        options = [part for option in self._options for part in ("-o", option)]
        return run(tool, "-q", *options, *arguments, cwd=cwd)

    def with_libraries(self, *names: str) -> list[str]:
        """Return the packages `names` and every shared library that they need, directly or not."""
        listing = self._apt(
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
        downloads = self._folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        self._apt("apt-get", "download", *names, cwd=downloads)
        tree.mkdir(parents=True, exist_ok=True)
        for package in sorted(downloads.glob("*.deb")):
            run("dpkg-deb", "-x", package, tree)
