"""Endpoints of a simulated domain: what libxl and QEMU would make of its configuration. Nothing listens there."""

from __future__ import annotations

from typing import Final

from pyxen.backends.memory.guests import Guest, is_hvm, terminal
from pyxen.backends.memory.machine import Machine
from pyxen.config import ChannelConnection, Vnc
from pyxen.records.endpoints import ChannelEndpoint, ConsoleEndpoint, ConsoleType, Endpoints, SpiceEndpoint, VncEndpoint

__all__ = ["endpoints"]

_FIRST_PORT: Final = 5900
_LAST_PORT: Final = _FIRST_PORT + 99  # how far QEMU looks for a free one


def endpoints(machine: Machine, guest: Guest) -> Endpoints:
    """Return what a program could connect to in a domain. The caller holds the lock of the machine."""
    if not guest.domid:
        return Endpoints(None, None, (), ())
    serial = [number for number, port in enumerate(guest.config.serial) if port == "pty"]
    keys = [(ConsoleType.PV, 0), *((ConsoleType.SERIAL, number) for number in serial)]
    consoles = [ConsoleEndpoint(*key, terminal(guest, place)) for place, key in enumerate(keys)]
    channels = []
    for number, channel in enumerate(guest.config.channels, 1):
        devid = channel.devid or number
        path = channel.path if channel.connection is ChannelConnection.SOCKET else terminal(guest, len(keys) + number)
        if channel.name and channel.connection and path:
            end = ChannelEndpoint(channel.name, devid, channel.connection, path, channel.backend_domid)
            channels.append(end)
    return Endpoints(
        vnc=_vnc(machine, guest),
        spice=_spice(guest),
        consoles=tuple(consoles),
        channels=tuple(sorted(channels, key=lambda channel: channel.devid)),
    )


def _vnc(machine: Machine, guest: Guest) -> VncEndpoint | None:
    config = guest.config
    vnc = config.vnc if is_hvm(guest) else config.vfbs[0].vnc if config.vfbs else Vnc(enable=False)
    if vnc.enable is False:
        return None
    address, colon, display = (vnc.listen or "127.0.0.1").rpartition(":")
    if not colon:
        address, display = display, str(vnc.display)
    if address == "unix":
        return VncEndpoint(display, None, vnc.passwd or None)
    if guest.vnc_port is None:
        port = _FIRST_PORT + (int(display) if display.isdecimal() else 0)
        if vnc.unused is not False:
            taken = {other.vnc_port for other in machine.domains.values()}
            port = next((free for free in range(port, _LAST_PORT + 1) if free not in taken), port)
        guest.vnc_port = port
    return VncEndpoint(address.strip("[]"), guest.vnc_port, vnc.passwd or None)


def _spice(guest: Guest) -> SpiceEndpoint | None:
    spice = guest.config.spice
    if not is_hvm(guest) or not spice.enable:
        return None
    password = None if spice.disable_ticketing else spice.passwd
    return SpiceEndpoint(
        spice.host, spice.port or None, spice.tls_port or None, password, needs_password=not spice.disable_ticketing
    )
