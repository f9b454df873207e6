"""Claims: which domains and files belong to a running process, so that what it leaves can be found when it is killed.

A set of claims is a folder with a lock, which its process holds as long as it lives, and a file for each domain. The
kernel releases the lock when the process ends, however it ends, and no child keeps it. So an unlocked folder belongs to
a process that is gone, and its domains and files are orphans: each domain has a random uuid, which its process wrote
down before it made the domain, and nobody else uses it.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID, uuid4

from pyxen._common.process_lock import lock_file, unlock_file
from pyxen._common.shortage import REMEDY, is_shortage
from pyxen.errors import OperationFailed

__all__ = ["Abandoned", "Claim", "ClaimSet", "Claims", "abandoned"]

_SUFFIX: Final = ".claims"
_DROPPED: Final = ".dropped"
_LOCK: Final = "lock"

_OPEN: weakref.WeakSet[Claims] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Claim:
    """What belongs together.

    Attributes:
        uuid: The domain, which may not exist yet, or not any more.
        files: Files that only this domain uses.
    """

    uuid: UUID
    files: tuple[str, ...] = ()


class ClaimSet(Protocol):
    """The claims of one user, wherever they are recorded; see `Claims`."""

    def add(self, claim: Claim) -> None:
        """Record a claim."""

    def drop(self, uuid: UUID) -> None:
        """Remove a claim."""

    def drop_all(self) -> None:
        """Remove all claims in one step: either all are removed, or none."""

    def close(self) -> None:
        """Release the claims."""


class Claims:
    """The claims of one user in this process, e.g. of one pool.

    Args:
        folder: Where all sets of claims are; None records nothing, for domains that end with this process.
    """

    def __init__(self, folder: str | None) -> None:
        self._parent = folder
        self._path: str | None = None
        self._locks: list[int] = []
        """The lock of the folder, while it is held: whoever takes it out of here releases it."""
        _OPEN.add(self)

    def add(self, claim: Claim) -> None:
        """Record a claim, before its domain and its files are made.

        Raises:
            OperationFailed: It cannot be recorded.
        """
        if self._parent is None:
            return
        try:
            if self._path is None:
                self._path = self._opened(self._parent)
            whole = os.path.join(self._path, str(claim.uuid))
            with open(f"{whole}.new", "xb") as file:
                file.write(b"\0".join(map(os.fsencode, claim.files)))
            os.rename(f"{whole}.new", whole)  # all of it is there, or nothing
        except OSError as error:
            message = f"cannot record in {self._parent} that a domain belongs to this process: {error.strerror}"
            raise OperationFailed(message, operation="claim") from error

    def drop(self, uuid: UUID) -> None:
        """Remove a claim: its domain belongs to someone else from now on, or is gone. Other domains are ignored."""
        if self._path is not None:
            try:
                os.unlink(os.path.join(self._path, str(uuid)))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise _not_dropped(error) from error

    def drop_all(self) -> None:
        """Remove all claims in one step: their domains belong to someone else from now on.

        Raises:
            OperationFailed: None was removed.
        """
        path = self._path
        if path is None:
            return
        dropped = path.removesuffix(_SUFFIX) + _DROPPED
        try:
            os.rename(path, dropped)  # nobody takes it for claims any more
        except FileNotFoundError:
            pass  # somebody has removed them
        except OSError as error:
            raise _not_dropped(error) from error
        self._path = None
        self._release()
        _remove(dropped)

    def close(self) -> None:
        """Release the claims. Those that were not dropped are orphans from now on."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                if os.listdir(self._path) == [_LOCK]:
                    os.unlink(os.path.join(self._path, _LOCK))
                    os.rmdir(self._path)
        self.forked()

    def forked(self) -> None:
        """Let go of the lock without releasing it, in the child of a fork: the claims belong to the parent."""
        self._path = self._parent = None
        _OPEN.discard(self)
        self._release()

    def _release(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has taken it, or a call that Ctrl-C has interrupted
            unlock_file(self._locks.pop())

    def _opened(self, parent: str) -> str:
        """Make the folder, and lock it."""
        os.makedirs(parent, mode=0o755, exist_ok=True)  # the socket of `pyxen serve` is there, too
        while True:
            path = os.path.join(parent, f"{os.getpid()}.{uuid4().hex}{_SUFFIX}")
            os.mkdir(path, 0o700)
            try:
                lock = lock_file(os.path.join(path, _LOCK), os.O_CREAT | os.O_EXCL)
            except FileNotFoundError:  # a search for abandoned ones has removed the empty folder
                continue
            if lock is None:  # another process that searches has locked it first; it may be stopped, and keep it
                continue
            if os.fstat(lock).st_nlink:
                self._locks.append(lock)
                return path
            unlock_file(lock)  # the search was between the two calls


class Abandoned:
    """The claims of a process that is gone. They stay locked until `close`, so that only one program removes them.

    Attributes:
        claims: What it has left.
    """

    def __init__(self, path: str, lock: int) -> None:
        self._path = path
        self._lock = lock
        self.claims = tuple(_claims(path))

    def drop(self, uuid: UUID) -> None:
        """Remove a claim whose domain and files are gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._path, str(uuid)))

    def close(self) -> None:
        """Unlock them, and remove the folder if no claim is left."""
        try:
            if not any(True for _ in _claims(self._path)):
                for entry in os.listdir(self._path):
                    os.unlink(os.path.join(self._path, entry))
                os.rmdir(self._path)
        except OSError:  # another time
            pass
        finally:
            unlock_file(self._lock)


@contextlib.contextmanager
def abandoned(folder: str | None) -> Iterator[Sequence[Abandoned]]:
    """Find the claims of processes that are gone, and keep them locked.

    Folders that belong to another user are left alone, and so are those that cannot be read.

    Args:
        folder: Where all sets of claims are; None finds nothing.

    Raises:
        OperationFailed: This process may have no more descriptors.
    """
    with contextlib.ExitStack() as locked:
        found = []
        for path in _folders(folder):
            lock = _locked(path)
            if lock is None:
                continue
            try:
                left = Abandoned(path, lock)
            except OSError as error:  # it cannot be read, and stays for another time
                unlock_file(lock)
                _check(error)
                continue
            locked.callback(left.close)
            found.append(left)
        yield found


def _folders(folder: str | None) -> list[str]:
    if folder is None:
        return []
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        _check(error)
        return []
    for entry in entries:
        if entry.name.endswith(_DROPPED) and _is_ours(entry):
            _remove(entry.path)  # its process was killed before it could
    return sorted(entry.path for entry in entries if entry.name.endswith(_SUFFIX) and _is_ours(entry))


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Tell whether it is a folder of this user's."""
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError as error:  # it was removed meanwhile: that says nothing of the others
        _check(error)
        return False


def _remove(path: str) -> None:
    """Remove a folder that holds nothing any more, as far as that is possible."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            with contextlib.suppress(FileNotFoundError):  # another process removes it, too
                os.unlink(os.path.join(path, name))
        os.rmdir(path)


def _not_dropped(error: OSError) -> OperationFailed:
    message = f"cannot record that a domain belongs to this process no more: {error}"
    return OperationFailed(message, operation="claim")


def _check(error: OSError) -> None:
    """Raise `OperationFailed` for a shortage: it does not mean that nothing is there."""
    if is_shortage(error):
        raise OperationFailed(f"cannot read the notes on what is being made: {error}: {REMEDY}") from error


def _locked(path: str) -> int | None:
    """Lock a folder whose process is gone; None if the process lives, or the folder is gone or being made."""
    try:
        return lock_file(os.path.join(path, _LOCK), os.O_NOFOLLOW)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            os.rmdir(path)  # it was being made when its process was killed; if it still is, its process makes another
    except OSError as error:
        _check(error)
    return None


def _claims(path: str) -> Iterator[Claim]:
    for name in sorted(os.listdir(path)):
        with contextlib.suppress(ValueError, FileNotFoundError):  # the lock, and what has just been dropped
            uuid = UUID(name)
            with open(os.path.join(path, name), "rb") as file:
                yield Claim(uuid, tuple(os.fsdecode(each) for each in file.read().split(b"\0") if each))


def _after_fork_in_child() -> None:
    for claims in list(_OPEN):
        claims.forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
