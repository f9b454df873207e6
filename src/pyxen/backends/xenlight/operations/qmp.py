"""Commands for a domain's QEMU by QMP, its protocol for programs.

libxl gives each QEMU two sockets: one for itself, and ``qmp-libxenstat-DOMID`` for others, which is used here. QEMU
serves one client of a socket at a time, so a connection is held for one command only. No command is sent before QEMU
has greeted: one that waited in the socket would be carried out even after the caller had given up.

A guest may have taken over its QEMU: nothing that it sends is trusted, and every wait and every answer has a bound.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from pyxen._common.qmp import ID, no_qemu, no_socket, request
from pyxen._common.qmp import refusal as refusal_of
from pyxen._common.shortage import shortage
from pyxen._printable import printable
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, stopped
from pyxen.backends.xenlight.operations.monitor import has_qemu
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.errors import InvalidState, OperationFailed, QmpError
from pyxen.operation import Operation

__all__ = [
    "ONLY_LOOK",
    "Broken",
    "HungUp",
    "Monitor",
    "Refused",
    "connect",
    "execute",
    "has_ended",
    "nonsense",
    "pause",
    "refusal",
]

SOCKETS: Final = Path("/var/run/xen")
"""Where libxl puts the sockets."""

LONGEST: Final = 8 << 20
"""Bytes that QEMU may send in one conversation; the longest answer, to ``query-qmp-schema``, is a twentieth of this."""

MOST: Final = 20_000
"""Messages that QEMU may send in one conversation: small ones cost time rather than memory."""

_RETRY: Final = 0.02
"""Seconds between two attempts to connect while too many others wait for the socket."""

_LONGEST_TEXT: Final = 500  # characters of QEMU's own words in a message

Wait = Callable[[socket.socket | None, int], None]
"""Waits for an event of a socket, as `select.poll` has them, or for a moment without one. Raises when time is up.

For the event `ONLY_LOOK` it does not wait: what always has something to read would never make anyone wait.
"""

ONLY_LOOK: Final = 0


class Monitor:
    """A connection to the QEMU of a domain. Close it soon: others wait for it.

    Args:
        domid: The domain.
        wait: Waits for the socket.

    Attributes:
        wait: Waits for the socket.
        length: Bytes that QEMU has sent; a user of a long connection sets it back.
        messages: Messages that QEMU has sent; a user of a long connection sets it back.

    Raises:
        Unreachable: There is no such socket, or nothing listens on it any more.
    """

    def __init__(self, domid: int, wait: Wait) -> None:
        self.wait = wait
        self.length = 0
        self.messages = 0
        self._buffer = bytearray()
        self._searched = 0
        with shortage(OperationFailed, "cannot talk to QEMU"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._connect(str(SOCKETS / f"qmp-libxenstat-{domid}"))
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, path: str) -> None:
        while True:
            try:
                self._socket.connect(path)
            except BlockingIOError:
                self.wait(None, 0)
            except OSError as error:
                raise Unreachable(error) from None
            else:
                return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def greet(self) -> None:
        """Wait until QEMU talks to this client, and make it ready for commands.

        Raises:
            Broken: QEMU says nothing sensible.
        """
        while "QMP" not in self.receive():
            pass
        self.execute(request("qmp_capabilities", {}))

    def execute(self, command: bytes) -> Any:
        """Send a command that `request` has made, and return the answer.

        Raises:
            Refused: QEMU refuses it.
            Broken: QEMU says nothing sensible.
        """
        self.send(command)
        while True:
            answer = self.receive()
            if "error" in answer and answer.get("id", ID) == ID:  # without an id, QEMU could not read the command
                raise Refused(answer["error"])
            if "return" in answer and answer.get("id") == ID:
                return answer["return"]

    def send(self, command: bytes) -> None:
        """Send a command."""
        rest = memoryview(command)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self.wait(self._socket, select.POLLOUT)
            except OSError as error:
                raise self._hung_up(error) from None

    def receive(self) -> dict[str, Any]:
        """Return the next message of QEMU."""
        self.wait(self._socket, ONLY_LOOK)
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            self._buffer += self._more()
            if len(self._buffer) > LONGEST:
                raise Broken(f"it sends more than {LONGEST >> 20} MiB")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self.messages += 1
        if self.messages > MOST:
            raise Broken(f"it sends more than {MOST} messages")
        try:
            message = _JSON.decode(line.decode())
        except (ValueError, RecursionError):
            raise Broken(f"it sends {_cut(line.decode(errors='replace'))!r}, which is not JSON") from None
        if not isinstance(message, dict):
            raise Broken(f"it sends {_cut(line.decode(errors='replace'))!r}, which is no message of QMP")
        return message

    def _hung_up(self, error: OSError | None = None) -> Broken:
        reason = "it hung up" if error is None else f"it hung up: {error.strerror}"
        return Broken(reason) if self._buffer else HungUp(reason)

    def _more(self) -> bytes:
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                self.wait(self._socket, select.POLLIN)
                continue
            except OSError as error:
                raise self._hung_up(error) from None
            self.length += len(data)
            if not data:
                raise self._hung_up()
            if self.length > LONGEST:
                raise Broken(f"it sends more than {LONGEST >> 20} MiB")
            return data


class Unreachable(Exception):  # the exceptions of a wait may be OSErrors, too: this one is told apart from them
    """The socket does not exist, or nothing listens on it.

    Attributes:
        missing: Whether it does not exist.
    """

    def __init__(self, error: OSError) -> None:
        self.missing = isinstance(error, FileNotFoundError)
        super().__init__(error.strerror)


class Broken(Exception):
    """QEMU does not keep to the protocol."""


class HungUp(Broken):
    """QEMU has closed the connection after a complete message."""


class Refused(Exception):
    """QEMU refuses a command.

    Attributes:
        error_class: QEMU's class of the error.
        description: QEMU's words.
    """

    def __init__(self, error: object) -> None:
        said = error if isinstance(error, dict) else {}
        self.error_class = _cut(str(said.get("class", "")))
        self.description = _cut(str(said.get("desc", "")))
        super().__init__(self.description or "it says no reason")


def execute(hypervisor: Hypervisor, threaded: ThreadedOperation, domid: int, command: str, asked: bytes) -> Any:
    """Let a domain's QEMU carry out a command, and return the answer."""
    monitor = connect(hypervisor, threaded, domid)
    sent = False
    try:
        monitor.greet()
        sent = True
        monitor.wait = partial(pause, threaded, sent=True)
        return monitor.execute(asked)
    except Refused as refused:
        raise refusal(threaded.operation, command, refused) from None
    except Broken as broken:
        raise nonsense(threaded.operation, broken, command if sent else None) from None
    finally:
        monitor.close()


def connect(hypervisor: Hypervisor, threaded: ThreadedOperation, domid: int) -> Monitor:
    """Connect to a domain's QEMU, as soon as no other client uses the socket."""
    operation = threaded.operation
    if not has_qemu(hypervisor, domid):
        raise no_qemu("qmp", domid, BACKEND)
    try:
        return Monitor(domid, partial(pause, threaded, sent=False))
    except Unreachable as error:
        if error.missing:
            raise no_socket(domid, BACKEND) from None
        raise describe(InvalidState, f"QEMU cannot be reached, has it ended? {error}", operation) from None


def has_ended(domid: int) -> bool:
    """Tell whether a domain's QEMU has ended, as when it was killed: its socket is there, and nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(str(SOCKETS / f"qmp-libxenstat-{domid}"))
    except OSError as error:  # a shortage does not tell: it only has to explain another error
        return isinstance(error, ConnectionRefusedError)
    return False


def nonsense(operation: Operation[Any], broken: Broken, command: str | None = None) -> QmpError:
    """Return the exception for a QEMU that does not keep to the protocol, after a command was sent to it, or none."""
    after = "" if command is None else f"; {command} may have been carried out"
    return describe(QmpError, f"QEMU's answer makes no sense: {broken}{after}", operation)


def refusal(operation: Operation[Any], command: str, refused: Refused) -> QmpError:
    """Return the exception for a command that QEMU refuses."""
    return refusal_of(operation, command, str(refused), refused.error_class or None, refused.description or None)


def pause(
    threaded: ThreadedOperation,
    channel: socket.socket | None,
    event: int,
    *,
    sent: bool,
    also: int | None = None,
    longest: float = _RETRY,
) -> None:
    """Wait for a socket, and for another descriptor; without a socket, for a moment.

    Args:
        threaded: The operation that waits.
        channel: The socket.
        event: What it waits for; `ONLY_LOOK` to look only whether it may go on.
        sent: Whether QEMU may carry out the command although the operation is stopped.
        also: Another descriptor that may become readable.
        longest: Seconds of the moment.

    Raises:
        OperationFailed: The operation was stopped, or its deadline passed.
    """
    operation = threaded.operation
    left = None if operation.deadline is None else max(0.0, operation.deadline - time.monotonic())
    if left == 0:
        operation.stop("timeout")
    if operation.stopped is not None:
        now = "QEMU may still carry out the command" if sent else "QEMU has not been given the command: others use it"
        raise stopped(operation, now=now)
    if channel is not None and event == ONLY_LOOK:
        return
    poller = select.poll()
    poller.register(threaded.wake, select.POLLIN)
    if channel is not None:
        poller.register(channel, event)
    if also is not None:
        poller.register(also, select.POLLIN)
    if channel is None:
        left = longest if left is None else min(left, longest)
    poller.poll(None if left is None else min(left, 86400.0) * 1000)


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)  # to make one takes longer than to read a message
