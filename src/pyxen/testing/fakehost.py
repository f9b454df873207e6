"""A host for tests: it behaves as a real one, except where a test says otherwise."""

from __future__ import annotations

import _thread
import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import Final, Literal
from uuid import UUID

from pyxen import connection
from pyxen.aio.connection import Connecting
from pyxen.aio.connection import connect as connect_aio
from pyxen.backends.base import Backend
from pyxen.backends.memory.address import forget, register
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.backends.memory.clock import RealClock, VirtualClock
from pyxen.backends.memory.durations import LIFELIKE, QUICK
from pyxen.backends.memory.lifecycle import new_guest
from pyxen.backends.memory.machine import Fault, Machine
from pyxen.domain import Domain
from pyxen.domains import DomainKey
from pyxen.errors import ConnectFailed, HostClosed, InvalidArgument
from pyxen.host import Host
from pyxen.operation import Operation
from pyxen.testing.fakeguest import FakeGuest, on_thread

__all__ = ["FakeHost"]

_FOREVER: Final = -1

_VERBS: Final = {name for name in vars(Backend) if not name.startswith("_")} - {
    "close",
    "domain_info",
    "features",
    "migrate",
    "migrate_over",
    "monitor_command",
    "name",
    "receive_migration",
    "remus",
    "remus_over",
    "subscribe",
    "uri",
} | {"events"}

_number = itertools.count(1)


class FakeHost(Host):
    """A `pyxen.Host` in memory, and what a test can do to it.

    ::

        with FakeHost() as xen:
            xen.fail("create", NotEnoughMemory("no room"))
            with pytest.raises(NotEnoughMemory):
                my_tool(xen)

    Its time is virtual: it stands still until someone waits for an operation, and jumps then to what happens next. So a
    guest that takes a minute to shut down takes no time at all, a ``timeout=60`` that passes passes at once, and all is
    the same each time. A program that waits in other ways, for events or by looking again and again, waits until the
    test lets time pass, with `advance`; or take ``time="real"``, where guests take some hundredths of a second.

    Args:
        memory: The host's memory, in MiB; dom0 has 512 of it.
        cpus: Its CPUs.
        seed: What uuids and MAC addresses come from.
        xen: The release of Xen that it is said to run.
        time: ``virtual`` or ``real``.

    Attributes:
        missing: Files that are not on the host; all others are.

    Raises:
        InvalidArgument: No host can be like that.
    """

    def __init__(
        self,
        *,
        memory: int = 4096,
        cpus: int = 4,
        seed: int = 0,
        xen: str = "4.20.0",
        time: Literal["virtual", "real"] = "virtual",
    ) -> None:
        self._key = f"fake-{next(_number)}"
        self._clock = VirtualClock() if time == "virtual" else None
        self._machine = Machine(
            f"memory:///{self._key}",
            memory=memory,
            cpus=cpus,
            seed=seed,
            xen=xen,
            clock=self._clock or RealClock(),
            timing=QUICK if self._clock is None else LIFELIKE,
        )
        self.missing: set[str] = set()
        missing = self.missing
        self._machine.exists = lambda path: path not in missing
        register(self._key, self._machine)
        super().__init__(MemoryBackend(self._machine))

    def close(self) -> None:
        """Let go of the host; its `uri` leads nowhere from now on. Calling it again does nothing."""
        forget(self._key)
        super().close()
        self._machine.hang_up()

    def __del__(self) -> None:
        super().__del__()
        if hasattr(self, "_key") and not sys.is_finalizing():
            _thread.start_new_thread(forget, (self._key,))  # it takes a lock, which this very thread may hold

    def aio(self) -> Connecting:
        """Open this same host for asyncio: ``async with fake.aio() as xen``."""
        return connect_aio(self.uri)

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[FakeHost]:
        """Let `pyxen.connect` and `pyxen.aio.connect` lead here, whatever URI they get, in the whole process."""
        before = connection.open_backend

        def open_this(uri: str, workers: int) -> Backend:  # noqa: ARG001 (as open_backend)
            return MemoryBackend(self._machine)

        connection.open_backend = open_this
        try:
            yield self
        finally:
            connection.open_backend = before

    def guest(self, key: DomainKey | Domain) -> FakeGuest:
        """Return the guest in a domain, to make it do something.

        Args:
            key: The domain: its name, domid, uuid, or a handle.

        Raises:
            DomainNotFound: There is none.
        """
        domid = key.domid if isinstance(key, Domain) else self.domains[key].domid
        with self._machine.lock:
            return FakeGuest(self._machine, self._machine.domains[domid])

    def fail(
        self, verb: str, error: Exception, *, domain: str | int | UUID | None = None, times: int | None = 1
    ) -> None:
        """Let a verb fail, the next time it is called: nothing of it happens.

        Args:
            verb: A method of `Host` or `Domain`: ``create``, ``shutdown``, ``list`` …
            error: What it raises.
            domain: Only for this domain, by name, domid or uuid. None is any.
            times: How often; None is always.

        Raises:
            InvalidArgument: There is no such verb.
        """
        if verb not in _VERBS:
            raise InvalidArgument(f"{verb!r} is no verb: it takes {', '.join(sorted(_VERBS))}", operation="fail")
        with self._machine.lock:
            name = None if domain is None else str(domain)
            self._machine.faults.append(Fault(verb, error, name, _FOREVER if times is None else times))

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that happens in it: guests boot, shut down, follow what they were told.

        Raises:
            InvalidArgument: The host's time is real.
            HostClosed: The host was closed.
        """
        if self._clock is None:
            raise InvalidArgument("time is real here: wait, or take FakeHost() with virtual time", operation="advance")
        if not self._lifetime.open:
            raise HostClosed("the host is closed, and its time stands still")
        if self._machine.engine.is_me():
            raise RuntimeError("advance: called from a callback on the host's own thread, which cannot wait for itself")
        self._clock.advance(self._machine.lock, seconds, lambda: self._lifetime.open)

    def vanish(self, error: Exception | None = None) -> None:
        """Let the host go away, as when xenstored or libvirtd ends: nothing can be asked of it any more.

        All calls raise the error, those under way end with `ConnectFailed`, and readers of events come to their end.

        Args:
            error: What calls raise; `ConnectFailed` by default.
        """
        with self._machine.lock:
            self._machine.lost = error or ConnectFailed("the host does not answer any more")
            self._machine.go_away()

    def restart(self) -> None:
        """Restart the host: all domains are gone, and those that are defined with ``autostart=True`` run."""
        on_thread(self._machine, self._restart)

    def _restart(self) -> None:
        for guest in list(self._machine.domains.values()):
            if guest.domid:
                self._machine.remove(guest)
        for kept in self._machine.autostarting():
            guest = new_guest(self._machine, Operation("start", kept.config.name), kept.config, kept.uuid)
            guest.begin()
            self._machine.introduce(guest)
            guest.set_paused(False)
