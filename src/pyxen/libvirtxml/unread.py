"""Unread parts of a document: those that libvirt adds on its own are listed here, and all others are losses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pyxen.config.checks import hide_keys
from pyxen.libvirtxml.graphics import ONE_SCREEN
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["ADDED", "Added", "report_leftovers"]


@dataclass(frozen=True, slots=True)
class Added:
    """An element or attribute whose absence from the model is not a loss.

    Attributes:
        path: Its path from ``<domain>``; ``*`` matches any one element.
        reason: Where it comes from, or why it does not matter.
        attribute: An attribute that must have one of `values`, if the entry covers only some of the elements.
        values: These values; None stands for a missing attribute.
    """

    path: str
    reason: str
    attribute: str = ""
    values: tuple[str | None, ...] = ()

    def covers(self, node: Node) -> bool:
        """Whether the entry covers this element."""
        return not self.attribute or node.attributes.get(self.attribute) in self.values


_WORDS = "information for people and other programs"
_ADDRESS = "libvirt assigns addresses to devices, and its Xen driver does not use them"
_IMPLICIT = "every guest of its type has it"

ADDED: Final = (
    Added("@id", "the domid of a running domain"),
    Added("@type", "Xen, or a driver that pretends to be it", "type", ("xen", "test")),
    Added("os/type/@arch", "libvirt's choice", "arch", ("i686", "x86_64", "armv7l", "aarch64")),
    Added("os/type/@machine", "libvirt's choice", "machine", ("xenpv", "xenpvh", "xenfv", "xenner")),
    Added("title", _WORDS),
    Added("description", _WORDS),
    Added("metadata", _WORDS),
    Added("resource", "the group of processes that libvirt put the domain in"),
    Added("os/bootmenu", "no boot menu, which is the default", "enable", ("no",)),
    Added("cpu/@check", "libvirt's check of CPUs, which its Xen driver does not perform"),
    Added("cpu/@migratable", "concerns live migration between QEMUs"),
    Added("cpu/@match", "libvirt's default"),
    Added("cpu/topology", "libvirt's Xen driver ignores it: the guest sees what Xen shows"),
    Added("clock/timer/@tickpolicy", "libvirt's Xen driver ignores it"),
    Added("features/hyperv/relaxed", "part of every enlightenment's base"),
    Added("devices/*/alias", "libvirt's own name for the device"),
    Added("devices/*/address", _ADDRESS),
    Added("devices/disk/backingStore", "what libvirt found in the image"),
    Added("devices/disk/source/@index", "libvirt's number of the image"),
    Added("devices/disk/source/@startupPolicy", "libvirt's default", "startupPolicy", ("mandatory",)),
    Added("devices/interface/target/@managed", "libvirt's Xen driver creates the device itself"),
    Added("devices/interface/mac/@type", "how the address was chosen"),
    Added("devices/interface/link", "the link is up, which is the default", "state", ("up",)),
    Added("devices/controller", _ADDRESS, "type", (
        "ide", "fdc", "scsi", "sata", "pci", "isa", "ccid", "virtio-serial",
    )),
    Added("devices/controller/driver", "libvirt's Xen driver ignores it"),
    Added("devices/memballoon", _IMPLICIT, "model", ("xen",)),
    Added("devices/input", _IMPLICIT, "bus", ("xen", "ps2", None)),
    Added("devices/video/driver", "libvirt's Xen driver ignores it"),
    Added("devices/video/model/acceleration", "libvirt's Xen driver ignores it"),
    Added("devices/audio", "libvirt has one for every sound card", "type", ("none",)),
    Added("devices/graphics/audio", "libvirt has one for every sound card"),
    Added("devices/serial/target", "the kind of port that every serial port is"),
    Added("devices/channel/source", "the terminal of a running domain"),
)  # fmt: skip
"""Everything that libvirt adds on its own, and everything that is not a setting of the domain."""

_BY_PATH: Final[dict[str, list[Added]]] = {}
for _added in ADDED:
    _BY_PATH.setdefault(_added.path, []).append(_added)

_LISTEN: Final = "a server of libvirt's Xen driver listens on the address of the first <listen>, or else on 127.0.0.1"

_NO_PORT: Final = "no display of Xen's has this port, so libxl chooses a free one"

_REASONS: Final = {
    "@type": "a domain of another hypervisor: what it says of devices may not hold for Xen",
    "os/type/@arch": "Xen does not have it",
    "os/type/@machine": "a machine of another hypervisor",
    "devices/interface/@type": "a network of libvirt's own: only libvirt knows its bridge; name the bridge instead",
    "devices/interface/source": "a network of libvirt's own: only libvirt knows its bridge; name the bridge instead",
    "devices/interface/mtu": "libvirt's Xen driver ignores it",
    "devices/interface/mac": "a network card passed through has an address of its own",
    "devices/interface/model": "libvirt's Xen driver refuses models of cards for PV and PVH guests",
    "devices/input": "libvirt's Xen driver knows only tablets and mice at a USB bus",
    "features/hyperv": "libvirt's Xen driver has enlightenments for HVM guests only",
    "features/viridian": "libvirt's Xen driver ignores it; since libvirt 11.3 <hyperv> switches enlightenments on",
    "devices/disk/source": "Xen supports only files, block devices and Ceph for disks",
    "devices/disk/@type": "Xen supports only files, block devices and Ceph for disks",
    "devices/disk/source/auth": "the secret is not in libvirt's XML; put it into the target, as in QEMU's rbd:",
    "devices/disk/shareable": "xl has no such setting: it never checks who else uses a disk",
    "devices/disk/transient": "libvirt's Xen driver refuses it",
    "devices/disk/boot": "libvirt's Xen driver uses only the boot order in <os><boot>",
    "devices/interface/boot": "libvirt's Xen driver uses only the boot order in <os><boot>",
    "devices/hostdev": "Xen passes through only PCI and USB devices, by address",
    "devices/graphics": f"{ONE_SCREEN}; other guests have only VNC and windows",
    "devices/graphics/@autoport": _NO_PORT,
    "devices/graphics/@port": _NO_PORT,
    "devices/graphics/@listen": _LISTEN,
    "devices/graphics/listen": _LISTEN,
    "devices/parallel": "libvirt's Xen driver refuses it, and xl does not support it",
    "genid": "libvirt's Xen driver ignores it",
    "cpu/@mode": "libvirt's Xen driver supports only host-passthrough, and ignores other modes",
    "cpu/model": "libvirt's Xen driver ignores CPU models",
    "os/nvram": "libxl does not store firmware variables",
    "clock/timer": "Xen supports only the timers tsc, and hpet for an HVM guest",
    "vcpu/@placement": "libvirt's Xen driver ignores it",
}
_DEFAULT: Final = "pyxen does not read it"

_GRAPHICS: Final = "devices/graphics"
_SECRET: Final = re.compile(r"passw|secret|key$", re.IGNORECASE)
"""Attributes whose values may be passwords, wherever they stand; below ``<graphics>`` any may, misspelt."""


def report_leftovers(domain: Node, found: XmlReadState) -> None:
    """Record a loss for every unread part of a tree."""
    for path, kind, value in _leftovers(domain, "", ""):
        found.lose(path, value, _REASONS.get(kind, _DEFAULT))


def _leftovers(node: Node, path: str, kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path, the path without indexes, and the value of every unread part of an element."""
    prefix, kind_prefix = (f"{path}/", f"{kind}/") if path else ("", "")
    for name, value in node.attributes.items():
        if name != "xmlns:xen" and not _is_added(f"{kind_prefix}@{name}", node):
            yield f"{prefix}@{name}", f"{kind_prefix}@{name}", _masked(kind, name, value)
    if node.text and not node.text.isspace():
        yield path or node.tag, kind, _masked(kind, "", node.text.strip())
    counts: dict[str, int] = {}
    for child in node.children:
        tag = child.tag.rpartition("}")[2]
        counts[tag] = counts.get(tag, 0) + 1
        child_path, child_kind = f"{prefix}{tag}[{counts[tag]}]", f"{kind_prefix}{tag}"
        if child.taken:
            if child.attributes or child.children or child.text:
                yield from _leftovers(child, child_path, child_kind)
        elif not _is_added(child_kind, child):
            yield child_path, child_kind, _summary(child, child_kind)


def _is_added(kind: str, node: Node) -> bool:
    outer, _, last = kind.rpartition("/")
    middle = f"{outer.rpartition('/')[0]}/*/{last}" if "/" in outer else ""
    return any(added.covers(node) for path in (kind, middle) for added in _BY_PATH.get(path, ()))


def _masked(kind: str, name: str, value: str) -> str:
    """Return the value of an attribute, or a text, for a message: masked if it may be a password."""
    inside = kind == _GRAPHICS or kind.startswith(f"{_GRAPHICS}/")
    return "***" if (inside and name != "type") or _SECRET.search(name) else hide_keys(value)


def _summary(node: Node, kind: str) -> str:
    tag = node.tag.rpartition("}")[2]
    words = [tag, *(f"{name}='{_masked(kind, name, value)}'" for name, value in node.attributes.items())]
    text = f"<{' '.join(words)}>"
    return text if len(text) <= 60 else text[:59] + "…"
