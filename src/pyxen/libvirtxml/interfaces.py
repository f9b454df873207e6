"""``<interface>``: virtual network interfaces, and passed-through network cards."""

from __future__ import annotations

import re
from typing import Final

from pyxen.config import DomainConfig, DomainType, NicType, Rate, Vif
from pyxen.libvirtxml import hostdevs
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import DEVICE, LINE, MODEL, fitting, is_address

__all__ = ["read", "write"]

_VIF: Final = "netfront"
"""libvirt's model for an interface without an emulated card."""

_OPENVSWITCH: Final = "vif-openvswitch"
_TAGGED = re.compile(r"([^.:]+)(?:\.([0-9]{1,4})|((?::[0-9]{1,4})+))")
_LARGEST_TAG: Final = 4095

_ITS_OWN_NAMES: Final = ("vif", "vnet", "macvtap", "macvlan")
"""How the names begin that libvirt's Xen driver gives interfaces itself. In a configuration libvirt drops them."""

_INTERVAL: Final = 50_000
"""xl's default interval, which libvirt's driver uses. Its XML has a rate in KiB per second, without an interval."""
_USECS: Final = 1_000_000
_MOST_SPEED: Final = 2**32 - 1


def read(devices: Node, found: XmlReadState) -> None:
    """Read the interfaces; kinds that Xen does not support stay unread, and are reported as losses."""
    for node in devices.children:
        if node.tag != "interface":
            continue
        kind = node.attributes.get("type")
        if kind in ("bridge", "ethernet", "network"):
            node.taken = True
            found.append("vifs", _read_vif(node, kind, found))
        elif kind == "hostdev":
            node.taken = True
            node.get("type")
            found.append("pcis", hostdevs.read_pci(node, found))


def _read_vif(node: Node, kind: str, found: XmlReadState) -> Vif:
    mac, target, script = node.child("mac"), node.child("target"), node.child("script")
    domain, model = node.child("backenddomain"), node.child("model")
    if model is not None and not found.is_hvm and model.attributes.get("type") != _VIF:
        model.taken, model = False, None  # the driver refuses to start such a guest
    bridge = None
    path = script.get("path") if script is not None else None
    named = next(iter(node.named("source")), None)
    if kind != "network" or (named is not None and "bridge" in named.attributes):
        node.get("type")
        source = node.child("source")
        bridge = source.get("bridge") if source is not None else None
        if source is not None and kind == "network":
            # In a running domain, libvirt has resolved the network to this bridge.
            source.get("network")
            source.get("portgroup")
            source.get("portid")
        if bridge is not None and _read_openvswitch(node):
            path = path or _OPENVSWITCH
            bridge += _read_tags(node)
    name = model.get("type") if model is not None else None
    addresses = [address for ip in node.all("ip") if (address := ip.get("address"))]
    for ip in node.all("ip"):
        ip.get("family")
    return found.make(
        Vif,
        node,
        bridge=bridge,
        mac=mac.get("address") if mac is not None else None,
        model=None if name == _VIF else name,
        type=None if name is None or not found.is_hvm else NicType.VIF if name == _VIF else NicType.VIF_IOEMU,
        script=path,
        vifname=_read_name(target) if target is not None else None,
        ip=" ".join(addresses) or None,
        rate=_read_rate(node),
        backend=domain.get("name") if domain is not None else None,
    )


def _read_name(target: Node) -> str | None:
    name = target.get("dev")
    is_dropped = name is not None and name.startswith(_ITS_OWN_NAMES) and target.attributes.get("managed") != "no"
    return None if is_dropped else name


def _read_openvswitch(node: Node) -> bool:
    for port in node.children:
        if port.tag == "virtualport" and port.attributes.get("type") == "openvswitch":
            port.taken = True
            port.get("type")
            return True
    return False


def _read_tags(node: Node) -> str:
    vlan = node.child("vlan")
    if vlan is None:
        return ""
    tags = [tag.number("id", 0, _LARGEST_TAG) for tag in vlan.all("tag")]
    if vlan.switch("trunk") or len(tags) > 1:
        return "".join(f":{tag}" for tag in tags)
    return f".{tags[0]}" if tags else ""


def _read_rate(node: Node) -> Rate | None:
    bandwidth = node.child("bandwidth")
    outbound = bandwidth.child("outbound") if bandwidth is not None else None
    average = outbound.number("average", 1, _MOST_SPEED) if outbound is not None else None
    return None if average is None else Rate(average * 1024 * _INTERVAL // _USECS, _INTERVAL)


def write(config: DomainConfig, devices: Node) -> None:
    """Write the interfaces."""
    for vif in config.vifs:
        _write_vif(vif, config.type, devices)


def _write_vif(vif: Vif, guest: DomainType, devices: Node) -> None:
    script = fitting(vif.script, LINE)
    tagged = _TAGGED.fullmatch(vif.bridge or "") if script and script.split("/")[-1] == _OPENVSWITCH else None
    bridge = tagged[1] if tagged else fitting(vif.bridge, DEVICE)
    node = devices.add("interface", type="bridge" if bridge else "ethernet")
    if vif.mac is not None and not vif.mac.is_multicast and vif.mac.strip("0:"):
        node.add("mac", address=vif.mac)
    if bridge:
        node.add("source", bridge=bridge)
    if tagged:
        node.add("virtualport", type="openvswitch")
        _write_tags(tagged, node)
    _write_rate(vif.rate, node)
    addresses = (vif.ip or "").split()
    if all(map(is_address, addresses)):
        for address in addresses:
            node.add("ip", address=address, family="ipv6" if ":" in address else "ipv4")
    if script:
        node.add("script", path=script)
    if (name := fitting(vif.vifname, DEVICE)) and not name.startswith(_ITS_OWN_NAMES):
        node.add("target", dev=name)
    if backend := fitting(vif.backend, LINE):
        node.add("backenddomain", name=backend)
    if guest is not DomainType.HVM:
        return  # the driver refuses every other model than that of an interface without a card
    if vif.type is NicType.VIF:
        node.add("model", type=_VIF)
    elif model := fitting(vif.model, MODEL):
        node.add("model", type=model)


def _write_rate(rate: Rate | None, node: Node) -> None:
    if rate is not None and rate.bytes_per_interval:
        average = -(-rate.bytes_per_interval * _USECS // (1024 * _INTERVAL))
        if average <= _MOST_SPEED:
            node.add("bandwidth").add("outbound", average=average)


def _write_tags(tagged: re.Match[str], node: Node) -> None:
    if tagged[2]:
        node.add("vlan").add("tag", id=int(tagged[2]))
    elif tagged[3]:
        vlan = node.add("vlan", trunk="yes")
        for tag in tagged[3].split(":")[1:]:
            vlan.add("tag", id=int(tag))
