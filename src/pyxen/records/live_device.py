"""Devices of a running domain: their configuration, and the state of both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyxen.config import Device
from pyxen.records.base import Record
from pyxen.records.stats import DeviceState

__all__ = ["LiveDevice"]

D_co = TypeVar("D_co", bound=Device, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDevice(Record, Generic[D_co]):
    """A device of a running domain as it is now. What the backend does not know is None.

    A device has two ends: the frontend is the guest's driver, the backend is the driver or the program that serves it.
    The guest writes the state, the event channels, the ring references and the error of its frontend as it likes.
    """

    config: D_co
    """Its configuration: a `Disk`, a `Vif` …, as `Domain.config` has it."""
    devid: int | None = None
    """Its number in xenstore, e.g. 51712 for ``xvda``. All PCI devices of a domain have number 0."""
    backend_domid: int | None = None
    """Domid of the domain that serves it."""
    backend_name: str | None = None
    """Name of the domain that serves it."""
    backend_state: DeviceState | None = None
    """State of the backend."""
    frontend_state: DeviceState | None = None
    """State of the frontend, as the guest tells it; ``connected`` once its driver uses the device."""
    event_channels: tuple[int, ...] = ()
    """Ports of the event channels that the guest offers; tx before rx, and queue by queue. Empty until it connects."""
    ring_refs: tuple[int, ...] = ()
    """Grant references of the rings that the guest offers, in the same order. Empty until it connects."""
    frontend_path: str | None = None
    """Folder of the frontend in xenstore, e.g. ``/local/domain/5/device/vbd/51712``."""
    backend_path: str | None = None
    """Folder of the backend in xenstore, e.g. ``/local/domain/0/backend/vbd/5/51712``."""
    interface: str | None = None
    """Network interface of a vif in the domain that serves it, e.g. ``vif5.0``."""
    bridge: str | None = None
    """Bridge to which the hotplug script has added the interface of a vif."""
    physical_device: str | None = None
    """Block device that serves a disk, as ``MAJOR:MINOR`` in hexadecimal; or the port of a USB device: ``1-1.2``."""
    physical_path: str | None = None
    """Path of that block device, e.g. ``/dev/loop0``."""
    slot: str | None = None
    """Slot and function of a PCI device in an HVM guest, e.g. ``05.0``."""
    alias: str | None = None
    """Name that libvirt gives the device."""
    error: str | None = None
    """Why the backend or the hotplug script failed; None if there is no error."""
    frontend_error: str | None = None
    """What the guest's driver says of a failure, in the guest's own words; None if there is no error."""

    @property
    def event_channel(self) -> int | None:
        """The first event channel; None if there is none."""
        return self.event_channels[0] if self.event_channels else None

    @property
    def ring_ref(self) -> int | None:
        """The first ring reference; None if there is none."""
        return self.ring_refs[0] if self.ring_refs else None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for JSON, passwords of the configuration included."""
        return {**Record.to_dict(self), "config": self.config.to_dict()}
