"""Samples of a host: what each of its records says in metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from prometheus_client.core import Metric as Family

from pyxen._printable import printable
from pyxen.errors import UnsupportedFeature
from pyxen.host import Host
from pyxen.metrics import catalogue as metrics
from pyxen.metrics.catalogue import METRICS, Metric
from pyxen.metrics.counters import Counters
from pyxen.records.info import DomainInfo, DomainState, HostInfo
from pyxen.records.stats import DeviceState, DiskStats, DomainStats, VifStats

__all__ = ["Samples", "read_host"]

_NS_PER_S: Final = 1e9
_KIB: Final = 1024
_NO_LIMIT_KIB: Final = (2**32 - 1) * 4
"""What Xen says of a domain without a limit: the largest number of pages, of 4 KiB each."""

T = TypeVar("T")


class Samples:
    """The samples of one scrape."""

    def __init__(self) -> None:
        self._families = {metric.name: metric.family() for metric in METRICS}

    def add(self, metric: Metric, value: float | None, *labels: object) -> None:
        """Add a sample, unless the value is not known. A label that is None is empty."""
        if value is not None:
            self._families[metric.name].add_metric([_label(label) for label in labels], value)  # type: ignore[attr-defined]  # each kind of family has it, their base has not

    def families(self) -> list[Family]:
        """Return the families that have samples."""
        return [family for family in self._families.values() if family.samples]


def _label(value: object) -> str:
    """Return the text of a label. Names come from guests and other programs, and may hold anything."""
    return "" if value is None else printable(str(value))


def read_host(host: Host, counters: Counters) -> Samples:
    """Read all of a host once.

    Raises:
        Error: The host does not answer, or has no statistics.
    """
    samples = Samples()
    _host(samples, host.info())
    _cpus(samples, host)
    _pools(samples, host)
    stats = host.stats()
    counters.keep({(each.info.domid, each.info.uuid) for each in stats})
    samples.add(metrics.DOMAINS, len(stats))
    for each in stats:
        _domain(samples, each, counters)
    _start_times(samples, host)
    return samples


def _known(ask: Callable[[], T]) -> T | None:
    """Return an answer; None if the backend does not know it."""
    try:
        return ask()
    except UnsupportedFeature:
        return None


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * _KIB


def _host(samples: Samples, info: HostInfo) -> None:
    samples.add(
        metrics.HOST_INFO,
        1,
        *(info.xen_version, info.xen_scheduler, info.hostname, info.kernel_release, info.machine),
    )
    samples.add(metrics.HOST_CPUS, info.nr_cpus)
    samples.add(metrics.HOST_NODES, info.nr_nodes)
    samples.add(metrics.HOST_FREE_CPUS, info.free_cpus)
    samples.add(metrics.HOST_MEMORY, _bytes(info.memory_kib))
    samples.add(metrics.HOST_FREE, _bytes(info.free_memory_kib))
    samples.add(metrics.HOST_CLAIMED, _bytes(info.claimed_memory_kib))
    samples.add(metrics.HOST_SCRUB, _bytes(info.scrub_memory_kib))
    samples.add(metrics.HOST_SAVED, _bytes(info.sharing_freed_kib))
    samples.add(metrics.HOST_SHARED, _bytes(info.sharing_used_kib))


def _cpus(samples: Samples, host: Host) -> None:
    topology = _known(host.topology)
    if topology is not None:
        for cpu in topology.cpus:
            samples.add(metrics.CPU_INFO, 1, cpu.number, cpu.core, cpu.socket, cpu.node, cpu.poolid)
        for node in topology.nodes:
            samples.add(metrics.NODE_MEMORY, _bytes(node.memory_kib), node.number)
            samples.add(metrics.NODE_FREE, _bytes(node.free_memory_kib), node.number)
    for number, idle_ns in (_known(host.idle_times_ns) or {}).items():
        samples.add(metrics.CPU_IDLE, idle_ns / _NS_PER_S, number)


def _pools(samples: Samples, host: Host) -> None:
    for pool in _known(host.cpupools.list) or ():
        labels = (pool.number, pool.name)
        samples.add(metrics.POOL_INFO, 1, *labels, pool.scheduler)
        samples.add(metrics.POOL_CPUS, len(pool.cpus), *labels)
        samples.add(metrics.POOL_DOMAINS, len(pool.domains), *labels)


def _start_times(samples: Samples, host: Host) -> None:
    for uptime in _known(host.uptimes) or ():
        if uptime.start_time is not None:
            start = uptime.start_time.timestamp()
            samples.add(metrics.DOMAIN_START, start, uptime.name, uptime.uuid, uptime.domid)
            if uptime.domid == 0:
                samples.add(metrics.HOST_BOOT, start)


def _domain(samples: Samples, stats: DomainStats, counters: Counters) -> None:
    info = stats.info
    domain = _DomainSamples(samples, info, counters)
    domain.add(metrics.DOMAIN_INFO, 1, info.type, info.poolid, info.pool, info.stubdomain_of)
    for state in DomainState:
        domain.add(metrics.DOMAIN_STATE, state is info.state, state)
    domain.count(metrics.DOMAIN_CPU, info.cpu_time_ns, per=_NS_PER_S)
    domain.add(metrics.DOMAIN_VCPUS, info.vcpus)
    domain.add(metrics.DOMAIN_MAX_VCPUS, info.maxvcpus)
    domain.add(metrics.DOMAIN_MEMORY, _bytes(info.memory_kib))
    domain.add(metrics.DOMAIN_MAXIMUM, _bytes(info.maxmem_kib) if info.maxmem_kib < _NO_LIMIT_KIB else None)
    domain.add(metrics.DOMAIN_CLAIMED, _bytes(info.claimed_kib))
    domain.add(metrics.DOMAIN_SHARED, _bytes(info.shared_kib))
    domain.add(metrics.DOMAIN_PAGED, _bytes(info.paged_kib))
    _vcpus(domain, stats)
    _disks(domain, stats.disks)
    _vifs(domain, stats.vifs)


class _DomainSamples:
    """The samples of a domain, with its labels."""

    def __init__(self, samples: Samples, info: DomainInfo, counters: Counters) -> None:
        self._samples = samples
        self._key = info.domid, info.uuid
        self._labels = info.name, info.uuid, info.domid
        self._counters = counters

    def add(self, metric: Metric, value: float | None, *labels: object) -> None:
        """Add a sample of a gauge."""
        self._samples.add(metric, value, *self._labels, *labels)

    def count(self, metric: Metric, raw: int | None, *device: object, per: float = 1) -> None:
        """Add a sample of a counter, in units of `per`."""
        if raw is not None:
            value = self._counters.value(self._key, metric, " ".join(map(str, device)), raw)
            self.add(metric, value if per == 1 else value / per, *device)


def _vcpus(domain: _DomainSamples, stats: DomainStats) -> None:
    for number, time_ns in enumerate(stats.vcpu_times_ns):
        domain.count(metrics.VCPU_TIME, time_ns, number, per=_NS_PER_S)
    for number, online in enumerate(stats.vcpus_online):
        domain.add(metrics.VCPU_ONLINE, online, number)


def _disks(domain: _DomainSamples, disks: Iterable[DiskStats]) -> None:
    for disk in disks:
        domain.add(metrics.DISK_INFO, 1, disk.vdev, disk.backend)
        domain.add(
            metrics.DISK_CONNECTED, None if disk.state is None else disk.state is DeviceState.CONNECTED, disk.vdev
        )
        domain.add(metrics.DISK_FAILED, None if disk.state is None else disk.error is not None, disk.vdev)
        domain.count(metrics.DISK_READS, disk.read_requests, disk.vdev)
        domain.count(metrics.DISK_READ, disk.read_bytes, disk.vdev)
        domain.count(metrics.DISK_WRITES, disk.write_requests, disk.vdev)
        domain.count(metrics.DISK_WRITTEN, disk.write_bytes, disk.vdev)
        domain.count(metrics.DISK_FLUSHES, disk.flush_requests, disk.vdev)
        domain.count(metrics.DISK_DISCARDS, disk.discard_requests, disk.vdev)
        domain.count(metrics.DISK_DISCARDED, disk.discard_bytes, disk.vdev)
        domain.count(metrics.DISK_WAITS, disk.out_of_requests, disk.vdev)


def _vifs(domain: _DomainSamples, vifs: Iterable[VifStats]) -> None:
    for vif in vifs:
        domain.count(metrics.VIF_RX_BYTES, vif.rx_bytes, vif.devid)
        domain.count(metrics.VIF_RX_PACKETS, vif.rx_packets, vif.devid)
        domain.count(metrics.VIF_RX_ERRORS, vif.rx_errors, vif.devid)
        domain.count(metrics.VIF_RX_DROPS, vif.rx_dropped, vif.devid)
        domain.count(metrics.VIF_TX_BYTES, vif.tx_bytes, vif.devid)
        domain.count(metrics.VIF_TX_PACKETS, vif.tx_packets, vif.devid)
        domain.count(metrics.VIF_TX_ERRORS, vif.tx_errors, vif.devid)
        domain.count(metrics.VIF_TX_DROPS, vif.tx_dropped, vif.devid)
