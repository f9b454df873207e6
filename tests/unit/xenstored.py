"""A xenstored in this process: enough of the wire protocol to answer a `Connection`, at the pace that a test sets."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyxen.backends.xenlight.xenstore.connection import Verb

__all__ = ["HEADER", "Xenstored"]

HEADER = struct.Struct("=IIII")


@dataclass
class _Client:
    socket: socket.socket
    watches: list[tuple[str, str]] = field(default_factory=list)
    transaction: dict[str, str] | None = None
    """What it has written in a transaction that has not ended."""
    began: int = 0
    """How often nodes had changed when the transaction began."""
    unsent: list[bytes] = field(default_factory=list)
    """Messages that wait to be sent."""
    held: int = 0
    """While above 0, its messages wait."""


class Xenstored:
    """Serves a tree of nodes on a unix socket until it is closed.

    As in the real one, messages to a client wait while more of its requests are there, and an event is dropped if an
    equal one waits.

    Attributes:
        requests: What was asked, in order: verb and body.
        before_answer: Called with each request before it is answered; what it changes is reported before the answer.
        after_answer: Called with each request after it is answered, and before the answer is sent.
        refuse: If it returns the name of an error for a request, that is the answer.
        answer_raw: If it returns bytes for a request, those are sent as they are, and the connection is closed.
        piece: How many bytes are sent at once; None: each message whole.
        most_watches: Watches that a client may have; a further one is refused.
        introduced: Domids of the domains that it was told of.
    """

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "socket")
        self.requests: list[tuple[Verb, bytes]] = []
        self.before_answer: Callable[[Verb, str], None] = lambda *_: None
        self.after_answer: Callable[[Verb, str], None] = lambda *_: None
        self.refuse: Callable[[Verb, str], str | None] = lambda *_: None
        self.answer_raw: Callable[[Verb, str], bytes | None] = lambda *_: None
        self.piece: int | None = None
        self.most_watches = 1000
        self.introduced: set[int] = set()
        self._nodes: dict[str, str] = {}
        self._changes = 0
        self._clients: list[_Client] = []
        self._lock = threading.RLock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop serving, and close all connections."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # it wakes the thread that accepts, which closes it
            self.hang_up()
            Path(self.path).unlink(missing_ok=True)

    def hang_up(self) -> None:
        """Close all connections, and go on serving."""
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_RDWR)  # it wakes the thread that reads, which closes it

    def write(self, path: str, value: str) -> None:
        """Set a node, and report it to whoever watches it."""
        with self._lock:
            self._changes += 1
            self._nodes[path] = value
            self._report(path)

    def remove(self, path: str) -> None:
        """Remove a node and those below it, and report it."""
        with self._lock:
            for gone in [node for node in self._nodes if f"{node}/".startswith(f"{path}/")]:
                del self._nodes[gone]
                self._report(gone)

    def read(self, path: str) -> str | None:
        """Return what a node holds."""
        return self._nodes.get(path)

    def fire(self, path: str) -> None:
        """Report something that is no node, as ``@introduceDomain``."""
        with self._lock:
            self._report(path)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Report all that changes meanwhile in one go, at the end: nobody can look before all of it has happened."""
        with self._lock:
            clients = list(self._clients)
            for client in clients:
                client.held += 1
            yield
            for client in clients:
                self._release(client)

    def clients(self) -> int:
        """Return how many are connected."""
        with self._lock:
            return len(self._clients)

    def count(self, verb: Verb) -> int:
        """Return how often something was asked for."""
        return sum(1 for asked, _ in self.requests if asked == verb)

    def _report(self, path: str) -> None:
        for client in self._clients:
            for watched, token in client.watches:
                if f"{path}/".startswith(f"{watched}/"):
                    self._send(client, Verb.WATCH_EVENT, f"{path}\0{token}\0".encode())

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                client = _Client(self._listener.accept()[0])
                with self._lock:
                    self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: _Client) -> None:
        with client.socket, contextlib.suppress(OSError):
            for messages in _messages(client.socket):
                client.held += 1
                if not all(self._take(client, verb, body) for verb, body in messages):
                    break
                with self._lock:
                    self._release(client)
        with self._lock:
            self._clients.remove(client)

    def _take(self, client: _Client, verb: Verb, body: bytes) -> bool:
        """Answer a request; tell whether the connection goes on."""
        with self._lock:
            self.requests.append((verb, body))
            path = body.split(b"\0")[0].decode()
            self.before_answer(verb, path)
            raw = self.answer_raw(verb, path)
            if raw is not None:
                client.held = 0
                self._flush(client)
                client.socket.sendall(raw)
                return False
            if refusal := self.refuse(verb, path):
                self._send(client, Verb.ERROR, f"{refusal}\0".encode())
            else:
                self._answer(client, verb, body)
            self.after_answer(verb, path)
        return True

    def _answer(self, client: _Client, verb: Verb, body: bytes) -> None:
        path, *rest = body.decode().split("\0")
        if verb == Verb.READ and path in self._nodes:
            self._send(client, verb, self._nodes[path].encode())
        elif verb == Verb.GET_PERMS and path in self._nodes:
            self._send(client, verb, b"n0\0")
        elif verb == Verb.DIRECTORY and self._children(path):
            self._send(client, verb, "".join(f"{name}\0" for name in self._children(path)).encode())
        elif verb in {Verb.READ, Verb.DIRECTORY, Verb.GET_PERMS}:
            self._send(client, Verb.ERROR, b"ENOENT\0")
        elif verb == Verb.GET_DOMAIN_PATH:
            self._send(client, verb, f"/local/domain/{path}\0".encode())
        elif verb == Verb.IS_DOMAIN_INTRODUCED:
            self._send(client, verb, b"T\0" if int(path) in self.introduced else b"F\0")
        elif verb in {Verb.TRANSACTION_START, Verb.WRITE, Verb.TRANSACTION_END}:
            self._transact(client, verb, path, *rest)
        elif verb == Verb.WATCH:
            self._watch(client, (path, rest[0]))
        elif verb == Verb.UNWATCH and (path, rest[0]) in client.watches:
            client.watches.remove((path, rest[0]))
            self._send(client, verb, b"OK\0")
        else:
            self._send(client, Verb.ERROR, b"ENOENT\0" if verb == Verb.UNWATCH else b"ENOSYS\0")

    def _transact(self, client: _Client, verb: Verb, path: str, value: str) -> None:
        if verb == Verb.TRANSACTION_START:
            client.transaction, client.began = {}, self._changes
        elif client.transaction is not None and verb == Verb.WRITE:
            client.transaction[path] = value
        elif client.transaction is not None:
            written, client.transaction = client.transaction, None
            if client.began != self._changes:
                self._send(client, Verb.ERROR, b"EAGAIN\0")
                return
            for node, new in written.items() if path == "T" else ():
                self.write(node, new)
        self._send(client, verb, b"1\0" if verb == Verb.TRANSACTION_START else b"OK\0")

    def _watch(self, client: _Client, watch: tuple[str, str]) -> None:
        if watch in client.watches:
            self._send(client, Verb.ERROR, b"EEXIST\0")
        elif len(client.watches) >= self.most_watches:
            self._send(client, Verb.ERROR, b"E2BIG\0")
        else:
            client.watches.append(watch)
            self._send(client, Verb.WATCH, b"OK\0")
            self._send(client, Verb.WATCH_EVENT, f"{watch[0]}\0{watch[1]}\0".encode())

    def _children(self, path: str) -> list[str]:
        below = [node.removeprefix(f"{path}/") for node in self._nodes if node.startswith(f"{path}/")]
        return sorted({name.split("/")[0] for name in below})

    def _send(self, client: _Client, verb: Verb, body: bytes) -> None:
        data = HEADER.pack(verb, 0, 0, len(body)) + body
        if verb == Verb.WATCH_EVENT and not body.startswith(b"@") and data in client.unsent:
            return
        client.unsent.append(data)
        self._flush(client)

    def _release(self, client: _Client) -> None:
        client.held -= 1
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        if client.held:
            return
        data, client.unsent = b"".join(client.unsent), []
        step = self.piece or len(data) or 1
        with contextlib.suppress(OSError):  # it may be gone, and its thread not know it yet
            for start in range(0, len(data), step):
                client.socket.sendall(data[start : start + step])


def _messages(end: socket.socket) -> Iterator[list[tuple[Verb, bytes]]]:
    """Yield the requests that have arrived, those together that came together."""
    buffer = b""
    while data := end.recv(65536):
        buffer += data
        messages = []
        while len(buffer) >= HEADER.size:
            verb, _, _, length = HEADER.unpack_from(buffer)
            if len(buffer) < HEADER.size + length:
                break
            messages.append((Verb(verb), buffer[HEADER.size : HEADER.size + length]))
            buffer = buffer[HEADER.size + length :]
        yield messages
