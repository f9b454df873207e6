"""Configurations of devices, from what is known of a domain, or from libxl's records of its devices in xenstore."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from pyxen.config import P9, Channel, Device, Disk, Vif, Vkb, VkbBackend, Vtpm
from pyxen.config.device_table import CONSOLES, Kind
from pyxen.config.vdev import vdev_number
from pyxen.errors import ConfigError

__all__ = ["RECORDED", "Values", "device_config"]

Values = Mapping[str, str | None]
"""Values of nodes, by name or path."""

RECORDED: Final[dict[type[Device], tuple[str, ...]]] = {
    Disk: ("dev", "params", "mode", "device-type"),
    Vif: ("mac", "bridge", "script", "vifname"),
    Vtpm: ("uuid",),
    Channel: ("name", "connection", "path"),
    P9: ("path", "security_model"),
    Vkb: (),
}
"""What is needed of libxl's record of a device, if its configuration is not known."""

_FORMAT: Final = re.compile(r"^(aio|qcow2?|vhd|qed):")


def device_config(kind: Kind, number: int, said: Values, configs: Sequence[Any]) -> Device:
    """Return the configuration of a device: the one that is known, or what libxl's record says.

    Args:
        kind: The kind.
        number: Number of the device in xenstore.
        said: What the record says: ``backend``, and the names in `RECORDED`.
        configs: The configurations that are known.
    """
    for index, config in enumerate(configs):
        if _is_at(number, said, index, config):
            return _numbered(config, number)
    read = _FROM_RECORD.get(kind.part)
    if kind is not CONSOLES and read is not None:
        try:
            return _numbered(read(said), number)
        except (ValueError, ConfigError):
            pass  # it was not written by libxl: its number is known, at least
    part: Any = kind.part
    if kind.part is Disk:
        disk: Device = part(vdev=str(number))
        return disk
    numbered: Device = part(devid=number)
    return numbered


def _is_at(number: int, said: Values, index: int, config: Any) -> bool:
    if isinstance(config, Disk):
        return vdev_number(config.vdev or "") == number
    if isinstance(config, Channel):
        return config.name is not None and config.name == said["name"]
    return bool((index if config.devid is None else config.devid) == number)


def _numbered(config: Any, number: int) -> Device:
    if isinstance(config, Disk):
        return config if vdev_number(config.vdev or "") == number else config.replace(vdev=str(number))
    numbered: Device = config if config.devid == number else config.replace(devid=number)
    return numbered


def _disk(said: Values) -> Disk:
    target = _FORMAT.sub("", said["params"] or "", count=1) or None
    cdrom = said["device-type"] == "cdrom"
    readonly = None if cdrom or said["mode"] is None else said["mode"] == "r"
    return Disk(target, vdev=said["dev"], readonly=readonly, cdrom=cdrom)


def _vif(said: Values) -> Vif:
    return Vif.from_dict({name: said[name] for name in ("mac", "bridge", "script", "vifname") if said[name]})


def _channel(said: Values) -> Channel:
    return Channel.from_dict({name: said[name] for name in ("name", "connection", "path") if said[name]})


_FROM_RECORD: Final[Mapping[type[Device], Callable[[Values], Device]]] = {
    Disk: _disk,
    Vif: _vif,
    Vtpm: lambda said: Vtpm(uuid=UUID(said["uuid"] or "")),
    Channel: _channel,
    P9: lambda said: P9(path=said["path"], security_model=said["security_model"]),
    Vkb: lambda said: Vkb(backend_type=VkbBackend.LINUX if "/vinput/" in (said["backend"] or "") else VkbBackend.QEMU),
}
"""How a configuration is read from libxl's record, for the kinds that matter most.

libxl itself does not note some of those that come to a running domain: keyboards and shared folders.
"""
