"""The topology of a host, from libvirt's capabilities."""

from __future__ import annotations

from typing import Final

from pyxen.backends.libvirt.binding import Connection, VirError
from pyxen.backends.libvirt.error_map import unsupported
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.topology import HostCpu, NumaNode, Topology

__all__ = ["host_topology"]

_ITSELF: Final = 10


def host_topology(connection: Connection) -> Topology:
    """Return the topology of a host. libvirt knows nothing of CPU pools, and keeps PCI devices apart."""
    cells = parse_tree(connection.getCapabilities()).findall("host/topology/cells/cell")
    if not cells:
        return _without_cells(connection)
    cpus: list[HostCpu] = []
    nodes: list[NumaNode] = []
    numbers = sorted(int(cell.get("id", "0")) for cell in cells)
    free = _free(connection, numbers[-1] + 1)
    for cell in cells:
        node = int(cell.get("id", "0"))
        for cpu in cell.findall("cpus/cpu"):
            core, socket = (cpu.get(name) for name in ("core_id", "socket_id"))
            cpus.append(
                HostCpu(
                    number=int(cpu.get("id", "0")),
                    core=None if core is None else int(core),
                    socket=None if socket is None else int(socket),
                    node=node,
                    poolid=None,
                )
            )
        distances = {node: _ITSELF} | {
            int(each.get("id", "0")): int(each.get("value", "0")) for each in cell.findall("distances/sibling")
        }
        nodes.append(
            NumaNode(
                number=node,
                memory_kib=int(cell.findtext("memory", "0")),  # in KiB, whatever the host
                free_memory_kib=free.get(node),
                distances=tuple(distances.get(other) for other in numbers),
            )
        )
    cpus.sort(key=lambda cpu: cpu.number)
    nodes.sort(key=lambda node: node.number)
    return Topology(cpus=tuple(cpus) or _cpus(connection), nodes=tuple(nodes), pci=None)


def _free(connection: Connection, count: int) -> dict[int, int]:
    """Return the free memory of each node in KiB; empty if the driver does not tell."""
    try:
        return {node: free // 1024 for node, free in enumerate(connection.getCellsFreeMemory(0, count))}
    except VirError as error:
        if not unsupported(error):
            raise
        return {}


def _cpus(connection: Connection) -> tuple[HostCpu, ...]:
    """Return CPUs that libvirt counts and does not list: the Xen driver leaves out the only CPU of a host."""
    count = connection.getInfo()[2]
    return tuple(HostCpu(number=cpu, core=None, socket=None, node=0, poolid=None) for cpu in range(count))


def _without_cells(connection: Connection) -> Topology:
    """Return one node with all CPUs, for a driver that lists no nodes."""
    memory_kib = connection.getInfo()[1] * 1024
    free_kib = connection.getFreeMemory() // 1024
    node = NumaNode(number=0, memory_kib=memory_kib, free_memory_kib=free_kib, distances=(_ITSELF,))
    return Topology(cpus=_cpus(connection), nodes=(node,), pci=None)
