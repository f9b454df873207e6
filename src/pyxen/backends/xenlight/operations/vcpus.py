"""The vCPUs of a running domain."""

from __future__ import annotations

from typing import Any, Final

from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.operations.cpu_bitmaps import cpus_of
from pyxen.backends.xenlight.topology import node_cpus
from pyxen.records.info import DomainInfo
from pyxen.records.scheduling import VcpuInfo, VcpuState

__all__ = ["vcpus"]

_BOTH: Final = lib.XEN_VCPUAFFINITY_HARD | lib.XEN_VCPUAFFINITY_SOFT


def vcpus(hypervisor: Hypervisor, info: DomainInfo) -> tuple[VcpuInfo, ...]:
    """Return the vCPUs of a domain."""
    limit = 1 + max(cpu for members in node_cpus(hypervisor).values() for cpu in members)
    with hypervisor.handle() as xc:
        size = lib.xc_get_cpumap_size(xc)
        if size <= 0:
            raise refused("vcpus", "Xen does not tell how many CPUs the host can have")
        found = ffi.new("xc_vcpuinfo_t *")
        hard, soft = ffi.new("uint8_t[]", size), ffi.new("uint8_t[]", size)
        return tuple(_vcpu(xc, info.domid, number, found, hard, soft, limit) for number in range(info.maxvcpus))


def _vcpu(xc: CData, domid: int, number: int, found: CData, hard: CData, soft: CData, limit: int) -> VcpuInfo:
    if (
        lib.xc_vcpu_getinfo(xc, domid, number, found) != 0
        or lib.xc_vcpu_getaffinity(xc, domid, number, hard, soft, _BOTH) != 0
    ):
        raise refused("vcpus", f"Xen does not tell about the vCPU {number} of domain {domid}")
    return VcpuInfo(
        number=number,
        cpu=found.cpu if found.online else None,
        online=bool(found.online),
        state=_state(found),
        cpu_time_ns=found.cpu_time,
        cpus=cpus_of(hard, len(hard), limit),
        cpus_soft=cpus_of(soft, len(soft), limit),
    )


def _state(found: Any) -> VcpuState:
    if not found.online:
        return VcpuState.OFFLINE
    if found.running:
        return VcpuState.RUNNING
    return VcpuState.BLOCKED if found.blocked else VcpuState.READY
