"""The interface of a backend to what only libvirt can do. Domains are given by name or uuid, running or defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pyxen.config import CpuSet, Part
from pyxen.operation import Operation
from pyxen.records.libvirt import (
    AddressSource,
    CpuComparison,
    InterfaceAddresses,
    LibvirtCapabilities,
    LibvirtDomainCapabilities,
    LibvirtJob,
    LibvirtNetwork,
    LibvirtPool,
    LibvirtVolume,
)

__all__ = ["LibvirtCalls"]


class LibvirtCalls(Protocol):
    """What libvirt can do."""

    def capabilities(self) -> LibvirtCapabilities:
        """Return what the host can do."""

    def domain_capabilities(self, arch: str | None, machine: str | None) -> LibvirtDomainCapabilities:
        """Return what domains of a kind can have."""

    def compare_cpu(self, xml: str) -> CpuComparison:
        """Compare the host's CPU with another."""

    def baseline_cpu(self, xmls: Sequence[str]) -> str:
        """Return the CPU that several hosts have in common."""

    def networks(self) -> Sequence[LibvirtNetwork]:
        """Return the virtual networks, by name."""

    def pools(self) -> Sequence[LibvirtPool]:
        """Return the storage pools, by name."""

    def volumes(self, pool: str) -> Sequence[LibvirtVolume]:
        """Return the volumes of a storage pool, by name."""

    def managed_save(self, key: str | UUID, *, paused: bool | None, timeout: float | None) -> Operation[None]:
        """Save a running domain to a file of libvirt's own, from which its next start resumes it."""

    def has_managed_save(self, key: str | UUID) -> bool:
        """Tell whether a domain has such a file."""

    def remove_managed_save(self, key: str | UUID) -> None:
        """Remove that file."""

    def job(self, key: str | UUID) -> LibvirtJob | None:
        """Return what libvirt is doing with a domain."""

    def abort_job(self, key: str | UUID) -> None:
        """Abort it."""

    def metadata(self, key: str | UUID, uri: str, *, config: bool) -> str | None:
        """Return an application's metadata of a domain."""

    def set_metadata(
        self, key: str | UUID, uri: str, xml: str | None, prefix: str, *, live: bool, config: bool
    ) -> None:
        """Set or remove an application's metadata of a domain."""

    def addresses(self, key: str | UUID, source: AddressSource) -> Sequence[InterfaceAddresses]:
        """Return the addresses of a guest's interfaces."""

    def pinning(self, key: str | UUID, *, config: bool) -> Sequence[CpuSet]:
        """Return the CPUs that each vCPU of a domain may run on."""

    def xml(self, key: str | UUID, *, config: bool) -> str:
        """Return libvirt's XML of a domain."""

    def set_memory(self, key: str | UUID, kib: int, *, live: bool, config: bool) -> None:
        """Set a guest's memory target."""

    def set_vcpus(self, key: str | UUID, vcpus: int, *, live: bool, config: bool) -> None:
        """Set the number of vCPUs that a guest uses."""

    def attach(self, key: str | UUID, device: Part, *, live: bool, config: bool) -> None:
        """Attach a device."""

    def detach(self, key: str | UUID, device: Part | str, *, live: bool, config: bool) -> None:
        """Detach a device."""

    def migrate(self, key: str | UUID, uri: str, *, tunnelled: bool, timeout: float | None) -> Operation[None]:
        """Migrate a domain from daemon to daemon."""
