"""Rates of a domain between two of its statistics."""

from __future__ import annotations

from collections.abc import Iterable

from pyxen.records.base import Domain_co
from pyxen.records.stats import DiskRates, DiskStats, DomainRates, DomainStats, VifRates, VifStats

__all__ = ["domain_rates"]

_NS_PER_S = 1e9
_NO_TRAFFIC = VifStats(-1, *[0] * 8)


def domain_rates(before: DomainStats, after: DomainStats[Domain_co], nr_cpus: int) -> DomainRates[Domain_co] | None:
    """Return the rates of a domain between two moments.

    A device that is new, or whose counters are lower than before, was attached in between: it counted from 0.

    Args:
        before: Its earlier statistics.
        after: Its later statistics.
        nr_cpus: Number of CPUs of the host.

    Returns:
        None if there is nothing to compare: no time has passed, or it is another domain with the same domid and uuid.
    """
    seconds = (after.monotonic_ns - before.monotonic_ns) / _NS_PER_S
    cpu_time = after.cpu_time_ns - before.cpu_time_ns
    if seconds <= 0 or cpu_time < 0:
        return None
    old_disks = {disk.vdev: disk for disk in before.disks}
    old_vifs = {vif.devid: vif for vif in before.vifs}
    disks = tuple(_disk(old_disks.get(disk.vdev), disk, seconds) for disk in after.disks)
    vifs = tuple(_vif(old_vifs.get(vif.devid, _NO_TRAFFIC), vif, seconds) for vif in after.vifs)
    percent = 100 * cpu_time / _NS_PER_S / seconds
    return DomainRates(
        stats=after,
        seconds=seconds,
        cpu_percent=percent,
        host_cpu_percent=percent / max(nr_cpus, 1),
        read_requests_per_s=_sum(disk.read_requests_per_s for disk in disks),
        read_bytes_per_s=_sum(disk.read_bytes_per_s for disk in disks),
        write_requests_per_s=_sum(disk.write_requests_per_s for disk in disks),
        write_bytes_per_s=_sum(disk.write_bytes_per_s for disk in disks),
        rx_bytes_per_s=_sum(vif.rx_bytes_per_s for vif in vifs),
        tx_bytes_per_s=_sum(vif.tx_bytes_per_s for vif in vifs),
        disks=disks,
        vifs=vifs,
    )


def _sum(rates: Iterable[float | None]) -> float:
    return sum((rate for rate in rates if rate is not None), 0.0)


def _disk(before: DiskStats | None, after: DiskStats, seconds: float) -> DiskRates:
    new = _disk_counters(after)
    old: tuple[int | None, ...] = (0, 0, 0, 0) if before is None else _disk_counters(before)
    if any(a is not None and b is not None and a < b for a, b in zip(new, old, strict=True)):
        old = (0, 0, 0, 0)
    rates = (None if a is None or b is None else (a - b) / seconds for a, b in zip(new, old, strict=True))
    return DiskRates(after.vdev, *rates)


def _disk_counters(disk: DiskStats) -> tuple[int | None, ...]:
    return disk.read_requests, disk.read_bytes, disk.write_requests, disk.write_bytes


def _vif(before: VifStats, after: VifStats, seconds: float) -> VifRates:
    new, old = _vif_counters(after), _vif_counters(before)
    if any(a < b for a, b in zip(new, old, strict=True)):
        old = _vif_counters(_NO_TRAFFIC)
    return VifRates(after.devid, *((a - b) / seconds for a, b in zip(new, old, strict=True)))


def _vif_counters(vif: VifStats) -> tuple[int, ...]:
    return vif.rx_bytes, vif.rx_packets, vif.tx_bytes, vif.tx_packets
