"""The figures of the host, and what its Xen says of itself."""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Final

from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.config import SchedulerKind
from pyxen.records.capabilities import HostCapability
from pyxen.records.info import HostInfo

__all__ = ["HostReader", "command_line"]

_PAGE_KIB: Final = 4

_CAPABILITIES: Final = {
    HostCapability.PV: lib.XEN_SYSCTL_PHYSCAP_pv,
    HostCapability.HVM: lib.XEN_SYSCTL_PHYSCAP_hvm,
    HostCapability.PV_DIRECTIO: lib.XEN_SYSCTL_PHYSCAP_pv | lib.XEN_SYSCTL_PHYSCAP_directio,
    HostCapability.HVM_DIRECTIO: lib.XEN_SYSCTL_PHYSCAP_hvm | lib.XEN_SYSCTL_PHYSCAP_directio,
    HostCapability.HAP: lib.XEN_SYSCTL_PHYSCAP_hap,
    HostCapability.SHADOW: lib.XEN_SYSCTL_PHYSCAP_shadow,
    HostCapability.IOMMU_HAP_PT_SHARE: lib.XEN_SYSCTL_PHYSCAP_iommu_hap_pt_share,
    HostCapability.VMTRACE: lib.XEN_SYSCTL_PHYSCAP_vmtrace,
    HostCapability.VPMU: lib.XEN_SYSCTL_PHYSCAP_vpmu,
    HostCapability.GNTTAB_V1: lib.XEN_SYSCTL_PHYSCAP_gnttab_v1,
    HostCapability.GNTTAB_V2: lib.XEN_SYSCTL_PHYSCAP_gnttab_v2,
}
"""The bits that Xen sets for each capability, all of them."""


class HostReader:
    """Reads the figures of the host; what cannot change until the next boot is read once.

    Args:
        hypervisor: Where to read them.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._constants: dict[str, Any] | None = None

    def info(self) -> HostInfo:
        """Return the figures of the host as they are now."""
        kernel = os.uname()
        with self._hypervisor.handle() as xc:
            figures = _figures(xc)
            if self._constants is None:
                self._constants = _constants(xc)
        return HostInfo(
            **figures,
            **self._constants,
            hostname=kernel.nodename,
            kernel_release=kernel.release,
            kernel_version=kernel.version,
            machine=kernel.machine,
            uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        )


def _figures(xc: CData) -> dict[str, Any]:
    """Return what changes while the host runs."""
    info = ffi.new("xc_physinfo_t *")
    if lib.xc_physinfo(xc, info) != 0:
        raise refused("info", "Xen does not report its figures")
    return {
        "nr_cpus": info.nr_cpus,
        "nr_nodes": info.nr_nodes,
        "cores_per_socket": info.cores_per_socket,
        "threads_per_core": info.threads_per_core,
        "cpu_khz": info.cpu_khz,
        "memory_kib": info.total_pages * _PAGE_KIB,
        "free_memory_kib": (info.free_pages - info.outstanding_pages) * _PAGE_KIB,
        "max_cpu_id": info.max_cpu_id,
        "free_cpus": _free_cpus(xc, info.max_cpu_id),
        "hw_caps": tuple(info.hw_cap),
        "capabilities": frozenset(one for one, bits in _CAPABILITIES.items() if info.capabilities & bits == bits),
        "scrub_memory_kib": info.scrub_pages * _PAGE_KIB,
        "claimed_memory_kib": info.outstanding_pages * _PAGE_KIB,
        "sharing_freed_kib": _shared_kib(lib.xc_sharing_freed_pages(xc)),
        "sharing_used_kib": _shared_kib(lib.xc_sharing_used_frames(xc)),
    }


def _constants(xc: CData) -> dict[str, Any]:
    """Return what stays the same until the host is booted again."""
    version = lib.xc_version(xc, lib.XENVER_version, ffi.NULL)
    built, parameters = ffi.new("xen_compile_info_t *"), ffi.new("xen_platform_parameters_t *")
    kind = ffi.new("int *")
    if (
        version < 0
        or lib.xc_version(xc, lib.XENVER_compile_info, built) != 0
        or lib.xc_version(xc, lib.XENVER_platform_parameters, parameters) != 0
        or lib.xc_sched_id(xc, kind) != 0
    ):
        raise refused("info", "Xen does not report its version")
    return {
        "xen_version": f"{version >> 16}.{version & 0xFFFF}{_text(xc, lib.PYXEN_EXTRAVERSION)}",
        "xen_caps": tuple(_text(xc, lib.PYXEN_CAPABILITIES).split()),
        "xen_scheduler": _scheduler(kind[0]),
        "xen_pagesize": lib.xc_version(xc, lib.XENVER_pagesize, ffi.NULL),
        "virt_start": parameters.virt_start,
        "xen_commandline": _text(xc, lib.PYXEN_COMMANDLINE),
        "xen_changeset": _text(xc, lib.PYXEN_CHANGESET),
        "build_id": _text(xc, lib.PYXEN_BUILD_ID),
        "cc_compiler": _decoded(built.compiler),
        "cc_compile_by": _decoded(built.compile_by),
        "cc_compile_domain": _decoded(built.compile_domain),
        "cc_compile_date": _decoded(built.compile_date),
    }


def command_line(hypervisor: Hypervisor) -> str:
    """Return the command line with which Xen was started."""
    with hypervisor.handle() as xc:
        return _text(xc, lib.PYXEN_COMMANDLINE)


def _text(xc: CData, which: int) -> str:
    found = lib.pyxen_xen_text(xc, which)
    if found == ffi.NULL:
        if ffi.errno in {errno.ENODATA, errno.ENOSYS}:  # Xen was linked without a build ID
            return ""
        raise refused("info", "Xen does not report its version")
    try:
        return _decoded(found)
    finally:
        lib.free(found)


def _decoded(text: CData) -> str:
    decoded: str = ffi.string(text).decode(errors="replace")
    return decoded


def _scheduler(number: int) -> SchedulerKind | None:
    """Return a scheduler by Xen's number of it; None for one that is not known here."""
    name = lib.libxl_scheduler_to_string(number)
    return None if name == ffi.NULL else SchedulerKind(_decoded(name))


def _free_cpus(xc: CData, max_cpu_id: int) -> int:
    free = lib.xc_cpupool_freeinfo(xc)
    if free == ffi.NULL:
        raise refused("info", "Xen does not report which CPUs are free")
    try:
        return sum(byte.bit_count() for byte in ffi.buffer(free, (max_cpu_id + 8) // 8)[:])
    finally:
        lib.free(free)


def _shared_kib(pages: int) -> int:
    """Return a figure about shared memory; a Xen without sharing has none."""
    if pages >= 0:
        return pages * _PAGE_KIB
    if ffi.errno == errno.ENOSYS:
        return 0
    raise refused("info", "Xen does not report how much memory is shared")
