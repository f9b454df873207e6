"""Byte streams between guest and host (xl.cfg ``channel``)."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, filename, integer, member, text
from pyxen.config.device import Device
from pyxen.config.enum_names import ChannelConnectionName
from pyxen.config.enums import ChannelConnection

__all__ = ["Channel"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Channel(Device):
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
