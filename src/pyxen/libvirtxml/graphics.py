"""``<graphics>``: VNC, SPICE and SDL. They show an HVM guest's emulated card, and other guests' framebuffers."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, Sdl, Spice, Vfb, Vnc
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import HOST, fitting, is_address

__all__ = ["read", "vfb_sayable", "write"]

_VNC_PORTS: Final = 5900
_LARGEST_PORT: Final = 65535
_MODES: Final = {"server": False, "client": True}


def read(devices: Node, found: XmlReadState) -> None:
    """Read the kinds of graphics that Xen supports."""
    for node in devices.children:
        if node.tag != "graphics":
            continue
        kind = node.attributes.get("type")
        if kind == "spice" and found.is_hvm and "spice" not in found.fields:
            _start(node)
            found.put("spice", _read_spice(node, found), node)
        elif kind in ("vnc", "sdl"):
            _read_either(node, kind, found)
    if found.is_hvm and "vnc" not in found.fields:
        found.put("vnc", Vnc(enable=False), devices)


def _start(node: Node) -> None:
    node.taken = True
    node.get("type")


def _read_either(node: Node, kind: str, found: XmlReadState) -> None:
    if found.is_hvm and kind in found.fields:
        return
    _start(node)
    vnc = _read_vnc(node, found) if kind == "vnc" else None
    sdl = _read_sdl(node, found) if kind == "sdl" else None
    keymap = node.get("keymap")
    if found.is_hvm:
        found.put("vnc", vnc, node)
        found.put("sdl", sdl, node)
        found.put("keymap", keymap, node)
    else:
        found.append("vfbs", found.make(Vfb, node, vnc=vnc or Vnc(enable=False), sdl=sdl, keymap=keymap))


def _read_listen(node: Node) -> str | None:
    address = node.get("listen")
    for listen in node.children:
        if listen.tag == "listen" and listen.attributes.get("type") == "address":
            listen.taken = True
            listen.get("type")
            address = listen.get("address") or address
            break
    return address


def _read_vnc(node: Node, found: XmlReadState) -> Vnc:
    port = node.number("port", -1, _LARGEST_PORT)
    auto = node.switch("autoport", default=port is None or port <= 0)
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
    found.put("keymap", node.get("keymap"), node)
    return found.make(
        Spice,
        node,
        enable=True,
        host=_read_listen(node),
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
    if config.spice.enable:
        _write_spice(config.spice, config.keymap, devices)
    if config.vnc.enable is not False:
        _write_vnc(config.vnc, None if config.spice.enable else config.keymap, devices)
    if config.sdl.enable:
        _write_sdl(config.sdl, devices)


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
    _write_listen(spice.host, node)
    node.set(passwd=None if spice.disable_ticketing else spice.passwd, keymap=keymap)
    if spice.agent_mouse is False:
        node.add("mouse", mode="server")
    elif spice.vdagent:
        node.add("mouse", mode="client")
    node.add("clipboard", copypaste="yes" if spice.clipboard_sharing else "no")
