"""What only libvirt can do, with a host and with its domains, for asyncio.

Generated from `pyxen.libvirtverbs` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from pyxen._common.arguments import check_bools, check_is, check_number, member
from pyxen._durations import timeout_of
from pyxen.aio._calls import Calls
from pyxen.aio.domain import Domain
from pyxen.backends.base import Backend
from pyxen.config import CpuSet, Part
from pyxen.errors import InvalidArgument
from pyxen.records.info import DefinedDomain
from pyxen.records.libvirt import (
    AddressSource,
    AddressSourceName,
    CpuComparison,
    InterfaceAddresses,
    LibvirtCapabilities,
    LibvirtDomainCapabilities,
    LibvirtJob,
    LibvirtNetwork,
    LibvirtPool,
    LibvirtVolume,
)

__all__ = ["LibvirtDomainKey", "LibvirtVerbs"]

LibvirtDomainKey = str | UUID | Domain | DefinedDomain
"""A domain that libvirt knows, whether it runs or not: its name, its uuid, its handle, or its `DefinedDomain`."""


class LibvirtVerbs:
    """What libvirt has and other backends do not: `pyxen.LibvirtVerbs`, awaited.

    ``live`` stands for the running domain, ``config`` for its definition, which its next start uses.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<LibvirtVerbs of {self._backend.uri}>"

    async def capabilities(self) -> LibvirtCapabilities:
        """Return what the host can do, as ``virsh capabilities``."""
        return await self._calls.ask(lambda: self._backend.libvirt().capabilities())

    async def domain_capabilities(
        self, *, arch: str | None = None, machine: str | None = None
    ) -> LibvirtDomainCapabilities:
        """Return what domains of a kind can have, as ``virsh domcapabilities``.

        Args:
            arch: Their architecture. Default: the host's.
            machine: Their machine type: ``xenpv``, ``xenpvh`` or ``xenfv``. Default: ``xenpv``.
        """
        for value in (arch, machine):
            if value is not None:
                check_is(str, value, "domain_capabilities")
        return await self._calls.ask(lambda: self._backend.libvirt().domain_capabilities(arch, machine))

    async def compare_cpu(self, xml: str) -> CpuComparison:
        """Compare the host's CPU with another, as ``virsh cpu-compare``.

        Args:
            xml: The other CPU as libvirt's XML: a ``<cpu>`` element, or capabilities.

        Raises:
            InvalidArgument: libvirt does not understand it.
        """
        check_is(str, xml, "compare_cpu")
        return await self._calls.ask(lambda: self._backend.libvirt().compare_cpu(xml))

    async def baseline_cpu(self, xmls: Sequence[str]) -> str:
        """Return the CPU that several hosts have in common, as ``virsh cpu-baseline``.

        Args:
            xmls: Their CPUs as libvirt's XML; each ``<cpu>`` says its ``<arch>``.

        Raises:
            InvalidArgument: There is none, or libvirt does not understand one.
        """
        if isinstance(xmls, str) or not xmls or not all(isinstance(xml, str) for xml in xmls):
            raise InvalidArgument("takes a list of texts, one for each CPU, and at least one", operation="baseline_cpu")
        return await self._calls.ask(lambda: self._backend.libvirt().baseline_cpu(list(xmls)))

    async def networks(self) -> Sequence[LibvirtNetwork]:
        """Return the virtual networks by name, as ``virsh net-list --all``. `LibvirtNetwork.vif` is a vif for one."""
        return await self._calls.ask(lambda: self._backend.libvirt().networks())

    async def pools(self) -> Sequence[LibvirtPool]:
        """Return the storage pools by name, as ``virsh pool-list --all``."""
        return await self._calls.ask(lambda: self._backend.libvirt().pools())

    async def volumes(self, pool: str | LibvirtPool) -> Sequence[LibvirtVolume]:
        """Return the volumes of a storage pool by name, as ``virsh vol-list``. `LibvirtVolume.disk` is a disk with one.

        Args:
            pool: The pool, or its name.

        Raises:
            NotFound: There is no such pool.
            InvalidState: The pool is not active.
        """
        name = pool.name if isinstance(pool, LibvirtPool) else pool
        check_is(str, name, "volumes")
        return await self._calls.ask(lambda: self._backend.libvirt().volumes(name))

    async def managed_save(
        self, domain: LibvirtDomainKey, *, paused: bool | None = None, timeout: float | None = None
    ) -> None:
        """Save a running domain to a file that libvirt keeps, and end it, as ``virsh managedsave``.

        The next `Host.start` of the domain resumes it from there, and removes the file.

        Args:
            domain: A domain that is defined and runs.
            paused: Whether it is paused after that. None leaves it as it was.
            timeout: Seconds after which to give up.

        Raises:
            InvalidState: The domain does not run, or is not defined.
            OperationTimeout: The timeout expired.
        """
        if paused is not None:
            check_bools("managed_save", paused=paused)
        key, seconds = _key(domain, "managed_save"), timeout_of(timeout, operation="managed_save")
        await self._calls.finish(lambda: self._backend.libvirt().managed_save(key, paused=paused, timeout=seconds))

    async def has_managed_save(self, domain: LibvirtDomainKey) -> bool:
        """Tell whether libvirt keeps a file with a saved domain, from which its next start resumes it."""
        key = _key(domain, "has_managed_save")
        return await self._calls.ask(lambda: self._backend.libvirt().has_managed_save(key))

    async def remove_managed_save(self, domain: LibvirtDomainKey) -> None:
        """Remove that file, if there is one, as ``virsh managedsave-remove``. The next start boots the guest."""
        key = _key(domain, "remove_managed_save")
        await self._calls.change(lambda: self._backend.libvirt().remove_managed_save(key))

    async def job(self, domain: LibvirtDomainKey) -> LibvirtJob | None:
        """Return what libvirt is doing with a domain, as ``virsh domjobinfo``; None if it is doing nothing.

        libvirt's Xen driver knows how long it has taken, and no amounts.
        """
        key = _key(domain, "job")
        return await self._calls.ask(lambda: self._backend.libvirt().job(key))

    async def abort_job(self, domain: LibvirtDomainKey) -> None:
        """Abort what libvirt is doing with a domain, as ``virsh domjobabort``.

        Raises:
            InvalidState: It is doing nothing.
            UnsupportedFeature: The host's driver cannot abort a job; libvirt's Xen driver cannot.
        """
        key = _key(domain, "abort_job")
        await self._calls.change(lambda: self._backend.libvirt().abort_job(key))

    async def metadata(self, domain: LibvirtDomainKey, uri: str, *, config: bool = False) -> str | None:
        """Return what an application keeps with a domain, as XML; None if it keeps nothing: ``virsh metadata``.

        Args:
            domain: The domain.
            uri: The XML namespace of the application.
            config: Look at the definition instead of the running domain.
        """
        key = _key(domain, "metadata")
        check_is(str, uri, "metadata")
        check_bools("metadata", config=config)
        return await self._calls.ask(lambda: self._backend.libvirt().metadata(key, uri, config=config))

    async def set_metadata(
        self,
        domain: LibvirtDomainKey,
        uri: str,
        xml: str | None,
        *,
        prefix: str = "app",
        live: bool = False,
        config: bool = False,
    ) -> None:
        """Set what an application keeps with a domain, as ``virsh metadata --set``.

        Args:
            domain: The domain.
            uri: The XML namespace of the application.
            xml: One element. None removes it.
            prefix: The prefix that stands for the namespace.
            live: Set it for the running domain.
            config: Set it for the definition. If neither is said: for the running domain, or if it does not run, for
                its definition.

        Raises:
            InvalidArgument: It is not an element of XML, or the URI or the prefix is not valid.
        """
        key = _key(domain, "set_metadata")
        for text in (uri, prefix, *(() if xml is None else (xml,))):
            check_is(str, text, "set_metadata")
        check_bools("set_metadata", live=live, config=config)
        await self._calls.change(
            lambda: self._backend.libvirt().set_metadata(key, uri, xml, prefix, live=live, config=config)
        )

    async def addresses(
        self, domain: LibvirtDomainKey, source: AddressSource | AddressSourceName = AddressSource.LEASE
    ) -> Sequence[InterfaceAddresses]:
        """Return the IP addresses of a running guest, as ``virsh domifaddr``.

        Args:
            domain: The domain.
            source: Who is asked: ``lease``, ``agent`` or ``arp``. libvirt's Xen driver can only ask ``lease``, which
                takes libvirt's network driver too.
        """
        key, kind = _key(domain, "addresses"), member(AddressSource, source, "addresses")
        return await self._calls.ask(lambda: self._backend.libvirt().addresses(key, kind))

    async def pinning(self, domain: LibvirtDomainKey, *, config: bool = False) -> Sequence[CpuSet]:
        """Return the CPUs on which each vCPU of a domain may run, by its number, as ``virsh vcpupin``.

        Args:
            domain: The domain.
            config: Look at the definition instead of the running domain.
        """
        key = _key(domain, "pinning")
        check_bools("pinning", config=config)
        return await self._calls.ask(lambda: self._backend.libvirt().pinning(key, config=config))

    async def xml(self, domain: LibvirtDomainKey, *, config: bool = False) -> str:
        """Return libvirt's XML of a domain, without passwords, as ``virsh dumpxml``.

        Args:
            domain: The domain.
            config: Return its definition instead of what runs, as ``virsh dumpxml --inactive``.
        """
        key = _key(domain, "xml")
        check_bools("xml", config=config)
        return await self._calls.ask(lambda: self._backend.libvirt().xml(key, config=config))

    async def set_memory(
        self, domain: LibvirtDomainKey, memory_kib: int, *, live: bool = False, config: bool = False
    ) -> None:
        """Set a guest's memory, in KiB, now or for its next start, as ``virsh setmem``.

        Raises:
            InvalidArgument: It is more than the domain's maximum, or not a number; or neither `live` nor `config`.
            InvalidState: `live`, and the domain does not run.
        """
        key = _key(domain, "set_memory")
        check_number(memory_kib, "set_memory")
        _check_where("set_memory", live=live, config=config)
        await self._calls.change(lambda: self._backend.libvirt().set_memory(key, memory_kib, live=live, config=config))

    async def set_vcpus(
        self, domain: LibvirtDomainKey, vcpus: int, *, live: bool = False, config: bool = False
    ) -> None:
        """Set how many vCPUs a guest uses, now or from its next start, as ``virsh setvcpus``.

        Raises:
            InvalidArgument: It is more than the domain's maximum, or not a number; or neither `live` nor `config`.
            InvalidState: `live`, and the domain does not run.
        """
        key = _key(domain, "set_vcpus")
        check_number(vcpus, "set_vcpus")
        _check_where("set_vcpus", live=live, config=config)
        await self._calls.change(lambda: self._backend.libvirt().set_vcpus(key, vcpus, live=live, config=config))

    async def attach(self, domain: LibvirtDomainKey, device: Part, *, live: bool = False, config: bool = False) -> None:
        """Attach a device, now or from the next start, as ``virsh attach-device``.

        Args:
            domain: The domain.
            device: A `Disk`, `Vif`, `Pci` or `UsbDev`.
            live: Attach it to the running domain.
            config: Add it to the definition.

        Raises:
            DeviceExists: The domain has it already.
            InvalidArgument: Neither `live` nor `config`.
            InvalidState: `live`, and the domain does not run.
        """
        key = _key(domain, "attach")
        _check_where("attach", live=live, config=config)
        await self._calls.change(lambda: self._backend.libvirt().attach(key, device, live=live, config=config))

    async def detach(
        self, domain: LibvirtDomainKey, device: Part | str, *, live: bool = False, config: bool = False
    ) -> None:
        """Detach a device, now or from the next start, as ``virsh detach-device``.

        Args:
            domain: The domain.
            device: The device, or its name, as for `Domain.detach`.
            live: Detach it from the running domain.
            config: Remove it from the definition.

        Raises:
            NotFound: The domain has no such device.
            InvalidArgument: Neither `live` nor `config`.
            InvalidState: `live`, and the domain does not run.
        """
        key = _key(domain, "detach")
        _check_where("detach", live=live, config=config)
        await self._calls.change(lambda: self._backend.libvirt().detach(key, device, live=live, config=config))

    async def migrate(
        self, domain: LibvirtDomainKey, uri: str, *, tunnelled: bool = False, timeout: float | None = None
    ) -> None:
        """Migrate a domain from daemon to daemon, as ``virsh migrate --live --p2p``.

        Args:
            domain: A running domain.
            uri: The other host, as this host's daemon sees it, e.g. ``xen+ssh://root@host2/system``.
            tunnelled: Send the domain through the connection of the daemons, as ``virsh migrate --tunnelled``: it
                is encrypted as that connection is, and needs no further port.
            timeout: Seconds after which to give up. libvirt's driver may continue then.

        Raises:
            InvalidState: The domain does not run.
            ConnectFailed: This host's daemon cannot reach the other one at `uri`.
            OperationTimeout: The timeout expired.
        """
        key, seconds = _key(domain, "migrate"), timeout_of(timeout, operation="migrate")
        check_is(str, uri, "migrate")
        check_bools("migrate", tunnelled=tunnelled)
        await self._calls.finish(
            lambda: self._backend.libvirt().migrate(key, uri, tunnelled=tunnelled, timeout=seconds)
        )


def _check_where(verb: str, *, live: bool, config: bool) -> None:
    """Check that a change is meant for the running domain, for its definition, or for both."""
    check_bools(verb, live=live, config=config)
    if not (live or config):
        raise InvalidArgument("say live=True, config=True or both", operation=verb)


def _key(domain: LibvirtDomainKey, verb: str) -> str | UUID:
    """Return the name or the uuid of a domain."""
    if isinstance(domain, str | UUID):
        return domain
    uuid: object = getattr(domain, "uuid", None)
    if not isinstance(uuid, UUID):
        message = f"takes a domain, or the name or uuid of one, not {type(domain).__name__}"
        raise InvalidArgument(message, operation=verb)
    return uuid
