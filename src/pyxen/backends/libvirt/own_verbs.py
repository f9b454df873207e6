"""What only libvirt can do: capabilities, managed saves, jobs, metadata, definitions, networks and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from lxml import etree

from pyxen._common.shown_uri import secrets_of
from pyxen._common.sparing import check_spared
from pyxen.backends.libvirt import devices, pinning
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import broke_the_link, is_code, unsupported
from pyxen.backends.libvirt.frames import releasing
from pyxen.backends.libvirt.threaded_operations import ThreadedOperation
from pyxen.backends.libvirt.unanswered import meet
from pyxen.config import CpuSet, Part
from pyxen.errors import DomainNotFound, InvalidArgument, InvalidState, NotFound, UnsupportedFeature
from pyxen.libvirtxml.text import parse_tree
from pyxen.operation import Operation
from pyxen.records.libvirt import (
    AddressSource,
    CpuComparison,
    GuestKind,
    InterfaceAddresses,
    LibvirtCapabilities,
    LibvirtDomainCapabilities,
    LibvirtJob,
    LibvirtNetwork,
    LibvirtPool,
    LibvirtVolume,
)

if TYPE_CHECKING:
    from pyxen.backends.libvirt.host_verbs import LibvirtHost

__all__ = ["LibvirtOwnVerbs"]

T = TypeVar("T")

_LIVE: Final = number("VIR_DOMAIN_AFFECT_LIVE")
_CONFIG: Final = number("VIR_DOMAIN_AFFECT_CONFIG")
_INACTIVE: Final = number("VIR_DOMAIN_XML_INACTIVE")
_ELEMENT: Final = number("VIR_DOMAIN_METADATA_ELEMENT")
_RUNNING: Final = number("VIR_DOMAIN_SAVE_RUNNING")
_PAUSED: Final = number("VIR_DOMAIN_SAVE_PAUSED")
_NO_JOB: Final = {number("VIR_DOMAIN_JOB_NONE"), number("VIR_DOMAIN_JOB_COMPLETED"), number("VIR_DOMAIN_JOB_FAILED")}
_TUNNELLED: Final = number("VIR_MIGRATE_TUNNELLED")
_PEER_TO_PEER: Final = number("VIR_MIGRATE_LIVE") | number("VIR_MIGRATE_PEER2PEER")
_MIGRATE_KEPT: Final = number("VIR_MIGRATE_PERSIST_DEST") | number("VIR_MIGRATE_UNDEFINE_SOURCE")

_COMPARISONS: Final = {
    number("VIR_CPU_COMPARE_INCOMPATIBLE"): CpuComparison.INCOMPATIBLE,
    number("VIR_CPU_COMPARE_IDENTICAL"): CpuComparison.IDENTICAL,
    number("VIR_CPU_COMPARE_SUPERSET"): CpuComparison.SUPERSET,
}
_SOURCES: Final = {
    AddressSource.LEASE: number("VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE"),
    AddressSource.AGENT: number("VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT"),
    AddressSource.ARP: number("VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP"),
}


@releasing
class LibvirtOwnVerbs:
    """What only libvirt can do, on a host that it manages.

    Args:
        host: The backend.
        look: Its way to a connection for calls that take no time.
        start: Its way to begin an operation.
    """

    def __init__(self, host: LibvirtHost, look: Callable[[str], Any], start: Callable[..., Any]) -> None:
        self._host = host
        self._look = look
        self._start = start

    @contextmanager
    def _domain(self, verb: str, key: str | UUID) -> Iterator[tuple[Connection, VirDomain]]:
        with self._look(verb) as connection:
            yield connection, _found(connection, verb, key)

    # The host

    def capabilities(self) -> LibvirtCapabilities:
        """Return what the host can do."""
        with self._look("capabilities") as connection:
            xml = connection.getCapabilities()
        root = parse_tree(xml)
        iommu = root.find("host/iommu")
        return LibvirtCapabilities(
            arch=root.findtext("host/cpu/arch"),
            cpu_model=root.findtext("host/cpu/model"),
            cpu_features=frozenset(one.get("name", "") for one in root.findall("host/cpu/feature")),
            iommu=None if iommu is None else iommu.get("support") == "yes",
            guests=tuple(_guest_kind(guest) for guest in root.findall("guest")),
            xml=xml,
        )

    def domain_capabilities(self, arch: str | None, machine: str | None) -> LibvirtDomainCapabilities:
        """Return what domains of a kind can have."""
        with self._look("domain_capabilities") as connection:
            xml = connection.getDomainCapabilities(None, arch, machine, None, 0)
        root = parse_tree(xml)
        vcpu = root.find("vcpu")
        return LibvirtDomainCapabilities(
            domain_type=root.findtext("domain"),
            machine=root.findtext("machine"),
            arch=root.findtext("arch"),
            emulator=root.findtext("path"),
            max_vcpus=None if vcpu is None else int(vcpu.get("max", "0")),
            devices=frozenset(str(one.tag) for one in root.findall("devices/*") if one.get("supported") == "yes"),
            xml=xml,
        )

    def compare_cpu(self, xml: str) -> CpuComparison:
        """Compare the host's CPU with another."""
        with self._look("compare_cpu") as connection:
            result = connection.compareCPU(xml, 0)
        if result not in _COMPARISONS:
            raise InvalidArgument("libvirt cannot compare these CPUs", operation="compare_cpu")
        return _COMPARISONS[result]

    def baseline_cpu(self, xmls: Sequence[str]) -> str:
        """Return the CPU that several hosts have in common."""
        with self._look("baseline_cpu") as connection:
            return str(connection.baselineCPU(list(xmls), 0))

    def networks(self) -> list[LibvirtNetwork]:
        """Return the virtual networks, by name."""
        with self._look("networks") as connection:
            found = [
                LibvirtNetwork(
                    name=network.name(),
                    uuid=UUID(network.UUIDString()),
                    active=bool(network.isActive()),
                    autostart=bool(network.autostart()),
                    bridge=_or_none(network.bridgeName),
                )
                for network in connection.listAllNetworks(0)
            ]
        return sorted(found, key=lambda network: network.name)

    def pools(self) -> list[LibvirtPool]:
        """Return the storage pools, by name."""
        with self._look("pools") as connection:
            found = []
            for pool in connection.listAllStoragePools(0):
                root = parse_tree(pool.XMLDesc(0))
                _, capacity, _, available = pool.info()
                found.append(
                    LibvirtPool(
                        name=pool.name(),
                        uuid=UUID(pool.UUIDString()),
                        active=bool(pool.isActive()),
                        autostart=bool(pool.autostart()),
                        type=root.get("type", ""),
                        path=root.findtext("target/path"),
                        capacity_bytes=capacity,
                        available_bytes=available,
                    )
                )
        return sorted(found, key=lambda pool: pool.name)

    def volumes(self, pool: str) -> list[LibvirtVolume]:
        """Return the volumes of a storage pool, by name."""
        with self._look("volumes") as connection:
            try:
                found = connection.storagePoolLookupByName(pool)
            except VirError as error:
                if is_code(error, "NO_STORAGE_POOL"):
                    raise NotFound(f"there is no storage pool {pool!r}", operation="volumes") from None
                raise
            if not found.isActive():
                message = f"the storage pool {pool!r} is not active: virsh pool-start {pool}"
                raise InvalidState(message, operation="volumes")
            volumes = []
            for volume in found.listAllVolumes(0):
                kind = parse_tree(volume.XMLDesc(0)).find("target/format")
                _, capacity, allocation = volume.info()
                volumes.append(
                    LibvirtVolume(
                        name=volume.name(),
                        path=volume.path(),
                        format=None if kind is None else kind.get("type"),
                        capacity_bytes=capacity,
                        allocation_bytes=allocation,
                    )
                )
        return sorted(volumes, key=lambda volume: volume.name)

    # Managed saves and jobs

    def managed_save(self, key: str | UUID, *, paused: bool | None, timeout: float | None) -> Operation[None]:
        """Save a running domain to a file of libvirt's own."""
        flags = 0 if paused is None else _PAUSED if paused else _RUNNING

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            domain = _found(connection, "managed_save", key)
            _check_spared(domain, "managed_save")
            domain.managedSave(flags)

        late = "libvirt's driver cannot stop it and continues: check whether the domain has ended"
        unsure = "libvirt may still save it, and end it then: check whether the domain has ended"
        begun = Operation[None]("managed_save", str(key), timeout=timeout)
        operation: Operation[None] = self._start(begun, work, late=late, unsure=unsure)
        return operation

    def has_managed_save(self, key: str | UUID) -> bool:
        """Tell whether a domain has such a file."""
        with self._domain("has_managed_save", key) as (_, domain):
            return bool(domain.hasManagedSaveImage(0))

    def remove_managed_save(self, key: str | UUID) -> None:
        """Remove that file."""
        with self._domain("remove_managed_save", key) as (_, domain):
            if domain.hasManagedSaveImage(0):
                domain.managedSaveRemove(0)

    def job(self, key: str | UUID) -> LibvirtJob | None:
        """Return what libvirt is doing with a domain."""
        with self._domain("job", key) as (_, domain):
            kind, elapsed, remaining, total, processed, left, *_ = domain.jobInfo()
        if kind in _NO_JOB:
            return None
        return LibvirtJob(
            elapsed_ms=elapsed,
            remaining_ms=remaining or None,
            total_bytes=total,
            processed_bytes=processed,
            remaining_bytes=left,
        )

    def abort_job(self, key: str | UUID) -> None:
        """Abort it."""
        with self._domain("abort_job", key) as (_, domain):
            try:
                domain.abortJob()
            except VirError as error:
                if unsupported(error):
                    raise UnsupportedFeature(
                        f"abort_job: {self._host.name} cannot do this: wait until job() is None. On the host itself, "
                        f"through xenlight:///, a save or migration can be cancelled",
                        feature="abort_job",
                        backend=self._host.name,
                    ) from None
                raise

    # What a domain has

    def metadata(self, key: str | UUID, uri: str, *, config: bool) -> str | None:
        """Return an application's metadata of a domain."""
        with self._domain("metadata", key) as (_, domain):
            try:
                return str(domain.metadata(_ELEMENT, uri, _CONFIG if config else 0))
            except VirError as error:
                if is_code(error, "NO_DOMAIN_METADATA"):
                    return None
                raise

    def set_metadata(
        self, key: str | UUID, uri: str, xml: str | None, prefix: str, *, live: bool, config: bool
    ) -> None:
        """Set or remove an application's metadata of a domain."""
        with self._domain("set_metadata", key) as (_, domain):
            try:
                domain.setMetadata(_ELEMENT, xml, prefix, uri, _where(live=live, config=config))
            except VirError as error:
                if xml is not None or not is_code(error, "NO_DOMAIN_METADATA"):
                    raise

    def addresses(self, key: str | UUID, source: AddressSource) -> list[InterfaceAddresses]:
        """Return the addresses of a guest's interfaces."""
        with self._domain("addresses", key) as (_, domain):
            told = domain.interfaceAddresses(_SOURCES[source]) or {}
        return [
            InterfaceAddresses(
                name=name,
                mac=one.get("hwaddr"),
                addresses=tuple(f"{each['addr']}/{each['prefix']}" for each in one.get("addrs") or ()),
            )
            for name, one in sorted(told.items())
        ]

    def pinning(self, key: str | UUID, *, config: bool) -> list[CpuSet]:
        """Return the CPUs that each vCPU of a domain may run on."""
        with self._domain("pinning", key) as (connection, domain):
            vcpus = int(parse_tree(domain.XMLDesc(_INACTIVE if config else 0)).findtext("vcpu", "1"))
            return pinning.pinned(domain, vcpus, connection.getInfo()[2], _CONFIG if config else _LIVE)

    def xml(self, key: str | UUID, *, config: bool) -> str:
        """Return libvirt's XML of a domain."""
        with self._domain("xml", key) as (_, domain):
            return domain.XMLDesc(_INACTIVE if config else 0)

    # Changes of the running domain, of its definition, or of both

    def set_memory(self, key: str | UUID, kib: int, *, live: bool, config: bool) -> None:
        """Set a guest's memory target."""
        with self._domain("set_memory", key) as (_, domain):
            domain.setMemoryFlags(_unsigned(kib, "set_memory"), _where(live=live, config=config))

    def set_vcpus(self, key: str | UUID, vcpus: int, *, live: bool, config: bool) -> None:
        """Set the number of vCPUs that a guest uses."""
        with self._domain("set_vcpus", key) as (_, domain):
            domain.setVcpusFlags(_unsigned(vcpus, "set_vcpus"), _where(live=live, config=config))

    def attach(self, key: str | UUID, device: Part, *, live: bool, config: bool) -> None:
        """Attach a device."""
        with self._domain("attach", key) as (_, domain):
            flags = _where(live=live, config=config)
            devices.attach_where(domain, self._host.domain_type, device, self._host.name, flags)

    def detach(self, key: str | UUID, device: Part | str, *, live: bool, config: bool) -> None:
        """Detach a device."""
        with self._domain("detach", key) as (_, domain):
            devices.detach_where(domain, device, self._host.name, _where(live=live, config=config))

    def migrate(self, key: str | UUID, uri: str, *, tunnelled: bool, timeout: float | None) -> Operation[None]:
        """Migrate a domain from daemon to daemon."""

        def work(connection: Connection, _: ThreadedOperation[None]) -> None:
            domain = _found(connection, "migrate", key)
            _check_spared(domain, "migrate")
            flags = _PEER_TO_PEER | (_TUNNELLED if tunnelled else 0)
            domain.migrateToURI3(uri, {}, flags | (_MIGRATE_KEPT if domain.isPersistent() else 0))

        late = "libvirt's driver cannot stop it and continues: check on which host the domain is"
        begun = Operation[None]("migrate", str(key), timeout=timeout)
        unsure = "libvirt may still go on with it: check on which host the domain is"
        operation: Operation[None] = self._start(begun, work, late=late, unsure=unsure, secrets=secrets_of(uri))
        return operation


def _found(connection: Connection, verb: str, key: str | UUID) -> VirDomain:
    """Return a domain, running or defined.

    Raises:
        DomainNotFound: libvirt has no such domain.
        InvalidState: pyxen is about to destroy it.
    """
    looks: list[Callable[[str], VirDomain]] = [connection.lookupByUUIDString]
    if isinstance(key, str):
        looks = [connection.lookupByName, *(looks if _is_uuid(key) else [])]
    for look in looks:
        try:
            found = look(str(key))
        except VirError as error:
            if not is_code(error, "NO_DOMAIN"):
                raise
        else:
            meet(UUID(found.UUIDString()), verb)
            return found
    raise DomainNotFound(f"libvirt has no domain {key!s}", operation=verb, domain=str(key))


def _check_spared(domain: VirDomain, verb: str) -> None:
    """Check that a verb does not end dom0, or the domain that this process runs in."""
    check_spared(verb, domain.ID(), UUID(domain.UUIDString()))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _where(*, live: bool, config: bool) -> int:
    """Return libvirt's flags. Without both, libvirt takes the running domain, or if it does not run, its definition."""
    return (_LIVE if live else 0) | (_CONFIG if config else 0)


def _unsigned(value: int, verb: str) -> int:
    if not 0 < value < 1 << 31:
        raise InvalidArgument(f"{value} is out of range: use 1 or more", operation=verb)
    return value


def _guest_kind(guest: etree._Element) -> GuestKind:
    arch = guest.find("arch")
    found = [] if arch is None else [arch]
    return GuestKind(
        os_type=guest.findtext("os_type", ""),
        arch="" if arch is None else arch.get("name", ""),
        domain_types=tuple(one.get("type", "") for each in found for one in each.findall("domain")),
        machines=tuple(one.text or "" for each in found for one in each.findall("machine")),
        emulator=None if arch is None else arch.findtext("emulator"),
    )


def _or_none(ask: Callable[[], T]) -> T | None:
    """Return what libvirt tells, or None if it tells that there is no such thing."""
    try:
        return ask()
    except VirError as error:
        if broke_the_link(error):
            raise
        return None
