"""Memory, vCPUs and the scheduler of a running domain."""

from __future__ import annotations

import re
from typing import Any, Final

from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import is_code
from pyxen.backends.libvirt.inspect import Looking
from pyxen.config import CpuSet, Scheduler
from pyxen.errors import InvalidArgument, UnsupportedFeature
from pyxen.libvirtxml.text import parse_tree
from pyxen.units import mib_to_kib

__all__ = ["pin_vcpu", "set_maxmem", "set_memory", "set_scheduler", "set_vcpus"]

_LIVE: Final = number("VIR_DOMAIN_AFFECT_LIVE")
_MAXIMUM: Final = number("VIR_DOMAIN_MEM_MAXIMUM")

_MOST_WEIGHT: Final = 65535


def set_memory(domain: VirDomain, ref: DomainRef, memory: float) -> None:
    """Tell a guest how much memory to have, in MiB."""
    if memory <= 0:
        message = "a domain cannot be without memory"
        raise InvalidArgument(message, operation="set_memory", domain=ref.domid, domid=ref.domid)
    domain.setMemoryFlags(mib_to_kib(memory), _LIVE)


def set_maxmem(domain: VirDomain, ref: DomainRef, maxmem: float) -> None:
    """Set how much memory a domain can be given, in MiB."""
    kib = mib_to_kib(maxmem)
    has = int(parse_tree(domain.XMLDesc(0)).findtext("currentMemory", "0"))  # libvirt writes it in KiB
    if kib < has:
        message = f"{maxmem:g} MiB is less than the domain has, {has / 1024:g} MiB: lower that first, with set_memory"
        raise InvalidArgument(message, operation="set_maxmem", domain=ref.domid, domid=ref.domid)
    domain.setMemoryFlags(kib, _LIVE | _MAXIMUM)


def set_vcpus(domain: VirDomain, ref: DomainRef, looking: Looking, vcpus: int) -> None:
    """Tell a guest how many vCPUs to use."""
    most = looking.one(domain).maxvcpus
    if not 1 <= vcpus <= most:
        message = f"{vcpus} vCPUs: the domain can have 1 to {most}"
        raise InvalidArgument(message, operation="set_vcpus", domain=ref.domid, domid=ref.domid)
    domain.setVcpusFlags(vcpus, _LIVE)


def pin_vcpu(
    connection: Connection, domain: VirDomain, ref: DomainRef, looking: Looking, vcpu: int | None, cpus: CpuSet
) -> None:
    """Say on which CPUs a vCPU, or with None all of them, may run."""
    info = looking.one(domain)
    count = connection.getInfo()[2]
    wanted = _resolved(connection, cpus, count)
    if not wanted or max(wanted) >= count:
        message = f"CPUs {cpus}: the host has 0 to {count - 1}"
        raise InvalidArgument(message, operation="pin_vcpu", domain=ref.domid, domid=ref.domid)
    if vcpu is not None and not 0 <= vcpu < info.maxvcpus:
        message = f"vCPU {vcpu}: the domain has 0 to {info.maxvcpus - 1}"
        raise InvalidArgument(message, operation="pin_vcpu", domain=ref.domid, domid=ref.domid)
    places = tuple(cpu in wanted for cpu in range(count))
    for each in range(info.maxvcpus) if vcpu is None else [vcpu]:
        try:
            domain.pinVcpu(each, places)
        except VirError as error:
            if vcpu is not None or each < info.vcpus or not is_code(error, "INVALID_ARG"):
                raise  # else it is offline, and not every driver pins such


def _resolved(connection: Connection, cpus: CpuSet, count: int) -> set[int]:
    nodes: dict[int, list[int]] = {}
    if cpus.is_symbolic:
        capabilities: str = connection.getCapabilities()
        for cell in re.finditer(r"<cell id='(\d+)'>(.*?)</cell>", capabilities, re.DOTALL):
            nodes[int(cell[1])] = [int(cpu) for cpu in re.findall(r"<cpu id='(\d+)'", cell[2])]
    try:
        return set(cpus.resolve(range(count), nodes))
    except ValueError as error:
        raise InvalidArgument(str(error), operation="pin_vcpu") from None


def set_scheduler(domain: VirDomain, ref: DomainRef, scheduler: Scheduler, backend: str) -> None:
    """Set a domain's share of the CPUs; what is not said stays."""
    wanted: dict[str, Any] = {}
    for name in ("weight", "cap", "period", "budget", "extratime"):
        value = getattr(scheduler, name)
        if value is not None:
            wanted[name] = value
    try:
        have = domain.schedulerParameters()
    except VirError as error:
        if "scheduler" not in str(error):
            raise
        message = f"set_scheduler: {backend} does not know this host's scheduler: {error}"
        raise UnsupportedFeature(message, feature="set_scheduler", backend=backend) from None
    unknown = next((name for name in wanted if name not in have), None)
    if unknown is not None:
        message = (
            f"{unknown}: the scheduler of this host, as libvirt sees it, has {', '.join(have) or 'nothing to set'}"
        )
        raise UnsupportedFeature(message, feature=unknown, backend=backend)
    if not 1 <= wanted.get("weight", 1) <= _MOST_WEIGHT:
        message = f"weight={wanted['weight']}: it is from 1 to {_MOST_WEIGHT}"
        raise InvalidArgument(message, operation="set_scheduler", domain=ref.domid, domid=ref.domid)
    if wanted:
        domain.setSchedulerParameters(wanted)
