"""The hand-written base of `pyxen.aio.Hypfs`, with replacements for operators that Python cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen.aio._calls import Calls
from pyxen.backends.base import Backend
from pyxen.records.hypfs import HypfsType

__all__ = ["HypfsBase"]


class HypfsBase:
    """Base of the hypfs of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    async def __aiter__(self) -> AsyncIterator[str]:
        for entry in await self._calls.finish(lambda: self._backend.hypfs_list("/", recursive=True)):
            if entry.type is not HypfsType.DIR:
                yield entry.path

    # Without these two, Python would fall back on __getitem__ and treat the coroutine as true.

    def __contains__(self, path: object) -> NoReturn:
        raise TypeError("'in' cannot await: use `await hypfs.get(path) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: use `async for path in hypfs`")
