"""Xen's own file system (hypfs) as a collection of values."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator

from pyxen._common.arguments import check_bools
from pyxen.backends.base import Backend
from pyxen.errors import NotFound
from pyxen.operation import Calls
from pyxen.records.hypfs import HypfsEntry, HypfsType, HypfsValue

__all__ = ["Hypfs"]


class Hypfs(Collection[str]):
    """The values in Xen's own file system, by path: ``host.hypfs["/buildinfo/version/major"]``.

    Xen keeps what it knows of its build in ``/buildinfo``, and the parameters of its command line that can be changed
    at run time in ``/params``. Nothing is cached. Each call waits for other calls of libxl in this process.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Hypfs of {self._backend.uri}>"

    def __getitem__(self, path: str) -> HypfsValue:
        """Return the value at a path, as ``xenhypfs cat``.

        Args:
            path: The path from the root, e.g. ``/params/loglvl``.

        Raises:
            NotFound: There is nothing at this path.
            InvalidArgument: It is a directory, or not a path.
            UnsupportedFeature: This Xen has no hypfs.
        """
        return self._calls.finish(lambda: self._backend.hypfs_read(path))

    def get(self, path: str) -> HypfsValue | None:
        """Return the value at a path; None if there is nothing."""
        try:
            return self._calls.finish(lambda: self._backend.hypfs_read(path))
        except NotFound:
            return None

    def list(self, path: str = "/", *, recursive: bool = False) -> tuple[HypfsEntry, ...]:
        """Return the entries of a directory, ordered by path, as ``xenhypfs ls``.

        Args:
            path: The directory.
            recursive: Return what is in its directories, too, as ``xenhypfs tree``.

        Raises:
            NotFound: There is nothing at this path.
            InvalidArgument: It is not a directory, or not a path.
            UnsupportedFeature: This Xen has no hypfs.
        """
        check_bools("hypfs", recursive=recursive)
        return self._calls.finish(lambda: self._backend.hypfs_list(path, recursive=recursive))

    def write(self, path: str, value: str | int | bool) -> None:
        """Write a value, as ``xenhypfs write``.

        Args:
            path: The path of an entry that is `HypfsEntry.writable`.
            value: The value. Text, for a number or a boolean too, is what Xen's command line takes: ``on``, ``0x20``.

        Raises:
            NotFound: There is nothing at this path.
            InvalidArgument: It cannot be written, or Xen refuses the value.
            UnsupportedFeature: This Xen has no hypfs.
        """
        self._calls.finish(lambda: self._backend.hypfs_write(path, value))

    def __setitem__(self, path: str, value: str | int | bool) -> None:
        self.write(path, value)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.get(path) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths())

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> builtins.list[str]:
        return [entry.path for entry in self.list(recursive=True) if entry.type is not HypfsType.DIR]
