"""The NUMA nodes from which Xen takes a domain's memory."""

from __future__ import annotations

from pyxen._common.numa_preconditions import check_nodes
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.backends.xenlight.topology import host_nodes
from pyxen.operation import Operation

__all__ = ["node_affinity", "set_node_affinity"]


def node_affinity(hypervisor: Hypervisor, domid: int) -> tuple[int, ...]:
    """Return the nodes, ascending."""
    with hypervisor.handle() as xc:
        size = lib.xc_get_nodemap_size(xc)
        found = ffi.new("uint8_t[]", max(1, size))
        if size <= 0 or lib.xc_domain_node_getaffinity(xc, domid, found) != 0:
            raise refused("node_affinity", f"Xen does not tell the NUMA nodes of domain {domid}")
    present = host_nodes(hypervisor)
    return tuple(node for node in present if found[node // 8] >> node % 8 & 1)


@at_once
def set_node_affinity(context: Context, operation: Operation[None], domid: int, nodes: frozenset[int] | None) -> None:
    """Set the nodes. None: those of the CPUs of the vCPUs, which Xen takes when every possible node is set."""
    if nodes is not None:
        check_nodes(domid, nodes, host_nodes(context.hypervisor))
    bitmap = ffi.new("libxl_bitmap *")
    lib.libxl_bitmap_init(bitmap)
    bitmap = ffi.gc(bitmap, lib.libxl_bitmap_dispose)
    raise_failure(operation, lib.libxl_node_bitmap_alloc(context.pointer, bitmap, 0))  # 0: all that there can be
    for node in range(bitmap.size * 8) if nodes is None else nodes:
        lib.libxl_bitmap_set(bitmap, node)
    raise_failure(operation, lib.libxl_domain_set_nodeaffinity(context.pointer, domid, bitmap))
