"""Room in the simulated host's memory for a new domain, which dom0 may give up."""

from __future__ import annotations

from typing import Any

from pyxen._common.autoballoon import CREDIT, is_automatic, new_target_kib, pending_kib
from pyxen._common.preconditions import not_enough_memory
from pyxen.backends.memory.engine import Script, Wait
from pyxen.backends.memory.info import host_info
from pyxen.backends.memory.machine import Machine, about
from pyxen.backends.memory.memory import memory
from pyxen._common.needs import needed_kib
from pyxen.config import DomainConfig
from pyxen.events import MemoryTargetChanged
from pyxen.operation import Operation

__all__ = ["check_room", "make_room"]


def make_room(
    machine: Machine, operation: Operation[Any], config: DomainConfig, autoballoon: bool | None
) -> Script[None]:
    """Have dom0 give up memory if a new domain needs it; of several domains that wait, the first is served first."""
    needed = needed_kib(config)
    if autoballoon is None:
        autoballoon = is_automatic(host_info(machine).xen_commandline or "")
    if not autoballoon or needed <= machine.free_kib() - sum(machine.awaited.values()):
        return
    machine.awaited[operation] = needed
    try:
        yield from _take_from_dom0(machine, operation, needed)
    finally:
        del machine.awaited[operation]


def check_room(machine: Machine, operation: Operation[Any], config: DomainConfig, autoballoon: bool | None) -> None:
    """Refuse a domain that would not get its memory now, neither what is free nor what dom0 could give up."""
    needed, free = needed_kib(config), machine.free_kib()
    if autoballoon is None:
        autoballoon = is_automatic(host_info(machine).xen_commandline or "")
    if needed > free:
        if not autoballoon:
            raise not_enough_memory(operation, needed, free)
        dom0 = memory(machine.domains[0])
        new_target_kib(operation, dom0, needed - free - pending_kib(dom0), needed, free)


def _take_from_dom0(machine: Machine, operation: Operation[Any], needed: int) -> Script[None]:
    dom0, late, lowered = machine.domains[0], machine.now() + CREDIT, 0

    def free() -> int:
        waiting = list(machine.awaited)
        return machine.free_kib() - sum(machine.awaited[one] for one in waiting[: waiting.index(operation)])

    try:
        while needed > free():
            more = needed - free() - pending_kib(memory(dom0))
            if more > 0:
                _set_target(machine, new_target_kib(operation, memory(dom0), more, needed, free()))
                lowered += more
            yield Wait(until=late, ready=lambda: needed <= free() or not pending_kib(memory(dom0)))
            if machine.now() >= late:
                raise not_enough_memory(operation, needed, free(), dom0_keeps_kib=dom0.memory_kib)
    except BaseException:
        if lowered:
            _set_target(machine, dom0.target_kib + lowered)
        raise


def _set_target(machine: Machine, kib: int) -> None:
    dom0 = machine.domains[0]
    dom0.target_kib = kib
    machine.note(dom0)
    machine.tell(MemoryTargetChanged(**about(dom0), target_kib=kib))
    dom0.follow()
