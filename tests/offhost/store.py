"""xenstore's protocol (xen/io/xs_wire.h), spoken by domain 0 over xenstored's socket and by a guest over its page.

It is not pyxen's: what is tested is not what tests.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Self

__all__ = ["GuestStopped", "GuestStore", "SocketStore", "Store", "StoreError"]

_HEADER = struct.Struct("=IIII")
_DIRECTORY, _READ, _GET_PERMS, _WATCH, _UNWATCH, _START, _END = 1, 2, 3, 4, 5, 6, 7
_INTRODUCE, _RELEASE, _WRITE, _MKDIR, _RM, _SET_PERMS, _EVENT, _ERROR = 8, 9, 11, 12, 13, 14, 15, 16
_TO_ANSWER = 10.0  # seconds for xenstored to answer

_RING = 1024
_REQUESTS, _RESPONSES, _INDEXES = 0, _RING, 2 * _RING  # where they are in a guest's page


class StoreError(Exception):
    """xenstored has refused; the first argument is its word, as ``EACCES``."""


class GuestStopped(Exception):
    """The guest runs no more, so it says nothing more."""


class Store(ABC):
    """A connection: each method is one request, and waits for its answer."""

    def __init__(self) -> None:
        self._events: deque[tuple[str, str]] = deque()

    def read(self, path: str, transaction: int = 0) -> str:
        """Return a node's value."""
        return self._ask(_READ, path, transaction=transaction).decode("utf-8", "surrogateescape")

    def write(self, path: str, value: str | bytes = "", transaction: int = 0) -> None:
        """Write a node; what is above it comes into being."""
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        self._ask(_WRITE, path, after=data, transaction=transaction)

    def post_write(self, path: str, value: str, *, behind: int) -> None:
        """Write a node as the last of some requests that are sent together; their answers are left to `collect`."""
        read, written = f"{path}\0".encode(), f"{path}\0{value}".encode()
        first = _HEADER.pack(_READ, 1, 0, len(read)) + read
        self._send(first * behind + _HEADER.pack(_WRITE, 1, 0, len(written)) + written)

    def collect(self, answers: int) -> None:
        """Take in the answers to requests that were sent together."""
        for _ in range(answers):
            if self._message(time.monotonic() + _TO_ANSWER) is None:
                raise TimeoutError(f"xenstored has not answered within {_TO_ANSWER:.0f} s")

    def directory(self, path: str) -> list[str]:
        """Return the names of a node's children."""
        return [name.decode() for name in self._ask(_DIRECTORY, path).split(b"\0") if name]

    def exists(self, path: str) -> bool:
        """Tell whether there is a node."""
        try:
            self.read(path)
        except StoreError as error:
            if error.args[0] != "ENOENT":
                raise
            return False
        return True

    def remove(self, path: str) -> None:
        """Remove a node and all below it."""
        self._ask(_RM, path)

    def permit(self, path: str, *permissions: str) -> None:
        """Set a node's permissions, as ``n5`` and ``r0``: the first one is its owner's."""
        self._ask(_SET_PERMS, path, *permissions)

    def permissions(self, path: str) -> list[str]:
        """Return a node's permissions."""
        return [name.decode() for name in self._ask(_GET_PERMS, path).split(b"\0") if name]

    def begin(self) -> int:
        """Begin a transaction, and return its number."""
        return int(self._ask(_START, "").rstrip(b"\0"))

    def end(self, transaction: int, *, commit: bool = True) -> None:
        """End a transaction."""
        self._ask(_END, "T" if commit else "F", transaction=transaction)

    def introduce(self, domid: int, frame: int, port: int) -> None:
        """Tell xenstored of a domain; for domain 0 only."""
        self._ask(_INTRODUCE, str(domid), str(frame), str(port))

    def watch(self, path: str, token: str = "") -> None:
        """Watch a node and what is below it; the first event comes at once."""
        self._ask(_WATCH, path, token)

    def event(self, timeout: float = _TO_ANSWER) -> tuple[str, str] | None:
        """Return the path and the token of the next event; None where none comes in time."""
        end = time.monotonic() + timeout
        while not self._events:
            message = self._message(end)
            if message is None:
                return None
            self._take_event(*message)
        return self._events.popleft()

    def _take_event(self, kind: int, payload: bytes) -> None:
        if kind != _EVENT:
            raise StoreError(f"an answer that nobody asked for: {kind}")
        path, token = payload.rstrip(b"\0").split(b"\0") if payload.count(b"\0") > 1 else (payload.rstrip(b"\0"), b"")
        self._events.append((path.decode(), token.decode()))

    def _ask(self, verb: int, *words: str, after: bytes = b"", transaction: int = 0) -> bytes:
        payload = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words) + after
        self._send(_HEADER.pack(verb, 1, transaction, len(payload)) + payload)
        end = time.monotonic() + _TO_ANSWER
        while (message := self._message(end)) is not None:
            kind, answer = message
            if kind == _ERROR:
                raise StoreError(answer.rstrip(b"\0").decode())
            if kind == verb:
                return answer
            self._take_event(kind, answer)
        raise TimeoutError(f"xenstored has not answered within {_TO_ANSWER:.0f} s")

    def _message(self, end: float) -> tuple[int, bytes] | None:
        head = self._receive(_HEADER.size, end)
        if head is None:
            return None
        kind, _, _, length = _HEADER.unpack(head)
        payload = self._receive(length, time.monotonic() + _TO_ANSWER) if length else b""
        if payload is None:
            raise TimeoutError("xenstored has stopped in the middle of an answer")
        return kind, payload

    @abstractmethod
    def _send(self, data: bytes) -> None: ...

    @abstractmethod
    def _receive(self, count: int, end: float) -> bytes | None: ...

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SocketStore(Store):
    """Domain 0's: may do everything."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(os.fspath(path))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _receive(self, count: int, end: float) -> bytes | None:
        data = b""
        while len(data) < count:
            # Once a message has begun, its rest is waited for, though the time be up.
            left = max(end - time.monotonic(), _TO_ANSWER if data else 0)
            if not select.select([self._socket], [], [], left)[0]:
                return None
            got = self._socket.recv(count - len(data))
            if not got:
                raise ConnectionError("xenstored has closed the connection")
            data += got
        return data


class GuestStore(Store):
    """A guest's: xenstored takes what is asked here for the guest's own words, and treats it so.

    Args:
        page: The page that it shares with xenstored.
        notify: Sends the event that goes with it.
        runs: Tells whether the guest still runs.

    Raises:
        GuestStopped: By each method, when it does not.
    """

    def __init__(self, page: mmap.mmap, notify: Callable[[], None], runs: Callable[[], bool]) -> None:
        super().__init__()
        self._page = page
        self._send_event = notify
        self._runs = runs

    def close(self) -> None:
        """Forget the page."""
        self._page.close()

    def _index(self, number: int) -> int:
        try:
            return int(struct.unpack_from("I", self._page, _INDEXES + 4 * number)[0])
        except ValueError as error:  # closed, by another thread
            raise GuestStopped from error

    def _set_index(self, number: int, value: int) -> None:
        try:
            # In native order, so that it is written at once. Of one that is written byte by byte xenstored may read
            # half, and if that is wrong it serves the guest no more.
            struct.pack_into("I", self._page, _INDEXES + 4 * number, value & 0xFFFFFFFF)
        except ValueError as error:
            raise GuestStopped from error

    def _send(self, data: bytes) -> None:
        end = time.monotonic() + _TO_ANSWER
        while data:
            consumed, produced = self._index(0), self._index(1)
            room = _RING - (produced - consumed & 0xFFFFFFFF)
            at = produced % _RING
            chunk = data[: min(room, _RING - at)]
            if not chunk:
                self._pause(end)
                continue
            self._page[_REQUESTS + at : _REQUESTS + at + len(chunk)] = chunk
            self._set_index(1, produced + len(chunk))
            self._notify()
            data = data[len(chunk) :]

    def _receive(self, count: int, end: float) -> bytes | None:
        data = b""
        while len(data) < count:
            consumed, produced = self._index(2), self._index(3)
            at = consumed % _RING
            chunk = self._page[
                _RESPONSES + at : _RESPONSES + at + min(count - len(data), produced - consumed & 0xFFFFFFFF, _RING - at)
            ]
            if chunk:
                data += chunk
                self._set_index(2, consumed + len(chunk))
                self._notify()
            elif not data and time.monotonic() > end:
                return None
            else:
                self._pause(end + _TO_ANSWER)
        return data

    def _notify(self) -> None:
        try:
            self._send_event()
        except OSError:
            if self._runs():
                raise
            raise GuestStopped from None

    def _pause(self, end: float) -> None:
        if not self._runs():
            raise GuestStopped
        if time.monotonic() > end:
            raise TimeoutError("xenstored does not serve the guest's page")
        time.sleep(0.0001)
