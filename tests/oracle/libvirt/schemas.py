"""libvirt's own schema of domains, of several releases, as Debian has it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.oracle.debian import Packages, SetupFailed, cache_folder

RELEASES = {"9.0": ("bookworm", "libvirt0"), "11.3": ("trixie", "libvirt-common")}
"""The releases of libvirt, and the Debian release and package that has the schema of each."""

COMMAND = "python3 -m tests.oracle.setup"


def _folder(release: str) -> Path:
    return cache_folder() / f"libvirt-{release}"


def _recipe() -> str:
    return hashlib.sha256(repr(sorted(RELEASES.items())).encode()).hexdigest()


def is_set_up(release: str) -> bool:
    """Return whether the schema of `release` is in the cache."""
    stamp = _folder(release) / "stamp"
    return stamp.exists() and stamp.read_text() == _recipe()


def set_up(release: str) -> None:
    """Put the schema of `release` into the cache, unless it is there."""
    if is_set_up(release):
        return
    codename, package = RELEASES[release]
    folder = _folder(release)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    Packages(codename, folder / "apt").unpack([package], folder / "tree")
    shutil.rmtree(folder / "apt")
    (folder / "stamp").write_text(_recipe())


class Schema:
    """The schema of one release.

    Raises:
        SetupFailed: It was not set up; the message names the command.
    """

    def __init__(self, release: str) -> None:
        if not is_set_up(release):
            raise SetupFailed(f"the schema of libvirt {release} is not set up: run `{COMMAND}`")
        from lxml import etree  # the set-up needs the standard library only

        self._etree = etree
        path = _folder(release) / "tree" / "usr" / "share" / "libvirt" / "schemas" / "domain.rng"
        self.release = release
        self._schema = etree.RelaxNG(etree.parse(path))

    def complaints(self, xml: str) -> list[str]:
        """Return what the schema has against a document; nothing if it is valid."""
        self._schema.validate(self._etree.fromstring(xml))
        return [f"line {entry.line}: {entry.message}" for entry in self._schema.error_log]
