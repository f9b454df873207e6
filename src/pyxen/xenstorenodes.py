"""Nodes of xenstore, as a transaction sees them: the calls, with checks of their arguments."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from pyxen._common.xenstore import check_path, check_permissions, check_tries, encoded
from pyxen._functions import check_answer, check_function
from pyxen.backends.store import Nodes, Store
from pyxen.errors import InvalidArgument, InvalidState, NodeNotFound, XenstoreConflict
from pyxen.records.xenstore import NodePermissions

__all__ = ["XenstoreNodes", "XenstoreTransaction", "transact"]

T = TypeVar("T")

_TRANSACTION: Final = "xenstore.transaction"
_FIRST_PAUSE: Final = 0.001  # seconds after a conflict, doubled each time
_LONGEST_PAUSE: Final = 0.1  # seconds


class XenstoreNodes:
    """The nodes of xenstore, read and written at once. Its methods are those of `pyxen.Xenstore`."""

    __slots__ = ("_nodes",)

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def _use(self) -> Nodes:
        return self._nodes

    def read(self, path: str) -> str:
        """Return the value of a node as text; see `Xenstore.read`."""
        return _text(self._use().read(check_path(path, "read")))

    def read_bytes(self, path: str) -> bytes:
        """Return the value of a node as it is; see `Xenstore.read_bytes`."""
        return self._use().read(check_path(path, "read"))

    def read_many(self, paths: Iterable[str]) -> dict[str, str | None]:
        """Return the values of some nodes; see `Xenstore.read_many`."""
        wanted = [check_path(path, "read_many") for path in _several(paths)]
        values = self._use().read_many(wanted)
        return {path: None if value is None else _text(value) for path, value in zip(wanted, values, strict=True)}

    def exists(self, path: str) -> bool:
        """Tell whether there is a node; see `Xenstore.exists`."""
        try:
            self._use().read(check_path(path, "exists"))
        except NodeNotFound:
            return False
        return True

    def write(self, path: str, value: str | bytes) -> None:
        """Write a node; see `Xenstore.write`."""
        self._use().write(check_path(path, "write"), encoded(path, value))

    def mkdir(self, path: str) -> None:
        """Create a node; see `Xenstore.mkdir`."""
        self._use().mkdir(check_path(path, "mkdir"))

    def remove(self, path: str) -> None:
        """Remove a node and all nodes below it; see `Xenstore.remove`."""
        if path == "/":
            raise InvalidArgument("/: the root of xenstore cannot be removed", operation="xenstore.remove")
        self._use().remove(check_path(path, "remove"))

    def permissions(self, path: str) -> NodePermissions:
        """Return the permissions of a node; see `Xenstore.permissions`."""
        return self._use().permissions(check_path(path, "permissions"))

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        """Replace the permissions of a node; see `Xenstore.set_permissions`."""
        checked = check_permissions(check_path(path, "set_permissions"), permissions)
        self._use().set_permissions(path, checked)

    def list(self, path: str) -> list[str]:
        """Return the names of a node's children; see `Xenstore.list`."""
        return [*self._use().children(check_path(path, "list"))]


class XenstoreTransaction(XenstoreNodes):
    """A transaction, as the function that `Xenstore.transaction` calls gets it. It ends with the function.

    All that is written takes effect at once, when the function has returned. Until then only the transaction sees it.
    """

    __slots__ = ("_open",)

    def __init__(self, nodes: Nodes) -> None:
        super().__init__(nodes)
        self._open = True

    def _use(self) -> Nodes:
        if not self._open:
            message = "the transaction has ended: use it only inside the function that gets it"
            raise InvalidState(message, operation=_TRANSACTION)
        return self._nodes

    def end(self) -> None:
        """Refuse further calls; for the code that runs transactions."""
        self._open = False


def transact(
    store: Store,
    function: Callable[[XenstoreTransaction], T],
    tries: int,
    go_on: Callable[[bool], None] = lambda _: None,
) -> T:
    """Call a function in a transaction, until it can be committed; see `Xenstore.transaction`.

    Args:
        store: The store.
        function: The function.
        tries: How often to call it.
        go_on: Called before each call with False, and before the commit with True. What it raises ends the transaction:
            nothing is changed.
    """
    check_tries(tries)
    check_function(function, "the function of a transaction", _TRANSACTION)
    pause = _FIRST_PAUSE
    for attempt in range(tries):
        if attempt:
            time.sleep(pause * random.random())  # noqa: S311 (so that two programs do not meet again)
            pause = min(2 * pause, _LONGEST_PAUSE)
        go_on(False)
        begun = store.begin()
        transaction = XenstoreTransaction(begun)
        try:
            result = function(transaction)
            check_answer(result, "the function of a transaction", _TRANSACTION)
            go_on(True)
        except BaseException:
            begun.abort()
            raise
        finally:
            transaction.end()
        if begun.commit():
            return result
    message = f"others changed the nodes of the transaction during each of {tries} attempts: nothing was changed"
    raise XenstoreConflict(message, operation=_TRANSACTION)


def _several(paths: Any) -> Iterable[str]:
    if isinstance(paths, str | bytes) or not isinstance(paths, Iterable):
        message = f"takes a list of paths, not {type(paths).__name__}: write [path]"
        raise InvalidArgument(message, operation="xenstore.read_many")
    return paths


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
