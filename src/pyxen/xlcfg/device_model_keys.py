"""Keys of what the device model emulates: ``vga``, ``serial``, ``usbdevice`` and similar ones."""

from __future__ import annotations

from typing import Final

from pyxen._printable import quoted
from pyxen.config import DeviceModelVersion, GfxPassthruKind, VgaInterfaceType
from pyxen.xlcfg.read_state import Reader, XlReadState

__all__ = ["MODELS", "READERS", "VGA"]


VGA: Final = {
    "stdvga": VgaInterfaceType.STD,
    "cirrus": VgaInterfaceType.CIRRUS,
    "none": VgaInterfaceType.NONE,
    "qxl": VgaInterfaceType.QXL,
}
"""xl's names of the graphics cards."""

MODELS: Final = {
    "qemu-xen": DeviceModelVersion.QEMU_XEN,
    "qemu-xen-traditional": DeviceModelVersion.QEMU_XEN_TRADITIONAL,
}


def _vga(draft: XlReadState, name: str) -> None:
    value = draft.source.string(name)
    if value is not None:
        if value not in VGA:
            raise draft.source.error(name, f"{quoted(value)} is not a graphics card; it can be {', '.join(VGA)}")
        draft.fields["vga"] = VGA[value]


def _stdvga(draft: XlReadState, name: str) -> None:
    if draft.settings.string("vga") is not None:
        draft.source.note(name, "xl ignores it beside vga")
        return
    number = draft.source.integer(name)
    if number is not None:
        draft.fields["vga"] = VgaInterfaceType.STD if number else VgaInterfaceType.CIRRUS


def _gfx_passthru(draft: XlReadState, name: str) -> None:
    number = draft.settings.integer(name)
    if number is not None:
        draft.fields[name] = number != 0
        return
    value = draft.source.string(name)
    if value is not None:
        draft.fields["gfx_passthru_kind"] = draft.member(name, GfxPassthruKind, value)
        draft.fields[name] = True


def _one_or_more(draft: XlReadState, name: str) -> None:
    value = draft.settings.value(name)
    draft.fields[name] = [value] if isinstance(value, str) else draft.source.items(name)


def _device_model_version(draft: XlReadState, name: str) -> None:
    value = draft.source.string(name)
    if value is not None:
        if value not in MODELS:
            raise draft.source.error(name, f"{quoted(value)} is not a device model; it can be qemu-xen")
        draft.fields["device_model.version"] = MODELS[value]


READERS: Final[dict[str, Reader]] = {
    "vga": _vga,
    "stdvga": _stdvga,
    "gfx_passthru": _gfx_passthru,
    "serial": _one_or_more,
    "usbdevice": _one_or_more,
    "device_model_version": _device_model_version,
}
"""Readers by key."""
