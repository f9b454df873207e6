"""A xenstore in this process: nodes with permissions, and transactions that conflict as xenstored's do.

It answers as xenstored answers dom0. The caller holds the lock of the host.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pyxen._common.xenstore import refused
from pyxen.backends.store import Nodes
from pyxen.errors import DomainNotFound
from pyxen.records.xenstore import NodePermissions

__all__ = ["NodeTree", "TreeTransaction", "absolute"]

_HOME: Final = "/local/domain/0"

Report = Callable[[str, bool], None]
"""Called with a path that changed. If the second argument is true, only watches of exactly that path are told."""


@dataclass(slots=True)
class _Node:
    """A node. `generation` changes with each change of its value, its permissions or its list of children."""

    permissions: NodePermissions
    value: bytes = b""
    children: dict[str, None] = field(default_factory=dict)
    generation: int = 0

    def copy(self) -> _Node:
        return replace(self, children=dict(self.children))


def absolute(path: str) -> str:
    """Return a path from the root: a relative one starts in dom0's folder."""
    return path if path.startswith(("/", "@")) else f"{_HOME}/{path}"


class _View(Nodes):
    """The calls, whether or not they are part of a transaction."""

    domains: Callable[[], set[int]]

    def _get(self, path: str) -> _Node | None:
        """Return the node at an absolute path."""
        raise NotImplementedError

    def _put(self, path: str, node: _Node | None) -> None:
        """Replace the node at an absolute path; None removes it."""
        raise NotImplementedError

    def _report(self, path: str, *, exactly: bool = False) -> None:
        """Tell, now or when the transaction is committed, that a node changed."""
        raise NotImplementedError

    def _there(self, verb: str, path: str) -> _Node:
        node = self._get(absolute(path))
        if node is None:
            raise refused(errno.ENOENT, verb, path)
        return node

    def read(self, path: str) -> bytes:
        return self._there("read", path).value

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        nodes = [self._get(absolute(path)) for path in paths]
        return [None if node is None else node.value for node in nodes]

    def children(self, path: str) -> list[str]:
        return [*self._there("list", path).children]

    def permissions(self, path: str) -> NodePermissions:
        return self._there("permissions", path).permissions

    def write(self, path: str, value: bytes) -> None:
        where = absolute(path)
        node = self._get(where) or self._made(where)
        node.value = value
        self._put(where, node)
        self._report(where)

    def mkdir(self, path: str) -> None:
        where = absolute(path)
        if self._get(where) is None:
            self._put(where, self._made(where))
            self._report(where)

    def remove(self, path: str) -> None:
        where = absolute(path)
        node = self._get(where)
        if node is None:
            return
        parent, _, name = where.rpartition("/")
        above = self._get(parent or "/")
        if above is not None:
            del above.children[name]
            self._put(parent or "/", above)
        for below in [*self._below(where, node)]:
            self._put(below, None)
            self._report(below, exactly=below != where)

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        node = self._there("set_permissions", path)
        if permissions.owner not in self.domains():
            message = f"{path}: the owner, domain {permissions.owner}, does not exist"
            raise DomainNotFound(message, operation="xenstore.set_permissions", domain=permissions.owner)
        node.permissions = permissions
        self._put(absolute(path), node)
        self._report(absolute(path))

    def _made(self, path: str) -> _Node:
        """Return a new node, after those above it were created. It has the permissions of the one above."""
        parent, _, name = path.rpartition("/")
        above = self._get(parent or "/") or self._made(parent)
        above.children[name] = None
        self._put(parent or "/", above)
        return _Node(above.permissions)

    def _below(self, path: str, node: _Node) -> Iterator[str]:
        """Yield a node and all those below it, the lowest first."""
        for name in node.children:
            child = self._get(f"{path}/{name}")
            if child is not None:
                yield from self._below(f"{path}/{name}", child)
        yield path


class NodeTree(_View):
    """All nodes.

    Args:
        domains: Returns the domids of the domains that exist.
        report: Called with each change.
    """

    def __init__(self, domains: Callable[[], set[int]], report: Report) -> None:
        self.domains = domains
        self.report = report
        self._generation = 0
        self._nodes: dict[str, _Node] = {"/": _Node(NodePermissions(0))}

    def _get(self, path: str) -> _Node | None:
        return self._nodes.get(path)

    def _put(self, path: str, node: _Node | None) -> None:
        self._generation += 1
        if node is None:
            del self._nodes[path]
        else:
            node.generation = self._generation
            self._nodes[path] = node

    def _report(self, path: str, *, exactly: bool = False) -> None:
        self.report(path, exactly)

    def place(self, path: str, value: bytes, permissions: NodePermissions) -> None:
        """Write a node with its permissions, if it does not have that value."""
        node = self._nodes.get(path)
        if node is None or node.value != value:
            node = node or self._made(path)
            node.value, node.permissions = value, permissions
            self._put(path, node)
            self.report(path, False)

    def generation(self, path: str) -> int | None:
        """Return a number that differs after each change of a node; None if there is no such node."""
        node = self._nodes.get(path)
        return None if node is None else node.generation

    def peek(self, path: str) -> _Node | None:
        """Return a copy of a node; None if there is no such node."""
        node = self._nodes.get(path)
        return None if node is None else node.copy()

    def begin(self) -> TreeTransaction:
        """Begin a transaction."""
        return TreeTransaction(self)

    def take_over(self, changes: dict[str, _Node | None], reports: Sequence[tuple[str, bool]]) -> None:
        """Make the changes of a transaction."""
        for path, node in changes.items():
            if node is not None or path in self._nodes:
                self._put(path, node)
        for path, exactly in reports:
            self.report(path, exactly)


class TreeTransaction(_View):
    """A transaction: it copies each node when it first uses it, and conflicts if that node was changed by then."""

    def __init__(self, tree: NodeTree) -> None:
        self.domains = tree.domains
        self._tree = tree
        self._seen: dict[str, int | None] = {}
        self._nodes: dict[str, _Node | None] = {}
        self._changed: dict[str, None] = {}
        self._reports: dict[tuple[str, bool], None] = {}

    def _get(self, path: str) -> _Node | None:
        if path not in self._seen:
            self._seen[path] = self._tree.generation(path)
            self._nodes[path] = self._tree.peek(path)
        return self._nodes[path]

    def _put(self, path: str, node: _Node | None) -> None:
        self._nodes[path] = node
        self._changed[path] = None

    def _report(self, path: str, *, exactly: bool = False) -> None:
        self._reports.pop((path, exactly), None)
        self._reports[path, exactly] = None

    def commit(self) -> bool:
        """Make the changes; False if others changed the same nodes."""
        if any(self._tree.generation(path) != generation for path, generation in self._seen.items()):
            return False
        come_and_gone = {path for path in self._changed if self._nodes[path] is None and self._seen[path] is None}
        reports = [report for report in self._reports if report[0] not in come_and_gone]
        self._tree.take_over({path: self._nodes[path] for path in self._changed}, reports)
        return True
