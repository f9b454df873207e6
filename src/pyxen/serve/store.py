"""A host's xenstore for a client: transactions by number."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Final

from pyxen.backends.store import Nodes, Store, StoreTransaction
from pyxen.errors import Error, InvalidArgument
from pyxen.records.xenstore import NodePermissions

__all__ = ["ServedStore"]

_MOST: Final = 64
"""The most transactions that a client may have open at once."""


class ServedStore:
    """The verbs of a host's xenstore, see `StoreVerbs`; changes of a watch come otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[int, StoreTransaction] = {}

    def store_read(self, transaction: int | None, path: str) -> bytes:
        return self._nodes(transaction).read(path)

    def store_read_many(self, transaction: int | None, paths: Sequence[str]) -> Sequence[bytes | None]:
        return self._nodes(transaction).read_many(paths)

    def store_children(self, transaction: int | None, path: str) -> Sequence[str]:
        return self._nodes(transaction).children(path)

    def store_write(self, transaction: int | None, path: str, value: bytes) -> None:
        self._nodes(transaction).write(path, value)

    def store_mkdir(self, transaction: int | None, path: str) -> None:
        self._nodes(transaction).mkdir(path)

    def store_remove(self, transaction: int | None, path: str) -> None:
        self._nodes(transaction).remove(path)

    def store_permissions(self, transaction: int | None, path: str) -> NodePermissions:
        return self._nodes(transaction).permissions(path)

    def store_set_permissions(self, transaction: int | None, path: str, permissions: NodePermissions) -> None:
        self._nodes(transaction).set_permissions(path, permissions)

    def store_begin(self, number: int) -> None:
        """Begin a transaction with a number of the caller's."""
        with self._lock:
            if len(self._open) >= _MOST:
                raise InvalidArgument(f"{_MOST} transactions are open: end one first", operation="transaction")
            self._open[number] = self._store.begin()

    def store_commit(self, transaction: int) -> bool:
        return self._taken(transaction).commit()

    def store_abort(self, transaction: int) -> None:
        self._taken(transaction).abort()

    def has(self, number: int) -> bool:
        """Tell whether a transaction with that number is open."""
        return number in self._open

    def shut(self, number: int) -> None:
        """Abort a transaction that its client does not know, if it is open."""
        with contextlib.suppress(Error):  # it has ended meanwhile, or xenstore is gone
            self.store_abort(number)

    def _nodes(self, transaction: int | None) -> Nodes:
        if transaction is None:
            return self._store
        found = self._open.get(transaction)
        if found is None:
            raise _unknown(transaction)
        return found

    def _taken(self, transaction: int) -> StoreTransaction:
        with self._lock:
            found = self._open.pop(transaction, None)
        if found is None:
            raise _unknown(transaction)
        return found


def _unknown(transaction: int) -> InvalidArgument:
    return InvalidArgument(f"there is no transaction {transaction}", operation="transaction")
