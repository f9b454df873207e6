"""A command that goes on in the background once it is ready, as a daemon does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from pyxen._common.own_files import open_own
from pyxen.cli.files import complain, said_of

__all__ = ["in_background"]

_FAILED: Final = 2
_READY: Final = b"."

Ready = Callable[[], None]
"""Called once the work goes on by itself: from then on, messages go to the log and the caller has ended."""


def in_background(work: Callable[[Ready], int], *, log: str, pidfile: str | None) -> int:
    """Do some work in a process of its own, without a terminal, and return in this one when it is ready.

    What goes wrong before that is said on standard error.

    Args:
        work: Does it, and returns its exit status. It must not have begun to use threads or a host.
        log: File to which messages go afterwards, or a device such as ``/dev/null``. It is appended to.
        pidfile: File for the number of the process. It is locked while the process runs, and removed at its end.
            Neither of them may be a symbolic link: in a folder where others write, root's words would go elsewhere.

    Returns:
        The exit status of this process: 0 if the work is ready.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _detached(work, writing, log, pidfile)
    os.close(writing)
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored, as some callers leave it: there is no status
        os.waitpid(child, 0)
    with open(reading, "rb") as answer:
        return 0 if answer.read(1) == _READY else _FAILED


def _detached(work: Callable[[Ready], int], writing: int, log: str, pidfile: str | None) -> NoReturn:
    """Become a process that no terminal and no parent has, and do the work."""
    status = _FAILED
    try:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        status = _work(work, writing, log, pidfile)
    except OSError as error:
        complain(said_of(str(error.filename or "fork"), error))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)


def _work(work: Callable[[Ready], int], writing: int, log: str, pidfile: str | None) -> int:
    logged = _opened_log(log)
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    pidfile = None if pidfile is None else os.path.abspath(pidfile)
    os.chdir("/")
    held = _held(pidfile) if pidfile is not None else None
    if pidfile is not None and held is None:
        complain(f"{pidfile}: a process that runs has it")
        return _FAILED
    os.dup2(nowhere, 0)

    def ready() -> None:
        for fd in (1, 2):
            os.dup2(logged, fd)
        os.write(writing, _READY)
        os.close(writing)

    try:
        return work(ready)
    finally:
        if pidfile is not None:
            with contextlib.suppress(OSError):
                os.unlink(pidfile)


def _opened_log(path: str) -> int:
    try:
        device = stat.S_ISCHR(os.lstat(path).st_mode)
    except FileNotFoundError:
        device = False
    if not device:
        return open_own(path, os.O_WRONLY | os.O_APPEND, 0o640)
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    os.set_blocking(fd, True)
    return fd


def _held(path: str) -> int | None:
    """Return the descriptor of a file that has the number of this process; None if a process that runs has the file.

    The lock goes with the process, so that a file which a killed process left behind is taken over.
    """
    while True:
        fd = open_own(path, os.O_RDWR, 0o644)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as the system likes
            os.close(fd)
            return None
        if os.fstat(fd).st_nlink:
            break
        os.close(fd)  # its process has just ended, and removed it
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd
