"""The guest in a domain of a `FakeHost`, under the control of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pyxen._common.arguments import check_is
from pyxen._durations import duration
from pyxen.backends.memory.console import Console
from pyxen.backends.memory.engine import Script
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.qmp import report
from pyxen.config import CpuSet
from pyxen.errors import DomainNotFound
from pyxen.operation import Operation, check_may_wait
from pyxen.records.info import ShutdownReason

__all__ = ["FakeGuest", "on_thread"]

T = TypeVar("T")


class FakeGuest:
    """The guest in a domain, returned by `FakeHost.guest`. When a method returns, its effect has taken place."""

    def __init__(self, machine: Machine, guest: Guest) -> None:
        self._machine = machine
        self._guest = guest

    def __repr__(self) -> str:
        return f"<FakeGuest {self._guest.domid} {self._guest.name}>"

    @property
    def answers(self) -> bool:
        """Whether it obeys requests to shut down, reboot, suspend or release a device. Initially True.

        Set it to False to simulate a guest that hangs.
        """
        return self._guest.answers

    @answers.setter
    def answers(self, answers: bool) -> None:
        with self._machine.lock:
            self._guest.answers = answers

    @property
    def drivers(self) -> bool:
        """Whether it has PV drivers. An HVM guest without them cannot be asked for anything (`NoGuestDriver`)."""
        return self._guest.drivers

    @drivers.setter
    def drivers(self, drivers: bool) -> None:
        with self._machine.lock:
            self._guest.drivers = drivers

    @property
    def booted(self) -> bool:
        """Whether it has booted. Before that it answers no requests."""
        return self._guest.booted

    @property
    def pins(self) -> dict[int, tuple[CpuSet | None, CpuSet | None]]:
        """The CPUs on which each vCPU may run and those it prefers, as set by `Domain.pin_vcpu`."""
        with self._machine.lock:
            return dict(self._guest.pins)

    @property
    def typed(self) -> bytes:
        """Everything that was written to its console."""
        console = self._guest.console
        return b"" if console is None else bytes(console.typed)

    @property
    def qmp(self) -> Mapping[str, Any] | Callable[[str, dict[str, Any]], Any] | None:
        """What its QEMU answers to `Qmp.execute`, and to `Domain.monitor_command` as ``human-monitor-command``.

        A mapping has the answers by the names of commands. A function gets the command and its arguments, on the host's
        own thread; it returns NotImplemented for a command that it does not know. An answer that is an exception, such
        as a `QmpError`, is raised. To what has no answer QEMU says that it has no such command, but to
        ``query-status``. Initially None: no answers.
        """
        return self._guest.qmp

    @qmp.setter
    def qmp(self, answers: Mapping[str, Any] | Callable[[str, dict[str, Any]], Any] | None) -> None:
        if answers is not None and not isinstance(answers, Mapping):
            check_is(Callable, answers, "qmp", ": give answers by command, a function, or None")  # type: ignore[arg-type]  # a class in effect
        with self._machine.lock:
            self._guest.qmp = answers

    def qmp_event(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Let its QEMU report an event, to whoever reads `Qmp.events` now."""
        check_is(str, name, "qmp_event")
        self._do(lambda: report(self._machine, self._guest, name, data or {}))

    def boot(self) -> None:
        """Finish booting."""
        self._do(self._guest.boot)

    def power_off(self) -> None:
        """Power off by itself."""
        self.end(ShutdownReason.POWEROFF)

    def reboot(self) -> None:
        """Reboot by itself."""
        self.end(ShutdownReason.REBOOT)

    def crash(self) -> None:
        """Crash."""
        self.end(ShutdownReason.CRASH)

    def end(self, reason: ShutdownReason, *, after: float = 0) -> None:
        """Stop by itself, for any reason.

        Args:
            reason: Why it stops.
            after: Delay in seconds of the host's time. If more than 0, this returns at once.
        """
        check_is(ShutdownReason, reason, "end")
        if duration(after, "after", operation="end") > 0:
            self._machine.at(self._machine.now() + after, lambda: self._guest.end(reason))
        else:
            self._do(lambda: self._guest.end(reason))

    def say(self, data: bytes) -> None:
        """Write to its console, as output of the guest."""
        check_is(bytes, data, "say", ": encode text yourself")

        def write() -> None:
            if self._guest.console is None:
                self._guest.console = Console()
            self._guest.console.write(data)

        self._do(write)

    def _do(self, call: Callable[[], None]) -> None:
        if self._guest.gone:
            raise DomainNotFound("its domain is gone", operation="guest", domain=self._guest.name)
        on_thread(self._machine, call)


def on_thread(machine: Machine, call: Callable[[], T]) -> T:
    """Call a function on the host's own thread. When this returns, all resulting events have been reported."""

    def script() -> Script[T]:
        yield from ()
        return call()

    check_may_wait("guest", "nothing was done. Do it on another thread", completer=machine.engine)
    return machine.engine.run(Operation("test"), script(), machine).wait()
