"""The xenstore of a remote host."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyxen.backends.remote.client import Client
from pyxen.backends.remote.lost import nodes_lost
from pyxen.backends.store import Nodes, Store, StoreTransaction
from pyxen.records.xenstore import NodeChange, NodePermissions

__all__ = ["RemoteStore"]


class _RemoteNodes(Nodes):
    """Nodes, in a transaction or outside.

    Args:
        client: The way there.
        transaction: Its number; None is outside.
    """

    def __init__(self, client: Client, transaction: int | None = None) -> None:
        self._client = client
        self._transaction = transaction

    def read(self, path: str) -> bytes:
        answer: bytes = self._client.ask("store_read", transaction=self._transaction, path=path)
        return answer

    def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        answer: Sequence[bytes | None] = self._client.ask("store_read_many", transaction=self._transaction, paths=paths)
        return answer

    def children(self, path: str) -> Sequence[str]:
        answer: Sequence[str] = self._client.ask("store_children", transaction=self._transaction, path=path)
        return answer

    def write(self, path: str, value: bytes) -> None:
        self._client.ask("store_write", transaction=self._transaction, path=path, value=value)

    def mkdir(self, path: str) -> None:
        self._client.ask("store_mkdir", transaction=self._transaction, path=path)

    def remove(self, path: str) -> None:
        self._client.ask("store_remove", transaction=self._transaction, path=path)

    def permissions(self, path: str) -> NodePermissions:
        answer: NodePermissions = self._client.ask("store_permissions", transaction=self._transaction, path=path)
        return answer

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        self._client.ask("store_set_permissions", transaction=self._transaction, path=path, permissions=permissions)


class _RemoteTransaction(_RemoteNodes, StoreTransaction):
    """A transaction there."""

    def commit(self) -> bool:
        answer: bool = self._client.ask("store_commit", transaction=self._transaction)
        return answer

    def abort(self) -> None:
        self._client.ask("store_abort", transaction=self._transaction)


class RemoteStore(_RemoteNodes, Store):
    """A client of the host's xenstore, at the other end."""

    def begin(self) -> StoreTransaction:
        return _RemoteTransaction(self._client, self._client.ask("store_begin"))

    def watch(
        self, paths: Sequence[str], on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        return self._client.subscribe(
            "store_watch",
            NodeChange,
            on_change,
            lambda _: on_end(),
            lambda _: nodes_lost(paths),
            paths=paths,
        )
