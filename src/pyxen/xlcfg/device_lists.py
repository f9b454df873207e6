"""The lists of devices, ``disk``, ``vif``, ``pci`` …, and what other keys say of them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from pyxen.config import DomainType, Sdl, Vfb, Vnc
from pyxen.xlcfg import pci
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.item_grammar import Note, SpecError
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.source import Source

__all__ = ["KEYS_READ", "SCREEN_KEYS", "read"]

_PCI_KEYS: Final = {f"pci_{name}": name for name in pci.FLAGS}

KEYS_READ: Final = (*GRAMMARS, "dtdev", "rdm", *_PCI_KEYS)
"""The keys that `read` reads."""

_SCREEN: Final = {
    "vnc": ("vnc", "enable", "boolean"),
    "vnclisten": ("vnc", "listen", "string"),
    "vncpasswd": ("vnc", "passwd", "string"),
    "vncdisplay": ("vnc", "display", "integer"),
    "vncunused": ("vnc", "unused", "boolean"),
    "sdl": ("sdl", "enable", "boolean"),
    "opengl": ("sdl", "opengl", "boolean"),
    "display": ("sdl", "display", "string"),
    "xauthority": ("sdl", "xauthority", "string"),
}

SCREEN_KEYS: Final = (*_SCREEN, "keymap")
"""The keys of a screen: an HVM guest's own, a PV guest's framebuffer."""


def read(source: Source, guest: DomainType) -> dict[str, Any]:
    """Return the devices of a configuration, by the fields of `DomainConfig`.

    Raises:
        ParseError: xl would refuse one.
    """
    said: dict[str, Any] = {}
    for key, grammar in GRAMMARS.items():
        if key in source.settings and key not in ("pci", "vsnd"):
            said[KEYS[key].field] = source.each(key, source.items(key), grammar.read)
    if "vsnd" in source.settings:
        said["vsnds"] = source.each("vsnd", source.values("vsnd"), _read_vsnd)
    if "dtdev" in source.settings:
        said["dtdevs"] = source.items("dtdev")
    _read_rdm(source, guest, said)
    _read_pci(source, guest, said)
    if guest is DomainType.PV:
        _read_screen(source, said)
    return said


def _read_vsnd(item: object, note: Note) -> object:
    if not isinstance(item, list):
        raise SpecError("a sound card is a list of strings")
    words = []
    for word in item:
        if not isinstance(word, str):
            break
        words.append(word)
    return GRAMMARS["vsnd"].read(words, note)


def _read_rdm(source: Source, guest: DomainType, said: dict[str, Any]) -> None:
    spec = source.string("rdm")
    if spec is None:
        return
    rdm = pci.read_rdm(spec)
    if guest is not DomainType.HVM:
        source.note("rdm", "only HVM guests have it", code="other-guest")
    elif rdm is None:
        source.note("rdm", "since Xen 4.15 xl ignores all of it where it names a policy")
    else:
        said["rdm"] = rdm


def _read_pci(source: Source, guest: DomainType, said: dict[str, Any]) -> None:
    defaults: dict[str, Any] = {}
    for key, name in _PCI_KEYS.items():
        number = source.integer(key) if key in source.settings else None
        if number:
            defaults[name] = True
    if "pci" not in source.settings:
        return
    said["pcis"] = source.each("pci", source.items("pci"), partial(pci.read_pci, defaults=defaults))
    if said["pcis"] and guest is DomainType.PV:
        said["e820_host"] = True


def _read_screen(source: Source, said: dict[str, Any]) -> None:
    """Make a framebuffer of a PV guest's ``vnc`` and its like, as xl does where there is no ``vfb``."""
    written = [key for key in SCREEN_KEYS if key in source.settings]
    if not written:
        return
    if said.get("vfbs") or "vnc" not in source.settings or not source.integer("vnc"):
        reason = "xl ignores it beside vfb" if said.get("vfbs") else "a PV guest needs vnc=1 (or vfb) with it"
        for key in written:
            if key != "vnc" or said.get("vfbs"):
                source.note(key, reason)
        return
    parts: dict[str, dict[str, Any]] = {"vnc": {}, "sdl": {}}
    for key, (part, field, kind) in _SCREEN.items():
        value = getattr(source, kind)(key) if key in source.settings else None
        if value is not None:
            parts[part][field] = value
    vnc = source.read("vncdisplay", lambda: Vnc(**parts["vnc"]))
    said["vfbs"] = [Vfb(vnc=vnc, sdl=Sdl(**parts["sdl"]), keymap=source.string("keymap"))]
