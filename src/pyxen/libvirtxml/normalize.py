"""The normal form of a configuration, with libxl's defaults filled in wherever XML requires a value.

Two configurations with the same `normal` form mean the same to libxl. Only libxl's own defaults are filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyxen.config import (
    BiosType,
    CpuSet,
    DeviceModelVersion,
    Disk,
    DiskBackend,
    DiskFormat,
    DomainConfig,
    DomainType,
    NicType,
    Sdl,
    Spice,
    UsbCtrl,
    Vfb,
    VgaInterfaceType,
    Vif,
    Viridian,
    Vnc,
    VNode,
)
from pyxen.config.libxl_defaults import without_defaults
from pyxen.libvirtxml.boot import PYGRUB, XL_BOOT_ORDER
from pyxen.libvirtxml.characters import NO_SERIAL, with_path
from pyxen.libvirtxml.cpu import default_distances, normal_policy
from pyxen.libvirtxml.disks import order
from pyxen.libvirtxml.features import hyperv_groups
from pyxen.libvirtxml.graphics import ANYWHERE
from pyxen.libvirtxml.memory import DEFAULT_MEMORY
from pyxen.libvirtxml.schema_patterns import is_address
from pyxen.libvirtxml.usb import DEFAULT_PORTS, DEFAULT_VERSION
from pyxen.libvirtxml.video import DEFAULT_VIDEORAM

__all__ = ["MEANINGS", "boots_from_disk", "disk_order", "normal"]


def normal(config: DomainConfig) -> DomainConfig:
    """Return an equivalent configuration that sets everything that XML requires."""
    plain = without_defaults(config)
    return plain.replace(**{name: meaning(plain) for name, meaning in MEANINGS.items()})


_ALL_GROUPS: Final = Viridian(enable="all").enable


def _is_hvm(config: DomainConfig) -> bool:
    return config.type is DomainType.HVM


def _on(name: str) -> Callable[[DomainConfig], Any]:
    """Return the normalizer of a switch that is on by default in an HVM guest."""
    return lambda config: True if getattr(config, name) is None and _is_hvm(config) else getattr(config, name)


def _off(name: str) -> Callable[[DomainConfig], Any]:
    """Return the normalizer of a switch that is off by default."""
    return lambda config: bool(getattr(config, name))


def _memory(config: DomainConfig) -> float:
    return _maxmem(config) if config.memory is None else config.memory


def _maxmem(config: DomainConfig) -> float:
    effective = config.effective_maxmem
    return DEFAULT_MEMORY if effective is None else effective


def _bootloader(config: DomainConfig) -> str | None:
    nothing = config.type is DomainType.PV and not config.kernel and not config.bootloader
    return PYGRUB if nothing else config.bootloader


def boots_from_disk(config: DomainConfig) -> bool:
    """Whether a boot loader looks for the guest's kernel, in its first disk."""
    return not _is_hvm(config) and bool(_bootloader(config))


def disk_order(config: DomainConfig) -> list[int]:
    """Return the places of the disks in libvirt's order, but the first one where a boot loader looks at it."""
    places = order(config.disks, config.type)
    return sorted(places, key=lambda place: place != 0) if boots_from_disk(config) else places


def _cpus(config: DomainConfig) -> Any:
    cpus = config.cpus
    if not isinstance(cpus, tuple):
        return cpus
    one_each = list(cpus[: config.effective_maxvcpus])
    while one_each and one_each[-1] == CpuSet("all"):
        one_each.pop()
    # Even a list of only "all" disables libxl's NUMA placement, and XML has no other way to express that.
    return tuple(one_each) or cpus[:1]


def _vnuma(config: DomainConfig) -> tuple[VNode, ...]:
    count = len(config.vnuma)
    return tuple(
        node.replace(distances=()) if list(node.distances) == default_distances(number, count) else node
        for number, node in enumerate(config.vnuma)
    )


def _viridian(config: DomainConfig) -> Viridian:
    viridian = config.viridian
    has_more = bool(viridian.defaults) and viridian.enable != _ALL_GROUPS
    return viridian.replace(defaults=has_more, enable=hyperv_groups(viridian))


def _card(config: DomainConfig) -> VgaInterfaceType | None:
    return VgaInterfaceType.CIRRUS if config.vga is None and _is_hvm(config) else config.vga


def _videoram(config: DomainConfig) -> float | None:
    card = _card(config)
    return DEFAULT_VIDEORAM.get(card) if config.videoram is None and card is not None else config.videoram


def _vnc(vnc: Vnc) -> Vnc:
    if vnc.enable is False:
        return vnc
    return vnc.replace(enable=True, unused=vnc.unused is not False)


def _sdl(sdl: Sdl) -> Sdl:
    return sdl.replace(enable=bool(sdl.enable), opengl=bool(sdl.opengl))


def _spice(spice: Spice) -> Spice:
    if not spice.enable:
        return spice.replace(enable=False)
    return spice.replace(
        host=spice.host or ANYWHERE,
        disable_ticketing=bool(spice.disable_ticketing),
        agent_mouse=spice.agent_mouse is not False,
        vdagent=bool(spice.vdagent),
        clipboard_sharing=bool(spice.clipboard_sharing),
    )


def _vfb(vfb: Vfb, place: int) -> Vfb:
    return vfb.replace(vnc=_vnc(vfb.vnc), sdl=_sdl(vfb.sdl), devid=None if vfb.devid == place else vfb.devid)


def _disk(disk: Disk) -> Disk:
    needs_qemu = disk.backendtype is None and disk.format not in (DiskFormat.RAW, DiskFormat.EMPTY)
    return disk.replace(
        target=disk.target or None,
        readonly=disk.cdrom if disk.readonly is None else disk.readonly,
        removable=disk.cdrom if disk.removable is None else disk.removable,
        backendtype=DiskBackend.QDISK if needs_qemu else disk.backendtype,
    )


def _vif(vif: Vif, place: int, *, hvm: bool) -> Vif:
    default = NicType.VIF_IOEMU if hvm else NicType.VIF
    addresses = (vif.ip or "").split()  # the script takes them as words, whatever blanks stand around them
    unlimited = vif.rate is not None and not vif.rate.bytes_per_interval
    return vif.replace(
        type=vif.type or default,
        model=vif.model if hvm else None,  # no other guest has an emulated card
        ip=(" ".join(addresses) or None) if all(map(is_address, addresses)) else vif.ip,
        devid=None if vif.devid == place else vif.devid,
        rate=None if unlimited else vif.rate,
        mac=None if vif.mac is not None and not vif.mac.strip("0:") else vif.mac,
    )


def _usbctrl(controller: UsbCtrl, place: int) -> UsbCtrl:
    return controller.replace(
        version=controller.version or DEFAULT_VERSION,
        ports=controller.ports or DEFAULT_PORTS,
        devid=place if controller.devid is None else controller.devid,
    )


def _serial(config: DomainConfig) -> tuple[str, ...]:
    serial = list(config.serial)
    while serial and serial[-1] == NO_SERIAL:
        serial.pop()
    return tuple(serial)


def _device_model(config: DomainConfig) -> Any:
    model = config.device_model
    return model.replace(version=None) if model.version is DeviceModelVersion.QEMU_XEN else model


MEANINGS: Final[dict[str, Callable[[DomainConfig], Any]]] = {
    "uuid": lambda c: c.uuid if c.uuid is not None and c.uuid.int else None,
    "seclabel": lambda c: c.init_seclabel if c.seclabel is None else c.seclabel,
    "init_seclabel": lambda c: None if c.seclabel is None else c.init_seclabel,
    "bootloader": _bootloader,
    "cmdline": lambda c: c.cmdline or None,
    "boot": lambda c: XL_BOOT_ORDER if c.boot is None and _is_hvm(c) else c.boot,
    "bios": lambda c: None if c.bios is BiosType.SEABIOS else c.bios,
    "memory": _memory,
    "maxmem": _maxmem,
    "videoram": _videoram,
    "maxvcpus": lambda c: c.effective_maxvcpus,
    "cpus": _cpus,
    "numa_placement": lambda c: c.effective_numa_placement,
    "vnuma": _vnuma,
    "cpuid": lambda c: normal_policy(c.cpuid),
    "nestedhvm": lambda c: c.nestedhvm if c.type is DomainType.PV else bool(c.nestedhvm),
    "viridian": _viridian,
    "acpi": _on("acpi"),
    "apic": _on("apic"),
    "pae": _on("pae"),
    "localtime": _off("localtime"),
    "nographic": _off("nographic"),
    "vga": _card,
    "vnc": lambda c: _vnc(c.vnc) if _is_hvm(c) else c.vnc,
    "sdl": lambda c: _sdl(c.sdl),
    "spice": lambda c: _spice(c.spice),
    "serial": _serial,
    "usb": lambda c: None if c.usb and c.usbdevice else c.usb,
    "device_model": _device_model,
    "max_grant_frames": lambda c: c.max_grant_frames or None,
    "claim_mode": lambda _: None,  # how the host builds the domain: xl takes it from xl.conf
    "channels": lambda c: tuple(with_path(channel, c.name) for channel in c.channels),
    "disks": lambda c: tuple(_disk(c.disks[place]) for place in disk_order(c)),
    "vifs": lambda c: tuple(_vif(vif, place, hvm=_is_hvm(c)) for place, vif in enumerate(c.vifs)),
    "vfbs": lambda c: tuple(_vfb(vfb, place) for place, vfb in enumerate(c.vfbs)),
    "pcis": lambda c: tuple(pci.replace(vslot=pci.vslot or None) for pci in c.pcis),
    "usbctrls": lambda c: tuple(_usbctrl(one, place) for place, one in enumerate(c.usbctrls)),
}
"""Normalizers of the fields whose value alone does not determine what they mean to libxl."""
