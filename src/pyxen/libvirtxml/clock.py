"""``<clock>`` and its timers."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, TscMode
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["read", "write"]

_TSC: Final = {
    "native": TscMode.NATIVE,
    "paravirt": TscMode.NATIVE_PARAVIRT,
    "emulate": TscMode.ALWAYS_EMULATE,
    "auto": TscMode.DEFAULT,
    "smpsafe": TscMode.DEFAULT,
}
_TSC_NAMES: Final = {TscMode.NATIVE: "native", TscMode.NATIVE_PARAVIRT: "paravirt", TscMode.ALWAYS_EMULATE: "emulate"}
_INT_MAX: Final = 2**31 - 1


def read(domain: Node, found: XmlReadState) -> None:
    """Read the clock's offset, and the timers that Xen supports."""
    clock = domain.merged("clock")
    if clock is None:
        return
    offset = clock.attributes.get("offset")
    if offset in ("utc", "localtime", "variable"):
        clock.get("offset")
        if clock.attributes.get("adjustment") == "reset":
            clock.get("adjustment")  # always so for PV guests, whose adjustment is never stored
        basis = clock.get("basis") if offset == "variable" else offset
        if basis == "localtime":
            found.put("localtime", True, clock)
        found.put("rtc_timeoffset", clock.number("adjustment", -_INT_MAX - 1, _INT_MAX), clock)
    for timer in clock.children:
        if timer.tag == "timer":
            _read_timer(timer, found)


def _read_timer(timer: Node, found: XmlReadState) -> None:
    name = timer.attributes.get("name")
    present = timer.attributes.get("present")
    if name == "hpet" and found.is_hvm:
        timer.taken = True
        timer.get("name")
        found.put("hpet", timer.switch("present", default=True), timer)
    elif name == "tsc" and present != "no":
        timer.taken = True
        timer.get("name")
        timer.get("present")
        if (mode := timer.get("mode")) is not None:
            if mode not in _TSC:
                raise timer.wrong(f"{mode!r} is not a valid mode; use one of {', '.join(_TSC)}")
            found.put("tsc_mode", _TSC[mode], timer)


def write(config: DomainConfig, domain: Node) -> None:
    """Write the clock's offset, and the timers that Xen supports."""
    basis = "localtime" if config.localtime else "utc"
    if config.rtc_timeoffset:
        clock = domain.add("clock", offset="variable", adjustment=config.rtc_timeoffset, basis=basis)
    else:
        clock = domain.add("clock", offset=basis)
    if config.tsc_mode in _TSC_NAMES:
        clock.add("timer", name="tsc", present="yes", mode=_TSC_NAMES[config.tsc_mode])
    if config.hpet is not None and config.type is DomainType.HVM:  # the driver refuses to start others with an HPET
        clock.add("timer", name="hpet", present="yes" if config.hpet else "no")
