"""A program that this process talks to over pipes, and that is never killed: ssh, or what stands for it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pyxen._common.child import Child, spawn
from pyxen._common.owner_thread import OwnerThread
from pyxen._common.shortage import shortage
from pyxen.errors import Error

__all__ = ["PipedProgram"]

_TO_END = 2.0  # seconds for it to end after the conversation, as in xl
_MOMENT = 1.0  # seconds for its last words to arrive
_WORDS = 600  # characters


class PipedProgram:
    """A running program. It is never killed: it must be able to clean up, and ends when its input closes.

    It runs in its own session, so that Ctrl-C reaches only this process, which can then end the conversation in good
    order. For the same reason, it cannot ask for a password at the terminal.

    Args:
        command: The program and its arguments.
        no_pipes: The class of the error for a process that has no descriptors left.

    Raises:
        OSError: The program does not exist or cannot be run.
        ValueError: Its arguments are not valid.
    """

    def __init__(self, command: Sequence[str], *, no_pipes: type[Error]) -> None:
        self._program = command[0]
        self._hung_up = False
        self._end: str | None = None
        self.status: int | None = None
        """Its exit status, once it has ended."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            with shortage(no_pipes, f"cannot make the pipes to {command[0]}"):
                self.read_fd, their_stdout = _pipe(ours, theirs)
                their_stdin, self.write_fd = _pipe(theirs, ours)
                errors, their_errors = os.pipe()
                theirs.callback(os.close, their_errors)
                self._errors = _LastWords(errors)
            try:
                self._child = Child(spawn(command, {0: their_stdin, 1: their_stdout, 2: their_errors}))
            except (OSError, ValueError):
                theirs.close()
                self._errors.text()  # it has read to the end, and closed its pipe
                raise
            theirs.close()
            ours.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.hang_up()

    def detach(self) -> tuple[int, int]:
        """Return the descriptors for reading and for writing, which the caller closes from now on."""
        fds = self.read_fd, self.write_fd
        self.read_fd = self.write_fd = -1
        return fds

    def hang_up(self) -> None:
        """Close both pipes, and wait briefly for the program to end. Calling it again does nothing."""
        if self._hung_up:
            return
        self._hung_up = True
        read_fd, write_fd = self.detach()  # forgotten first: Ctrl-C may come after either close
        for fd in (write_fd, read_fd):
            if fd >= 0:
                os.close(fd)
        if self._child.ended(_TO_END):
            self._wait()
        else:
            with contextlib.suppress(RuntimeError):  # no thread: its status stays unknown
                threading.Thread(target=self._wait, name="pyxen-peer", daemon=True).start()

    def last_words(self) -> str:
        """Return its exit status and its last output on standard error, for a message."""
        head = "" if self._end is None else f"; {self._program} ended {self._end}"
        said = self._errors.text()[-_WORDS:].strip()
        return head + "".join(f"\n  {line.strip()}" for line in said.splitlines())

    def _wait(self) -> None:
        status = self.status = self._child.status()
        unknown = "with an unknown status: this process ignores SIGCHLD, or another part of it waits for any child"
        self._end = unknown if status is None else f"with status {status}"


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe, whose ends are closed with the stacks."""
    ends = os.pipe()
    reader.callback(os.close, ends[0])
    writer.callback(os.close, ends[1])
    return ends


class _LastWords:
    """Reads a command's standard error, however much it writes, and keeps the end.

    Args:
        fd: Where to read, up to the end. It is then closed.
    """

    def __init__(self, fd: int) -> None:
        self._kept = b""
        self._thread = OwnerThread(lambda: self._read(fd), lambda: os.close(fd), name="pyxen-peer-errors")
        self._thread.start()

    def text(self) -> str:
        """Return the end of the output, after a short wait for what is still on its way."""
        self._thread.join(_MOMENT)
        return self._kept.decode(errors="replace")

    def _read(self, fd: int) -> None:
        try:
            while data := os.read(fd, 1 << 16):
                self._kept = (self._kept + data)[-4 * _WORDS :]
        finally:
            os.close(fd)
