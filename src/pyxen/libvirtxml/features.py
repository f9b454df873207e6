"""``<features>``: ACPI, APIC, PAE, paging, Viridian enlightenments, and Xen's own features."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, Passthrough, Viridian, ViridianEnlightenment
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["read", "write"]

_SAID_BY_PRESENCE: Final = ("acpi", "apic", "pae")
"""For an HVM guest, these are on if the element is present, and otherwise off."""

_E = ViridianEnlightenment
_ALWAYS: Final = frozenset({_E.BASE, _E.CRASH_CTL})
_HYPERV: Final[dict[str, frozenset[int]]] = {
    "vapic": frozenset({_E.APIC_ASSIST}),
    "synic": frozenset({_E.SYNIC}),
    "stimer": frozenset({_E.STIMER, _E.SYNIC, _E.TIME_REF_COUNT, _E.REFERENCE_TSC}),
    "frequencies": frozenset({_E.FREQ}),
    "tlbflush": frozenset({_E.HCALL_REMOTE_TLB_FLUSH}),
    "ipi": frozenset({_E.HCALL_IPI}),
}
"""The enlightenments that libvirt enables for each element, in addition to `_ALWAYS`."""

_IN_THE_BASE: Final = ("relaxed", "vpindex")
_MODES: Final = {"sync_pt": Passthrough.SYNC_PT, "share_pt": Passthrough.SHARE_PT}


def read(domain: Node, found: XmlReadState) -> None:
    """Read the features that the Xen driver supports."""
    features = domain.child("features") or Node("features")
    for name in _SAID_BY_PRESENCE:
        node = features.child(name)
        if node is not None or found.is_hvm:
            found.put(name, node is not None, node or domain)
    if (hap := features.child("hap")) is not None:
        found.put("hap", hap.switch("state", default=True), hap)
    viridian = features.child("viridian")
    defaults = viridian.switch("state", default=True) if viridian is not None else None
    hyperv = features.child("hyperv")
    enable = _read_hyperv(hyperv) if hyperv is not None else None
    if viridian is not None or hyperv is not None:
        found.put("viridian", found.make(Viridian, domain, defaults=defaults, enable=enable), domain)
    if (xen := features.child("xen")) is not None:
        _read_xen(xen, found)


def _read_hyperv(hyperv: Node) -> frozenset[int] | str:
    if hyperv.get("mode") == "passthrough":
        return "all"
    enable: set[int] = set(_ALWAYS)
    for name in (*_HYPERV, *_IN_THE_BASE):
        node = hyperv.child(name)
        if node is not None and node.switch("state", default=True):
            enable |= _HYPERV.get(name, _ALWAYS)
    return frozenset(enable)


def _read_xen(xen: Node, found: XmlReadState) -> None:
    if (e820_host := xen.child("e820_host")) is not None:
        found.put("e820_host", e820_host.switch("state", default=True), e820_host)
    passthrough = xen.child("passthrough")
    if passthrough is None:
        return
    if not passthrough.switch("state", default=True):
        found.put("passthrough", Passthrough.DISABLED, passthrough)
        return
    mode = passthrough.get("mode")
    if mode is not None and mode not in _MODES:
        raise passthrough.wrong(f"{mode!r} is not a valid mode; use sync_pt or share_pt")
    found.put("passthrough", _MODES.get(mode or "", Passthrough.ENABLED), passthrough)


def write(config: DomainConfig, domain: Node) -> None:
    """Write the features that the Xen driver supports."""
    features = Node("features")
    is_hvm = config.type is DomainType.HVM
    for name in _SAID_BY_PRESENCE:
        said = getattr(config, name)
        if said or (is_hvm and said is None):
            features.add(name)
    if config.hap is not None:
        features.add("hap", state=_switch(on=config.hap))
    if config.viridian.defaults:
        features.add("viridian")
    if config.viridian.enable:
        _write_hyperv(config.viridian, features)
    if config.e820_host is not None:
        features.inner("xen").add("e820_host", state=_switch(on=config.e820_host))
    if config.passthrough is not Passthrough.DEFAULT:
        _write_passthrough(config.passthrough, features)
    if features.children:
        domain.children.append(features)


def _write_hyperv(viridian: Viridian, features: Node) -> None:
    enable = viridian.enable
    if enable == Viridian(enable="all").enable:
        features.add("hyperv", mode="passthrough")
        return
    hyperv = features.add("hyperv")
    implied: set[int] = set(_ALWAYS)
    for name in sorted(_HYPERV, key=lambda name: -len(_HYPERV[name])):
        if _HYPERV[name] <= enable and not _HYPERV[name] <= implied:
            hyperv.add(name, state="on")
            implied |= _HYPERV[name]
    if not hyperv.children:
        hyperv.add("relaxed", state="on")


def _write_passthrough(passthrough: Passthrough, features: Node) -> None:
    mode = passthrough.value if passthrough in _MODES.values() else None
    state = _switch(on=passthrough is not Passthrough.DISABLED)
    features.inner("xen").add("passthrough", state=state, mode=mode)


def _switch(*, on: bool) -> str:
    return "on" if on else "off"
