"""What can be the matter with what shall come to a host in memory: with a domain, a name, a device."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pyxen._common.device_kinds import kind_of
from pyxen._common.host_files import files_of
from pyxen.backends.memory.engine import describe
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine, overhead_kib
from pyxen.config import Disk, DiskBackend, DomainConfig, DomainType, P9Type, Part, UsbCtrl, UsbCtrlType, VkbBackend
from pyxen.errors import DomainExists, FileMissing, NotEnoughMemory, NotFound, UnsupportedFeature
from pyxen.operation import Operation
from pyxen.units import mib_to_kib

__all__ = ["check_devices", "check_files", "check_name", "check_new", "check_served"]

_BY_QEMU: Final = frozenset({UsbCtrlType.QUSB, UsbCtrlType.DEVICEMODEL})


def check_new(machine: Machine, operation: Operation[Any], config: DomainConfig, uuid: UUID) -> None:
    """Refuse a domain that cannot be made."""
    other = machine.of_uuid(uuid)
    if other is not None:
        message = f"domain {other.domid} ({other.name}) has the uuid {uuid} already: leave the uuid out"
        error = describe(DomainExists, message, operation)
        error.domid = other.domid
        raise error
    needed, free = mib_to_kib(config.memory or 0) + overhead_kib(config), machine.free_kib()
    if needed > free:
        message = (
            f"needs {needed // 1024} MiB, and the host has {free // 1024} MiB free: ask for less, or free some "
            "(destroy a domain, or lower dom0's memory)"
        )
        raise describe(NotEnoughMemory, message, operation)
    check_name(machine, operation, config.name)
    check_files(machine, operation, *(path for path in (config.kernel, config.ramdisk) if path))
    check_devices(machine, operation, config)


def check_name(machine: Machine, operation: Operation[Any], name: str, owner: Guest | None = None) -> None:
    """Refuse a name that another domain has."""
    other = machine.named(name)
    if other is not None and other is not owner:
        message = f"domain {other.domid} has the name {name!r} already: choose another, or destroy or rename that one"
        raise describe(DomainExists, message, operation)


def check_files(machine: Machine, operation: Operation[Any], *paths: str) -> None:
    """Refuse files that are not on the host."""
    missing = [path for path in paths if path.startswith("/") and not machine.exists(path)]
    if missing:
        error = describe(FileMissing, f"no such file on the host: {', '.join(missing)}", operation)
        error.filename = missing[0]
        raise error


def check_devices(machine: Machine, operation: Operation[Any], config: DomainConfig) -> None:
    """Refuse devices for which the host lacks something."""
    check_files(machine, operation, *files_of(*config.disks))
    for vif in config.vifs:
        local = vif.backend is None and not vif.backend_domid
        if local and vif.bridge is not None and machine.bridges is not None and vif.bridge not in machine.bridges:
            message = f"there is no bridge {vif.bridge} on the host: make it, or name another"
            operation.log.append(f"vif-bridge: could not find bridge device {vif.bridge}")
            raise describe(NotFound, message, operation)


def check_served(config: DomainConfig, device: Part, backend: str) -> None:
    """Refuse a device that QEMU would serve, for a domain that has none."""
    if not _needs_qemu(device) or _has_qemu(config):
        return
    what = kind_of(device).noun if not isinstance(device, Disk) else f"{device.backendtype} disk"
    message = (
        f"QEMU would serve this {what}, and the domain was made without: create it anew with the device in its "
        f"configuration{', or attach it with backendtype=phy' if isinstance(device, Disk) else ''}"
    )
    raise UnsupportedFeature(message, feature=what, backend=backend)


def _needs_qemu(device: Part) -> bool:
    if isinstance(device, Disk):
        return device.backendtype is DiskBackend.QDISK and not (device.backend or device.backend_domid)
    return isinstance(device, UsbCtrl) and device.type in _BY_QEMU


def _has_qemu(config: DomainConfig) -> bool:
    return (
        config.type is DomainType.HVM
        or any(map(_needs_qemu, (*config.disks, *config.usbctrls)))
        or bool(config.vfbs or config.channels)
        or any(vkb.backend_type is VkbBackend.QEMU for vkb in config.vkbs)
        or any(p9.type in {None, P9Type.QEMU} for p9 in config.p9s)
    )
