"""A domain on a host in memory, and the guest in it: what it is, and what it does when its time has come."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from pyxen.config import CpuSet, DomainConfig, DomainType, Scheduler
from pyxen.info import DomainInfo, DomainState, ShutdownReason
from pyxen.units import mib_to_kib

if TYPE_CHECKING:
    from pyxen.backends.memory.console import Console
    from pyxen.backends.memory.durations import Timing

__all__ = ["LIMIT_ROOM_KIB", "Guest", "is_hvm", "vcpu_times"]

LIMIT_ROOM_KIB: Final = 1024
"""What Xen allows a domain beyond its memory, as libxl does."""

_IDLE_SHARE: Final = 0.02
_ENDINGS: Final = {word: ShutdownReason[word.upper()] for word in ("poweroff", "reboot", "crash")}
_ASKED: Final = {"poweroff": ShutdownReason.POWEROFF, "reboot": ShutdownReason.REBOOT}


class Surroundings(Protocol):
    """What guests need of the machine that they are on."""

    def now(self) -> float:
        """Return the time."""

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Have something called at a time."""

    def free_kib(self) -> int:
        """Return the memory that no domain has."""

    def tell_end(self, guest: Guest) -> None:
        """Tell that a guest has stopped."""


class Guest:
    """A domain, and the guest in it.

    Its command line may have a word of its own for tests, as those of the guests of the lab: ``poweroff``, ``reboot``
    and ``crash`` say what it does when it has booted, with ``ignore`` it never answers.

    Attributes:
        config: What it was made from and what changed since, as libxl would keep it.
        host: What it asks of the machine: the time, being woken up, memory, to be told of.
        answers: Whether the guest answers when it is asked for something.
        drivers: Whether it has PV drivers, without which an HVM guest cannot be asked.
        building: Whether it is still being built, and events do not mention it yet.
        gone: Whether it was destroyed.
        request: What it was asked for and has not taken note of.
    """

    def __init__(self, host: Surroundings, domid: int, uuid: UUID, config: DomainConfig, timing: Timing) -> None:
        self.host = host
        self.domid = domid
        self.uuid = uuid
        self.config = config
        self.timing = timing
        words = (config.cmdline or "").split()
        self.ending = next((_ENDINGS[word] for word in words if word in _ENDINGS), None)
        self.answers = "ignore" not in words
        self.drivers = True
        self.building = True
        self.gone = False
        self.booted = False
        self.pauses = 1  # as Xen makes domains
        self.reason: ShutdownReason | None = None
        self.request: str | None = None
        self.target_kib = mib_to_kib(config.memory or 0)
        self.memory_kib = self.target_kib
        self.limit_kib = self.target_kib + LIMIT_ROOM_KIB
        self.online = 1
        self.pins: dict[int, tuple[CpuSet | None, CpuSet | None]] = {}
        self.scheduler = Scheduler(weight=256, cap=0).replace(**dict(config.scheduler.non_defaults()))
        self.notes: dict[str, bytes] = {}
        self.console: Console | None = None
        self._ran = 0.0
        self._since: float | None = None
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._turn = 0

    # What it looks like

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def state(self) -> DomainState:
        """What it is doing."""
        if self.reason is not None:
            return DomainState.CRASHED if self.reason is ShutdownReason.CRASH else DomainState.SHUTDOWN
        if self.paused:
            return DomainState.PAUSED
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
        """Whether it hears what it is asked for."""
        return self.booted and self.answers and self.drivers

    def ran(self) -> float:
        """Return for how long it has run, in seconds."""
        return self._ran + (0.0 if self._since is None else self.host.now() - self._since)

    def cpu_time_ns(self) -> int:
        """Return the CPU time that it has used."""
        ran = self.ran()
        busy = min(ran, self.timing.boot)
        return int((busy + (ran - busy) * _IDLE_SHARE) * 1e9)

    def info(self) -> DomainInfo:
        """Return what a host lists of it."""
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
            cpupool=self.config.poolid,
            ssidref=self.config.ssidref,
        )

    # What is done to it

    def begin(self) -> None:
        """Begin to boot, as soon as it runs."""
        self.booted = False
        self._plan(self.timing.boot, self.boot)

    def set_paused(self, paused: bool) -> None:
        """Pause it, or let it run, however often it was paused."""
        self.pauses = int(paused)
        self.settle()

    def pause(self) -> None:
        """Pause it once more."""
        self.pauses += 1
        self.settle()

    def unpause(self) -> None:
        """Take back one pause; it runs when none is left."""
        self.pauses -= 1
        self.settle()

    def settle(self) -> None:
        """Note whether it may run."""
        if self.runs and self._since is None:
            self._since = self.host.now()
            self._arm()
        elif not self.runs and self._since is not None:
            self._ran, self._since = self.ran(), None
            self._turn += 1

    def end(self, reason: ShutdownReason) -> None:
        """Stop by itself."""
        if self.gone or self.reason is not None:
            return
        self.reason = reason
        self.request = None
        if reason is not ShutdownReason.SUSPEND:
            self._plans.clear()
        self.settle()
        self.host.tell_end(self)

    def go_on(self) -> None:
        """Go on after a suspend."""
        self.reason = None
        self.settle()

    def ask(self, what: str) -> None:
        """Ask it for something: ``poweroff``, ``reboot``, ``suspend``; what it was asked for before is forgotten."""
        self.request = what
        if self.ready:
            self._plan(self.timing.answer, self._take_note)

    def press(self, reason: ShutdownReason) -> None:
        """Press a button that the guest follows in its time, if it does."""
        if self.booted and self.answers:
            self._plan(self.timing.answer + self.timing.stop, lambda: self.end(reason))

    def follow(self) -> None:
        """Do in its time what it was told of memory and vCPUs."""
        if self.ready:
            self._plan(self.timing.answer, self._follow)

    def soon(self, call: Callable[[], None]) -> None:
        """Do something in its time, if it listens."""
        if self.ready:
            self._plan(self.timing.answer, call)

    # What it does

    def boot(self) -> None:
        """Have booted."""
        if self.booted:
            return
        self.booted = True
        if self.console is not None:
            self.console.write(f"\r\n{self.name} login: ".encode())
        self._follow_now()
        if self.ending is not None:
            self.end(self.ending)
        elif self.request is not None and self.ready:
            self._plan(self.timing.answer, self._take_note)

    def _take_note(self) -> None:
        what, self.request = self.request, None
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
            self.memory_kib = min(self.target_kib, room)

    # Its time

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
        """Let go of what it has: it is gone."""
        self.gone = True
        self.settle()
        if self.console is not None:
            self.console.close()


def vcpu_times(guest: Guest) -> tuple[int, ...]:
    """Return the CPU time of each vCPU; those that are online share evenly, and the first has the rest."""
    share, rest = divmod(guest.cpu_time_ns(), guest.online)
    offline = guest.config.effective_maxvcpus - guest.online
    return (share + rest, *[share] * (guest.online - 1), *[0] * offline)


def is_hvm(guest: Guest) -> bool:
    """Tell whether it is an HVM guest."""
    return guest.config.type is DomainType.HVM
