"""The defined domains of a simulated host."""

from __future__ import annotations

from uuid import UUID

from pyxen.backends.memory.defaults import random_uuid
from pyxen.backends.memory.machine import Kept, Machine
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, DomainNotFound
from pyxen.events import DomainDefined, DomainUndefined
from pyxen.records.info import DefinedDomain

__all__ = ["define", "defined", "kept", "undefine"]


def define(machine: Machine, config: DomainConfig, autostart: bool | None) -> DefinedDomain:
    """Define a domain; this replaces the definition with the same uuid or name."""
    named = next((kept for kept in machine.kept.values() if kept.config.name == config.name), None)
    uuid = config.uuid or (named.uuid if named is not None else _uuid_of_running(machine, config.name))
    if named is not None and named.uuid != uuid:
        message = f"a domain with this name is defined with the uuid {named.uuid}: leave the uuid out, or undefine it"
        raise DomainExists(message, operation="define", domain=config.name)
    other = next(
        (guest for guest in machine.domains.values() if _clash(guest.name, guest.uuid, config.name, uuid)), None
    )
    if other is not None:
        message = f"domain {other.domid} ({other.name}) already has either this name or this uuid, but not both"
        raise DomainExists(message, operation="define", domain=config.name, domid=other.domid)
    before = machine.kept.get(uuid)
    starts = autostart if autostart is not None else before is not None and before.autostart
    machine.kept[uuid] = Kept(config.replace(uuid=uuid), uuid, starts)
    machine.tell(DomainDefined(uuid=uuid, name=config.name, time=machine.moment(), is_new=before is None))
    return _shown(machine, machine.kept[uuid])


def undefine(machine: Machine, uuid: UUID) -> None:
    """Forget a definition."""
    one = kept(machine, uuid, "undefine")
    del machine.kept[uuid]
    machine.tell(DomainUndefined(uuid=uuid, name=one.config.name, time=machine.moment()))


def defined(machine: Machine) -> list[DefinedDomain]:
    """Return the defined domains, by name."""
    return sorted((_shown(machine, kept) for kept in machine.kept.values()), key=lambda shown: shown.name)


def kept(machine: Machine, uuid: UUID, verb: str) -> Kept:
    """Return the definition with this uuid."""
    if uuid not in machine.kept:
        raise DomainNotFound(f"no domain is defined with the uuid {uuid}", operation=verb)
    return machine.kept[uuid]


def _uuid_of_running(machine: Machine, name: str) -> UUID:
    guest = machine.named(name)
    return random_uuid(machine.random) if guest is None else guest.uuid


def _clash(name: str, uuid: UUID, wanted: str, wanted_uuid: UUID) -> bool:
    return (name == wanted) != (uuid == wanted_uuid)


def _shown(machine: Machine, one: Kept) -> DefinedDomain:
    guest = machine.of_uuid(one.uuid)
    domid = None if guest is None else guest.domid
    return DefinedDomain(name=one.config.name, uuid=one.uuid, autostart=one.autostart, domid=domid)
