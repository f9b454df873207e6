"""The way to a host in memory: what `pyxen.connect` opens for ``memory:///``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar
from uuid import UUID

from pyxen import libxljson
from pyxen._common.preconditions import check_answers
from pyxen.backends.base import Backend, DomainRef
from pyxen.backends.memory import (
    buttons,
    configuration,
    defined,
    devices,
    lifecycle,
    preserve,
    resources,
    save,
    stats,
    suspend,
    userdata,
    wait,
)
from pyxen.backends.memory.console import Console
from pyxen.backends.memory.engine import Script, describe
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.backends.memory.machine import Machine, Subscriber
from pyxen.config import CpuSet, DomainConfig, DomainType, Part, Scheduler, newer_than
from pyxen.errors import DomainNotFound, HostClosed, InvalidState, NotFound, OperationFailed, UnsupportedFeature
from pyxen.events import Event
from pyxen.features import Feature
from pyxen.info import ENDS, DefinedDomain, DomainInfo, DomainState, DomainStats, HostInfo, ShutdownReason, Trigger
from pyxen.operation import Operation
from pyxen.units import mib_to_kib

__all__ = ["MemoryBackend"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)

_LACKS = {Feature.MIGRATE, Feature.MIGRATE_OVER, Feature.MONITOR, Feature.DEVD, Feature.ADD_CONSOLE, Feature.REMUS}

_NOT_TO_DOM0 = {"destroy", "pause", "unpause", "shutdown", "reboot", "suspend", "save", "core_dump", "preserve"}
"""What cannot be done to the domain that all this comes from."""


class MemoryBackend(Backend):
    """A way to a host in memory; several may lead to one.

    Args:
        machine: The host.

    Raises:
        ConnectFailed: It went away.
    """

    name = "memory"
    features = frozenset(Feature) - _LACKS

    def __init__(self, machine: Machine) -> None:
        if machine.lost is not None:
            raise machine.lost
        self._machine = machine
        self._subscribers: list[Subscriber] = []
        self._closed = False
        self._pid = os.getpid()
        machine.engine.begin_use()

    @property
    def uri(self) -> str:
        """How `pyxen.connect` finds this host."""
        return self._machine.uri

    @property
    def machine(self) -> Machine:
        """The host."""
        return self._machine

    def close(self) -> None:
        """Stop what runs and let go of the host; may be called again."""
        if os.getpid() != self._pid:
            return  # the thread is the parent's
        engine = self._machine.engine
        with engine.changed:
            if self._closed:
                return
            self._closed = True
        running = engine.stop("closed", self)
        if not engine.is_me():
            for operation in running:
                operation.exception()
        self._end_subscriptions()
        engine.end_use()

    def _end_subscriptions(self) -> None:
        with self._machine.lock:
            subscribers, self._subscribers = self._subscribers, []
            for subscriber in subscribers:
                self._machine.engine.say(subscriber.end)

    def info(self) -> HostInfo:
        """Return the figures of the host."""
        with self._machine.lock:
            self._check("info")
            return self._machine.info()

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""
        with self._machine.lock:
            self._check("list")
            return [guest.info() for _, guest in sorted(self._machine.domains.items())]

    def orphans(self) -> tuple[DomainRef, ...]:
        """Return nothing: what is in this process goes with it."""
        self._check("orphans")
        return ()

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed."""
        subscriber = Subscriber(on_event, on_end)
        with self._machine.lock:
            self._check("events")
            self._subscribers = [*(one for one in self._subscribers if one.listens), subscriber]
            self._machine.subscribe(subscriber)
        return lambda: _leave(subscriber)

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""
        with self._machine.lock:
            return self._guest("info", domain).info()

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""
        self._check("create", config.name)
        return self._create("create", config, None, paused=paused, timeout=timeout)

    def _create(
        self, verb: str, config: DomainConfig, uuid: UUID | None, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        config.validate()
        _check_release(config, self._machine.xen)
        libxljson.to_dict(config.replace(ms_vm_genid=None))  # what libxl cannot be told is refused there
        operation: Operation[DomainRef] = Operation(verb, config.name, timeout=timeout)
        return self._run(
            operation, _ref(lifecycle.create(self._machine, operation, config, uuid, paused=paused)), timeout
        )

    def restore(
        self, path: str, config: DomainConfig | None, *, paused: bool, timeout: float | None
    ) -> Operation[DomainRef]:
        """Create a domain from a file; a failure leaves nothing."""
        self._check("restore", path)
        if config is not None:
            config.validate()
        operation: Operation[DomainRef] = Operation("restore", path, timeout=timeout)
        script = save.restore(self._machine, operation, path, config, paused=paused)
        return self._run(operation, _ref(script), timeout)

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""
        return self._do("destroy", domain, lambda _, guest: lifecycle.destroy(self._machine, guest), timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""
        return self._at_once("pause", domain, Guest.pause)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""
        return self._do("unpause", domain, lifecycle.unpause)

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""

        def script(operation: Operation[None], guest: Guest) -> Script[None]:
            return lifecycle.shutdown(self._machine, operation, guest, wait=wait, fallback=fallback)

        self._check_answers("shutdown", domain)
        return self._do("shutdown", domain, script, timeout)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        self._check_answers("reboot", domain)
        return self._do("reboot", domain, lambda op, guest: lifecycle.reboot(self._machine, op, guest), timeout)

    def suspend(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Let the guest suspend itself and stay in memory."""
        self._check_answers("suspend", domain)
        return self._do("suspend", domain, lambda op, guest: suspend.suspend(self._machine, op, guest), timeout)

    def resume(self, domain: DomainRef) -> Operation[None]:
        """Let a suspended guest go on."""
        info = self._glance("resume", domain)
        if info.shutdown_reason is not ShutdownReason.SUSPEND:
            raise _wrong_state("resume", domain, f"{info.name} is {info.state}, not suspended")
        return self._do("resume", domain, lambda _, guest: suspend.resume(guest))

    def save(
        self, domain: DomainRef, path: str, *, checkpoint: bool, leave_paused: bool, timeout: float | None
    ) -> Operation[None]:
        """Save a domain to a file."""

        def script(operation: Operation[None], guest: Guest) -> Script[None]:
            return save.save(self._machine, operation, guest, path, checkpoint=checkpoint, leave_paused=leave_paused)

        self._check_answers("save", domain)
        return self._do("save", domain, script, timeout)

    def core_dump(self, domain: DomainRef, path: str, *, timeout: float | None) -> Operation[None]:
        """Write what stands for a domain's memory to a file."""
        machine = self._machine
        return self._do("core_dump", domain, lambda op, guest: save.core_dump(machine, op, guest, path), timeout)

    def soft_reset(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Start a guest anew that has shut down for a soft reset."""
        info = self._glance("soft_reset", domain)
        if info.type is not DomainType.HVM:
            message = f"soft_reset: {info.name} is a {info.type} guest, and libxl resets HVM guests only: destroy it"
            raise UnsupportedFeature(message, feature=Feature.SOFT_RESET.value, backend=self.name)
        if info.state not in ENDS or info.shutdown_reason is ShutdownReason.SUSPEND:
            raise _wrong_state("soft_reset", domain, f"{info.name} has not shut down: it is {info.state}")
        return self._do("soft_reset", domain, lambda _, guest: lifecycle.soft_reset(guest), timeout)

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Return the configuration of a domain as it is now."""
        return self._at_once("config", domain, configuration.config)

    def rename(self, domain: DomainRef, name: str) -> Operation[None]:
        """Give a domain another name."""
        DomainConfig(name, kernel="/").validate()  # what a name may be is a rule of the model
        return self._do("rename", domain, lambda op, guest: lifecycle.rename(self._machine, op, guest, name))

    def preserve(self, domain: DomainRef, suffix: str) -> Operation[DomainRef]:
        """Set aside a domain that has ended, under a name with that suffix and a new uuid."""
        info = self._glance("preserve", domain)
        if info.state not in ENDS or info.shutdown_reason is ShutdownReason.SUSPEND:
            raise _wrong_state("preserve", domain, f"{info.name} has not ended: it is {info.state}")
        DomainConfig(f"{info.name}{suffix}", kernel="/").validate()

        def script(operation: Operation[DomainRef], guest: Guest) -> Script[DomainRef]:
            uuid = yield from preserve.preserve(self._machine, operation, guest, suffix)
            return DomainRef(guest.domid, uuid)

        return self._do("preserve", domain, script)

    def send_trigger(self, domain: DomainRef, trigger: Trigger, *, vcpu: int) -> Operation[None]:
        """Press a button, or interrupt a vCPU."""
        return self._do("send_trigger", domain, lambda op, guest: buttons.send_trigger(op, guest, trigger, vcpu))

    def send_sysrq(self, domain: DomainRef, key: str) -> Operation[None]:
        """Press a key of Linux's magic SysRq."""
        return self._do("send_sysrq", domain, lambda op, guest: buttons.send_sysrq(op, guest, key))

    def attach(self, domain: DomainRef, device: D, *, timeout: float | None) -> Operation[D]:
        """Attach a device, and return it as it is then; a failure leaves nothing."""

        def script(operation: Operation[D], guest: Guest) -> Script[D]:
            return devices.attach(self._machine, operation, guest, device, self.name)

        return self._do("attach", domain, script, timeout)

    def detach(self, domain: DomainRef, device: Part | str, *, force: bool, timeout: float | None) -> Operation[None]:
        """Detach a device, given by itself or by its name."""

        def script(operation: Operation[None], guest: Guest) -> Script[None]:
            return devices.detach(self._machine, operation, guest, device, self.name, force=force)

        return self._do("detach", domain, script, timeout)

    def insert_cdrom(self, domain: DomainRef, vdev: str, target: str, *, timeout: float | None) -> Operation[None]:
        """Put a disc into a CD-ROM drive, in place of what is there."""
        return self._change_disc("insert_cdrom", domain, vdev, target, timeout)

    def eject_cdrom(self, domain: DomainRef, vdev: str, *, timeout: float | None) -> Operation[None]:
        """Take the disc out of a CD-ROM drive."""
        return self._change_disc("eject_cdrom", domain, vdev, None, timeout)

    def _change_disc(
        self, verb: str, domain: DomainRef, vdev: str, target: str | None, timeout: float | None
    ) -> Operation[None]:
        def script(operation: Operation[None], guest: Guest) -> Script[None]:
            return devices.change_disc(self._machine, operation, guest, vdev, target, self.name)

        return self._do(verb, domain, script, timeout)

    def set_memory(self, domain: DomainRef, memory: float) -> Operation[None]:
        """Tell a guest how much memory to have, in MiB."""
        DomainConfig("domain", memory=memory)  # what an amount of memory may be is a rule of the model
        kib = mib_to_kib(memory)
        return self._do("set_memory", domain, lambda op, guest: resources.set_memory(self._machine, op, guest, kib))

    def set_maxmem(self, domain: DomainRef, maxmem: float) -> Operation[None]:
        """Set how much memory a domain can be given, in MiB."""
        DomainConfig("domain", maxmem=maxmem)
        kib = mib_to_kib(maxmem)
        return self._do("set_maxmem", domain, lambda op, guest: resources.set_maxmem(op, guest, kib))

    def set_vcpus(self, domain: DomainRef, vcpus: int) -> Operation[None]:
        """Tell a guest how many vCPUs to use."""
        return self._do("set_vcpus", domain, lambda op, guest: resources.set_vcpus(op, guest, vcpus))

    def pin_vcpu(
        self, domain: DomainRef, vcpu: int | None, cpus: CpuSet | None, cpus_soft: CpuSet | None
    ) -> Operation[None]:
        """Say on which CPUs a vCPU, or with None all of them, may run, and had better run; None stays as it is."""

        def script(operation: Operation[None], guest: Guest) -> Script[None]:
            return resources.pin_vcpu(self._machine, operation, guest, vcpu, cpus, cpus_soft)

        return self._do("pin_vcpu", domain, script)

    def set_scheduler(self, domain: DomainRef, scheduler: Scheduler) -> Operation[None]:
        """Set what the hypervisor's scheduler knows of a domain; what is not said stays."""
        name = self.name
        return self._do("set_scheduler", domain, lambda op, guest: resources.set_scheduler(op, guest, scheduler, name))

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Wait until a domain is in one of these states, or gone."""
        self._check("wait", domain.domid)
        operation: Operation[DomainInfo | None] = Operation("wait", domain.domid, timeout=timeout)
        operation.domid = domain.domid
        with self._machine.lock:
            guest = self._find(domain)
            script = _nothing() if guest is None else wait.wait(guest, states)
            return self._run(operation, script, timeout)

    def userdata(self, domain: DomainRef, key: str) -> Operation[bytes | None]:
        """Return a note that is kept with a domain."""
        return self._do("userdata", domain, lambda op, guest: userdata.userdata(op, guest, key))

    def set_userdata(self, domain: DomainRef, key: str, data: bytes | None) -> Operation[None]:
        """Keep a note with a domain; None removes it."""
        return self._do("set_userdata", domain, lambda op, guest: userdata.set_userdata(op, guest, key, data))

    def stats(self, domain: DomainRef) -> DomainStats:
        """Return what a domain has used so far."""
        with self._machine.lock:
            return stats.stats(self._guest("stats", domain))

    def console(self, domain: DomainRef) -> int:
        """Return a descriptor of a guest's console, which is the caller's to close."""
        with self._machine.lock:
            guest = self._guest("console", domain)
            if is_hvm(guest) and "pty" not in guest.config.serial:
                message = f'{guest.name} has no console: an HVM guest has one with serial=["pty"]'
                raise NotFound(message, operation="console", domain=domain.domid, domid=domain.domid)
            if guest.console is None:
                guest.console = Console()
            return guest.console.open()

    def define(self, config: DomainConfig, *, autostart: bool | None) -> DefinedDomain:
        """Keep a configuration, in place of one with the same uuid or name."""
        config.validate()
        with self._machine.lock:
            self._check("define", config.name)
            return defined.define(self._machine, config, autostart)

    def undefine(self, uuid: UUID) -> None:
        """Forget a configuration; a domain that runs of it goes on."""
        with self._machine.lock:
            self._check("undefine", uuid)
            defined.kept(self._machine, uuid, "undefine")
            del self._machine.kept[uuid]

    def defined(self) -> Sequence[DefinedDomain]:
        """Return what is kept, by name; running or not."""
        with self._machine.lock:
            self._check("defined")
            return defined.defined(self._machine)

    def set_autostart(self, uuid: UUID, autostart: bool) -> None:
        """Say whether a kept domain is started with its host."""
        with self._machine.lock:
            self._check("set_autostart", uuid)
            defined.kept(self._machine, uuid, "set_autostart").autostart = autostart

    def start(self, uuid: UUID, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain of what is kept under that uuid."""
        with self._machine.lock:
            self._check("start", uuid)
            kept = defined.kept(self._machine, uuid, "start")
        return self._create("start", kept.config, uuid, paused=paused, timeout=timeout)

    # How it is done

    def _check(self, verb: str, *names: str | int | UUID) -> None:
        """Refuse what comes too late, and what shall fail."""
        if self._closed or os.getpid() != self._pid:
            raise HostClosed("the host is closed, or was opened before a fork: open it anew")
        with self._machine.lock:
            if self._machine.lost is not None:
                raise self._machine.lost
            fault = self._machine.fault(verb, *names)
        if isinstance(fault, OperationFailed):
            fault.operation = fault.operation or verb
            if fault.domain is None and names:
                fault.domain = names[0] if isinstance(names[0], int) else str(names[0])
        if fault is not None:
            raise fault

    def _find(self, domain: DomainRef) -> Guest | None:
        guest = self._machine.domains.get(domain.domid)
        return guest if guest is not None and guest.uuid == domain.uuid else None

    def _guest(self, verb: str, domain: DomainRef) -> Guest:
        """Return a domain that is there, unless the verb shall fail; under the lock."""
        guest = self._find(domain)
        self._check(verb, domain.domid, domain.uuid, *([guest.name] if guest is not None else []))
        return self._there(verb, domain, guest)

    def _glance(self, verb: str, domain: DomainRef) -> DomainInfo:
        """Return what a domain looks like before a verb is begun."""
        with self._machine.lock:
            self._check("")
            return self._there(verb, domain, self._find(domain)).info()

    def _there(self, verb: str, domain: DomainRef, guest: Guest | None) -> Guest:
        if guest is None:
            message = f"there is no domain {domain.domid} with the uuid {domain.uuid}: it is gone"
            raise DomainNotFound(message, operation=verb, domain=domain.domid, domid=domain.domid)
        return guest

    def _check_answers(self, verb: str, domain: DomainRef) -> None:
        """Check that the guest can react to being asked for something."""
        check_answers(self._glance(verb, domain), verb)

    def _do(
        self,
        verb: str,
        domain: DomainRef,
        script: Callable[[Operation[T], Guest], Script[T]],
        timeout: float | None = None,
    ) -> Operation[T]:
        operation: Operation[T] = Operation(verb, domain.domid, timeout=timeout)
        operation.domid = domain.domid
        with self._machine.lock:
            guest = self._guest(verb, domain)
            if guest.domid == 0 and verb in _NOT_TO_DOM0:
                raise describe(OperationFailed, "dom0 is the host itself: this cannot be done to it", operation)
            return self._run(operation, _while_there(operation, guest, script(operation, guest)), timeout)

    def _at_once(self, verb: str, domain: DomainRef, call: Callable[[Guest], T]) -> Operation[T]:
        def script(_: Operation[T], guest: Guest) -> Script[T]:
            yield from ()
            return call(guest)

        return self._do(verb, domain, script)

    def _run(self, operation: Operation[T], script: Script[T], timeout: float | None) -> Operation[T]:
        with self._machine.lock:
            self._check("")
            return self._machine.engine.run(operation, script, self, timeout)


def _leave(subscriber: Subscriber) -> None:
    subscriber.listens = False


def _nothing() -> Script[None]:
    yield from ()


def _ref(script: Script[Guest]) -> Script[DomainRef]:
    guest = yield from script
    return DomainRef(guest.domid, guest.uuid)


def _while_there(operation: Operation[Any], guest: Guest, script: Script[T]) -> Script[T]:
    """Do something to a domain, unless it went when it was about to begin."""
    lifecycle.check_there(operation, guest)
    return (yield from script)


def _check_release(config: DomainConfig, xen: str) -> None:
    """Refuse what the host's Xen does not know."""
    release = ".".join(xen.split(".")[:2])
    newer = newer_than(config, release)
    if newer:
        message = f"Xen {release} has no {newer[0].path}: leave it out, or use a newer Xen"
        raise UnsupportedFeature(message, feature=newer[0].path, backend="memory")


def _wrong_state(verb: str, domain: DomainRef, message: str) -> InvalidState:
    return InvalidState(message, operation=verb, domain=domain.domid, domid=domain.domid)
