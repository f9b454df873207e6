"""Endpoints of a domain, from the nodes that libxl, xenconsoled and QEMU write to xenstore.

A program connects to these, often as root. libxl makes the nodes so that the guest cannot write to them. Still, a node
counts only if dom0 owns it, because the guest owns the folders of its channels.
"""

from __future__ import annotations

import re
from typing import Final

from pyxen._common.backend_path import backend_path
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.operations.spice import spice
from pyxen.config import ChannelConnection
from pyxen.records.endpoints import ChannelEndpoint, ConsoleEndpoint, ConsoleType, Endpoints, VncEndpoint
from pyxen.records.info import DomainInfo

__all__ = ["TERMINAL", "endpoints"]

TERMINAL: Final = re.compile(r"/dev/pts/\d{1,10}", re.ASCII)
"""What a path to a terminal looks like."""

_PORT: Final = re.compile(r"[1-9]\d{0,4}", re.ASCII)
_MOST_PORT: Final = 65535
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)
_OF_CHANNEL: Final = ("backend", "name", "connection", "path")
_HERE: Final = "127.0.0.1"  # where xl vncviewer looks if xenstore has no address


def endpoints(hypervisor: Hypervisor, info: DomainInfo) -> Endpoints:
    """Return what a program can connect to in a domain."""
    return Endpoints(
        vnc=_vnc(hypervisor, info.domid),
        spice=spice(info),
        consoles=_consoles(hypervisor, info.domid),
        channels=_channels(hypervisor, info.domid),
    )


def _vnc(hypervisor: Hypervisor, domid: int) -> VncEndpoint | None:
    folder = f"/local/domain/{domid}/console"
    port, address, password = hypervisor.read_dom0s(f"{folder}/vnc-{name}" for name in ("port", "listen", "pass"))
    if port is not None and port.startswith("/") and not address:  # QEMU tells a Unix socket in this way
        return VncEndpoint(port, None, password or None)
    if port is None or not _PORT.fullmatch(port) or int(port) > _MOST_PORT:
        return None
    return VncEndpoint(address or _HERE, int(port), password or None)


def _consoles(hypervisor: Hypervisor, domid: int) -> tuple[ConsoleEndpoint, ...]:
    top = f"/local/domain/{domid}"
    nodes = {(ConsoleType.PV, 0): f"{top}/console/tty"}
    for number in _numbers(hypervisor, f"{top}/serial"):
        nodes[ConsoleType.SERIAL, number] = f"{top}/serial/{number}/tty"
    paths = hypervisor.read_dom0s(nodes.values())
    found = zip(nodes, paths, strict=True)
    return tuple(ConsoleEndpoint(*key, path) for key, path in found if path and TERMINAL.fullmatch(path))


def _channels(hypervisor: Hypervisor, domid: int) -> tuple[ChannelEndpoint, ...]:
    # libxl's own records, which no guest can change, say which channels there are and who serves them. Only the
    # terminal that QEMU chose is not among them.
    records = f"/libxl/{domid}/device/console"
    devids = [devid for devid in _numbers(hypervisor, records) if devid]
    terminals = hypervisor.read_dom0s(f"/local/domain/{domid}/device/console/{devid}/tty" for devid in devids)
    values = hypervisor.read_all([f"{records}/{devid}/{node}" for devid in devids for node in _OF_CHANNEL])
    found = []
    for place, (devid, terminal) in enumerate(zip(devids, terminals, strict=True)):
        backend, name, connection, path = values[place * len(_OF_CHANNEL) :][: len(_OF_CHANNEL)]
        served = backend_path(backend)
        if served is None or served.kind != "console":
            continue
        if connection == ChannelConnection.PTY:
            path = terminal if terminal and TERMINAL.fullmatch(terminal) else None
        elif connection != ChannelConnection.SOCKET:  # it is a console
            continue
        if name and path:
            found.append(ChannelEndpoint(name, devid, ChannelConnection(connection), path, served.backend_domid))
    return tuple(found)


def _numbers(hypervisor: Hypervisor, path: str) -> list[int]:
    """Return the numbers among the children of a node, in order."""
    return sorted(int(name) for name in hypervisor.directory(path) if _NUMBER.fullmatch(name))
