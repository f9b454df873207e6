"""Bridges, and the scripts that plug guests into them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pyxen._common.host_files import how_to_bridge
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.errors import Error
from pyxen.xlconf import XL_CONF, XlConf

__all__ = ["network"]

_NET: Final = "/sys/class/net"
_SCRIPT: Final = "/etc/xen/scripts/vif-bridge"
_USUAL: Final = "xenbr0"
_FILTER: Final = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def network(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine the bridges of the host."""
    links = around.names(_NET)
    bridges = [name for name in links if around.exists(f"{_NET}/{name}/bridge")]
    switches = _open_vswitches(around) if around.exists(f"{_NET}/ovs-system") else []
    named = _default_bridge(around)
    wanted = named or _USUAL
    physical = [name for name in links if around.exists(f"{_NET}/{name}/device")]
    port = next((name for name in physical if name not in bridges), "eth0")
    if not bridges and not switches:
        message = "There is no bridge: guests have no network."
        yield Finding("bridges", Severity.WARNING, message, how_to_bridge(wanted, port))
    else:
        ports = (f"{name} ({', '.join(around.names(f'{_NET}/{name}/brif')) or 'without ports'})" for name in bridges)
        said = ", ".join([*ports, *(f"{name} (Open vSwitch)" for name in switches)])
        yield Finding("bridges", Severity.OK, f"There are bridges: {said}.")
        if named is not None and named not in (*bridges, *switches):
            message = f"{XL_CONF} names the bridge {named}, which is missing."
            yield Finding("default-bridge", Severity.WARNING, message, how_to_bridge(named, port))
    if facts.is_dom0 and not around.exists(_SCRIPT):
        message = f"{_SCRIPT} is missing: vifs cannot be plugged in."
        yield Finding("scripts", Severity.WARNING, message, "On Debian, apt install xen-utils-common")
    if bridges and (around.read(_FILTER) or "").strip() == "1":
        message = "The firewall filters what passes through bridges (bridge-nf-call-iptables is 1)."
        remedy = (
            "If guests cannot be reached: sysctl net.bridge.bridge-nf-call-iptables=0, or allow it in the firewall."
        )
        yield Finding("bridge-filter", Severity.NOTE, message, remedy)


def _open_vswitches(around: Surroundings) -> list[str]:
    """Return the bridges of Open vSwitch; none if it does not answer."""
    try:
        output = around.run("ovs-vsctl", "--timeout=3", "list-br", package="openvswitch-switch")
    except Error:
        return []
    return output.stdout.split() if output.status == 0 else []


def _default_bridge(around: Surroundings) -> str | None:
    text = around.read(XL_CONF)
    try:
        return None if text is None else XlConf.loads(text, on_loss="ignore").vif_bridge
    except Error:
        return None
