"""What a host and its domains look like at one moment: immutable records, the same from every backend."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Literal, TypeAlias
from uuid import UUID

from pyxen._records import OfDomain, Record
from pyxen.config import DomainType

__all__ = [
    "ENDS",
    "DefinedDomain",
    "DiskStats",
    "DomainInfo",
    "DomainState",
    "DomainStateName",
    "DomainStats",
    "HostInfo",
    "ShutdownReason",
    "Trigger",
    "TriggerName",
    "VifStats",
]


class DomainState(StrEnum):
    """State of a domain. Xen keeps several flags; this is the one that says most, in the order of this list."""

    DYING = "dying"
    """Being destroyed: gone for all but `Host.list`, which shows it until Xen has its memory back."""
    CRASHED = "crashed"
    """Shut down, because it crashed."""
    SHUTDOWN = "shutdown"
    """Shut down; `DomainInfo.shutdown_reason` says how."""
    PAUSED = "paused"
    """Paused by the toolstack, or not yet unpaused after its creation."""
    RUNNING = "running"
    """On a CPU, or ready for one."""
    BLOCKED = "blocked"
    """Idle: every vCPU waits for something."""


DomainStateName: TypeAlias = Literal["dying", "crashed", "shutdown", "paused", "running", "blocked"]
"""The names of the states, for type checkers."""

ENDS: Final = frozenset({DomainState.SHUTDOWN, DomainState.CRASHED})
"""The states of a domain that has stopped by itself."""


class ShutdownReason(IntEnum):
    """How a domain shut down, by Xen's numbers (SHUTDOWN_* of xen/sched.h)."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3
    WATCHDOG = 4
    SOFT_RESET = 5


class Trigger(StrEnum):
    """What `Domain.send_trigger` can do to a domain, as ``xl trigger``; some are for HVM guests only."""

    POWER = "power"
    """Press the ACPI power button."""
    SLEEP = "sleep"
    """Press the ACPI sleep button."""
    NMI = "nmi"
    """Send a vCPU a non-maskable interrupt."""
    INIT = "init"
    """Send a vCPU an INIT."""
    RESET = "reset"
    """Press the reset button."""
    S3RESUME = "s3resume"
    """Wake it up from ACPI's suspend to memory."""


TriggerName: TypeAlias = Literal["power", "sleep", "nmi", "init", "reset", "s3resume"]
"""The names of the triggers, for type checkers."""


@dataclass(frozen=True, slots=True)
class DomainInfo(OfDomain):
    """A domain at one moment, as a line of ``xl list``."""

    domid: int
    """Number of the domain; 0 is dom0. Xen reuses the numbers of domains that are gone."""
    name: str | None
    """Its name; None for a domain without one, e.g. one that is just being made."""
    uuid: UUID
    """Its uuid; all zero for dom0 and for domains made without a toolstack."""
    state: DomainState
    """What it is doing."""
    shutdown_reason: ShutdownReason | int | None
    """How it shut down; None while it has not. An int for reasons of a newer Xen."""
    type: DomainType
    """``pv``, ``pvh`` or ``hvm``."""
    memory_kib: int
    """Memory that it has now, in KiB."""
    maxmem_kib: int
    """Memory that Xen allows it, in KiB; a very large number for dom0 without a limit."""
    vcpus: int
    """vCPUs that the guest has brought online."""
    maxvcpus: int
    """vCPUs that it was made with."""
    cpu_time_ns: int
    """CPU time that it has used, over all vCPUs, in nanoseconds."""
    cpupool: int
    """Number of its CPU pool."""
    ssidref: int
    """Security label's number (XSM); 0 without XSM."""


@dataclass(frozen=True, slots=True)
class HostInfo(Record):
    """A host at one moment, as ``xl info``."""

    xen_version: str
    """Version of the running Xen, e.g. ``4.20.0``."""
    nr_cpus: int
    """Physical CPUs that are online."""
    nr_nodes: int
    """NUMA nodes."""
    cores_per_socket: int
    """Cores in a socket."""
    threads_per_core: int
    """Threads of a core."""
    cpu_khz: int
    """Frequency of the CPUs, in kHz."""
    memory_kib: int
    """All memory of the host, in KiB."""
    free_memory_kib: int
    """Memory that no domain has, in KiB, without what is promised to domains (claims)."""


@dataclass(frozen=True, slots=True)
class DiskStats(Record):
    """What a domain has read and written on a disk, since it has that disk."""

    vdev: str
    """The disk."""
    read_requests: int
    """Requests to read."""
    read_bytes: int
    """Bytes read."""
    write_requests: int
    """Requests to write."""
    write_bytes: int
    """Bytes written."""


@dataclass(frozen=True, slots=True)
class VifStats(Record):
    """What a domain has received and sent over a vif, seen from the guest, since it has that vif."""

    devid: int
    """Number of the vif, from 0."""
    rx_bytes: int
    """Bytes that the guest received."""
    rx_packets: int
    """Packets that it received."""
    rx_errors: int
    """Packets for it that were damaged."""
    rx_dropped: int
    """Packets for it that found no room."""
    tx_bytes: int
    """Bytes that the guest sent."""
    tx_packets: int
    """Packets that it sent."""
    tx_errors: int
    """Packets of it that were damaged."""
    tx_dropped: int
    """Packets of it that were dropped on their way out."""


@dataclass(frozen=True, slots=True)
class DomainStats(Record):
    """What a domain has used so far: counters that only grow, as ``xl top`` shows them."""

    cpu_time_ns: int
    """CPU time over all vCPUs, in nanoseconds."""
    vcpu_times_ns: tuple[int, ...]
    """CPU time of each vCPU, in nanoseconds; empty where the backend does not know."""
    memory_kib: int
    """Memory that it has now, in KiB."""
    disks: tuple[DiskStats, ...]
    """Its disks, by vdev."""
    vifs: tuple[VifStats, ...]
    """Its vifs, by devid."""


@dataclass(frozen=True, slots=True)
class DefinedDomain(Record):
    """A configuration that a manager keeps, see `Host.define`."""

    name: str
    """Name of the domain."""
    uuid: UUID
    """Its uuid, the same each time it is started."""
    autostart: bool
    """Whether it is started with its host."""
    domid: int | None
    """Domid of its domain; None while that does not run."""
