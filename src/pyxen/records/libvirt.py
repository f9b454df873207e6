"""Records of what only libvirt knows: capabilities, jobs, addresses, networks and storage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias
from uuid import UUID

from pyxen.config import Disk, DiskFormat, Vif
from pyxen.errors import InvalidArgument
from pyxen.records.base import Record

__all__ = [
    "AddressSource",
    "AddressSourceName",
    "CpuComparison",
    "GuestKind",
    "InterfaceAddresses",
    "LibvirtCapabilities",
    "LibvirtDomainCapabilities",
    "LibvirtJob",
    "LibvirtNetwork",
    "LibvirtPool",
    "LibvirtVolume",
]


class CpuComparison(StrEnum):
    """How the host's CPU compares with another CPU."""

    INCOMPATIBLE = "incompatible"
    """It lacks something of the other CPU."""
    IDENTICAL = "identical"
    """It has the same."""
    SUPERSET = "superset"
    """It has all of the other CPU, and more."""


class AddressSource(StrEnum):
    """Who is asked for the addresses of a guest."""

    LEASE = "lease"
    """The DHCP server of libvirt's network."""
    AGENT = "agent"
    """libvirt's agent in the guest."""
    ARP = "arp"
    """The host's ARP table."""


AddressSourceName: TypeAlias = Literal["lease", "agent", "arp"]
"""The names of the sources, for type checkers."""


@dataclass(frozen=True, slots=True)
class GuestKind(Record):
    """A kind of guest that a host runs."""

    os_type: str
    """``xen`` for PV, ``xenpvh``, ``hvm``."""
    arch: str
    """Its architecture, e.g. ``x86_64``."""
    domain_types: tuple[str, ...]
    """libvirt's domain types for it, e.g. ``xen``."""
    machines: tuple[str, ...]
    """Machine types, e.g. ``xenfv``."""
    emulator: str | None
    """Path of the emulator; None without one."""


@dataclass(frozen=True, slots=True)
class LibvirtCapabilities(Record):
    """What a host can do, as ``virsh capabilities``."""

    arch: str | None
    """Architecture of the host, e.g. ``x86_64``."""
    cpu_model: str | None
    """libvirt's name of the model that is most like the host's CPU."""
    cpu_features: frozenset[str]
    """Features that the CPU has besides those of the model, by libvirt's names."""
    iommu: bool | None
    """Whether the host has an IOMMU; None if libvirt does not tell."""
    guests: tuple[GuestKind, ...]
    """The kinds of guests that it runs."""
    xml: str
    """All of it, as libvirt's XML."""


@dataclass(frozen=True, slots=True)
class LibvirtDomainCapabilities(Record):
    """What domains of one kind can have, as ``virsh domcapabilities``."""

    domain_type: str | None
    """libvirt's type of such domains, e.g. ``xen``."""
    machine: str | None
    """Machine type, e.g. ``xenpv``."""
    arch: str | None
    """Architecture."""
    emulator: str | None
    """Path of the emulator."""
    max_vcpus: int | None
    """The most vCPUs that a domain can have."""
    devices: frozenset[str]
    """Kinds of devices that libvirt supports for them: ``disk``, ``hostdev``, ``graphics`` …"""
    xml: str
    """All of it, as libvirt's XML."""


@dataclass(frozen=True, slots=True)
class LibvirtJob(Record):
    """What libvirt is doing with a domain that takes time: a save, a dump, a migration."""

    elapsed_ms: int
    """Time since it began, in milliseconds."""
    remaining_ms: int | None
    """Time that is left, in milliseconds; None if libvirt cannot tell."""
    total_bytes: int
    """Amount of data to process, in bytes; 0 if libvirt cannot tell."""
    processed_bytes: int
    """Amount that is done, in bytes."""
    remaining_bytes: int
    """Amount that is left, in bytes."""


@dataclass(frozen=True, slots=True)
class InterfaceAddresses(Record):
    """The addresses of a guest's network interface."""

    name: str
    """Its name: on the host, or in the guest if the guest's agent was asked."""
    mac: str | None
    """Its MAC address."""
    addresses: tuple[str, ...]
    """Its IP addresses with the lengths of their prefixes, e.g. ``192.168.122.23/24``."""


@dataclass(frozen=True, slots=True)
class LibvirtNetwork(Record):
    """A virtual network, as a line of ``virsh net-list --all``."""

    name: str
    """Its name."""
    uuid: UUID
    """Its uuid."""
    active: bool
    """Whether it is up."""
    autostart: bool
    """Whether libvirt brings it up with the host."""
    bridge: str | None
    """Its bridge on the host; None if it has none."""

    def vif(self) -> Vif:
        """Return a vif that is plugged into the network's bridge.

        Raises:
            InvalidArgument: The network has no bridge.
        """
        if self.bridge is None:
            raise InvalidArgument(f"the network {self.name} has no bridge", operation="vif")
        return Vif(bridge=self.bridge)


@dataclass(frozen=True, slots=True)
class LibvirtPool(Record):
    """A storage pool, as a line of ``virsh pool-list --all --details``."""

    name: str
    """Its name."""
    uuid: UUID
    """Its uuid."""
    active: bool
    """Whether its volumes can be used."""
    autostart: bool
    """Whether libvirt activates it with the host."""
    type: str
    """Its type: ``dir``, ``logical``, ``netfs`` …"""
    path: str | None
    """Where its volumes are on the host; None if they are not files or devices in one place."""
    capacity_bytes: int
    """Its size, in bytes; 0 while it is not active."""
    available_bytes: int
    """What is free of it, in bytes."""


@dataclass(frozen=True, slots=True)
class LibvirtVolume(Record):
    """A volume of a storage pool."""

    name: str
    """Its name, within its pool."""
    path: str
    """Its path on the host."""
    format: str | None
    """Format of its content: ``raw``, ``qcow2`` …; None if libvirt does not tell."""
    capacity_bytes: int
    """Size of the disk that a guest sees, in bytes."""
    allocation_bytes: int
    """What it takes on the host, in bytes."""

    def disk(self, vdev: str, *, readonly: bool = False) -> Disk:
        """Return a disk with this volume.

        Args:
            vdev: The guest's name for it, e.g. ``xvda``.
            readonly: Whether the guest may only read it.

        Raises:
            InvalidArgument: Xen has no disks of this format.
        """
        try:
            kind = DiskFormat(self.format or "raw")
        except ValueError:
            raise InvalidArgument(f"Xen has no disks of the format {self.format}", operation="disk") from None
        return Disk(self.path, vdev=vdev, format=kind, readonly=readonly)
