"""The whole ``<domain>`` document, read and written by one module per element, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
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
from pyxen.libvirtxml.node import Deferred, Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = [
    "BEFORE_DEVICES",
    "BEHIND_DEVICES",
    "DEVICES",
    "JOINED",
    "SEEN_BY_DEVICES",
    "XEN",
    "Section",
    "has_xen_words",
    "read",
    "write",
    "write_some",
]

XEN: Final = "xen"
"""The domain type of libvirt's Xen driver."""

_WITH_XEN_WORDS: Final = (XEN, "test")
"""Domain types with the Xen driver's disk drivers and buses: its own, and that of the test driver."""


def has_xen_words(domain_type: str) -> bool:
    """Whether a domain type uses the Xen driver's names of disk drivers and buses."""
    return domain_type in _WITH_XEN_WORDS


def read(domain: Node, before: XmlReadState | None = None) -> XmlReadState:
    """Read a ``<domain>``. What stays in the tree is what pyxen does not read: see `report_leftovers`.

    Args:
        domain: The element.
        before: What was read when ``<devices>`` and the settings in `SEEN_BY_DEVICES` were as they are now: the devices
            are taken from there, and not read.

    Raises:
        ParseError: The element is not a domain, or has an invalid value.
    """
    if domain.tag != "domain":
        raise domain.wrong("it is not a <domain>")
    found = XmlReadState()
    boot.read(domain, found)
    general.read(domain, found)
    cpu.read(domain, found)
    memory.read(domain, found)
    vcpus.read(domain, found)
    features.read(domain, found)
    clock.read(domain, found)
    general.read_events(domain, found)
    found.begin_devices(before)
    if before is None:
        _read_devices(domain, found)
    return found


def _read_devices(domain: Node, found: XmlReadState) -> None:
    devices = domain.merged("devices") or Node("devices", line=domain.line)
    emulator.read(domain, devices, found)
    disks.read(devices, found)
    usb.read(devices, found)
    interfaces.read(devices, found)
    characters.read(devices, found)
    video.read(devices, found)
    graphics.read(devices, found)
    hostdevs.read(devices, found)


JOINED: Final = ("os", "cputune", "features", "clock", "devices", emulator.COMMANDLINE)
"""The elements that libvirt joins where a document has them several times; of the others, it reads the first."""

SEEN_BY_DEVICES: Final = frozenset({"type", "name", "device_model"})
"""The settings outside of ``<devices>`` that its readers look at."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one function writes into ``<domain>`` or ``<devices>``.

    Attributes:
        writer: The function.
        settings: The settings that it looks at. Where they are the same, it writes the same.
        is_xen: What it needs to know of the domain type besides; None if it writes the same for all.
    """

    writer: Callable[..., None]
    settings: frozenset[str]
    is_xen: Callable[[str], bool] | None = None

    def write(self, config: DomainConfig, domain_type: str, parent: Node) -> None:
        """Write it."""
        if self.is_xen is None:
            self.writer(config, parent)
        else:
            self.writer(config, parent, is_xen=self.is_xen(domain_type))


def _section(writer: Callable[..., None], settings: str, is_xen: Callable[[str], bool] | None = None) -> Section:
    return Section(writer, frozenset(settings.split()), is_xen)


def _is_xen(domain_type: str) -> bool:
    return domain_type == XEN


_OF_BOOT: Final = (
    "type bootloader bootloader_args bios bios_path_override kernel ramdisk cmdline boot acpi_firmware pae acpi vnuma"
)

BEFORE_DEVICES: Final = (
    _section(general.write, "name uuid"),
    _section(memory.write, "memory maxmem vnuma"),
    _section(vcpus.write, "vcpus maxvcpus vnuma cpus scheduler"),
    _section(boot.write, _OF_BOOT, _is_xen),
    _section(features.write, "type acpi apic pae hap viridian e820_host passthrough"),
    _section(cpu.write, "type cpuid nestedhvm vnuma", _is_xen),
    _section(clock.write, "type localtime rtc_timeoffset tsc_mode hpet"),
    _section(general.write_events, "on_poweroff on_reboot on_crash"),
)
DEVICES: Final = (
    _section(emulator.write, "type device_model"),
    _section(disks.write, "type disks", has_xen_words),
    _section(usb.write, "type max_grant_frames max_event_channels usbctrls usbdevice"),
    _section(interfaces.write, "type vifs"),
    _section(characters.write, "type serial channels"),
    _section(graphics.write, "type vfbs spice vnc sdl keymap"),
    _section(video.write, "type soundhw vga videoram"),
    _section(hostdevs.write, "pcis usbdevs"),
)
BEHIND_DEVICES: Final = (
    _section(emulator.write_arguments, "device_model", _is_xen),
    _section(general.write_seclabel, "seclabel init_seclabel"),
)
"""All that is written, in libvirt's order."""


def write(config: DomainConfig, domain_type: str) -> Node:
    """Write a ``<domain>``, with its elements in libvirt's order."""
    domain = Node("domain").set(type=domain_type)
    _write(BEFORE_DEVICES, config, domain_type, domain)
    _write(DEVICES, config, domain_type, domain.add("devices"))
    _write(BEHIND_DEVICES, config, domain_type, domain)
    return domain


def _write(sections: Iterable[Section], config: DomainConfig, domain_type: str, parent: Node) -> None:
    for section in sections:
        section.write(config, domain_type, parent)


def write_some(changed: Collection[str], old: DomainConfig, new: DomainConfig, domain_type: str) -> tuple[Node, Node]:
    """Write two configurations as `write`, but defer the sections without a setting that is `changed`."""
    before, after = Node("domain").set(type=domain_type), Node("domain").set(type=domain_type)

    def put(sections: Iterable[Section], before: Node, after: Node) -> None:
        for is_same, group in groupby(sections, lambda section: section.settings.isdisjoint(changed)):
            some = tuple(group)
            if is_same:
                same = Deferred(partial(_write, some, new, domain_type))
                before.children.append(same)
                after.children.append(same)
            else:
                _write(some, old, domain_type, before)
                _write(some, new, domain_type, after)

    put(BEFORE_DEVICES, before, after)
    put(DEVICES, before.add("devices"), after.add("devices"))
    put(BEHIND_DEVICES, before, after)
    return before, after
