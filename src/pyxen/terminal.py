"""A user's terminal, attached to a guest's console."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Final, TextIO

from pyxen._common.arguments import check_is
from pyxen._common.shortage import shortage
from pyxen.errors import Error, HostClosed, InvalidArgument, OperationFailed, OperationTimeout
from pyxen.readers.console import ConsoleStream

__all__ = ["ESCAPE", "attach_terminal"]

ESCAPE: Final = b"\x1d"
"""The key that leaves a console: Ctrl-], as for ``xl console``."""

_MOST_TYPED: Final = 1 << 16
"""Bytes that are kept for a guest that does not read; what is typed after that is dropped."""

_CANNOT_BEGIN: Final = "attach_terminal: cannot begin"

_TRY_AGAIN: Final = 0.05  # seconds between attempts to give a guest what was typed
_LAST_WORDS: Final = 1.0  # seconds for the user's terminal to take what was already read


def attach_terminal(
    console: ConsoleStream, *, stdin: int | None = None, stdout: int | None = None, escape: bytes = ESCAPE
) -> bool:
    """Connect a terminal to a console both ways until the user leaves with Ctrl-], as ``xl console``.

    A terminal at `stdin` is in raw mode meanwhile: every key goes to the guest, Ctrl-C too. The end of `stdin` leaves,
    too. The stream is closed afterwards. What the guest prints is shown as it is: a terminal obeys its control
    sequences.

    ::

        with host.domains["web1"].console_stream() as console:
            pyxen.attach_terminal(console)

    Args:
        console: The console.
        stdin: Descriptor of the keyboard. Default: this process's.
        stdout: Descriptor of the screen. Default: this process's.
        escape: The byte that leaves.

    Returns:
        Whether the console ended; False if the user left.

    Raises:
        InvalidArgument: `escape` is not one byte; or this process has no standard input or output, and none is given.
        NotFound: The console hung up, and did not come back while its domain exists.
        OperationTimeout: The deadline of the stream has passed.
        OperationFailed: There is no descriptor or no thread for it.
    """
    check_is(ConsoleStream, console, "attach_terminal", ": domain.console_stream() returns one")
    with contextlib.closing(console):
        check_is(bytes, escape, "attach_terminal", ", as the byte that leaves")
        if len(escape) != 1:
            raise InvalidArgument("escape is one byte, such as b'\\x1d' for Ctrl-]", operation="attach_terminal")
        keyboard = _descriptor(sys.stdin, "stdin") if stdin is None else stdin
        screen = _Screen(console, _descriptor(sys.stdout, "stdout") if stdout is None else stdout)
        try:
            with _raw(keyboard), screen:
                left = _type(console, keyboard, screen.over, escape)
        finally:
            screen.free()
    if screen.error is not None and not left:
        raise screen.error
    return not left


def _descriptor(file: TextIO | None, name: str) -> int:
    """Return the descriptor of one of this process's standard files.

    Raises:
        InvalidArgument: It has none: it was closed, or is replaced by something in memory.
    """
    try:
        if file is not None:
            return file.fileno()
    except (AttributeError, OSError, ValueError):
        pass
    message = f"sys.{name} of this process has no descriptor: give one as {name}="
    raise InvalidArgument(message, operation="attach_terminal")


class _Screen:
    """Shows what a console prints, on a thread.

    Attributes:
        over: Readable when the console has ended; -1 once it is freed.
        error: Why it ended; None if its domain is gone.
    """

    def __init__(self, console: ConsoleStream, stdout: int) -> None:
        with shortage(OperationFailed, _CANNOT_BEGIN):
            self.over = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.error: Error | None = None
        self._console = console
        self._stdout = stdout
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._show, name="pyxen-terminal", daemon=True)

    def __enter__(self) -> None:
        with shortage(OperationFailed, _CANNOT_BEGIN):
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._console.close()
        self._thread.join(_LAST_WORDS)  # a terminal that was stopped with Ctrl-S takes nothing

    def free(self) -> None:
        """Free the descriptor. The thread may go on: it does not tell the end then."""
        with self._gate:
            over, self.over = self.over, -1
            if over >= 0:
                os.close(over)

    def _show(self) -> None:
        try:
            while True:
                data = self._console.read()
                if data is None:
                    self.error = OperationTimeout("the deadline of the stream passed", operation="attach_terminal")
                if not data:
                    break
                while data:
                    data = data[os.write(self._stdout, data) :]
        except HostClosed:
            pass  # the user has left
        except Error as error:
            self.error = error
        except OSError:
            pass  # the user's terminal has gone
        finally:
            with self._gate:
                if self.over >= 0:
                    os.eventfd_write(self.over, 1)


def _type(console: ConsoleStream, keyboard: int, over: int, escape: bytes) -> bool:
    """Give the guest what is typed; return whether the user has left."""
    poller = select.poll()
    poller.register(over, select.POLLIN)
    poller.register(keyboard, select.POLLIN)
    typed = bytearray()
    while True:
        ready = {fd for fd, _ in poller.poll(_TRY_AGAIN * 1000 if typed else None)}
        if over in ready:
            return False
        if keyboard in ready:
            keys = _read(keyboard)
            typed += keys.partition(escape)[0][: _MOST_TYPED - len(typed)]
            if not keys or escape in keys:
                with contextlib.suppress(Error):
                    console.write_some(bytes(typed))
                return True
        try:
            del typed[: console.write_some(bytes(typed))]
        except Error:
            typed.clear()  # the thread that reads sees the end, too


def _read(keyboard: int) -> bytes:
    try:
        return os.read(keyboard, 4096)
    except OSError:  # the user's terminal has gone
        return b""


@contextlib.contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Put a terminal into raw mode, and restore it; what is not a terminal stays as it is."""
    try:
        before = termios.tcgetattr(keyboard)
    except termios.error:
        yield
        return
    try:
        tty.setraw(keyboard, termios.TCSANOW)  # by default, it would discard what was already typed
        yield
    finally:
        with contextlib.suppress(termios.error):  # it has gone
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
