"""The part of `pyxen.aio.Domains` that is written by hand: what Python itself cannot await has another form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen.aio._calls import Calls
from pyxen.aio.domain import Domain
from pyxen.backends.base import Backend
from pyxen.info import DomainInfo

__all__ = ["DomainsBase"]


class DomainsBase:
    """What the domains of a host for asyncio are made of."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    async def __aiter__(self) -> AsyncIterator[Domain]:
        for info in await self._calls.ask(self._alive):
            yield self._handle(info)

    # Python would fall back on __getitem__ for these two, and find that a coroutine is true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: say `await domains.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: say `async for domain in domains`")

    def _alive(self) -> list[DomainInfo]:
        raise NotImplementedError

    def _handle(self, info: DomainInfo) -> Domain:
        raise NotImplementedError
