"""The grammars of devices: how one item of ``disk``, ``vif``, ``pci`` … is read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pyxen.config import (
    P9,
    Channel,
    Device,
    Disk,
    Pci,
    Pvcalls,
    UsbCtrl,
    UsbDev,
    Vdispl,
    Vfb,
    Vif,
    Virtio,
    Vkb,
    Vsnd,
    Vtpm,
)
from pyxen.xlcfg import channel, media, p9, pci, pvcalls, usb, vfb, vif, virtio, vtpm
from pyxen.xlcfg.disk import read_disk, write_disk
from pyxen.xlcfg.item_grammar import Note
from pyxen.xlcfg.values import Settable

__all__ = ["GRAMMARS", "Grammar"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """The grammar of one kind of device.

    Attributes:
        key: Its key in xl.cfg.
        part: Its class.
        read: Reads an item, a string (of ``vsnd`` a list of strings); words that xl ignores go to the second argument.
            Raises `SpecError` or `ValidationError` where xl would refuse it.
        write: Writes a device, as far as the grammar has words for it.
    """

    key: str
    part: type[Device]
    read: Callable[[Any, Note], Device]
    write: Callable[[Any], Settable]


_TABLE: Final = (
    Grammar("disk", Disk, read_disk, write_disk),
    Grammar("vif", Vif, vif.read_vif, vif.write_vif),
    Grammar("vfb", Vfb, vfb.read_vfb, vfb.write_vfb),
    Grammar("vkb", Vkb, vfb.read_vkb, vfb.write_vkb),
    Grammar("pci", Pci, pci.read_pci, pci.write_pci),
    Grammar("usbctrl", UsbCtrl, usb.read_usbctrl, usb.write_usbctrl),
    Grammar("usbdev", UsbDev, usb.read_usbdev, usb.write_usbdev),
    Grammar("channel", Channel, channel.read_channel, channel.write_channel),
    Grammar("p9", P9, p9.read_p9, p9.write_p9),
    Grammar("pvcalls", Pvcalls, pvcalls.read_pvcalls, pvcalls.write_pvcalls),
    Grammar("vtpm", Vtpm, vtpm.read_vtpm, vtpm.write_vtpm),
    Grammar("vdispl", Vdispl, media.read_vdispl, media.write_vdispl),
    Grammar("vsnd", Vsnd, media.read_vsnd, media.write_vsnd),
    Grammar("virtio", Virtio, virtio.read_virtio, virtio.write_virtio),
)

GRAMMARS: Final = {grammar.key: grammar for grammar in _TABLE}
"""Every grammar by its key."""
