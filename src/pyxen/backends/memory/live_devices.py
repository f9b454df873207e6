"""Devices of a simulated domain, from the nodes of its host's xenstore and the configuration of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyxen._common.live_devices import live_devices as in_xenstore
from pyxen.backends.memory.configuration import as_given
from pyxen.backends.memory.device_records import in_ports
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.nodetree import NodeTree
from pyxen.config import Disk, UsbDev
from pyxen.config.device_table import CONSOLES, Kind
from pyxen.config.libxl_defaults import without_defaults
from pyxen.records.live_device import LiveDevice

__all__ = ["live_devices"]


class _Nodes:
    """The nodes of a host."""

    def __init__(self, tree: NodeTree) -> None:
        self._tree = tree

    def look(self, paths: Sequence[str], folders: Sequence[str]) -> tuple[list[str | None], list[list[str]]]:
        values = self._tree.read_many(paths)
        found = [self._tree.peek(folder) for folder in folders]
        texts = [None if value is None else value.decode(errors="replace") for value in values]
        return texts, [[] if node is None else [*node.children] for node in found]


def live_devices(machine: Machine, guest: Guest, kind: Kind) -> tuple[LiveDevice[Any], ...]:
    """Return the devices of a kind that a domain has. The caller holds the lock of the machine."""
    configs: Sequence[Any] = () if kind is CONSOLES else getattr(without_defaults(guest.config), kind.field)
    if kind.part is Disk:
        configs = as_given(guest, configs)
    if kind.part is UsbDev:
        configs = in_ports(guest.config)
    found = in_xenstore(_Nodes(machine.store_nodes.tree), guest.domid, kind, configs)
    if kind.part is UsbDev:  # those without a controller in the configuration have no nodes
        shown = {(entry.config.controller, entry.config.port) for entry in found}
        found += tuple(LiveDevice(config=one) for one in configs if (one.controller, one.port) not in shown)
    return found
