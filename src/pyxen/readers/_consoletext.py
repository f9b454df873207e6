"""What a console has printed and its reader has not taken yet: bytes, or lines."""

from __future__ import annotations

import os
import time
from io import FileIO
from typing import Final

from pyxen._common.arguments import check_number, member
from pyxen._durations import timeout_of
from pyxen.errors import DomainNotFound, HostClosed, InvalidArgument, NotFound, OperationTimeout
from pyxen.records.endpoints import ConsoleType

__all__ = [
    "GONE",
    "LOOK",
    "PIECE",
    "RETRY",
    "ConsoleText",
    "as_bytes",
    "console_gone",
    "receive",
    "send",
    "terminal_of",
    "which_console",
]

PIECE: Final = 1 << 16
"""Bytes read at once. Nothing is read while a line waits to be taken, so no more than this and a line is kept."""

LOOK: Final = 1.0
"""Seconds of silence after which a reader checks that the domain still exists."""

RETRY: Final = 0.05
"""Seconds between two attempts to open a console again."""

_LONGEST: Final = 1 << 16
"""Bytes after which a line that has no end is given in parts."""

_COMES_BACK: Final = 5.0
"""Seconds that a console which hung up has to come back while its domain exists; ``xl console`` waits as long."""


class ConsoleText:
    """The text of a console, as it is read piece by piece. Both APIs use it.

    Attributes:
        ended: Whether nothing more will come.
    """

    def __init__(self, timeout: float | None) -> None:
        seconds = timeout_of(timeout, operation="console_stream")
        self.ended = False
        self._seconds = timeout
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._looked_late = False
        self._unread = bytearray()
        self._searched = 0
        self._hung_up: float | None = None

    def add(self, data: bytes) -> None:
        """Add what was read."""
        self._unread += data
        self.steady()

    def take_line(self) -> str | None:
        """Return the next line without its end; None if no line is complete."""
        end = self._unread.find(b"\n", self._searched, _LONGEST)
        if end >= 0:
            line, rest = bytes(self._unread[:end]).rstrip(b"\r"), end + 1
        elif len(self._unread) >= _LONGEST:
            line, rest = bytes(self._unread[:_LONGEST]), _LONGEST
        elif self.ended and self._unread:
            line, rest = bytes(self._unread), len(self._unread)
        else:
            self._searched = len(self._unread)
            return None
        del self._unread[:rest]
        self._searched = 0
        return line.decode("utf-8", "backslashreplace")

    def take_bytes(self) -> bytes | None:
        """Return all bytes; None if there are none, and empty bytes if nothing more will come."""
        if not self._unread:
            return b"" if self.ended else None
        data = bytes(self._unread)
        self._unread.clear()
        self._searched = 0
        return data

    def left(self, until: float | None) -> float | None:
        """Return the seconds until a time, or until the deadline if that is earlier: 0 at least; None for no bound."""
        end = min((one for one in (until, self._deadline) if one is not None), default=None)
        return None if end is None else max(0.0, end - time.monotonic())

    def may_look(self) -> bool:
        """Tell whether a loop may look for more; ask this before each line.

        It may until the deadline, and once after it, for what had come by then: a guest that does not stop printing
        must not outlast it. Lines that were read are given in any case.
        """
        if self.ended or not self._is_late():
            return True
        looked, self._looked_late = self._looked_late, True
        return not looked

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def check_deadline(self) -> None:
        """Raise the exception for a loop over lines that has reached its deadline.

        Raises:
            OperationTimeout: The deadline passed, and the console has not ended.
        """
        if not self.ended and self._is_late():
            message = f"the deadline of {self._seconds} s passed, and the console has not ended"
            raise OperationTimeout(message, operation="console_stream")

    def steady(self) -> None:
        """Record that the console is connected."""
        self._hung_up = None

    def hung_up(self, error: NotFound | None) -> None:
        """Record that the console hung up and does not open again; its domain still exists.

        Raises:
            NotFound: It has not come back for a while.
        """
        now = time.monotonic()
        if self._hung_up is None:
            self._hung_up = now
        elif now - self._hung_up > _COMES_BACK:
            why = "it hangs up again and again" if error is None else error.message
            message = f"the console hung up, the domain still exists, and in {_COMES_BACK:.0f} s it did not come back"
            raise NotFound(f"{message}: {why}", operation="console_stream")


GONE: Final = (DomainNotFound, HostClosed)
"""What says that a console has ended."""


def console_gone(written: int) -> NotFound:
    """Return the exception for a console that ended while it was written to."""
    message = f"the console has ended; {written} bytes had been written"
    return NotFound(message, operation="console_stream")


def which_console(kind: object, number: int, verb: str) -> tuple[ConsoleType | None, int]:
    """Return the type and number of a console, as the backends take them.

    Raises:
        InvalidArgument: It is not a type, or the number is negative.
    """
    check_number(number, verb)
    if number < 0:
        raise InvalidArgument(f"number={number}: consoles are numbered from 0", operation=verb)
    return None if kind is None else member(ConsoleType, kind, verb), number


def receive(console: FileIO) -> bytes | None:
    """Read from a console that does not block; None if nothing has come, empty bytes if it has hung up or is closed."""
    try:
        return console.read(PIECE)
    except (OSError, ValueError):  # a terminal whose other end was closed; garbage collection has closed it
        return b""


def send(console: FileIO, data: memoryview) -> int | None:
    """Write to a console that does not block; return how much was written; None if it has hung up or is closed."""
    try:
        return console.write(data) or 0
    except (OSError, ValueError):  # as in `receive`
        return None


def terminal_of(console: FileIO) -> str | None:
    """Return the path of the terminal that a console is; None if it is none, or is closed."""
    try:
        return os.ttyname(console.fileno())
    except (OSError, ValueError):
        return None


def as_bytes(data: bytes | bytearray | memoryview | str) -> bytes:
    """Return what is to be written, text as UTF-8.

    Raises:
        InvalidArgument: It is neither text nor bytes, or text that UTF-8 does not know.
    """
    if isinstance(data, str):
        try:
            return data.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"a console takes text that is UTF-8: {error}", operation="console_stream") from None
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise InvalidArgument(f"a console takes bytes or text, not {type(data).__name__}", operation="console_stream")
