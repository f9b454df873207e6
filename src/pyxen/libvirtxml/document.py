"""The whole ``<domain>`` document, read and written by one module per element, in order."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig
from pyxen.libvirtxml import (
    boot,
    characters,
    clock,
    cpu,
    disks,
    emulator,
    features,
    general,
    graphics,
    hostdevs,
    interfaces,
    memory,
    usb,
    vcpus,
    video,
)
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["XEN", "has_xen_words", "read", "write"]

XEN: Final = "xen"
"""The domain type of libvirt's Xen driver."""

_WITH_XEN_WORDS: Final = (XEN, "test")
"""Domain types with the Xen driver's disk drivers and buses: its own, and that of the test driver."""


def has_xen_words(domain_type: str) -> bool:
    """Whether a domain type uses the Xen driver's names of disk drivers and buses."""
    return domain_type in _WITH_XEN_WORDS


def read(domain: Node) -> XmlReadState:
    """Read a ``<domain>``. What stays in the tree is what pyxen does not read: see `report_leftovers`.

    Raises:
        ParseError: The element is not a domain, or has an invalid value.
    """
    if domain.tag != "domain":
        raise domain.wrong("it is not a <domain>")
    domain.get("type")
    devices = domain.child("devices") or Node("devices", line=domain.line)
    found = XmlReadState()
    boot.read(domain, found)
    general.read(domain, found)
    cpu.read(domain, found)
    memory.read(domain, found)
    vcpus.read(domain, found)
    features.read(domain, found)
    clock.read(domain, found)
    general.read_events(domain, found)
    emulator.read(domain, devices, found)
    disks.read(devices, found)
    usb.read(devices, found)
    interfaces.read(devices, found)
    characters.read(devices, found)
    video.read(devices, found)
    graphics.read(devices, found)
    hostdevs.read(devices, found)
    return found


def write(config: DomainConfig, domain_type: str) -> Node:
    """Write a ``<domain>``, with its elements in libvirt's order."""
    is_xen = has_xen_words(domain_type)
    domain = Node("domain").set(type=domain_type)
    general.write(config, domain)
    memory.write(config, domain)
    vcpus.write(config, domain)
    boot.write(config, domain, is_xen=domain_type == XEN)
    features.write(config, domain)
    cpu.write(config, domain)
    clock.write(config, domain)
    general.write_events(config, domain)
    devices = domain.add("devices")
    emulator.write(config, domain, devices, is_xen=domain_type == XEN)
    disks.write(config, devices, is_xen=is_xen)
    usb.write(config, devices)
    interfaces.write(config, devices)
    characters.write(config, devices)
    graphics.write(config, devices)
    video.write(config, devices)
    hostdevs.write(config, devices)
    general.write_seclabel(config, domain)
    return domain
