"""The domains of a host as a collection, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen import domain as blocking_domain
from pyxen import domains as blocking
from pyxen.aio._calls import Calls
from pyxen.aio.docstrings import documented_as
from pyxen.aio.domain import Domain
from pyxen.backends.base import Backend, DomainRef
from pyxen.domains import DomainKey

__all__ = ["Domains"]


@documented_as(blocking.Domains)
class Domains:
    """The domains that a host has now, without those that are dying. Each lookup asks the host; nothing is kept.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    =========================  ==========================================
    ``host.domains["web1"]``   ``await host.domains["web1"]``
    ``"web1" in domains``      ``await domains.get("web1") is not None``
    ``for domain in domains``  ``async for domain in domains``
    ``len(domains)``           ``len([domain async for domain in domains])``
    =========================  ==========================================
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls
        self._blocking = blocking.Domains(backend)

    async def __getitem__(self, key: DomainKey) -> Domain:
        return self._awaited(await self._calls.ask(lambda: self._blocking[key]))

    async def get(self, key: DomainKey) -> Domain | None:
        found = await self._calls.ask(lambda: self._blocking.get(key))
        return None if found is None else self._awaited(found)

    async def __aiter__(self) -> AsyncIterator[Domain]:
        for domain in await self._calls.ask(lambda: list(self._blocking)):
            yield self._awaited(domain)

    # Python would fall back on __getitem__ for these two, and find that a coroutine is true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: say `await domains.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: say `async for domain in domains`")

    def _awaited(self, domain: blocking_domain.Domain) -> Domain:
        return Domain(self._backend, self._calls, DomainRef(domain.domid, domain.uuid))
