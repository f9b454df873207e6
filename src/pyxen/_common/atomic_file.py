"""Files that appear only once they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from pyxen.errors import Error, InvalidArgument
from pyxen.operation import Operation, describe

__all__ = ["PartialFile", "appearing_whole", "place", "writing"]

_MOST_LINKS: Final = 40  # the kernel's own limit


class PartialFile:
    """A new file beside another one, whose place it takes when it is complete. One thread uses it at a time.

    Each of these calls may take long on a slow or distant file system. Symbolic links are followed, except a link that
    another user put into a world-writable folder: following it could make root replace an arbitrary file.

    Args:
        operation: The operation that writes it.
        path: Where it is to appear.
        mode: The mode of the file, as that of any new file: without what the umask takes away.

    Raises:
        InvalidArgument: The file cannot be written.
    """

    def __init__(self, operation: Operation[Any], path: str, *, mode: int = 0o600) -> None:
        self._operation = operation
        self._destination = path
        self._appeared = False
        with contextlib.ExitStack() as failed, writing(operation, path):
            self._folder, self._name = place(path)
            failed.callback(os.close, self._folder)
            _check_replaceable(self._folder, self._name)
            self._partial = f".pyxen-{os.urandom(8).hex()}.partial"  # a name of any length has it
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self._partial, flags, mode, dir_fd=self._folder)
            failed.pop_all()
        self._open = contextlib.ExitStack()
        self._open.callback(os.close, self._folder)
        self._open.callback(os.close, self.fd)
        self._open.callback(self._remove)
        # It goes through the descriptor of the folder, so that a link swapped in later cannot redirect it.
        self.path = f"/proc/{os.getpid()}/fd/{self._folder}/{self._partial}"

    def appear(self) -> None:
        """Sync it to disk, and let it take its place.

        Raises:
            InvalidArgument: The file cannot be written.
        """
        with writing(self._operation, self._destination):
            os.fsync(self.fd)
            os.rename(self._partial, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._appeared = True
            self._sync_folder()

    def _sync_folder(self) -> None:
        with contextlib.suppress(PermissionError):  # who may not list the folder cannot sync it
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Close it, and remove it if it has not appeared. Doing this again does nothing."""
        self._open.close()

    def _remove(self) -> None:
        if not self._appeared:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partial, dir_fd=self._folder)


@contextlib.contextmanager
def appearing_whole(operation: Operation[Any], path: str) -> Iterator[tuple[int, str]]:
    """Yield the descriptor and path of a `PartialFile`, which appears on success and is removed on failure.

    Raises:
        InvalidArgument: The file cannot be written.
    """
    with contextlib.closing(PartialFile(operation, path)) as partial:
        yield partial.fd, partial.path
        partial.appear()


@contextlib.contextmanager
def writing(operation: Operation[Any], path: str) -> Iterator[None]:
    """Turn an operating system error into pyxen's exception for a file that cannot be written.

    Raises:
        InvalidArgument: The file cannot be written.
    """
    try:
        yield
    except Error:  # some of pyxen's are an OSError or a ValueError, too
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise describe(InvalidArgument, f"cannot write {path}: {reason}", operation) from error


def place(path: str) -> tuple[int, str]:
    """Return the folder of a path as a descriptor, and the file's name in it, after following symbolic links.

    Raises:
        OSError: There is no such folder, or a link on the way may not be followed; `strerror` says why.
        ValueError: No file can have this path.
    """
    rest = deque(os.path.join(os.getcwd(), path).split("/"))
    folder = _Folder()
    name, links = "", 0
    try:
        while rest:
            name = rest.popleft()
            if name in {"", "."}:
                continue
            target = None if name == ".." else _link(folder.fd, name)
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                rest.extendleft(reversed(target.split("/")))
                if target.startswith("/"):
                    folder.enter("/")
            elif any(part not in {"", "."} for part in rest) or name == "..":
                folder.enter(name)
            else:
                return folder.fd, name
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except BaseException:
        os.close(folder.fd)
        raise


class _Folder:
    """The folder that a path has led to so far, at first the root. It need not be readable."""

    def __init__(self) -> None:
        self.fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def enter(self, name: str) -> None:
        """Open a subfolder, and close its parent."""
        entered = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        parent, self.fd = self.fd, entered  # forgotten first: Ctrl-C may come after the close
        os.close(parent)


def _link(folder: int, name: str) -> str | None:
    """Return the target of a symbolic link; None if there is no such file, or it is not a link."""
    try:
        found = os.lstat(name, dir_fd=folder)
        if not stat.S_ISLNK(found.st_mode):
            return None
        target = os.readlink(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    around = os.fstat(folder)
    if around.st_mode & stat.S_IWOTH and found.st_uid not in {os.geteuid(), around.st_uid}:
        reason = f"{name} is a symbolic link that another user put into a world-writable folder"
        raise OSError(errno.EACCES, reason)
    return target


def _check_replaceable(folder: int, name: str) -> None:
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EEXIST, "it exists and is not a regular file")
