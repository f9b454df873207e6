"""What identifies a domain on a host, for asyncio: the part of `Domain` that all of its verbs use.

Generated from `pyxen._domain_handle` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self
from uuid import UUID

from pyxen._local import Local
from pyxen.aio._calls import Calls
from pyxen.aio.qmp import Qmp
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import DomainOperations

__all__ = ["DomainHandle"]


class DomainHandle(Local):
    """The identity of a domain, and its way to the host."""

    __slots__ = ("_backend", "_calls", "_name", "_ref")

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef, name: str | None = None) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._name = name

    @property
    def domid(self) -> int:
        """The domain's number while it runs."""
        return self._ref.domid

    @property
    def uuid(self) -> UUID:
        """The domain's uuid."""
        return self._ref.uuid

    @property
    def name(self) -> str | None:
        """The name last seen by this handle; `info` asks for the current one.

        It is the name under which the domain was found or created. `info` and `rename` on this handle update it.
        None if no name has been seen.
        """
        return self._name

    @property
    def xenstore_path(self) -> str:
        """The domain's folder in xenstore: ``/local/domain/DOMID``; see `Host.xenstore`."""
        return f"/local/domain/{self.domid}"

    @property
    def qmp(self) -> Qmp:
        """Its QEMU, for commands of QMP, QEMU's protocol for programs: ``domain.qmp.execute("query-status")``."""
        return Qmp(self._backend, self._calls, self._ref)

    @property
    def begin(self) -> DomainOperations[Self]:
        """The same verbs without waiting: ``web.begin.save(path)`` returns an `Operation` at once."""
        return DomainOperations(self._backend, self._ref, self, self._other)

    def _other(self, ref: DomainRef, name: str | None) -> Self:
        return type(self)(self._backend, self._calls, ref, name)

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<Domain {self.domid}{name} {self.uuid}>"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield from (("domid", self.domid), ("name", self.name), ("uuid", self.uuid))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DomainHandle):
            return NotImplemented
        return self._ref == other._ref and self._backend is other._backend

    def __hash__(self) -> int:
        return hash(self._ref)
