"""How much of a host in memory a running domain has: memory, vCPUs, CPUs, and its share of them."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.cpu_affinity import on_host
from pyxen.backends.memory.engine import Script, describe
from pyxen.backends.memory.guests import LIMIT_ROOM_KIB, Guest
from pyxen.backends.memory.machine import Machine, about
from pyxen.config import CpuSet, Scheduler
from pyxen.errors import InvalidArgument, NotEnoughMemory, UnsupportedFeature
from pyxen.events import MemoryTargetChanged
from pyxen.operation import Operation
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = ["pin_vcpu", "set_maxmem", "set_memory", "set_scheduler", "set_vcpus"]

_KIND: Final = "credit2"
_RANGES: Final = {"weight": (1, 65535), "cap": (0, None)}


def set_memory(machine: Machine, operation: Operation[Any], guest: Guest, kib: int) -> Script[None]:
    """Tell a guest how much memory to have, and let it have no more."""
    yield from ()
    most, free = mib_to_kib(guest.config.effective_maxmem or 0), machine.free_kib()
    if kib == 0:
        raise describe(InvalidArgument, "a domain cannot be without memory", operation)
    if kib > most and guest.domid:
        message = f"{_mib(kib)} is more than the domain's maxmem of {_mib(most)}: raise that first, with set_maxmem"
        raise describe(InvalidArgument, message, operation)
    if kib - guest.memory_kib > free:
        message = f"needs {_mib(kib - guest.memory_kib)} more, and the host has {_mib(free)} free: ask for less"
        raise describe(NotEnoughMemory, message, operation)
    changed, guest.target_kib = guest.target_kib != kib, kib
    guest.limit_kib = kib + LIMIT_ROOM_KIB
    maxmem = max(guest.config.effective_maxmem or 0, kib_to_mib(kib))
    guest.config = guest.config.replace(memory=kib_to_mib(kib), maxmem=maxmem)
    if changed:
        machine.tell(MemoryTargetChanged(**about(guest), target_kib=kib))
    guest.follow()


def set_maxmem(operation: Operation[Any], guest: Guest, kib: int) -> Script[None]:
    """Set how much memory a domain can be given."""
    yield from ()
    if kib < guest.target_kib:
        has = _mib(guest.target_kib)
        message = f"{_mib(kib)} is less than the domain has, {has}: lower that first, with set_memory"
        raise describe(InvalidArgument, message, operation)
    guest.config = guest.config.replace(maxmem=kib_to_mib(kib))
    guest.limit_kib = kib + LIMIT_ROOM_KIB


def set_vcpus(operation: Operation[Any], guest: Guest, vcpus: int) -> Script[None]:
    """Tell a guest how many vCPUs to use."""
    yield from ()
    most = guest.config.effective_maxvcpus
    if not 1 <= vcpus <= most:
        message = f"{vcpus} vCPUs are out of range; it can have 1 to {most}, its maxvcpus, which it was made with"
        raise describe(InvalidArgument, message, operation)
    guest.config = guest.config.replace(vcpus=vcpus, maxvcpus=most)
    guest.follow()


def pin_vcpu(
    machine: Machine,
    operation: Operation[Any],
    guest: Guest,
    vcpu: int | None,
    cpus: CpuSet | None,
    cpus_soft: CpuSet | None,
) -> Script[None]:
    """Say on which CPUs a vCPU may run, and on which it had better; None is all vCPUs."""
    yield from ()
    most = guest.config.effective_maxvcpus
    if vcpu is not None and not 0 <= vcpu < most:
        raise describe(InvalidArgument, f"there is no vCPU {vcpu}; the domain has 0 to {most - 1}", operation)
    if cpus is None and cpus_soft is None:
        raise describe(InvalidArgument, "say cpus, cpus_soft or both", operation)
    hard, soft = (None if given is None else _here(machine, operation, given) for given in (cpus, cpus_soft))
    for number in range(most) if vcpu is None else [vcpu]:
        before = guest.pins.get(number, (None, None))
        guest.pins[number] = (hard or before[0], soft or before[1])


def _here(machine: Machine, operation: Operation[Any], cpus: CpuSet) -> CpuSet:
    """Return a set of the host's CPUs as it is here."""
    try:
        return on_host(cpus, {0: range(machine.cpus)})
    except ValueError as error:
        raise describe(InvalidArgument, str(error), operation) from None


def set_scheduler(operation: Operation[Any], guest: Guest, scheduler: Scheduler, backend: str) -> Script[None]:
    """Set what the hypervisor's scheduler knows of a domain; what is not said stays."""
    yield from ()
    if scheduler.kind is not None and scheduler.kind != _KIND:
        message = f"the domain's CPU pool has the scheduler {_KIND}, not {scheduler.kind}"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    said = {name: value for name, value in scheduler.said() if name != "kind"}
    foreign = sorted(said.keys() - _RANGES.keys())
    if foreign:
        message = f"the domain's scheduler, {_KIND}, knows nothing of {', '.join(foreign)}"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    for name, value in said.items():
        least, most = _RANGES[name]
        if value < least or value > (most or 100 * guest.config.effective_maxvcpus):
            shown = ", ".join(f"{name}={value}" for name, value in said.items())
            raise describe(InvalidArgument, f"{_KIND} does not take {shown}", operation)
    guest.scheduler = guest.scheduler.replace(**said)
    guest.config = guest.config.replace(scheduler=guest.config.scheduler.replace(**said))


def _mib(kib: int) -> str:
    return f"{kib_to_mib(kib):g} MiB"
