"""libxl's defaults for settings that a configuration leaves open, observed on Xen 4.17 and 4.20."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pyxen.config.base import Part, fields_of
from pyxen.config.enums import (
    BiosType,
    DeviceModelVersion,
    DomainType,
    Passthrough,
    RdmReservePolicy,
    SchedulerKind,
    TimerMode,
    VgaInterfaceType,
)

if TYPE_CHECKING:
    from pyxen.config.channel import Channel
    from pyxen.config.disk import Disk
    from pyxen.config.domain import DomainConfig
    from pyxen.config.p9 import P9
    from pyxen.config.vfb import Vkb

__all__ = ["always", "says_default", "without_defaults"]

D = TypeVar("D", "Channel", "P9", "Vkb")

_MIB: Final = 1024

_SAME_SHARES: Final = (SchedulerKind.CREDIT, SchedulerKind.CREDIT2)
"""Schedulers whose weights and caps mean the same; the domain's CPU pool decides which one is used."""

_VIDEORAM: Final = {VgaInterfaceType.CIRRUS: 8, VgaInterfaceType.STD: 16}

_ALWAYS: Final[dict[str, Any]] = {
    "driver_domain": False,
    "ssidref": 12,  # Xen's own label for guests
    "bootloader_restrict": False,
    "iommu_memory": 0,
    "slack_memory": 0,
    "scheduler.weight": 256,
    "scheduler.cap": 0,
    "timer_mode": TimerMode.NO_DELAY_FOR_MISSED_TICKS,
    "nestedhvm": False,
    "hap": True,
    "oos": True,
    "altp2mhvm": False,
    "viridian.defaults": False,
    "msr_relaxed": False,
    "vpmu": False,
    "vmtrace_buf_kb": 0,
    "acpi": True,
    "acpi_s3": True,
    "acpi_s4": True,
    "acpi_laptop_slate": False,
    "apic": True,
    "pae": True,
    "nx": True,
    "hpet": True,
    "vpt_align": True,
    "localtime": False,
    "e820_host": False,
    "pvshim.enable": False,
    "xen_platform_pci": True,
    "xen_platform_pci_bar_uc": True,
    "hvm_pirq": False,
    "trap_unmapped_accesses": False,
    "boot": "cda",
    "bios": BiosType.SEABIOS,
    "mmio_hole": 0,
    "rdm_mem_boundary": 2048,
    "rdm.policy": RdmReservePolicy.RELAXED,
    "nographic": False,
    "sdl.enable": False,
    "sdl.opengl": False,
    "spice.enable": False,
    "gfx_passthru": False,
    "usb": False,
    "vkb_device": True,
    "soundhw": "",
    "kernel": "",
    "ramdisk": "",
    "cmdline": "",
    "device_model.version": DeviceModelVersion.QEMU_XEN,
    "device_model.restrict": False,
    "stubdomain.enable": False,
    "stubdomain.memory": 0,
    "max_event_channels": 1023,
    "max_grant_version": 2,
    "claim_mode": False,
    "run_hotplug_scripts": True,
    "blkdev_start": "xvda",
    "nomigrate": False,
    "xend_suspend_evtchn_compat": False,
}
"""Settings that have the same default in every domain, by their paths."""


def _shadow_memory(config: DomainConfig) -> float:
    """Return libxl's own figure: 1 MiB for each vCPU, and a page for each MiB, or two without HAP."""
    pages = 1 if config.hap is not False else 2
    return (4 * (256 * config.effective_maxvcpus + pages * int(config.effective_maxmem or 32))) / _MIB


def _videoram(config: DomainConfig) -> float | None:
    return _VIDEORAM.get(config.vga or VgaInterfaceType.CIRRUS) if config.type is DomainType.HVM else 0


def _numa_placement(config: DomainConfig) -> bool | None:
    pinned = config.cpus is not None or config.cpus_soft is not None or config.vnuma or config.cpumap or config.nodemap
    return None if pinned else True


_COMPUTED: Final[dict[str, Callable[[DomainConfig], Any]]] = {
    "shadow_memory": _shadow_memory,
    "videoram": _videoram,
    "vga": lambda config: VgaInterfaceType.CIRRUS if config.type is DomainType.HVM else None,
    "numa_placement": _numa_placement,
    "scheduler.kind": lambda config: config.scheduler.kind if config.scheduler.kind in _SAME_SHARES else None,
    "passthrough": lambda config: Passthrough.DISABLED if not config.pcis else None,
    "vnc.enable": lambda config: True if config.type is DomainType.HVM else None,
    "vnc.unused": lambda config: True if config.type is DomainType.HVM else None,
    "vnc.listen": lambda config: "127.0.0.1" if config.type is DomainType.HVM else None,
}
"""Settings whose default depends on others."""

_NUMBERS: Final = {"channels": (0, 1), "p9s": (0,), "vkbs": (0,)}
"""Numbers that libxl gives the first device of a kind, by the fields of `DomainConfig`; the others follow.

The first channel gets 1, because the domain's console is 0. Older xls count channels from 0 by mistake.
"""

_NOTHING: Final = object()


def always(path: str) -> Any:
    """Return the default that a setting has in every domain, by its path; None if there is none, or it depends."""
    return _ALWAYS.get(path)


def says_default(config: DomainConfig, path: str, value: Any) -> bool:
    """Return whether libxl would choose this value if the configuration did not set it.

    Args:
        config: The configuration.
        path: The setting, such as ``timer_mode`` or ``stubdomain.enable``.
        value: Its value.
    """
    default = _COMPUTED[path](config) if path in _COMPUTED else _ALWAYS.get(path, _NOTHING)
    if default is None or isinstance(value, bool) or isinstance(default, bool):
        return value is default and value is not None
    return bool(value == default)


def without_defaults(config: DomainConfig) -> DomainConfig:
    """Return the configuration without settings that only repeat what libxl would choose anyway."""
    changes: dict[str, Any] = {}
    fields = fields_of(type(config))
    values = fields.values(config)
    for place in fields.touched(values):
        name, value = fields.names[place], values[place]
        if isinstance(value, Part):
            plain = _plain_part(config, name, value)
            if plain is not value:
                changes[name] = plain
        elif says_default(config, name, value):
            changes[name] = fields.defaults[place]
    for name, numbers in _NUMBERS.items():
        devices = getattr(config, name)
        if any(device.devid is not None for device in devices):
            changes[name] = tuple(_plain_number(device, place, numbers) for place, device in enumerate(devices))
    if any(disk.colo.restore_enable is False for disk in config.disks):
        changes["disks"] = tuple(_plain_disk(disk) for disk in config.disks)
    return config.replace(**changes) if changes else config


def _plain_part(config: DomainConfig, name: str, part: Part) -> Part:
    fields = fields_of(type(part))
    values = fields.values(part)
    changes = {
        fields.names[place]: fields.defaults[place]
        for place in fields.touched(values)
        if says_default(config, f"{name}.{fields.names[place]}", values[place])
    }
    return part.replace(**changes) if changes else part


def _plain_number(device: D, place: int, numbers: tuple[int, ...]) -> D:
    return device.replace(devid=None) if device.devid is not None and device.devid - place in numbers else device


def _plain_disk(disk: Disk) -> Disk:
    return disk if disk.colo.restore_enable is not False else disk.replace(colo=disk.colo.replace(restore_enable=None))
