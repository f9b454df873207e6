"""All metrics that are exported: name, kind, labels and meaning, in the order in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

__all__ = ["METRICS", "Metric", "MetricKind"]


class MetricKind(StrEnum):
    """What Prometheus may do with the values of a metric."""

    COUNTER = "counter"
    """It only grows: use ``rate()``."""
    GAUGE = "gauge"
    """It goes up and down."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that is exported."""

    name: str
    """Its name, with the unit: ``xen_domain_cpu_seconds_total``."""
    kind: MetricKind
    """Whether it only grows."""
    labels: tuple[str, ...]
    """The names of its labels."""
    meaning: str
    """What it is, in a sentence without a full stop."""

    def family(self) -> Family:
        """Return an empty family of samples for prometheus-client."""
        family = CounterMetricFamily if self.kind is MetricKind.COUNTER else GaugeMetricFamily
        return family(self.name, f"{self.meaning}.", labels=self.labels)


METRICS: Final[list[Metric]] = []
"""All metrics, in the order in which they are shown."""


def _metric(kind: MetricKind, name: str, meaning: str, *labels: str) -> Metric:
    metric = Metric(name, kind, labels, meaning)
    METRICS.append(metric)
    return metric


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return _metric(MetricKind.GAUGE, name, meaning, *labels)


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return _metric(MetricKind.COUNTER, name, meaning, *labels)


UP: Final = _gauge("xen_up", "Whether the host answered: 1, or 0 and no other metric but the duration")
SCRAPE: Final = _gauge("xen_scrape_duration_seconds", "How long it took to read the host")

HOST_INFO: Final = _gauge(
    "xen_host_info",
    "The software of the host; always 1",
    *("xen_version", "scheduler", "hostname", "kernel", "machine"),
)
HOST_BOOT: Final = _gauge("xen_host_boot_time_seconds", "When dom0's kernel was booted, in seconds since the epoch")
HOST_CPUS: Final = _gauge("xen_host_cpus", "Physical CPUs that are online")
HOST_NODES: Final = _gauge("xen_host_numa_nodes", "NUMA nodes")
HOST_FREE_CPUS: Final = _gauge("xen_host_cpus_without_pool", "Physical CPUs that belong to no CPU pool")
HOST_MEMORY: Final = _gauge("xen_host_memory_bytes", "Memory of the host")
HOST_FREE: Final = _gauge("xen_host_memory_free_bytes", "Memory that is not assigned to any domain")
HOST_CLAIMED: Final = _gauge("xen_host_memory_claimed_bytes", "Memory that domains have claimed and do not have yet")
HOST_SCRUB: Final = _gauge("xen_host_memory_scrub_bytes", "Free memory that will be scrubbed before it is used again")
HOST_SAVED: Final = _gauge("xen_host_memory_sharing_freed_bytes", "Memory saved by sharing pages between domains")
HOST_SHARED: Final = _gauge("xen_host_memory_sharing_used_bytes", "Memory that domains share")

_CPU: Final = ("cpu",)
CPU_INFO: Final = _gauge(
    "xen_host_cpu_info", "Where a physical CPU is; always 1", *_CPU, "core", "socket", "node", "poolid"
)
CPU_IDLE: Final = _counter("xen_host_cpu_idle_seconds_total", "How long a physical CPU was idle since the boot", *_CPU)

_NODE: Final = ("node",)
NODE_MEMORY: Final = _gauge("xen_host_node_memory_bytes", "Range of a NUMA node's memory, with the holes in it", *_NODE)
NODE_FREE: Final = _gauge("xen_host_node_memory_free_bytes", "Free memory of a NUMA node", *_NODE)

_POOL: Final = ("poolid", "pool")
POOL_INFO: Final = _gauge("xen_cpupool_info", "A CPU pool; always 1", *_POOL, "scheduler")
POOL_CPUS: Final = _gauge("xen_cpupool_cpus", "CPUs of a CPU pool", *_POOL)
POOL_DOMAINS: Final = _gauge("xen_cpupool_domains", "Domains of a CPU pool", *_POOL)

_DOMAIN: Final = ("domain", "uuid", "domid")
DOMAINS: Final = _gauge("xen_domains", "Domains, including dom0")
DOMAIN_INFO: Final = _gauge(
    "xen_domain_info", "A domain; always 1", *_DOMAIN, "type", "poolid", "pool", "stubdomain_of"
)
DOMAIN_STATE: Final = _gauge("xen_domain_state", "Whether a domain is in a state: 1 or 0", *_DOMAIN, "state")
DOMAIN_START: Final = _gauge(
    "xen_domain_start_time_seconds", "When a domain was created, in seconds since the epoch", *_DOMAIN
)
DOMAIN_CPU: Final = _counter("xen_domain_cpu_seconds_total", "CPU time used by all vCPUs of a domain", *_DOMAIN)
DOMAIN_VCPUS: Final = _gauge("xen_domain_vcpus", "vCPUs that a guest has brought online", *_DOMAIN)
DOMAIN_MAX_VCPUS: Final = _gauge("xen_domain_vcpus_maximum", "vCPUs that a domain was created with", *_DOMAIN)
DOMAIN_MEMORY: Final = _gauge("xen_domain_memory_bytes", "Memory that a domain has", *_DOMAIN)
DOMAIN_MAXIMUM: Final = _gauge(
    "xen_domain_memory_maximum_bytes", "Memory that Xen allows a domain; absent where there is no limit", *_DOMAIN
)
DOMAIN_CLAIMED: Final = _gauge(
    "xen_domain_memory_claimed_bytes", "Memory that is reserved for a domain and that it does not have yet", *_DOMAIN
)
DOMAIN_SHARED: Final = _gauge("xen_domain_memory_shared_bytes", "Memory that a domain shares with others", *_DOMAIN)
DOMAIN_PAGED: Final = _gauge("xen_domain_memory_paged_bytes", "Memory of a domain that is paged out", *_DOMAIN)

_VCPU: Final = (*_DOMAIN, "vcpu")
VCPU_TIME: Final = _counter("xen_domain_vcpu_seconds_total", "CPU time used by a vCPU", *_VCPU)
VCPU_ONLINE: Final = _gauge("xen_domain_vcpu_online", "Whether a vCPU is online: 1 or 0", *_VCPU)

_DISK: Final = (*_DOMAIN, "vdev")
DISK_INFO: Final = _gauge("xen_domain_disk_info", "A disk of a domain, and what serves it; always 1", *_DISK, "backend")
DISK_CONNECTED: Final = _gauge(
    "xen_domain_disk_connected", "Whether the backend of a disk is connected to the guest: 1 or 0", *_DISK
)
DISK_FAILED: Final = _gauge("xen_domain_disk_failed", "Whether the backend of a disk reports an error: 1 or 0", *_DISK)
DISK_READS: Final = _counter("xen_domain_disk_read_requests_total", "Read requests", *_DISK)
DISK_READ: Final = _counter("xen_domain_disk_read_bytes_total", "Bytes read", *_DISK)
DISK_WRITES: Final = _counter("xen_domain_disk_write_requests_total", "Write requests", *_DISK)
DISK_WRITTEN: Final = _counter("xen_domain_disk_write_bytes_total", "Bytes written", *_DISK)
DISK_FLUSHES: Final = _counter("xen_domain_disk_flush_requests_total", "Flush requests", *_DISK)
DISK_DISCARDS: Final = _counter("xen_domain_disk_discard_requests_total", "Discard requests", *_DISK)
DISK_DISCARDED: Final = _counter("xen_domain_disk_discard_bytes_total", "Bytes discarded", *_DISK)
DISK_WAITS: Final = _counter(
    "xen_domain_disk_out_of_requests_total", "Requests that had to wait for a free slot of the backend", *_DISK
)

_VIF: Final = (*_DOMAIN, "vif")
VIF_RX_BYTES: Final = _counter("xen_domain_vif_receive_bytes_total", "Bytes received by the guest", *_VIF)
VIF_RX_PACKETS: Final = _counter("xen_domain_vif_receive_packets_total", "Packets received by the guest", *_VIF)
VIF_RX_ERRORS: Final = _counter("xen_domain_vif_receive_errors_total", "Damaged packets on the way to the guest", *_VIF)
VIF_RX_DROPS: Final = _counter("xen_domain_vif_receive_drops_total", "Packets to the guest that were dropped", *_VIF)
VIF_TX_BYTES: Final = _counter("xen_domain_vif_transmit_bytes_total", "Bytes sent by the guest", *_VIF)
VIF_TX_PACKETS: Final = _counter("xen_domain_vif_transmit_packets_total", "Packets sent by the guest", *_VIF)
VIF_TX_ERRORS: Final = _counter("xen_domain_vif_transmit_errors_total", "Damaged packets from the guest", *_VIF)
VIF_TX_DROPS: Final = _counter("xen_domain_vif_transmit_drops_total", "Packets from the guest that were dropped", *_VIF)
