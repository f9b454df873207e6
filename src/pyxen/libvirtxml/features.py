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
    features = domain.merged("features") or Node("features")
    for name in _SAID_BY_PRESENCE:
        nodes = list(features.all(name))
        if nodes or found.is_hvm:
            found.put(name, bool(nodes), nodes[0] if nodes else domain)
    # Of a feature that stands there twice, the last one counts.
    for hap in features.all("hap"):
        found.put("hap", hap.switch("state", default=True), hap)
    defaults, hypervs = None, list(features.all("hyperv"))
    for viridian in features.all("viridian"):
        defaults = viridian.switch("state", default=True)
    enable = _read_hyperv(hypervs) if hypervs else None
    if defaults is not None or hypervs:
        found.put("viridian", found.make(Viridian, domain, defaults=defaults, enable=enable), domain)
    for xen in features.all("xen"):
        for e820_host in xen.all("e820_host"):
            found.put("e820_host", e820_host.switch("state", default=True), e820_host)
        for passthrough in xen.all("passthrough"):
            _read_passthrough(passthrough, found)


def _read_hyperv(hypervs: list[Node]) -> frozenset[int] | str:
    mode, switches = None, dict.fromkeys((*_HYPERV, *_IN_THE_BASE), False)
    for hyperv in hypervs:
        mode = hyperv.get("mode")
        if mode != "passthrough":
            for name in switches:
                for node in hyperv.all(name):
                    switches[name] = bool(node.switch("state", default=True))
    if mode == "passthrough":
        return "all"
    return _ALWAYS.union(*(_HYPERV.get(name, _ALWAYS) for name, on in switches.items() if on))


def _read_passthrough(passthrough: Node, found: XmlReadState) -> None:
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
