"""The xenstore of a host: a small database that the host and its domains share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pyxen.backends.base import Backend
from pyxen.operation import Calls
from pyxen.readers.xenstore import XenstoreWatch
from pyxen.records.xenstore import NodePermissions
from pyxen.xenstorenodes import XenstoreNodes, XenstoreTransaction, transact

__all__ = ["Xenstore"]

T = TypeVar("T")


class Xenstore:
    """The xenstore of a host, as ``host.xenstore``: what ``xenstore-read``, ``xenstore-write`` and so on do.

    ::

        xen.xenstore.write(f"{web.xenstore_path}/data/color", "blue")
        xen.xenstore.read(f"{web.xenstore_path}/data/color")

    A path has letters, digits, ``-``, ``/``, ``_`` and ``@``, and up to 3072 of them (2048 with Xen 4.17, not counting
    ``/local/domain/DOMID/``). One that does not start with ``/`` is relative to the domain that this runs in, usually
    ``/local/domain/0``. A path and its value have 4095 bytes at most.

    It uses connections of its own, and never waits for libxl. If xenstored was restarted, a call connects again; if it
    does not answer for five seconds, the call fails.

    Raises:
        UnsupportedFeature: By every method, if this backend has no access to xenstore: libvirt has none.
        InvalidArgument: By every method, if an argument is not valid.
        NodeNotFound: By every method that reads, if there is no such node.
        XenstoreDenied: By every method, in a domain other than dom0.
        ConnectFailed: By every method, if xenstored does not answer.
        XenstoreError: By every method, if xenstored refuses for another reason.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Xenstore of {self._backend.uri}>"

    def _nodes(self) -> XenstoreNodes:
        return XenstoreNodes(self._backend.xenstore())

    def read(self, path: str) -> str:
        """Return the value of a node as text, as ``xenstore-read``.

        A guest can write any bytes. Those that are not UTF-8 are kept as surrogates, as in Python's file names, so that
        writing the text again writes the same bytes.

        Raises:
            NodeNotFound: There is no such node.
        """
        return self._calls.ask(lambda: self._nodes().read(path))

    def read_bytes(self, path: str) -> bytes:
        """Return the value of a node as it is.

        Raises:
            NodeNotFound: There is no such node.
        """
        return self._calls.ask(lambda: self._nodes().read_bytes(path))

    def read_many(self, paths: Iterable[str]) -> dict[str, str | None]:
        """Return the values of some nodes by path, as text; None for a node that does not exist.

        The requests are sent together, so this is many times as fast as one call after the other. It is not a
        transaction: nodes may change in between.
        """
        return self._calls.ask(lambda: self._nodes().read_many(paths))

    def exists(self, path: str) -> bool:
        """Tell whether there is a node, as ``xenstore-exists``."""
        return self._calls.ask(lambda: self._nodes().exists(path))

    def write(self, path: str, value: str | bytes) -> None:
        """Write a node, as ``xenstore-write``. The node and the nodes above it are created if they do not exist.

        Args:
            path: The node. A new node has the permissions of the node above it.
            value: Text, which is written as UTF-8, or bytes.

        Raises:
            XenstoreQuota: A quota of xenstore is used up.
        """
        self._calls.change(lambda: self._nodes().write(path, value))

    def mkdir(self, path: str) -> None:
        """Create a node without a value, and the nodes above it. If it exists, this does nothing.

        Raises:
            XenstoreQuota: A quota of xenstore is used up.
        """
        self._calls.change(lambda: self._nodes().mkdir(path))

    def remove(self, path: str) -> None:
        """Remove a node and all nodes below it, as ``xenstore-rm``. If it does not exist, this does nothing."""
        self._calls.change(lambda: self._nodes().remove(path))

    def permissions(self, path: str) -> NodePermissions:
        """Return who may do what with a node, as ``xenstore-ls -p``.

        Raises:
            NodeNotFound: There is no such node.
        """
        return self._calls.ask(lambda: self._nodes().permissions(path))

    def set_permissions(self, path: str, permissions: NodePermissions) -> None:
        """Set who may do what with a node, as ``xenstore-chmod``: this replaces all of its permissions.

        Args:
            path: The node. Nodes below it keep theirs.
            permissions: The permissions: ``NodePermissions(0, "none", {5: "read"})`` is ``n0 r5``.

        Raises:
            NodeNotFound: There is no such node.
            DomainNotFound: The owner does not exist.
        """
        self._calls.change(lambda: self._nodes().set_permissions(path, permissions))

    def transaction(self, function: Callable[[XenstoreTransaction], T], *, tries: int = 20) -> T:
        """Call a function in a transaction, and return its result: all that it writes takes effect, or nothing.

        ::

            def add(transaction):
                count = int(transaction.read("/tool/count"))
                transaction.write("/tool/count", str(count + 1))

            xen.xenstore.transaction(add)

        If others changed a node that the function has read or written, the function is called again, so it should do
        nothing else. If it raises, nothing is changed, and the exception is raised here.

        Args:
            function: A plain function, also for asyncio, where it is called on a thread. It gets the transaction, which
                has the methods of this class except `transaction` and `watch`, none of them awaited. A task that is
                cancelled does not wait for it: it may go on for a while, and nothing is changed.
            tries: How often to call it, 1 to 1000.

        Raises:
            XenstoreConflict: Others changed its nodes each time. Nothing was changed.
            ConnectFailed: The connection broke. Unless that was during the commit, nothing was changed.
        """
        return self._calls.attempt(lambda go_on: transact(self._backend.xenstore(), function, tries, go_on))

    def watch(self, *paths: str, timeout: float | None = None, maxlen: int = 10_000) -> XenstoreWatch:
        """Watch nodes and all that is below them from now on, as ``xenstore-watch``.

        ::

            with xen.xenstore.watch(f"{web.xenstore_path}/data/ready", timeout=60) as changes:
                for change in changes:
                    if xen.xenstore.exists(change.path):
                        break

        As in xenstore, one change of each path comes at once, whether it has changed or not. So look when a change
        comes, and not before, and nothing is missed. If changes may be missing, the next one says so:
        `NodeChange.lost`. A watch outlives a restart of xenstored.

        Args:
            paths: The nodes. They need not exist. ``@introduceDomain`` and ``@releaseDomain`` report that a domain was
                created, or has shut down or ended.
            timeout: Seconds from now on after which a loop over the changes ends with `OperationTimeout`. What has come
                by then is still given: with 0, what is there. None waits forever.
            maxlen: How many changes may wait to be read. When there are more, they are dropped, and counted as lost.

        Raises:
            XenstoreQuota: xenstore allows no more watches.
        """
        return XenstoreWatch(self._backend, self._calls, paths, timeout, maxlen)

    def list(self, path: str) -> list[str]:
        """Return the names of a node's children, as ``xenstore-list``, in xenstore's order.

        Raises:
            NodeNotFound: There is no such node.
        """
        return self._calls.ask(lambda: self._nodes().list(path))
