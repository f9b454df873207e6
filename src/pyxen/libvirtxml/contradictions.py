"""The cases in which libvirt contradicts xl or itself, and pyxen's behaviour, which follows xl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CONTRADICTIONS", "Contradiction"]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A case in which libvirt contradicts xl or itself.

    Attributes:
        name: A short name for the case.
        libvirt: libvirt's behaviour.
        pyxen: The behaviour of pyxen and xl.
    """

    name: str
    libvirt: str
    pyxen: str


CONTRADICTIONS: Final = (
    Contradiction(
        "boot-order",
        "takes a boot order that is not said for 'c'",
        "writes libxl's 'cda' out; reads a missing order as libvirt does",
    ),
    Contradiction(
        "format-without-driver",
        "takes <driver type='qcow2'/> without a name for raw, which would corrupt the disk",
        "reads the format that is said, and always writes name='qemu' with it",
    ),
    Contradiction(
        "rate-units",
        "its converter writes an average in units of 1024 bytes a second as xl's KB/s, which are 1000",
        "takes an average for units of 1024 bytes, as libvirt's own driver does, and a rate of xl's for what xl means",
    ),
    Contradiction(
        "vlan-in-bridge",
        "its converter takes every dot in the name of a bridge for the tag of a VLAN",
        "takes it for one with the script vif-openvswitch only: others get the name as it is",
    ),
    Contradiction(
        "hpet-off",
        "its driver can switch the HPET on, but ignores present='no'",
        "reads present='no' as off, as libvirt's converter does",
    ),
    Contradiction(
        "bootloader-arguments",
        "its driver splits them at the string ' \\t\\n', so never",
        "splits them at blanks, tabs and line ends",
    ),
    Contradiction(
        "pinning-by-cpuset",
        "its driver ignores <vcpu cpuset=…>, its converter writes it as cpus=",
        "reads and writes it as cpus=, as the converter does",
    ),
    Contradiction(
        "managed-devices",
        "takes a device with managed='yes' from its driver itself, and does not tell libxl",
        "reads managed='yes' as seize=1, by which libxl does the same",
    ),
    Contradiction(
        "free-display",
        "chooses a port for autoport='yes' itself, and tells libxl not to look for one",
        "reads autoport='yes' as vncunused=1: libxl looks for one",
    ),
    Contradiction(
        "removable-disks",
        "its driver calls every disk removable",
        "calls CD-ROM drives so, as xl does",
    ),
    Contradiction(
        "framebuffers-of-hvm",
        "its driver gives an HVM guest a paravirtual framebuffer for each <graphics>, which nothing uses",
        "gives it none, as xl does",
    ),
    Contradiction(
        "spice-agent",
        "its converter gives the agent a channel for mode='client', its driver for a shared clipboard only",
        "does so for either: the client's pointer does not work without",
    ),
    Contradiction(
        "memory-in-mib",
        "rounds memory up to whole MiB",
        "keeps KiB",
    ),
    Contradiction(
        "video-memory",
        "rounds the memory of a graphics card up to a power of two",
        "keeps KiB",
    ),
    Contradiction(
        "serial-ports",
        "its driver puts serial ports in the order of their elements, its converter in that of their numbers",
        "goes by their numbers",
    ),
    Contradiction(
        "soft-reset",
        "its driver tells libxl to destroy a domain that asks for a soft reset, and restarts it itself",
        "leaves it at soft_reset, xl's default",
    ),
    Contradiction(
        "numa-placement",
        "its driver leaves libxl to look for a place for a guest whose NUMA nodes have theirs",
        "switches that off then, as xl does",
    ),
    Contradiction(
        "shadow-memory",
        "its driver works shadow memory out itself",
        "leaves it to libxl, which does the same",
    ),
    Contradiction(
        "disk-backend",
        "its converter has QEMU serve each disk for which an xl configuration names nobody",
        "leaves it to libxl, which has the kernel serve a block device, faster",
    ),
    Contradiction(
        "no-screen",
        "its driver takes the graphics card away from an HVM guest without <graphics> and <video>",
        "reads such a document so; an xl configuration without a viewer keeps its card, so <video> is written for it",
    ),
    Contradiction(
        "crash",
        "its converter takes on_crash for 'restart' where an xl configuration does not say it",
        "takes it for 'destroy', as xl and libvirt's XML do",
    ),
)
"""The known cases."""
