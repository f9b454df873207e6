"""What happens on a host: immutable records, the same from every backend.

Xen says nothing of a domain that is paused or unpaused: neither the hypervisor nor xenstore tells anyone. There is no
event for it, rather than one that comes late or not at all; `Host.list` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pyxen._records import OfDomain
from pyxen.info import ShutdownReason

__all__ = [
    "DeviceAdded",
    "DeviceEvent",
    "DeviceRemoved",
    "DiskEjected",
    "DomainCreated",
    "DomainDestroyed",
    "DomainEvent",
    "DomainRenamed",
    "DomainShutdown",
    "Event",
    "EventsLost",
    "MemoryTargetChanged",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(OfDomain):
    """Something that happened on a host: what all events have."""

    domid: int | None
    """Number of the domain; None only in `EventsLost`."""
    uuid: UUID | None
    """Its uuid; with the domid it names the domain for good, since Xen reuses domids. None only in `EventsLost`."""
    name: str | None
    """Its name at that time. None for a domain without one, or one that was destroyed before its name could be read."""
    time: datetime
    """When pyxen took note of it, in UTC: some milliseconds after it happened."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for JSON, and under ``event`` the name of the class."""
        return {"event": type(self).__name__, **OfDomain.to_dict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent(Event):
    """Something that happened to a domain."""

    domid: int
    """Number of the domain."""
    uuid: UUID
    """Its uuid; with the domid it names the domain for good, since Xen reuses domids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainCreated(DomainEvent):
    """A domain is there, introduced to xenstore. It may still be paused, and its devices may be on their way.

    A domain that is restored, or comes by migration, is created too.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDestroyed(DomainEvent):
    """A domain is gone: the last event of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainShutdown(DomainEvent):
    """A guest has powered off, rebooted, crashed, or is suspended. The domain stays until someone destroys it.

    Where that is within milliseconds, `DomainDestroyed` may be all that comes.
    """

    reason: ShutdownReason | int
    """How. An int for reasons of a newer Xen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRenamed(DomainEvent):
    """A domain has another name. Several renames within a few milliseconds are told as one."""

    old: str | None
    """The name before; None for a domain that had none."""
    new: str
    """The name from now on, as `name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTargetChanged(DomainEvent):
    """Someone wants a domain to have another amount of memory, as ``xl mem-set``; the guest will follow or not."""

    target_kib: int
    """What it shall have, in KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent(DomainEvent):
    """Something that happened to a device of a domain."""

    kind: str
    """Its kind, as libxl calls it in xenstore: ``vbd``, ``vif``, ``pci``, ``vkbd``, ``console`` …"""
    devid: int
    """Its number among those of its kind; for a ``vbd`` the number of its vdev, 51712 for ``xvda``."""
    backend: int | None
    """Domid of the domain that provides it, dom0 for most; None for one that only QEMU emulates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAdded(DeviceEvent):
    """A domain has one more device. Those that it is created with come one by one, after its `DomainCreated`.

    The PCI devices of a domain are a single one here: its first comes, its last goes.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRemoved(DeviceEvent):
    """A domain has one device less. A domain that is destroyed loses its devices first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEjected(DeviceEvent):
    """The medium of a removable disk is out: by the guest's PV driver, ``xl cd-eject``, or for another to come in.

    Of a guest that opens the drawer of an emulated drive by itself, only its device model knows.
    """

    vdev: str
    """The disk's vdev, as in its configuration: ``hdc``, ``xvdd``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost(Event):
    """Events are missing here: the reader was too slow, or pyxen could not see what happened.

    Look at `Host.list` for how things stand now. Nothing is missing without this event in its place, except what was
    undone again, or overtaken by the domain's end, within a few milliseconds.
    """

    domid: None = None
    """None: it is about no single domain."""
    uuid: None = None
    """None: it is about no single domain."""
    name: None = None
    """None: it is about no single domain."""
    count: int | None
    """How many, at least; None if unknown, since the connection to xenstore was broken for a while."""

    @property
    def domain(self) -> None:
        """None: it is about no single domain."""
