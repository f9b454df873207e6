"""Bridges of this machine and their ports: Linux bridges and Open vSwitch, as iproute2 shows them.

::

    for bridge in pyxen.bridges.bridges():
        print(bridge.name, bridge.kind, [port.name for port in bridge.ports])
    print(pyxen.bridges.of_vif(web.domid).rx_bytes)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from pyxen._common.host_files import missing_bridge
from pyxen._common.programs import run_program
from pyxen.errors import NotFound, OperationFailed
from pyxen.records.base import Record

__all__ = ["Bridge", "Interface", "bridge", "bridges", "interfaces", "of_vif"]

_TIMEOUT: Final = 10.0
"""Seconds for iproute2; the kernel answers at once."""

_SWITCHES: Final = "openvswitch"
_KERNELS_SWITCH: Final = "ovs-system"
"""The interface that the kernel has for all switches of Open vSwitch; it is not a bridge itself."""

_VIF: Final = re.compile(r"vif(\d+)\.(\d+)(-emu)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface(Record):
    """A snapshot of a network interface of the host, as ``ip -d -s link`` shows it.

    Counters are the host's: what the host has received on a vif, the guest has sent.
    """

    name: str
    """Its name, e.g. ``vif3.0`` or ``eth0``."""
    kind: str | None
    """Its kind, by iproute2's name: ``bridge``, ``vif``, ``tun``, ``veth``; None for a network card."""
    bridge: str | None
    """The bridge, bond or switch that it is a port of; None for none."""
    up: bool
    """Whether it is up."""
    mac: str | None
    """Its MAC address; that of a vif's port is not the guest's."""
    mtu: int
    """Its MTU, in bytes."""
    rx_bytes: int
    """Bytes that the host received on it."""
    tx_bytes: int
    """Bytes that the host sent on it."""
    rx_packets: int
    """Packets that the host received on it."""
    tx_packets: int
    """Packets that the host sent on it."""
    rx_dropped: int
    """Received packets that were dropped."""
    tx_dropped: int
    """Packets to be sent that were dropped."""
    domid: int | None = None
    """The domain of a vif with libxl's usual name; None for others."""
    devid: int | None = None
    """The number of that vif."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Record):
    """A snapshot of a bridge."""

    name: str
    """Its name, as in ``Vif(bridge="xenbr0")``."""
    kind: Literal["bridge", "openvswitch"]
    """Who switches: the kernel's bridge, or Open vSwitch; vifs need the script ``vif-openvswitch`` for the latter."""
    interface: Interface
    """Its own interface, which has the host's address in that network."""
    ports: tuple[Interface, ...]
    """Its ports, ordered by name. For Open vSwitch they are known only if it has a single bridge."""
    stp: bool | None = None
    """Whether it runs the spanning tree protocol; None for Open vSwitch."""
    vlan_filtering: bool | None = None
    """Whether it keeps VLANs apart; None for Open vSwitch."""


def bridges() -> tuple[Bridge, ...]:
    """Return the bridges of this machine, ordered by name, as ``brctl show``.

    Raises:
        ToolMissing: iproute2 is not installed.
        OperationTimeout: It did not answer.
        OperationFailed: Its answer cannot be read.
    """
    return _bridges(_links("bridges"))


def bridge(name: str) -> Bridge:
    """Return a bridge of this machine. Other errors as `bridges`.

    Raises:
        NotFound: There is no such bridge; the message has the lines that make one on Debian.
    """
    found = next((each for each in bridges() if each.name == name), None)
    if found is None:
        raise NotFound(missing_bridge(name), operation="bridge")
    return found


def interfaces() -> tuple[Interface, ...]:
    """Return the network interfaces of this machine, in the kernel's order. Errors as `bridges`."""
    return tuple(map(_interface, _links("interfaces")))


def of_vif(domid: int, devid: int = 0, *, name: str | None = None) -> Interface:
    """Return the host's interface of a vif of a running domain, e.g. ``vif3.0``. Other errors as `bridges`.

    Args:
        domid: The domain.
        devid: The number of the vif, from 0.
        name: The name that the configuration gives it, ``Vif(vifname=...)``.

    Raises:
        NotFound: There is no such interface: the domain is not running, or another domain serves the vif.
    """
    wanted = f"vif{domid}.{devid}" if name is None else name
    found = next((each for each in interfaces() if each.name == wanted), None)
    if found is None:
        message = f"the host has no interface {wanted}: the domain does not run, or a driver domain serves the vif"
        raise NotFound(message, operation="interface", domain=domid, domid=domid)
    return found


def _links(verb: str) -> list[dict[str, Any]]:
    command = ("ip", "-json", "-details", "-statistics", "link", "show")
    output = run_program(command, verb=verb, package="iproute2", timeout=_TIMEOUT)
    if output.status not in (0, None):
        raise OperationFailed(f"ip refused: {output.stderr.strip()}", operation=verb, code=output.status)
    return read_links(output.stdout, verb)


def read_links(text: str, verb: str) -> list[dict[str, Any]]:
    """Return what ``ip -json link`` printed.

    Raises:
        OperationFailed: It cannot be read.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise OperationFailed(f"the answer of ip cannot be read: {error}", operation=verb) from error
    # For a link that goes while it is listed, ip prints an empty object.
    return [each for each in found if isinstance(each, dict) and isinstance(each.get("ifname"), str)]


def _bridges(links: list[dict[str, Any]]) -> tuple[Bridge, ...]:
    kinds = {link["ifname"]: _kind(link) for link in links}
    switches = [name for name, kind in kinds.items() if kind == _SWITCHES and name != _KERNELS_SWITCH]
    found = []
    for link in links:
        name, kind = link["ifname"], kinds[link["ifname"]]
        data = link.get("linkinfo", {}).get("info_data", {})
        if kind == "bridge":
            found.append(
                Bridge(
                    name=name,
                    kind="bridge",
                    interface=_interface(link),
                    ports=_ports(links, name),
                    stp=bool(data.get("stp_state", 0)),
                    vlan_filtering=bool(data.get("vlan_filtering", 0)),
                )
            )
        elif name in switches:
            ports = _ports(links, _KERNELS_SWITCH, but=name) if len(switches) == 1 else ()
            found.append(Bridge(name=name, kind="openvswitch", interface=_interface(link), ports=ports))
    return tuple(sorted(found, key=lambda each: each.name))


def _ports(links: list[dict[str, Any]], master: str, but: str = "") -> tuple[Interface, ...]:
    ports = [_interface(link) for link in links if link.get("master") == master and link["ifname"] != but]
    return tuple(sorted(ports, key=lambda each: each.name))


def _kind(link: dict[str, Any]) -> str | None:
    kind = link.get("linkinfo", {}).get("info_kind")
    return kind if isinstance(kind, str) else None


def _interface(link: dict[str, Any]) -> Interface:
    counters = link.get("stats64") or link.get("stats") or {}
    received, sent = counters.get("rx", {}), counters.get("tx", {})
    vif = _VIF.fullmatch(link["ifname"])
    return Interface(
        name=link["ifname"],
        kind=_kind(link),
        bridge=link.get("master"),
        up="UP" in link.get("flags", ()),
        mac=link.get("address"),
        mtu=int(link.get("mtu", 0)),
        rx_bytes=int(received.get("bytes", 0)),
        tx_bytes=int(sent.get("bytes", 0)),
        rx_packets=int(received.get("packets", 0)),
        tx_packets=int(sent.get("packets", 0)),
        rx_dropped=int(received.get("dropped", 0)),
        tx_dropped=int(sent.get("dropped", 0)),
        domid=int(vif[1]) if vif else None,
        devid=int(vif[2]) if vif else None,
    )
