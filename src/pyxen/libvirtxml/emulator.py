"""``<emulator>`` and ``<xen:commandline>``: the device model and its extra arguments."""

from __future__ import annotations

from pyxen.config import DeviceModel, DomainConfig, DomainType
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import ABSOLUTE_PATH, fitting
from pyxen.libvirtxml.text import XEN_NAMESPACE

__all__ = ["COMMANDLINE", "read", "write", "write_arguments"]

COMMANDLINE = f"{{{XEN_NAMESPACE}}}commandline"
_ARG = f"{{{XEN_NAMESPACE}}}arg"


def read(domain: Node, devices: Node, found: XmlReadState) -> None:
    """Read the device model and its arguments."""
    emulator, commandline = devices.child("emulator"), domain.merged(COMMANDLINE)
    if emulator is not None and not found.is_hvm:
        emulator.drop()  # the Xen driver ignores it, and virt-install writes it for every guest
    path = emulator.word() if emulator is not None else None
    arguments = [arg.get("value") or "" for arg in commandline.all(_ARG)] if commandline is not None else None
    if path or arguments:
        node = emulator or commandline or devices
        found.put("device_model", found.make(DeviceModel, node, path=path, args=arguments), node)


def write(config: DomainConfig, devices: Node) -> None:
    """Write the device model of an HVM guest: the Xen driver ignores that of the others."""
    if config.type is not DomainType.HVM:
        return
    if path := fitting(config.device_model.path, ABSOLUTE_PATH):
        devices.add("emulator", path)


def write_arguments(config: DomainConfig, domain: Node, *, is_xen: bool) -> None:
    """Write the arguments of the device model, which only the Xen driver supports."""
    if config.device_model.args and is_xen:
        domain.attributes["xmlns:xen"] = XEN_NAMESPACE
        commandline = domain.add(COMMANDLINE)
        for argument in config.device_model.args:
            commandline.add(_ARG, value=argument)
