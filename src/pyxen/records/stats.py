"""Statistics of domains: what a domain has used so far, and its rates between two moments."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Generic

from pyxen.config import DiskBackend
from pyxen.records.base import Domain_co, Record
from pyxen.records.info import DomainInfo

__all__ = ["DeviceState", "DiskRates", "DiskStats", "DomainRates", "DomainStats", "VifRates", "VifStats"]


class DeviceState(StrEnum):
    """State of one end of a device, by the names of Xen's protocol (``enum xenbus_state``)."""

    UNKNOWN = "unknown"
    """The device is gone or was never set up, or its state is not one of the protocol's."""
    INITIALISING = "initialising"
    """This end has not begun to set it up."""
    INIT_WAIT = "init_wait"
    """The backend waits for the guest's driver, or for the hotplug script."""
    INITIALISED = "initialised"
    """This end is ready to connect."""
    CONNECTED = "connected"
    """It is in use; for a backend: the guest can use it."""
    CLOSING = "closing"
    """It is being disconnected."""
    CLOSED = "closed"
    """It is disconnected."""
    RECONFIGURING = "reconfiguring"
    """Parts of it are being replaced."""
    RECONFIGURED = "reconfigured"
    """Parts of it were replaced."""


@dataclass(frozen=True, slots=True)
class DiskStats(Record):
    """I/O of a domain on one disk, since the disk was attached. Counters that the backend does not have are None."""

    vdev: str
    """vdev of the disk."""
    read_requests: int | None
    """Read requests."""
    read_bytes: int | None
    """Bytes read."""
    write_requests: int | None
    """Write requests."""
    write_bytes: int | None
    """Bytes written."""
    _: KW_ONLY
    flush_requests: int | None = None
    """Requests to write cached data to the medium."""
    discard_requests: int | None = None
    """Requests to discard (trim) blocks."""
    discard_bytes: int | None = None
    """Bytes discarded; only QEMU counts them."""
    out_of_requests: int | None = None
    """How often a request had to wait because the backend had no free slot (xentop's ``VBD_OO``); only ``phy``."""
    backend: DiskBackend | None = None
    """What serves the disk: ``phy`` is dom0's kernel, ``qdisk`` is QEMU. None if the backend does not know."""
    state: DeviceState | None = None
    """State of its backend; None if the backend does not know."""
    error: str | None = None
    """What its backend reported when it could not be connected; None if there is no error."""


@dataclass(frozen=True, slots=True)
class VifStats(Record):
    """Traffic of a domain on one vif, from the guest's point of view, since the vif was attached."""

    devid: int
    """Number of the vif, from 0."""
    rx_bytes: int
    """Bytes received by the guest."""
    rx_packets: int
    """Packets received by the guest."""
    rx_errors: int
    """Damaged packets on the way to the guest."""
    rx_dropped: int
    """Packets to the guest dropped for lack of buffer space."""
    tx_bytes: int
    """Bytes sent by the guest."""
    tx_packets: int
    """Packets sent by the guest."""
    tx_errors: int
    """Damaged packets from the guest."""
    tx_dropped: int
    """Packets from the guest dropped on the way out."""


@dataclass(frozen=True, slots=True)
class DomainStats(Record, Generic[Domain_co]):
    """Resources that a domain has used so far, as ``xl top`` shows them. Counters only grow while a device is attached.

    `Sampler` turns them into rates.
    """

    info: DomainInfo[Domain_co]
    """The domain, as `Host.list` returns it."""
    monotonic_ns: int
    """When the domain was looked at, on the clock of `time.monotonic_ns`; the clock of a `FakeHost` is its own."""
    vcpu_times_ns: tuple[int, ...]
    """CPU time of each vCPU, in nanoseconds; empty if the backend does not know."""
    vcpus_online: tuple[bool, ...]
    """Whether each vCPU is online; empty if the backend does not know."""
    disks: tuple[DiskStats, ...]
    """Its disks, ordered by vdev."""
    vifs: tuple[VifStats, ...]
    """Its vifs, ordered by devid."""

    @property
    def cpu_time_ns(self) -> int:
        """CPU time used by all vCPUs, in nanoseconds."""
        return self.info.cpu_time_ns

    @property
    def memory_kib(self) -> int:
        """Memory that it currently has, in KiB."""
        return self.info.memory_kib


@dataclass(frozen=True, slots=True)
class DiskRates(Record):
    """I/O of a domain on one disk, per second. A rate is None if its counter is not known at both moments."""

    vdev: str
    """vdev of the disk."""
    read_requests_per_s: float | None
    """Read requests per second."""
    read_bytes_per_s: float | None
    """Bytes read per second."""
    write_requests_per_s: float | None
    """Write requests per second."""
    write_bytes_per_s: float | None
    """Bytes written per second."""


@dataclass(frozen=True, slots=True)
class VifRates(Record):
    """Traffic of a domain on one vif, from the guest's point of view, per second."""

    devid: int
    """Number of the vif, from 0."""
    rx_bytes_per_s: float
    """Bytes received per second."""
    rx_packets_per_s: float
    """Packets received per second."""
    tx_bytes_per_s: float
    """Bytes sent per second."""
    tx_packets_per_s: float
    """Packets sent per second."""


@dataclass(frozen=True, slots=True)
class DomainRates(Record, Generic[Domain_co]):
    """What a domain used between two samples, per second. No rate is negative. See `Sampler`."""

    stats: DomainStats[Domain_co]
    """The later of the two samples."""
    seconds: float
    """Time between the two samples, in seconds."""
    cpu_percent: float
    """CPU time in percent of one CPU: 200 for a domain that kept two CPUs busy."""
    host_cpu_percent: float
    """CPU time in percent of all CPUs of the host."""
    read_requests_per_s: float
    """Read requests per second of all disks whose counters are known."""
    read_bytes_per_s: float
    """Bytes read per second from these disks."""
    write_requests_per_s: float
    """Write requests per second of these disks."""
    write_bytes_per_s: float
    """Bytes written per second to these disks."""
    rx_bytes_per_s: float
    """Bytes received per second on all vifs."""
    tx_bytes_per_s: float
    """Bytes sent per second on all vifs."""
    disks: tuple[DiskRates, ...]
    """The rates of each disk."""
    vifs: tuple[VifRates, ...]
    """The rates of each vif."""
