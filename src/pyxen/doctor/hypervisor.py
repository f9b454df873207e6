"""Xen itself: whether it runs, whether this is dom0, and whether this user may control it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["devices", "hypervisor"]

_INSTALLED: Final = ("xen-", "xen.", "xen")
"""How the names of hypervisors in /boot begin."""

_DEVICES: Final = {
    "/dev/xen/privcmd": (Severity.ERROR, "xen-privcmd", "no domain can be controlled"),
    "/dev/xen/evtchn": (Severity.ERROR, "xen-evtchn", "xenstored and xenconsoled do not run"),
    "/dev/xen/gntdev": (Severity.WARNING, "xen-gntdev", "QEMU serves no disks (backendtype=qdisk) and no screens"),
    "/dev/xen/gntalloc": (Severity.NOTE, "xen-gntalloc", "vchan does not work"),
    "/dev/xen/xenbus": (Severity.NOTE, "xenfs", "programs need the socket of xenstored"),
}
"""The kernel's devices: how much each matters, the module that has it, and what does not work without it."""


def installed(around: Surroundings) -> list[str]:
    """Return the hypervisors in /boot."""
    endings = (".gz", ".efi")
    return [
        f"/boot/{name}"
        for name in around.names("/boot")
        if name.startswith(_INSTALLED) and (name.endswith(endings) or name == "xen") and "config" not in name
    ]


def hypervisor(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine whether this is Xen, and dom0, and who may control it."""
    if not facts.on_xen:
        found = installed(around)
        remedy = (
            f"{found[-1]} is installed: boot the entry of the boot loader that has it; see the finding grub"
            if found
            else "to make it a Xen host, install Xen and reboot: on Debian, apt install xen-system-amd64"
        )
        yield Finding("xen", Severity.ERROR, "This machine does not run on Xen.", remedy)
        return
    yield Finding("xen", Severity.OK, f"Xen {facts.version or 'of an unknown version'} runs.")
    if facts.control is False:
        message = "This is a guest of Xen, not its control domain."
        yield Finding("dom0", Severity.ERROR, message, "Run this in dom0. A guest can serve devices: pyxen devd.")
        return
    if facts.control is None:
        message = "The kernel does not say whether this is dom0: /proc/xen is not mounted."
        yield Finding("dom0", Severity.WARNING, message, "mount -t xenfs xenfs /proc/xen, as Xen's own script does")
    else:
        yield Finding("dom0", Severity.OK, "This is dom0, the control domain.")
    if facts.privileged:
        yield Finding("privileges", Severity.OK, "This user may control Xen.")
    elif around.exists("/dev/xen/privcmd"):
        yield Finding("privileges", Severity.ERROR, "This user may not use /dev/xen/privcmd.", "Run this as root.")


def devices(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine the kernel's devices for Xen."""
    if not facts.is_dom0:
        return
    missing = [path for path in _DEVICES if not around.exists(path)]
    if not missing:
        yield Finding("devices", Severity.OK, f"The kernel has {', '.join(_DEVICES)}.")
        return
    order = list(Severity)
    worst = max((_DEVICES[path][0] for path in missing), key=order.index)
    lacks = "; ".join(f"without {path} {_DEVICES[path][2]}" for path in missing)
    modules = " ".join(dict.fromkeys(_DEVICES[path][1] for path in missing))
    yield Finding("devices", worst, f"Devices of the kernel are missing: {lacks}.", f"modprobe -a {modules}")
