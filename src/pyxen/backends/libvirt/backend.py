"""The backend for hosts managed by libvirt, on this machine or another."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pyxen import libvirtxml
from pyxen._common.defaults import with_memory
from pyxen._common.device_kinds import name_of
from pyxen._common.endings import ended_otherwise, has_ended
from pyxen._common.preconditions import (
    check_answers,
    check_size,
    check_suspended,
    maxmem_kib,
    memory_kib,
)
from pyxen._common.shown_uri import secrets_of
from pyxen._common.starts import started
from pyxen._common.suspending import alone, check_resumable
from pyxen.backends.base import Allow, DomainRef
from pyxen.backends.libvirt import (
    buttons,
    configuration,
    defined,
    devices,
    endpoints,
    lifecycle,
    live_devices,
    migration,
    resources,
    save,
    stats,
)
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.connection import is_in_this_process
from pyxen.backends.libvirt.console import open_console
from pyxen.backends.libvirt.error_map import broke_the_link
from pyxen.backends.libvirt.frames import releasing
from pyxen.backends.libvirt.host_verbs import LibvirtHost
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation
from pyxen.backends.libvirt.unanswered import meet
from pyxen.config import CpuSet, DomainConfig, Part, Scheduler
from pyxen.config.device_table import Kind
from pyxen.errors import DomainNotFound, Error, InvalidArgument, UnsupportedFeature
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType, Endpoints
from pyxen.records.info import DefinedDomain, DomainInfo, DomainState, ShutdownReason, Trigger
from pyxen.records.live_device import LiveDevice
from pyxen.records.stats import DomainStats

__all__ = ["LibvirtBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_WITHOUT_JOBS: Final = ("Xen", "TEST")

_PARAVIRT: Final = number("VIR_DOMAIN_SHUTDOWN_PARAVIRT")
_POWER_BUTTON: Final = number("VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN")
_TO_MEMORY: Final = number("VIR_NODE_SUSPEND_TARGET_MEM")


@releasing
class LibvirtBackend(LibvirtHost):
    """A host that libvirt manages.

    libvirt knows only dom0 and the domains that it created itself, not those of xl or ``xenlight:///``. Its daemon
    itself carries out ``on_poweroff`` and the other actions of its domains.

    Raises:
        ConnectFailed: libvirt's daemon does not answer.
        NotPrivileged: The daemon rejects this user.
        UnsupportedFeature: libvirt does not support such URIs.
    """

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        with self._look("info", domain) as connection:
            return self._reader.one(lifecycle.find(connection, "info", domain))

    # From beginning to end

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        """Create a domain. A failed create leaves nothing behind; a domain that appears late is destroyed."""
        self._check_balloon(autoballoon)
        chosen = config.uuid is None
        uuid = config.uuid or uuids.uuid4()
        config = config.replace(uuid=uuid)
        xml = lifecycle.as_xml(config, self._domain_type)
        check_size(with_memory(config), self.name)
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)

        def work(connection: Connection, threaded: ThreadedOperation[DomainRef]) -> DomainRef:
            threaded.asks_for(uuid, chosen=chosen)
            try:
                ref = lifecycle.create(connection, xml, paused=paused)
            except VirError as error:
                raise lifecycle.explain(connection, self._uri, config, "create", error) or error from None
            operation.domid = ref.domid
            return ref

        return self._start(
            operation,
            work,
            undo=lifecycle.destroy_if_there,
            late="libvirt cannot stop creating it; pyxen destroys it as soon as it exists",
            unsure=f"it is not known whether libvirt has created it, or will yet: look for the domain {uuid}",
            secrets=lifecycle.secrets_of(config),
        )

    def _check_balloon(self, autoballoon: bool | None) -> None:
        if autoballoon is not None:
            raise lacking(Feature.AUTOBALLOON, self.name, "the libxl.conf of libvirt says whether dom0 gives up memory")

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
        operation: Operation[None] = self._on(domain, "shutdown", timeout)

        def work(connection: Connection, threaded: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "shutdown", domain)
            check_answers(self._reader.one(found), "shutdown")
            stays = wait and lifecycle.stays_after_poweroff(found)
            found.shutdownFlags(flags) if flags else found.shutdown()
            if wait:
                self._poller.add(threaded, lambda: (has_powered_off(stays=stays), None))

        def has_powered_off(*, stays: bool) -> bool:
            info = self._info_if_there(domain)
            if info is not None and info.shutdown_reason is ShutdownReason.CRASH:
                raise ended_otherwise(
                    operation, info.shutdown_reason, "libvirt does with its domain what on_crash says"
                )
            # Where the domain does not stay, libvirt is to have removed it, too.
            return info is None or (stays and has_ended(info.shutdown_reason))

        return self._start(operation, work)

    def _info_if_there(self, domain: DomainRef) -> DomainInfo | None:
        with self._link.look() as connection:
            return lifecycle.info_if_there(connection, self._reader, domain)

    def reboot(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        if fallback:
            self._need(Feature.REBOOT_FALLBACK)
        in_place = self._driver != "Xen"  # the domain goes on as it is

        def work(connection: Connection, threaded: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "reboot", domain)
            check_answers(self._reader.one(found), "reboot")
            found.reboot(0)
            if wait and not in_place:
                self._poller.add(threaded, lambda: (has_rebooted(), None))

        def has_rebooted() -> bool:
            info = self._info_if_there(domain)
            return info is None or has_ended(info.shutdown_reason)

        return self._start(self._on(domain, "reboot", timeout), work)

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        def look() -> tuple[bool, DomainInfo | None]:
            info = self._info_if_there(domain)
            return info is None or info.state in states, info

        def work(_: Connection, threaded: ThreadedOperation[DomainInfo | None]) -> DomainInfo | None:
            so, info = look()
            if so:
                self._poller.settle(threaded, info)
            else:
                self._poller.add(threaded, look)
            return info

        operation: Operation[DomainInfo | None] = self._on(domain, "wait", timeout)
        return self._start(operation, work, lease=self._link.look)

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        def look() -> tuple[bool, DomainInfo | None]:
            with self._link.look() as connection:
                found = started(self._reader.all(connection), uuid, after)
            return found is not None, found

        def work(_: Connection, threaded: ThreadedOperation[Any]) -> Any:
            so, found = look()
            if so:
                self._poller.settle(threaded, found)
            else:
                self._poller.add(threaded, look)
            return found

        operation: Operation[DomainInfo] = Operation("wait_start", str(uuid), timeout=timeout)
        return self._start(operation, work, lease=self._link.look)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the current configuration of a domain; a `LossWarning` lists what the model cannot hold."""
        return self._act("config", domain, configuration.config, unsure="nothing was changed")

    # Into files and to other hosts

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        self._need(Feature.SUSPEND)

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "suspend", domain)
            check_answers(self._reader.one(found), "suspend")
            found.pMSuspendForDuration(_TO_MEMORY, 0, 0)

        return self._start_alone(domain, self._on(domain, "suspend", timeout), work)

    def resume(self, domain: DomainRef) -> Operation[None]:
        self._need(Feature.SUSPEND)
        check_resumable((self._uri, domain), domain.domid)

        def work(found: VirDomain) -> None:
            check_suspended(self._reader.one(found))
            found.pMWakeup(0)

        return self._act("resume", domain, work)

    def save(
        self,
        domain: DomainRef,
        path: str,
        *,
        config: DomainConfig | None,
        checkpoint: bool,
        leave_paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Save a domain to a file on the host, in libvirt's format, and end it."""
        self._refuse_other(config)
        if checkpoint or leave_paused:
            raise lacking(Feature.CHECKPOINT, self.name, "libvirt ends a domain that it saves: restore it afterwards")

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            found = lifecycle.find(connection, "save", domain)
            check_answers(self._reader.one(found), "save")
            save.save(found, domain, path, self._uri)

        unsure = f"libvirt may still be writing {path}, and end the domain then"
        operation: Operation[None] = self._on(domain, "save", timeout)
        return self._start_alone(domain, operation, work, abort=self._abort(domain), unsure=unsure)

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        """Create a domain from a file on the host that libvirt wrote. A domain that appears late is destroyed."""
        self._check_balloon(autoballoon)
        if allow is not None:
            message = "restore: libvirt does not show the configuration in its files, so allow cannot see it"
            raise UnsupportedFeature(message, feature="allow", backend=self.name)
        xml = None if config is None else lifecycle.as_xml(config, self._domain_type)
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)
        wanted: UUID | None = None

        @contextmanager
        def turn() -> Iterator[None]:
            nonlocal wanted
            wanted = save.uuid_in(path, self._uri)
            # Without the file's uuid, libvirt is to restore one domain at a time, so that it is known which it was.
            with self._restoring if wanted is None else nullcontext():
                yield

        def work(connection: Connection, threaded: ThreadedOperation[DomainRef]) -> DomainRef:
            which = "a new domain" if wanted is None else f"the domain {wanted}"
            threaded.unsure = f"it is not known whether libvirt has restored it, or will yet: look for {which}"
            if wanted is not None:
                threaded.asks_for(wanted)
            try:
                with threaded.others() as others:
                    listen = not is_in_this_process(self._uri)  # where the connection for events is another one
                    ref = save.restore(connection, path, xml, wanted, others, paused=paused, listen=listen)
            except VirError as error:
                raise save.why_not_restored(path, error) or error from None
            operation.domid = ref.domid
            return ref

        late = "libvirt cannot stop restoring it; pyxen destroys it as soon as it exists"
        return self._start(operation, work, turn=turn, undo=lifecycle.destroy_if_there, late=late)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        def work(found: VirDomain) -> None:
            save.core_dump(found, domain, path, self._uri)

        unsure = f"libvirt may still be writing {path}"
        return self._act("core_dump", domain, work, timeout, abort=self._abort(domain), unsure=unsure)

    def migrate(
        self,
        domain: DomainRef,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None,
        paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        """Migrate a domain to another host, given as a libvirt URI. This host's daemon must reach the other's."""
        self._need(Feature.MIGRATE)
        self._refuse_other(config)
        if not isinstance(destination, str):
            message = "libvirt cannot migrate over a command: give a URI, e.g. xen+ssh://root@host/system"
            raise InvalidArgument(message, operation="migrate", domain=domain.domid, domid=domain.domid)

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            migration.migrate(lifecycle.find(connection, "migrate", domain), destination, paused=paused)

        late = "libvirt's driver cannot stop it and continues: check on which host the domain is"
        operation: Operation[None] = self._on(domain, "migrate", timeout)
        unsure = "libvirt may still go on with it: check on which host the domain is"
        how = {"abort": self._abort(domain), "late": late, "unsure": unsure, "secrets": secrets_of(destination)}
        return self._start_alone(domain, operation, work, **how)

    def _start_alone(
        self,
        domain: DomainRef,
        operation: Operation[None],
        work: Callable[[Connection, ThreadedOperation[None]], None],
        **how: Any,
    ) -> Operation[None]:
        """Start an operation that suspends a guest. libvirt would begin a second one after the first, however late."""
        with alone((self._uri, domain), operation, domain.domid):
            return self._start(operation, work, **how)

    def _refuse_other(self, config: DomainConfig | None) -> None:
        if config is not None:
            raise lacking(Feature.OTHER_CONFIG, self.name, "give it to restore")

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
                if broke_the_link(error):
                    raise
                raise devices.why_not_attached(self._uri, domain, device) or error from None

        def undo(connection: Connection, attached: D) -> None:
            devices.detach(lifecycle.find(connection, "detach", domain), domain, attached, self.name)

        late = "libvirt cannot stop attaching it; pyxen detaches it as soon as it is attached"
        what = name_of(device) or f"a new {type(device).__name__}"
        where = f"look whether the domain {domain.uuid} has {what}"
        unsure = f"it is not known whether libvirt has attached it, or will yet: {where}"
        return self._start(self._on(domain, "attach", timeout), work, undo=undo, late=late, unsure=unsure)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        self._need(Feature.ATTACH)
        if force and self._driver != "Xen":  # the Xen driver always forces the detach after ten seconds
            raise lacking(Feature.ATTACH, self.name, "libvirt detaches only by asking the guest: leave out force")
        return self._act("detach", domain, lambda found: devices.detach(found, domain, device, self.name), timeout)

    def live_devices(self, domain: DomainRef, kind: Kind) -> Sequence[LiveDevice[Any]]:
        with self._look("live_devices", domain) as connection:
            return live_devices.live_devices(lifecycle.find(connection, "live_devices", domain), kind, self.name)

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

        return self._start(self._on(domain, "pin_vcpu"), work)

    def node_affinity(self, domain: DomainRef) -> tuple[int, ...]:
        with self._look("node_affinity", domain) as connection:
            return resources.node_affinity(connection, lifecycle.find(connection, "node_affinity", domain))

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

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        self._need(Feature.CONSOLE)
        meet(domain.uuid, "console")
        with self._translated("console", domain):
            find = partial(lifecycle.find, verb="console", domain=domain)
            return open_console(self._link.apart(), find, kind, number)

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

    def defined_config(self, uuid: UUID) -> DomainConfig:
        """Return the configuration stored under a uuid; a `LossWarning` lists what the model cannot hold."""
        with self._look("defined_config") as connection:
            return defined.config(defined.kept(connection, "defined_config", uuid))

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        """Set whether a defined domain starts with the host: when libvirt's daemon first starts after a boot."""
        with self._look("set_autostart") as connection:
            defined.kept(connection, "set_autostart", uuid).setAutostart(autostart)

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Start the defined domain with this uuid. A domain that appears late is destroyed, or saved again."""
        operation: Operation[DomainRef] = Operation("start", str(uuid), timeout=timeout)
        was_saved = False

        def undo(connection: Connection, ref: DomainRef) -> None:
            if was_saved:  # the save has become this domain: nothing else has the guest's memory
                lifecycle.save_if_there(connection, ref)
            else:
                lifecycle.destroy_if_there(connection, ref)

        def work(connection: Connection, threaded: ThreadedOperation[DomainRef]) -> DomainRef:
            nonlocal was_saved
            found = defined.kept(connection, "start", uuid)
            operation.subject = found.name()
            was_saved = defined.has_managed_save(found)
            threaded.asks_for(uuid)
            try:
                ref = lifecycle.start(connection, found, undo, paused=paused)
            except VirError as error:
                raise self._why_not_started(connection, found, error) or error from None
            operation.domid = ref.domid
            return ref

        late = "libvirt cannot stop starting it; pyxen destroys it as soon as it exists, or saves it again"
        unsure = f"it is not known whether libvirt has started it, or will yet: look whether the domain {uuid} runs"
        return self._start(operation, work, undo=undo, late=late, unsure=unsure)

    def _why_not_started(self, connection: Connection, found: VirDomain, error: Exception) -> Exception | None:
        try:
            config = libvirtxml.loads(found.XMLDesc(0), on_loss="ignore")
        except (Error, VirError):
            return None
        return lifecycle.explain(connection, self._uri, config, "start", error)
