"""The smaller paravirtual devices: TPMs, file systems, sockets, serial channels, virtio."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from pyxen.config.base import Coerced, Part, setting
from pyxen.config.checks import (
    INT_MAX,
    UINT32_MAX,
    UINT64_MAX,
    filename,
    flag,
    integer,
    member,
    text,
    unique_id,
    yes_or_no,
)
from pyxen.config.enum_names import ChannelConnectionName, P9TypeName, VirtioTransportName
from pyxen.config.enums import ChannelConnection, P9Type, VirtioTransport

if TYPE_CHECKING:
    import uuid as uuids

__all__ = ["P9", "Channel", "Pvcalls", "Virtio", "Vtpm"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Vtpm(Part):
    """A virtual TPM served by a vTPM domain, as one item of xl.cfg's ``vtpm``."""

    backend: str | None = setting(None, text)
    """Name of the vTPM domain. xl demands it."""
    _: KW_ONLY
    uuid: Coerced[uuids.UUID | None, uuids.UUID | str | None] = setting(None, unique_id)
    """Which TPM of the manager it is. Default: a random one, so a new TPM."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the vTPM domain, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class P9(Part):
    """A folder of the host shared by the 9pfs protocol, as one item of xl.cfg's ``p9``."""

    tag: str | None = setting(None, text)
    """Name by which the guest mounts it."""
    path: Coerced[str | None, str | os.PathLike[str] | None] = setting(None, filename)
    """The folder. Default with ``type="xen_9pfsd"``: one under Xen's log folder, named after the domain."""
    security_model: str | None = setting(None, text)
    """How QEMU keeps owners and modes; ``none`` is the one that works."""
    type: Coerced[P9Type | None, P9Type | P9TypeName | None] = setting(None, member(P9Type), since="4.19")
    """Who serves it: ``qemu`` (default) or ``xen_9pfsd``. Xen 4.19."""
    max_space: int = setting(0, integer(0, INT_MAX), key="max-space", since="4.19")
    """Most that may be stored, in MiB; 0 means unlimited. ``xen_9pfsd`` only; Xen 4.19."""
    max_files: int = setting(0, integer(0, INT_MAX), key="max-files", since="4.19")
    """Most files; 0 means unlimited. ``xen_9pfsd`` only; Xen 4.19."""
    max_open_files: int = setting(0, integer(0, INT_MAX), key="max-open-files", since="4.19")
    """Most files open at a time; 0 is the server's default. ``xen_9pfsd`` only; Xen 4.19."""
    auto_delete: bool = setting(False, yes_or_no, key="auto-delete", since="4.19")
    """Whether old files are deleted to make room. ``xen_9pfsd`` only; Xen 4.19."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: libxl counts."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves it, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pvcalls(Part):
    """Sockets that another domain opens for the guest, as one item of xl.cfg's ``pvcalls``."""

    backend: str | None = setting(None, text)
    """Name of the domain that opens them. Default: dom0, or ``backend_domid``."""
    _: KW_ONLY
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that opens them, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Channel(Part):
    """A byte stream between guest and host, as one item of xl.cfg's ``channel``."""

    name: str | None = setting(None, text)
    """Name by which software in the guest finds it, e.g. ``org.qemu.guest_agent.0``."""
    _: KW_ONLY
    connection: Coerced[ChannelConnection | None, ChannelConnection | ChannelConnectionName | None] = setting(
        None, member(ChannelConnection)
    )
    """What it is on the host: ``pty``, or ``socket`` (then ``path`` is needed). xl demands it."""
    path: Coerced[str | None, str | os.PathLike[str] | None] = setting(None, filename)
    """The Unix socket that QEMU listens on, for ``connection="socket"``."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the console in the guest. Default: libxl counts."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves it, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Virtio(Part):
    """A virtio device served outside QEMU, as one item of xl.cfg's ``virtio``; Arm guests, Xen 4.18."""

    type: str | None = setting(None, text, since="4.18")
    """Its device tree name, e.g. ``virtio,device22`` for I2C, or ``virtio,device``."""
    transport: Coerced[VirtioTransport | None, VirtioTransport | VirtioTransportName | None] = setting(
        None, member(VirtioTransport), since="4.18"
    )
    """How it is attached: ``mmio``."""
    grant_usage: bool | None = setting(None, flag, since="4.18")
    """Whether it uses grants. Default: when the backend is not dom0."""
    irq: int = setting(0, integer(0, UINT32_MAX), key="", since="4.18")
    """Its interrupt; libxl's own, seen in the configuration of a running domain."""
    base: int = setting(0, integer(0, UINT64_MAX), key="", since="4.18")
    """Address of its registers; libxl's own, seen in the configuration of a running domain."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="", since="4.18")
    """Number of the device in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text, since="4.18")
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="", since="4.18")
    """Domid of the domain that serves it, where it has no name here."""
