"""Programs of the host: where they are, and what they print, within a bound of time and size."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pyxen._common.child import Child, spawn
from pyxen._common.shortage import shortage
from pyxen._common.stopping import stopped
from pyxen.errors import OperationCancelled, OperationFailed, OperationTimeout, ToolMissing

__all__ = ["Output", "find_program", "run_program"]

_SBIN: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")
"""Where programs for the administrator are, which the PATH of other users lacks."""

_LOCALE: Final = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
"""The locale of the programs: their messages are read here."""

_MOST: Final = 16 << 20
"""The most bytes of output that are read."""

_GLANCE: Final = 0.1
"""Seconds between two looks whether a program has ended whose children keep its output open."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a program printed, and how it ended.

    Attributes:
        status: Its exit status, negative for a signal; None if another part of this process has waited for it.
        stdout: What it printed.
        stderr: What it complained about.
    """

    status: int | None
    stdout: str
    stderr: str


def find_program(name: str, root: str = "/") -> str | None:
    """Return the path of a program; None if it is not installed.

    Args:
        name: Its name.
        root: The folder that is taken for the root of the host. For another one than ``/``, ``PATH`` does not count.
    """
    own = os.environ.get("PATH", "").split(os.pathsep) if root == "/" else []
    for folder in (*own, *_SBIN):
        path = os.path.join(root, folder.lstrip("/") if root != "/" else folder, name)
        if folder and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def run_program(
    command: Sequence[str],
    *,
    verb: str,
    package: str,
    timeout: float | None,
    gentle: bool = False,
    root: str = "/",
    text: str = "",
    on_line: Callable[[str], None] | None = None,
) -> Output:
    """Run a program and return what it printed. Its messages are in English.

    Args:
        command: The name of the program, and its arguments.
        verb: The verb that needs it, for messages.
        package: Debian's package that has it, for messages.
        timeout: Seconds after which it is ended; None for never.
        gentle: End it with SIGTERM, and with SIGKILL only if it does not end for 10 seconds: it changes something.
        root: See `find_program`.
        text: Its standard input.
        on_line: Called with each line that it prints, as soon as it does. If it raises, the program is ended.

    Raises:
        ToolMissing: It is not installed.
        OperationTimeout: It did not end in time.
        OperationCancelled: The call was stopped; see `stoppable`.
        OperationFailed: It cannot be started, or prints without end.
    """
    path = find_program(command[0], root)
    if path is None:
        message = f"the program {command[0]} is not installed: on Debian, apt install {package}"
        raise ToolMissing(message, operation=verb)
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        with shortage(OperationFailed, f"cannot run {command[0]}"):
            stdout, their_stdout = _pipe(ours, theirs)
            stderr, their_stderr = _pipe(ours, theirs)
            stdin = _input(text)
            theirs.callback(os.close, stdin)
        try:
            descriptors = {0: stdin, 1: their_stdout, 2: their_stderr}
            child = Child(spawn([path, *command[1:]], descriptors, environment={**os.environ, **_LOCALE}))
        except (OSError, ValueError) as error:
            raise OperationFailed(f"cannot run {command[0]}: {error}", operation=verb) from error
        theirs.close()
        try:
            said = _read(child, {stdout: _Lines(on_line), stderr: _Lines(on_line)}, command[0], verb, timeout)
            return Output(child.status(), *(each.decode("utf-8", "surrogateescape") for each in said))
        except BaseException:
            _stop(child, signal.SIGTERM if gentle else signal.SIGKILL)
            raise


def _stop(child: Child, number: signal.Signals) -> None:
    """End a program with what it has started. A second Ctrl-C does not let it go on, but ends the patience with it."""
    try:
        child.kill(number, with_children=True)
        child.end(with_children=True)
    except BaseException:
        child.kill(signal.SIGKILL, with_children=True)
        child.end(with_children=True)
        raise


def _input(text: str) -> int:
    if not text:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("pyxen-input", os.MFD_CLOEXEC)
    os.write(fd, text.encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class _Lines:
    """What has been read of one pipe, and the lines in it that `on_line` has not been called with."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.data = bytearray()
        self._on_line = on_line
        self._told = 0

    def add(self, data: bytes) -> None:
        """Add what was read; nothing at its end."""
        self.data += data
        if self._on_line is None:
            return
        end = self.data.rfind(b"\n") + 1 if data else len(self.data)
        if end > self._told:
            lines = bytes(self.data[self._told : end]).decode("utf-8", "replace").splitlines()
            self._told = end
            for line in lines:
                self._on_line(line)


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    ours.callback(os.close, read_fd)
    theirs.callback(os.close, write_fd)
    os.set_blocking(read_fd, False)
    return read_fd, write_fd


def _read(child: Child, pipes: dict[int, _Lines], name: str, verb: str, timeout: float | None) -> list[bytearray]:
    """Read pipes until they end, or until the program has ended and its children keep them open."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    poller = select.poll()
    for fd in pipes:
        poller.register(fd, select.POLLIN)
    open_fds = set(pipes)
    ended = False
    while open_fds or not ended:
        left = deadline - time.monotonic()
        if left <= 0:
            message = f"{name} has not ended after {timeout:g} s, and was ended: does a disk of the host hang?"
            raise OperationTimeout(message, operation=verb)
        if stopped():
            raise OperationCancelled(f"{name} was ended", operation=verb)
        if not open_fds:
            ended = child.ended(min(left, _GLANCE))
            continue
        ended = ended or child.ended(0)  # before the look at what it has printed, which is all then
        ready = poller.poll(0 if ended else min(left, _GLANCE) * 1000)
        for fd, _ in ready:
            data = os.read(fd, 1 << 16)
            pipes[fd].add(data)
            if not data:
                poller.unregister(fd)
                open_fds.discard(fd)
        if sum(len(each.data) for each in pipes.values()) > _MOST:
            raise OperationFailed(f"{name} has printed more than {_MOST} bytes, and was ended", operation=verb)
        if ended and not ready:
            break
    return [each.data for each in pipes.values()]
