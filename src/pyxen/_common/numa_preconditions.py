"""Preconditions of the verbs for NUMA nodes, shared by all backends."""

from __future__ import annotations

from collections.abc import Collection

from pyxen.errors import InvalidArgument

__all__ = ["check_nodes"]


def check_nodes(domid: int, nodes: Collection[int], host: Collection[int]) -> None:
    """Check the NUMA nodes from which a domain is to get its memory.

    Args:
        domid: The domain.
        nodes: The nodes that the caller wants.
        host: The nodes that the host has.

    Raises:
        InvalidArgument: The host lacks one of them, or there are none.
    """
    absent = sorted(set(nodes) - set(host))
    if absent or not nodes:
        what = f"the host has no NUMA node {', '.join(map(str, absent))}" if absent else "a domain needs at least one"
        message = f"{what}; the host has the nodes {', '.join(map(str, sorted(host)))}"
        raise InvalidArgument(message, operation="set_node_affinity", domain=domid, domid=domid)
