"""Files and bridges that a configuration needs on the host; toolstacks do not report which are missing."""

from __future__ import annotations

import os
from typing import Final

from pyxen._common.backend_domains import is_served_by_dom0
from pyxen.config import Disk, DomainConfig, DomainType, Part, Vif

__all__ = [
    "files_of",
    "files_of_config",
    "files_of_stubdomain",
    "how_to_bridge",
    "lacks_bridge",
    "missing_bridge",
    "missing_file",
]

_BRIDGES: Final = "/sys/class/net"
_BRIDGE_SCRIPT: Final = "vif-bridge"


def files_of_config(config: DomainConfig) -> list[str]:
    """Return the files named in a configuration that must exist on the host, of those with a whole path."""
    named = (
        *(config.kernel, config.ramdisk, config.bootloader, config.pvshim.path if config.pvshim.enable else None),
        *(config.bios_path_override, config.firmware_override, config.smbios_firmware, config.acpi_firmware),
        *files_of_stubdomain(config),
        *files_of(*config.disks, *config.vifs),
    )
    return [path for path in (*named, _device_model(config)) if path and path[0] == "/"]


def _device_model(config: DomainConfig) -> str | None:
    """Return the program that a configuration names as its device model, if the domain needs one in dom0."""
    needed = config.type is DomainType.HVM or config.vfbs
    return config.device_model.path if needed and not config.stubdomain.enable else None


def files_of_stubdomain(config: DomainConfig) -> list[str]:
    """Return the kernel and the ramdisk of a configuration's stub domain, if it has one."""
    stubdomain = config.stubdomain
    return [path for path in (stubdomain.kernel, stubdomain.ramdisk) if path] if stubdomain.enable else []


def files_of(*devices: Part) -> list[str]:
    """Return the image files of disks and the hotplug scripts of disks and vifs on the host, by their whole paths.

    Targets that a script resolves, and what a driver domain has, are left out.
    """
    local = [device for device in devices if isinstance(device, Disk | Vif) and is_served_by_dom0(device)]
    targets = [disk.target for disk in local if isinstance(disk, Disk) and not disk.script]
    return [path for path in (*targets, *(device.script for device in local)) if path and path.startswith("/")]


def missing_file(paths: list[str]) -> str | None:
    """Return the first of these files that is missing on this machine; None if all of them exist."""
    return next((path for path in paths if not os.path.exists(path)), None)


def lacks_bridge(device: Part) -> bool:
    """Tell whether a device is a vif whose bridge is missing on this machine."""
    if not isinstance(device, Vif) or device.bridge is None:
        return False
    bridged = device.script is None or os.path.basename(device.script) == _BRIDGE_SCRIPT
    return bridged and is_served_by_dom0(device) and not os.path.exists(f"{_BRIDGES}/{device.bridge}")


def how_to_bridge(name: str, port: str = "eth0") -> str:
    """Return the lines that make a bridge on Debian.

    Args:
        name: The bridge.
        port: The network card that is to be its port.
    """
    lines = (
        "on Debian, with the package bridge-utils, write into /etc/network/interfaces",
        f"    iface {port} inet manual",
        f"    auto {name}",
        f"    iface {name} inet dhcp",
        f"        bridge_ports {port}",
        f"in the place of the lines for {port}, then: ifdown {port}; ifup {name}",
    )
    return "\n".join(lines)


def missing_bridge(name: str | None) -> str:
    """Return the message on a bridge that is missing on the host."""
    known = name or "xenbr0"
    return f"there is no bridge {name} on the host: use another one, or create it: {how_to_bridge(known)}"
