"""Which domains are half-made, for whoever comes after a process that was killed in the middle.

Each context has a file with the uuids of the domains that it is making, and holds a lock on it while it lives. A file
without a lock is one of a process that is gone, and a domain whose uuid stands in it is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Collection, Iterator
from uuid import UUID, uuid4

from pyxen._common.shield import logger

__all__ = ["FOLDER", "Journal", "abandoned"]

FOLDER = "/run/pyxen"

_LOG = logger("pyxen")
_SLOT = 16  # bytes of a uuid
_FREE = bytes(_SLOT)
_SUFFIX = ".creating"


class Journal:
    """The file of a context; it comes with the first domain. Without the right to write it there is none."""

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder
        self._fd: int | None = None
        self._path = ""
        self._slots: list[bool] = []

    @contextlib.contextmanager
    def noting(self, uuid: UUID) -> Iterator[None]:
        """Note that a domain is being made; it is noted no more when that has ended, well or not."""
        if not self._path:
            self._open()
        slot = self._slots.index(False) if False in self._slots else len(self._slots)
        self._slots[slot : slot + 1] = [True]
        self._write(slot, uuid.bytes)  # a single write: whoever kills us sees all of it, or nothing
        try:
            yield
        finally:
            self._write(slot, _FREE)
            self._slots[slot] = False

    def close(self) -> None:
        """Remove the file."""
        if self._fd is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self.forked()

    def forked(self) -> None:
        """Let go of it: in the child of a fork it is the parent's."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        self._path = self._folder  # tried once, whatever comes of it
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            while self._fd is None:
                self._path = os.path.join(self._folder, f"{os.getpid()}.{uuid4().hex}{_SUFFIX}")
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(fd, fcntl.LOCK_EX)
                # Somebody who looks for abandoned ones may have come between, and removed it.
                if os.fstat(fd).st_nlink:
                    self._fd = fd
                else:
                    os.close(fd)
        except OSError as error:
            _LOG.debug("no journal of what is being created: %s", error)

    def _write(self, slot: int, data: bytes) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk is no reason not to create a domain
                os.pwrite(self._fd, data, slot * _SLOT)


def abandoned(alive: Collection[UUID], folder: str = FOLDER) -> set[UUID]:
    """Return the domains that processes were making which are gone.

    Args:
        alive: The domains that there are. A file that names none of them is removed.
        folder: Where the files are.
    """
    found: set[UUID] = set()
    try:
        paths = [entry.path for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return found
    for path in paths:
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                data = file.read()
                named = {UUID(bytes=data[at : at + _SLOT]) for at in range(0, len(data) - _SLOT + 1, _SLOT)}
                if named.isdisjoint(alive):
                    os.unlink(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # its process lives, or has just closed it
        found |= named & set(alive)
    return found
