"""Devices of a running domain, from libvirt's XML of it. libvirt does not tell in which state they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from lxml import etree

from pyxen import libvirtxml
from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.backends.libvirt.devices import devices_of, names_of
from pyxen.config import Channel, Disk, Pci, UsbDev, Vif
from pyxen.config.device_table import CONSOLES, Kind
from pyxen.config.vdev import vdev_number
from pyxen.errors import UnsupportedFeature
from pyxen.records.live_device import LiveDevice

__all__ = ["live_devices", "live_devices_of"]

_SECURE: Final = number("VIR_DOMAIN_XML_SECURE")
_IN_XML: Final = frozenset({"disks", "vifs", "pcis", "vfbs", "channels", "usbctrls", "usbdevs"})
"""The kinds of devices that libvirt's XML of a Xen guest has."""


def live_devices(domain: VirDomain, kind: Kind, backend: str) -> tuple[LiveDevice[Any], ...]:
    """Return the devices of a kind that a domain has."""
    if kind.field not in _IN_XML:
        message = f"libvirt does not know the {kind.field} of a domain: xenlight:/// on the host itself does"
        if kind is CONSOLES:
            message += "; Domain.endpoints tells where its consoles are"
        raise UnsupportedFeature(message, feature=kind.field, backend=backend)
    return live_devices_of(domain.XMLDesc(_SECURE), kind)


def live_devices_of(xml: str, kind: Kind) -> tuple[LiveDevice[Any], ...]:
    """Return the devices of a kind in the XML of a running domain."""
    configs: Sequence[Any] = getattr(libvirtxml.loads(xml, on_loss="ignore"), kind.field)
    elements = devices_of(xml)
    found = []
    for index, config in enumerate(configs):
        element = next((elements[name] for name in names_of(config) if name in elements), None)
        found.append(_entry(index, config, element))
    return tuple(found)


def _entry(index: int, config: Any, element: etree._Element | None) -> LiveDevice[Any]:
    alias = _attribute(element, "alias", "name")
    if isinstance(config, Pci | UsbDev):
        return LiveDevice(config=config, alias=alias)
    if isinstance(config, Disk):
        return LiveDevice(config=config, alias=alias, devid=vdev_number(config.vdev or ""), backend_name=config.backend)
    if config.devid is None:
        config = config.replace(devid=index + isinstance(config, Channel))
    entry: LiveDevice[Any] = LiveDevice(
        config=config, alias=alias, devid=config.devid, backend_name=getattr(config, "backend", None)
    )
    if isinstance(config, Vif):
        return replace(entry, interface=_attribute(element, "target", "dev"), bridge=config.bridge)
    return entry


def _attribute(element: etree._Element | None, tag: str, name: str) -> str | None:
    child = None if element is None else element.find(tag)
    return None if child is None else child.get(name)
