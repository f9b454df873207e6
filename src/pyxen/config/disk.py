"""Disks and CD-ROM drives (xl.cfg ``disk``)."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import (
    UINT32_MAX,
    UINT64_MAX,
    filename,
    flag,
    hide_keys,
    integer,
    member,
    part,
    text,
    yes_or_no,
)
from pyxen.config.device import Device
from pyxen.config.enum_names import DiskBackendName, DiskFormatName, DiskSpecificationName, VirtioTransportName
from pyxen.config.enums import DiskBackend, DiskFormat, DiskSpecification, VirtioTransport

__all__ = ["Disk", "DiskColo"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class DiskColo(Part):
    """Replication of a disk by COLO; libxl calls these settings unstable."""

    enable: bool | None = setting(None, flag, key="colo")
    """Whether to replicate (xl.cfg ``colo``, ``no-colo``)."""
    restore_enable: bool | None = setting(None, flag, key="")
    """Set by libxl on the receiving host; xl.cfg cannot say it."""
    host: str | None = setting(None, text, key="colo-host")
    """Address of the secondary host."""
    port: int = setting(0, integer(0, 65535), key="colo-port")
    """Port on the secondary host; 0 means no port."""
    export: str | None = setting(None, text, key="colo-export")
    """Name of the NBD export on the secondary host."""
    active_disk: str | None = setting(None, filename, key="active-disk")
    """Overlay that takes the secondary's writes."""
    hidden_disk: str | None = setting(None, filename, key="hidden-disk")
    """Overlay that keeps what the primary overwrites."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Disk(Device):
    """A disk or CD-ROM drive, as one item of xl.cfg's ``disk``: ``Disk("/dev/vg0/web1", vdev="xvda")``."""

    target: Coerced[str | None, str | os.PathLike[str] | None] = setting(None, filename, secret=hide_keys)
    """Block device or image file in the backend domain; None or "" for a CD-ROM drive with no disc in it."""
    _: KW_ONLY
    vdev: str | None = setting(None, text)
    """Name of the disk in the guest: ``xvda``, ``hda``, ``sda``, ``d0p0``. xl demands it."""
    format: Coerced[DiskFormat, DiskFormat | DiskFormatName] = setting(DiskFormat.RAW, member(DiskFormat))
    """Layout of the target. Default ``raw``; a CD-ROM drive without target is ``empty``, as in xl."""
    readonly: bool | None = setting(None, flag, key="access")
    """Whether the guest may only read (xl.cfg ``access=ro``). None: a CD-ROM is read-only, a disk is not."""
    cdrom: bool = setting(False, yes_or_no, key="devtype")
    """Whether it is a CD-ROM drive (xl.cfg ``devtype=cdrom``); HVM guests."""
    removable: bool | None = setting(None, flag, key="")
    """Whether the medium can be taken out. None: as xl, for CD-ROM drives only."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves the disk (a driver domain). Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves the disk, where it has no name here."""
    backendtype: Coerced[DiskBackend | None, DiskBackend | DiskBackendName | None] = setting(None, member(DiskBackend))
    """Who serves the disk: ``phy``, ``tap``, ``qdisk``, ``standalone``. Default: libxl finds one that can."""
    script: str | None = setting(None, text)
    """Hotplug script that makes the target available, e.g. ``block-iscsi``; the target is then its argument."""
    direct_io_safe: bool = setting(False, yes_or_no, key="direct-io-safe")
    """Whether the host may use direct I/O with the guest's pages (the kernel bug of old network storage is absent)."""
    discard: bool | None = setting(None, flag)
    """Whether the guest may discard blocks (xl.cfg ``discard``, ``no-discard``). Default: libxl says yes to disks."""
    specification: Coerced[DiskSpecification | None, DiskSpecification | DiskSpecificationName | None] = setting(
        None, member(DiskSpecification)
    )
    """Protocol: ``xen`` (default) or ``virtio`` (with ``backendtype="standalone"``)."""
    transport: Coerced[VirtioTransport | None, VirtioTransport | VirtioTransportName | None] = setting(
        None, member(VirtioTransport), key=""
    )
    """How a virtio disk is attached; libxl fills it in."""
    trusted: bool | None = setting(None, flag)
    """Whether the frontend trusts the backend (xl.cfg ``trusted``, ``untrusted``). xl takes it from Xen 4.19."""
    grant_usage: bool | None = setting(None, flag, since="4.19")
    """Whether a virtio disk uses grants. Default: when the backend is not dom0. Xen 4.19."""
    irq: int = setting(0, integer(0, UINT32_MAX), key="")
    """Interrupt of a virtio disk; libxl's own, seen in the configuration of a running domain."""
    base: int = setting(0, integer(0, UINT64_MAX), key="")
    """Address of a virtio disk's registers; libxl's own, seen in the configuration of a running domain."""
    colo: DiskColo = setting(DiskColo(), part(DiskColo))
    """Replication by COLO."""

    def __post_init__(self) -> None:
        super(Disk, self).__post_init__()
        if self.cdrom and not self.target:
            object.__setattr__(self, "format", DiskFormat.EMPTY)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; a disc put into an empty drive is ``raw`` unless said otherwise."""
        if self.format is DiskFormat.EMPTY and changes.get("target") and "format" not in changes:
            changes["format"] = DiskFormat.RAW
        return super(Disk, self).replace(**changes)
