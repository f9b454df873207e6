"""A host, for asyncio."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self
from uuid import UUID

from pyxen import host as blocking
from pyxen.aio._calls import Calls
from pyxen.aio.docstrings import documented_as
from pyxen.aio.domain import Domain
from pyxen.aio.domains import Domains
from pyxen.aio.eventreader import EventReader
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import HostOperations
from pyxen.config import DomainConfig
from pyxen.domain import Domain as BlockingDomain
from pyxen.domains import DomainKey
from pyxen.eventreader import event_filter
from pyxen.events import Event
from pyxen.features import Feature
from pyxen.info import DefinedDomain, DomainInfo, HostInfo
from pyxen.operation import Operation

__all__ = ["Host"]


@documented_as(blocking.Host)
class Host:
    """A host that runs domains, as `pyxen.aio.connect` gives it: `pyxen.Host`, awaited.

    Use it as an async context manager, or await `close`: a host that is not closed keeps connections open. It is bound
    to no loop.

    Attributes:
        domains: The domains by name, domid or uuid: ``await host.domains["web1"]``.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls
        self._blocking = blocking.Host(backend)  # warns too if nobody closes it
        self.domains = Domains(backend, calls)

    def __repr__(self) -> str:
        return repr(self._blocking)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def uri(self) -> str:
        return self._blocking.uri

    @property
    def begin(self) -> HostOperations[Domain]:
        return HostOperations(self._backend, self._domain)

    def supports(self, feature: Feature | str) -> bool:
        return self._blocking.supports(feature)

    async def close(self) -> None:
        await self._calls.close(self._blocking.close)

    async def info(self) -> HostInfo:
        return await self._calls.ask(self._blocking.info)

    async def list(self) -> list[DomainInfo]:
        return await self._calls.ask(self._blocking.list)

    def events(
        self, *kinds: type[Event], domain: Domain | DomainKey | None = None, maxlen: int = 10_000
    ) -> EventReader:
        if isinstance(domain, Domain):
            wanted = event_filter(kinds, BlockingDomain(self._backend, DomainRef(domain.domid, domain.uuid)))
        else:
            wanted = event_filter(kinds, domain)
        return EventReader(self._backend, self._calls, wanted, maxlen)

    async def orphans(self) -> tuple[Domain, ...]:
        return tuple(self._domain(ref) for ref in await self._calls.ask(self._backend.orphans))

    async def create(self, config: DomainConfig, *, paused: bool = False, timeout: float | None = None) -> Domain:
        return await self._make(lambda: self.begin.create(config, paused=paused, timeout=timeout))

    async def restore(
        self,
        path: str | os.PathLike[str],
        config: DomainConfig | None = None,
        *,
        paused: bool = False,
        timeout: float | None = None,
    ) -> Domain:
        return await self._make(lambda: self.begin.restore(path, config, paused=paused, timeout=timeout))

    async def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool = False,
        paused: bool = False,
        timeout: float | None = None,
    ) -> Domain:
        def begin() -> Operation[Domain]:
            return self.begin.receive_migration(read_fd, write_fd, remus=remus, paused=paused, timeout=timeout)

        return await self._calls.finish(begin)  # not undone: the source has none of it any more

    async def define(self, config: DomainConfig, *, autostart: bool | None = None) -> DefinedDomain:
        return await self._calls.ask(lambda: self._blocking.define(config, autostart=autostart))

    async def defined(self) -> Sequence[DefinedDomain]:
        return await self._calls.ask(self._blocking.defined)

    async def undefine(self, key: str | UUID) -> None:
        await self._calls.ask(lambda: self._blocking.undefine(key))

    async def set_autostart(self, key: str | UUID, autostart: bool) -> None:
        await self._calls.ask(lambda: self._blocking.set_autostart(key, autostart))

    async def start(self, key: str | UUID, *, paused: bool = False, timeout: float | None = None) -> Domain:
        return await self._make(lambda: self.begin.start(key, paused=paused, timeout=timeout))

    async def devd(self, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.devd(timeout=timeout))

    async def _make(self, begin: Callable[[], Operation[Domain]]) -> Domain:
        """Await a domain that is being made; if nobody waits for it any more, it is destroyed."""
        return await self._calls.finish(begin, undo=self._destroy)

    def _domain(self, ref: DomainRef) -> Domain:
        return Domain(self._backend, self._calls, ref)

    def _destroy(self, domain: Domain) -> None:
        self._backend.destroy(DomainRef(domain.domid, domain.uuid), timeout=None).wait()
