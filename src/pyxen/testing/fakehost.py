"""A host for tests, which behaves like a real one except where a test says otherwise."""

from __future__ import annotations

import _thread
import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Final, Literal
from uuid import UUID

from pyxen import connection
from pyxen._common.arguments import check_is, check_number
from pyxen._durations import duration
from pyxen.aio.connection import Connecting
from pyxen.aio.connection import connect as connect_aio
from pyxen.backends.base import Backend
from pyxen.backends.host_verbs import HostVerbs
from pyxen.backends.memory.address import forget, register
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.backends.memory.clock import RealClock, VirtualClock
from pyxen.backends.memory.durations import LIFELIKE, QUICK
from pyxen.backends.memory.flask import Flask
from pyxen.backends.memory.lifecycle import new_guest
from pyxen.backends.memory.machine import Call, Fault, Machine
from pyxen.domain import Domain
from pyxen.domains import DomainKey
from pyxen.errors import ConnectFailed, Error, HostClosed, InvalidArgument
from pyxen.host import Host
from pyxen.operation import Operation
from pyxen.testing.fakeguest import FakeGuest, on_thread

__all__ = ["FakeHost"]

_FOREVER: Final = -1

_VERBS: Final = {name for name in (*vars(HostVerbs), *vars(Backend)) if not name.startswith("_")} - {
    "absolute",
    "claims",
    "claims_folder",
    "close",
    "device_tree_add",
    "device_tree_attach",
    "device_tree_remove",
    "domain_info",
    "features",
    "libvirt",
    "migrate_over",
    "name",
    "psr_allocations",
    "psr_attach",
    "psr_cache_kib",
    "psr_detach",
    "psr_get",
    "psr_is_attached",
    "psr_monitoring",
    "psr_sample",
    "psr_set",
    "qmp_events",
    "remove_orphans",
    "remove_overlay",
    "remus",
    "remus_over",
    "restore_over",
    "save_over",
    "subscribe",
    "uri",
} | {"events"}

_number = itertools.count(1)


class FakeHost(Host):
    """A `pyxen.Host` in memory, under the control of a test.

    ::

        with FakeHost() as xen:
            xen.fail("create", NotEnoughMemory("no room"))
            with pytest.raises(NotEnoughMemory):
                my_tool(xen)

    By default its time is virtual: it stands still until a program waits for an operation, and then jumps to the next
    event. A guest that takes a minute to shut down takes no real time, a ``timeout=60`` expires at once, and every run
    is the same. A program that waits in another way, for events or by polling, waits until the test calls `advance`. Or
    use ``time="real"``, where guests take some hundredths of a second.

    Args:
        memory: The host's memory, in MiB; dom0 has 512 of it.
        cpus: Number of CPUs.
        nodes: Number of NUMA nodes, among which CPUs and memory are divided.
        seed: Seed for uuids and MAC addresses.
        xen: The Xen release that the host reports.
        time: ``virtual`` or ``real``.

    Attributes:
        missing: Files that do not exist on the host; all others do.
        hypfs_values: The values in `Host.hypfs`, by path. What begins with ``/params/`` can be written.

    Raises:
        InvalidArgument: The arguments do not describe a possible host.
    """

    def __init__(
        self,
        *,
        memory: int = 4096,
        cpus: int = 4,
        nodes: int = 1,
        seed: int = 0,
        xen: str = "4.20.0",
        time: Literal["virtual", "real"] = "virtual",
    ) -> None:
        if time not in {"virtual", "real"}:
            raise InvalidArgument(f"time={time!r} is not one of virtual, real", operation="connect")
        self._key = f"fake-{next(_number)}"
        self._clock = VirtualClock() if time == "virtual" else None
        self._machine = Machine(
            f"memory:///{self._key}",
            memory=memory,
            cpus=cpus,
            nodes=nodes,
            seed=seed,
            xen=xen,
            clock=self._clock or RealClock(),
            timing=QUICK if self._clock is None else LIFELIKE,
        )
        self.missing: set[str] = set()
        missing = self.missing
        self.hypfs_values = self._machine.hypfs
        self._machine.exists = lambda path: path not in missing
        super().__init__(MemoryBackend(self._machine))
        register(self._key, self._machine)

    def close(self) -> None:
        """Close the host. Its `uri` cannot be opened afterwards. Calling it again does nothing."""
        forget(self._key)
        super().close()
        self._machine.hang_up()

    def __del__(self) -> None:
        is_open = hasattr(self, "_lifetime") and self._lifetime.open  # at the end of the interpreter it is closed
        super().__del__()
        if is_open:
            with contextlib.suppress(RuntimeError):  # there is no thread for it: its name stays
                _thread.start_new_thread(forget, (self._key,))  # it takes a lock, which this thread may already hold

    def aio(self) -> Connecting:
        """Open this same host for asyncio: ``async with fake.aio() as xen``."""
        return connect_aio(self.uri)

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[FakeHost]:
        """Make `pyxen.connect` and `pyxen.aio.connect` open this host for any URI, in the whole process."""
        before = connection.open_backend

        def open_this(uri: str, workers: int | None) -> Backend:  # noqa: ARG001 (as open_backend)
            return MemoryBackend(self._machine)

        connection.open_backend = open_this
        try:
            yield self
        finally:
            connection.open_backend = before

    def guest(self, key: DomainKey | Domain) -> FakeGuest:
        """Return the guest in a domain, for the test to control.

        Args:
            key: The domain's name, domid or uuid, or a handle.

        Raises:
            DomainNotFound: There is no such domain.
        """
        domid = key.domid if isinstance(key, Domain) else self.domains[key].domid
        with self._machine.lock:
            return FakeGuest(self._machine, self._machine.domains[domid])

    def write_log(self, text: str) -> None:
        """Append a text to the log of the simulated Xen, which `Host.log` returns; end lines with a newline."""
        check_is(str, text, "write_log")
        with self._machine.lock:
            self._machine.log.write(text)

    def enable_flask(self, labels: Mapping[int, str]) -> None:
        """Give the host Flask, Xen's security module, enforcing a policy with these labels, by their numbers."""
        with self._machine.lock:
            self._machine.flask = Flask(dict(labels))

    @property
    def debug_keys_sent(self) -> str:
        """All debug keys that were sent, in their order."""
        with self._machine.lock:
            return "".join(self._machine.debug_keys)

    def fail(
        self, verb: str, error: Exception, *, domain: str | int | UUID | None = None, times: int | None = 1
    ) -> None:
        """Make a verb fail the next time it is called, without any effect.

        Args:
            verb: A method of `Host` or `Domain`: ``create``, ``shutdown``, ``list`` … With ``receive_migration``, the
                host refuses a domain that another host sends it.
            error: The exception that it raises: a copy of it, each time.
            domain: Fail for this domain only, by name, domid or uuid. None means any domain.
            times: How many times to fail; None means always.

        Raises:
            InvalidArgument: There is no such verb, or another argument is not valid.
        """
        if verb not in _VERBS:
            raise InvalidArgument(
                f"{verb!r} is not a verb that can fail; it can be {', '.join(sorted(_VERBS))}", operation="fail"
            )
        check_is(Exception, error, "fail", ": give the exception itself, such as OperationFailed('no')")
        if times is not None:
            check_number(times, "fail")
            if times < 1:
                raise InvalidArgument(f"times={times}: give 1 or more, or None for always", operation="fail")
        with self._machine.lock:
            name = None if domain is None else str(domain)
            self._machine.faults.append(Fault(verb, error, name, _FOREVER if times is None else times))

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls that programs have made on this host, by any connection, in their order; at most 100,000.

        A call that was refused, or made to fail, is there, too. So are the calls of the test itself.
        """
        with self._machine.lock:
            return tuple(self._machine.calls)

    def forget_calls(self) -> None:
        """Empty `calls`."""
        with self._machine.lock:
            self._machine.calls.clear()

    @property
    def unused_failures(self) -> tuple[str, ...]:
        """The failures, set up with `fail`, that no call met, in words; for pytest's fixtures they are an error."""
        with self._machine.lock:
            return tuple(map(_in_words, (fault for fault in self._machine.faults if fault.times > 0 or not fault.used)))

    def advance(self, seconds: float) -> None:
        """Advance the virtual time, with everything due in it: guests boot, shut down, follow requests.

        Args:
            seconds: How far: a number from 0, and not infinite.

        Raises:
            InvalidArgument: The host's time is real, or it is not such a number.
            HostClosed: The host was closed.
            RuntimeError: Called from a callback on the host's own thread.
        """
        span = duration(seconds, "seconds", operation="advance")
        if math.isinf(span):
            raise InvalidArgument("time ends nowhere: give a finite number of seconds", operation="advance")
        if self._clock is None:
            raise InvalidArgument("time is real here: wait, or take FakeHost() with virtual time", operation="advance")
        if not self._lifetime.open:
            raise HostClosed("the host is closed, and its time stands still")
        if self._machine.engine.is_me():
            raise RuntimeError("advance: called from a callback on the host's own thread, which cannot wait for itself")
        self._clock.advance(self._machine.lock, span, lambda: self._lifetime.open)

    def vanish(self, error: Exception | None = None) -> None:
        """Make the host unreachable, as when xenstored or libvirtd ends.

        All later calls raise `error`, running ones end with `ConnectFailed`, and event readers end.

        Args:
            error: The exception that calls raise, each a copy of it; `ConnectFailed` by default.
        """
        with self._machine.lock:
            self._machine.lost = error or ConnectFailed("the host does not answer any more")
            self._machine.go_away()

    def restart(self) -> None:
        """Restart the host: domains and CPU pools are gone; domains defined with ``autostart=True`` are started.

        Raises:
            ExceptionGroup: Some of them could not be started. It has the error of each; all others run.
        """
        if failures := on_thread(self._machine, self._restart):
            raise ExceptionGroup("some domains did not start with the host", failures)

    def _restart(self) -> list[Exception]:
        for guest in list(self._machine.domains.values()):
            if guest.domid:
                self._machine.remove(guest)
        self._machine.booted_at = self._machine.now()
        self._machine.lose_pools()
        failures: list[Exception] = []
        for kept in self._machine.autostarting():
            try:
                guest = new_guest(self._machine, Operation("start", kept.config.name), kept.config, kept.uuid)
            except Error as error:
                failures.append(error)
                continue
            guest.begin()
            self._machine.introduce(guest)
            guest.set_paused(False)
        return failures


def _in_words(fault: Fault) -> str:
    where = "" if fault.domain is None else f", domain={fault.domain!r}"
    met = f"was met {fault.used} times, and waits for {fault.times} more" if fault.used else "was never met"
    return f"fail({fault.verb!r}, {type(fault.error).__name__}{where}) {met}"
