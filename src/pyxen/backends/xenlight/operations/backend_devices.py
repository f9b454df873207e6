"""Devices that this domain serves to others, and what its kernel counts for them, as sysfs shows them."""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pyxen.records.stats import DeviceState, VifStats

__all__ = [
    "BackendDevice",
    "backend_devices",
    "disk_counters",
    "host_interfaces",
    "interface_of",
    "kernel_state",
    "vif_stats",
]

DEVICES: Final = "/sys/bus/xen-backend/devices"
INTERFACES: Final = "/proc/net/dev"
NET: Final = "/sys/class/net"

_EMULATED: Final = "-emu"  # after the name of a vif, in that of the interface that QEMU has for it
_LONGEST: Final = 4096  # bytes of an attribute

_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO}
"""How a read fails if the device does not exist, or is just being removed."""

_STATES: Final = {state.value.replace("_", ""): state for state in DeviceState}
"""States by the kernel's names in lower case."""


class BackendDevice(NamedTuple):
    """A device, by what its folder's name consists of."""

    kind: str
    """Kind of the backend, e.g. ``vbd`` (disks of the kernel), ``qdisk`` (disks of QEMU) or ``vif``."""
    domid: int
    """The domain that uses it."""
    devid: int
    """Its number."""

    @property
    def path(self) -> str:
        """Its path in sysfs."""
        return f"{DEVICES}/{self.kind}-{self.domid}-{self.devid}"


def backend_devices() -> dict[int, list[BackendDevice]]:
    """Return all devices of the domains, by domid. Of those that QEMU serves, only their names are in sysfs."""
    found: dict[int, list[BackendDevice]] = defaultdict(list)
    for name in _folder(DEVICES):
        kind, _, rest = name.partition("-")
        domid, _, devid = rest.partition("-")
        if domid.isdecimal() and devid.isdecimal():
            found[int(domid)].append(BackendDevice(kind, int(domid), int(devid)))
    return found


def kernel_state(device: BackendDevice) -> DeviceState:
    """Return the state of a device that the kernel serves."""
    return _STATES.get(_read(f"{device.path}/state").strip().decode().lower(), DeviceState.UNKNOWN)


def disk_counters(device: BackendDevice, names: Sequence[str]) -> list[int]:
    """Return counters of a disk, by the kernel's names; 0 if the disk is not connected."""
    try:
        folder = os.open(f"{device.path}/statistics", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return [0] * len(names)
        raise
    try:
        return [int(_read(name, folder) or 0) for name in names]  # shorter paths save a third of the time
    finally:
        os.close(folder)


def host_interfaces() -> dict[str, list[int]]:
    """Return the counters of all network interfaces of this domain, by name.

    They are received bytes, packets, errors, dropped, and four others; then the same, sent.
    """
    lines = Path(INTERFACES).read_text(errors="replace").splitlines()[2:]  # below the head
    tables = (line.partition(":") for line in lines)
    return {name.strip(): [int(number) for number in numbers.split()] for name, _, numbers in tables}


def interface_of(device: BackendDevice) -> str | None:
    """Return the network interface of a vif in this domain; None if it has none."""
    usual = f"vif{device.domid}.{device.devid}"
    try:
        if os.path.basename(os.readlink(f"{NET}/{usual}/device")) == f"vif-{device.domid}-{device.devid}":
            return usual  # found with one system call; the way below takes four
    except OSError:  # it has another name, or none
        pass
    return next(iter(_folder(f"{device.path}/net")), None)


def vif_stats(device: BackendDevice, interfaces: dict[str, list[int]]) -> VifStats:
    """Return the traffic of a vif, with that of its emulated NIC in an HVM guest; 0 if it has no interface.

    The counters are the host's: what the host's interface sends, the guest receives.
    """
    name = interface_of(device)
    both = [interfaces.get(name or ""), interfaces.get(f"{name}{_EMULATED}")]
    sums = [sum(counters) for counters in zip(*filter(None, both), strict=True)] or [0] * 16
    return VifStats(device.devid, *sums[8:12], *sums[:4])


def _folder(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        if error.errno in _GONE:
            return []
        raise


def _read(path: str, folder: int | None = None) -> bytes:
    """Return the content of an attribute, below an open folder if there is one; empty if its device is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in _GONE:
            return b""
        raise
    try:
        return os.read(fd, _LONGEST)
    except OSError as error:
        if error.errno in _GONE:
            return b""
        raise
    finally:
        os.close(fd)
