"""``<cpu>``: CPU features, nested virtualisation and virtual NUMA nodes."""

from __future__ import annotations

from typing import Final

from pyxen.config import CpuidLeaf, CpuidPolicy, DomainConfig, DomainType, VNode
from pyxen.libvirtxml.cpuflags import FLAGS, NAMES, Bit
from pyxen.libvirtxml.memory import kibibytes
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.vcpus import cpu_set, sayable
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = ["default_distances", "normal_policy", "read", "write"]

_POLICIES: Final = {"force": "1", "require": "1", "disable": "0", "forbid": "0", "optional": "x"}
_POLICY_NAMES: Final = {"1": "require", "0": "disable"}
_NESTING: Final = ("vmx", "svm")
_WIDTH: Final = 32
_UNTOUCHED: Final = "x" * _WIDTH
_REGISTERS: Final = ("eax", "ebx", "ecx", "edx")

_LOCAL, _REMOTE = 10, 20
"""The default distances of a NUMA node, to itself and to others."""
_NEAREST, _FARTHEST = 10, 255
_MOST_NODES: Final = 1024
"""How many NUMA nodes are read and written."""


def read(domain: Node, found: XmlReadState) -> None:
    """Read features, nesting and NUMA nodes."""
    cpu = domain.child("cpu")
    if cpu is None:
        return
    if cpu.attributes.get("mode") == "host-passthrough":
        cpu.get("mode")
        if found.fields.get("type", DomainType.PV) is not DomainType.PV:
            _read_features(cpu, found)
    if (numa := cpu.child("numa")) is not None:
        found.put("vnuma", _read_nodes(numa, found), numa)


def _read_features(cpu: Node, found: XmlReadState) -> None:
    nested = True
    policy: dict[tuple[int, int | None], dict[str, list[str]]] = {}
    for feature in list(cpu.all("feature")):
        name, said = feature.attributes.get("name"), feature.attributes.get("policy", "require")
        if said not in _POLICIES:
            raise feature.wrong(f"{said!r} is not a valid policy; use one of {', '.join(_POLICIES)}")
        if name in _NESTING:
            nested = nested and _POLICIES[said] != "0"  # one that is off suffices, whatever the others say
        elif name not in FLAGS:
            feature.taken = False
            continue
        else:
            bit = FLAGS[name]
            registers = policy.setdefault((bit.leaf, bit.subleaf), {})
            registers.setdefault(bit.register, list(_UNTOUCHED))[_WIDTH - 1 - bit.bit] = _POLICIES[said]
        feature.drop()
    found.put("nestedhvm", nested, cpu)
    leaves = [
        CpuidLeaf(leaf, subleaf, **{name: "".join(bits) for name, bits in registers.items()})
        for (leaf, subleaf), registers in policy.items()
    ]
    if leaves:
        found.put("cpuid", normal_policy(CpuidPolicy(leaves)), cpu)


def normal_policy(policy: CpuidPolicy) -> CpuidPolicy:
    """Return a policy with its leaves in order, without registers and leaves that have no effect."""
    leaves = [
        leaf.replace(**{name: None for name in _REGISTERS if getattr(leaf, name) == _UNTOUCHED})
        for leaf in sorted(policy.leaves, key=lambda leaf: (leaf.leaf, leaf.subleaf or 0))
    ]
    return CpuidPolicy([leaf for leaf in leaves if any(getattr(leaf, name) for name in _REGISTERS)], policy.msrs)


def _read_nodes(numa: Node, found: XmlReadState) -> list[VNode]:
    listed_cells = list(numa.all("cell"))
    if len(listed_cells) > _MOST_NODES:
        raise numa.wrong(f"it has {len(listed_cells)} cells; at most {_MOST_NODES} are read")
    cells = sorted(
        ((cell.number("id", 0, _MOST_NODES - 1), place, cell) for place, cell in enumerate(listed_cells)),
        key=lambda item: item[1] if item[0] is None else item[0],
    )
    count = len(cells)
    said: dict[tuple[int, int], int] = {}
    for number, (_, _, cell) in enumerate(cells):
        listed = cell.child("distances")
        for sibling in listed.all("sibling") if listed is not None else ():
            other = sibling.number("id", 0, _MOST_NODES - 1)
            value = sibling.number("value", _NEAREST, _FARTHEST)
            if other is None or other >= count or value is None:
                raise sibling.wrong("it needs the id of an existing cell, and a value")
            said[number, other] = value
    distances = [default_distances(number, count) for number in range(count)]
    for (here, there), value in said.items():
        distances[here][there] = value
        if (there, here) not in said:
            distances[there][here] = value
    nodes = []
    for number, (_, _, cell) in enumerate(cells):
        cpus, memory = cell.get("cpus"), cell.get("memory")
        nodes.append(
            found.make(
                VNode,
                cell,
                vcpus=None if cpus is None else cpu_set(cpus, cell),
                size=None if memory is None else kib_to_mib(kibibytes(cell, memory)),
                distances=distances[number],
                pnode=number,
            )
        )
    return nodes


def write(config: DomainConfig, domain: Node, *, is_xen: bool) -> None:
    """Write features, nesting and NUMA nodes."""
    cpu = Node("cpu")
    if config.type is not DomainType.PV:
        flags = [(bit, value) for leaf in config.cpuid.leaves for bit, value in _flags(leaf)]
        if flags or config.nestedhvm is not None:
            cpu.set(mode="host-passthrough")
        # The mode alone suffices for libvirt's converter, but its driver would need the same in libxl.conf.
        if cpu.attributes and (is_xen or not config.nestedhvm):
            for name in _NESTING:
                cpu.add("feature", policy="require" if config.nestedhvm else "disable", name=name)
        for bit, value in flags:
            cpu.add("feature", policy=_POLICY_NAMES[value], name=NAMES[bit])
    if config.vnuma:
        _write_nodes(config, cpu)
    if cpu.attributes or cpu.children:
        domain.children.append(cpu)


def _flags(leaf: CpuidLeaf) -> list[tuple[Bit, str]]:
    found = []
    for register in _REGISTERS:
        for place, character in enumerate(getattr(leaf, register) or ""):
            bit = Bit(leaf.leaf, leaf.subleaf, register, _WIDTH - 1 - place)
            if character in _POLICY_NAMES and bit in NAMES and NAMES[bit] not in _NESTING:
                found.append((bit, character))
    return found


def default_distances(node: int, count: int) -> list[int]:
    """Return the distances from a node to every node of so many, as they are if nobody sets them."""
    distances = [_REMOTE] * count
    distances[node] = _LOCAL
    return distances


def _write_nodes(config: DomainConfig, cpu: Node) -> None:
    numa = cpu.add("numa")
    nodes = config.vnuma[:_MOST_NODES]
    rows = [_distances(node, number, len(nodes)) for number, node in enumerate(nodes)]
    # A distance that is only said in one direction counts for both, so all are written, or none.
    is_default = all(row == default_distances(number, len(nodes)) for number, row in enumerate(rows))
    for number, (node, row) in enumerate(zip(nodes, rows, strict=True)):
        cpus = str(node.vcpus) if sayable(node.vcpus) else None
        cell = numa.add("cell", id=number, cpus=cpus, memory=mib_to_kib(node.size or 0), unit="KiB")
        if is_default:
            continue
        distances = cell.add("distances")
        for other, value in enumerate(row):
            distances.add("sibling", id=other, value=value)


def _distances(node: VNode, number: int, count: int) -> list[int]:
    """Return a node's distances as XML can have them: one to every node, within libvirt's range."""
    said = [min(max(value, _NEAREST), _FARTHEST) for value in node.distances[:count]]
    return said + default_distances(number, count)[len(said) :]
