"""The Debian archive that this machine is configured for, and trees unpacked from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab import tools
from lab.errors import BuildFailed

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UNPACK_SECONDS = 1200.0  # mostly for a slow network: with a fast one it takes 40 s
# What has no use in dom0 and would make the image bigger.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")
_MERGE_USR = (
    'mkdir -p "$1/usr/bin" "$1/usr/sbin" "$1/usr/lib" "$1/usr/lib64"; '
    'for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$1/$dir"; done'
)


def _own_codename() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return ""


def sources(suite: str) -> list[str]:
    """The lines of sources.list for a Debian release, from the archive this machine itself installs from.

    The machine's own release and its security updates are looked up in apt's configuration, whatever form that has,
    and only the suite is changed. ``PYXEN_LAB_MIRROR`` (a URI) takes precedence.

    Raises:
        BuildFailed: apt knows no Debian archive here.
    """
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    mirror = os.environ.get("PYXEN_LAB_MIRROR")
    if mirror:
        return [f"deb {signed}{mirror} {suite} main"]
    own = _own_codename()
    listing = tools.call(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
            "Origin: Debian",
        ],
        what="reading apt's configuration",
    )
    lines = []
    for entry in listing.splitlines():
        uri, release, component = entry.split()
        if component == "main" and own and release in (own, f"{own}-security"):
            lines.append(f"deb {signed}{uri} {suite}{release.removeprefix(own)} main")
    if not lines:
        raise BuildFailed(
            "apt has no Debian archive configured on this machine (or its lists are empty: run `apt-get update`); "
            "name one: PYXEN_LAB_MIRROR=<URI of a Debian mirror>"
        )
    return sorted(set(lines))


def unpack(suite: str, packages: list[str], tree: Path, log: Path) -> None:
    """Unpack Debian packages and all they depend on into a folder; no maintainer script is run.

    Args:
        suite: Debian's code name.
        packages: Names of packages.
        tree: The folder to fill; it must not exist, or be empty.
        log: Receives mmdebstrap's messages.

    Raises:
        BuildFailed: mmdebstrap failed; the message has the end of its log.
    """
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        "--architectures=amd64",
        f"--include={','.join(packages)}",
        "--aptopt=APT::Install-Recommends false",
        # A caching mirror may hand out lists a little older than their signature allows.
        "--aptopt=Acquire::Check-Valid-Until false",
        "--aptopt=Acquire::Retries 3",
        "--aptopt=Acquire::http::Timeout 60",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        f"--setup-hook={_MERGE_USR}",
        suite,
        str(tree),
        *sources(suite),
    ]
    command = tools.as_root(argv, seconds=_UNPACK_SECONDS)
    with log.open("wb") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            timeout=_UNPACK_SECONDS + 60,  # `timeout` ends it before
        )
    if done.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        late = done.returncode == tools.TIMED_OUT
        why = f"took longer than {_UNPACK_SECONDS:.0f} s" if late else f"exited with status {done.returncode}"
        raise BuildFailed(f"unpacking Debian {suite} failed (mmdebstrap {why}):\n{tail}")
