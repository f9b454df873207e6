"""Default settings that libxl fills in and `Domain.config` shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID

from pyxen._common.defaults import with_memory
from pyxen.config import (
    Disk,
    DiskBackend,
    DiskFormat,
    DomainConfig,
    DomainType,
    Mac,
    Part,
    UsbCtrl,
    UsbCtrlType,
    Vif,
    Vtpm,
)
from pyxen.config.device_table import WITH_NUMBERS

__all__ = ["EMULATED_PORTS", "filled", "filled_device", "random_uuid"]

D = TypeVar("D", bound=Part)

_BRIDGE: Final = "xenbr0"
"""The bridge of a vif without one in its configuration."""

_PORTS: Final = 8
EMULATED_PORTS: Final = {1: 2, 2: 6}
"""Ports of QEMU's USB controllers, by the version of USB, where they are not those of the others."""

_BRIDGE_SCRIPT: Final = "vif-bridge"


def random_uuid(random: Random) -> UUID:
    """Return a new uuid."""
    return UUID(int=random.getrandbits(128), version=4)


def filled(
    config: DomainConfig, domid: int, uuid: UUID, nodes: Mapping[int, Sequence[int]], random: Random
) -> DomainConfig:
    """Return a configuration with the settings that libxl fills in when it creates the domain.

    Args:
        config: The configuration.
        domid: The domid of the new domain.
        uuid: Its uuid.
        nodes: The CPUs of each NUMA node of the host.
        random: What the random settings are made from.
    """
    memory = with_memory(config).memory
    changes: dict[str, Any] = {
        "domid": domid,
        "uuid": uuid,
        "memory": memory,
        "maxmem": config.effective_maxmem or memory,
        "maxvcpus": config.effective_maxvcpus,
        "disks": tuple(filled_device(disk, config.type, config.disks, random) for disk in config.disks),
    }
    if config.ms_vm_genid == "generate":
        changes["ms_vm_genid"] = random_uuid(random)
    for name in WITH_NUMBERS:
        devices: list[Any] = []
        for index, device in enumerate(getattr(config, name)):
            number = index if device.devid is None else device.devid
            devices.append(filled_device(device.replace(devid=number), config.type, devices, random))
        changes[name] = tuple(devices)
    cpus = sorted(cpu for members in nodes.values() for cpu in members)
    return config.replace(**changes).resolve_cpus(cpus, nodes)


def filled_device(device: D, guest: DomainType, present: Sequence[Any], random: Random) -> D:
    """Return a device with the settings that libxl fills in, given the present devices of its kind."""
    changes: dict[str, Any] = {}
    if getattr(device, "devid", 0) is None:
        changes["devid"] = 1 + max((other.devid or 0 for other in present), default=-1)
    match device:
        case Disk():
            if device.cdrom and not device.target:
                changes["format"] = DiskFormat.EMPTY
            if device.backendtype is None:
                raw = changes.get("format", device.format) in {DiskFormat.RAW, DiskFormat.EMPTY}
                emulated = device.cdrom and guest is DomainType.HVM
                changes["backendtype"] = DiskBackend.PHY if raw and not emulated else DiskBackend.QDISK
        case Vif():
            bridged = device.script is None or device.script.rpartition("/")[2] == _BRIDGE_SCRIPT
            if device.mac is None:
                changes["mac"] = Mac("00:16:3e:" + ":".join(f"{random.getrandbits(8):02x}" for _ in range(3)))
            if device.bridge is None and bridged and device.backend is None and not device.backend_domid:
                changes["bridge"] = _BRIDGE
        case UsbCtrl():
            if device.type is UsbCtrlType.AUTO:
                changes["type"] = UsbCtrlType.DEVICEMODEL if guest is DomainType.HVM else UsbCtrlType.QUSB
            version = device.version or 2
            is_emulated = changes.get("type", device.type) is UsbCtrlType.DEVICEMODEL
            default = EMULATED_PORTS.get(version, _PORTS) if is_emulated else _PORTS
            changes |= {"version": version, "ports": device.ports or default}
        case Vtpm() if device.uuid is None:
            changes["uuid"] = random_uuid(random)
        case _:
            pass
    return device.replace(**changes)
