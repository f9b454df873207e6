"""Scripts that create, run and end domains on a simulated host."""

from __future__ import annotations

import os
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from pyxen._common.defaults import with_memory
from pyxen._common.endings import LEFT, SETTINGS, ended_otherwise, has_ended
from pyxen._common.host_files import files_of_config, files_of_stubdomain
from pyxen._common.needs import needed_kib
from pyxen._common.preconditions import check_paused, check_pool, name_taken, not_enough_memory, uuid_taken
from pyxen._common.scripts import at_once
from pyxen.backends.memory.buttons import send_trigger
from pyxen.backends.memory.defaults import filled, random_uuid
from pyxen.backends.memory.device_records import in_ports
from pyxen.backends.memory.devices import check_backends, check_devices, check_files
from pyxen.backends.memory.engine import Script, Stopped, Wait, describe, failed
from pyxen.backends.memory.guests import Guest, lacks_drivers
from pyxen.backends.memory.host_devices import by_address
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.pools import Pool
from pyxen.backends.memory.room import check_room, make_room
from pyxen.backends.memory.topology import node_cpus
from pyxen.config import ActionOnShutdown, DomainConfig, DomainType, newer_than
from pyxen.errors import (
    DomainNotFound,
    InvalidArgument,
    NoGuestDriver,
    OperationFailed,
    OperationTimeout,
    UnsupportedFeature,
)
from pyxen.operation import Operation
from pyxen.records.info import ShutdownReason, Trigger

__all__ = [
    "check_create",
    "check_name",
    "check_release",
    "check_there",
    "create",
    "destroy",
    "new_guest",
    "reboot",
    "rename",
    "shutdown",
    "soft_reset",
    "unpause",
    "while_there",
]

T = TypeVar("T")

_ERROR_NOPARAVIRT: Final = -10


def create(
    machine: Machine,
    operation: Operation[Any],
    config: DomainConfig,
    uuid: UUID | None,
    *,
    paused: bool,
    autoballoon: bool | None,
) -> Script[Guest]:
    """Create a domain; a failed create leaves nothing behind."""
    yield from make_room(machine, operation, with_memory(config), autoballoon)
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
    """Raise an error if the domain has been destroyed in the meantime."""
    if guest.gone:
        raise describe(DomainNotFound, "the domain was destroyed meanwhile", operation)


def _check_uuid(machine: Machine, operation: Operation[Any], uuid: UUID, twin: Guest | None) -> None:
    """Refuse a uuid that is in use."""
    other = next((guest for guest in machine.domains.values() if guest.uuid == uuid), None)
    if other is not None and other is not twin:
        raise uuid_taken(operation, other.info())


def _check_memory(machine: Machine, operation: Operation[Any], config: DomainConfig) -> None:
    """Refuse a domain for which there is not enough memory."""
    needed, free = needed_kib(config), machine.free_kib()
    if needed > free:
        raise not_enough_memory(operation, needed, free)


def _check_built(machine: Machine, operation: Operation[Any], config: DomainConfig) -> None:
    """Refuse what libxl finds only when the domain has a domid already."""
    files = [config.kernel, config.ramdisk]
    relative = [path for path in (*files, *files_of_stubdomain(config)) if path and path[0] != "/"]
    check_files(machine, operation, *files_of_config(config), *relative)
    if config.kernel == "" or any(
        path is not None and machine.files_are_here and os.path.isdir(path) for path in files
    ):
        raise failed(operation, "xc: panic: failed to read the kernel or ramdisk")
    if config.type is not DomainType.PV and config.shadow_memory == 0:
        raise failed(operation, f"Domain {operation.domid}:Failed to set paging memory")
    check_devices(machine, operation, config)


def check_name(machine: Machine, operation: Operation[Any], name: str, owner: Guest | None = None) -> None:
    """Refuse a name that is taken by another domain."""
    other = machine.named(name)
    if other is not None and other is not owner:
        raise name_taken(operation, other.domid, name)


def new_guest(
    machine: Machine,
    operation: Operation[Any],
    config: DomainConfig,
    uuid: UUID | None,
    *,
    twin: Guest | None = None,
) -> Guest:
    """Return a new domain, still being built.

    Args:
        machine: The host.
        operation: The operation that makes it.
        config: Its configuration.
        uuid: Its uuid; None for that of the configuration, or a random one.
        twin: A domain that may have the same uuid: the source of a migration.
    """
    identity = uuid or config.uuid or random_uuid(machine.random)
    whole, pool = _checked(machine, operation, config, identity, twin)
    check_name(machine, operation, config.name)
    _check_memory(machine, operation, whole)
    domid = operation.domid = machine.next_domid(operation, config.domid)
    try:
        _check_built(machine, operation, whole)
    except OperationFailed:
        machine.leave(domid)
        raise
    whole = whole.replace(domid=domid, pcis=by_address(machine, whole.pcis), usbdevs=in_ports(whole))
    guest = Guest(machine, domid, identity, whole, machine.timing)
    guest.ask_backends(config.disks)
    guest.poolid = pool.number
    guest.schedule_as(pool.scheduler, whole.scheduler)
    machine.add(guest)
    return guest


@at_once
def check_create(
    machine: Machine, operation: Operation[Any], config: DomainConfig, autoballoon: bool | None
) -> DomainConfig:
    """Refuse a domain that cannot be created now."""
    whole, _ = _checked(machine, operation, config, config.uuid or uuid4())
    check_name(machine, operation, config.name)
    check_room(machine, operation, whole, autoballoon)
    _check_built(machine, operation, whole)
    return config


def _checked(
    machine: Machine, operation: Operation[Any], config: DomainConfig, identity: UUID, twin: Guest | None = None
) -> tuple[DomainConfig, Pool]:
    """Return the whole configuration of a domain that can be created, and its CPU pool."""
    whole = filled(config, 0x7FFF, identity, node_cpus(machine), machine.random)
    pool = _pool(machine, operation, whole)
    check_pool(whole, "memory", scheduler=pool.scheduler, cpus=pool.cpus)
    check_backends(machine, operation, config)
    _check_uuid(machine, operation, identity, twin)
    return whole, pool


def _pool(machine: Machine, operation: Operation[Any], config: DomainConfig) -> Pool:
    """Return the CPU pool that a new domain is to be in."""
    key = str(config.poolid) if config.pool is None else config.pool  # a name can also be a number here, as in libxl
    number = int(key) if key.isdecimal() else None
    found = (pool for pool in machine.pools.values() if pool.number == number or pool.name == key)
    pool = next(found, None)
    if pool is None:
        message = f"pool={key}: the host has no CPU pool of that name or number"
        raise describe(InvalidArgument, message, operation)
    return pool


@at_once
def destroy(machine: Machine, guest: Guest) -> None:
    """Destroy a domain."""
    machine.remove(guest)


@at_once
def unpause(_: Operation[Any], guest: Guest) -> None:
    """Decrease the pause count."""
    if not guest.paused:
        check_paused(guest.info())
    guest.unpause()


def shutdown(machine: Machine, operation: Operation[Any], guest: Guest, *, wait: bool, fallback: bool) -> Script[None]:
    """Ask a guest to power off."""
    if fallback and lacks_drivers(guest):
        guest.press(ShutdownReason.POWEROFF)
    else:
        yield from _asked(machine, operation, guest, "poweroff")
    if not wait:
        return
    yield Wait(ready=lambda: guest.gone or has_ended(guest.reason))
    if guest.gone or guest.reason is None:
        return
    setting = SETTINGS[guest.reason]
    is_destroyed = getattr(guest.config, setting) == ActionOnShutdown.DESTROY
    if is_destroyed:
        machine.remove(guest)
    if guest.reason is not ShutdownReason.POWEROFF:
        fate = f"its domain is destroyed, as {setting} says" if is_destroyed else LEFT
        raise ended_otherwise(operation, guest.reason, fate)


def reboot(machine: Machine, operation: Operation[Any], guest: Guest, *, wait: bool, fallback: bool) -> Script[None]:
    """Ask a guest to reboot."""
    if fallback and lacks_drivers(guest):
        yield from send_trigger(operation, guest, Trigger.RESET, 0)
    else:
        yield from _asked(machine, operation, guest, "reboot")
    if wait:
        yield Wait(ready=lambda: guest.gone or has_ended(guest.reason))


def _asked(machine: Machine, operation: Operation[Any], guest: Guest, what: str) -> Script[None]:
    """Send a request to a guest, and wait until the guest acknowledges it."""
    if lacks_drivers(guest):
        message = "the guest has no PV driver that could answer (ERROR_NOPARAVIRT)"
        raise describe(NoGuestDriver, message, operation, _ERROR_NOPARAVIRT)
    guest.ask(what)
    late = machine.now() + machine.timing.patience
    yield Wait(until=late, ready=lambda: guest.gone or guest.request is None)
    if guest.request is not None and not guest.gone:
        raise describe(OperationTimeout, "the guest did not acknowledge the request in time", operation)


@at_once
def soft_reset(machine: Machine, guest: Guest) -> None:
    """Restart a guest in its existing memory."""
    guest.begin()
    machine.note(guest)
    guest.go_on()


@at_once
def rename(machine: Machine, operation: Operation[Any], guest: Guest, name: str) -> None:
    """Rename a domain."""
    check_name(machine, operation, name, guest)
    machine.rename(guest, name)


def check_release(config: DomainConfig, xen: str) -> None:
    """Refuse settings that are newer than the host's Xen."""
    release = ".".join(xen.split(".")[:2])
    newer = newer_than(config, release)
    if newer:
        message = f"Xen {release} does not support {newer[0].path}: {newer[0].message}; leave it out"
        raise UnsupportedFeature(message, feature=newer[0].path, backend="memory")


def while_there(operation: Operation[Any], guest: Guest, script: Script[T]) -> Script[T]:
    """Run a script on a domain, unless the domain went away before the script started."""
    check_there(operation, guest)
    return (yield from script)
