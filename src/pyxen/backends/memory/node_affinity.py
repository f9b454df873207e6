"""The NUMA nodes from which a simulated domain gets its memory."""

from __future__ import annotations

from pyxen._common.numa_preconditions import check_nodes
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.topology import node_cpus

__all__ = ["node_affinity", "set_node_affinity"]


def node_affinity(machine: Machine, guest: Guest) -> tuple[int, ...]:
    """Return the nodes. Xen takes those of the CPUs that the vCPUs prefer, if they may run there."""
    if guest.nodes is not None:
        return tuple(sorted(guest.nodes))
    pool = machine.pools[guest.poolid].cpus
    sets = [guest.affinity(vcpu) for vcpu in range(guest.config.effective_maxvcpus)]
    may = {cpu for hard, _ in sets for cpu in (pool if hard is None else hard) if cpu in pool}
    prefer = {cpu for _, soft in sets for cpu in (pool if soft is None else soft) if cpu in may}
    return tuple(node for node, cpus in node_cpus(machine).items() if (prefer or may).intersection(cpus))


def set_node_affinity(machine: Machine, guest: Guest, nodes: frozenset[int] | None) -> None:
    """Set the nodes; None: those of the CPUs."""
    if nodes is not None:
        check_nodes(guest.domid, nodes, range(machine.nodes))
    guest.nodes = nodes
