"""The topology of a host: its CPUs, its NUMA nodes, and where its PCI devices are attached."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.records.base import Record

__all__ = ["HostCpu", "NumaNode", "PciPlace", "Topology"]


@dataclass(frozen=True, slots=True)
class HostCpu(Record):
    """A physical CPU that is online."""

    number: int
    """Number of the CPU, as in a `CpuSet`."""
    core: int | None
    """Number of its core within the socket; None if the host does not tell, as Xen for the only CPU of a host."""
    socket: int | None
    """Number of its socket; None if the host does not tell."""
    node: int
    """Number of its NUMA node; 0 on a host without NUMA."""
    poolid: int | None
    """Number of its CPU pool; None if it belongs to no pool, or if the backend does not know."""


@dataclass(frozen=True, slots=True)
class NumaNode(Record):
    """A NUMA node."""

    number: int
    """Number of the node."""
    memory_kib: int
    """Size of its range of memory, in KiB; holes in it are included, so the sum may be more than the host has."""
    free_memory_kib: int | None
    """Free memory of the node, in KiB; None if the backend does not know."""
    distances: tuple[int | None, ...]
    """Distance to each node, in the order of `Topology.nodes`; 10 is the node itself, None is unknown."""


@dataclass(frozen=True, slots=True)
class PciPlace(Record):
    """Where a PCI device is attached."""

    address: str
    """Address of the device, e.g. ``0000:01:00.0``."""
    node: int | None
    """Number of its NUMA node; None if Xen does not know."""


@dataclass(frozen=True, slots=True)
class Topology(Record):
    """A snapshot of a host's topology, as ``xl info -n``."""

    cpus: tuple[HostCpu, ...]
    """The online CPUs, by number."""
    nodes: tuple[NumaNode, ...]
    """The NUMA nodes, by number; a host without NUMA has one."""
    pci: tuple[PciPlace, ...] | None
    """The PCI devices, by address; None if the backend does not know."""

    @property
    def nr_sockets(self) -> int:
        """The number of sockets with an online CPU."""
        return len({cpu.socket for cpu in self.cpus})

    @property
    def node_cpus(self) -> dict[int, tuple[int, ...]]:
        """The numbers of the online CPUs of each node that has some, for `DomainConfig.resolve_cpus`."""
        nodes: dict[int, list[int]] = {}
        for cpu in self.cpus:
            nodes.setdefault(cpu.node, []).append(cpu.number)
        return {node: tuple(members) for node, members in sorted(nodes.items())}
