"""The reasons for losses in libvirt's XML, by field."""

from __future__ import annotations

from typing import Final

from pyxen.libvirtxml.graphics import ONE_SCREEN

__all__ = ["BOOT_DISK", "DEFAULT_REASON", "REASONS"]

DEFAULT_REASON: Final = "the XML that pyxen writes does not say it"
"""The reason for every field that has none of its own."""

BOOT_DISK: Final = (
    "libvirt orders disks by their names, and the boot loader looks at the first: give this one the first name"
)
"""Why the first disk is lost where a boot loader would look at another."""

REASONS: Final = {
    "acpi": "libvirt has ACPI on for an HVM guest, and cannot switch it off for the others",
    "bios": "libvirt knows SeaBIOS and OVMF only",
    "bios_path_override": "libvirt takes a firmware file for OVMF only, by its absolute path",
    "boot": "libvirt boots from floppy disk (a), hard disk (c), CD-ROM (d) and network (n)",
    "bootloader": "libvirt boots a PV guest without a kernel with pygrub",
    "bootloader_args": "libvirt takes the arguments as one string, and blanks separate them",
    "cpuid": "libvirt switches features on or off one by one, and only those that it has names for and that "
    "libxl knows in every supported release of Xen",
    "cpus": "libvirt takes numbers of CPUs only; DomainConfig.resolve_cpus finds those of one host",
    "device_model": "libvirt has arguments of the device model, and its path for an HVM guest only",
    "disks": "libvirt needs a disk's name in the guest, such as xvda, hda or sda",
    "disks.backend": "libvirt takes a name without line ends only",
    "disks.readonly": "libvirt treats every CD-ROM drive as read-only",
    "disks.script": "libvirt runs no hotplug scripts for disks; attach the target first, and set the block device",
    "disks.target": "libvirt needs an absolute path",
    "kernel": "libvirt needs an absolute path, and boots a PV guest without a kernel with pygrub",
    "keymap": "libvirt has a keymap only for a VNC or SPICE server",
    "max_event_channels": "libvirt takes up to 2147483647",
    "memory": "libvirt begins with the maximum where this is 0, or more than that",
    "nographic": "libvirt has a screen and a graphics card, or neither",
    "numa_placement": "libvirt leaves the placement to libxl, which chooses nodes unless vCPUs are pinned",
    "on_crash": "libvirt does not have this action",
    "on_poweroff": "libvirt writes core dumps only after crashes, and has no soft reset",
    "on_reboot": "libvirt writes core dumps only after crashes, and has no soft reset",
    "on_soft_reset": "libvirt handles soft resets itself",
    "on_watchdog": "libvirt handles watchdogs itself",
    "pcis": "libvirt passes single functions through, by their addresses",
    "ramdisk": "libvirt needs an absolute path",
    "scheduler": "libvirt's Xen driver has only the weight",
    "scheduler.kind": "libvirt uses the scheduler of the domain's CPU pool",
    "scheduler.weight": "libvirt takes 2 to 262144",
    "sdl": "libvirt's Xen driver has no OpenGL",
    "sdl.enable": ONE_SCREEN,
    "serial": "libvirt does not have this character device, or describes it in another way",
    "soundhw": "libvirt's Xen driver knows ac97, es1370, hda and sb16",
    "spice": "libvirt's Xen driver has only port, address, password, agent and clipboard of a SPICE server",
    "spice.disable_ticketing": "libvirt demands a password if and only if one is set",
    "spice.host": "libvirt needs an IP address or a host name",
    "spice.vdagent": "libvirt has the agent if the clipboard is shared or the pointer is the client's, and only then",
    "stubdomain": "libvirt's Xen driver runs device models in dom0",
    "usbctrls": "libvirt's Xen driver knows controllers of type qusb, of version 1 and 2",
    "usbdevice": "libvirt's Xen driver knows tablets and mice",
    "usbdevs": "libvirt identifies the device by its bus and address",
    "vfbs": "libvirt has framebuffers only for PV and PVH guests, each on one screen: VNC or a window",
    "vfbs.keymap": "libvirt has a keymap only for a VNC server",
    "vfbs.sdl": "libvirt shows a framebuffer on one screen, VNC or a window, and its Xen driver has no OpenGL",
    "vfbs.vnc": "libvirt has no settings of a VNC server that is off",
    "vfbs.vnc.display": "libvirt has a fixed display, or searches for a free one from 0 on",
    "vfbs.vnc.listen": "libvirt needs an IP address or a host name, without a display",
    "vga": "libvirt has a screen and a graphics card, or neither",
    "vifs.bridge": "libvirt needs a name of letters, digits and ._-:/",
    "vifs.ip": "libvirt takes IP addresses only, and no prefix such as /24",
    "vifs.mac": "libvirt refuses multicast addresses",
    "vifs.model": "libvirt has one model for an interface",
    "vifs.mtu": "libvirt's Xen driver ignores it",
    "vifs.rate": "libvirt counts in units of 1024 bytes a second, and in intervals of 50 ms",
    "vifs.type": "a PV or PVH guest has no emulated network cards",
    "vifs.vifname": "libvirt needs a name of letters, digits and ._-:/, and drops one that begins with vif, vnet, "
    "macvtap or macvlan, as those that it chooses itself",
    "viridian": "libvirt switches some of the enlightenments on one by one, or all of them",
    "viridian.defaults": "libvirt's Xen driver ignores <viridian>, and <hyperv> has of libxl's default groups base, "
    "crash_ctl, apic_assist and freq: enable these by name if they are enough",
    "vkbs": "libvirt has only the keyboard that comes with a screen",
    "vnc": "libvirt has no settings of a VNC server that is off",
    "vnc.display": "libvirt has a fixed display, or searches for a free one from 0 on",
    "vnc.enable": f"{ONE_SCREEN}; set vnc.enable=False if the other one is enough",
    "vnc.listen": "libvirt needs an IP address or a host name, without a display",
    "vnuma": "pyxen reads and writes at most 1024 NUMA nodes in XML",
    "vnuma.distances": "libvirt needs a distance to every node, from 10 to 255",
    "vnuma.pnode": "libvirt places node N of the guest on node N of the host",
}
"""Reasons by field path, without the indexes of items."""
