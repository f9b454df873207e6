"""``<video>`` and ``<sound>``: the emulated graphics card and sound card of an HVM guest."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, VgaInterfaceType
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = ["DEFAULT_VIDEORAM", "read", "write"]

_CARDS: Final = {
    "cirrus": VgaInterfaceType.CIRRUS,
    "vga": VgaInterfaceType.STD,
    "xen": VgaInterfaceType.STD,
    "qxl": VgaInterfaceType.QXL,
}
_CARD_NAMES: Final = {
    VgaInterfaceType.CIRRUS: "cirrus",
    VgaInterfaceType.STD: "vga",
    VgaInterfaceType.QXL: "qxl",
}
_SOUND: Final = {"ac97": "ac97", "es1370": "es1370", "sb16": "sb16", "ich6": "hda"}
_SOUND_NAMES: Final = {name: model for model, name in _SOUND.items()}
_MOST_KIB: Final = 2**32 - 1
_OF_QXL: Final = ("ram", "vgamem", "vram64")

DEFAULT_VIDEORAM: Final = {VgaInterfaceType.CIRRUS: 8, VgaInterfaceType.STD: 16, VgaInterfaceType.QXL: 128}
"""The default video memory in MiB, which is the same in libxl and libvirt."""


def read(devices: Node, found: XmlReadState) -> None:
    """Read the first graphics card and the first sound card."""
    _read_video(devices, found)
    for node in devices.children:
        if node.tag == "sound" and found.is_hvm and node.attributes.get("model") in _SOUND:
            node.taken = True
            found.put("soundhw", _SOUND[node.get("model") or ""], node)
            break


def _read_video(devices: Node, found: XmlReadState) -> None:
    video = next((node for node in devices.children if node.tag == "video"), None)
    if not found.is_hvm:
        if video is not None:
            video.drop()  # libvirt adds it to every framebuffer
        return
    if video is None:
        # Without <graphics> there is no card; otherwise libvirt adds one, which is xl's default card.
        if not any(node.tag == "graphics" for node in devices.children):
            found.fields["nographic"] = True
            found.fields["vga"] = VgaInterfaceType.NONE
        return
    model = video.child("model")
    name = model.attributes.get("type") if model is not None else "cirrus"
    if name not in _CARDS:
        return
    video.taken = True
    found.put("vga", _CARDS[name], video)
    if model is None:
        return
    model.get("type")
    model.get("heads")
    model.get("primary")
    for memory in _OF_QXL:
        model.get(memory)
    if vram := model.number("vram", 0, _MOST_KIB):
        found.put("videoram", kib_to_mib(vram), model)


def write(config: DomainConfig, devices: Node) -> None:
    """Write the graphics card and the sound card."""
    if config.type is not DomainType.HVM:
        return
    if config.soundhw in _SOUND_NAMES:
        devices.add("sound", model=_SOUND_NAMES[config.soundhw])
    card = config.vga or VgaInterfaceType.CIRRUS
    if card in _CARD_NAMES:
        vram = DEFAULT_VIDEORAM[card] if config.videoram is None else config.videoram
        vram_kib = mib_to_kib(vram)
        model = devices.add("video").add("model", type=_CARD_NAMES[card])
        if 0 < vram_kib <= _MOST_KIB:
            model.set(vram=vram_kib)
        model.set(heads=1, primary="yes")
