"""libvirt itself, of several releases, as Debian has it: its schema of domains, and virsh with the test driver."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.oracle import debian
from tests.oracle.debian import Packages, cached

RELEASES = {"9.0": ("bookworm", ["libvirt-clients"]), "11.3": ("trixie", ["libvirt-clients", "libvirt-common"])}
"""The releases of libvirt, and the Debian release and packages that have virsh and the schema of each."""


def _recipe() -> str:
    return hashlib.sha256(repr(sorted(RELEASES.items())).encode()).hexdigest()


def set_up(release: str) -> None:
    """Put a release of libvirt into the cache, unless it is there."""

    def make(folder: Path) -> None:
        codename, names = RELEASES[release]
        packages = Packages(codename, folder / "apt")
        packages.unpack(packages.with_libraries(*names), folder / "tree")
        shutil.rmtree(folder / "apt")

    debian.set_up(f"libvirt-{release}", _recipe(), make)


def _tree(release: str) -> Path:
    return cached(f"libvirt-{release}", _recipe()) / "tree"


class Schema:
    """The schema of one release.

    Raises:
        SetupFailed: It was not set up; the message names the command.
    """

    def __init__(self, release: str) -> None:
        from lxml import etree  # the set-up needs the standard library only

        self._etree = etree
        self.release = release
        path = _tree(release) / "usr" / "share" / "libvirt" / "schemas" / "domain.rng"
        self._schema = etree.RelaxNG(etree.parse(path))

    def complaints(self, xml: str) -> list[str]:
        """Return what the schema has against a document; nothing if it is valid."""
        self._schema.validate(self._etree.fromstring(xml))
        return [f"line {entry.line}: {entry.message}" for entry in self._schema.error_log]


@dataclass(frozen=True)
class Refused:
    """libvirt's refusal.

    Attributes:
        messages: What it said.
    """

    messages: str


class Virsh:
    """virsh of one release, on libvirt's test driver: its own parser, defaults and writer, without a hypervisor."""

    def __init__(self, release: str) -> None:
        tree = _tree(release)
        loader = next(path for path in sorted(tree.glob("**/lib64/ld-linux*.so.*")) if path.exists())
        libraries = sorted({str(path.parent) for path in tree.glob("**/*-linux-gnu/*.so.*")})
        self._command = [str(loader), "--library-path", ":".join(libraries), str(tree / "usr" / "bin" / "virsh")]
        self._home = tempfile.TemporaryDirectory(prefix="pyxen-virsh-")

    def define(self, xml: str, uuid: object) -> str | Refused:
        """Have libvirt take a document, and return what it makes of it, or its refusal."""
        path = Path(self._home.name) / "domain.xml"
        path.write_text(xml)
        script = f"define {path}; dumpxml --inactive --security-info {uuid}"
        done = subprocess.run(
            [*self._command, "-q", "-c", "test:///default", script],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": self._home.name, "XDG_RUNTIME_DIR": self._home.name, "LC_ALL": "C.UTF-8"},
            timeout=60,
        )
        if done.returncode or "error:" in done.stderr:
            return Refused(done.stderr.strip())
        return done.stdout[done.stdout.index("<domain") :]

    def close(self) -> None:
        """Remove what virsh left."""
        self._home.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
