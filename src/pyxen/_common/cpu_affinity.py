"""CPU sets, resolved to the CPUs of a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyxen.config import CpuSet, DomainConfig

__all__ = ["is_symbolic", "on_host"]


def is_symbolic(config: DomainConfig) -> bool:
    """Tell whether a configuration has CPU sets that depend on the host: ``all``, or the CPUs of a node."""
    said = (config.cpus, config.cpus_soft, config.cpumap)
    sets = [one for cpus in said if cpus is not None for one in ([cpus] if isinstance(cpus, CpuSet) else cpus)]
    return any(one.is_symbolic for one in sets)


def on_host(cpus: CpuSet, nodes: Mapping[int, Sequence[int]]) -> CpuSet:
    """Return the CPUs of a host that a set stands for; there is at least one.

    Args:
        cpus: The set.
        nodes: The online CPUs of each NUMA node.

    Raises:
        ValueError: The host lacks one of the CPUs, or the set is empty.
    """
    online = sorted(cpu for members in nodes.values() for cpu in members)
    resolved = cpus.resolve(online, nodes)
    absent = [cpu for cpu in resolved if cpu not in online]
    if absent or not resolved.cpus:
        what = f"the host has no CPU {', '.join(map(str, absent))}" if absent else "a vCPU needs at least one CPU"
        raise ValueError(f"{what}; the host has {CpuSet(online)}")
    return resolved
