"""Preservation of a simulated domain that has ended, so that another can take its name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pyxen._common.scripts import at_once
from pyxen.backends.memory.defaults import random_uuid
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.lifecycle import check_name
from pyxen.backends.memory.machine import Machine, about
from pyxen.events import DomainDestroyed
from pyxen.operation import Operation

__all__ = ["preserve"]


@at_once
def preserve(machine: Machine, operation: Operation[Any], guest: Guest, suffix: str) -> UUID:
    """Give a domain that has ended a new name and a new uuid, and return the uuid."""
    name = guest.name + suffix
    check_name(machine, operation, name)
    machine.tell(DomainDestroyed(**about(guest)))
    guest.uuid = random_uuid(machine.random)
    guest.config = guest.config.replace(name=name, uuid=guest.uuid)
    machine.introduce(guest)
    return guest.uuid
