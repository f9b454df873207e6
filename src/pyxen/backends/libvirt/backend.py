"""The backend for hosts managed by libvirt, on this machine or another."""

from __future__ import annotations

import threading
import uuid as uuids
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pyxen import libvirtxml
from pyxen._common.defaults import with_memory
from pyxen._common.preconditions import (
    check_answers,
    check_size,
    check_spared,
    check_suspended,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.starts import started
from pyxen.backends.base import Allow, Backend, DomainRef
from pyxen.backends.libvirt import (
    buttons,
    configuration,
    defined,
    devices,
    endpoints,
    event_loop,
    lifecycle,
    migration,
    resources,
    save,
    stats,
)
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.console import open_console
from pyxen.backends.libvirt.driver_features import LIBVIRTS, NOT_ITS_DRIVERS
from pyxen.backends.libvirt.error_map import failure, redacted, stopped
from pyxen.backends.libvirt.inspect import DomainReader, host_info
from pyxen.backends.libvirt.link import Link
from pyxen.backends.libvirt.polling import Poller
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.backends.libvirt.topology import host_topology
from pyxen.backends.libvirt.watcher import Watcher
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.endpoints import Endpoints
from pyxen.errors import DomainNotFound, Error, InvalidArgument, UnsupportedFeature
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.info import ENDS, DefinedDomain, DomainInfo, DomainState, HostInfo, Trigger
from pyxen.operation import Operation
from pyxen.stats import DomainStats
from pyxen.topology import Topology

__all__ = ["LibvirtBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_WITHOUT_JOBS: Final = ("Xen", "TEST")

_PARAVIRT: Final = number("VIR_DOMAIN_SHUTDOWN_PARAVIRT")
_POWER_BUTTON: Final = number("VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN")
_TO_MEMORY: Final = number("VIR_NODE_SUSPEND_TARGET_MEM")


class LibvirtBackend(Backend):
    """A host that libvirt manages.

    libvirt knows only dom0 and the domains that it created itself, not those of xl or ``xenlight:///``. Its daemon
    itself carries out ``on_poweroff`` and the other actions of its domains.

    Raises:
        ConnectFailed: libvirt's daemon does not answer.
        NotPrivileged: The daemon rejects this user.
        UnsupportedFeature: libvirt does not support such URIs.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._shown = redacted(uri)
        self._workers: ThreadedOperations | None = None
        self._poller = Poller()
        self._watcher = Watcher(self._poller.wake)
        self._restoring = threading.Lock()
        self._beginning = threading.Lock()
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

    # The host

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

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        with self._look("info", domain) as connection:
            return self._reader.one(lifecycle.find(connection, "info", domain))

    # From beginning to end

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain. A failed create leaves nothing behind; a domain that appears late is destroyed."""
        config = config if config.uuid is not None else config.replace(uuid=uuids.uuid4())
        xml = lifecycle.as_xml(config, self._domain_type)
        check_size(with_memory(config), self.name)
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)

        def work(connection: Connection, _: ThreadedOperation[DomainRef]) -> DomainRef:
            try:
                ref = lifecycle.create(connection, xml, paused=paused)
            except VirError as error:
                raise lifecycle.explain(connection, self._uri, config, "create", error) or error from None
            operation.domid = ref.domid
            return ref

        late = "libvirt cannot stop creating it; pyxen destroys it as soon as it exists"
        return self._start(
            operation, work, undo=lifecycle.destroy_if_there, late=late, secrets=lifecycle.secrets_of(config)
        )

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        return self._act("destroy", domain, lambda found: found.destroy(), timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        return self._act("pause", domain, lambda found: lifecycle.pause(found, self._reader))

    def unpause(self, domain: DomainRef) -> Operation[None]:
        return self._act("unpause", domain, lambda found: lifecycle.unpause(found, self._reader))

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        flags = 0
        if fallback:
            self._need(Feature.FALLBACK)
        if self._driver == "Xen":
            flags = _PARAVIRT | (_POWER_BUTTON if fallback else 0)

        def work(connection: Connection, threaded: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "shutdown", domain)
            check_answers(self._reader.one(found), "shutdown")
            stays = wait and lifecycle.stays_after_poweroff(found)
            found.shutdownFlags(flags) if flags else found.shutdown()
            if wait:
                self._poller.add(threaded, lambda: (self._has_ended(domain, stays=stays), None))

        return self._start(self._operation("shutdown", domain, timeout), work)

    def _has_ended(self, domain: DomainRef, *, stays: bool) -> bool:
        """Tell whether a domain has shut down and libvirt has carried out the action for that."""
        with self._link.look() as connection:
            info = lifecycle.info_if_there(connection, self._reader, domain)
        return info is None or (stays and info.state in ENDS)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "reboot", domain)
            check_answers(self._reader.one(found), "reboot")
            found.reboot(0)

        return self._start(self._operation("reboot", domain, timeout), work)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        def look() -> tuple[bool, DomainInfo | None]:
            with self._link.look() as connection:
                info = lifecycle.info_if_there(connection, self._reader, domain)
            return info is None or info.state in states, info

        def work(_: Connection, threaded: ThreadedOperation[DomainInfo | None]) -> DomainInfo | None:
            so, info = look()
            if not so:
                self._poller.add(threaded, look)
            return info

        operation: Operation[DomainInfo | None] = self._operation("wait", domain, timeout)
        return self._start(operation, work, lease=self._link.look)

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        def look() -> tuple[bool, DomainInfo | None]:
            with self._link.look() as connection:
                found = started(self._reader.all(connection), uuid, after)
            return found is not None, found

        def work(_: Connection, threaded: ThreadedOperation[Any]) -> Any:
            so, found = look()
            if not so:
                self._poller.add(threaded, look)
            return found

        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._start(operation, work, lease=self._link.look)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the current configuration of a domain; a `LossWarning` lists what the model cannot hold."""
        return self._act("config", domain, configuration.config)

    # Into files and to other hosts

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        self._need(Feature.SUSPEND)

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "suspend", domain)
            check_answers(self._reader.one(found), "suspend")
            found.pMSuspendForDuration(_TO_MEMORY, 0, 0)

        return self._start(self._operation("suspend", domain, timeout), work)

    def resume(self, domain: DomainRef) -> Operation[None]:
        self._need(Feature.SUSPEND)

        def work(found: VirDomain) -> None:
            check_suspended(self._reader.one(found))
            found.pMWakeup(0)

        return self._act("resume", domain, work)

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Save a domain to a file on the host, in libvirt's format, and end it."""
        if checkpoint or leave_paused:
            raise lacking(Feature.CHECKPOINT, self.name, "libvirt ends a domain that it saves: restore it afterwards")

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "save", domain)
            check_answers(self._reader.one(found), "save")
            save.save(found, domain, path, self._uri)

        return self._start(self._operation("save", domain, timeout), work, abort=self._abort(domain))

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Create a domain from a file on the host that libvirt wrote. A domain that appears late is destroyed."""
        if allow is not None:
            message = "restore: libvirt does not show the configuration in its files, so allow cannot see it"
            raise UnsupportedFeature(message, feature="allow", backend=self.name)
        xml = None if config is None else lifecycle.as_xml(config, self._domain_type)
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)

        def work(connection: Connection, _: ThreadedOperation[DomainRef]) -> DomainRef:
            wanted = save.uuid_in(path, self._uri)
            # If the file's uuid is unknown, the domain is found as the one that was not there before. This works only
            # for one restore at a time.
            with self._restoring if wanted is None else nullcontext():
                if operation.stopped is not None:
                    raise stopped(operation, "nothing had been done yet")
                try:
                    ref = save.restore(connection, path, xml, wanted, paused=paused)
                except VirError as error:
                    raise save.why_not_restored(path, error) or error from None
            operation.domid = ref.domid
            return ref

        late = "libvirt cannot stop restoring it; pyxen destroys it as soon as it exists"
        return self._start(operation, work, undo=lifecycle.destroy_if_there, late=late)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        def work(found: VirDomain) -> None:
            save.core_dump(found, domain, path, self._uri)

        return self._act("core_dump", domain, work, timeout, abort=self._abort(domain))

    def migrate(
        self, domain: DomainRef, destination: str | Sequence[str], *, paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Migrate a domain to another host, given as a libvirt URI. This host's daemon must reach the other's."""
        self._need(Feature.MIGRATE)
        if not isinstance(destination, str):
            message = "libvirt cannot migrate over a command: give a URI, e.g. xen+ssh://root@host/system"
            raise InvalidArgument(message, operation="migrate", domain=domain.domid, domid=domain.domid)

        def work(found: VirDomain) -> None:
            migration.migrate(found, destination, paused=paused)

        late = "libvirt's driver cannot stop it and continues: check on which host the domain is"
        return self._act("migrate", domain, work, timeout, abort=self._abort(domain), late=late)

    def _abort(self, domain: DomainRef) -> Callable[[], None] | None:
        """Return a function that aborts libvirt's job on a domain; None if the driver cannot abort jobs."""
        if self._driver in _WITHOUT_JOBS:
            return None

        def abort() -> None:
            try:
                with self._link.look() as connection:
                    lifecycle.find(connection, "abort", domain).abortJob()
            except (VirError, DomainNotFound):
                pass  # the job has ended, or the driver cannot abort it: the operation ends after its grace time

        return abort

    # A running domain

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a button or interrupt the vCPUs. libvirt's Xen driver can only press the power button."""
        return self._act("send_trigger", domain, lambda found: buttons.send_trigger(found, trigger, vcpu, self.name))

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        self._need(Feature.SYSRQ)
        return self._act("send_sysrq", domain, lambda found: buttons.send_sysrq(found, domain, key))

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        self._need(Feature.ATTACH)

        def work(connection: Connection, _: ThreadedOperation[D]) -> D:
            found = lifecycle.find(connection, "attach", domain)
            guest = self._reader.one(found).type
            try:
                return devices.attach(found, domain, self._domain_type, guest, device, self.name)
            except VirError as error:
                raise devices.why_not_attached(self._uri, domain, device) or error from None

        def undo(connection: Connection, attached: D) -> None:
            devices.detach(lifecycle.find(connection, "detach", domain), domain, attached, self.name)

        late = "libvirt cannot stop attaching it; pyxen detaches it as soon as it is attached"
        return self._start(self._operation("attach", domain, timeout), work, undo=undo, late=late)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        self._need(Feature.ATTACH)
        if force and self._driver != "Xen":  # the Xen driver always forces the detach after ten seconds
            raise lacking(Feature.ATTACH, self.name, "libvirt detaches only by asking the guest: leave out force")
        return self._act("detach", domain, lambda found: devices.detach(found, domain, device, self.name), timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        return self._change_disc("insert_cdrom", domain, vdev, target, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        return self._change_disc("eject_cdrom", domain, vdev, None, timeout)

    def _change_disc(
        self, verb: str, domain: DomainRef, vdev: str, target: str | None, timeout: float | None
    ) -> Operation[None]:
        self._need(Feature.CDROM)

        def work(found: VirDomain) -> None:
            devices.change_disc(found, self._reader.one(found), verb, vdev, target, self.name)

        return self._act(verb, domain, work, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        kib = memory_kib(memory)
        return self._act("set_memory", domain, lambda found: resources.set_memory(found, domain, kib))

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        self._need(Feature.MAXMEM)
        kib = maxmem_kib(maxmem)
        return self._act("set_maxmem", domain, lambda found: resources.set_maxmem(found, domain, kib))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        return self._act("set_vcpus", domain, lambda found: resources.set_vcpus(found, domain, self._reader, vcpus))

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None, *, force: bool
    ) -> Operation[None]:
        self._need(Feature.PIN)
        if force:
            raise lacking(Feature.PIN_FORCE, self.name)
        if cpus_soft is not None:
            raise lacking(Feature.PIN_SOFT, self.name)
        if cpus is None:
            raise InvalidArgument(
                "give cpus: libvirt has no cpus_soft", operation="pin_vcpu", domain=domain.domid, domid=domain.domid
            )

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "pin_vcpu", domain)
            resources.pin_vcpu(connection, found, domain, self._reader, vcpu, cpus)

        return self._start(self._operation("pin_vcpu", domain, None), work)

    def scheduler(self, domain: DomainRef, vcpu: int | None) -> Scheduler:
        """Return a domain's scheduler parameters; libvirt's Xen driver supports only ``credit``."""
        if vcpu is not None:
            raise lacking(Feature.VCPU_SCHEDULER, self.name)
        with self._look("scheduler", domain) as connection:
            return resources.scheduler(lifecycle.find(connection, "scheduler", domain), self.name)

    def set_scheduler(
        self, domain: DomainRef, scheduler: Scheduler, vcpu: int | Literal["all"] | None
    ) -> Operation[None]:
        """Set a domain's scheduler parameters; libvirt's Xen driver supports only ``credit``."""
        if vcpu is not None:
            raise lacking(Feature.VCPU_SCHEDULER, self.name)
        return self._act(
            "set_scheduler", domain, lambda found: resources.set_scheduler(found, domain, scheduler, self.name)
        )

    # Statistics and the console

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return a domain's statistics, without devices that the driver has no statistics for."""
        with self._look("stats", domain) as connection:
            return stats.stats(lifecycle.find(connection, "stats", domain), self._reader)

    def all_stats(self) -> tuple[DomainStats, ...]:
        with self._look("stats") as connection:
            return stats.all_stats(connection, self._reader)

    def console(self, domain: DomainRef) -> int:
        self._need(Feature.CONSOLE)
        with self._look("console", domain) as connection:
            return open_console(connection, lifecycle.find(connection, "console", domain))

    def endpoints(self, domain: DomainRef) -> Endpoints:
        with self._look("endpoints", domain) as connection:
            return endpoints.endpoints(lifecycle.find(connection, "endpoints", domain))

    # Defined domains

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        config.validate()
        with self._look("define", secrets=lifecycle.secrets_of(config)) as connection:
            return defined.define(connection, config, self._domain_type, autostart)

    def undefine(self, uuid: UUID) -> None:
        with self._look("undefine") as connection:
            defined.undefine(defined.kept(connection, "undefine", uuid))

    def defined(self) -> Sequence[DefinedDomain]:
        with self._look("defined") as connection:
            return defined.defined(connection)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        """Set whether a defined domain starts with the host: when libvirt's daemon first starts after a boot."""
        with self._look("set_autostart") as connection:
            defined.kept(connection, "set_autostart", uuid).setAutostart(autostart)

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Start the defined domain with this uuid. A domain that appears late is destroyed."""
        operation: Operation[DomainRef] = Operation("start", str(uuid), timeout=timeout)

        def work(connection: Connection, _: ThreadedOperation[DomainRef]) -> DomainRef:
            found = defined.kept(connection, "start", uuid)
            operation.subject = found.name()
            try:
                ref = lifecycle.start(connection, found, paused=paused)
            except VirError as error:
                raise self._why_not_started(connection, found, error) or error from None
            operation.domid = ref.domid
            return ref

        late = "libvirt cannot stop starting it; pyxen destroys it as soon as it exists"
        return self._start(operation, work, undo=lifecycle.destroy_if_there, late=late)

    def _why_not_started(self, connection: Connection, found: VirDomain, error: Exception) -> Exception | None:
        try:
            config = libvirtxml.loads(found.XMLDesc(0), on_loss="ignore")
        except (Error, VirError):
            return None
        return lifecycle.explain(connection, self._uri, config, "start", error)

    # Internals

    def _need(self, feature: Feature) -> None:
        if feature not in self.features:
            raise lacking(feature, self.name)

    @staticmethod
    def _operation(verb: str, domain: DomainRef, timeout: float | None) -> Operation[Any]:
        """Return a new operation for a verb on a domain; refuse verbs that would end or stop dom0."""
        check_spared(verb, domain.domid)
        operation: Operation[Any] = Operation(verb, domain.domid, timeout=timeout)
        operation.domid = domain.domid
        return operation

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

        return self._start(self._operation(verb, domain, timeout), whole, **how)

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

        with self._beginning:
            if self._workers is None:
                self._workers = ThreadedOperations()
        return self._workers.start(ThreadedOperation(operation, lease or self._link.work, work, describe, **how))

    @contextmanager
    def _look(
        self, verb: str, domain: DomainRef | None = None, *, secrets: Collection[str] = ()
    ) -> Iterator[Connection]:
        with self._translated(verb, domain, secrets=secrets), self._link.look() as connection:
            yield connection

    @contextmanager
    def _translated(
        self, verb: str, domain: DomainRef | None = None, *, secrets: Collection[str] = ()
    ) -> Iterator[None]:
        """Translate libvirt's exceptions to pyxen's."""
        domid = None if domain is None else domain.domid
        try:
            yield
        except VirError as error:
            raise failure(error, verb, self.name, domain=domid, domid=domid, secrets=secrets) from None
