"""Folders shared by the 9pfs protocol (xl.cfg ``p9``)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, filename, integer, member, text, yes_or_no
from pyxen.config.device import Device
from pyxen.config.enum_names import P9TypeName
from pyxen.config.enums import P9Type

__all__ = ["P9"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class P9(Device):
    """A folder of the host shared by the 9pfs protocol, as one item of xl.cfg's ``p9``."""

    tag: str | None = setting(None, text)
    """Name by which the guest mounts it."""
    path: Coerced[str | None, str | os.PathLike[str] | None] = setting(None, filename)
    """The folder. Default with ``type="xen_9pfsd"``: one under Xen's log folder, named after the domain."""
    security_model: str | None = setting(None, text)
    """How QEMU keeps owners and modes; ``none`` is the one that works."""
    type: Coerced[P9Type | None, P9Type | P9TypeName | None] = setting(None, member(P9Type), since="4.19")
    """Who serves it: ``qemu`` (default) or ``xen_9pfsd``. Xen 4.19."""
    max_space: int = setting(0, integer(0, INT_MAX), key="max-space", since="4.19", unit="MiB")
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
