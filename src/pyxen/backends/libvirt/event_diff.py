"""Conversion of libvirt's callbacks to events, without repetitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import number
from pyxen.backends.libvirt.devices import devices_of
from pyxen.config.vdev import vdev_number
from pyxen.events import (
    DeviceAdded,
    DeviceRemoved,
    DiskEjected,
    DomainCreated,
    DomainDefined,
    DomainDestroyed,
    DomainPaused,
    DomainShutdown,
    DomainUndefined,
    DomainUnpaused,
    Event,
    EventsLost,
    MemoryTargetChanged,
)
from pyxen.records.info import ShutdownReason

__all__ = ["KINDS", "EventDiff", "LibvirtEvent"]

_DEFINED: Final = number("VIR_DOMAIN_EVENT_DEFINED")
_ADDED: Final = number("VIR_DOMAIN_EVENT_DEFINED_ADDED")
_UNDEFINED: Final = number("VIR_DOMAIN_EVENT_UNDEFINED")
_STARTED: Final = number("VIR_DOMAIN_EVENT_STARTED")
_PAUSED: Final = number("VIR_DOMAIN_EVENT_SUSPENDED")
_UNPAUSED: Final = number("VIR_DOMAIN_EVENT_RESUMED")
_STOPPED: Final = number("VIR_DOMAIN_EVENT_STOPPED")
_SHUTDOWN: Final = number("VIR_DOMAIN_EVENT_SHUTDOWN")
_PMSUSPENDED: Final = number("VIR_DOMAIN_EVENT_PMSUSPENDED")
_CRASHED: Final = number("VIR_DOMAIN_EVENT_CRASHED")
_REASONS: Final = {
    number("VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN"): ShutdownReason.POWEROFF,
    number("VIR_DOMAIN_EVENT_STOPPED_CRASHED"): ShutdownReason.CRASH,
}
_PAUSES: Final = {_PAUSED: DomainPaused, _UNPAUSED: DomainUnpaused}
_SHUT: Final = {_SHUTDOWN: ShutdownReason.POWEROFF, _CRASHED: ShutdownReason.CRASH}
_OPENED: Final = number("VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN")

KINDS: Final = {
    "lifecycle": number("VIR_DOMAIN_EVENT_ID_LIFECYCLE"),
    "reboot": number("VIR_DOMAIN_EVENT_ID_REBOOT"),
    "balloon": number("VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE"),
    "tray": number("VIR_DOMAIN_EVENT_ID_TRAY_CHANGE"),
    "added": number("VIR_DOMAIN_EVENT_ID_DEVICE_ADDED"),
    "removed": number("VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED"),
}
"""The libvirt events to subscribe to; not every driver has all of them."""

_NODES: Final = {"disks": "vbd", "vifs": "vif", "pcis": "pci", "usbdevs": "vusb"}


@dataclass(frozen=True, slots=True)
class LibvirtEvent:
    """One callback of libvirt about a domain."""

    kind: str
    uuid: UUID
    domid: int
    """-1 if the domain does not run."""
    name: str
    values: tuple[Any, ...]
    time: datetime


@dataclass(frozen=True, slots=True)
class _Device:
    kind: str
    devid: int
    vdev: str


@dataclass(slots=True)
class _Known:
    domid: int
    name: str
    has_ended: bool = False
    devices: dict[str, _Device] = field(default_factory=dict)


class EventDiff:
    """The known state of the running domains, and the difference that each callback makes to it.

    Args:
        is_there: Tells whether a domain still exists, in whatever state. May query the host.
        xml_of: Returns the XML of a domain; None if it is gone. May query the host.
    """

    def __init__(self, is_there: Callable[[DomainRef], bool], xml_of: Callable[[UUID], str | None]) -> None:
        self._is_there = is_there
        self._xml_of = xml_of
        self._known: dict[UUID, _Known] = {}

    def begin(self, domains: Iterable[tuple[DomainRef, str]]) -> None:
        """Set the known state: the domains and their names."""
        self._known = {ref.uuid: _Known(ref.domid, name) for ref, name in domains}

    def lost(self, domains: Iterable[tuple[DomainRef, str]]) -> Iterator[Event]:
        """Reset the known state after a gap, and report the gap."""
        self.begin(domains)
        yield EventsLost(time=datetime.now(UTC), count=None)

    def events(self, raw: LibvirtEvent) -> Iterator[Event]:
        """Return the events for a callback of libvirt."""
        if raw.kind == "lifecycle":
            yield from self._lifecycle(raw, *raw.values)
            return
        known = self._known.get(raw.uuid)
        if known is None:
            return
        about: dict[str, Any] = {"domid": known.domid, "uuid": raw.uuid, "name": known.name, "time": raw.time}
        if raw.kind == "reboot":
            yield DomainShutdown(**about, reason=ShutdownReason.REBOOT)
        elif raw.kind == "balloon":
            yield MemoryTargetChanged(**about, target_kib=raw.values[0])
        elif raw.kind == "tray":
            device = self._device(raw.uuid, known, raw.values[0])
            if raw.values[1] == _OPENED and device is not None:
                yield DiskEjected(**about, kind="vbd", devid=device.devid, backend=0, vdev=device.vdev)
        elif raw.kind == "added":
            device = self._device(raw.uuid, known, raw.values[0])
            if device is not None:
                yield DeviceAdded(**about, kind=device.kind, devid=device.devid, backend=0)
        elif raw.kind == "removed":
            device = known.devices.pop(raw.values[0], None)
            if device is not None:
                yield DeviceRemoved(**about, kind=device.kind, devid=device.devid, backend=0)

    def _lifecycle(self, raw: LibvirtEvent, event: int, detail: int) -> Iterator[Event]:
        if event == _DEFINED:
            yield DomainDefined(uuid=raw.uuid, name=raw.name, time=raw.time, is_new=detail == _ADDED)
            return
        if event == _UNDEFINED:
            yield DomainUndefined(uuid=raw.uuid, name=raw.name, time=raw.time)
            return
        known = self._known.get(raw.uuid)
        if event == _STARTED:
            if known is not None and known.domid == raw.domid:
                return  # already known, or woken up
            if known is not None:
                yield DomainDestroyed(domid=known.domid, uuid=raw.uuid, name=known.name, time=raw.time)
            self._known[raw.uuid] = _Known(raw.domid, raw.name)
            yield DomainCreated(domid=raw.domid, uuid=raw.uuid, name=raw.name, time=raw.time)
            return
        if known is None or raw.domid not in (-1, known.domid):
            return  # about a domain that is gone, or has since been started again
        about: dict[str, Any] = {"domid": known.domid, "uuid": raw.uuid, "name": known.name, "time": raw.time}
        if event in _PAUSES:
            yield _PAUSES[event](**about)
            return
        if event == _PMSUSPENDED:
            yield DomainShutdown(**about, reason=ShutdownReason.SUSPEND)
            return
        reason = _REASONS.get(detail) if event == _STOPPED else _SHUT.get(event)
        if reason is not None and not known.has_ended:
            known.has_ended = True
            yield DomainShutdown(**about, reason=reason)
        if event == _STOPPED and not (reason is not None and self._is_there(DomainRef(known.domid, raw.uuid))):
            del self._known[raw.uuid]
            yield DomainDestroyed(**about)

    def _device(self, uuid: UUID, known: _Known, alias: str) -> _Device | None:
        """Return the device with this alias. On first use, all devices of the domain are read from its XML."""
        if alias not in known.devices:
            xml = self._xml_of(uuid)
            for (kind, devid), element in ({} if xml is None else devices_of(xml)).items():
                own, target = element.find("alias"), element.find("target")
                if own is not None and not (kind == "vifs" and isinstance(devid, str)):
                    vdev = "" if target is None else target.get("dev", "")
                    known.devices[own.get("name", "")] = _Device(_NODES[kind], _devid(devid, vdev), vdev)
        return known.devices.get(alias)


def _devid(name: object, vdev: str) -> int:
    if isinstance(name, int):
        return name
    return vdev_number(f"x{vdev}") or 0  # QEMU's vda is Xen's xvda
