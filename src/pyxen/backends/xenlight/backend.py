"""The way through libxenlight: this machine is the host, and nothing stands between.

Importing this module loads the compiled binding, so `pyxen.connect` does it only when this way is asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from pyxen._common.preconditions import check_answers
from pyxen.backends.base import Backend, DomainRef
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl import journal, loader, marshal
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.migration import migrate, peer_command, remus
from pyxen.backends.xenlight.migration.peer_channel import PeerChannel
from pyxen.backends.xenlight.operations import (
    buttons,
    configuration,
    console,
    devices,
    lifecycle,
    monitor,
    preserve,
    resources,
    save,
    stats,
    suspend,
    userdata,
    wait,
)
from pyxen.backends.xenlight.operations.devd import devd
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from pyxen.config import CpuSet, DomainConfig, DomainType, Part, Scheduler
from pyxen.errors import DomainNotFound, InvalidState, UnsupportedFeature
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.info import ENDS, DomainInfo, DomainState, DomainStats, HostInfo, ShutdownReason, Trigger
from pyxen.operation import Operation
from pyxen.remus import RemusOptions
from pyxen.units import mib_to_kib

__all__ = ["XenlightBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS = {Feature.DEFINE}

_COMES_LATER = set() if console.CAN_ADD else {Feature.ADD_CONSOLE}
"""What libxl of this release cannot do, and that of later ones can."""


class XenlightBackend(Backend):
    """The host that this process runs on, through libxl.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: libxl or xenstore do not open.
    """

    uri = "xenlight:///"
    name = BACKEND
    features = frozenset(Feature) - _LACKS - _COMES_LATER

    def __init__(self, workers: int = 1) -> None:
        self._hypervisor = Hypervisor()
        try:
            self._context = Context(self._hypervisor, workers)
        except BaseException:
            self._hypervisor.close()
            raise
        self._threaded_operations = ThreadedOperations(self._context)
        self._watcher = Watcher(self._hypervisor.glance)

    def close(self) -> None:
        """Stop what runs and let go of the host; may be called again."""
        self._watcher.close()
        self._threaded_operations.close()
        self._context.close()
        self._hypervisor.close()

    def info(self) -> HostInfo:
        """Return the figures of the host."""
        return self._hypervisor.host(loader.running_version())

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""
        return self._hypervisor.domains()

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return the domains that processes were making which are gone."""
        infos = [info for info in self._hypervisor.glance() if info.state is not DomainState.DYING]
        left = journal.abandoned({info.uuid for info in infos})
        return tuple(DomainRef(info.domid, info.uuid) for info in infos if info.uuid in left)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed."""
        return self._watcher.subscribe(on_event, on_end)

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""
        return self._info("info", domain)

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""
        prepared = marshal.prepare(config)
        identity = config.uuid or uuid.uuid4()
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)

        def script() -> Script[DomainRef]:
            domid = yield from lifecycle.create(self._context, operation, prepared, identity, paused=paused)
            return DomainRef(domid, identity)

        return self._context.run(operation, script())

    def restore(
        self, path: str, config: DomainConfig | None, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        """Create a domain from a file; a failure leaves nothing."""
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)

        def script() -> Script[DomainRef]:
            found = yield from save.restore(self._context, operation, path, config, paused=paused)
            return DomainRef(*found)

        return self._context.run(operation, script())

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""
        return self._run("destroy", domain, lifecycle.destroy, timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""
        return self._run("pause", domain, lifecycle.pause)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""
        return self._run("unpause", domain, lifecycle.unpause)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""
        self._check_answers("shutdown", domain)

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return lifecycle.shutdown(context, operation, domid, domain.uuid, wait=wait, fallback=fallback)

        return self._run("shutdown", domain, script, timeout)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        self._check_answers("reboot", domain)
        return self._run("reboot", domain, lifecycle.reboot, timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Let the guest suspend itself and stay in memory."""
        self._check_answers("suspend", domain)
        return self._run("suspend", domain, suspend.suspend, timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Let a suspended guest go on."""
        info = self._info("resume", domain)
        if info.shutdown_reason is not ShutdownReason.SUSPEND:
            message = f"{info.name} is {info.state}, not suspended"
            raise InvalidState(message, operation="resume", domain=domain.domid, domid=domain.domid)
        return self._run("resume", domain, suspend.resume)

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Save a domain to a file."""
        self._check_answers("save", domain)

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return save.save(context, operation, domid, path, checkpoint=checkpoint, leave_paused=leave_paused)

        return self._run("save", domain, script, timeout)

    def migrate(
        self, domain: DomainRef, destination: str | Sequence[str], *, paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Move a domain to a host, or to where a command leads; a failure leaves it running here, and nothing there."""
        command = peer_command.command(destination, paused=paused)
        work = migrate.migrate(self._context, self._movable("migrate", domain), command)
        return self._threaded_operations.run(_operation("migrate", domain, timeout), work)

    def migrate_over(self, domain: DomainRef, read_fd: int, write_fd: int, *, timeout: float | None) -> Operation[None]:
        """Move a domain to where two descriptors lead, which are duplicated; see `migrate`."""
        info = self._movable("migrate", domain)
        operation = _operation("migrate", domain, timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
        return self._converse(operation, channel, migrate.migrate_over(self._context, info, channel))

    def receive_migration(
        self, read_fd: int, write_fd: int, *, remus: bool, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        """Take in a domain that comes over two descriptors, which are duplicated; a failure leaves nothing."""
        operation: Operation[DomainRef] = Operation("receive_migration", timeout=timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the source")
        receive = migrate.receive(self._context, channel, remus=remus, paused=paused)
        return self._converse(operation, channel, lambda threaded: DomainRef(*receive(threaded)))

    def remus(
        self,
        domain: DomainRef,
        destination: str | Sequence[str] | None,
        options: RemusOptions,
        *,
        timeout: float | None,
    ) -> Operation[None]:
        """Replicate a domain to another host, or to nobody, until that fails; it goes on here."""
        command = None if destination is None else peer_command.command(destination, verb="remus", remus=True)
        info = self._movable("remus", domain)
        remus.check(options)
        if command is None:
            work = remus.remus_to_nobody(self._context, info, options)
        else:
            work = remus.remus(self._context, info, command, options)
        return self._threaded_operations.run(_operation("remus", domain, timeout), work)

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        """Replicate a domain to where two descriptors lead, which are duplicated; see `remus`."""
        info = self._movable("remus", domain)
        remus.check(options)
        operation = _operation("remus", domain, timeout)
        channel = PeerChannel(operation, read_fd, write_fd, peer="the destination")
        return self._converse(operation, channel, remus.remus_over(self._context, info, channel, options))

    def _converse(
        self, operation: Operation[T], channel: PeerChannel, work: Callable[[ThreadedOperation], T]
    ) -> Operation[T]:
        """Begin a threaded operation that closes a channel."""
        try:
            return self._threaded_operations.run(operation, work)
        except BaseException:
            channel.close()
            raise

    def devd(self, *, timeout: float | None) -> Operation[None]:
        """Run the hotplug scripts of the devices that the own domain serves, until stopped."""
        operation: Operation[None] = Operation("devd", timeout=timeout)
        return self._context.run(operation, devd(self._context, operation))

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        """Write a domain's memory to a file."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return save.core_dump(context, operation, domid, path)

        return self._run("core_dump", domain, script, timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Start a guest anew in its own memory."""
        info = self._info("soft_reset", domain)
        if info.type is not DomainType.HVM:
            message = f"soft_reset: {info.name} is a {info.type} guest, and libxl resets HVM guests only: destroy it"
            raise UnsupportedFeature(message, feature="soft_reset", backend=BACKEND)
        if info.state not in ENDS or info.shutdown_reason is ShutdownReason.SUSPEND:
            message = f"{info.name} has not shut down: it is {info.state}"
            raise InvalidState(message, operation="soft_reset", domain=domain.domid, domid=domain.domid)
        return self._run("soft_reset", domain, lifecycle.soft_reset, timeout)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the configuration of a domain as it is now."""
        return self._run("config", domain, configuration.config)

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        """Give a domain another name."""
        DomainConfig(name, kernel="/").validate()  # what a name may be is a rule of the model

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return lifecycle.rename(context, operation, domid, name)

        return self._run("rename", domain, script)

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        """Set aside a domain that has ended, under a name with that suffix and a new uuid."""
        info = self._info("preserve", domain)
        if info.state not in ENDS or info.shutdown_reason is ShutdownReason.SUSPEND:
            message = f"{info.name} has not ended: it is {info.state}"
            raise InvalidState(message, operation="preserve", domain=domain.domid, domid=domain.domid)
        DomainConfig(f"{info.name}{suffix}", kernel="/").validate()

        def script(context: Context, operation: Operation[DomainRef], domid: int) -> Script[DomainRef]:
            uuid = yield from preserve.preserve(context, operation, domid, domain.uuid, suffix)
            return DomainRef(domid, uuid)

        return self._run("preserve", domain, script)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a button, or interrupt a vCPU."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return buttons.send_trigger(context, operation, domid, trigger, vcpu)

        return self._run("send_trigger", domain, script)

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        """Press a key of Linux's magic SysRq."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return buttons.send_sysrq(context, operation, domid, key)

        return self._run("send_sysrq", domain, script)

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        """Attach a device, and return it as it is then; a failure leaves nothing."""
        guest = self._info("attach", domain).type

        def script(context: Context, operation: Operation[D], domid: int) -> Script[D]:
            return devices.attach(context, operation, domid, guest, device)

        return self._run("attach", domain, script, timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        """Detach a device, given by itself or by its name."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return devices.detach(context, operation, domid, device, force=force)

        return self._run("detach", domain, script, timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Put a disc into a CD-ROM drive, in place of what is there."""
        return self._change_disc("insert_cdrom", domain, vdev, target, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Take the disc out of a CD-ROM drive."""
        return self._change_disc("eject_cdrom", domain, vdev, None, timeout)

    def _change_disc(
        self, verb: str, domain: DomainRef, vdev: str, target: str | None, timeout: float | None
    ) -> Operation[None]:
        guest = self._info(verb, domain).type

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return devices.change_disc(context, operation, domid, guest, vdev, target)

        return self._run(verb, domain, script, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Tell a guest how much memory to have, in MiB."""
        DomainConfig("domain", memory=memory)  # what an amount of memory may be is a rule of the model

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return resources.set_memory(context, operation, domid, mib_to_kib(memory))

        return self._run("set_memory", domain, script)

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        """Set how much memory a domain can be given, in MiB."""
        DomainConfig("domain", maxmem=maxmem)

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return resources.set_maxmem(context, operation, domid, mib_to_kib(maxmem))

        return self._run("set_maxmem", domain, script)

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        """Tell a guest how many vCPUs to use."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return resources.set_vcpus(context, operation, domid, vcpus)

        return self._run("set_vcpus", domain, script)

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None
    ) -> Operation[None]:
        """Say on which CPUs a vCPU, or with None all of them, may run, and had better run; None stays as it is."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return resources.pin_vcpu(context, operation, domid, vcpu, cpus, cpus_soft)

        return self._run("pin_vcpu", domain, script)

    def set_scheduler(self, domain: DomainRef, scheduler: Scheduler) -> Operation[None]:
        """Set what the hypervisor's scheduler knows of a domain; what is not said stays."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return resources.set_scheduler(context, operation, domid, scheduler)

        return self._run("set_scheduler", domain, script)

    def monitor_command(self, domain: DomainRef, command: str, *, timeout: float | None) -> Operation[str]:
        """Give a domain's device model a command of its own, and return what it says."""

        def script(context: Context, operation: Operation[str], domid: int) -> Script[str]:
            return monitor.monitor_command(context, operation, domid, command)

        return self._run("monitor_command", domain, script, timeout)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        """Return a note that is kept with a domain; None if there is none under that key."""

        def script(context: Context, operation: Operation[bytes | None], domid: int) -> Script[bytes | None]:
            return userdata.userdata(context, operation, domid, key)

        return self._run("userdata", domain, script)

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        """Keep a note with a domain, in place of the one under that key; None removes it."""

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return userdata.set_userdata(context, operation, domid, key, data)

        return self._run("set_userdata", domain, script)

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return what a domain has used so far."""
        return stats.domain_stats(self._hypervisor, self._info("stats", domain))

    def add_console(
        self, domain: DomainRef, *, port: int | None, gfn: int | None, backend_domid: int
    ) -> Operation[None]:
        """Let xenconsoled know of a domain's console."""
        if not console.CAN_ADD:
            raise lacking(Feature.ADD_CONSOLE, BACKEND, "Xen 4.18 and newer can")

        def script(context: Context, operation: Operation[None], domid: int) -> Script[None]:
            return console.add_console(context, operation, domid, port, gfn, backend_domid)

        return self._run("add_console", domain, script)

    def console(self, domain: DomainRef) -> int:
        """Return a descriptor of a guest's console, which is the caller's to close."""
        return console.open_console(self._hypervisor, self._info("console", domain))

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states, or gone."""
        operation: Operation[DomainInfo | None] = Operation("wait", domain.domid, timeout=timeout)
        operation.domid = domain.domid
        return self._context.run(operation, wait.wait(self._context, domain.domid, domain.uuid, states))

    def _run(
        self,
        verb: str,
        domain: DomainRef,
        script: Callable[[Context, Operation[T], int], Script[T]],
        timeout: float | None = None,
    ) -> Operation[T]:
        if not self._hypervisor.alive(domain.domid, domain.uuid):
            raise _gone(verb, domain)
        operation: Operation[T] = _operation(verb, domain, timeout)
        return self._context.run(operation, script(self._context, operation, domain.domid))

    def _info(self, verb: str, domain: DomainRef) -> DomainInfo:
        info = self._hypervisor.domain(domain.domid)
        if info is None or info.uuid != domain.uuid or info.state is DomainState.DYING:
            raise _gone(verb, domain)
        return info

    def _movable(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return a domain, if its memory can be sent while it runs."""
        info = self._check_answers(verb, domain)
        migrate.check(self._context, info, verb)
        return info

    def _check_answers(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return a domain, if the guest can react to being asked for something."""
        info = self._info(verb, domain)
        check_answers(info, verb)
        return info


def _operation(verb: str, domain: DomainRef, timeout: float | None) -> Operation[Any]:
    operation: Operation[Any] = Operation(verb, domain.domid, timeout=timeout)
    operation.domid = domain.domid
    return operation


def _gone(verb: str, domain: DomainRef) -> DomainNotFound:
    message = f"there is no domain {domain.domid} with the uuid {domain.uuid}: it is gone"
    return DomainNotFound(message, operation=verb, domain=domain.domid, domid=domain.domid)
