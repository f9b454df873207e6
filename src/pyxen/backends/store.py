"""The interface of a backend to xenstore: paths are valid, and values are bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pyxen.records.xenstore import NodeChange, NodePermissions

__all__ = ["Nodes", "Store", "StoreTransaction"]


class Nodes(Protocol):
    """What can be done with nodes, in a transaction and outside. A missing node raises `NodeNotFound`."""

    def read(self, path: str) -> bytes:
        """Return the value of a node."""

    def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of some nodes; None for a node that does not exist."""

    def children(self, path: str) -> Sequence[str]:
        """Return the names of a node's children, in xenstore's order."""

    def write(self, path: str, value: bytes) -> None:
        """Write a node, and create it and the nodes above it if they do not exist."""

    def mkdir(self, path: str) -> None:
        """Create a node, and the nodes above it; if it exists, do nothing."""

    def remove(self, path: str) -> None:
        """Remove a node and the nodes below it; if it does not exist, do nothing."""

    def permissions(self, path: str) -> NodePermissions:
        """Return the permissions of a node."""

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        """Replace the permissions of a node. The owner must exist."""


class StoreTransaction(Nodes, Protocol):
    """A transaction, from its begin to its end."""

    def commit(self) -> bool:
        """End it and make its changes, all at once; False if others changed its nodes, and nothing was changed."""

    def abort(self) -> None:
        """End it and change nothing."""


class Store(Nodes, Protocol):
    """A client of the host's xenstore. All methods are thread-safe."""

    def begin(self) -> StoreTransaction:
        """Begin a transaction."""

    def watch(
        self, paths: Sequence[str], on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Call a function with each change of some nodes and those below them, and another one when the host is closed.

        The first change of each path comes at once. Both functions are called on a thread of the backend, and must not
        block. Returns a function that ends the watch; any thread may call it, and it does not wait.
        """
