"""``<serial>``, ``<console>`` and ``<channel>``: character devices."""

from __future__ import annotations

import re
from typing import Final

from pyxen.config import Channel, ChannelConnection, DomainConfig, DomainType
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import LINE, fitting

__all__ = ["NO_SERIAL", "channel_sayable", "is_serial", "read", "with_path", "write"]

NO_SERIAL: Final = "none"
"""An absent port in xl's list."""

_CHANNELS: Final = "/var/lib/libvirt/libxl/channel/target"
"""The folder where libvirt's Xen driver creates the socket of a channel without a path."""

_BARE: Final = ("null", "stdio", "vc", "pty")
_WITH_PATH: Final = ("file", "pipe")
_MOST_PORTS: Final = 1024
_SOCKET = re.compile(r"(tcp|telnet):([^:]*):([^,]+)(,server,nowait)?")
_UNIX = re.compile(r"unix:([^,]+)(,server,nowait)?")
_UDP = re.compile(r"udp:([^:]*):([^@]+)@([^:]*):(.+)")


def read(devices: Node, found: XmlReadState) -> None:
    """Read serial ports and channels. The console of a PV guest always exists, so it is not a setting."""
    for node in devices.children:
        if node.tag == "channel":
            _read_channel(node, found)
    if not found.is_hvm:
        for console in devices.all("console"):
            console.drop()
        return
    ports: dict[int, str] = {}
    serials = [node for node in devices.children if node.tag == "serial"]
    for node in serials:
        _read_serial(node, ports)
    if not serials:
        # Without a <serial>, the console is the first serial port.
        for console in devices.children:
            if console.tag == "console" and not ports and is_serial(console):
                _read_serial(console, ports)
    for console in devices.all("console"):
        console.drop()
    if ports:
        found.put("serial", [ports.get(port, NO_SERIAL) for port in range(max(ports) + 1)], devices)


def is_serial(console: Node) -> bool:
    """Whether a console stands for a serial port; one whose target is of type ``xen`` is the PV console."""
    return all(target.attributes.get("type", "serial") == "serial" for target in console.named("target"))


def _read_serial(node: Node, ports: dict[int, str]) -> None:
    target = node.child("target")
    port = target.number("port", 0, _MOST_PORTS) if target is not None else None
    text = _as_qemu(node)
    if text is None:
        return
    node.taken = True
    if target is not None:
        target.drop()
    while port is None or port in ports:
        port = len(ports) if port is None else port + 1
        if port > _MOST_PORTS:
            raise node.wrong(f"there is no free number for this port up to {_MOST_PORTS}")
    ports[port] = text


def _as_qemu(node: Node) -> str | None:
    """Return a character device in the syntax of QEMU's ``-serial``; None if Xen does not support it."""
    kind = node.attributes.get("type")
    sources = [child for child in node.children if child.tag == "source"]
    source = sources[0] if sources else Node("source")
    text = None
    if kind in _BARE:
        node.get("tty")
        if source.attributes.pop("path", None) is not None or kind == "pty":
            source.taken = True  # the terminal of a running domain
        text = kind
    elif kind in _WITH_PATH and "path" in source.attributes:
        text = f"{kind}:{source.get('path')}"
    elif kind == "dev" and "path" in source.attributes:
        text = source.get("path")
    elif kind == "unix" and "path" in source.attributes:
        listens = source.get("mode") == "bind"
        text = f"unix:{source.get('path')}{',server,nowait' if listens else ''}"
    elif kind == "tcp":
        text = _tcp_as_qemu(node, source)
    elif kind == "udp":
        text = _udp_as_qemu(sources)
    if text is not None:
        node.get("type")
        for one in sources:
            one.taken = True
    return text


def _tcp_as_qemu(node: Node, source: Node) -> str:
    protocol = node.child("protocol")
    telnet = protocol is not None and protocol.attributes.get("type") == "telnet"
    if protocol is not None and protocol.attributes.get("type", "raw") in ("raw", "telnet"):
        protocol.get("type")
    host, service = source.get("host") or "", source.get("service") or ""
    listens = source.get("mode") == "bind"
    return f"{'telnet' if telnet else 'tcp'}:{host}:{service}{',server,nowait' if listens else ''}"


def _udp_as_qemu(sources: list[Node]) -> str:
    ends = {"connect": ("", "0"), "bind": ("", "0")}
    for source in sources:
        mode = source.get("mode") or "connect"
        if mode in ends:
            ends[mode] = (source.get("host") or "", source.get("service") or "0")
    return f"udp:{ends['connect'][0]}:{ends['connect'][1]}@{ends['bind'][0]}:{ends['bind'][1]}"


def _read_channel(node: Node, found: XmlReadState) -> None:
    kind = node.attributes.get("type")
    target = next((child for child in node.children if child.tag == "target"), None)
    if target is None or target.attributes.get("type") != "xen" or kind not in ("pty", "unix"):
        return
    node.taken = target.taken = True
    node.get("type")
    target.get("type")
    target.get("state")
    source = node.child("source")
    path = source.get("path") if source is not None else None
    if source is not None:
        source.get("mode")
    connection = ChannelConnection.PTY if kind == "pty" else ChannelConnection.SOCKET
    name = target.get("name")
    if kind == "pty":
        path = None  # what stands there is the terminal of a running domain
    channel = found.make(Channel, node, name=name, connection=connection, path=path)
    found.append("channels", with_path(channel, str(found.fields.get("name"))))


def with_path(channel: Channel, domain: str) -> Channel:
    """Return a channel with the path that libvirt's Xen driver gives it, if it needs one and has none."""
    if channel.connection is not ChannelConnection.SOCKET or channel.path:
        return channel
    return channel.replace(path=f"{_CHANNELS}/{domain}-{channel.name or 'unknown.sock'}")


def channel_sayable(channel: Channel) -> bool:
    """Whether libvirt's XML can express a channel: the channel needs a connection type."""
    return channel.connection is not None


def write(config: DomainConfig, devices: Node) -> None:
    """Write serial ports and channels."""
    if config.type is DomainType.HVM:
        for port, text in enumerate(config.serial):
            if text != NO_SERIAL and (node := _add_serial(text, devices)) is not None:
                node.add("target", port=port)
    for channel in config.channels:
        if channel.connection is ChannelConnection.PTY:
            node = devices.add("channel", type="pty")
        elif channel.connection is ChannelConnection.SOCKET:
            node = devices.add("channel", type="unix")
            if channel.path:
                node.add("source", mode="bind", path=channel.path)
        else:
            continue
        node.add("target", type="xen", name=channel.name)


def _add_serial(text: str, devices: Node) -> Node | None:
    kind, _, rest = text.partition(":")
    if text in _BARE:
        return devices.add("serial", type=text)
    if kind in _WITH_PATH and rest:
        node = devices.add("serial", type=kind)
        node.add("source", path=rest)
        return node
    if text.startswith("/") and fitting(text, LINE):
        node = devices.add("serial", type="dev")
        node.add("source", path=text)
        return node
    if found := _UNIX.fullmatch(text):
        node = devices.add("serial", type="unix")
        node.add("source", mode="bind" if found[2] else "connect", path=found[1])
        return node
    if found := _SOCKET.fullmatch(text):
        node = devices.add("serial", type="tcp")
        node.add("source", mode="bind" if found[4] else "connect", host=found[2], service=found[3])
        node.add("protocol", type="telnet" if found[1] == "telnet" else "raw")
        return node
    if found := _UDP.fullmatch(text):
        node = devices.add("serial", type="udp")
        node.add("source", mode="bind", host=found[3], service=found[4])
        node.add("source", mode="connect", host=found[1], service=found[2])
        return node
    return None
