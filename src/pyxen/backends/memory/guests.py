"""A simulated domain and its guest: state, CPU time, and scheduled actions."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from pyxen._common.needs import paging_kib
from pyxen._common.preconditions import videoram_mib
from pyxen.backends.memory.console import Console, close_all
from pyxen.backends.memory.pools import Pool, default_scheduler
from pyxen.config import CpuSet, Disk, DiskBackend, DomainConfig, DomainType, Scheduler, SchedulerKind
from pyxen.config.vdev import vdev_number
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason
from pyxen.units import mib_to_kib

if TYPE_CHECKING:
    from pyxen.backends.memory.durations import Timing
    from pyxen.backends.memory.qmp import Listener
    from pyxen.records.endpoints import ConsoleType

__all__ = ["LIMIT_ROOM_KIB", "Guest", "about", "is_hvm", "lacks_drivers", "terminal", "vcpu_times"]

LIMIT_ROOM_KIB: Final = 1024
"""The slack that libxl adds to a domain's memory limit in Xen."""

_TERMINALS: Final = 1000
"""Terminals of a domain: number them so high that this machine has no such terminals."""

_IDLE_SHARE: Final = 0.02
_ENDINGS: Final = {word: ShutdownReason[word.upper()] for word in ("poweroff", "reboot", "crash")}
_ASKED: Final = {"poweroff": ShutdownReason.POWEROFF, "reboot": ShutdownReason.REBOOT}


class Surroundings(Protocol):
    """The part of a machine that its guests use."""

    def now(self) -> float:
        """Return the current time."""

    def moment(self) -> datetime:
        """Return the current time as a clock on the wall shows it."""

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Schedule a call for a time."""

    def free_kib(self) -> int:
        """Return the free memory of the host."""

    @property
    def pools(self) -> Mapping[int, Pool]:
        """The CPU pools of the host, by number."""

    def tell_end(self, guest: Guest) -> None:
        """Send the event that a guest has stopped."""

    def note(self, guest: Guest) -> None:
        """Show in xenstore what has changed about a guest."""


class Guest:
    """A domain and the guest in it.

    As in the lab's guests, words on the command line control the guest in tests: after ``poweroff``, ``reboot`` or
    ``crash`` it ends that way once it has booted, and with ``ignore`` it never responds.

    Attributes:
        config: The configuration that it was created from, with later changes, as libxl would keep it.
        host: The machine that the guest runs on.
        asked_backends: The backends that were asked for, and not chosen by libxl, by the numbers of the disks' vdevs.
        answers: Whether the guest responds to requests.
        drivers: Whether it has PV drivers; an HVM guest without them cannot receive requests.
        building: Whether it is still being built; events do not mention it until then.
        gone: Whether it was destroyed.
        videoram_kib: The part of its memory that is its graphics card's. xenstore has the target without it.
        request: A request that the guest has not acknowledged yet.
        started_at: When the domain was created, by the machine's clock.
    """

    def __init__(self, host: Surroundings, domid: int, uuid: UUID, config: DomainConfig, timing: Timing) -> None:
        self.host = host
        self.domid = domid
        self.uuid = uuid
        self.config = config
        self.timing = timing
        self.started_at = host.now()
        words = (config.cmdline or "").split()
        self.ending = next((_ENDINGS[word] for word in words if word in _ENDINGS), None)
        self.answers = "ignore" not in words
        self.drivers = True
        self.building = True
        self.gone = False
        self.booted = False
        self.pauses = 1  # Xen creates domains paused
        self.reason: ShutdownReason | None = None
        self.request: str | None = None
        self.videoram_kib = mib_to_kib(videoram_mib(config))
        self.target_kib = mib_to_kib(config.memory or 0)
        self.memory_kib = self.target_kib
        self.limit_kib = self.target_kib + LIMIT_ROOM_KIB
        self.paging_kib = paging_kib(config)
        self.online = 1
        self.asked_backends: dict[int, DiskBackend] = {}
        self.pins = _pins(config)
        self.nodes: frozenset[int] | None = None
        self.poolid = config.poolid
        self.scheduler = Scheduler()
        self.vcpu_schedulers: dict[int, Scheduler] = {}
        self.notes: dict[str, bytes] = {}
        self.console: Console | None = None
        self.other_consoles: dict[tuple[ConsoleType, int], Console] = {}
        self.vnc_port: int | None = None
        self.qmp: Mapping[str, Any] | Callable[[str, dict[str, Any]], Any] | None = None
        self.listener: Listener | None = None
        self._ran = 0.0
        self._since: float | None = None
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._turn = 0

    def ask_backends(self, disks: Iterable[Disk]) -> None:
        """Keep the backends that are asked for."""
        for disk in disks:
            number = vdev_number(disk.vdev or "") or 0
            self.asked_backends.pop(number, None)
            if disk.backendtype is not None:
                self.asked_backends[number] = disk.backendtype

    # State

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def state(self) -> DomainState:
        """Its state."""
        if self.reason is not None:
            return DomainState.CRASHED if self.reason is ShutdownReason.CRASH else DomainState.SHUTDOWN
        if self.paused:
            return DomainState.PAUSED
        if not self.domid:
            return DomainState.RUNNING  # who looks at it runs in it
        return DomainState.BLOCKED if self.booted else DomainState.RUNNING

    @property
    def paused(self) -> bool:
        """Whether it was paused more often than unpaused."""
        return self.pauses > 0

    @property
    def runs(self) -> bool:
        """Whether its vCPUs run."""
        return not (self.paused or self.gone or self.building or self.reason is not None)

    @property
    def ready(self) -> bool:
        """Whether it can receive requests."""
        return self.booted and self.answers and self.drivers

    def ran(self) -> float:
        """Return how long it has run, in seconds."""
        return self._ran + (0.0 if self._since is None else self.host.now() - self._since)

    def cpu_time_ns(self) -> int:
        """Return its CPU time: all of the time it ran while booting, and a small share of the time since."""
        ran = self.ran()
        busy = min(ran, self.timing.boot)
        return int((busy + (ran - busy) * _IDLE_SHARE) * 1e9)

    def affinity(self, vcpu: int) -> tuple[CpuSet | None, CpuSet | None]:
        """Return the CPUs on which a vCPU may run, and those that it prefers; None is any CPU."""
        return self.pins.get(vcpu, (None, None))

    def schedule_as(self, kind: SchedulerKind, given: Scheduler | None = None) -> None:
        """Put it under a scheduler, with its default parameters where none are given."""
        said = {} if given is None else {name: value for name, value in given.non_defaults() if name != "kind"}
        defaults = default_scheduler(kind)
        knows = {name for name, _ in defaults.non_defaults()} | {"weight", "cap"}
        self.scheduler = defaults.replace(**{name: value for name, value in said.items() if name in knows})
        self.vcpu_schedulers.clear()

    def info(self) -> DomainInfo:
        """Return its entry in the host's list."""
        return DomainInfo(
            domid=self.domid,
            name=self.name,
            uuid=self.uuid,
            state=self.state,
            shutdown_reason=self.reason,
            type=self.config.type,
            memory_kib=self.memory_kib,
            maxmem_kib=self.limit_kib,
            vcpus=self.online,
            maxvcpus=self.config.effective_maxvcpus,
            cpu_time_ns=self.cpu_time_ns(),
            pool=self.host.pools[self.poolid].name,
            poolid=self.poolid,
            ssidref=self.config.ssidref,
            claimed_kib=0,
            shared_kib=0,
            paged_kib=0,
        )

    # Actions on the domain

    def begin(self) -> None:
        """Schedule the boot, which starts as soon as the domain runs."""
        self.booted = False
        self._plan(self.timing.boot, self.boot)

    def set_paused(self, paused: bool) -> None:
        """Pause or unpause it, whatever its pause count."""
        self.pauses = int(paused)
        self.settle()

    def pause(self) -> None:
        """Increase the pause count."""
        self.pauses += 1
        self.settle()

    def unpause(self) -> None:
        """Decrease the pause count; the domain runs when the count is 0."""
        self.pauses -= 1
        self.settle()

    def settle(self) -> None:
        """Start or stop its time, depending on whether it runs."""
        if self.runs and self._since is None:
            self._since = self.host.now()
            self._arm()
        elif not self.runs and self._since is not None:
            self._ran, self._since = self.ran(), None
            self._turn += 1

    def end(self, reason: ShutdownReason) -> None:
        """End the guest, with a shutdown reason."""
        if self.gone or self.reason is not None:
            return
        self.reason = reason
        self.request = None
        if reason is not ShutdownReason.SUSPEND:
            self._plans.clear()
        self.settle()
        self.host.tell_end(self)

    def go_on(self) -> None:
        """Resume after a suspend."""
        self.reason = None
        self.settle()

    def ask(self, what: str) -> None:
        """Send a request: ``poweroff``, ``reboot`` or ``suspend``. It replaces an earlier request."""
        self.request = what
        self.host.note(self)
        if self.ready:
            self._plan(self.timing.answer, self._acknowledge)

    def withdraw(self) -> None:
        """Take back a request that the guest has not acknowledged."""
        self.request = None
        self.host.note(self)

    def press(self, reason: ShutdownReason) -> None:
        """Press a button, to which the guest responds after a while if it responds at all."""
        if self.booted and self.answers:
            self._plan(self.timing.answer + self.timing.stop, lambda: self.end(reason))

    def follow(self) -> None:
        """Schedule the guest's adjustment to new settings of memory and vCPUs."""
        if self.ready:
            self._plan(self.timing.answer, self._follow)

    def soon(self, call: Callable[[], None]) -> None:
        """Schedule a small task of the guest, if it receives requests."""
        if self.ready:
            self._plan(self.timing.answer, call)

    # Actions of the guest

    def boot(self) -> None:
        """Complete the boot."""
        if self.booted:
            return
        self.booted = True
        self.host.note(self)
        if self.console is not None:
            self.console.write(f"\r\n{self.name} login: ".encode())
        self._follow_now()
        if self.ending is not None:
            self.end(self.ending)
        elif self.request is not None and self.ready:
            self._plan(self.timing.answer, self._acknowledge)

    def _acknowledge(self) -> None:
        what, self.request = self.request, None
        self.host.note(self)
        if what == "suspend":
            self.end(ShutdownReason.SUSPEND)
        elif what is not None:
            self._plan(self.timing.stop, lambda: self.end(_ASKED[what]))

    def _follow(self) -> None:
        if self.ready:
            self._follow_now()

    def _follow_now(self) -> None:
        self.online = min(self.config.vcpus, self.config.effective_maxvcpus)
        if self.answers:
            room = self.memory_kib + self.host.free_kib()
            self.memory_kib = min(self.target_kib, self.limit_kib, room)

    # Scheduling

    def _plan(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (self.ran() + delay, next(self._count), call))
        self._arm()

    def _arm(self) -> None:
        if self._plans and self._since is not None:
            self._turn += 1
            turn, left = self._turn, max(0.0, self._plans[0][0] - self.ran())
            self.host.at(self.host.now() + left, lambda: self._due(turn))

    def _due(self, turn: int) -> None:
        if turn != self._turn or not self._plans:
            return
        call = heapq.heappop(self._plans)[2]
        call()
        self._arm()

    def drop(self) -> None:
        """Mark the domain as gone, and release its resources."""
        self.gone = True
        self.settle()
        close_all(self)


def about(guest: Guest) -> dict[str, Any]:
    """Return the fields that every event of a domain has."""
    return {"domid": guest.domid, "uuid": guest.uuid, "name": guest.name, "time": guest.host.moment()}


def _pins(config: DomainConfig) -> dict[int, tuple[CpuSet | None, CpuSet | None]]:
    """Return the CPUs on which each vCPU may run and those that it prefers, as the configuration says."""
    hard, soft = config.cpus, config.cpus_soft
    return {
        vcpu: (_of_vcpu(hard, vcpu), _of_vcpu(soft, vcpu))
        for vcpu in range(config.effective_maxvcpus)
        if _of_vcpu(hard, vcpu) is not None or _of_vcpu(soft, vcpu) is not None
    }


def _of_vcpu(given: CpuSet | tuple[CpuSet, ...] | None, vcpu: int) -> CpuSet | None:
    if isinstance(given, tuple):
        return given[vcpu] if vcpu < len(given) else None
    return given


def vcpu_times(guest: Guest) -> tuple[int, ...]:
    """Return the CPU time of each vCPU: the online vCPUs have equal shares, and the first has the remainder."""
    share, rest = divmod(guest.cpu_time_ns(), guest.online)
    offline = guest.config.effective_maxvcpus - guest.online
    return (share + rest, *[share] * (guest.online - 1), *[0] * offline)


def terminal(guest: Guest, place: int) -> str:
    """Return the path of a terminal of a domain, for a console or a channel."""
    return f"/dev/pts/{guest.domid * _TERMINALS + _TERMINALS * 100 + place}"


def lacks_drivers(guest: Guest) -> bool:
    """Tell whether this is an HVM guest without PV drivers, or one that has not booted so far that it has them."""
    return is_hvm(guest) and not (guest.drivers and guest.booted)


def is_hvm(guest: Guest) -> bool:
    """Tell whether this is an HVM guest."""
    return guest.config.type is DomainType.HVM
