"""Snapshots of a host and its domains: immutable records, the same from every backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

from pyxen.config import DomainType, SchedulerKind
from pyxen.records.base import Domain_co, OfDomain, Record
from pyxen.records.capabilities import HostCapability

__all__ = [
    "ENDS",
    "RUNS",
    "UNPAUSED",
    "AwaitedStateName",
    "DefinedDomain",
    "DomainInfo",
    "DomainState",
    "DomainStateName",
    "DomainUptime",
    "HostInfo",
    "ShutdownReason",
    "Trigger",
    "TriggerName",
    "XenVersion",
    "decoded_later",
]


class DomainState(StrEnum):
    """State of a domain. Xen keeps several flags; this is the first in the order of this list that is set."""

    DYING = "dying"
    """Being destroyed: only `Host.list` still shows it, until Xen has reclaimed its memory."""
    CRASHED = "crashed"
    """Shut down because it crashed."""
    SHUTDOWN = "shutdown"
    """Shut down; `DomainInfo.shutdown_reason` says how."""
    PAUSED = "paused"
    """Paused by the toolstack, or not yet unpaused after its creation."""
    RUNNING = "running"
    """On a CPU, or ready for one."""
    BLOCKED = "blocked"
    """Idle: every vCPU is waiting."""


DomainStateName: TypeAlias = Literal["dying", "crashed", "shutdown", "paused", "running", "blocked"]
"""The names of the states, for type checkers."""

ENDS: Final = frozenset({DomainState.SHUTDOWN, DomainState.CRASHED})
"""The states of a domain that has ended by itself."""

RUNS: Final = frozenset({DomainState.RUNNING, DomainState.BLOCKED})
"""The states of a domain whose vCPUs can run."""

UNPAUSED: Final = RUNS | ENDS
"""The states of a domain that is not paused, or was not when it ended."""

AwaitedStateName: TypeAlias = DomainStateName | Literal["unpaused"]
"""What `Domain.wait` can wait for, for type checkers."""


class ShutdownReason(IntEnum):
    """Why a domain shut down, as Xen numbers the reasons (SHUTDOWN_* in xen/sched.h).

    As text it is its name in small letters: ``crash``.
    """

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3
    WATCHDOG = 4
    SOFT_RESET = 5

    def __str__(self) -> str:
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(int(self) if spec[-1:] in set("bcdeEfFgGnoxX%") else str(self), spec)


class Trigger(StrEnum):
    """A button or interrupt for `Domain.send_trigger`, as ``xl trigger``; some are for HVM guests only."""

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
    """Wake it up from ACPI suspend to memory (S3)."""


TriggerName: TypeAlias = Literal["power", "sleep", "nmi", "init", "reset", "s3resume"]
"""The names of the triggers, for type checkers."""


@dataclass(frozen=True, slots=True)
class DomainInfo(OfDomain[Domain_co]):
    """A snapshot of a domain, as a line of ``xl list``."""

    domid: int
    """Number of the domain; 0 is dom0. Xen reuses the numbers of destroyed domains."""
    name: str | None
    """Its name; None for a domain without a name, e.g. one that is just being created."""
    uuid: UUID
    """Its uuid; all zero for dom0 and for domains created without a toolstack."""
    state: DomainState
    """Its state."""
    shutdown_reason: ShutdownReason | int | None
    """Why it shut down; None if it has not. An int for a reason that only a newer Xen has."""
    type: DomainType
    """``pv``, ``pvh`` or ``hvm``."""
    memory_kib: int
    """Memory that it currently has, in KiB."""
    maxmem_kib: int
    """Memory that Xen allows it, in KiB; a very large number for dom0 without a limit."""
    vcpus: int
    """vCPUs that the guest has brought online."""
    maxvcpus: int
    """vCPUs that it was created with: the most that it can bring online."""
    cpu_time_ns: int
    """CPU time used by all its vCPUs, in nanoseconds."""
    pool: str | None
    """Name of its CPU pool, as in `DomainConfig.pool`. None if the pool has no name, or the backend does not know."""
    poolid: int | None
    """Number of its CPU pool. None if the backend does not know."""
    ssidref: int
    """Number of its security label (XSM); 0 without XSM."""
    _: KW_ONLY
    claimed_kib: int | None = None
    """Memory that is reserved for it and that it does not have yet, in KiB, as ``xl claims``; None if not known."""
    shared_kib: int | None = None
    """Memory that it shares with other domains (``xl sharing``), in KiB; None if not known."""
    paged_kib: int | None = None
    """Memory that is paged out, in KiB; None if not known."""
    stubdomain_of: int | None = None
    """For a stub domain, which runs the device model of an HVM guest: the domid of that guest. None for all others."""

    if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for a field

        def __getattr__(self, name: str) -> Any:
            # Only for what is not there yet.
            keep = _KEEP_FIELD.get(name)
            if keep is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            source = _source_of(self)
            if name in _OF_LOOKUPS:
                value = source[0][name](source)
                keep(self, value)
                return value
            for field, decode in source[0].items():
                _KEEP_FIELD[field](self, decode(source))
            return getattr(self, name)

    @property
    def is_running(self) -> bool:
        """Whether its vCPUs can run: its state is ``running``, or ``blocked`` because it is idle."""
        return self.state in RUNS


_KEEP_FIELD: Final[dict[str, Callable[[DomainInfo, Any], None]]] = {
    name: vars(DomainInfo)[name].__set__ for name in DomainInfo.__dataclass_fields__
}
_OF_LOOKUPS: Final = frozenset({"domid", "name", "uuid", "state"})
"""Fields that are asked of many domains to find one. Whoever asks for another field will ask for more of them."""

_keep_source: Final[Callable[[DomainInfo, tuple[Any, ...]], None]] = vars(OfDomain)["_source"].__set__
_source_of: Final[Callable[[DomainInfo], tuple[Any, ...]]] = vars(OfDomain)["_source"].__get__


def decoded_later(sources: Iterable[tuple[Any, ...]]) -> list[DomainInfo]:
    """Make snapshots whose fields are worked out when they are first read: a list of many domains takes less time.

    Args:
        sources: For each, a mapping of the fields to functions, and what these need: they are called with this tuple,
            and return the value of their field.
    """
    new, keep, made = object.__new__, _keep_source, []
    for source in sources:
        info = new(DomainInfo)
        keep(info, source)
        made.append(info)
    return made


@dataclass(frozen=True, slots=True)
class DomainUptime(OfDomain[Domain_co]):
    """Since when a domain exists, as a line of ``xl uptime``."""

    domid: int
    """Number of the domain."""
    name: str | None
    """Its name; None for a domain without a name."""
    uuid: UUID
    """Its uuid."""
    start_time: datetime | None
    """When it was created; for dom0, when its kernel was booted. None for a domain that no toolstack has created."""
    uptime_s: float | None
    """Seconds since then, by the clock of the host; None if `start_time` is None."""


class XenVersion(NamedTuple):
    """A version of Xen, comparable: ``info.xen_version_info >= (4, 18)``."""

    major: int
    minor: int
    extra: str
    """What follows the release, e.g. ``.0`` or ``.2-pre``; it may be empty."""


@dataclass(frozen=True, slots=True)
class HostInfo(Record):
    """A snapshot of a host, as ``xl info``. Fields that the backend does not know are None."""

    xen_version: str
    """Version of the running Xen, e.g. ``4.20.0``; see `xen_version_info` for numbers."""
    nr_cpus: int
    """Number of physical CPUs that are online."""
    nr_nodes: int
    """Number of NUMA nodes."""
    cores_per_socket: int
    """Cores per socket."""
    threads_per_core: int
    """Threads per core."""
    cpu_khz: int
    """Frequency of the CPUs, in kHz."""
    memory_kib: int
    """Total memory of the host, in KiB."""
    free_memory_kib: int
    """Memory not assigned to any domain, in KiB; memory that domains have claimed is not included."""
    _: KW_ONLY
    max_cpu_id: int | None = None
    """The largest number that a CPU of this host can have."""
    free_cpus: int | None = None
    """Number of CPUs that belong to no CPU pool."""
    hw_caps: tuple[int, ...] | None = None
    """Features of the CPUs, as eight words of CPUID that depend on the architecture; ``xl info`` prints them in hex."""
    capabilities: frozenset[HostCapability] | None = None
    """What guests can be and do here: the ``virt_caps`` of ``xl info``."""
    scrub_memory_kib: int | None = None
    """Memory that is free and will be scrubbed before it is used again, in KiB; it counts as free."""
    claimed_memory_kib: int | None = None
    """Memory that domains have claimed and do not have yet, in KiB: ``outstanding_claims``."""
    sharing_freed_kib: int | None = None
    """Memory that is saved by sharing pages between domains, in KiB."""
    sharing_used_kib: int | None = None
    """Memory that domains share, in KiB."""
    xen_caps: tuple[str, ...] | None = None
    """Kinds of guests that Xen runs, by its own names, e.g. ``hvm-3.0-x86_64``."""
    xen_scheduler: SchedulerKind | None = None
    """Scheduler of CPU pool 0, which new pools get by default."""
    xen_pagesize: int | None = None
    """Size of a page, in bytes."""
    virt_start: int | None = None
    """Address where Xen's part of the address space of PV guests begins: ``platform_params``."""
    xen_commandline: str | None = None
    """Command line with which Xen was started."""
    xen_changeset: str | None = None
    """Revision of Xen's sources; empty if whoever built it did not say."""
    build_id: str | None = None
    """Build ID of the hypervisor, in hex; empty if it has none."""
    cc_compiler: str | None = None
    """Compiler that built Xen."""
    cc_compile_by: str | None = None
    """User who built Xen."""
    cc_compile_domain: str | None = None
    """Mail domain of that user."""
    cc_compile_date: str | None = None
    """When Xen was built, in the words of the build."""
    hostname: str | None = None
    """Name of the host, in dom0: ``host``."""
    kernel_release: str | None = None
    """Release of dom0's kernel: ``release``."""
    kernel_version: str | None = None
    """Version of dom0's kernel, with the time of its build: ``version``."""
    machine: str | None = None
    """Architecture of dom0, e.g. ``x86_64``."""
    uptime_s: float | None = None
    """Seconds since the boot of dom0, as ``xl uptime`` counts them for dom0."""

    @property
    def xen_version_info(self) -> XenVersion:
        """The version of the running Xen, in numbers.

        Raises:
            ValueError: `xen_version` does not begin with a release.
        """
        parts = re.match(r"(\d+)\.(\d+)(.*)", self.xen_version)
        if parts is None:
            raise ValueError(f"{self.xen_version!r} is not a version of Xen such as '4.20.0'")
        return XenVersion(int(parts[1]), int(parts[2]), parts[3])


@dataclass(frozen=True, slots=True)
class DefinedDomain(Record):
    """A stored configuration, see `Host.define`."""

    name: str
    """Name of the domain."""
    uuid: UUID
    """Its uuid, the same at each start."""
    autostart: bool
    """Whether it is started with its host."""
    domid: int | None
    """Domid of its domain; None if the domain is not running."""
