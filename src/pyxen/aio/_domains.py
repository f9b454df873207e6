"""The hand-written base of `pyxen.aio.Domains`, with replacements for operators that Python cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen.aio._calls import Calls
from pyxen.aio.domain import Domain
from pyxen.backends.base import Backend
from pyxen.records.info import DomainInfo

__all__ = ["DomainsBase"]


class DomainsBase:
    """Base of the domains of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    async def __aiter__(self) -> AsyncIterator[Domain]:
        for info in await self._calls.ask(self._alive):
            yield self._handle(info)

    # Without these two, Python would fall back on __getitem__ and treat the coroutine as true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: use `await domains.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: use `async for domain in domains`")

    def _alive(self) -> list[DomainInfo]:
        raise NotImplementedError

    def _handle(self, info: DomainInfo) -> Domain:
        raise NotImplementedError
