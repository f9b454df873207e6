"""The memory that a domain needs of its host, as libxl computes it."""

from __future__ import annotations

import math
from typing import Final

from pyxen.config import DomainConfig, DomainType
from pyxen.units import mib_to_kib

__all__ = ["needed_kib", "paging_kib"]

_VCPU_KIB: Final = 1024
"""Memory that Xen keeps for the page tables of a PVH or HVM guest, per vCPU."""

_PAGE_KIB: Final = 4
"""The same, per MiB of the guest's memory."""

_PV_EXTRA_KIB: Final = 1024
_HVM_EXTRA_KIB: Final = 2048
"""What libxl adds to the memory of a new domain."""

_STEP_KIB: Final = 2048
"""libxl rounds the need of a new domain up to this."""


def paging_kib(config: DomainConfig) -> int:
    """Return the memory that Xen keeps for the page tables of a PVH or HVM guest."""
    if config.type is DomainType.PV:
        return 0
    if config.shadow_memory is not None:
        return mib_to_kib(config.shadow_memory)
    for_each_mib = _PAGE_KIB if config.hap is not False else 2 * _PAGE_KIB
    return _VCPU_KIB * config.effective_maxvcpus + for_each_mib * math.ceil(config.effective_maxmem or 0)


def needed_kib(config: DomainConfig) -> int:
    """Return the memory that the host must have free to build a domain, as ``libxl_domain_need_memory``."""
    extra = _PV_EXTRA_KIB if config.type is DomainType.PV else _HVM_EXTRA_KIB
    needed = mib_to_kib(config.memory or 0) + paging_kib(config) + extra
    return -(-needed // _STEP_KIB) * _STEP_KIB
