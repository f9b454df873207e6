"""The collection of a host's domains, with lookup by name, domid or uuid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from uuid import UUID

from pyxen._common.arguments import check_number, fits
from pyxen.backends.base import Backend, DomainRef
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, InvalidArgument
from pyxen.operation import Calls
from pyxen.records.base import html_table
from pyxen.records.info import DomainInfo, DomainState

__all__ = ["DomainKey", "Domains"]

DomainKey = str | int | UUID
"""A name, a domid, or a uuid (a `uuid.UUID`, or text in the usual form)."""


class Domains(Collection[Domain]):
    """The current domains of a host, except those that are dying. Each lookup asks the host; nothing is cached."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Domains of {self._backend.uri}>"

    def _repr_html_(self) -> str:
        shown = ["domid", "name", "state", "memory_kib", "vcpus", "uuid"]
        rows = [tuple(info.to_dict()[name] for name in shown) for info in self._alive()]
        return html_table(shown, rows)

    def _ipython_key_completions_(self) -> list[str]:
        return [info.name for info in self._alive() if info.name is not None]

    def __getitem__(self, key: DomainKey) -> Domain:
        """Return a domain by name, domid or uuid.

        Text is tried as a name first, then as a uuid, and never as a domid.

        Raises:
            DomainNotFound: There is no such domain.
        """
        found = self._calls.ask(lambda: self._find(key))
        if found is None:
            what = {int: "domid", UUID: "uuid"}.get(type(key), "name or uuid")
            hint = "; a domid is an int, not text" if isinstance(key, str) and key.isdecimal() else ""
            message = f"no domain has the {what} {key!s}{hint}"
            raise DomainNotFound(message, domain=key if isinstance(key, int) else str(key))
        return found

    def get(self, key: DomainKey) -> Domain | None:
        """Return a domain by name, domid or uuid; None if there is no such domain."""
        return self._calls.ask(lambda: self._find(key))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, Domain):
            return any(domain == key for domain in self)
        if isinstance(key, bool) or (isinstance(key, int) and not fits(key)):
            return False
        return isinstance(key, str | int | UUID) and self._find(key) is not None

    def __iter__(self) -> Iterator[Domain]:
        return iter([self._handle(info) for info in self._alive()])

    def __len__(self) -> int:
        return len(self._alive())

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
