"""Rules for contradictions between the settings of a configuration, see `DomainConfig.validate`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pyxen.config.base import Part, join_path, settings_of
from pyxen.config.device_table import NUMBERED_BY_XL, SERVED
from pyxen.config.enums import (
    BiosType,
    ChannelConnection,
    DeviceModelVersion,
    DiskFormat,
    DomainType,
    Passthrough,
    SmbiosType,
    VgaInterfaceType,
)
from pyxen.config.vdev import vdev_number

if TYPE_CHECKING:
    from pyxen.config.domain import DomainConfig

__all__ = ["Problem", "problems"]

_OEM_STRINGS: Final = 99
_SPIS: Final = 960
_EXTENDED_SPIS: Final = 4033
"""Xen rounds the number up to whole ranks of 32 interrupts, and refuses what lies between the two ranges of numbers."""

_LEAST_VIDEORAM: Final = {VgaInterfaceType.CIRRUS: 8, VgaInterfaceType.STD: 16, VgaInterfaceType.QXL: 128}
_A: Final = {DomainType.HVM: "an HVM", DomainType.PV: "a PV", DomainType.PVH: "a PVH"}
_BYTE: Final = re.compile("[\udc80-\udcff]")
_FIRST_BYTE: Final = 0xDC00
_FRAMEBUFFER: Final = frozenset({"vnc", "sdl", "keymap"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One contradiction in a configuration.

    Attributes:
        path: The invalid field, e.g. ``disks[1].vdev``.
        message: What is wrong, and how to correct it.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def problems(config: DomainConfig, *, is_ascii: bool = False) -> tuple[Problem, ...]:
    """Return every problem of a configuration, in the order of its fields as far as possible.

    Args:
        config: The configuration.
        is_ascii: Whether it was read from a text that is ASCII, so that no other characters have to be looked for.
    """
    said = dict(config.non_defaults())
    found = [*_name(config), *(() if is_ascii else _encoding(said)), *_guest_type(config, said)]
    for fields, rule in _RULES:
        if not fields or not said.keys().isdisjoint(fields):
            found += rule(config)
    return tuple(found)


def _name(config: DomainConfig) -> Iterator[Problem]:
    if not config.name:
        yield Problem("name", "a domain needs a name")
    elif config.name.isdecimal():
        yield Problem("name", f"{config.name!r} would be taken for a domid: use a letter too")
    elif re.search(r"[/\x00-\x1f\x7f]", config.name):
        yield Problem(
            "name", f"{config.name!r} cannot be part of the names of log files: use no '/' nor control characters"
        )
    if config.pool is not None and config.poolid:
        yield Problem("poolid", f"the pool is said by name already, {config.pool!r}")


def _encoding(said: Mapping[str, Any]) -> Iterator[Problem]:
    for path, value in _foreign_texts(said.items(), ""):
        if found := _BYTE.search(value):
            byte = ord(found[0]) - _FIRST_BYTE
            yield Problem(path, f"holds the byte {byte:#04x}, which is not UTF-8, so libxl cannot keep it: convert it")


def _foreign_texts(items: Iterable[tuple[str, Any]], path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the value of every text that is not ASCII, of some values and of what they hold."""
    for name, value in items:
        if isinstance(value, str):
            if not value.isascii():
                yield join_path(path, name), value
        elif isinstance(value, Part):
            yield from _foreign_texts(value.non_defaults(), join_path(path, name))
        elif isinstance(value, tuple):
            yield from _foreign_texts(((f"[{place}]", item) for place, item in enumerate(value)), join_path(path, name))


def _guest_type(config: DomainConfig, said: Iterable[str]) -> Iterator[Problem]:
    known = settings_of(type(config))
    for path in said:
        guests = known[path].guests
        if guests and config.type not in guests:
            needed = " and ".join(sorted(guest.upper() for guest in guests))
            hint = ": say it in vfbs" if path in _FRAMEBUFFER and config.type is DomainType.PV else ""
            yield Problem(path, f"is for {needed} guests, and this is {_A[config.type]} guest{hint}")


def _boot(config: DomainConfig) -> Iterator[Problem]:
    if config.type is not DomainType.HVM and config.kernel is None and config.bootloader is None:
        yield Problem("kernel", f"{_A[config.type]} guest needs a kernel or a bootloader")


def _memory(config: DomainConfig) -> Iterator[Problem]:
    maxmem = config.effective_maxmem
    if config.vnuma and config.maxmem is not None:
        total = config.replace(maxmem=None).effective_maxmem
        if total != config.maxmem:
            yield Problem("maxmem", f"{config.maxmem} MiB, but the nodes of vnuma have {total} MiB")
    if config.memory is not None and maxmem is not None and maxmem < config.memory:
        path = "memory" if config.maxmem is None else "maxmem"
        yield Problem(path, f"memory is {config.memory} MiB, more than maxmem, {maxmem} MiB")
    if config.mmio_hole is not None and not 256 <= config.mmio_hole <= 3840:
        yield Problem("mmio_hole", f"{config.mmio_hole} MiB is out of range; it can be 256 to 3840")


def _firmware(config: DomainConfig) -> Iterator[Problem]:
    """Check what libxl demands of an HVM guest's firmware and graphics card."""
    if config.type is not DomainType.HVM:
        return
    version, traditional = config.device_model.version, DeviceModelVersion.QEMU_XEN_TRADITIONAL
    if version is None and config.stubdomain.enable:
        return  # its device model depends on the Xen release
    if config.bios is BiosType.ROMBIOS and version is not traditional:
        yield Problem("bios", "rombios needs the device model qemu-xen-traditional, which Xen had until 4.20")
    if config.bios not in (None, BiosType.ROMBIOS) and version is traditional:
        yield Problem("bios", f"the device model qemu-xen-traditional has rombios only, not {config.bios}")
    vga = config.vga or VgaInterfaceType.CIRRUS
    least = _LEAST_VIDEORAM.get(vga, 0)
    if version is not traditional and config.videoram is not None and config.videoram < least:
        yield Problem("videoram", f"{config.videoram} MiB is too little; the graphics card {vga} needs {least} MiB")


def _vcpus(config: DomainConfig) -> Iterator[Problem]:
    most = config.effective_maxvcpus
    if config.vcpus > most:
        yield Problem("maxvcpus", f"{most} is less than vcpus, {config.vcpus}")
    if config.vnuma and config.maxvcpus is not None:
        total = sum(len(node.vcpus) for node in config.vnuma)
        if total != config.maxvcpus:
            yield Problem("maxvcpus", f"{config.maxvcpus}, but the nodes of vnuma have {total} vCPUs")
    for name in ("cpus", "cpus_soft"):
        affinity = getattr(config, name)
        if isinstance(affinity, tuple) and len(affinity) > most:
            yield Problem(name, f"has sets for {len(affinity)} vCPUs, and there are {most}")
    weight, cap = config.scheduler.weight, config.scheduler.cap
    if weight is not None and not 1 <= weight <= 65535:
        yield Problem("scheduler.weight", f"{weight} is out of range; it can be 1 to 65535")
    if cap is not None and cap > most * 100:
        yield Problem("scheduler.cap", f"{cap} % is more than {most} vCPUs can use, {most * 100} %")
    if config.nestedhvm and (config.altp2mhvm or config.altp2m != "disabled"):
        yield Problem("nestedhvm", "cannot be used together with altp2m")


def _vnuma(config: DomainConfig) -> Iterator[Problem]:
    seen: dict[int, int] = {}
    for index, node in enumerate(config.vnuma):
        path = f"vnuma[{index}]"
        if node.size is None:
            yield Problem(f"{path}.size", "a node needs a size")
        if len(node.distances) > len(config.vnuma):
            yield Problem(f"{path}.distances", f"has {len(node.distances)} distances to {len(config.vnuma)} nodes")
        for vcpu in node.vcpus:
            if vcpu in seen:
                yield Problem(f"{path}.vcpus", f"vCPU {vcpu} is in vnuma[{seen[vcpu]}] already")
            seen.setdefault(vcpu, index)


def _disks(config: DomainConfig) -> Iterator[Problem]:
    numbers: dict[int, int] = {}
    for index, disk in enumerate(config.disks):
        path = f"disks[{index}]"
        number = None if disk.vdev is None else vdev_number(disk.vdev)
        if number is None:
            what = (
                "a disk needs a name in the guest" if disk.vdev is None else f"{disk.vdev!r} is not the name of a disk"
            )
            yield Problem(f"{path}.vdev", f"{what}: xvda, hda, sda, d0p0 …")
        elif number in numbers:
            yield Problem(f"{path}.vdev", f"{disk.vdev!r} is disks[{numbers[number]}] already")
        else:
            numbers[number] = index
        if disk.format is DiskFormat.EMPTY and disk.target:
            yield Problem(f"{path}.format", "a drive with a target cannot be empty")
        if not disk.target and not disk.cdrom and not disk.removable:
            yield Problem(f"{path}.target", "a disk needs a target; only a CD-ROM drive can be without")


def _vifs(config: DomainConfig) -> Iterator[Problem]:
    macs: dict[str, int] = {}
    for index, vif in enumerate(config.vifs):
        if vif.mac is None:
            continue
        if vif.mac in macs:
            yield Problem(f"vifs[{index}].mac", f"{vif.mac} is that of vifs[{macs[vif.mac]}] too")
        macs.setdefault(vif.mac, index)
        if vif.mac.is_multicast:
            yield Problem(f"vifs[{index}].mac", f"{vif.mac} is a multicast address, which no interface can have")


def _device_numbers(config: DomainConfig) -> Iterator[Problem]:
    for name in NUMBERED_BY_XL:
        numbers: dict[int, int] = {}
        for index, device in enumerate(getattr(config, name)):
            number = index if device.devid is None else device.devid
            if number in numbers:
                yield Problem(f"{name}[{index}].devid", f"{number} is the number of {name}[{numbers[number]}] too")
            numbers.setdefault(number, index)


def _backends(config: DomainConfig) -> Iterator[Problem]:
    for name in SERVED:
        for index, device in enumerate(getattr(config, name)):
            if device.backend is not None and device.backend_domid:
                yield Problem(
                    f"{name}[{index}].backend_domid", f"the backend is said by name already, {device.backend!r}"
                )
            if name == "vtpms" and device.backend is None and not device.backend_domid:
                yield Problem(f"{name}[{index}].backend", "a vTPM needs the domain that serves it")


def _passthrough(config: DomainConfig) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for index, pci in enumerate(config.pcis):
        for what, value in (("address", pci.address), ("name", pci.name)):
            if value is not None and value in seen:
                yield Problem(f"pcis[{index}].{what}", f"{value} is pcis[{seen[value]}] already")
            elif value is not None:
                seen[value] = index
    if config.passthrough is Passthrough.DISABLED and (config.pcis or config.dtdevs):
        yield Problem("passthrough", "is disabled, but there are devices to pass through")
    for index, usbdev in enumerate(config.usbdevs):
        for what in ("hostbus", "hostaddr"):
            if getattr(usbdev, what) is None:
                yield Problem(f"usbdevs[{index}].{what}", "a USB device needs its bus and its address on the host")
    for index, ports in enumerate(config.ioports):
        if ports.first + ports.number > 2**16:
            yield Problem(f"ioports[{index}].number", "there are 65536 I/O ports")


def _screens(config: DomainConfig) -> Iterator[Problem]:
    for path, vnc in (("vnc", config.vnc), *((f"vfbs[{i}].vnc", vfb.vnc) for i, vfb in enumerate(config.vfbs))):
        if vnc.display and vnc.listen and ":" in vnc.listen.strip(":") and vnc.listen.count(":") == 1:
            yield Problem(f"{path}.display", f"the display is said in listen already, {vnc.listen!r}")
    spice = config.spice
    if spice.enable:
        if not spice.port and not spice.tls_port:
            yield Problem("spice.port", "SPICE needs a port, or a tls_port")
        if not spice.disable_ticketing and not spice.passwd:
            yield Problem("spice.passwd", "SPICE needs a password, or disable_ticketing=True")


def _small_devices(config: DomainConfig) -> Iterator[Problem]:
    for index, channel in enumerate(config.channels):
        path = f"channels[{index}]"
        if channel.connection is None:
            yield Problem(f"{path}.connection", "a channel needs a connection: pty or socket")
        if (channel.connection is ChannelConnection.SOCKET) != (channel.path is not None):
            yield Problem(f"{path}.path", "a channel has a path if its connection is socket, and only then")
    for index, vkb in enumerate(config.vkbs):
        sizes = (vkb.multi_touch_width, vkb.multi_touch_height, vkb.multi_touch_num_contacts)
        if vkb.feature_multi_touch and not any(sizes):
            yield Problem(f"vkbs[{index}].feature_multi_touch", "a touch screen needs its size or its contacts")
    for index, vdispl in enumerate(config.vdispls):
        if not vdispl.connectors:
            yield Problem(f"vdispls[{index}].connectors", "a display needs an output")


def _interrupts(config: DomainConfig) -> Iterator[Problem]:
    number = config.arm.nr_spis
    if number is not None and _SPIS < number < _EXTENDED_SPIS:
        message = f"{number} is not possible; it can be up to {_SPIS}, or from {_EXTENDED_SPIS} on for extended ones"
        yield Problem("arm.nr_spis", message)


def _smbios(config: DomainConfig) -> Iterator[Problem]:
    kinds = [string.type for string in config.smbios]
    if kinds.count(SmbiosType.OEM) > _OEM_STRINGS:
        yield Problem("smbios", f"has {kinds.count(SmbiosType.OEM)} oem strings; at most {_OEM_STRINGS} are possible")
    for index, string in enumerate(config.smbios):
        if not string.value:
            yield Problem(f"smbios[{index}].value", "cannot be empty")
        if string.type is not SmbiosType.OEM and string.type in kinds[:index]:
            yield Problem(f"smbios[{index}].type", f"{string.type} is said already")


_RULES: Final[tuple[tuple[tuple[str, ...], Callable[[Any], Iterable[Problem]]], ...]] = (
    ((), _boot),
    ((), _memory),
    (("bios", "videoram"), _firmware),
    ((), _vcpus),
    (("vnuma",), _vnuma),
    (("disks",), _disks),
    (("vifs",), _vifs),
    (NUMBERED_BY_XL, _device_numbers),
    (SERVED, _backends),
    (("pcis", "dtdevs", "usbdevs", "ioports"), _passthrough),
    (("vnc", "vfbs", "spice"), _screens),
    (("channels", "vkbs", "vdispls"), _small_devices),
    (("arm",), _interrupts),
    (("smbios",), _smbios),
)
"""Each rule with the fields that trigger it: it runs if one of them is set, or always for ()."""
