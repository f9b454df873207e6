"""Resource usage of a domain: CPU time, counted by Xen, and disk and vif traffic, counted by dom0's kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.info import DiskStats, DomainInfo, DomainStats, VifStats

__all__ = ["domain_stats"]

_BACKENDS: Final = Path("/sys/bus/xen-backend/devices")
_SECTOR: Final = 512  # bytes, whatever the disk's own sector size


def domain_stats(hypervisor: Hypervisor, info: DomainInfo) -> DomainStats:
    """Return the resources that a domain has used so far."""
    return DomainStats(
        cpu_time_ns=info.cpu_time_ns,
        vcpu_times_ns=hypervisor.vcpu_times(info.domid, info.maxvcpus),
        memory_kib=info.memory_kib,
        disks=tuple(_disk(hypervisor, info.domid, devid) for devid in _devids("vbd", info.domid)),
        vifs=tuple(_vif(info.domid, devid) for devid in _devids("vif", info.domid)),
    )


def _devids(kind: str, domid: int) -> list[int]:
    """Return the devids of a domain's devices that this kernel serves."""
    return sorted(int(path.name.rpartition("-")[2]) for path in _BACKENDS.glob(f"{kind}-{domid}-*"))


def _disk(hypervisor: Hypervisor, domid: int, devid: int) -> DiskStats:
    counters = _BACKENDS / f"vbd-{domid}-{devid}" / "statistics"
    vdev = hypervisor.read(f"/local/domain/0/backend/vbd/{domid}/{devid}/dev")
    return DiskStats(
        vdev=vdev or str(devid),
        read_requests=_count(counters / "rd_req"),
        read_bytes=_count(counters / "rd_sect") * _SECTOR,
        write_requests=_count(counters / "wr_req"),
        write_bytes=_count(counters / "wr_sect") * _SECTOR,
    )


def _vif(domid: int, devid: int) -> VifStats:
    # The counters are the host's: what the host's interface sends, the guest receives.
    interface = next((_BACKENDS / f"vif-{domid}-{devid}" / "net").glob("*"), Path("none")) / "statistics"
    return VifStats(
        devid=devid,
        rx_bytes=_count(interface / "tx_bytes"),
        rx_packets=_count(interface / "tx_packets"),
        rx_errors=_count(interface / "tx_errors"),
        rx_dropped=_count(interface / "tx_dropped"),
        tx_bytes=_count(interface / "rx_bytes"),
        tx_packets=_count(interface / "rx_packets"),
        tx_errors=_count(interface / "rx_errors"),
        tx_dropped=_count(interface / "rx_dropped"),
    )


def _count(path: Path) -> int:
    """Return a counter; 0 if the device is not connected."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
