"""The figures of a simulated host."""

from __future__ import annotations

from typing import Final

from pyxen.backends.memory.machine import DOM0_MIB, Machine
from pyxen.backends.memory.pools import BOOT_SCHEDULER
from pyxen.records.capabilities import HostCapability
from pyxen.records.info import HostInfo

__all__ = ["host_info"]

_CAPABILITIES: Final = frozenset(
    {HostCapability.PV, HostCapability.HVM, HostCapability.HAP, HostCapability.SHADOW}
    | {HostCapability.PV_DIRECTIO, HostCapability.HVM_DIRECTIO}
    | {HostCapability.GNTTAB_V1, HostCapability.GNTTAB_V2}
)


def host_info(machine: Machine) -> HostInfo:
    """Return the figures of the host."""
    return HostInfo(
        xen_version=machine.xen,
        nr_cpus=machine.cpus,
        nr_nodes=machine.nodes,
        cores_per_socket=-(-machine.cpus // machine.nodes),
        threads_per_core=1,
        cpu_khz=2_000_000,
        memory_kib=machine.memory_kib,
        free_memory_kib=machine.free_kib(),
        max_cpu_id=machine.cpus - 1,
        free_cpus=machine.cpus - sum(len(pool.cpus) for pool in machine.pools.values()),
        hw_caps=(0,) * 8,
        capabilities=_CAPABILITIES,
        scrub_memory_kib=0,
        claimed_memory_kib=0,
        sharing_freed_kib=0,
        sharing_used_kib=0,
        xen_caps=("xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"),
        xen_scheduler=BOOT_SCHEDULER,
        xen_pagesize=4096,
        virt_start=0xFFFF_8000_0000_0000,
        xen_commandline=f"dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M",
        xen_changeset="",
        build_id="",
        cc_compiler="",
        cc_compile_by="",
        cc_compile_domain="",
        cc_compile_date="",
        hostname="memory",
        kernel_release="",
        kernel_version="",
        machine="x86_64",
        uptime_s=machine.uptime(),
    )
