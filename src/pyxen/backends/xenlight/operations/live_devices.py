"""Devices of a running domain: from xenstore, libxl's record of the domain, and dom0's kernel; not through libxl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pyxen import libxljson
from pyxen._common.live_devices import live_devices as in_xenstore
from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.operations.backend_devices import BackendDevice, interface_of
from pyxen.config import Device, Disk, DomainConfig, Vif
from pyxen.config.device_table import CONSOLES, Kind
from pyxen.config.libxl_defaults import without_defaults
from pyxen.errors import ConfigError, OperationFailed
from pyxen.libxljson.text import parse
from pyxen.records.info import DomainInfo
from pyxen.records.live_device import LiveDevice

__all__ = ["live_devices"]

_RECORD: Final = "/var/lib/xen/userdata-d.{}.{}.libxl-json"
"""Where libxl keeps its record of a domain, by domid and uuid."""


def live_devices(hypervisor: Hypervisor, info: DomainInfo, kind: Kind) -> tuple[LiveDevice[Any], ...]:
    """Return the devices of a kind that a domain has."""
    with shortage(OperationFailed, "cannot read devices"):
        configs = () if kind is CONSOLES else _recorded(info, kind)
        found = in_xenstore(hypervisor, info.domid, kind, configs)
        return tuple(_with_interface(info.domid, entry) for entry in found) if kind.part is Vif else found


def _recorded(info: DomainInfo, kind: Kind) -> Sequence[Device]:
    """Return the devices of a kind in libxl's record of a domain; none if libxl keeps no record that can be read."""
    try:
        document = parse(Path(_RECORD.format(info.domid, info.uuid)).read_bytes().rstrip(b"\0"))
        structs = document[kind.member]
    except (FileNotFoundError, ConfigError, LookupError, TypeError):
        return ()
    devices: list[Device] = []
    for struct in structs if isinstance(structs, list) else ():
        try:
            device = libxljson.device_from_dict(kind.part, struct, on_loss="ignore")
        except ConfigError:
            continue  # xenstore says what it can
        devices.append(device.replace(target=None) if isinstance(device, Disk) and device.target == "" else device)
    whole = DomainConfig(info.name or "domain", type=info.type).replace(**{kind.field: devices})
    plain: Sequence[Device] = getattr(without_defaults(whole), kind.field)
    return plain


def _with_interface(domid: int, entry: LiveDevice[Any]) -> LiveDevice[Any]:
    """Return a vif with the interface that dom0's kernel has, if dom0 serves it: the hotplug script may rename it."""
    if entry.backend_domid != 0 or entry.devid is None:
        return entry
    return replace(entry, interface=interface_of(BackendDevice("vif", domid, entry.devid)))
