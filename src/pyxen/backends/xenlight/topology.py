"""The topology of the host, and how long its CPUs have been idle."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.errors import OperationFailed
from pyxen.records.topology import HostCpu, NumaNode, PciPlace, Topology

__all__ = ["host_nodes", "host_topology", "idle_times_ns", "node_cpus", "online_sockets"]

PCI_DEVICES: Final = "/sys/bus/pci/devices"

_UNKNOWN: Final = 0xFFFFFFFF  # XEN_INVALID_CORE_ID, and its like for sockets, nodes and distances
_LACKING: Final = {errno.EOPNOTSUPP, errno.ENOSYS}
"""What a Xen that was built without support for PCI answers."""

_ADDRESS: Final = re.compile(r"([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
"""An address that Xen's interface can express: a segment has 16 bits."""


def host_topology(hypervisor: Hypervisor) -> Topology:
    """Return the topology of the host."""
    addresses = _pci_addresses()
    with hypervisor.handle() as xc:
        pools = _pools(xc)
        cpus = tuple(_host_cpu(number, place, pools.get(number)) for number, place in _cpus(xc))
        return Topology(cpus=cpus, nodes=_nodes(xc), pci=_pci_places(xc, addresses))


def node_cpus(hypervisor: Hypervisor) -> dict[int, tuple[int, ...]]:
    """Return the online CPUs of each NUMA node, with two hypercalls."""
    with hypervisor.handle() as xc:
        cpus = tuple(_host_cpu(number, place, None) for number, place in _cpus(xc))
    return Topology(cpus=cpus, nodes=(), pci=None).node_cpus


def online_sockets(hypervisor: Hypervisor) -> list[int]:
    """Return the numbers of the sockets with CPUs that are online, ascending; there may be gaps."""
    with hypervisor.handle() as xc:
        return sorted({socket for _, (_, socket, _) in _cpus(xc) if socket != _UNKNOWN})


def host_nodes(hypervisor: Hypervisor) -> tuple[int, ...]:
    """Return the numbers of the NUMA nodes."""
    with hypervisor.handle() as xc:
        return tuple(node.number for node in _nodes(xc))


def idle_times_ns(hypervisor: Hypervisor) -> dict[int, int]:
    """Return how long each online CPU has been idle since the host's boot, in nanoseconds."""
    with hypervisor.handle() as xc:
        online = [number for number, _ in _cpus(xc)]
        most = online[-1] + 1
        times, count = ffi.new("xc_cpuinfo_t[]", most), ffi.new("int *")
        if lib.xc_getcpuinfo(xc, most, times, count) != 0:
            raise refused("idle_times_ns", "Xen does not report the idle times of the CPUs")
        return {number: times[number].idletime for number in online if number < count[0]}


_Place = tuple[int, int, int]
"""Core, socket and node of a CPU, as Xen tells them."""


def _cpus(xc: CData) -> list[tuple[int, _Place]]:
    """Return the online CPUs."""
    count = ffi.new("unsigned *")
    if lib.xc_cputopoinfo(xc, count, ffi.NULL) != 0:
        raise refused("topology", "Xen does not report its CPUs")
    places = ffi.new("xc_cputopo_t[]", count[0])
    if lib.xc_cputopoinfo(xc, count, places) != 0:
        raise refused("topology", "Xen does not report its CPUs")
    found = [(number, (places[number].core, places[number].socket, places[number].node)) for number in range(count[0])]
    # Xen reports no core for the only CPU of a host, and no node without NUMA. Absent CPUs do not even have a socket.
    return [(number, place) for number, place in found if place != (_UNKNOWN, _UNKNOWN, _UNKNOWN)]


def _host_cpu(number: int, place: _Place, poolid: int | None) -> HostCpu:
    core, socket, node = map(_known, place)
    return HostCpu(number=number, core=core, socket=socket, node=node or 0, poolid=poolid)


def _pools(xc: CData) -> dict[int, int]:
    """Return the number of the CPU pool of each CPU that belongs to one."""
    most = lib.xc_get_max_cpus(xc)
    pools: dict[int, int] = {}
    number = 0
    while True:
        info = lib.xc_cpupool_getinfo(xc, number)  # that pool, or the next one
        if info == ffi.NULL:
            if ffi.errno != errno.ENOENT:
                raise refused("topology", "Xen does not report its CPU pools")
            return pools
        number = info.cpupool_id
        bits = ffi.buffer(info.cpumap, (most + 7) // 8)[:]
        lib.xc_cpupool_infofree(xc, info)
        pools |= {cpu: number for cpu in range(most) if bits[cpu // 8] >> cpu % 8 & 1}
        number += 1


def _nodes(xc: CData) -> tuple[NumaNode, ...]:
    count = ffi.new("unsigned *")
    if lib.xc_numainfo(xc, count, ffi.NULL, ffi.NULL) != 0:
        raise refused("topology", "Xen does not report its NUMA nodes")
    memory, distances = ffi.new("xc_meminfo_t[]", count[0]), ffi.new("uint32_t[]", count[0] * count[0])
    if lib.xc_numainfo(xc, count, memory, distances) != 0:
        raise refused("topology", "Xen does not report its NUMA nodes")
    row = count[0]  # this may be less than before, and the table of distances has that many columns
    present = [node for node in range(row) if memory[node].memsize != _UNKNOWN]
    return tuple(
        NumaNode(
            number=node,
            memory_kib=memory[node].memsize // 1024,
            free_memory_kib=memory[node].memfree // 1024,
            distances=tuple(_known(distances[node * row + other]) for other in present),
        )
        for node in present
    )


def _known(value: int) -> int | None:
    return None if value == _UNKNOWN else value


def _pci_addresses() -> list[re.Match[str]]:
    """Return the addresses of the host's PCI devices, as dom0's kernel lists them; without PCI there are none."""
    with shortage(OperationFailed, "cannot read the PCI devices"):
        try:
            names = sorted(os.listdir(PCI_DEVICES))
        except FileNotFoundError:
            return []
    return [address for address in map(_ADDRESS.fullmatch, names) if address]


def _pci_places(xc: CData, addresses: list[re.Match[str]]) -> tuple[PciPlace, ...]:
    if not addresses:
        return ()
    devices, nodes = ffi.new("physdev_pci_device_t[]", len(addresses)), ffi.new("uint32_t[]", len(addresses))
    for device, address in zip(devices, addresses, strict=True):
        segment, bus, slot, function = (int(part, 16) for part in address.groups())
        device.seg, device.bus, device.devfn = segment, bus, slot << 3 | function
    if lib.xc_pcitopoinfo(xc, len(addresses), devices, nodes) != 0:
        if ffi.errno not in _LACKING:
            raise refused("topology", "Xen does not report where the PCI devices are attached")
        return tuple(PciPlace(address=address[0], node=None) for address in addresses)
    unknown = {lib.XEN_INVALID_NODE_ID, lib.XEN_INVALID_DEV}
    return tuple(
        PciPlace(address=address[0], node=None if node in unknown else node)
        for address, node in zip(addresses, nodes, strict=True)
    )
