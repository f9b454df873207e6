"""Why XML cannot say what it cannot, by the field."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_REASON", "REASONS"]

DEFAULT_REASON: Final = "libvirt's Xen driver has nothing that says this"
"""The reason for every field that has none of its own."""

REASONS: Final = {
    "acpi": "libvirt has it on for an HVM guest, and switches it off for no other",
    "bios": "libvirt has SeaBIOS and OVMF",
    "bios_path_override": "libvirt has a file with OVMF, by its absolute path",
    "boot": "libvirt boots from floppy (a), disk (c), CD-ROM (d) and network (n)",
    "bootloader_args": "libvirt has them as words between blanks",
    "cpuid": "libvirt switches features that it has names for on or off, one by one",
    "cpus": "libvirt has numbers of CPUs only: DomainConfig.resolve_cpus gives those of one host",
    "device_model": "libvirt has the path of the device model, and arguments for guests of every type",
    "disks": "libvirt knows disks by names such as xvda, hda and sda",
    "disks.backend": "libvirt takes it on one line",
    "disks.readonly": "libvirt takes every CD-ROM drive for read-only",
    "disks.script": "libvirt runs no hotplug scripts for disks: attach the target first, and name the block device",
    "disks.target": "libvirt wants an absolute path",
    "kernel": "libvirt wants an absolute path",
    "keymap": "libvirt has it with a VNC or SPICE server",
    "max_event_channels": "libvirt counts to 2147483647",
    "nographic": "libvirt has neither screen nor card, or both",
    "numa_placement": "libvirt leaves it to libxl, which looks unless vCPUs are pinned",
    "on_crash": "libvirt has no such action",
    "on_poweroff": "libvirt writes core dumps after crashes only",
    "on_reboot": "libvirt writes core dumps after crashes only",
    "on_soft_reset": "libvirt deals with soft resets itself",
    "on_watchdog": "libvirt deals with watchdogs itself",
    "pcis": "libvirt passes single functions through, by their addresses",
    "ramdisk": "libvirt wants an absolute path",
    "scheduler": "libvirt's Xen driver has the weight only",
    "scheduler.kind": "libvirt takes that of the domain's CPU pool",
    "scheduler.weight": "libvirt has 2 to 262144",
    "sdl": "libvirt has nothing of a window that is not there, and its Xen driver no OpenGL",
    "serial": "libvirt has no such character device, or says it in other words",
    "soundhw": "libvirt's Xen driver knows ac97, es1370, hda and sb16",
    "spice": "libvirt has nothing of a server that is off, and its Xen driver little of one that is on",
    "spice.disable_ticketing": "libvirt asks for a password if and only if there is one",
    "spice.vdagent": "libvirt has it with a shared clipboard or the client's pointer, and else not",
    "stubdomain": "libvirt's Xen driver runs device models in dom0",
    "usbctrls": "libvirt's Xen driver knows controllers of type qusb, of version 1 and 2",
    "usbdevice": "libvirt has tablets, mice and keyboards",
    "usbdevs": "libvirt goes by bus and address",
    "vfbs": "libvirt has framebuffers of PV and PVH guests, each seen in one way",
    "vfbs.keymap": "libvirt has it with a VNC server",
    "vfbs.sdl": "libvirt has framebuffers seen in one way, and its Xen driver no OpenGL",
    "vfbs.vnc": "libvirt has nothing of a server that is off",
    "vfbs.vnc.display": "libvirt has a fixed display, or looks for a free one from the first on",
    "vfbs.vnc.listen": "libvirt wants an IP address or a host name, without a display",
    "vga": "libvirt has neither screen nor card, or both",
    "vifs.bridge": "libvirt wants a name of letters, digits and ._-:/",
    "vifs.ip": "libvirt wants IP addresses, without prefixes",
    "vifs.mac": "libvirt takes no multicast address",
    "vifs.model": "an interface has one model in libvirt, and in a PV or PVH guest none",
    "vifs.mtu": "libvirt's Xen driver ignores it",
    "vifs.rate": "libvirt counts in units of 1024 bytes a second, and in intervals of 50 ms",
    "vifs.type": "a PV or PVH guest has no emulated cards",
    "viridian": "libvirt has some enlightenments one by one, or all of them",
    "vkbs": "libvirt has the keyboard that comes with a screen only",
    "vnc": "libvirt has nothing of a server that is off",
    "vnc.display": "libvirt has a fixed display, or looks for a free one from the first on",
    "vnc.listen": "libvirt wants an IP address or a host name, without a display",
    "vnuma.distances": "libvirt wants one for every node, from 10 to 255",
    "vnuma.pnode": "libvirt gives cell N of the guest the host's node N",
}
"""Reasons, by the fields' paths without the numbers of items."""
