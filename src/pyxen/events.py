"""Events on a host: immutable records, the same from every backend.

Only libvirt announces that a domain was paused or unpaused: neither the hypervisor nor xenstore does. An event from
polling would be late or missing. `Host.list` shows the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pyxen.records.base import Domain_co, OfDomain
from pyxen.records.info import ShutdownReason

__all__ = [
    "DeviceAdded",
    "DeviceEvent",
    "DeviceRemoved",
    "DiskEjected",
    "DomainCreated",
    "DomainDefined",
    "DomainDestroyed",
    "DomainEvent",
    "DomainPaused",
    "DomainRenamed",
    "DomainShutdown",
    "DomainUndefined",
    "DomainUnpaused",
    "Event",
    "EventsLost",
    "MemoryTargetChanged",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(OfDomain[Domain_co | None]):
    """Something that happened on a host: the base of all events."""

    domid: int | None
    """Number of the domain; None in events about a stored configuration, and in `EventsLost`."""
    uuid: UUID | None
    """Its uuid. Domid and uuid together identify the domain, since Xen reuses domids. None only in `EventsLost`."""
    name: str | None
    """Its name at that time. None if it had no name, or was destroyed before the name could be read."""
    time: datetime
    """When pyxen noticed it, in UTC: a few milliseconds after it happened."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for JSON, with the class name under ``event``."""
        return {"event": type(self).__name__, **OfDomain.to_dict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent(Event[Domain_co]):
    """Something that happened to a domain."""

    domid: int
    """Number of the domain."""
    uuid: UUID
    """Its uuid. Domid and uuid together identify the domain, since Xen reuses domids."""

    if TYPE_CHECKING:  # of any other event it may be None

        @property
        def domain(self) -> Domain_co:
            """The domain's handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainCreated(DomainEvent[Domain_co]):
    """A domain was created and introduced to xenstore. It may still be paused, and devices may follow.

    This includes domains that are restored or that arrive by migration.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDestroyed(DomainEvent[Domain_co]):
    """A domain was destroyed. This is its last event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainShutdown(DomainEvent[Domain_co]):
    """A guest powered off, rebooted, crashed or suspended. The domain stays until a toolstack destroys it.

    If that happens within milliseconds, only `DomainDestroyed` may be reported.
    """

    reason: ShutdownReason | int
    """Why it shut down. An int for a reason that only a newer Xen has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRenamed(DomainEvent[Domain_co]):
    """A domain was renamed. Several renames within a few milliseconds are reported as one."""

    old: str | None
    """The old name; None if the domain had no name."""
    new: str
    """The new name, equal to `name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPaused(DomainEvent[Domain_co]):
    """A domain was paused, as libvirt tells: one that runs, or one that was created paused.

    Only libvirt has this event, for what is done through libvirt: not for ``xl pause``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainUnpaused(DomainEvent[Domain_co]):
    """A domain was unpaused, as libvirt tells; see `DomainPaused`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDefined(Event[Domain_co]):
    """A configuration was stored, as with `Host.define`. Its domain need not run, so the event has no domid."""

    domid: None = None
    """None: the event is about a configuration."""
    uuid: UUID
    """Uuid of the domain."""
    name: str
    """Name of the domain."""
    is_new: bool
    """Whether there was none before; else it has replaced one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainUndefined(Event[Domain_co]):
    """A stored configuration was deleted, as with `Host.undefine`. A domain that runs from it keeps running."""

    domid: None = None
    """None: the event is about a configuration."""
    uuid: UUID
    """Uuid of the domain."""
    name: str
    """Name of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTargetChanged(DomainEvent[Domain_co]):
    """A domain's memory target was changed, as by ``xl mem-set``. The guest may or may not follow.

    Several changes within a few milliseconds are reported as one.
    """

    target_kib: int
    """The new target, in KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent(DomainEvent[Domain_co]):
    """Something that happened to a device of a domain."""

    kind: str
    """Kind of the device, by libxl's name in xenstore: ``vbd``, ``vif``, ``pci``, ``vkbd``, ``console`` …"""
    devid: int
    """Its number among devices of that kind. For a ``vbd`` it is the number of its vdev, e.g. 51712 for ``xvda``."""
    backend: int | None
    """Domid of the domain that serves it, usually dom0; None for a device that only QEMU emulates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAdded(DeviceEvent[Domain_co]):
    """A device was added. Devices of a new domain are reported one by one, after its `DomainCreated`.

    All PCI devices of a domain count as one: it is added with the first and removed with the last.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRemoved(DeviceEvent[Domain_co]):
    """A device was removed. The devices of a domain being destroyed are removed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEjected(DeviceEvent[Domain_co]):
    """A removable disk was ejected: by the guest's PV driver, by ``xl cd-eject``, or to insert another disc.

    Several changes of a drive's disc within a few milliseconds are reported as fewer, or not at all.

    A guest that ejects a disc from an emulated drive causes no event: only its device model knows.
    """

    vdev: str
    """vdev of the disk, as in its configuration: ``hdc``, ``xvdd``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost(Event[Domain_co]):
    """Events are missing at this point: the reader was too slow, or pyxen could not see what happened.

    Call `Host.list` for the current state. This event marks every gap, except for changes within a few milliseconds
    that were reverted, followed by the end of the domain, or followed by another change of the same thing: a second new
    name, memory target or disc.
    """

    domid: None = None
    """None: the event is not about a single domain."""
    uuid: None = None
    """None: the event is not about a single domain."""
    name: None = None
    """None: the event is not about a single domain."""
    count: int | None
    """How many events, at least; None if unknown, because xenstore was gone for a while or refused to answer."""

    @property
    def domain(self) -> None:
        """None: the event is not about a single domain."""
