"""``<graphics>``: VNC, SPICE and SDL. They show an HVM guest's emulated card, and other guests' framebuffers."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, Sdl, Spice, Vfb, Vnc
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import HOST, fitting, is_address
from pyxen.losses import Loss

__all__ = ["ANYWHERE", "ONE_SCREEN", "read", "vfb_sayable", "was_asked_for", "write"]

ANYWHERE: Final = "0.0.0.0"  # noqa: S104 (xl's default for SPICE)
"""Where a SPICE server of libxl's listens unless it has an address; one of libvirt's driver listens on `_HERE`."""
_HERE: Final = "127.0.0.1"

ONE_SCREEN: Final = "libvirt's Xen driver turns on one screen of an HVM guest: SPICE, or else the first <graphics>"
"""Why a screen is lost beside another one."""

_VNC_PORTS: Final = 5900
_LARGEST_PORT: Final = 65535
_KINDS: Final = ("spice", "vnc", "sdl")
_MODES: Final = {"server": False, "client": True}


def read(devices: Node, found: XmlReadState) -> None:
    """Read the screen of an HVM guest, or the framebuffers of another one."""
    graphics = [node for node in devices.named("graphics") if node.attributes.get("type") in _KINDS]
    if found.is_hvm:
        _read_screen(graphics, devices, found)
        return
    for node in graphics:
        if node.attributes["type"] != "spice":
            vnc, sdl, _ = _read_one(node, found)
            keymap = node.get("keymap") if sdl is None else None
            found.append("vfbs", found.make(Vfb, node, vnc=vnc or Vnc(enable=False), sdl=sdl, keymap=keymap))


def _read_screen(graphics: list[Node], devices: Node, found: XmlReadState) -> None:
    """Read the one screen that libvirt's Xen driver turns on: SPICE if there is one, or else the first."""
    servers = [node for node in graphics if node.attributes["type"] == "spice"]
    shown = next(iter(servers or graphics), None)
    if shown is None:
        found.put("vnc", Vnc(enable=False), devices)
        return
    vnc, sdl, spice = _read_one(shown, found)
    found.put("vnc", vnc or Vnc(enable=False), shown)
    found.put("sdl", sdl, shown)
    found.put("spice", spice, shown)
    if sdl is None:
        found.put("keymap", shown.get("keymap"), shown)


def _read_one(node: Node, found: XmlReadState) -> tuple[Vnc | None, Sdl | None, Spice | None]:
    node.taken = True
    kind = node.get("type")
    return (
        _read_vnc(node, found) if kind == "vnc" else None,
        _read_sdl(node, found) if kind == "sdl" else None,
        _read_spice(node, found) if kind == "spice" else None,
    )


def _read_listen(node: Node) -> str | None:
    """Return the address that a server listens on; None if none is said.

    libvirt's Xen driver looks at the first ``<listen>`` alone, and has no address of one that is a network or a socket.
    """
    listen = next(iter(node.named("listen")), None)
    if listen is None:
        return node.get("listen") or None
    if listen.attributes.get("type") != "address":
        return None
    listen.taken = True
    listen.get("type")
    address = listen.get("address")
    if not address or node.attributes.get("listen") == address:
        return node.get("listen") or None
    return address


def _read_vnc(node: Node, found: XmlReadState) -> Vnc:
    port = node.number("port", -1, _LARGEST_PORT)
    auto = node.switch("autoport", default=port in (None, -1))
    if not auto and port in (None, -1, 0):
        # No display has this port. What libvirt prints of it is read: libxl chooses a free display, with a loss.
        node.set(port=port, autoport="no" if port is None else None)
        auto = True
    if not auto and (port is None or port < _VNC_PORTS):
        raise node.wrong(f"its port {port} is not valid; Xen's displays begin at port {_VNC_PORTS}")
    return found.make(
        Vnc,
        node,
        enable=True,
        unused=bool(auto),
        display=0 if auto or port is None else port - _VNC_PORTS,
        listen=_read_listen(node),
        passwd=node.get("passwd"),
    )


def _read_sdl(node: Node, found: XmlReadState) -> Sdl:
    return found.make(Sdl, node, enable=True, display=node.get("display"), xauthority=node.get("xauth"))


def _read_spice(node: Node, found: XmlReadState) -> Spice:
    port, tls_port = node.number("port", -1, _LARGEST_PORT) or 0, node.number("tlsPort", -1, _LARGEST_PORT) or 0
    if node.switch("autoport", default=False):
        port = tls_port = 0  # libvirt chooses one at each start
    mouse, clipboard = node.child("mouse"), node.child("clipboard")
    mode = mouse.get("mode") if mouse is not None else None
    if mode is not None and mode not in _MODES:
        raise node.wrong(f"{mode!r} is not a valid mouse mode; use server or client")
    sharing = clipboard.switch("copypaste", default=False) if clipboard is not None else False
    passwd = node.get("passwd")
    return found.make(
        Spice,
        node,
        enable=True,
        host=_read_listen(node) or _HERE,
        port=max(port, 0),
        tls_port=max(tls_port, 0),
        passwd=passwd,
        disable_ticketing=passwd is None,
        agent_mouse=_MODES.get(mode or "", True),
        # The client's pointer and clipboard both need the agent's channel.
        vdagent=bool(sharing) or mode == "client",
        clipboard_sharing=sharing,
    )


def vfb_sayable(vfb: Vfb) -> bool:
    """Whether libvirt's XML can express a framebuffer: it needs VNC or SDL."""
    return vfb.vnc.enable is not False or bool(vfb.sdl.enable)


def write(config: DomainConfig, devices: Node) -> None:
    """Write the graphics."""
    if config.type is not DomainType.HVM:
        for vfb in config.vfbs:
            if vfb.vnc.enable is not False:
                _write_vnc(vfb.vnc, vfb.keymap, devices)
            elif vfb.sdl.enable:
                _write_sdl(vfb.sdl, devices)
        return
    shown = _shown(config)
    if shown == "spice":
        _write_spice(config.spice, config.keymap, devices)
    elif shown == "vnc":
        _write_vnc(config.vnc, config.keymap, devices)
    elif shown == "sdl":
        _write_sdl(config.sdl, devices)


def _shown(config: DomainConfig) -> str | None:
    """Return the screen of an HVM guest that is written: libvirt has one, and a VNC server by default is the last."""
    if config.spice.enable:
        return "spice"
    if config.vnc.enable:
        return "vnc"
    if config.sdl.enable:
        return "sdl"
    return "vnc" if config.vnc.enable is None else None


def was_asked_for(loss: Loss, config: DomainConfig) -> bool:
    """Whether a configuration says itself what is lost: a VNC server beside another screen is often libxl's default."""
    return loss.path != "vnc.enable" or config.vnc != Vnc()


def _write_vnc(vnc: Vnc, keymap: str | None, devices: Node) -> None:
    port = vnc.display + _VNC_PORTS
    node = devices.add("graphics", type="vnc")
    if vnc.unused is False and port <= _LARGEST_PORT:
        node.set(port=port, autoport="no")
    else:
        node.set(port=-1, autoport="yes")
    _write_listen(vnc.listen, node)
    node.set(passwd=vnc.passwd, keymap=keymap)


def _write_listen(address: str | None, node: Node) -> None:
    if fitting(address, HOST) and (":" not in (address or "") or is_address(address or "")):
        node.set(listen=address).add("listen", type="address", address=address)


def _write_sdl(sdl: Sdl, devices: Node) -> None:
    devices.add("graphics", type="sdl", display=sdl.display, xauth=sdl.xauthority)


def _write_spice(spice: Spice, keymap: str | None, devices: Node) -> None:
    node = devices.add("graphics", type="spice")
    if spice.port or spice.tls_port:
        node.set(port=spice.port or None, tlsPort=spice.tls_port or None, autoport="no")
    else:
        node.set(autoport="yes")
    _write_listen(spice.host or ANYWHERE, node)
    node.set(passwd=None if spice.disable_ticketing else spice.passwd, keymap=keymap)
    if spice.agent_mouse is False:
        node.add("mouse", mode="server")
    elif spice.vdagent:
        node.add("mouse", mode="client")
    node.add("clipboard", copypaste="yes" if spice.clipboard_sharing else "no")
