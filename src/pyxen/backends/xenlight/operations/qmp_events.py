"""Events of a domain's QEMU, and commands beside them.

QEMU serves one client of the socket at a time, so the connection that waits for events is the only one: commands of
this process go over it, too, and those of other processes wait until it is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from pyxen._common.qmp import READ_ALREADY, command_of, request
from pyxen._common.shortage import shortage
from pyxen._printable import printable
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.error_map import describe
from pyxen.backends.xenlight.operations.qmp import (
    ONLY_LOOK,
    Broken,
    HungUp,
    Monitor,
    Refused,
    connect,
    execute,
    nonsense,
    pause,
    refusal,
)
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.errors import Error, InvalidState, OperationFailed
from pyxen.records.qmp_event import QmpEvent

__all__ = ["Listener", "Listeners", "NotSent"]

_AT_ONCE: Final = 4 << 20
"""Bytes that are read in a second: a QEMU that sends events without end must not take a CPU of dom0 for it."""

_MOST_AT_ONCE: Final = 5000
"""Messages that are read in a second, for the same reason: that takes a twentieth of a CPU."""

_LOOK: Final = 1.0  # seconds until a command looks for its answer, if nothing wakes it


class NotSent(Exception):
    """The listener ended before it sent a command: it can be sent over another connection."""


class _Request:
    """A command that waits for its answer.

    Attributes:
        text: The command as QEMU reads it.
        sent: Whether QEMU may have it.
        answer: The answer; None if it has not come.
        wake: Readable when it has, or when none comes any more.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.sent = False
        self.answer: dict[str, Any] | None = None
        with shortage(OperationFailed, "qmp: cannot begin"):
            self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.wake)

    def reply(self, answer: dict[str, Any]) -> None:
        """Set the answer."""
        self.answer = answer
        os.eventfd_write(self.wake, 1)


class Listener:
    """A connection on which events come, and its thread.

    Args:
        monitor: The connection, ready for commands. The listener closes it.
        put: Called with each event.
        end: Called once when no more come: with an error, or with None if QEMU has ended or the listener was closed.
    """

    def __init__(self, monitor: Monitor, put: Callable[[QmpEvent], None], end: Callable[[Error | None], None]) -> None:
        self._monitor = monitor
        self._put = put
        self._end = end
        self._lock = threading.Lock()
        with shortage(OperationFailed, "qmp: cannot begin"):
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._unsent: deque[_Request] = deque()
        self._requests: dict[str, _Request] = {}
        self._number = 0
        self._began = time.monotonic()
        self._over = False

    def listen(self, threaded: ThreadedOperation) -> None:
        """Read events until the operation is stopped."""
        error: Error | None = None
        self._monitor.wait = lambda channel, event: self._wait(threaded, channel, event)
        try:
            while threaded.operation.stopped is None:
                self._slow_down(threaded)
                self._send_next()
                self._take(self._monitor.receive())
        except HungUp:
            pass  # QEMU has ended
        except Broken as broken:
            error = nonsense(threaded.operation, broken)
        except OperationFailed as failed:  # it was closed, or the host
            error = failed if threaded.operation.stopped is None else None
        finally:
            self._monitor.close()
            with self._lock:
                self._over = True
                os.close(self._wake)
                for request in self._requests.values():
                    os.eventfd_write(request.wake, 1)
            self._end(error)

    def execute(self, threaded: ThreadedOperation, command: str, asked: dict[str, Any]) -> Any:
        """Send a command, and return the answer; `threaded` is the operation of the caller, not of the listener.

        Raises:
            NotSent: The listener has ended, and QEMU does not have the command.
        """
        with self._lock:
            self._number += 1
            name = f"pyxen-{self._number}"
        with _Request(json.dumps({**asked, "id": name}).encode() + b"\n") as request:
            with self._lock:
                if self._over:
                    raise NotSent
                self._requests[name] = request
                self._unsent.append(request)
                os.eventfd_write(self._wake, 1)
            try:
                self._await(threaded, request, command)
            finally:
                with self._lock:
                    self._requests.pop(name, None)
                    if request in self._unsent:  # the caller has given up: QEMU must not get it later
                        self._unsent.remove(request)
        assert request.answer is not None  # noqa: S101 (for mypy: it has been awaited)
        if "error" in request.answer:
            raise refusal(threaded.operation, command, Refused(request.answer["error"]))
        return request.answer["return"]

    def _await(self, threaded: ThreadedOperation, request: _Request, command: str) -> None:
        while request.answer is None:
            with self._lock:
                over, sent = self._over, request.sent
            if over and not sent:
                raise NotSent
            if over and request.answer is None:
                message = f"QEMU has ended, or its events are not read any more; {command} may have been carried out"
                raise describe(InvalidState, message, threaded.operation)
            pause(threaded, None, 0, sent=sent, also=request.wake, longest=_LOOK)

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._put(_event(message))
            return
        name = message.get("id")
        with self._lock:
            request = self._requests.get(name) if isinstance(name, str) else None
            if request is not None and ("error" in message or "return" in message):
                request.reply(message)

    def _wait(self, threaded: ThreadedOperation, channel: socket.socket | None, event: int) -> None:
        """Wait for the socket; if there are commands, send one instead."""
        if event in {select.POLLOUT, ONLY_LOOK} or not self._send_next():
            pause(threaded, channel, event, sent=False, also=self._wake if event == select.POLLIN else None)

    def _send_next(self) -> bool:
        with self._lock:
            request = self._unsent.popleft() if self._unsent else None
            if request is None:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                request.sent = True
        if request is not None:
            self._monitor.send(request.text)
        return request is not None

    def _slow_down(self, threaded: ThreadedOperation) -> None:
        is_too_much = self._monitor.length > _AT_ONCE or self._monitor.messages >= _MOST_AT_ONCE
        while is_too_much and (left := self._began + 1 - time.monotonic()) > 0:
            pause(threaded, None, 0, sent=False, longest=left)
        if time.monotonic() - self._began >= 1:
            self._began = time.monotonic()
            self._monitor.length = self._monitor.messages = 0


def _event(message: dict[str, Any]) -> QmpEvent:
    name, data, stamp = message["event"], message.get("data", {}), message.get("timestamp", {})
    if not isinstance(name, str) or not isinstance(data, dict) or not isinstance(stamp, dict):
        raise Broken(f"it sends {printable(json.dumps(message))[:200]!r}, which is no event")
    return QmpEvent(name, data, _time(stamp.get("seconds"), stamp.get("microseconds")))


def _time(seconds: object, microseconds: object) -> datetime | None:
    if type(seconds) is not int or type(microseconds) is not int or seconds < 0 or microseconds < 0:
        return None  # QEMU says -1 if its clock does not answer
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    except (OverflowError, ValueError, OSError):
        return None


class Listeners:
    """The listeners of one host, by domid. Commands for their domains go through them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[int, Listener] = {}

    def execute(
        self,
        hypervisor: Hypervisor,
        threaded: ThreadedOperation,
        domid: int,
        command: str,
        arguments: Mapping[str, Any],
    ) -> Any:
        """Let a domain's QEMU carry out a command, over the connection of its listener, or over one of its own."""
        asked = request(command, arguments)
        listener = self.get(domid)
        if listener is not None:
            with contextlib.suppress(NotSent):
                return listener.execute(threaded, command, command_of(command, arguments))
        return execute(hypervisor, threaded, domid, command, asked)

    def get(self, domid: int) -> Listener | None:
        """Return the listener of a domain; None if there is none."""
        with self._lock:
            return self._listeners.get(domid)

    def open(
        self,
        hypervisor: Hypervisor,
        threaded: ThreadedOperation,
        domid: int,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
    ) -> Listener:
        """Connect to a domain's QEMU, and return a listener that is ready to run."""
        if self.get(domid) is not None:
            raise describe(InvalidState, READ_ALREADY, threaded.operation)
        monitor = connect(hypervisor, threaded, domid)
        try:
            monitor.greet()
            listener = Listener(monitor, put, end)
        except BaseException as error:
            monitor.close()
            if isinstance(error, Refused):
                raise refusal(threaded.operation, "qmp_capabilities", error) from None
            if isinstance(error, Broken):
                raise nonsense(threaded.operation, error) from None
            raise
        with self._lock:
            self._listeners[domid] = listener
        return listener

    def run(self, threaded: ThreadedOperation, domid: int, listener: Listener) -> None:
        """Let a listener read until it is stopped, and remove it."""
        try:
            listener.listen(threaded)
        finally:
            self.remove(domid, listener)

    def remove(self, domid: int, listener: Listener) -> None:
        """Remove a listener, unless another one has taken its place."""
        with self._lock:
            if self._listeners.get(domid) is listener:
                del self._listeners[domid]
