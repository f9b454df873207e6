"""Losses of a round trip: the difference between a configuration and its XML as read back.

Nothing is lost silently: this finds everything that no writer wrote, or that was written with another meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final

from pyxen.config import Disk, DiskBackend, DomainConfig, DomainType, Part, settings_of
from pyxen.config.base import fields_of
from pyxen.config.libxl_defaults import without_defaults
from pyxen.libvirtxml.characters import channel_sayable
from pyxen.libvirtxml.disks import sayable as disk_sayable
from pyxen.libvirtxml.graphics import vfb_sayable
from pyxen.libvirtxml.hostdevs import pci_sayable, usb_sayable
from pyxen.libvirtxml.loss_reasons import BOOT_DISK, DEFAULT_REASON, REASONS
from pyxen.libvirtxml.normalize import MEANINGS, boots_from_disk, disk_order
from pyxen.libvirtxml.usb import ctrl_sayable
from pyxen.losses import Loss, shown

__all__ = ["differences"]

_SAYABLE: Final[dict[str, Callable[[Any], bool]]] = {
    "disks": disk_sayable,
    "vfbs": vfb_sayable,
    "pcis": pci_sayable,
    "usbdevs": usb_sayable,
    "usbctrls": ctrl_sayable,
    "channels": channel_sayable,
}
"""Lists with items that XML cannot express at all; the other items keep their order."""

_A: Final = {DomainType.HVM: "an HVM", DomainType.PV: "a PV", DomainType.PVH: "a PVH"}

_SWITCHED: Final = {"vnc": "a VNC server", "spice": "a SPICE server", "sdl": "a window"}
"""Settings of one screen, which is on or off."""

_INDEX = re.compile(r"\[[0-9]+\]")
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def differences(config: DomainConfig, said: DomainConfig, *, is_xen: bool) -> tuple[Loss, ...]:
    """Return the losses of a configuration.

    Args:
        config: The configuration.
        said: Its XML as read back.
        is_xen: Whether the XML is for Xen; with other drivers QEMU serves every disk.
    """
    if not is_xen:
        config = config.replace(disks=[_served_by_qemu(disk) for disk in config.disks])
    if config == said:
        return ()
    # A setting that equals libxl's default is not lost if XML leaves it to libxl.
    config, said = without_defaults(config), without_defaults(said)
    changed = fields_of(DomainConfig).differing(config, said)
    if "kernel" in changed and config.bootloader is None:
        changed = [name for name in changed if name != "bootloader"]  # the loss of the kernel has it in its reason
    return tuple(loss for name in changed for loss in _field(name, config, said))


def _served_by_qemu(disk: Disk) -> Disk:
    return disk if disk.backendtype else disk.replace(backendtype=DiskBackend.QDISK)


def _field(name: str, config: DomainConfig, said: DomainConfig) -> Iterator[Loss]:
    meaning = MEANINGS.get(name, attrgetter(name))
    ours, theirs = meaning(config), meaning(said)
    if ours == theirs:
        return
    known = settings_of(DomainConfig)[name]
    elsewhere = f"does not apply to {_A[config.type]} guest" if known.guests and config.type not in known.guests else ""
    if name in _SWITCHED and config.type is DomainType.HVM and ours.enable and not theirs.enable:
        yield _loss(f"{name}.enable", True)
        return
    if name in _SWITCHED and not ours.enable:
        elsewhere = elsewhere or f"libvirt has no settings of {_SWITCHED[name]} that is off"
    if name == "disks" and (booted := _other_boot_disk(config, ours, theirs)) is not None:
        yield _loss("disks[0]", booted, BOOT_DISK)
        theirs = tuple(sorted(theirs, key=lambda disk: disk.vdev != booted.vdev))
    if (sayable := _SAYABLE.get(name)) is not None:
        places = disk_order(config) if name == "disks" else range(len(ours))
        yield from _listed(name, places, ours, theirs, sayable)
    else:
        yield from _compare(name, ours, theirs, elsewhere, known.secret)


def _other_boot_disk(config: DomainConfig, ours: tuple[Disk, ...], theirs: tuple[Disk, ...]) -> Disk | None:
    """Return the disk that a boot loader looks at, if it would look at another one of those in XML."""
    first, there = next(iter(ours), None), next(filter(disk_sayable, theirs), None)
    if not boots_from_disk(config) or first is None or there is None or not disk_sayable(first):
        return None
    return first if first.vdev != there.vdev else None


def _listed(
    name: str,
    places: Sequence[int],
    ours: tuple[Any, ...],
    theirs: tuple[Any, ...],
    sayable: Callable[[Any], bool],
) -> Iterator[Loss]:
    rest = iter([item for item in theirs if sayable(item)])
    left_alone = [item for item in theirs if not sayable(item)]  # devices in a patched document that were left alone
    for place, item in zip(places, ours, strict=True):
        path = f"{name}[{place}]"
        if not sayable(item) and item in left_alone:
            left_alone.remove(item)
            continue
        there = next(rest, None) if sayable(item) else None
        if there is None:
            yield _loss(path, item)
        else:
            yield from _compare(path, item, there)


def _compare(
    path: str, ours: Any, theirs: Any, reason: str = "", secret: Callable[[str], str] | None = None
) -> Iterator[Loss]:
    if ours == theirs:
        return
    if isinstance(ours, Part) and type(ours) is type(theirs):
        for name, known in settings_of(type(ours)).items():
            yield from _compare(f"{path}.{name}", getattr(ours, name), getattr(theirs, name), reason, known.secret)
    elif isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) >= len(theirs) and _parts(ours):
        for index, item in enumerate(ours):
            there = theirs[index] if index < len(theirs) else None
            yield from _compare(f"{path}[{index}]", item, there, reason, secret)
    else:
        yield _loss(path, ours, reason, secret)


def _parts(items: tuple[Any, ...]) -> bool:
    return any(isinstance(item, Part) for item in items)


def _loss(path: str, value: Any, reason: str = "", secret: Callable[[str], str] | None = None) -> Loss:
    if secret is not None and value is not None:
        value = tuple(map(secret, value)) if isinstance(value, tuple) else secret(str(value))
    if isinstance(value, str) and _NOT_XML.search(value):
        reason = "XML cannot hold control characters, nor bytes that are not UTF-8"
    return Loss(path, shown(value), reason or _reason(path))


def _reason(path: str) -> str:
    """Return the reason for a path: the field's own, or that of the nearest enclosing part that has one.

    A reason for whole devices does not apply to their individual settings.
    """
    kind = _INDEX.sub("", path)
    if kind in REASONS:
        return REASONS[kind]
    while "." in kind:
        kind = kind.rpartition(".")[0]
        if kind in REASONS and kind not in _SAYABLE:
            return REASONS[kind]
    return DEFAULT_REASON
