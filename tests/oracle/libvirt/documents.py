"""The documents of libvirt's own tests, as its source has them: one machine in two spellings each.

Which there are stands in ``documents.txt``, so tests have names before anything is fetched; a test compares the list
with what was fetched.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from tests.oracle import debian
from tests.oracle.debian import Sources, cached

RELEASES = {"9.0": "bookworm", "11.3": "trixie"}
"""The releases of libvirt, and the Debian release that has the source of each."""

PARTNERS = {"xlconfigdata": ".cfg", "xmconfigdata": ".cfg", "libxlxml2domconfigdata": ".json"}
"""The folders of libvirt's tests, and what stands beside the XML there: xl's or xm's configuration, or libxl's JSON."""

LIST = Path(__file__).with_name("documents.txt")


@dataclass(frozen=True)
class Pair:
    """One machine in two spellings.

    Attributes:
        release: The release of libvirt.
        folder: The folder of its tests.
        stem: The name of the files, without their suffix.
    """

    release: str
    folder: str
    stem: str

    @property
    def name(self) -> str:
        """Its name where deviations are listed."""
        return f"{self.folder}/{self.stem.removeprefix('test-')}"

    @property
    def xml(self) -> Path:
        """The XML document."""
        return _folder(self.release) / self.folder / f"{self.stem}.xml"

    @property
    def other(self) -> Path:
        """The document beside it."""
        return self.xml.with_suffix(PARTNERS[self.folder])

    def __str__(self) -> str:
        return f"{self.release}-{self.name}"


def listed(*folders: str) -> list[Pair]:
    """Return the pairs of these folders, of each release of libvirt."""
    return [pair for pair in _listed() if pair.folder in folders]


def fetched() -> set[Pair]:
    """Return the pairs that are in libvirt's sources.

    Raises:
        SetupFailed: They were not fetched; the message names the command.
    """
    return {
        Pair(release, folder, path.stem)
        for release in RELEASES
        for folder, suffix in PARTNERS.items()
        for path in (_folder(release) / folder).glob("*.xml")
        if path.with_suffix(suffix).exists()
    }


def set_up(release: str) -> None:
    """Put the documents of one release of libvirt into the cache, unless they are there."""

    def make(folder: Path) -> None:
        source = Sources(RELEASES[release], folder / "apt").upstream("libvirt")
        with tarfile.open(source) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                content = archive.extractfile(member) if path.parent.name in PARTNERS else None
                if content is not None and path.parts[1:2] == ("tests",):
                    (folder / path.parent.name).mkdir(exist_ok=True)
                    (folder / path.parent.name / path.name).write_bytes(content.read())
        shutil.rmtree(folder / "apt")

    debian.set_up(f"libvirt-{release}-documents", _recipe(), make)


def _recipe() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _folder(release: str) -> Path:
    return cached(f"libvirt-{release}-documents", _recipe())


@cache
def _listed() -> list[Pair]:
    return list(_read(LIST.read_text()))


def _read(text: str) -> Iterator[Pair]:
    """Read the list: a file of a folder a line, and the release that it came with where not all have it."""
    releases = list(RELEASES)
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        folder, stem = words[0].split("/")
        for release in releases[releases.index(words[1]) if len(words) > 1 else 0 :]:
            yield Pair(release, folder, stem)
