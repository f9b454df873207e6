"""``<features>``: ACPI, APIC, PAE, paging, Viridian enlightenments, and Xen's own features."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, Passthrough, Viridian, ViridianEnlightenment
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["hyperv_groups", "needs_32_bits", "read", "write"]

_SAID_BY_PRESENCE: Final = ("acpi", "apic", "pae")
"""For an HVM guest, these are on if the element is present, and otherwise off."""

_XEN: Final = "xen"
_64_BIT: Final = (None, "x86_64")
"""The architectures of a 64-bit guest; without one, libvirt takes that of the host."""

_E = ViridianEnlightenment
_OF_DEFAULTS: Final = frozenset({_E.BASE, _E.CRASH_CTL, _E.APIC_ASSIST, _E.FREQ})
"""What ``<hyperv>`` has of libxl's default groups."""

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
    turned_on = _turned_on(domain, found)
    for name in _SAID_BY_PRESENCE:
        nodes = list(features.all(name))
        if nodes or found.is_hvm:
            found.put(name, bool(nodes) or name in turned_on, nodes[0] if nodes else domain)
    # Of a feature that stands there twice, the last one counts.
    for hap in features.all("hap"):
        found.put("hap", hap.switch("state", default=True), hap)
    if found.is_hvm and (hypervs := list(features.all("hyperv"))):
        found.put("viridian", found.make(Viridian, hypervs[0], enable=_read_hyperv(hypervs)), hypervs[0])
    for xen in features.all("xen"):
        for e820_host in xen.all("e820_host"):
            found.put("e820_host", e820_host.switch("state", default=True), e820_host)
        for passthrough in xen.all("passthrough"):
            _read_passthrough(passthrough, found)


def _turned_on(domain: Node, found: XmlReadState) -> tuple[str, ...]:
    """Return what the Xen driver turns on in a 64-bit HVM guest, whatever its document says."""
    types = [kind for os in domain.named("os") for kind in os.named("type")]
    is_64_bit = bool(types) and types[0].attributes.get("arch") in _64_BIT
    if not (found.is_hvm and is_64_bit and domain.attributes.get("type", _XEN) == _XEN):
        return ()
    return ("pae", "acpi") if found.fields.get("vnuma") else ("pae",)


def needs_32_bits(config: DomainConfig) -> bool:
    """Whether the Xen driver would turn something on that an HVM guest is not to have, if it were a 64-bit guest."""
    return config.type is DomainType.HVM and (config.pae is False or (config.acpi is False and bool(config.vnuma)))


def hyperv_groups(viridian: Viridian) -> frozenset[int]:
    """Return the enlightenments for ``<hyperv>``: those that are enabled, and what it has of libxl's default groups."""
    return viridian.enable | (_OF_DEFAULTS - viridian.disable if viridian.defaults else frozenset())


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
    if is_hvm and (groups := hyperv_groups(config.viridian)):
        _write_hyperv(groups, features)
    if config.e820_host is not None:
        features.inner("xen").add("e820_host", state=_switch(on=config.e820_host))
    if config.passthrough is not Passthrough.DEFAULT:
        _write_passthrough(config.passthrough, features)
    if features.children:
        domain.children.append(features)


def _write_hyperv(enable: frozenset[int], features: Node) -> None:
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
