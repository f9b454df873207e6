"""The vCPUs of a simulated domain."""

from __future__ import annotations

from pyxen.backends.memory.guests import Guest, vcpu_times
from pyxen.backends.memory.machine import Machine
from pyxen.config import CpuSet
from pyxen.records.info import DomainState
from pyxen.records.scheduling import VcpuInfo, VcpuState

__all__ = ["vcpus"]


def vcpus(machine: Machine, guest: Guest) -> tuple[VcpuInfo, ...]:
    """Return the vCPUs of a domain."""
    return tuple(_vcpu(machine, guest, number, time) for number, time in enumerate(vcpu_times(guest)))


def _vcpu(machine: Machine, guest: Guest, number: int, time: int) -> VcpuInfo:
    online = number < guest.online
    hard, soft = guest.affinity(number)
    everything = CpuSet(range(machine.cpus))
    cpus = hard or everything
    usable = [cpu for cpu in cpus if cpu in machine.pools[guest.poolid].cpus]
    return VcpuInfo(
        number=number,
        cpu=usable[number % len(usable)] if online else None,
        online=online,
        state=_state(guest) if online else VcpuState.OFFLINE,
        cpu_time_ns=time,
        cpus=cpus,
        cpus_soft=soft or everything,
    )


def _state(guest: Guest) -> VcpuState:
    states = {DomainState.RUNNING: VcpuState.RUNNING, DomainState.BLOCKED: VcpuState.BLOCKED}
    return states.get(guest.state, VcpuState.READY)
