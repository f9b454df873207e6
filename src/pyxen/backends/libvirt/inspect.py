"""Queries for information about a host and its domains."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import broke_the_link, is_code, is_gone, unsupported
from pyxen.config import DomainType
from pyxen.records.info import DomainInfo, DomainState, HostInfo, ShutdownReason

__all__ = ["DomainReader", "host_info", "is_unanswered", "of_each_active"]

T = TypeVar("T")

_STATES: Final = {
    number("VIR_DOMAIN_NOSTATE"): DomainState.BLOCKED,
    number("VIR_DOMAIN_RUNNING"): DomainState.RUNNING,
    number("VIR_DOMAIN_BLOCKED"): DomainState.BLOCKED,
    number("VIR_DOMAIN_PAUSED"): DomainState.PAUSED,
    number("VIR_DOMAIN_SHUTDOWN"): DomainState.RUNNING,  # the guest was asked to shut down and still runs
    number("VIR_DOMAIN_SHUTOFF"): DomainState.SHUTDOWN,
    number("VIR_DOMAIN_CRASHED"): DomainState.CRASHED,
    number("VIR_DOMAIN_PMSUSPENDED"): DomainState.SHUTDOWN,
}
_SHUTOFF: Final = number("VIR_DOMAIN_SHUTOFF")
_SUSPENDED: Final = number("VIR_DOMAIN_PMSUSPENDED")
_OFF_CRASHED: Final = number("VIR_DOMAIN_SHUTOFF_CRASHED")

_TYPES: Final = {"xen": DomainType.PV, "linux": DomainType.PV, "xenpvh": DomainType.PVH}
"""Guest types by libvirt's names; all other names are of HVM guests."""

_OS_TYPE: Final = re.compile(r"<type\b[^>]*>\s*([^<\s]*)\s*</type>")

_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")
_STATS_ACTIVE: Final = number("VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE")
_STATS: Final = (
    number("VIR_DOMAIN_STATS_STATE")
    | number("VIR_DOMAIN_STATS_CPU_TOTAL")
    | number("VIR_DOMAIN_STATS_BALLOON")
    | number("VIR_DOMAIN_STATS_VCPU")
)
_NEEDED: Final = ("state.state", "cpu.time", "balloon.current", "balloon.maximum", "vcpu.current", "vcpu.maximum")


class DomainReader:
    """Queries information about domains in few round trips, and caches what cannot change while a domain exists.

    A driver with bulk statistics gives all domains in one call. The Xen driver has no bulk statistics: it is asked for
    the list of domains and then for each domain.
    """

    def __init__(self, driver: str) -> None:
        self._types_are_in_xml = driver == "TEST"  # it says "linux" for every domain, whatever its type
        self._bulk = True
        self._kept: dict[tuple[UUID, int], tuple[DomainType, int]] = {}

    def all(self, connection: Connection) -> list[DomainInfo]:
        """Return all active domains, by domid."""
        found = self._all_at_once(connection) if self._bulk else None
        if found is None:
            found = of_each_active(connection, self.one)
        keys = {(info.uuid, info.domid) for info in found}
        for key in [key for key in list(self._kept) if key not in keys]:
            self._kept.pop(key, None)
        return sorted(found, key=lambda info: info.domid)

    def one(self, domain: VirDomain) -> DomainInfo:
        """Return an active domain."""
        state, maxmem, memory, vcpus, cpu_time = domain.info()
        reason = domain.state()[1] if state == _SHUTOFF else 0
        return self._info(domain, state, reason, maxmem, memory, vcpus, cpu_time, None)

    def _all_at_once(self, connection: Connection) -> list[DomainInfo] | None:
        """Return all domains from one bulk query; None if the driver's answer is incomplete."""
        try:
            records = connection.getAllDomainStats(_STATS, _STATS_ACTIVE)
        except VirError as error:
            if not unsupported(error):
                raise
            self._bulk = False
            return None
        found = []
        for domain, values in records:
            if not all(key in values for key in _NEEDED):
                self._bulk = False
                return None
            try:
                found.append(self._from_record(domain, values))
            except VirError as error:
                if not is_gone(error):
                    raise
        return found

    def _from_record(self, domain: VirDomain, values: dict[str, Any]) -> DomainInfo:
        return self._info(
            domain,
            values["state.state"],
            values.get("state.reason", 0),
            values["balloon.maximum"],
            values["balloon.current"],
            values["vcpu.current"],
            values["cpu.time"],
            values["vcpu.maximum"],
        )

    def _info(
        self,
        domain: VirDomain,
        state: int,
        reason: int,
        maxmem: int,
        memory: int,
        vcpus: int,
        cpu_time: int,
        maxvcpus: int | None,
    ) -> DomainInfo:
        uuid, domid = UUID(domain.UUIDString()), domain.ID()
        kept = self._kept.get((uuid, domid))
        kind, most = kept or (self._type(domain), _maxvcpus(domain) if maxvcpus is None else maxvcpus)
        self._kept[uuid, domid] = (kind, most)
        what = _STATES.get(state, DomainState.RUNNING)
        if state == _SHUTOFF and reason == _OFF_CRASHED:
            what = DomainState.CRASHED
        return DomainInfo(
            domid=domid,
            name=domain.name(),
            uuid=uuid,
            state=what,
            shutdown_reason=_shutdown_reason(state, what),
            type=kind,
            memory_kib=memory,
            maxmem_kib=maxmem,
            vcpus=vcpus,
            maxvcpus=max(most, vcpus),
            cpu_time_ns=cpu_time,
            pool=None,  # libvirt does not know CPU pools
            poolid=None,
            ssidref=0,
        )

    def _type(self, domain: VirDomain) -> DomainType:
        if self._types_are_in_xml:
            found = _OS_TYPE.search(domain.XMLDesc(0))
            return _TYPES.get(found[1] if found else "", DomainType.HVM)
        return _TYPES.get(domain.OSType(), DomainType.HVM)


def of_each_active(connection: Connection, ask: Callable[[VirDomain], T]) -> list[T]:
    """Call a function with one active domain after the other, and return its results.

    Domains that disappear meanwhile are left out.
    """

    def answer(domain: VirDomain) -> T | None:
        if domain.ID() < 0:
            return None
        try:
            return ask(domain)
        except VirError as error:
            if is_gone(error) or is_code(error, "OPERATION_INVALID"):
                return None
            raise

    return [found for domain in connection.listAllDomains(_ACTIVE) if (found := answer(domain)) is not None]


def _maxvcpus(domain: VirDomain) -> int:
    """Return how many vCPUs a domain can have; 0 if the driver does not say, as the Xen driver of dom0."""
    try:
        return domain.maxVcpus()
    except VirError as error:
        if is_unanswered(error):
            raise
        return 0


def is_unanswered(error: Exception) -> bool:
    """Tell whether an error means that libvirt has not answered what it was asked about a domain.

    The link broke, the domain is gone, or something else holds it.
    """
    return broke_the_link(error) or is_gone(error) or is_code(error, "OPERATION_TIMEOUT")


def _shutdown_reason(state: int, what: DomainState) -> ShutdownReason | None:
    if state == _SUSPENDED:
        return ShutdownReason.SUSPEND
    return {DomainState.CRASHED: ShutdownReason.CRASH, DomainState.SHUTDOWN: ShutdownReason.POWEROFF}.get(what)


def host_info(connection: Connection) -> HostInfo:
    """Return information about a host."""
    machine, memory_mib, cpus, mhz, nodes, _, cores, threads = connection.getInfo()
    version = connection.getVersion()
    return HostInfo(
        xen_version=f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}",
        nr_cpus=cpus,
        nr_nodes=nodes,
        cores_per_socket=cores,
        threads_per_core=threads,
        cpu_khz=mhz * 1000,
        memory_kib=memory_mib * 1024,
        free_memory_kib=connection.getFreeMemory() // 1024,
        hostname=connection.getHostname(),
        machine=machine,
    )
