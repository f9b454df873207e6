"""What concerns the whole of a host that libvirt manages, and how work on it begins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pyxen._common.shown_uri import shown
from pyxen._common.sparing import check_spared
from pyxen.backends.base import Backend, DomainRef, operation_on
from pyxen.backends.libvirt import (
    event_loop,
    host_devices,
    lifecycle,
    stats,
)
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, masking
from pyxen.backends.libvirt.driver_features import LIBVIRTS, NOT_ITS_DRIVERS
from pyxen.backends.libvirt.error_map import failure
from pyxen.backends.libvirt.frames import releasing
from pyxen.backends.libvirt.inspect import DomainReader, host_info
from pyxen.backends.libvirt.link import Link
from pyxen.backends.libvirt.own_verbs import LibvirtOwnVerbs
from pyxen.backends.libvirt.polling import Poller
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.backends.libvirt.topology import host_topology
from pyxen.backends.libvirt.unanswered import meet
from pyxen.backends.libvirt.watcher import Watcher
from pyxen.backends.virt_calls import LibvirtCalls
from pyxen.config import PciAddress
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.host_devices import PciDevice, UsbDevice
from pyxen.records.info import DomainInfo, HostInfo
from pyxen.records.stats import DomainStats
from pyxen.records.topology import Topology

__all__ = ["LibvirtHost"]

T = TypeVar("T")


@releasing
class LibvirtHost(Backend):
    """The verbs of a host that libvirt manages."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._shown = shown(uri)
        self.completer = object()  # not this host, which the threads would keep from being collected
        self._workers: ThreadedOperations | None = None
        self._poller = Poller(self.completer)
        self._watcher = Watcher(self._poller.wake)
        self._restoring = threading.Lock()
        self._beginning = threading.RLock()  # a signal handler may use a host, too
        self._link = Link(uri, self._watcher.rearm)
        try:
            with self._link.look() as connection:
                self._driver = connection.getType()
                self._domain_type = {"Xen": "xen", "TEST": "test"}.get(self._driver, self._driver.lower())
        except BaseException:
            self._link.close()
            raise
        self._reader = DomainReader(self._driver)
        event_loop.close_at_exit(self)

    @property
    def uri(self) -> str:
        """The URI of this host for `pyxen.connect`, with any password masked."""
        return self._shown

    @property
    def name(self) -> str:
        """The name of this backend in errors, with libvirt's driver: ``libvirt (Xen)``."""
        return f"libvirt ({self._driver})"

    @property
    def features(self) -> frozenset[Feature]:
        """The features that libvirt supports with this driver."""
        return LIBVIRTS - NOT_ITS_DRIVERS.get(self._driver, set())

    def close(self) -> None:
        """Stop all operations and close the connections; may be called again. libvirt finishes what it cannot stop."""
        if not self._link.is_here():
            return  # all of it is the parent's
        with self._beginning:
            workers = self._workers
        if workers is not None:
            workers.close()
        self._poller.close()
        self._watcher.close()
        self._link.close()

    def info(self) -> HostInfo:
        """Return information about the host; ``xen_version`` is the version of the driver's hypervisor."""
        with self._look("info") as connection:
            return host_info(connection)

    def topology(self) -> Topology:
        """Return the CPUs and NUMA nodes of the host; CPU pools and PCI devices are None."""
        with self._look("topology") as connection:
            return host_topology(connection)

    def list(self) -> list[DomainInfo]:
        """Return the domains that libvirt knows, by domid; on Xen, dom0 and the domains that libvirt created."""
        with self._look("list") as connection:
            return self._reader.all(connection)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Call `on_event` with each event from now on, and `on_end` once when the host is closed.

        Events cover only libvirt's own domains. libvirt's Xen driver reports only when domains start and end. After
        the daemon was away, an `EventsLost` comes as soon as it is back.
        """
        with self._translated("events"):
            return self._watcher.subscribe(self._link, on_event, on_end)

    def all_stats(self) -> tuple[DomainStats, ...]:
        with self._look("stats") as connection:
            return stats.all_stats(connection, self._reader)

    def pci_devices(self) -> Sequence[PciDevice]:
        """Return the host's PCI devices. Only libvirt's own domains are seen to have some."""
        with self._look("pci") as connection:
            return host_devices.pci_devices(connection, self.name)

    def pci_assignable_add(self, address: PciAddress | str, *, name: str | None, rebind: bool) -> Operation[None]:
        self._need(Feature.ASSIGNABLE)

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            host_devices.assignable_add(connection, address, name, self.name, rebind=rebind)

        return self._start(Operation("assignable_add", str(address)), work)

    def pci_assignable_remove(self, key: PciAddress | str, *, rebind: bool) -> Operation[None]:
        self._need(Feature.ASSIGNABLE)

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            host_devices.assignable_remove(connection, key, self.name, rebind=rebind)

        return self._start(Operation("assignable_remove", str(key)), work)

    def usb_devices(self) -> Sequence[UsbDevice]:
        """Return the host's USB devices, without their classes and serial numbers, which libvirt does not know."""
        with self._look("usb") as connection:
            return host_devices.usb_devices(connection, self.name)

    def libvirt(self) -> LibvirtCalls:
        """Return what only libvirt can do."""
        return LibvirtOwnVerbs(self, self._look, self._start)

    @property
    def domain_type(self) -> str:
        """Libvirt's type of the domains of this host, e.g. ``xen``."""
        return self._domain_type

    def _need(self, feature: Feature) -> None:
        if feature not in self.features:
            raise lacking(feature, self.name)

    def _act(
        self,
        verb: str,
        domain: DomainRef,
        work: Callable[[VirDomain], Any],
        timeout: float | None = None,
        **how: Any,
    ) -> Operation[Any]:
        """Start an operation on an active domain. Its result is what `work` returns, with libvirt's zeros as None."""

        def whole(connection: Connection, _: ThreadedOperation[Any]) -> Any:
            result = work(lifecycle.find(connection, verb, domain))
            return None if isinstance(result, int) else result

        return self._start(self._on(domain, verb, timeout), whole, **how)

    def _on(self, domain: DomainRef, verb: str, timeout: float | None = None) -> Operation[Any]:
        """Return an operation on a domain, unless that is spared."""
        self._link.check()
        check_spared(verb, domain.domid, domain.uuid)
        if verb != "destroy":  # who destroys a domain that pyxen destroys, too, gets what they want
            meet(domain.uuid, verb)
        return operation_on(domain, verb, timeout)

    def _start(
        self,
        operation: Operation[T],
        work: Callable[[Connection, ThreadedOperation[T]], T],
        *,
        lease: Any = None,
        secrets: Collection[str] = (),
        **how: Any,
    ) -> Operation[T]:
        self._link.check()

        def describe(error: Exception) -> BaseException:
            if not isinstance(error, VirError):
                return error
            domain, domid = operation.subject, operation.domid
            return failure(error, operation.verb, self.name, domain=domain, domid=domid, secrets=secrets)

        def masked(connection: Connection, threaded: ThreadedOperation[T]) -> T:
            with masking(secrets):
                return work(connection, threaded)

        with self._beginning:
            if self._workers is None:
                self._workers = ThreadedOperations(self.completer)
        return self._workers.start(ThreadedOperation(operation, lease or self._link.work, masked, describe, **how))

    @contextmanager
    def _look(
        self, verb: str, domain: DomainRef | None = None, *, secrets: Collection[str] = ()
    ) -> Iterator[Connection]:
        if domain is not None:
            meet(domain.uuid, verb)
        with self._translated(verb, domain, secrets=secrets), self._link.look() as connection:
            yield connection

    @contextmanager
    def _translated(
        self, verb: str, domain: DomainRef | None = None, *, secrets: Collection[str] = ()
    ) -> Iterator[None]:
        """Translate libvirt's exceptions to pyxen's."""
        domid = None if domain is None else domain.domid
        try:
            with masking(secrets):
                yield
        except VirError as error:
            raise failure(error, verb, self.name, domain=domid, domid=domid, secrets=secrets) from None
