"""The life of domains on a host in memory: the scripts that make, run and end them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from pyxen.backends.memory.checks import check_name, check_new
from pyxen.backends.memory.defaults import filled, random_uuid
from pyxen.backends.memory.engine import Script, Stopped, Wait, describe
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.backends.memory.machine import Machine, about
from pyxen.config import ActionOnShutdown, DomainConfig
from pyxen.errors import DomainNotFound, GuestTimeout, InvalidArgument, NoGuestDriver, OperationFailed, OperationTimeout
from pyxen.events import DomainDestroyed, DomainRenamed
from pyxen.info import DomainInfo, DomainState, ShutdownReason, Trigger
from pyxen.operation import Operation

__all__ = [
    "check_there",
    "create",
    "destroy",
    "new_guest",
    "preserve",
    "reboot",
    "rename",
    "send_sysrq",
    "send_trigger",
    "shutdown",
    "soft_reset",
    "suspend",
    "unpause",
    "wait",
]

_KEYS = {"b": ShutdownReason.REBOOT, "o": ShutdownReason.POWEROFF, "c": ShutdownReason.CRASH}
"""What some keys of Linux's magic SysRq do."""


def create(
    machine: Machine, operation: Operation[Any], config: DomainConfig, uuid: UUID | None, *, paused: bool
) -> Script[Guest]:
    """Create a domain; whatever goes wrong, nothing of it stays."""
    guest = new_guest(machine, operation, config, uuid)
    try:
        yield Wait(until=machine.now() + machine.timing.create, ready=lambda: guest.gone)
    except Stopped:
        machine.remove(guest)
        raise
    check_there(operation, guest)
    guest.begin()
    machine.introduce(guest)
    guest.set_paused(paused)
    return guest


def check_there(operation: Operation[Any], guest: Guest) -> None:
    """Refuse to go on with a domain that someone has destroyed meanwhile."""
    if guest.gone:
        raise describe(DomainNotFound, "the domain was destroyed meanwhile", operation)


def new_guest(machine: Machine, operation: Operation[Any], config: DomainConfig, uuid: UUID | None) -> Guest:
    """Return a domain that is being built."""
    identity = uuid or config.uuid or random_uuid(machine.random)
    whole = filled(config, 0x7FFF, identity, machine.cpus, machine.random)
    check_new(machine, operation, whole, identity)
    domid = machine.next_domid(operation, config.domid)
    guest = Guest(machine, domid, identity, whole.replace(domid=domid), machine.timing)
    operation.domid = domid
    machine.add(guest)
    return guest


def destroy(machine: Machine, guest: Guest) -> Script[None]:
    """End a domain at once."""
    yield from ()
    machine.remove(guest)


def unpause(operation: Operation[Any], guest: Guest) -> Script[None]:
    """Take back one pause."""
    yield from ()
    if not guest.paused:
        operation.log.append("unpausing domain: Invalid argument")
        raise describe(OperationFailed, "the domain is not paused", operation)
    guest.unpause()


def shutdown(machine: Machine, operation: Operation[Any], guest: Guest, *, wait: bool, fallback: bool) -> Script[None]:
    """Ask a guest to power off."""
    if fallback and not guest.drivers and is_hvm(guest):
        guest.press(ShutdownReason.POWEROFF)
    else:
        yield from _asked(machine, operation, guest, "poweroff")
    if not wait:
        return
    yield Wait(ready=lambda: guest.gone or guest.reason is not None)
    if not guest.gone and guest.config.on_poweroff is ActionOnShutdown.DESTROY:
        machine.remove(guest)


def reboot(machine: Machine, operation: Operation[Any], guest: Guest) -> Script[None]:
    """Ask a guest to reboot."""
    yield from _asked(machine, operation, guest, "reboot")


def _asked(machine: Machine, operation: Operation[Any], guest: Guest, what: str) -> Script[None]:
    """Ask a guest for something, and wait until it has taken note."""
    if not guest.drivers and is_hvm(guest):
        raise describe(NoGuestDriver, "the guest has no PV driver that could answer", operation)
    guest.ask(what)
    late = machine.now() + machine.timing.patience
    yield Wait(until=late, ready=lambda: guest.gone or guest.request is None)
    if guest.request is not None and not guest.gone:
        raise describe(OperationTimeout, "the guest did not take note of it in time", operation)


def suspend(machine: Machine, operation: Operation[Any], guest: Guest) -> Script[None]:
    """Let a guest suspend itself."""
    if not guest.drivers and is_hvm(guest):
        raise describe(NoGuestDriver, "the guest has no PV driver that could answer", operation)
    guest.ask("suspend")
    late = machine.now() + machine.timing.patience
    try:
        yield Wait(until=late, ready=lambda: guest.gone or guest.reason is not None)
    except Stopped:
        guest.request = None
        raise
    if guest.gone or guest.reason not in {None, ShutdownReason.SUSPEND}:
        raise describe(OperationFailed, "the guest ended instead of suspending itself", operation)
    if guest.reason is None:
        guest.request = None
        message = "the guest did not suspend itself in time: it does not know how, or does not want to"
        raise describe(GuestTimeout, message, operation)


def soft_reset(guest: Guest) -> Script[None]:
    """Start a guest anew in its own memory."""
    yield from ()
    guest.begin()
    guest.go_on()


def wait(guest: Guest, states: Collection[DomainState]) -> Script[DomainInfo | None]:
    """Wait until a domain is in one of these states, or gone."""
    yield Wait(ready=lambda: guest.gone or guest.state in states)
    return None if guest.gone else guest.info()


def rename(machine: Machine, operation: Operation[Any], guest: Guest, name: str) -> Script[None]:
    """Give a domain another name."""
    yield from ()
    check_name(machine, operation, name, guest)
    old = guest.name
    guest.config = guest.config.replace(name=name)
    if name != old:
        machine.tell(DomainRenamed(**about(guest), old=old, new=name))


def preserve(machine: Machine, operation: Operation[Any], guest: Guest, suffix: str) -> Script[UUID]:
    """Give a domain that has ended another name and another uuid, and return that uuid."""
    yield from ()
    name = guest.name + suffix
    check_name(machine, operation, name)
    machine.tell(DomainDestroyed(**about(guest)))
    guest.uuid = random_uuid(machine.random)
    guest.config = guest.config.replace(name=name, uuid=guest.uuid)
    machine.introduce(guest)
    return guest.uuid


def send_trigger(operation: Operation[Any], guest: Guest, trigger: Trigger, vcpu: int) -> Script[None]:
    """Press a button, or interrupt a vCPU."""
    yield from ()
    if trigger is not Trigger.NMI and not is_hvm(guest):
        raise describe(OperationFailed, f"a {guest.config.type.upper()} guest knows no {trigger}", operation)
    if not 0 <= vcpu < guest.config.effective_maxvcpus:
        raise describe(OperationFailed, f"the domain has no vCPU {vcpu}", operation)
    if trigger is Trigger.POWER:
        guest.press(ShutdownReason.POWEROFF)
    elif trigger is Trigger.RESET:
        guest.end(ShutdownReason.REBOOT)


def send_sysrq(operation: Operation[Any], guest: Guest, key: str) -> Script[None]:
    """Press a key of Linux's magic SysRq."""
    yield from ()
    if len(key) != 1 or not key.isascii() or not key.isprintable():
        raise describe(InvalidArgument, f"{key!r} is no key: it takes one letter, as 's' for sync", operation)
    if key in _KEYS:
        guest.soon(lambda: guest.end(_KEYS[key]))
