"""The topology of a simulated host, and how long its CPUs have been idle."""

from __future__ import annotations

from pyxen.backends.memory.machine import Machine
from pyxen.records.topology import HostCpu, NumaNode, PciPlace, Topology

__all__ = ["host_topology", "idle_times_ns", "node_cpus"]

_HERE = 10
_AWAY = 20


def host_topology(machine: Machine) -> Topology:
    """Return the topology of the host: each node is a socket, with its share of the CPUs and of the memory.

    Xen does not tell the core of a host's only CPU.
    """
    pools = {cpu: pool.number for pool in machine.pools.values() for cpu in pool.cpus}
    cpus = [
        HostCpu(number=cpu, core=core if machine.cpus > 1 else None, socket=node, node=node, poolid=pools.get(cpu))
        for node, members in node_cpus(machine).items()
        for core, cpu in enumerate(members)
    ]
    nodes = range(machine.nodes)
    return Topology(
        cpus=tuple(cpus),
        nodes=tuple(
            NumaNode(
                number=node,
                memory_kib=machine.memory_kib // machine.nodes,
                free_memory_kib=machine.free_kib() // machine.nodes,
                distances=tuple(_HERE if node == other else _AWAY for other in nodes),
            )
            for node in nodes
        ),
        pci=tuple(PciPlace(address=str(address), node=0) for address in sorted(machine.devices.pci)),
    )


def node_cpus(machine: Machine) -> dict[int, tuple[int, ...]]:
    """Return the CPUs of each NUMA node; the nodes have equally many, give or take one."""
    nodes: dict[int, tuple[int, ...]] = {}
    for cpu in range(machine.cpus):
        node = cpu * machine.nodes // machine.cpus
        nodes[node] = (*nodes.get(node, ()), cpu)
    return nodes


def idle_times_ns(machine: Machine) -> dict[int, int]:
    """Return how long each CPU has been idle, in nanoseconds; the domains use all CPUs alike."""
    used = sum(guest.info().cpu_time_ns for guest in machine.domains.values()) // machine.cpus
    idle = max(0, int(machine.uptime() * 1e9) - used)
    return dict.fromkeys(range(machine.cpus), idle)
