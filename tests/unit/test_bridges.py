"""Bridges and interfaces, read from what iproute2 printed on real hosts, and on this machine."""

from __future__ import annotations

import json
from typing import Any

import pytest

import pyxen
from pyxen import NotFound, OperationFailed
from pyxen.bridges import _bridges, _interface, bridge, of_vif, read_links


def link(name: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a link as ``ip -j -d -s link`` prints it, without what is not read."""
    info = {} if kind is None else {"linkinfo": {"info_kind": kind}}
    counters = {
        "stats64": {
            "rx": {"bytes": 10, "packets": 1, "errors": 0, "dropped": 3, "over_errors": 0, "multicast": 0},
            "tx": {"bytes": 20, "packets": 2, "errors": 0, "dropped": 4, "carrier_errors": 0, "collisions": 0},
        }
    }
    plain = {"ifname": name, "flags": ["BROADCAST", "UP"], "mtu": 1500, "address": "ae:80:1c:09:10:bc"}
    return {**plain, **info, **counters, **more}


LINKS = [
    link("lo", flags=["LOOPBACK"], mtu=65536),
    link("eth0", master="xenbr0"),
    link("xenbr0", linkinfo={"info_kind": "bridge", "info_data": {"stp_state": 1, "vlan_filtering": 0}}),
    link("vif3.0", "vif", master="xenbr0"),
    link("vif3.0-emu", "tun", master="xenbr0"),
    link("virbr0", "bridge"),
]  # fmt: skip
SWITCH = [
    link("ovs-system", "openvswitch"),
    link("ovsbr0", "openvswitch", master="ovs-system"),
    link("vif4.1", "vif", master="ovs-system"),
]


def test_a_bridge_and_its_ports() -> None:
    xenbr0, virbr0 = sorted(_bridges(LINKS), key=lambda each: each.name != "xenbr0")
    assert (xenbr0.name, xenbr0.kind, xenbr0.stp, xenbr0.vlan_filtering) == ("xenbr0", "bridge", True, False)
    assert [port.name for port in xenbr0.ports] == ["eth0", "vif3.0", "vif3.0-emu"]
    assert (virbr0.name, virbr0.ports, virbr0.stp) == ("virbr0", (), False)
    plain = xenbr0.to_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_an_interface() -> None:
    found = _interface(LINKS[3])
    assert (found.name, found.kind, found.bridge, found.up, found.mtu) == ("vif3.0", "vif", "xenbr0", True, 1500)
    assert (found.domid, found.devid) == (3, 0)
    assert (found.rx_bytes, found.tx_bytes, found.rx_packets, found.tx_packets) == (10, 20, 1, 2)
    assert (found.rx_dropped, found.tx_dropped) == (3, 4)
    assert (_interface(LINKS[4]).domid, _interface(LINKS[1]).domid) == (3, None)
    bare = _interface({"ifname": "x"})
    assert (bare.up, bare.mac, bare.rx_bytes) == (False, None, 0)


def test_open_vswitch() -> None:
    (switch,) = _bridges(SWITCH)
    assert (switch.name, switch.kind, [port.name for port in switch.ports]) == ("ovsbr0", "openvswitch", ["vif4.1"])
    assert switch.stp is None
    # The kernel does not say which bridge a port belongs to.
    two = _bridges([*SWITCH, link("ovsbr1", "openvswitch", master="ovs-system")])
    assert [(each.name, each.ports) for each in two] == [("ovsbr0", ()), ("ovsbr1", ())]


def test_an_answer_that_cannot_be_read() -> None:
    with pytest.raises(OperationFailed, match="cannot be read"):
        read_links("Device does not exist.", "bridges")
    assert read_links("[{},{},{}]", "bridges") == []


def test_this_machine() -> None:
    assert "lo" in [each.name for each in pyxen.bridges.interfaces()]
    with pytest.raises(NotFound, match=r"no bridge nosuchbr0[\s\S]*auto nosuchbr0"):
        bridge("nosuchbr0")
    with pytest.raises(NotFound, match=r"the host has no interface vif32000\.7"):
        of_vif(32000, 7)
