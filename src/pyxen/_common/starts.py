"""The search for a domain that has started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from pyxen.records.info import UNPAUSED, DomainInfo

__all__ = ["started"]


class _Ref(Protocol):
    @property
    def domid(self) -> int: ...
    @property
    def uuid(self) -> UUID: ...


def started(infos: Iterable[DomainInfo], uuid: UUID, after: _Ref | None) -> DomainInfo | None:
    """Return the domain with a uuid, other than `after`, that is not paused; None if there is none."""
    passed = None if after is None else (after.domid, after.uuid)
    found = (info for info in infos if info.uuid == uuid and (info.domid, uuid) != passed and info.state in UNPAUSED)
    return next(found, None)
