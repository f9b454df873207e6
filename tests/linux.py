"""The lab's Linux guest, as tests boot it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["LINUX"]

_FOLDER: Final = "/usr/share/pyxen-guests"
# Without looks for hardware that no guest here has and through its own page tables, and without tests of ciphers: in an
# emulated machine they take a quarter of the time until it is up. Debian's kernel does not crash for sysrq otherwise.
_CMDLINE: Final = "console=hvc0 quiet pci=off rodata=off cryptomgr.notests sysrq_always_enabled"

LINUX: Final[dict[str, Any]] = {
    "kernel": f"{_FOLDER}/vmlinux",
    "ramdisk": f"{_FOLDER}/initramfs",
    "cmdline": _CMDLINE,
    "memory": 112,
}
"""Settings of a Linux guest, but for its name and type.

A PV guest is up in half the time of a PVH guest, but cannot migrate in the lab. The memory is little more than it needs
to boot: the more it has, the longer it takes to save it, to restore it, and to let it migrate.
"""
