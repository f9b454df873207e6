"""``<vcpu>`` and ``<cputune>``: the number of vCPUs, their CPU affinity and the scheduler weight."""

from __future__ import annotations

from typing import Final

from pyxen.config import CpuSet, DomainConfig, Scheduler
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import CPU_SET

__all__ = ["read", "write"]

_MOST: Final = 8192
_FEWEST_SHARES, _MOST_SHARES = 2, 262144
_INT_MAX: Final = 2**31 - 1
_ALL: Final = CpuSet("all")


def read(domain: Node, found: XmlReadState) -> None:
    """Read the number of vCPUs, their CPU affinity and the weight."""
    vcpu = domain.child("vcpu")
    most = 1
    if vcpu is not None:
        most = vcpu.as_number(vcpu.word() or "", 1, _MOST)
        current = vcpu.number("current", 1, most)
        found.put("vcpus", most if current is None else current, vcpu)
        in_nodes = sum(len(node.vcpus) for node in found.fields.get("vnuma", ()))
        if current not in {None, most} or in_nodes not in {0, most}:  # libxl defaults to the nodes' vCPUs
            found.put("maxvcpus", most, vcpu)
        if vcpu.attributes.get("placement") == "static":
            vcpu.get("placement")
        if (cpus := vcpu.get("cpuset")) is not None:
            found.put("cpus", cpu_set(cpus, vcpu), vcpu)
    cputune = domain.merged("cputune")
    if cputune is None:
        return
    if (shares := cputune.child("shares")) is not None:
        weight = shares.as_number(shares.word() or "", 0, _INT_MAX)
        found.put("scheduler", Scheduler(weight=weight), shares)
    _read_pinning(cputune, most, found)


def _read_pinning(cputune: Node, most: int, found: XmlReadState) -> None:
    pinned: dict[int, CpuSet] = {}
    for pin in cputune.all("vcpupin"):
        number, cpus = pin.number("vcpu", 0, _MOST), pin.get("cpuset")
        if number is None or cpus is None:
            raise pin.wrong("it needs vcpu and cpuset")
        if number < most:  # libvirt ignores the others
            pinned[number] = cpu_set(cpus, pin)
    rest = found.fields.get("cpus", _ALL)
    if any(cpus != rest for cpus in pinned.values()):
        found.put("cpus", tuple(pinned.get(number, rest) for number in range(max(pinned) + 1)), cputune)


def cpu_set(text: str, node: Node) -> CpuSet:
    """Read a set of CPUs.

    Raises:
        ParseError: The text is not a set of CPUs.
    """
    try:
        cpus = CpuSet(text.replace(" ", ""))
    except ValueError as error:
        raise node.wrong(str(error)) from None
    if cpus.is_symbolic or not cpus:
        raise node.wrong(f"{text!r} is not a set of CPUs; use the form 0-3,^1")
    return cpus


def write(config: DomainConfig, domain: Node) -> None:
    """Write the number of vCPUs, their CPU affinity and the weight."""
    most = config.effective_maxvcpus
    cpus = config.cpus if isinstance(config.cpus, CpuSet) and sayable(config.cpus) else None
    vcpu = domain.add("vcpu", max(most, config.vcpus), placement="static", cpuset=str(cpus) if cpus else None)
    if config.vcpus < most:
        vcpu.set(current=config.vcpus)
    # libvirt's converter reads only <vcpu cpuset=…>, and its driver pins only by <vcpupin>.
    pins = config.cpus[:most] if isinstance(config.cpus, tuple) else (cpus,) * most if cpus else ()
    weight = config.scheduler.weight
    if weight is not None and not _FEWEST_SHARES <= weight <= _MOST_SHARES:
        weight = None
    if weight is None and not any(map(sayable, pins)):
        return
    cputune = domain.add("cputune")
    if weight is not None:
        cputune.add("shares", weight)
    for number, one in enumerate(pins):
        if sayable(one):
            cputune.add("vcpupin", vcpu=number, cpuset=str(one))


def sayable(cpus: CpuSet) -> bool:
    """Whether libvirt's XML can express a set: it must not be empty, or have ``all`` or ``nodes:N``."""
    return not cpus.is_symbolic and CPU_SET.fullmatch(cpus.text) is not None
