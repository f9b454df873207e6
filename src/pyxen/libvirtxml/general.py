"""The domain's identity, ``<name>``, ``<uuid>`` and ``<seclabel>``, and its actions on shutdown, ``<on_…>``."""

from __future__ import annotations

from typing import Final

from pyxen.config import ActionOnShutdown, DomainConfig
from pyxen.libvirtxml.node import Node, without_unsayable
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import LINE, fitting

__all__ = ["read", "read_events", "write", "write_events", "write_seclabel"]

_ACTIONS: Final = {
    "destroy": ActionOnShutdown.DESTROY,
    "restart": ActionOnShutdown.RESTART,
    "preserve": ActionOnShutdown.PRESERVE,
    "rename-restart": ActionOnShutdown.RESTART_RENAME,
    "coredump-destroy": ActionOnShutdown.COREDUMP_DESTROY,
    "coredump-restart": ActionOnShutdown.COREDUMP_RESTART,
}
_ACTION_NAMES: Final = {action: name for name, action in _ACTIONS.items()}
_AFTER_CRASHES_ONLY: Final = ("coredump-destroy", "coredump-restart")
_EVENTS: Final = ("on_poweroff", "on_reboot", "on_crash")


def read(domain: Node, found: XmlReadState) -> None:
    """Read name, uuid and label."""
    name = domain.child("name")
    if name is None:
        raise domain.wrong("it has no <name>")
    found.put("name", name.word() or "", name)
    if not found.fields["name"]:
        raise name.wrong("it is empty")
    uuid = domain.child("uuid")
    if uuid is not None:
        found.put("uuid", uuid.word(), uuid)
    for seclabel in domain.all("seclabel"):
        _read_seclabel(seclabel, found)


def _read_seclabel(seclabel: Node, found: XmlReadState) -> None:
    if seclabel.attributes.get("type", "dynamic") != "static":
        seclabel.drop()  # libvirt chooses such labels at run time, and never for Xen
        return
    label = seclabel.child("label")
    if label is not None and "seclabel" not in found.fields:
        found.put("seclabel", label.word(), label)
        for name in ("type", "model", "relabel"):
            seclabel.get(name)
        if (image := seclabel.child("imagelabel")) is not None:
            image.drop()


def write(config: DomainConfig, domain: Node) -> None:
    """Write name, uuid and label."""
    domain.add("name", without_unsayable(fitting(config.name, LINE) or "") or "-")
    if config.uuid is not None and config.uuid.int:
        domain.add("uuid", str(config.uuid))


def write_seclabel(config: DomainConfig, domain: Node) -> None:
    """Write the XSM label, which libvirt has after the devices."""
    label = config.seclabel if config.seclabel is not None else config.init_seclabel
    if label:
        domain.add("seclabel", type="static", model="flask", relabel="no").add("label", label)


def read_events(domain: Node, found: XmlReadState) -> None:
    """Read the actions on shutdown, reboot and crash."""
    for event in _EVENTS:
        node = domain.child(event)
        if node is None:
            continue
        action = node.word() or ""
        if action not in _ACTIONS:
            raise node.wrong(f"{action!r} is not a valid action; use one of {', '.join(_ACTIONS)}")
        found.put(event, _ACTIONS[action], node)


def write_events(config: DomainConfig, domain: Node) -> None:
    """Write the actions on shutdown, reboot and crash."""
    for event in _EVENTS:
        action = _ACTION_NAMES.get(getattr(config, event))
        if action and (event == "on_crash" or action not in _AFTER_CRASHES_ONLY):
            domain.add(event, action)
