"""The grammars of ``vfb`` (``"vnc=1,vnclisten=0.0.0.0"``) and ``vkb`` (``"backend-type=linux"``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import Sdl, Vfb, Vkb, VkbBackend, Vnc
from pyxen.xlcfg.item_grammar import (
    Note,
    SpecError,
    joined,
    member,
    number_or_zero,
    switch,
    tokens,
    unnoted,
)
from pyxen.xlcfg.passwords import has_password, may_be_password

__all__ = ["read_vfb", "read_vkb", "write_vfb", "write_vkb"]

_VNC: Final = {
    "vnc": "enable",
    "vnclisten": "listen",
    "vncpasswd": "passwd",
    "vncdisplay": "display",
    "vncunused": "unused",
}
_SDL: Final = {"sdl": "enable", "opengl": "opengl", "display": "display", "xauthority": "xauthority"}
_SWITCHES: Final = ("vnc", "vncunused", "sdl", "opengl")

_VKB_FLAGS: Final = (
    "feature-disable-keyboard",
    "feature-disable-pointer",
    "feature-abs-pointer",
    "feature-raw-pointer",
    "feature-multi-touch",
)
_VKB_TOUCH: Final = ("multi-touch-width", "multi-touch-height", "multi-touch-num-contacts")
_VKB_NUMBERS: Final = ("width", "height", *_VKB_TOUCH)


def read_vfb(spec: str, note: Note = unnoted) -> Vfb:
    """Read one item of ``vfb``; words that xl does not know are noted, because xl ignores them.

    Raises:
        ValidationError: A value is impossible.
    """
    vnc: dict[str, Any] = {}
    sdl: dict[str, Any] = {}
    said: dict[str, Any] = {}
    hidden = False
    for word in tokens(spec):
        name, sign, text = word.partition("=")
        secret = has_password(word) or (name not in {*_VNC, *_SDL} and may_be_password(name))
        hidden = hidden or secret  # what is behind it, too: a comma may be meant to be a part of the password
        token = "***" if hidden else word
        if not sign:
            note(token, "xl stops reading the item at a word without '='")
            break
        value: Any = text
        if name in _SWITCHES:
            value = switch(token, text, note, base=10)
        elif name == "vncdisplay":
            value = number_or_zero(token, text, note, base=10)
        if name in _VNC:
            vnc[_VNC[name]] = value
        elif name in _SDL:
            sdl[_SDL[name]] = value
        elif name == "keymap":
            said["keymap"] = value
        else:
            note(token, "xl does not know it, and ignores it without a warning")
    return Vfb(vnc=Vnc(**vnc), sdl=Sdl(**sdl), **said)


def write_vfb(vfb: Vfb) -> str:
    """Write one item of ``vfb``, as far as the grammar has words for it."""
    words: list[tuple[str, Any]] = []
    for names, part in ((_VNC, vfb.vnc), (_SDL, vfb.sdl)):
        for name, field in names.items():
            value = getattr(part, field)
            words.append((name, int(value) if isinstance(value, bool) else value))
    if not vfb.vnc.display:
        words = [word for word in words if word[0] != "vncdisplay"]
    return joined([*words, ("keymap", vfb.keymap)])


def read_vkb(spec: str, note: Note = unnoted) -> Vkb:
    """Read one item of ``vkb``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, text = token.partition("=")
        if sign and name in _VKB_FLAGS:
            said[name.replace("-", "_")] = switch(token, text, note)
        elif sign and name in _VKB_NUMBERS:
            said[name.replace("-", "_")] = number_or_zero(token, text, note)
        elif sign and name == "unique-id":
            said["unique_id"] = text
        elif sign and name == "backend":
            said["backend"] = text
        elif sign and name == "backend-type":
            said["backend_type"] = member(VkbBackend, text, "type of backend")
        else:
            raise SpecError(f"{quoted(token)} is not a setting of a keyboard")
    if said.get("backend_type") is None:
        raise SpecError("backend-type is missing; it can be qemu or linux")
    touch = any(said.get(name.replace("-", "_")) for name in _VKB_TOUCH)
    if said.get("feature_multi_touch") and not touch:
        raise SpecError(f"a touch screen needs one of {', '.join(_VKB_TOUCH)}")
    if touch:
        said["feature_multi_touch"] = True
    return Vkb(**said)


def write_vkb(vkb: Vkb) -> str:
    """Write one item of ``vkb``, as far as the grammar has words for it."""
    return joined(_vkb_words(vkb))


def _vkb_words(vkb: Vkb) -> Iterator[tuple[str, Any]]:
    yield "backend-type", vkb.backend_type
    yield "unique-id", vkb.unique_id
    yield "backend", vkb.backend
    for name in _VKB_FLAGS:
        yield name, 1 if getattr(vkb, name.replace("-", "_")) else None
    for name in _VKB_NUMBERS:
        yield name, getattr(vkb, name.replace("-", "_")) or None
