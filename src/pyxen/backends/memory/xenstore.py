"""The client of a simulated host's xenstore, and the watches of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pyxen.backends.memory.engine import Engine
from pyxen.backends.memory.nodetree import NodeTree, TreeTransaction, absolute
from pyxen.backends.store import Nodes, Store, StoreTransaction
from pyxen.records.xenstore import NodeChange, NodePermissions

__all__ = ["MemoryStore", "NodeWatches", "Watcher"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Watcher:
    """One call of `MemoryStore.watch`."""

    paths: Sequence[str]
    on_change: Callable[[NodeChange], None]
    on_end: Callable[[], None]
    listens: bool = True
    places: list[tuple[str, str]] = field(init=False)
    """Each path as it was given, and as an absolute path."""

    def __post_init__(self) -> None:
        self.places = [(path, absolute(path)) for path in self.paths]

    def hear(self, change: NodeChange) -> None:
        """Deliver a change."""
        if self.listens:
            self.on_change(change)

    def end(self) -> None:
        """Notify the watcher that no more changes will come."""
        if self.listens:
            self.listens = False
            self.on_end()

    def stop(self) -> None:
        """Listen no more."""
        self.listens = False


class NodeWatches:
    """All watches of a host's xenstore. The caller holds the lock of the host."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        """Begin a watch; the first change of each path comes at once."""
        self._watchers = [*(one for one in self._watchers if one.listens), watcher]
        for path in watcher.paths:
            self._engine.say(partial(watcher.hear, NodeChange(path, path)))

    def report(self, path: str, exactly: bool = False) -> None:
        """Tell all who watch this node, or one above it unless `exactly`, that it changed."""
        for watcher in self._watchers:
            for given, place in watcher.places:
                if place == path or (not exactly and path.startswith(f"{place.rstrip('/')}/")):
                    # A relative watch reports relative paths.
                    shown = path if given == place else path.removeprefix(place.removesuffix(given))
                    self._engine.say(partial(watcher.hear, NodeChange(shown, given)))

    def end(self) -> None:
        """End all watches."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            self._engine.say(watcher.end)


class _Locked(Nodes):
    """Calls made under the lock of the host.

    Args:
        engine: The engine, which has the lock.
        nodes: What is called.
        check: Called with the path before each call; raises an exception if the host is closed or lost.
    """

    def __init__(self, engine: Engine, nodes: Nodes, check: Callable[[str], None]) -> None:
        self._engine = engine
        self._nodes = nodes
        self._check = check

    def _do(self, path: str, call: Callable[[], T]) -> T:
        with self._engine.changed:
            self._check(path)
            return call()

    def read(self, path: str) -> bytes:
        return self._do(path, lambda: self._nodes.read(path))

    def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        return self._do(paths[0] if paths else "/", lambda: self._nodes.read_many(paths))

    def children(self, path: str) -> Sequence[str]:
        return self._do(path, lambda: self._nodes.children(path))

    def write(self, path: str, value: bytes) -> None:
        self._do(path, lambda: self._nodes.write(path, value))

    def mkdir(self, path: str) -> None:
        self._do(path, lambda: self._nodes.mkdir(path))

    def remove(self, path: str) -> None:
        self._do(path, lambda: self._nodes.remove(path))

    def permissions(self, path: str) -> NodePermissions:
        return self._do(path, lambda: self._nodes.permissions(path))

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        self._do(path, lambda: self._nodes.set_permissions(path, permissions))


class _Transaction(_Locked, StoreTransaction):
    """A transaction of a connection."""

    def __init__(self, engine: Engine, transaction: TreeTransaction, check: Callable[[str], None]) -> None:
        super().__init__(engine, transaction, check)
        self._transaction = transaction

    def commit(self) -> bool:
        return self._do("/", self._transaction.commit)

    def abort(self) -> None:
        pass  # nothing was changed


class MemoryStore(_Locked, Store):
    """The client of one connection; see `_Locked`."""

    def __init__(self, engine: Engine, tree: NodeTree, watches: NodeWatches, check: Callable[[str], None]) -> None:
        super().__init__(engine, tree, check)
        self._tree = tree
        self._watches = watches
        self._own: list[Watcher] = []

    def begin(self) -> StoreTransaction:
        """Begin a transaction."""
        return self._do("/", lambda: _Transaction(self._engine, self._tree.begin(), self._check))

    def watch(
        self, paths: Sequence[str], on_change: Callable[[NodeChange], None], on_end: Callable[[], None]
    ) -> Callable[[], None]:
        """Begin a watch; see `Store.watch`."""
        watcher = Watcher(paths, on_change, on_end)

        def begin() -> None:
            self._own = [*(one for one in self._own if one.listens), watcher]
            self._watches.add(watcher)

        self._do(paths[0], begin)
        return watcher.stop

    def close(self) -> None:
        """End the watches of this connection."""
        with self._engine.changed:
            watchers, self._own = self._own, []
            for watcher in watchers:
                self._engine.say(watcher.end)
