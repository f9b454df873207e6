"""Endpoints of a running domain, from libvirt's XML of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lxml import etree

from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.config import ChannelConnection
from pyxen.libvirtxml.document import XEN
from pyxen.libvirtxml.text import parse_tree
from pyxen.records.endpoints import ChannelEndpoint, ConsoleEndpoint, ConsoleType, Endpoints, SpiceEndpoint, VncEndpoint

__all__ = ["endpoints", "endpoints_of"]

_SECURE: Final = number("VIR_DOMAIN_XML_SECURE")
_CONNECTIONS: Final = {"pty": ChannelConnection.PTY, "unix": ChannelConnection.SOCKET}
_HERE: Final = "127.0.0.1"
_MOST_PORT: Final = 65535


def endpoints(domain: VirDomain) -> Endpoints:
    """Return what a program can connect to in a domain."""
    return endpoints_of(domain.XMLDesc(_SECURE))


def endpoints_of(xml: str) -> Endpoints:
    """Return what the XML of a running domain says of its endpoints."""
    root = parse_tree(xml)
    screens = _screens(root)
    consoles = {(console.type, console.number): console for console in _consoles(root)}
    return Endpoints(
        vnc=_vnc(screens),
        spice=_spice(screens),
        consoles=tuple(console for _, console in sorted(consoles.items())),
        channels=tuple(_channels(root)),
    )


def _screens(root: etree._Element) -> dict[str | None, etree._Element]:
    """Return the screens that are on, by their types: libvirt's Xen driver turns on one of an HVM guest's."""
    screens = list(reversed(root.findall("devices/graphics")))
    if root.get("type") == XEN and root.findtext("os/type") == "hvm":
        screens = [one for one in screens if one.get("type") == "spice"] or screens
        screens = screens[-1:]
    return {one.get("type"): one for one in screens}


def _vnc(screens: dict[str | None, etree._Element]) -> VncEndpoint | None:
    graphics = screens.get("vnc")
    if graphics is None:
        return None
    password = graphics.get("passwd") or None
    path = graphics.get("socket") or _listens(graphics, "socket")
    if path:
        return VncEndpoint(path, None, password)
    port = _port(graphics, "port")
    return None if port is None else VncEndpoint(_listens(graphics, "address") or _HERE, port, password)


def _spice(screens: dict[str | None, etree._Element]) -> SpiceEndpoint | None:
    graphics = screens.get("spice")
    if graphics is None:
        return None
    port, tls_port = _port(graphics, "port"), _port(graphics, "tlsPort")
    if port is None and tls_port is None:
        return None
    password = graphics.get("passwd") or None
    address = _listens(graphics, "address") or _HERE
    return SpiceEndpoint(address, port, tls_port, password, needs_password=password is not None)


def _listens(graphics: etree._Element, name: str) -> str | None:
    """Return an attribute of where a server listens; ``address`` is also an attribute of its own, by another name."""
    found = (listen.get(name) for listen in graphics.iterfind("listen"))
    return next((value for value in found if value), graphics.get("listen") if name == "address" else None)


def _port(graphics: etree._Element, name: str) -> int | None:
    """Return a port; None if libvirt has not chosen it, which it writes as -1."""
    value = _number(graphics.get(name))
    return value if value is not None and 0 < value <= _MOST_PORT else None


def _consoles(root: etree._Element) -> Iterator[ConsoleEndpoint]:
    # The console of an HVM guest stands for its first serial port, and is listed besides it.
    for element in root.iterfind("devices/*[@type='pty']"):
        target = element.find("target")
        serial = element.tag == "serial" or (target is not None and target.get("type", "serial") == "serial")
        port, path = _number(None if target is None else target.get("port", "0")), _path(element)
        if element.tag in {"serial", "console"} and path and port is not None:
            yield ConsoleEndpoint(ConsoleType.SERIAL if serial else ConsoleType.PV, port, path)


def _channels(root: etree._Element) -> Iterator[ChannelEndpoint]:
    for place, element in enumerate(root.iterfind("devices/channel")):
        target = element.find("target[@type='xen']")
        connection, path = _CONNECTIONS.get(element.get("type", "")), _path(element)
        name = None if target is None else target.get("name")
        if connection is not None and name and path:
            yield ChannelEndpoint(name, place, connection, path)


def _path(element: etree._Element) -> str | None:
    source = element.find("source")
    return element.get("tty") if source is None else source.get("path")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None
