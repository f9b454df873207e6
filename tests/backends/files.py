"""Files on the host that the contract is tried on, which may be another machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lab import Lab

__all__ = ["Files", "FilesHere", "FilesInLab"]


class Files(Protocol):
    """What tests need of them; paths are the host's."""

    def new_folder(self) -> str:
        """Make a folder, on a disk: guests are too large for a dom0's memory."""

    def zeros(self, path: str, length: int) -> str:
        """Write a file of zeros, and return its path."""

    def head(self, path: str, length: int) -> bytes:
        """Return how a file begins."""

    def mode(self, path: str) -> int:
        """Return who may do what with a file."""

    def names(self, folder: str) -> list[str]:
        """Return what is in a folder."""

    def remove(self, folder: str) -> None:
        """Remove a folder and what is in it."""


class FilesHere:
    """Those of this machine."""

    def new_folder(self) -> str:
        return mkdtemp(dir="/var/tmp")

    def zeros(self, path: str, length: int) -> str:
        Path(path).write_bytes(bytes(length))
        return path

    def head(self, path: str, length: int) -> bytes:
        with open(path, "rb") as file:
            return file.read(length)

    def mode(self, path: str) -> int:
        return Path(path).stat().st_mode & 0o777

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in Path(folder).iterdir())

    def remove(self, folder: str) -> None:
        shutil.rmtree(folder)


class FilesInLab:
    """Those of a lab's dom0."""

    def __init__(self, dom0: Lab) -> None:
        self._dom0 = dom0

    def new_folder(self) -> str:
        return self._shell("mktemp -d -p /var/tmp").strip()

    def zeros(self, path: str, length: int) -> str:
        self._shell(f"truncate -s {length} {path}")
        return path

    def head(self, path: str, length: int) -> bytes:
        return bytes.fromhex(self._shell(f"head -c {length} {path} | od -An -v -tx1"))

    def mode(self, path: str) -> int:
        return int(self._shell(f"stat -c %a {path}"), 8)

    def names(self, folder: str) -> list[str]:
        return self._shell(f"ls -A {folder}").splitlines()

    def remove(self, folder: str) -> None:
        self._shell(f"rm -r {folder}")

    def _shell(self, command: str) -> str:
        return self._dom0.run(["sh", "-c", command], check=True, timeout=60).stdout
