"""The table of device kinds: their names and places in a configuration, in libxl and in xenstore.

Codecs and backends take from here everything about a kind except its settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pyxen.config.channel import Channel
from pyxen.config.device import Device
from pyxen.config.disk import Disk
from pyxen.config.media import Vdispl, Vsnd
from pyxen.config.p9 import P9
from pyxen.config.pci import Pci
from pyxen.config.pvcalls import Pvcalls
from pyxen.config.usb import UsbCtrl, UsbDev
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import Vif
from pyxen.config.virtio import Virtio
from pyxen.config.vtpm import Vtpm

__all__ = ["CONSOLES", "KINDS", "NUMBERED_BY_XL", "SERVED", "WITH_NUMBERS", "Kind"]

_NUMBER: Final = (("devid",),)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of device, here, in libxl and in a configuration."""

    part: type[Device]
    """Its class."""
    noun: str
    """Its name in messages."""
    field: str
    """Field of `DomainConfig` with the devices of this kind."""
    libxl: str
    """Its name in libxl, as in ``libxl_device_disk``, ``libxl_device_disk_list`` …"""
    node: str | None
    """Its name in events and in xenstore, ``/libxl/DOMID/device/NODE``; None if it has no entry there."""
    names: tuple[tuple[str, ...], ...] = _NUMBER
    """Alternative sets of fields, each of which identifies a device among those of the domain."""
    numbered_by: Literal["xl", "libxl"] | None = None
    """Who assigns a missing ``devid``: xl, by the place in the list, or libxl; None if the kind has no ``devid``."""
    served: bool = True
    """Whether another domain can serve it: it has ``backend`` and ``backend_domid``."""
    hot: bool = True
    """Whether it can be attached to and detached from a running domain."""
    listed: bool = True
    """Whether libxl has a function that lists the devices of a domain; otherwise xenstore has to be read."""
    add: str = ""
    """libxl's function that attaches a device, if its name does not follow the pattern."""

    json: str = ""
    """Member of ``libxl_domain_config`` with the devices of this kind, if it is not `libxl` plus an s."""

    @property
    def member(self) -> str:
        """Member of ``libxl_domain_config`` with the devices of this kind."""
        return self.json or f"{self.libxl}s"

    @property
    def ctype(self) -> str:
        """Name of libxl's structure."""
        return f"libxl_device_{self.libxl}"


_USB_NAMES: Final = (("hostbus", "hostaddr"), ("controller", "port"))

KINDS: Final = (
    Kind(Disk, "disk", "disks", "disk", "vbd", names=(("vdev",),)),
    Kind(Vif, "vif", "vifs", "nic", "vif", names=(("mac",), ("devid",)), numbered_by="xl"),
    Kind(Pci, "PCI device", "pcis", "pci", "pci", names=(("address",),), served=False, json="pcidevs"),
    Kind(Vfb, "frame buffer", "vfbs", "vfb", "vfb", numbered_by="xl", listed=False),
    Kind(Virtio, "virtio device", "virtios", "virtio", "virtio", numbered_by="xl", hot=False),
    Kind(Vtpm, "vTPM", "vtpms", "vtpm", "vtpm", names=(("uuid",), ("devid",)), numbered_by="xl"),
    Kind(P9, "shared folder", "p9s", "p9", "9pfs", numbered_by="libxl", listed=False, add="libxl_device_9pfs_add"),
    Kind(Pvcalls, "pvcalls", "pvcalls", "pvcallsif", "pvcalls", numbered_by="xl", listed=False),
    Kind(Vdispl, "display", "vdispls", "vdispl", "vdispl", numbered_by="xl"),
    Kind(Vsnd, "sound card", "vsnds", "vsnd", "vsnd", numbered_by="xl"),
    Kind(Channel, "channel", "channels", "channel", "console", hot=False),
    Kind(UsbCtrl, "USB controller", "usbctrls", "usbctrl", "vusb", numbered_by="xl"),
    Kind(UsbDev, "USB device", "usbdevs", "usbdev", None, names=_USB_NAMES, served=False),
    Kind(Vkb, "keyboard", "vkbs", "vkb", "vkbd", numbered_by="libxl"),
)
"""All kinds, in the order in which libxl's JSON has them. (A channel is a console, and those count from the first.)"""

CONSOLES: Final = Kind(Channel, "console", "consoles", "console", "console", hot=False)
"""The consoles of a domain: channels without a name. A configuration does not list them."""

NUMBERED_BY_XL: Final = tuple(kind.field for kind in KINDS if kind.numbered_by == "xl")
"""Fields whose devices xl numbers by their place in the list; libxl numbers the others."""

WITH_NUMBERS: Final = tuple(kind.field for kind in KINDS if kind.numbered_by is not None)
"""Fields whose devices have a number when the domain runs."""

SERVED: Final = tuple(kind.field for kind in KINDS if kind.served)
"""Fields whose devices another domain can serve."""
