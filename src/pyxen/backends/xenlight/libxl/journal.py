"""A journal of domains under construction, so that the remains of a killed process can be found.

Each context has a file with the uuids of the domains that it is creating, and keeps it locked as long as its process
lives. A file without a lock belongs to a process that is gone. Domains whose uuids are in such a file are orphans.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Iterator
from typing import Final
from uuid import UUID, uuid4

from pyxen._common.process_lock import lock_file, unlock_file
from pyxen._common.shield import logger
from pyxen.errors import OperationFailed

__all__ = ["FOLDER", "Journal", "abandoned"]

FOLDER = "/run/pyxen"

_LOG = logger("pyxen")
_SLOT = 16  # bytes of a uuid
_FREE = bytes(_SLOT)
_SUFFIX = ".creating"
_FOR_GOOD: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Why the file cannot be made, now and later. Anything else may pass."""


class Journal:
    """The file of a context, made with the first domain. Without permission to write it, nothing is recorded.

    Where it cannot be made for want of descriptors, memory or room, it is tried again with the next domain.
    """

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder
        self._fd: int | None = None
        self._path = ""
        self._gives_up = False
        self._slots: list[bool] = []

    @contextlib.contextmanager
    def noting(self, uuid: UUID) -> Iterator[None]:
        """Record that a domain is being created; remove the record afterwards, whether the create succeeded or not."""
        if self._fd is None and not self._gives_up:
            self._open()
        slot = self._slots.index(False) if False in self._slots else len(self._slots)
        self._slots[slot : slot + 1] = [True]
        self._write(slot, uuid.bytes)  # a single write: if we are killed, all of it is there or nothing
        try:
            yield
        finally:
            self._write(slot, _FREE)
            self._slots[slot] = False

    def close(self) -> None:
        """Remove the file."""
        self._gives_up = True
        if self._fd is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self.forked()

    def forked(self) -> None:
        """Release it in the child of a fork: the file belongs to the parent."""
        self._gives_up = True
        fd, self._fd = self._fd, None  # forgotten first: Ctrl-C may come after the close
        if fd is not None:
            unlock_file(fd)

    def _open(self) -> None:
        try:
            os.makedirs(self._folder, mode=0o755, exist_ok=True)  # the socket of `pyxen serve` is there, too
            while self._fd is None:
                self._path = os.path.join(self._folder, f"{os.getpid()}.{uuid4().hex}{_SUFFIX}")
                # Another process that looks for abandoned files may lock it first, and may be stopped, or remove it.
                fd = lock_file(self._path, os.O_CREAT | os.O_EXCL)
                if fd is not None and os.fstat(fd).st_nlink:
                    self._fd = fd
                elif fd is not None:
                    unlock_file(fd)
        except OSError as error:
            self._gives_up = error.errno in _FOR_GOOD
            _LOG.debug("no journal of what is being created: %s", error)

    def _write(self, slot: int, data: bytes) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk must not prevent a create
                os.pwrite(self._fd, data, slot * _SLOT)


def abandoned(half_made: Callable[[], Collection[UUID]], folder: str = FOLDER) -> set[UUID]:
    """Return the domains whose creating process is gone.

    Args:
        half_made: Returns the existing domains that may be half-made. It is called after a file was read, which may
            name a domain that has just been made. An unlocked file that names none of them is removed.
        folder: Where the files are.

    Raises:
        OperationFailed: They cannot be read.
    """
    try:
        return _abandoned(half_made, folder)
    except OSError as error:
        message = f"the notes on what is being created, in {folder}, cannot be read: {error.strerror}"
        raise OperationFailed(message, operation="orphans") from error


def _abandoned(half_made: Callable[[], Collection[UUID]], folder: str) -> set[UUID]:
    found: set[UUID] = set()
    try:
        paths = [entry.path for entry in os.scandir(folder) if entry.name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return found
    for path in paths:
        try:
            fd = lock_file(path)
        except FileNotFoundError:
            continue  # its process has just removed it
        if fd is None:
            continue  # its process lives
        try:
            named = _named(fd)
            left = named.intersection(half_made()) if named else set()
            if not left:
                with contextlib.suppress(OSError):  # the next search removes it
                    os.unlink(path)
        finally:
            unlock_file(fd)
        found |= left
    return found


def _named(fd: int) -> set[UUID]:
    with open(fd, "rb", closefd=False) as file:
        data = file.read()
    slots = {data[at : at + _SLOT] for at in range(0, len(data) - _SLOT + 1, _SLOT)}
    return {UUID(bytes=slot) for slot in slots - {_FREE}}  # dom0's uuid is all zeros, too
