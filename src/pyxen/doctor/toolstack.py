"""What starts guests: the device model, pygrub, loaders and firmware."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pyxen.doctor.extension import tool_releases
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["toolstack"]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of the toolstack.

    Attributes:
        id: The id of its finding.
        name: What it is.
        places: Where distributions have it; ``{}`` is a Xen release.
        without: What does not work without it.
        severity: How much that matters.
        package: Debian's package that has it.
    """

    id: str
    name: str
    places: tuple[str, ...]
    without: str
    severity: Severity
    package: str


_PIECES: Final = (
    _Piece(
        "device-model",
        "QEMU for Xen",
        (
            *("/usr/libexec/xen-qemu-system-i386", "/usr/lib/xen-{}/bin/qemu-system-i386"),
            *("/usr/lib/xen/bin/qemu-system-i386", "/usr/libexec/xen/bin/qemu-system-i386"),
            *("/usr/lib64/xen/bin/qemu-system-i386", "/usr/bin/qemu-system-i386", "/usr/bin/qemu-system-x86_64"),
        ),
        "HVM guests, and disks in qcow2",
        Severity.WARNING,
        "qemu-system-xen",
    ),
    _Piece(
        "hvmloader",
        "hvmloader (the firmware that starts HVM guests)",
        ("/usr/lib/xen-{}/boot/hvmloader", "/usr/lib/xen/boot/hvmloader", "/usr/libexec/xen/boot/hvmloader"),
        "HVM guests",
        Severity.WARNING,
        "xen-utils-{}",
    ),
    _Piece(
        "seabios",
        "SeaBIOS (the BIOS of HVM guests)",
        ("/usr/share/seabios/bios-256k.bin", "/usr/lib/xen-{}/boot/seabios.bin", "/usr/share/qemu/bios-256k.bin"),
        'HVM guests with bios="seabios", the default',
        Severity.WARNING,
        "seabios",
    ),
    _Piece(
        "ovmf",
        "OVMF (the UEFI firmware of HVM guests)",
        (
            *("/usr/lib/xen-{}/boot/ovmf.bin", "/usr/lib/xen/boot/ovmf.bin", "/usr/share/ovmf/OVMF.fd"),
            *("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/xen/OVMF.fd"),
            "/usr/share/qemu/ovmf-x86_64-xen-4m.bin",
        ),
        'HVM guests with bios="ovmf"',
        Severity.NOTE,
        "ovmf",
    ),
    _Piece(
        "pygrub",
        "pygrub (reads a guest's own boot menu)",
        (
            *("/usr/lib/xen-{}/bin/pygrub", "/usr/lib/xen/bin/pygrub", "/usr/libexec/xen/bin/pygrub"),
            *("/usr/bin/pygrub", "/usr/local/bin/pygrub"),
        ),
        'guests with bootloader="pygrub"',
        Severity.NOTE,
        "xen-utils-{}",
    ),
    _Piece(
        "grub-pvh",
        "GRUB's image for PVH guests",
        ("/usr/lib/grub-xen/grub-i386-xen_pvh.bin", "/usr/lib/xen/boot/grub-i386-xen_pvh.bin"),
        "PVH guests that GRUB starts from their own disk",
        Severity.NOTE,
        "grub-xen-host",
    ),
    _Piece(
        "grub-pv",
        "GRUB's image for PV guests",
        ("/usr/lib/grub-xen/grub-x86_64-xen.bin", "/usr/lib/xen/boot/pv-grub-x86_64.gz"),
        "PV guests that GRUB starts from their own disk",
        Severity.NOTE,
        "grub-xen-host",
    ),
)


def toolstack(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine what starts guests. Without Xen's tools there is nothing to examine."""
    releases = tool_releases(around)
    if not (facts.is_dom0 or releases or around.program("xl")):
        return
    release = facts.release if facts.release in releases else releases[-1] if releases else None
    for piece in _PIECES:
        places = [place.format(release) for place in piece.places if release is not None or "{}" not in place]
        found = around.first(*places)
        if found is not None:
            yield Finding(piece.id, Severity.OK, f"{piece.name} is installed: {found}.")
            continue
        severity = piece.severity if facts.is_dom0 else Severity.NOTE
        package = piece.package.format(release or facts.release or "RELEASE")
        message = f"{piece.name} is not found; these need it: {piece.without}."
        yield Finding(piece.id, severity, message, f"On Debian, apt install {package}")
