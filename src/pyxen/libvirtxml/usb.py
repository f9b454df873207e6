"""``<input bus='usb'>``, and controllers with settings: ``usb``, and ``xenbus`` for Xen's own limits."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType, UsbCtrl, UsbCtrlType
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState

__all__ = ["DEFAULT_PORTS", "DEFAULT_VERSION", "ctrl_sayable", "read", "write"]

_INPUTS: Final = ("mouse", "tablet")
"""The USB devices of libvirt's Xen driver. It refuses to start a guest with another."""

_MODELS: Final = {"qusb1": 1, "qusb2": 2}
_INT_MAX: Final = 2**31 - 1
_MOST_PORTS: Final = 31
_MOST_CONTROLLERS: Final = 2**16

DEFAULT_VERSION, DEFAULT_PORTS = 2, 8
"""The defaults of a controller, which are the same in libxl and libvirt."""


def read(devices: Node, found: XmlReadState) -> None:
    """Read input devices and controllers."""
    for node in devices.children:
        if node.tag == "input" and found.is_hvm and node.attributes.get("bus") == "usb":
            if node.attributes.get("type") in _INPUTS:
                node.taken = True
                node.get("bus")
                found.append("usbdevice", node.get("type"))
        elif node.tag == "controller":
            _read_controller(node, found)


def _read_controller(node: Node, found: XmlReadState) -> None:
    kind = node.attributes.get("type")
    if kind == "xenbus":
        node.taken = True
        node.get("type")
        node.get("index")
        found.put("max_grant_frames", node.number("maxGrantFrames", 0, _INT_MAX) or None, node)
        found.put("max_event_channels", node.number("maxEventChannels", 0, _INT_MAX) or None, node)
    elif kind == "usb" and node.attributes.get("model", "qusb2") in _MODELS:
        node.taken = True
        node.get("type")
        index = node.number("index", 0, _MOST_CONTROLLERS)
        controller = found.make(
            UsbCtrl,
            node,
            type=UsbCtrlType.QUSB,
            version=_MODELS[node.get("model") or "qusb2"],
            ports=node.number("ports", 1, _MOST_PORTS),
            devid=None if index == len(found.fields.get("usbctrls", ())) else index,
        )
        found.append("usbctrls", controller)


def ctrl_sayable(controller: UsbCtrl) -> bool:
    """Whether libvirt's XML can express a USB controller: only those that QEMU serves to PV drivers."""
    return controller.type is UsbCtrlType.QUSB and controller.version in (None, 1, 2)


def _limit(number: int | None) -> int | None:
    return number if number and number <= _INT_MAX else None


def write(config: DomainConfig, devices: Node) -> None:
    """Write input devices and controllers."""
    frames, channels = _limit(config.max_grant_frames), _limit(config.max_event_channels)
    if frames or channels:
        devices.add("controller", type="xenbus", index=0, maxGrantFrames=frames, maxEventChannels=channels)
    for place, controller in enumerate(config.usbctrls):
        if ctrl_sayable(controller):
            devices.add(
                "controller",
                type="usb",
                index=place if controller.devid is None else controller.devid,
                model=f"qusb{controller.version or DEFAULT_VERSION}",
                ports=controller.ports or DEFAULT_PORTS,
            )
    if config.type is DomainType.HVM:
        for device in config.usbdevice:
            if device in _INPUTS:
                devices.add("input", type=device, bus="usb")
