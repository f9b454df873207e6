"""The domains of a host as a collection, for asyncio.

Generated from `pyxen.domains` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from pyxen._common.arguments import check_number
from pyxen.aio._domains import DomainsBase
from pyxen.aio.domain import Domain
from pyxen.backends.base import DomainRef
from pyxen.errors import DomainNotFound, InvalidArgument
from pyxen.records.info import DomainInfo, DomainState

__all__ = ["DomainKey", "Domains"]

DomainKey = str | int | UUID
"""A name, a domid, or a uuid (a `uuid.UUID`, or text in the usual form)."""


class Domains(DomainsBase):
    """The domains that a host has now, without those that are dying. Each lookup asks the host; nothing is kept.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    =========================  ==========================================
    ``host.domains["web1"]``   ``await host.domains["web1"]``
    ``"web1" in domains``      ``await domains.get("web1") is not None``
    ``for domain in domains``  ``async for domain in domains``
    ``len(domains)``           ``len([domain async for domain in domains])``
    =========================  ==========================================
    """

    def __repr__(self) -> str:
        return f"<Domains of {self._backend.uri}>"

    async def __getitem__(self, key: DomainKey) -> Domain:
        """Return a domain by name, domid or uuid.

        Text is tried as a name first, then as a uuid, and never as a domid.

        Raises:
            DomainNotFound: There is no such domain.
        """
        found = await self._calls.ask(lambda: self._find(key))
        if found is None:
            what = {int: "domid", UUID: "uuid"}.get(type(key), "name or uuid")
            hint = "; a domid is an int, not text" if isinstance(key, str) and key.isdecimal() else ""
            message = f"no domain has the {what} {key!s}{hint}"
            raise DomainNotFound(message, domain=key if isinstance(key, int) else str(key))
        return found

    async def get(self, key: DomainKey) -> Domain | None:
        """Return a domain by name, domid or uuid; None if there is no such domain."""
        return await self._calls.ask(lambda: self._find(key))

    def _find(self, key: DomainKey) -> Domain | None:
        if isinstance(key, bool) or not isinstance(key, str | int | UUID):
            raise InvalidArgument(f"takes a name, a domid or a uuid, not {type(key).__name__}", operation="domains")
        if isinstance(key, int):
            check_number(key, "domains")
        found = self._backend.find(key)
        if found is None and isinstance(key, str) and (uuid := _uuid(key)) is not None:
            found = self._backend.find(uuid)
        return None if found is None or not self._shown([found]) else self._handle(found)

    def _alive(self) -> list[DomainInfo]:
        return self._shown(self._backend.list())

    def _shown(self, infos: Iterable[DomainInfo]) -> list[DomainInfo]:
        return [info for info in infos if info.state is not DomainState.DYING]

    def _handle(self, info: DomainInfo) -> Domain:
        return Domain(self._backend, self._calls, DomainRef(info.domid, info.uuid), info.name)


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None
