"""Domains as a host lists them, for the hosts of the tests."""

from __future__ import annotations

from uuid import UUID

from pyxen import DomainInfo, DomainState, DomainType

__all__ = ["domain_info"]


def domain_info(domid: int, name: str | None, uuid: UUID, state: DomainState) -> DomainInfo:
    """Return a small PVH guest as it is listed."""
    return DomainInfo(
        domid=domid,
        name=name,
        uuid=uuid,
        state=state,
        shutdown_reason=None,
        type=DomainType.PVH,
        memory_kib=8192,
        maxmem_kib=8192,
        vcpus=1,
        maxvcpus=1,
        cpu_time_ns=0,
        pool="Pool-0",
        poolid=0,
        ssidref=0,
    )
