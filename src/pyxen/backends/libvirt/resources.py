"""Memory, vCPUs and the scheduler of a running domain."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.preconditions import check_affinity, check_cpus, check_maxmem, check_memory, check_vcpus
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt import pinning
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import is_code
from pyxen.backends.libvirt.inspect import DomainReader
from pyxen.backends.libvirt.topology import host_topology
from pyxen.config import CpuSet, Scheduler, SchedulerKind
from pyxen.errors import InvalidArgument, UnsupportedFeature
from pyxen.libvirtxml.text import parse_tree

__all__ = ["node_affinity", "pin_vcpu", "scheduler", "set_maxmem", "set_memory", "set_scheduler", "set_vcpus"]

_LIVE: Final = number("VIR_DOMAIN_AFFECT_LIVE")
_MAXIMUM: Final = number("VIR_DOMAIN_MEM_MAXIMUM")

_MOST_WEIGHT: Final = 65535
_PARAMETERS: Final = ("weight", "cap", "period", "budget", "extratime")


def set_memory(domain: VirDomain, ref: DomainRef, kib: int) -> None:
    """Set a guest's memory target."""
    check_memory(ref.domid, kib)
    domain.setMemoryFlags(kib, _LIVE)


def set_maxmem(domain: VirDomain, ref: DomainRef, kib: int) -> None:
    """Set the maximum memory of a domain."""
    check_maxmem(ref.domid, kib, int(parse_tree(domain.XMLDesc(0)).findtext("currentMemory", "0")))  # in KiB
    domain.setMemoryFlags(kib, _LIVE | _MAXIMUM)


def set_vcpus(domain: VirDomain, ref: DomainRef, reader: DomainReader, vcpus: int) -> None:
    """Set the number of vCPUs that a guest uses; libvirt allows at most as many as the host has CPUs."""
    check_vcpus(ref.domid, vcpus, reader.one(domain).maxvcpus)
    domain.setVcpusFlags(vcpus, _LIVE)


def node_affinity(connection: Connection, domain: VirDomain) -> tuple[int, ...]:
    """Return the NUMA nodes from which a domain's memory is taken; libvirt names none if these are all."""
    named: str = domain.numaParameters(_LIVE).get("numa_nodeset", "")
    return tuple(sorted(CpuSet(named))) if named else tuple(host_topology(connection).node_cpus)


def pin_vcpu(
    connection: Connection, domain: VirDomain, ref: DomainRef, reader: DomainReader, vcpu: int | None, cpus: CpuSet
) -> None:
    """Set the CPUs that a vCPU may run on; None means all vCPUs."""
    info = reader.one(domain)
    count = connection.getInfo()[2]
    check_affinity(ref.domid, vcpu, info.maxvcpus, cpus)
    nodes = host_topology(connection).node_cpus if cpus.is_symbolic else {0: range(count)}
    wanted = set(check_cpus(ref.domid, cpus, nodes))
    for each in range(info.maxvcpus) if vcpu is None else [vcpu]:
        try:
            pinning.pin_vcpu(domain, each, wanted, count)
        except VirError as error:
            if vcpu is not None or each < info.vcpus or not is_code(error, "INVALID_ARG"):
                raise  # otherwise the vCPU is offline, and some drivers do not pin offline vCPUs


def scheduler(domain: VirDomain, backend: str) -> Scheduler:
    """Return a domain's scheduler parameters, as far as libvirt has them."""
    have = _parameters(domain, "scheduler", backend)
    known = {name: int(value) for name, value in have.items() if name in _PARAMETERS}
    kind = domain.schedulerType()[0]
    return Scheduler(kind=SchedulerKind(kind) if kind in set(SchedulerKind) else None, **known)


def _parameters(domain: VirDomain, verb: str, backend: str) -> dict[str, Any]:
    try:
        return domain.schedulerParameters()
    except VirError as error:
        if "scheduler" not in str(error):
            raise
        message = f"{verb}: {backend} does not support this host's scheduler: {error}"
        raise UnsupportedFeature(message, feature="set_scheduler", backend=backend) from None


def set_scheduler(domain: VirDomain, ref: DomainRef, scheduler: Scheduler, backend: str) -> None:
    """Set a domain's scheduler parameters; parameters that are not given stay as they are."""
    wanted: dict[str, Any] = {}
    for name in _PARAMETERS:
        value = getattr(scheduler, name)
        if value is not None:
            wanted[name] = value
    have = _parameters(domain, "set_scheduler", backend)
    unknown = next((name for name in wanted if name not in have), None)
    if unknown is not None:
        message = (
            f"{unknown}: libvirt can set only these parameters of this host's scheduler: {', '.join(have) or 'none'}"
        )
        raise UnsupportedFeature(message, feature=unknown, backend=backend)
    if not 1 <= wanted.get("weight", 1) <= _MOST_WEIGHT:
        message = f"weight={wanted['weight']} is out of range: use 1 to {_MOST_WEIGHT}"
        raise InvalidArgument(message, operation="set_scheduler", domain=ref.domid, domid=ref.domid)
    if wanted:
        domain.setSchedulerParameters(wanted)
