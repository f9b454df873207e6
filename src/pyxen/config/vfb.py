"""Paravirtual framebuffers (xl.cfg ``vfb``) and keyboards (``vkb``)."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Coerced, setting
from pyxen.config.checks import INT_MAX, UINT32_MAX, integer, member, part, text, yes_or_no
from pyxen.config.device import Device
from pyxen.config.enum_names import VkbBackendName
from pyxen.config.enums import VkbBackend
from pyxen.config.graphics import Sdl, Vnc

__all__ = ["Vfb", "Vkb"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Vfb(Device):
    """A paravirtual framebuffer, as one item of xl.cfg's ``vfb``; xl adds a keyboard to each."""

    vnc: Vnc = setting(Vnc(), part(Vnc), key="vnc")
    """How to see it over the network."""
    sdl: Sdl = setting(Sdl(), part(Sdl), key="sdl")
    """How to see it on the host's screen."""
    keymap: str | None = setting(None, text)
    """Layout of the keyboard. Default ``en-us``."""
    keyboard: bool = setting(True, yes_or_no, key="")
    """Whether a keyboard and pointer come with it, as xl has it. Their settings are `Vkb`'s defaults."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the framebuffer in the guest. Default: its place in the list, as in xl."""
    backend: str | None = setting(None, text, key="")
    """Name of the domain that serves the framebuffer. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves the framebuffer, where it has no name here."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Vkb(Device):
    """A paravirtual keyboard, pointer or touch screen, as one item of xl.cfg's ``vkb``.

    Those that come with a framebuffer are set by `Vfb.keyboard` and precede these.
    """

    backend_type: Coerced[VkbBackend | None, VkbBackend | VkbBackendName | None] = setting(
        None, member(VkbBackend), key="backend-type"
    )
    """Who serves it: ``qemu`` or ``linux``. xl demands it."""
    unique_id: str | None = setting(None, text, key="unique-id")
    """Name by which the backend finds it."""
    feature_disable_keyboard: bool = setting(False, yes_or_no, key="feature-disable-keyboard")
    """Whether it has no keyboard."""
    feature_disable_pointer: bool = setting(False, yes_or_no, key="feature-disable-pointer")
    """Whether it has no pointer."""
    feature_abs_pointer: bool = setting(False, yes_or_no, key="feature-abs-pointer")
    """Whether the pointer reports absolute positions."""
    feature_raw_pointer: bool = setting(False, yes_or_no, key="feature-raw-pointer")
    """Whether absolute positions come unscaled."""
    feature_multi_touch: bool = setting(False, yes_or_no, key="feature-multi-touch")
    """Whether it is a touch screen; then one of the ``multi_touch`` settings below is needed."""
    width: int = setting(0, integer(0, UINT32_MAX))
    """Largest x of the pointer; 0 is the backend's default."""
    height: int = setting(0, integer(0, UINT32_MAX))
    """Largest y of the pointer; 0 is the backend's default."""
    multi_touch_width: int = setting(0, integer(0, UINT32_MAX), key="multi-touch-width")
    """Width of the touch screen."""
    multi_touch_height: int = setting(0, integer(0, UINT32_MAX), key="multi-touch-height")
    """Height of the touch screen."""
    multi_touch_num_contacts: int = setting(0, integer(0, UINT32_MAX), key="multi-touch-num-contacts")
    """How many fingers it tells apart."""
    devid: int | None = setting(None, integer(0, INT_MAX), key="")
    """Number of the keyboard in the guest. Default: its place, after those of the framebuffers, as in xl."""
    backend: str | None = setting(None, text)
    """Name of the domain that serves it. Default: dom0, or ``backend_domid``."""
    backend_domid: int = setting(0, integer(0, 0x7FFF), key="")
    """Domid of the domain that serves it, where it has no name here."""
