"""Xen's own file system (hypfs) as a collection of values, for asyncio.

Generated from `pyxen.hypfs` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from pyxen._common.arguments import check_bools
from pyxen.aio._hypfs import HypfsBase
from pyxen.errors import NotFound
from pyxen.records.hypfs import HypfsEntry, HypfsValue

__all__ = ["Hypfs"]


class Hypfs(HypfsBase):
    """The values in Xen's own file system, by path: ``await host.hypfs["/buildinfo/version/major"]``.

    Xen keeps what it knows of its build in ``/buildinfo``, and the parameters of its command line that can be changed
    at run time in ``/params``. Nothing is cached. Each call waits for other calls of libxl in this process.
    """

    def __repr__(self) -> str:
        return f"<Hypfs of {self._backend.uri}>"

    async def __getitem__(self, path: str) -> HypfsValue:
        """Return the value at a path, as ``xenhypfs cat``.

        Args:
            path: The path from the root, e.g. ``/params/loglvl``.

        Raises:
            NotFound: There is nothing at this path.
            InvalidArgument: It is a directory, or not a path.
            UnsupportedFeature: This Xen has no hypfs.
        """
        return await self._calls.finish(lambda: self._backend.hypfs_read(path))

    async def get(self, path: str) -> HypfsValue | None:
        """Return the value at a path; None if there is nothing."""
        try:
            return await self._calls.finish(lambda: self._backend.hypfs_read(path))
        except NotFound:
            return None

    async def list(self, path: str = "/", *, recursive: bool = False) -> tuple[HypfsEntry, ...]:
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
        return await self._calls.finish(lambda: self._backend.hypfs_list(path, recursive=recursive))

    async def write(self, path: str, value: str | int | bool) -> None:
        """Write a value, as ``xenhypfs write``.

        Args:
            path: The path of an entry that is `HypfsEntry.writable`.
            value: The value. Text, for a number or a boolean too, is what Xen's command line takes: ``on``, ``0x20``.

        Raises:
            NotFound: There is nothing at this path.
            InvalidArgument: It cannot be written, or Xen refuses the value.
            UnsupportedFeature: This Xen has no hypfs.
        """
        await self._calls.finish(lambda: self._backend.hypfs_write(path, value))
