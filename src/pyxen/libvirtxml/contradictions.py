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
        "takes a missing boot order to mean 'c'",
        "always writes libxl's default 'cda'; reads a missing order as libvirt does",
    ),
    Contradiction(
        "format-without-driver",
        "treats <driver type='qcow2'/> without a name as raw, which would corrupt the disk",
        "reads the given format, and always writes name='qemu' with it",
    ),
    Contradiction(
        "rate-units",
        "its converter writes an average in units of 1024 bytes per second as xl's KB/s, which are 1000 bytes",
        "counts an average in units of 1024 bytes, as libvirt's own driver does, and xl's rates in xl's units",
    ),
    Contradiction(
        "vlan-in-bridge",
        "its converter treats every dot in a bridge name as the start of a VLAN tag",
        "does so only with the script vif-openvswitch; other scripts get the name unchanged",
    ),
    Contradiction(
        "hpet-off",
        "its driver can switch the HPET on, but ignores present='no'",
        "reads present='no' as off, as libvirt's converter does",
    ),
    Contradiction(
        "bootloader-arguments",
        "its driver splits them only at the whole string ' \\t\\n', so in practice never",
        "splits them at spaces, tabs and newlines",
    ),
    Contradiction(
        "pinning-by-cpuset",
        "its driver ignores <vcpu cpuset=…>, but its converter writes it as cpus=",
        "reads and writes it as cpus=, as the converter does, and writes <vcpupin> for each vCPU beside it, by which "
        "the driver pins",
    ),
    Contradiction(
        "managed-devices",
        "unbinds a device with managed='yes' from its driver itself, without libxl",
        "reads managed='yes' as seize=1, with which libxl does the same",
    ),
    Contradiction(
        "free-display",
        "chooses the port for autoport='yes' itself, and tells libxl not to search for one",
        "reads autoport='yes' as vncunused=1, with which libxl searches for one",
    ),
    Contradiction(
        "removable-disks",
        "its driver marks every disk as removable",
        "marks only CD-ROM drives as removable, as xl does",
    ),
    Contradiction(
        "framebuffers-of-hvm",
        "its driver gives an HVM guest an unused paravirtual framebuffer for each <graphics>",
        "gives it no framebuffer, as xl does",
    ),
    Contradiction(
        "spice-agent",
        "its converter adds the agent's channel for mode='client', but its driver only for a shared clipboard",
        "adds it for either, because the client's pointer does not work without it",
    ),
    Contradiction(
        "spice-address",
        "its driver lets a SPICE server without an address listen on 127.0.0.1, and its converter writes no address "
        "for one that xl lets listen everywhere",
        "reads a missing address as 127.0.0.1, as libvirt's driver does, and writes 0.0.0.0 for a server without one",
    ),
    Contradiction(
        "one-screen",
        "its driver turns on one screen of an HVM guest, SPICE or else the first <graphics>, and its converter the "
        "first; xl turns on all that are set",
        "reads and writes the one that libvirt's driver turns on, and reports the others",
    ),
    Contradiction(
        "nesting",
        "its driver takes mode='host-passthrough' as nested virtualisation only if libxl.conf allows it or vmx or svm "
        "is required, but its converter always, unless one of them is disabled",
        "reads it as the converter does, and requires vmx and svm where nesting is on",
    ),
    Contradiction(
        "memory-in-mib",
        "rounds memory up to whole MiB",
        "keeps the exact amount in KiB",
    ),
    Contradiction(
        "video-memory",
        "rounds the memory of a graphics card up to a power of two",
        "keeps the exact amount in KiB",
    ),
    Contradiction(
        "serial-ports",
        "its driver orders serial ports by their elements, but its converter by their numbers",
        "orders them by their numbers",
    ),
    Contradiction(
        "soft-reset",
        "its driver tells libxl to destroy a domain that requests a soft reset, and restarts the domain itself",
        "leaves the action at soft_reset, xl's default",
    ),
    Contradiction(
        "numa-placement",
        "its driver lets libxl choose NUMA nodes even for a guest whose virtual nodes are already placed",
        "switches that off for such guests, as xl does",
    ),
    Contradiction(
        "shadow-memory",
        "its driver calculates the shadow memory itself",
        "leaves it to libxl, which calculates the same amount",
    ),
    Contradiction(
        "disk-backend",
        "its converter uses QEMU for each disk without a backend in the xl configuration",
        "leaves the choice to libxl, which uses the faster kernel backend for block devices",
    ),
    Contradiction(
        "no-screen",
        "its driver removes the graphics card of an HVM guest without <graphics> and <video>",
        "reads such a document the same way, but writes <video> for an xl configuration with a card and no viewer",
    ),
    Contradiction(
        "crash",
        "its converter takes a missing on_crash in an xl configuration to mean 'restart'",
        "takes it to mean 'destroy', as xl and libvirt's XML do",
    ),
    Contradiction(
        "disk-order",
        "orders the disks of a bus by their names, whatever their order in the document, so a boot loader looks at the "
        "first by name; xl's looks at the first in the configuration",
        "reads and writes libvirt's order, and reports a loss if a boot loader would look at another disk",
    ),
    Contradiction(
        "pae",
        "its driver turns on PAE in every 64-bit HVM guest, and ACPI in one with NUMA nodes, whatever <features> says",
        "reads such guests as having both, and writes a 32-bit guest for one that is not to have them",
    ),
    Contradiction(
        "viridian",
        "its converter writes <viridian/> as viridian=1, but its driver ignores it; the driver has <hyperv>",
        "reports <viridian/> as a loss, writes <hyperv>, and reports the rest of viridian=1 as a loss",
    ),
)
"""The known cases."""
