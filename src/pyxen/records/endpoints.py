"""Endpoints of a running domain: screens, consoles and channels that a program can connect to."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from pyxen.config import ChannelConnection
from pyxen.records.base import Record

__all__ = [
    "ChannelEndpoint",
    "ConsoleEndpoint",
    "ConsoleType",
    "ConsoleTypeName",
    "Endpoints",
    "SpiceEndpoint",
    "VncEndpoint",
]


class ConsoleType(StrEnum):
    """What a console is in the guest, by the names of ``xl console -t``."""

    PV = "pv"
    """A paravirtual console, ``hvc0`` in Linux."""
    SERIAL = "serial"
    """An emulated serial port, ``ttyS0`` in Linux; HVM guests."""


ConsoleTypeName: TypeAlias = Literal["pv", "serial"]
"""The names of the types of consoles, for type checkers."""


@dataclass(frozen=True, slots=True)
class VncEndpoint(Record):
    """A VNC server, to which ``xl vncviewer`` connects. `repr` does not show the password, `to_dict` does."""

    address: str
    """Address that it listens on, e.g. ``127.0.0.1`` or ``::``; the path if it listens on a Unix socket."""
    port: int | None
    """TCP port, 5900 plus the display number; None for a Unix socket."""
    password: str | None = field(default=None, repr=False)
    """Password; None if clients need no password, or the backend does not know it."""


@dataclass(frozen=True, slots=True)
class SpiceEndpoint(Record):
    """A SPICE server. `repr` does not show the password, `to_dict` does."""

    address: str | None
    """Address that it listens on; None for all addresses."""
    port: int | None
    """TCP port without TLS; None if there is no such port."""
    tls_port: int | None
    """TCP port with TLS; None if there is no such port."""
    password: str | None = field(default=None, repr=False)
    """Password; None if clients need no password, or the backend does not know it: `needs_password` tells."""
    _: KW_ONLY
    needs_password: bool
    """Whether clients need a password."""


@dataclass(frozen=True, slots=True)
class ConsoleEndpoint(Record):
    """A console on a terminal of the host, which ``xl console -t TYPE -n NUMBER`` opens."""

    type: ConsoleType
    """``pv`` or ``serial``."""
    number: int
    """Number among the consoles of this type, from 0."""
    path: str
    """Terminal on the host, e.g. ``/dev/pts/3``. Open it with `os.O_NOCTTY`: else a daemon gets SIGHUP when it ends."""


@dataclass(frozen=True, slots=True)
class ChannelEndpoint(Record):
    """The host's end of a channel, as a line of ``xl channel-list``."""

    name: str
    """Name by which software in the guest finds it, e.g. ``org.qemu.guest_agent.0``."""
    devid: int
    """Number of its console in the guest, from 1; from 0 where the backend counts channels only."""
    connection: ChannelConnection
    """``pty`` or ``socket``."""
    path: str
    """Terminal, or Unix socket, in the domain that serves it."""
    backend_domid: int = 0
    """Domid of the domain that serves it."""


@dataclass(frozen=True, slots=True)
class Endpoints(Record):
    """What a program can connect to in a running domain, as it is now; see `Domain.endpoints`."""

    vnc: VncEndpoint | None
    """Its VNC server; None if there is none."""
    spice: SpiceEndpoint | None
    """Its SPICE server; None if there is none."""
    consoles: tuple[ConsoleEndpoint, ...]
    """Its consoles, ordered by type and number."""
    channels: tuple[ChannelEndpoint, ...]
    """Its channels, ordered by devid."""
