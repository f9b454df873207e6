"""Memory, vCPUs and CPU affinity of a simulated domain."""

from __future__ import annotations

from pyxen._common.cpupool_preconditions import check_in_pool, find_pool
from pyxen._common.preconditions import (
    check_affinity,
    check_cpus,
    check_maxmem,
    check_memory,
    check_vcpus,
)
from pyxen._common.scripts import at_once
from pyxen.backends.memory.cpupools import pools
from pyxen.backends.memory.guests import LIMIT_ROOM_KIB, Guest
from pyxen.backends.memory.machine import Machine, about
from pyxen.backends.memory.topology import node_cpus
from pyxen.config import CpuSet
from pyxen.events import MemoryTargetChanged
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = ["pin_vcpu", "set_maxmem", "set_memory", "set_vcpus"]


@at_once
def set_memory(machine: Machine, guest: Guest, kib: int) -> None:
    """Set a guest's memory target, and limit the domain to it."""
    most = mib_to_kib(guest.config.effective_maxmem or 0) if guest.domid else None
    check_memory(guest.domid, kib, most_kib=most, has_kib=guest.memory_kib, free_kib=machine.free_kib())
    changed, guest.target_kib = guest.target_kib != kib, kib
    guest.limit_kib = kib + LIMIT_ROOM_KIB
    maxmem = max(guest.config.effective_maxmem or 0, kib_to_mib(kib))
    guest.config = guest.config.replace(memory=kib_to_mib(kib), maxmem=maxmem)
    machine.note(guest)
    if changed:
        machine.tell(MemoryTargetChanged(**about(guest), target_kib=kib))
    guest.follow()


@at_once
def set_maxmem(machine: Machine, guest: Guest, kib: int) -> None:
    """Set the maximum memory of a domain."""
    check_maxmem(guest.domid, kib, guest.target_kib)
    guest.config = guest.config.replace(maxmem=kib_to_mib(kib))
    machine.note(guest)
    guest.limit_kib = kib + LIMIT_ROOM_KIB


@at_once
def set_vcpus(machine: Machine, guest: Guest, vcpus: int) -> None:
    """Set the number of vCPUs that a guest uses."""
    most = guest.config.effective_maxvcpus
    check_vcpus(guest.domid, vcpus, most)
    guest.config = guest.config.replace(vcpus=vcpus, maxvcpus=most)
    machine.note(guest)
    guest.follow()


@at_once
def pin_vcpu(
    machine: Machine,
    guest: Guest,
    vcpu: int | None,
    cpus: CpuSet | None,
    cpus_soft: CpuSet | None,
    *,
    force: bool,
) -> None:
    """Set the CPUs that a vCPU may run on, and those that it prefers; None means all vCPUs."""
    most = guest.config.effective_maxvcpus
    check_affinity(guest.domid, vcpu, most, cpus, cpus_soft, force=force)
    nodes = node_cpus(machine)
    hard, soft = (None if given is None else check_cpus(guest.domid, given, nodes) for given in (cpus, cpus_soft))
    if hard is not None:
        check_in_pool(guest.domid, hard, find_pool(pools(machine), guest.poolid, "pin_vcpu"))
    for number in range(most) if vcpu is None else [vcpu]:
        before = guest.pins.get(number, (None, None))
        guest.pins[number] = (hard or before[0], soft or before[1])
