"""The hand-written base of `pyxen.aio.Cpupools`, with replacements for operators that Python cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen.aio._calls import Calls
from pyxen.aio.cpupool import Cpupool
from pyxen.backends.base import Backend
from pyxen.records.scheduling import CpupoolInfo

__all__ = ["CpupoolsBase"]


class CpupoolsBase:
    """Base of the CPU pools of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    async def __aiter__(self) -> AsyncIterator[Cpupool]:
        for info in await self._calls.ask(self._backend.cpupools):
            yield self._handle(info)

    # Without these two, Python would fall back on __getitem__ and treat the coroutine as true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: use `await cpupools.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: use `async for pool in cpupools`")

    def _handle(self, info: CpupoolInfo) -> Cpupool:
        raise NotImplementedError
