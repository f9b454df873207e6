"""The socket on which a server listens: systemd's, or one that it makes itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping
from typing import Final

from pyxen.backends.remote.local import DEFAULT_SOCKET, LONGEST_PATH
from pyxen.errors import InvalidArgument, OperationFailed
from pyxen.serve.settings import Settings

__all__ = ["listening_socket", "made_socket", "passed_socket"]

_VERB: Final = "serve"
_FIRST_PASSED: Final = 3
_WAITING: Final = 128
"""The most clients that wait to be accepted."""


@contextlib.contextmanager
def listening_socket(path: str, settings: Settings, environment: MutableMapping[str, str]) -> Iterator[socket.socket]:
    """Take the socket that systemd has passed, or make one.

    Args:
        path: Where it is; an empty text is the usual place, or where systemd has it.
        settings: Who may connect.
        environment: That of this process.

    Raises:
        InvalidArgument: The path is not valid, or systemd has the socket somewhere else.
        OperationFailed: Another process listens there, or it cannot be made.
    """
    passed = passed_socket(environment)
    if passed is None:
        with made_socket(path or DEFAULT_SOCKET, settings) as made:
            yield made
        return
    with passed:
        if path and passed.getsockname() != path:
            message = f"systemd listens at {passed.getsockname()}, not at {path}: leave the path out"
            raise InvalidArgument(message, operation=_VERB)
        yield passed


def passed_socket(environment: MutableMapping[str, str]) -> socket.socket | None:
    """Return the socket that systemd has passed to this process, and remove what says so from the environment.

    Raises:
        InvalidArgument: It has passed something else than one listening socket of this machine.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count:
        return None  # they were for a process that has started this one
    if count != "1":
        raise InvalidArgument(f"systemd passes {count} sockets: one ListenStream= is enough", operation=_VERB)
    os.set_inheritable(_FIRST_PASSED, False)
    try:
        found = socket.socket(fileno=_FIRST_PASSED)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise InvalidArgument(f"systemd passes no socket: {error.strerror}", operation=_VERB) from None
    if found.family != socket.AF_UNIX or found.type != socket.SOCK_STREAM or not listens:
        found.detach()
        message = "systemd passes no listening socket of this machine: use ListenStream=/PATH and Accept=no"
        raise InvalidArgument(message, operation=_VERB)
    return found


@contextlib.contextmanager
def made_socket(path: str, settings: Settings) -> Iterator[socket.socket]:
    """Make a socket, which only the group of the settings can connect to, and remove it in the end.

    One that a dead process has left is replaced.

    Raises:
        InvalidArgument: The path is not valid, or is that of something else.
        OperationFailed: Another process listens there, or it cannot be made.
    """
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > LONGEST_PATH:
        message = f"{path!r} is not the path of a socket: it begins with /, and has at most {LONGEST_PATH} bytes"
        raise InvalidArgument(message, operation=_VERB)
    with contextlib.ExitStack() as made:
        try:
            if path == DEFAULT_SOCKET:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            made.enter_context(_alone(path))
            _remove_stale(path)
            found = made.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            found.bind(path)
            made.callback(_remove, path)
            # Nobody can connect before it listens.
            if settings.gid is not None:
                _give(path, settings.gid, settings.group)
            os.chmod(path, 0o600 if settings.gid is None else 0o660)
            found.listen(_WAITING)
        except OSError as error:
            raise OperationFailed(f"cannot listen at {path}: {error.strerror}", operation=_VERB) from error
        yield found


def _give(path: str, gid: int, group: str | None) -> None:
    try:
        os.chown(path, -1, gid)
    except PermissionError as error:
        message = f"cannot give {path} to group {group}, of which this user is no member: {error.strerror}"
        raise OperationFailed(message, operation=_VERB) from error


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Hold the lock that says that this process serves at a path; the kernel releases it however the process ends."""
    name = f"{path}.lock"
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise _taken(path) from None
        if os.fstat(lock).st_nlink:
            break
        os.close(lock)  # its process has just ended, and removed it
    try:
        yield
    finally:
        _remove(name)
        os.close(lock)


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise InvalidArgument(f"{path} is there, and is not a socket: remove it, or name another", operation=_VERB)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            _remove(path)
        except BlockingIOError:
            raise _taken(path) from None
        else:
            raise _taken(path)


def _taken(path: str) -> OperationFailed:
    return OperationFailed(f"another process listens at {path}: end it first, or name another path", operation=_VERB)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
