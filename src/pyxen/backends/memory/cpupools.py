"""CPU pools of a simulated host."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from pyxen._common.cpupool_preconditions import (
    FIRST_POOL,
    check_destroyable,
    check_new_name,
    check_one_pool,
    check_room,
    check_scheduler_kind,
    cpus_to_add,
    cpus_to_remove,
    find_pool,
)
from pyxen._common.scripts import at_once
from pyxen.backends.memory.defaults import random_uuid
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.pools import BOOT_SCHEDULER, Pool
from pyxen.backends.memory.topology import node_cpus
from pyxen.config import CpuSet, SchedulerKind
from pyxen.operation import Operation
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef

__all__ = ["add_cpus", "create", "destroy", "pool_of", "pools", "remove_cpus", "rename", "set_cpupool", "split"]


def pools(machine: Machine) -> list[CpupoolInfo]:
    """Return the CPU pools, sorted by number."""
    return [_info(machine, pool) for _, pool in sorted(machine.pools.items())]


def _info(machine: Machine, pool: Pool) -> CpupoolInfo:
    return CpupoolInfo(
        number=pool.number,
        name=pool.name,
        uuid=pool.uuid,
        scheduler=pool.scheduler,
        cpus=CpuSet(pool.cpus),
        domains=tuple(sorted(guest.domid for guest in machine.domains.values() if guest.poolid == pool.number)),
    )


def pool_of(machine: Machine, key: CpupoolKey, verb: str) -> Pool:
    """Return a CPU pool.

    Raises:
        NotFound: There is no such pool.
    """
    return machine.pools[find_pool(pools(machine), key, verb).number]


@at_once
def create(
    machine: Machine, operation: Operation[CpupoolRef], name: str, cpus: CpuSet, kind: SchedulerKind | None
) -> CpupoolRef:
    """Create a CPU pool."""
    check_scheduler_kind(kind, "memory")
    present = pools(machine)
    check_new_name(name, present, operation.verb)
    wanted = cpus_to_add(None, cpus, present, node_cpus(machine), operation.verb) if cpus else []
    return _create(machine, name, wanted, kind or BOOT_SCHEDULER)


def _create(machine: Machine, name: str, cpus: Iterable[int], kind: SchedulerKind) -> CpupoolRef:
    number = next(number for number in range(len(machine.pools) + 1) if number not in machine.pools)
    uuid: UUID = random_uuid(machine.random)
    machine.pools[number] = Pool(number, name, uuid, kind, set(cpus))
    return CpupoolRef(number, uuid)


@at_once
def destroy(machine: Machine, operation: Operation[Any], key: CpupoolKey) -> None:
    """Destroy a CPU pool."""
    pool = find_pool(pools(machine), key, operation.verb)
    check_destroyable(pool, operation.verb)
    del machine.pools[pool.number]


@at_once
def rename(machine: Machine, operation: Operation[Any], key: CpupoolKey, name: str) -> None:
    """Rename a CPU pool."""
    present = pools(machine)
    pool = find_pool(present, key, operation.verb)
    check_new_name(name, present, operation.verb, pool)
    machine.pools[pool.number].name = name


@at_once
def add_cpus(machine: Machine, operation: Operation[Any], key: CpupoolKey, cpus: CpuSet) -> None:
    """Add free CPUs to a CPU pool."""
    present = pools(machine)
    pool = find_pool(present, key, operation.verb)
    machine.pools[pool.number].cpus.update(cpus_to_add(pool, cpus, present, node_cpus(machine), operation.verb))


@at_once
def remove_cpus(machine: Machine, operation: Operation[Any], key: CpupoolKey, cpus: CpuSet) -> None:
    """Remove CPUs from a CPU pool."""
    pool = find_pool(pools(machine), key, operation.verb)
    removed = cpus_to_remove(pool, cpus, node_cpus(machine), operation.verb)
    left = machine.pools[pool.number].cpus
    left.difference_update(removed)
    for guest in machine.domains.values():
        if guest.poolid == pool.number:
            _unpin(guest, left)


def _unpin(guest: Guest, cpus: Collection[int]) -> None:
    """Let vCPUs run anywhere that were pinned to CPUs of which their pool has none any more, as Xen does."""
    for vcpu, (hard, soft) in guest.pins.items():
        if hard is not None and not set(hard).intersection(cpus):
            guest.pins[vcpu] = (None, soft)


@at_once
def set_cpupool(machine: Machine, guest: Guest, key: CpupoolKey) -> None:
    """Move a domain to another CPU pool."""
    pool = find_pool(pools(machine), key, "set_cpupool")
    check_room(pool, guest.domid)
    if guest.poolid == pool.number:
        return
    guest.poolid = pool.number
    guest.schedule_as(pool.scheduler)
    guest.pins.clear()  # as Xen does, whatever they were


@at_once
def split(machine: Machine, operation: Operation[Any]) -> None:
    """Make a CPU pool of each NUMA node."""
    present = pools(machine)
    check_one_pool(present, operation.verb)
    (node, cpus), *others = node_cpus(machine).items()
    first = machine.pools[FIRST_POOL]
    first.name, first.cpus = f"Pool-node{node}", set(cpus)
    dom0 = machine.domains[0]
    dom0.online = min(dom0.online, len(cpus))
    for guest in machine.domains.values():
        _unpin(guest, first.cpus)
    for other, members in others:
        _create(machine, f"Pool-node{other}", members, first.scheduler)
