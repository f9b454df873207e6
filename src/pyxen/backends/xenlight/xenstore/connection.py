"""A connection to xenstore that pipelines requests.

libxenstore waits for each answer before it sends the next request: it takes 190 ms for the names of 50 domains, and
pipelining takes 46 ms. The protocol is that of xen/io/xs_wire.h. It runs over xenstored's socket or, if xenstored has
its own domain, over the kernel's device.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Final, NoReturn

from pyxen._common.shield import logger
from pyxen._common.shortage import REMEDY, is_shortage
from pyxen._common.xenstore import refused
from pyxen.errors import ConnectFailed, NotPrivileged

__all__ = ["Connection", "Request", "Verb", "WatchEvent", "answers", "check_answers", "is_silence", "silent"]

_LOG = logger("pyxen.xenstore")

SOCKETS = ("/run/xenstored/socket", "/var/run/xenstored/socket")
DEVICES = ("/dev/xen/xenbus", "/proc/xen/xenbus")

PATIENCE = 5.0
"""Seconds to wait for xenstored without any data from it."""

_PAUSE = 0.01
"""Seconds between attempts to connect to a xenstored that is busy."""

_SILENT = "xenstored has not answered for {:g} s: is it stopped?"
_HEADER = struct.Struct("=IIII")  # type, request, transaction, length
_MOST_PARTS = 2000  # requests for the children of one node, which change meanwhile or never end
_COMMIT, _ABORT = b"T\0", b"F\0"
_LONGEST = 4096  # bytes of a message (XENSTORE_PAYLOAD_MAX)

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.EACCES})
"""What xenstored says of a node that does not exist, or that is not for this domain."""
_NUMBERS: Final = {name: number for name, number in vars(errno).items() if name.startswith("E")}
"""Errors by the names that xenstored gives. Python would keep thousands of those that `getattr` was asked for."""

Request = tuple["Verb", bytes]
"""A verb and its payload, including the final NUL."""

WatchEvent = tuple[str, str]
"""The path that changed, and the token of the watch."""


class Verb(IntEnum):
    """Kinds of messages (xsd_sockmsg_type)."""

    DIRECTORY = 1
    READ = 2
    GET_PERMS = 3
    WATCH = 4
    UNWATCH = 5
    TRANSACTION_START = 6
    TRANSACTION_END = 7
    GET_DOMAIN_PATH = 10
    WRITE = 11
    MKDIR = 12
    RM = 13
    SET_PERMS = 14
    WATCH_EVENT = 15
    ERROR = 16
    IS_DOMAIN_INTRODUCED = 17
    DIRECTORY_PART = 22


_EVENT = int(Verb.WATCH_EVENT)
_ERROR = int(Verb.ERROR)


def check_answers() -> None:
    """Check that xenstored answers.

    Raises:
        ConnectFailed: It does not, or there is none.
    """
    connection = Connection()
    try:
        connection.batch([(Verb.READ, b"domid\0")])  # whatever the answer is
    finally:
        connection.close()


def answers() -> bool:
    """Tell whether xenstored answers in time. One that is away counts as one that does: it keeps nobody waiting."""
    try:
        check_answers()
    except ConnectFailed as error:
        return not is_silence(error)
    return True


def is_silence(error: ConnectFailed) -> bool:
    """Tell whether a connection failed because xenstored does not answer, or accepts nobody."""
    return isinstance(error.__cause__, (TimeoutError, BlockingIOError))


def silent() -> ConnectFailed:
    """Return the exception for a xenstored that has not answered libxl either."""
    error = ConnectFailed(_SILENT.format(PATIENCE))
    error.__cause__ = TimeoutError()
    return error


class Connection:
    """A connection to xenstore, for one thread at a time. `events` collects the watch events that arrive.

    A connection that broke, or that Ctrl-C interrupted during an answer, is reopened at its next use. Its watches are
    then lost, and `generation` is greater than before.

    Args:
        sockets: Paths of xenstored's sockets, tried in this order.
        devices: Paths of the kernel's devices, tried if there is no socket.
        repeats: If the connection turns out to be broken, send the requests again over a new one. Only for a connection
            without watches, and for requests that can be repeated.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: There is no xenstore.
    """

    def __init__(
        self, sockets: Sequence[str] = SOCKETS, devices: Sequence[str] = DEVICES, *, repeats: bool = False
    ) -> None:
        override = os.environ.get("XENSTORED_PATH")
        self._places = [override] if override else sockets, devices
        self._channel = _open(*self._places)
        self._buffer = bytearray()
        self._broken = False
        self._repeats = repeats
        self.generation = 1
        self.events: deque[WatchEvent] = deque()

    def close(self) -> None:
        """Close the connection, which ends all its watches."""
        self._channel.close()

    @property
    def peer(self) -> str | None:
        """The address of xenstored's socket; None if it was reached through the kernel's device."""
        return self._channel.peer

    @property
    def is_open(self) -> bool:
        """Whether the connection is whole: xenstored may refuse requests over it, but answers them."""
        return not self._broken

    def ensure_open(self) -> None:
        """Reopen the connection if it broke.

        Raises:
            ConnectFailed: There is no xenstore any more.
        """
        if self._broken:
            self._break()
            channel = _open(*self._places)
            self.generation += 1  # first: Ctrl-C may interrupt between any two lines, and the watches are lost
            self._channel = channel
            self._broken = False

    def read(self, path: str) -> str | None:
        """Return the value of a node; None if it does not exist or may not be read. See `ask` for errors."""
        return self.read_all(path)[0]

    def read_all(self, *paths: str) -> list[str | None]:
        """Return the values of nodes, in one round trip; None for those that do not exist or may not be read."""
        answers = self.ask([(Verb.READ, path.encode() + b"\0") for path in paths])
        return [None if answer is None else answer.decode(errors="replace") for answer in answers]

    def directory(self, path: str) -> list[str]:
        """Return the names of a node's children; empty if there is no such node, or it may not be read."""
        [answer] = self.ask([(Verb.DIRECTORY, path.encode() + b"\0")])
        return [] if answer is None else _names(answer)

    def ask(self, requests: Sequence[Request]) -> list[bytes | None]:
        """Send requests that change nothing, and return their answers; None where there is no such node.

        A node that this domain may not read counts as one that does not exist. A request that xenstored refuses for
        another reason, such as lack of memory, is repeated once: the reason may be gone.

        Raises:
            ConnectFailed: The connection broke.
            XenstoreError: xenstored refuses for another reason. Nothing is known of the node then.
        """
        answers = self._ask(requests)
        again = [place for place, answer in enumerate(answers) if _is_unknown(answer)]
        if again:
            for place, answer in zip(again, self._ask([requests[place] for place in again]), strict=True):
                answers[place] = answer
        found: list[bytes | None] = []
        for (verb, body), answer in zip(requests, answers, strict=True):
            if isinstance(answer, OSError) and _is_unknown(answer):
                path = body.rstrip(b"\0").decode(errors="replace")
                where = f"/local/domain/{path}" if verb == Verb.IS_DOMAIN_INTRODUCED else path
                raise refused(answer.errno or 0, "read", where)
            found.append(None if isinstance(answer, OSError) else answer)
        return found

    def _ask(self, requests: Sequence[Request]) -> list[bytes | OSError]:
        """Return the answers to requests that change nothing, however many children a node has."""
        answers = self.batch(requests)
        for place, (answer, (verb, body)) in enumerate(zip(answers, requests, strict=True)):
            if isinstance(answer, OSError) and answer.errno == errno.E2BIG and verb == Verb.DIRECTORY:
                try:
                    answers[place] = self._directory_in_parts(body.rstrip(b"\0"), 0)
                except ConnectFailed:
                    raise
                except OSError as error:
                    answers[place] = error
        return answers

    def children(self, path: str, transaction: int = 0) -> list[str]:
        """Return the names of a node's children.

        Raises:
            OSError: xenstored refuses, e.g. because there is no such node.
        """
        answer = self.batch([(Verb.DIRECTORY, path.encode() + b"\0")], transaction)[0]
        if isinstance(answer, OSError):
            if answer.errno != errno.E2BIG:
                raise answer
            answer = self._directory_in_parts(path.encode(), transaction)
        return _names(answer)

    def _directory_in_parts(self, path: bytes, transaction: int) -> bytes:
        """Return the names of more children than fit into one message, each followed by a NUL."""
        names, generation = b"", b""
        for _ in range(_MOST_PARTS):
            answer = self.batch([(Verb.DIRECTORY_PART, path + b"\0%d\0" % len(names))], transaction)[0]
            if isinstance(answer, OSError):
                raise answer
            current, _, part = answer.partition(b"\0")
            if names and current != generation:  # the children changed meanwhile: begin again
                names = generation = b""
                continue
            generation = current
            if part.endswith(b"\0\0") or part in {b"", b"\0"}:
                return names + part
            names += part
        raise OSError(errno.EAGAIN, "EAGAIN")

    def remove(self, *paths: str) -> None:
        """Remove nodes and their children. If one does not exist or may not be removed, it is left out.

        What xenstored refuses for another reason is asked again: it may have had no room at that moment.
        """
        left = [*paths]
        for _ in range(2):
            answers = self.batch([(Verb.RM, path.encode() + b"\0") for path in left])
            refusals = [(path, answer) for path, answer in zip(left, answers, strict=True) if _is_unknown(answer)]
            left = [path for path, _ in refusals]
        for path, refusal in refusals:
            _LOG.warning("xenstored does not remove %s, which is left: %s", path, refusal)

    def replace(self, path: str, old: str, new: str) -> bool | None:
        """Write a node if it has a certain value, and tell whether it was written. Both happen in one transaction.

        Returns:
            None if someone else wrote to it meanwhile, or xenstored refused something: nothing was changed, and the
            call can be repeated.
        """
        node = path.encode() + b"\0"
        [begun] = self.batch([(Verb.TRANSACTION_START, b"\0")])
        if isinstance(begun, OSError):
            return None
        transaction = int(begun.rstrip(b"\0"))
        [value] = self.batch([(Verb.READ, node)], transaction)
        done = value == old.encode()
        answers = self.batch([(Verb.WRITE, node + new.encode())] if done else [], transaction)
        answers += self.batch([(Verb.TRANSACTION_END, _COMMIT if done else _ABORT)], transaction)
        failed = _is_unknown(value) or any(isinstance(answer, OSError) for answer in answers)
        return None if failed else done

    def batch(self, requests: Sequence[Request], transaction: int = 0) -> list[bytes | OSError]:
        """Send requests and return their answers in the same order. A refused request has an `OSError` as its answer.

        Raises:
            ConnectFailed: The connection broke.
        """
        self.ensure_open()
        try:
            return self._exchange(requests, transaction)
        except ConnectFailed as error:
            if not self._repeats or transaction or isinstance(error.__cause__, TimeoutError):
                raise
        self.ensure_open()
        return self._exchange(requests, transaction)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when events arrive, for `select`."""
        return self._channel.fileno()

    def receive(self) -> None:
        """Receive events without sending a request; wait up to `PATIENCE` if there are none.

        Raises:
            ConnectFailed: The connection broke.
        """
        self._broken = True  # see `_exchange`
        try:
            self._buffer += self._channel.receive()
            self._take_events()
        except BaseException as error:  # noqa: BLE001 (it is raised again)
            self._fail(error)
        self._broken = False

    def _exchange(self, requests: Sequence[Request], transaction: int) -> list[bytes | OSError]:
        """Send requests and return their answers."""
        self._broken = True  # until all answers are here: Ctrl-C may come anywhere, also while an error is handled
        try:
            answers = self._answers(requests, transaction)
        except BaseException as error:  # noqa: BLE001 (it is raised again)
            self._fail(error)
        self._broken = False
        return answers

    def _fail(self, error: BaseException) -> NoReturn:
        """Break the connection because of an error, and raise that."""
        self._break()
        if isinstance(error, TimeoutError):
            raise ConnectFailed(_SILENT.format(PATIENCE)) from error
        if isinstance(error, OSError) and not isinstance(error, ConnectFailed):
            raise ConnectFailed(f"the connection to xenstore broke: {error.strerror}") from error
        raise error

    def _break(self) -> None:
        # Answers may still arrive, and could not be matched to their requests later.
        self._broken = True
        self._channel.close()
        self._buffer.clear()
        self.events.clear()

    def _answers(self, requests: Sequence[Request], transaction: int) -> list[bytes | OSError]:
        answers: list[bytes | OSError] = []
        at_once, total = self._channel.at_once, len(requests)
        for start in range(0, total, at_once):
            window = requests[start : start + at_once]
            self._channel.send([_HEADER.pack(verb, 0, transaction, len(body)) + body for verb, body in window])
            sent = start + len(window)
            while len(answers) < sent:
                self._buffer += self._channel.receive()
                self._take_messages(answers, sent - len(answers))
        self._take_events()  # events behind the last answer: `select` would not report them
        return answers

    def _take_events(self) -> None:
        self._take_messages([], 0)

    def _take_messages(self, answers: list[bytes | OSError], most: int) -> None:
        """Take all complete messages out of the buffer: up to so many answers, which come in order, and events.

        Raises:
            ConnectFailed: There are more answers, or a message is too long.
        """
        buffer, at, size = self._buffer, 0, len(self._buffer)
        while size - at >= _HEADER.size:
            kind, _, _, length = _HEADER.unpack_from(buffer, at)
            if length > _LONGEST:
                message = f"xenstore sends a message of {length} bytes, and {_LONGEST} is the most it may have"
                raise ConnectFailed(message)
            start = at + _HEADER.size
            end = start + length
            if end > size:
                break
            body = bytes(buffer[start:end])
            if kind == _EVENT:
                path, _, token = body.decode(errors="replace").rstrip("\0").partition("\0")
                self.events.append((path, token))
            elif most > 0:
                most -= 1
                answers.append(_refusal(body) if kind == _ERROR else body)
            else:
                raise ConnectFailed("xenstored answers what was not asked")
            at = end
        if at:
            del buffer[:at]


def _is_unknown(answer: bytes | OSError) -> bool:
    """Tell whether xenstored has refused a request, and not because of the node."""
    return isinstance(answer, OSError) and answer.errno not in _NOT_THERE


def _names(answer: bytes) -> list[str]:
    """Return the names in an answer about a node's children."""
    return [name.decode(errors="replace") for name in answer.split(b"\0") if name]


def _refusal(body: bytes) -> OSError:
    name = body.rstrip(b"\0").decode(errors="replace")
    return OSError(_NUMBERS.get(name, errno.EINVAL), name)


class _Socket:
    """A channel to a xenstored in this domain, over its socket."""

    at_once = 64  # requests in flight; more would not help, and could fill both buffers

    def __init__(self, path: str) -> None:
        self._pid = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _CHANNELS.add(self)
        self._socket.settimeout(PATIENCE)
        try:
            _connect(self._socket, path)
            self.peer: str | None = self._socket.getpeername()
        except BaseException:
            self._socket.close()
            raise

    def send(self, messages: list[bytes]) -> None:
        self._socket.sendall(b"".join(messages))

    def receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectFailed("xenstored closed the connection: was it stopped?")
        return data

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        if self._pid == os.getpid():
            # xenstored keeps a connection, and queues its events, as long as any process has it: a forked child, say.
            with suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _connect(channel: socket.socket, path: str) -> None:
    """Connect a socket. If xenstored already has a connection that it has not accepted yet, wait until it has."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            channel.connect(path)
            return
        except BlockingIOError as busy:  # with a timeout, only connections over a network are waited for
            if time.monotonic() >= end:
                raise ConnectFailed(_SILENT.format(PATIENCE)) from busy
            time.sleep(_PAUSE)


class _Device:
    """A channel to a xenstored in any domain, through the kernel's device. It takes one message per write."""

    peer = None
    at_once = 1  # the kernel has one request buffer, and a second request would overwrite the first

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        _CHANNELS.add(self)

    def send(self, messages: list[bytes]) -> None:
        for message in messages:
            os.write(self._fd, message)

    def receive(self) -> bytes:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if not poller.poll(PATIENCE * 1000):
            raise TimeoutError
        return os.read(self._fd, 65536)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


_CHANNELS: Final[weakref.WeakSet[_Socket | _Device]] = weakref.WeakSet()
"""All that this process has opened."""


def _close_in_child() -> None:
    """Close the copies of the parent's connections, with which its watches would outlive it."""
    for channel in list(_CHANNELS):
        channel.close()
    _CHANNELS.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _open(sockets: Sequence[str], devices: Sequence[str]) -> _Socket | _Device:
    refused = None
    for kind, paths in ((_Socket, sockets), (_Device, devices)):
        for path in paths:
            try:
                return kind(path)
            except ConnectFailed:  # it is there
                raise
            except PermissionError:
                refused = path
            except OSError as error:
                if is_shortage(error):
                    raise ConnectFailed(f"cannot connect to xenstored: {error}: {REMEDY}") from error
    if refused:
        raise NotPrivileged(f"no permission for {refused}: run this as root")
    raise ConnectFailed(f"no xenstore at {', '.join([*sockets, *devices])}: is xenstored running?")
