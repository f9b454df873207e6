"""The client of xenstore for users: over connections of its own, so that it and pyxen cannot disturb each other.

A signal handler that interrupts a request of its own thread has a connection for itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from pyxen._common.xenstore import refused, shown_permissions, stored_permissions
from pyxen.backends.store import Nodes, Store, StoreTransaction
from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb
from pyxen.backends.xenlight.xenstore.turns import Turns
from pyxen.backends.xenlight.xenstore.watches import Watches
from pyxen.errors import ConnectFailed, DomainNotFound, HostClosed
from pyxen.records.xenstore import NodeChange, NodePermissions

__all__ = ["StoreClient"]

_CLOSED: Final = "xenstore: the host is closed, or was opened before a fork: open it again"


class _Nodes(Nodes):
    """Requests about nodes, as a transaction and a client have them in common."""

    _transaction = 0

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Reserve the connection for this thread."""
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        return self._ask("read", path, (Verb.READ, _node(path)))

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        requests: list[Request] = [(Verb.READ, _node(path)) for path in paths]
        with self._connected() as connection:
            answers = connection.batch(requests, self._transaction)
        values: list[bytes | None] = []
        for path, answer in zip(paths, answers, strict=True):
            if isinstance(answer, OSError) and answer.errno != errno.ENOENT:
                raise refused(answer.errno or 0, "read_many", path)
            values.append(None if isinstance(answer, OSError) else answer)
        return values

    def children(self, path: str) -> list[str]:
        with self._connected() as connection:
            try:
                return connection.children(path, self._transaction)
            except ConnectFailed:
                raise
            except OSError as error:
                raise refused(error.errno or 0, "list", path) from None

    def write(self, path: str, value: bytes) -> None:
        self._ask("write", path, (Verb.WRITE, _node(path) + value))

    def mkdir(self, path: str) -> None:
        self._ask("mkdir", path, (Verb.MKDIR, _node(path)))

    def remove(self, path: str) -> None:
        # xenstored itself ignores a node that does not exist, but only if the node above it does.
        self._ask("remove", path, (Verb.RM, _node(path)), ignored=errno.ENOENT)

    def permissions(self, path: str) -> NodePermissions:
        answer = self._ask("permissions", path, (Verb.GET_PERMS, _node(path)))
        return shown_permissions(_texts(answer))

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        entries = "".join(f"{entry}\0" for entry in stored_permissions(permissions))
        exists: Request = (Verb.READ, _node(path))
        with self._connected() as connection:
            there, answer = connection.batch(
                [exists, (Verb.SET_PERMS, _node(path) + entries.encode())], self._transaction
            )
        if isinstance(answer, OSError):
            if answer.errno == errno.ENOENT and not isinstance(there, OSError):
                message = f"{path}: the owner, domain {permissions.owner}, does not exist"
                raise DomainNotFound(message, operation="xenstore.set_permissions", domain=permissions.owner)
            raise refused(answer.errno or 0, "set_permissions", path)

    def _ask(self, verb: str, path: str, request: Request, *, ignored: int | None = None) -> bytes:
        with self._connected() as connection:
            [answer] = connection.batch([request], self._transaction)
        if isinstance(answer, OSError):
            if answer.errno == ignored:
                return b""
            raise refused(answer.errno or 0, verb, path)
        return answer


class StoreClient(_Nodes, Store):
    """A client that connects when it is first used. Thread-safe.

    Args:
        connect: Opens a connection; see `Connection`.
        releasing: Entered while a thread waits for xenstored.
    """

    def __init__(
        self,
        connect: Callable[..., Connection] = Connection,
        releasing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connect = connect
        self._releasing = releasing
        self._turns = Turns()
        self._pid = os.getpid()
        self._connection: Connection | None = None
        self._closed = False
        self._watches = Watches(connect)

    def begin(self) -> StoreTransaction:
        """Begin a transaction."""
        with self._connected() as connection:
            if connection is self._connection:
                return _Transaction(self._connected, connection)
        other = StoreClient(self._connect, self._releasing)
        try:
            with other._connected() as connection:
                return _Transaction(other._connected, connection, other.close)
        except BaseException:
            other.close()
            raise

    def watch(
        self, paths: Sequence[str], on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Begin a watch; see `Store.watch`."""
        return self._watches.watch(paths, on_change, on_end)

    def close(self) -> None:
        """Close the connections and end all watches. Calling it again does nothing."""
        if self._pid != os.getpid():
            return  # the connections belong to the parent
        self._watches.close()
        self._closed = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        """Close the connection, unless a signal handler interrupted a request: that closes it at its end."""
        with self._turns.tried() as has_turn:
            if has_turn and self._connection is not None:
                self._connection.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        self._check_open()  # check first: after a fork, a thread that was not copied may hold the lock
        try:
            with self._releasing(), self._turns.taken() as has_turn:
                self._check_open()
                if not has_turn:
                    with contextlib.closing(self._connect(repeats=True)) as other:
                        yield other
                    return
                if self._connection is None:
                    # All that is asked outside of transactions can be asked twice.
                    self._connection = self._connect(repeats=True)
                yield self._connection
        finally:
            if self._closed:
                self._close_if_unused()

    def _check_open(self) -> None:
        if self._closed or self._pid != os.getpid():
            raise HostClosed(_CLOSED)


class _Transaction(_Nodes, StoreTransaction):
    """A transaction, which is lost with the connection that it was begun on.

    Args:
        connected: Reserves the connection.
        connection: The connection, which is reserved now.
        at_end: Called when the transaction has ended.
    """

    def __init__(
        self,
        connected: Callable[[], AbstractContextManager[Connection]],
        connection: Connection,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        [answer] = connection.batch([(Verb.TRANSACTION_START, b"\0")])
        if isinstance(answer, OSError):
            raise refused(answer.errno or 0, "transaction", "/")
        self._reserve = connected
        self._connection = connection
        self._generation = connection.generation
        self._transaction = int(answer.rstrip(b"\0"))
        self._at_end = at_end

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._reserve() as connection:
            if connection is not self._connection:
                raise ConnectFailed("xenstore: a request of the transaction was interrupted by a signal handler")
            connection.ensure_open()
            if connection.generation != self._generation:
                # Its number means nothing on the new connection, or another transaction.
                raise ConnectFailed("xenstore: the connection broke during the transaction: nothing was changed")
            yield connection

    def commit(self) -> bool:
        try:
            with self._connected() as connection:
                [answer] = connection.batch([(Verb.TRANSACTION_END, b"T\0")], self._transaction)
        finally:
            self._at_end()
        if isinstance(answer, OSError):
            if answer.errno == errno.EAGAIN:
                return False
            raise refused(answer.errno or 0, "transaction", "/")
        return True

    def abort(self) -> None:
        try:
            with contextlib.suppress(ConnectFailed, HostClosed), self._connected() as connection:  # or it has ended
                connection.batch([(Verb.TRANSACTION_END, b"F\0")], self._transaction)
        finally:
            self._at_end()


def _node(path: str) -> bytes:
    return path.encode() + b"\0"


def _texts(answer: bytes) -> list[str]:
    return [text.decode() for text in answer.split(b"\0") if text]
