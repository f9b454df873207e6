"""Devices of a running domain, from the nodes that libxl, backends and the guest write to xenstore.

libxl's own records, below ``/libxl``, say which devices there are and where their backends are. No guest can change
these. What a guest writes into its frontends counts as numbers and text only: never as a path, and never as a reason to
fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pyxen._common.backend_path import BackendPath, backend_path
from pyxen._common.recorded_devices import RECORDED, Values, device_config
from pyxen._printable import printable
from pyxen.config import Channel, Disk, Pci, PciAddress, UsbDev
from pyxen.config.device_table import CONSOLES, Kind
from pyxen.records.live_device import LiveDevice
from pyxen.records.stats import DeviceState

__all__ = ["NodeReader", "live_devices"]


class NodeReader(Protocol):
    """What is needed of a xenstore."""

    def look(
        self, paths: Sequence[str], folders: Sequence[str]
    ) -> tuple[Sequence[str | None], Sequence[Sequence[str]]]:
        """Return the values of nodes, and the names of the children of others, in one round trip.

        A node that does not exist has no value, and no children.
        """


_NUMBER: Final = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)
_PCI_PLACE: Final = re.compile(r"dev-(0|[1-9]\d{0,2})", re.ASCII)
_LONGEST: Final = 1024  # characters of a text

_STATES: Final = {str(number): state for number, state in enumerate(DeviceState)}
"""States by what xenstore has for them."""

_RINGS: Final = re.compile(r"(?:(?:tx|rx|urb|conn|req|evt)-)?ring-ref-?(\d{0,2})|page-gref|pci-op-ref", re.ASCII)
_CHANNELS: Final = re.compile(r"(?:(?:req|evt)-)?event-channel(?:-(?:tx|rx|(\d{1,2})))?|port", re.ASCII)
_QUEUE: Final = re.compile(r"(?:queue-)?(0|[1-9]\d?)", re.ASCII)
_MOST_QUEUES: Final = 64  # of a device that are looked at: a guest can make many
_MOST_RINGS: Final = 256
_SECOND: Final = ("rx", "conn", "evt")  # words for the second ring of a pair

_ITSELF: Final = ""  # the name of a record among its nodes
_IN_BACKEND: Final = ("state", "hotplug-error", "bridge", "physical-device", "physical-device-path")


@dataclass(slots=True)
class _Place:
    """Where a device is in xenstore."""

    domid: int
    node: str
    number: int
    said: dict[str, str | None] = field(default_factory=dict)
    """What libxl's record says."""
    names: Sequence[str] = ()
    """What there is in the folder of the frontend."""
    queues: dict[str, Sequence[str]] = field(default_factory=dict)
    """What there is in the folders of its queues."""

    @property
    def record(self) -> str:
        """The record that libxl keeps of it."""
        return f"/libxl/{self.domid}/device/{self.node}/{self.number}"

    @property
    def frontend(self) -> str:
        """The folder of the frontend."""
        top = f"/local/domain/{self.domid}"
        return f"{top}/console" if (self.node, self.number) == ("console", 0) else f"{top}/{self._in_guest}"

    @property
    def _in_guest(self) -> str:
        return f"device/{self.node}/{self.number}"

    @property
    def backend(self) -> BackendPath | None:
        """Where the backend is; None if there is none."""
        found = backend_path(self.said.get("backend"))
        return found if found is not None and found.domid == self.domid else None

    def nodes(self) -> dict[str, str]:
        """Return the nodes that say how the device is, by what they say."""
        nodes = {
            "frontend/state": f"{self.frontend}/state",
            "frontend/error": f"/local/domain/{self.domid}/error/{self._in_guest}/error",
        }
        if self.backend is not None:
            path, domid, kind, *_ = self.backend
            nodes |= {name: f"{path}/{name}" for name in _IN_BACKEND}
            error = f"error/backend/{kind}/{self.domid}/{self.number}/error"
            nodes |= {"error": f"/local/domain/{domid}/{error}", "name": f"/local/domain/{domid}/name"}
        return nodes

    def rings(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the names in the frontend's folder that are of a pattern, in order."""
        found = [(0, *_rank(pattern, name), name) for name in self.names if pattern.fullmatch(name)]
        for queue, names in self.queues.items():
            number = _QUEUE.fullmatch(queue)
            place = int(number[1]) + 1 if number else 0
            found += [(place, *_rank(pattern, name), f"{queue}/{name}") for name in names if pattern.fullmatch(name)]
        return [each[-1] for each in sorted(found)][:_MOST_RINGS]


def _rank(pattern: re.Pattern[str], name: str) -> tuple[int, int]:
    found = pattern.fullmatch(name)
    second = any(word in name.split("-") for word in _SECOND)
    return int(found[1] or 0) if found and found[1] else 0, int(second)


def live_devices(nodes: NodeReader, domid: int, kind: Kind, configs: Sequence[Any]) -> tuple[LiveDevice[Any], ...]:
    """Return the devices of a kind that a domain has, ordered by number.

    Args:
        nodes: The xenstore.
        domid: The domain.
        kind: The kind.
        configs: What is known of their configurations. A device that is not among them gets what xenstore says.
    """
    places = _places(nodes, domid, kind)
    units, states = _states(nodes, kind, places)
    found: list[LiveDevice[Any]] = []
    for place in places:
        linked = _linked(place, states)
        if kind.part is Pci:
            found += _pcis(linked, units[place.record], configs)
        elif kind.part is UsbDev:
            found += _usb_devices(linked, place.number, units[place.record], configs)
        else:
            found.append(LiveDevice(config=device_config(kind, place.number, place.said, configs), **linked))
    return tuple(found)


def _places(nodes: NodeReader, domid: int, kind: Kind) -> list[_Place]:
    """Return where the devices are, with what libxl's records and the names in the frontends' folders say."""
    folders = {Disk: ("vbd", "virtio_disk"), UsbDev: ("vusb",)}.get(kind.part, (kind.node or "",))
    _, listed = nodes.look((), [f"/libxl/{domid}/device/{node}" for node in folders])
    places = [
        _Place(domid, node, number)
        for node, names in zip(folders, listed, strict=True)
        for number in sorted(int(name) for name in names if _NUMBER.fullmatch(name))
    ]
    wanted = (_ITSELF, "backend", *RECORDED.get(kind.part, ()))
    paths = [f"{place.record}/{name}".rstrip("/") for place in places for name in wanted]
    values, names = nodes.look(paths, [place.frontend for place in places])
    for index, place in enumerate(places):
        place.said = dict(zip(wanted, values[index * len(wanted) :][: len(wanted)], strict=True))
        place.names = names[index]
    places = [place for place in places if place.said[_ITSELF] is not None]  # the others were just removed
    if kind.part is Channel:
        places = [place for place in places if bool(place.said["name"]) is (kind is not CONSOLES)]
    return places


def _states(nodes: NodeReader, kind: Kind, places: Sequence[_Place]) -> tuple[dict[str, dict[str, str | None]], Values]:
    """Return what shared folders say of each device in them, by the record of the folder; and all other values."""
    queues = [(place, name) for place in places for name in _queues(place.names)]
    shared = [folder for place in places for folder in _shared(kind, place)]
    paths = [path for place in places for path in place.nodes().values()]
    values, names = nodes.look(paths, [*(f"{place.frontend}/{name}" for place, name in queues), *shared])
    known = dict(zip(paths, values, strict=True))
    for (place, name), inside in zip(queues, names, strict=False):
        place.queues[name] = inside
    units = dict(zip([place.record for place in places], names[len(queues) :], strict=False))
    more = [path for place in places for path in _more(kind, place, units)]
    values, _ = nodes.look(more, ())
    known |= dict(zip(more, values, strict=True))
    found = {}
    for place in places:
        folder = next(iter(_shared(kind, place)), "")
        found[place.record] = {
            path.removeprefix(f"{folder}/"): known[path] for path in _units(kind, place, units.get(place.record, ()))
        }
    return found, known


def _queues(names: Sequence[str]) -> list[str]:
    return [name for name in names if _QUEUE.fullmatch(name)][:_MOST_QUEUES]


def _shared(kind: Kind, place: _Place) -> list[str]:
    """Return the folder that says which devices share this place, if its kind has such folders."""
    folder = place.record if place.backend is None else place.backend.path
    return {Pci: [folder], UsbDev: [f"{folder}/port"]}.get(kind.part, [])


def _units(kind: Kind, place: _Place, names: Sequence[str]) -> list[str]:
    """Return the nodes of the devices that share a place."""
    paths = []
    for folder in _shared(kind, place):
        if kind.part is Pci:
            numbers = sorted(int(found[1]) for name in names if (found := _PCI_PLACE.fullmatch(name)))
            paths += [f"{folder}/{node}-{number}" for number in numbers for node in ("dev", "vdevfn")]
        else:
            paths += [f"{folder}/{number}" for number in sorted(int(name) for name in names if _NUMBER.fullmatch(name))]
    return paths


def _more(kind: Kind, place: _Place, units: Mapping[str, Sequence[str]]) -> list[str]:
    rings = place.rings(_RINGS) + place.rings(_CHANNELS)
    return [f"{place.frontend}/{name}" for name in rings] + _units(kind, place, units.get(place.record, ()))


def _linked(place: _Place, states: Values) -> dict[str, Any]:
    """Return the fields of a `LiveDevice` that say what state both ends are in."""
    if place.backend is None:  # an emulated device, which has no ends
        return {"devid": place.number}
    said = {name: states.get(path) for name, path in place.nodes().items()}
    path, domid, *_ = place.backend
    return {
        "devid": place.number,
        "backend_domid": domid,
        "backend_name": _text(said["name"]),
        "backend_state": _state(said["state"]),
        "frontend_state": _state(said["frontend/state"]),
        "event_channels": _numbers(place, _CHANNELS, states),
        "ring_refs": _numbers(place, _RINGS, states),
        "frontend_path": place.frontend,
        "backend_path": path,
        "interface": _interface(place),
        "bridge": _text(said["bridge"]),
        "physical_device": _text(said["physical-device"]),
        "physical_path": _text(said["physical-device-path"]),
        "error": _text(said["error"]) or _text(said["hotplug-error"]),
        "frontend_error": _text(said["frontend/error"]),
    }


def _interface(place: _Place) -> str | None:
    """Return the name that libxl gives the interface of a vif; None for other devices."""
    if place.node != "vif":
        return None
    return _text(place.said["vifname"]) or f"vif{place.domid}.{place.number}"


def _numbers(place: _Place, pattern: re.Pattern[str], states: Values) -> tuple[int, ...]:
    values = (states.get(f"{place.frontend}/{name}") for name in place.rings(pattern))
    return tuple(int(value) for value in values if value and _NUMBER.fullmatch(value) and int(value) < 2**32)


def _state(value: str | None) -> DeviceState:
    return _STATES.get(value or "", DeviceState.UNKNOWN)


def _text(value: str | None) -> str | None:
    """Return a text from xenstore, safe to print, and not too long; None if it is empty."""
    return printable(value[:_LONGEST]).strip() or None if value else None


def _pcis(linked: dict[str, Any], said: Values, configs: Sequence[Any]) -> list[LiveDevice[Pci]]:
    """Return the PCI devices that share a backend."""
    entries = []
    for name, value in said.items():
        node, _, number = name.rpartition("-")
        if node != "dev":
            continue
        try:
            address = PciAddress(value or "")
        except ValueError:
            continue  # it was just removed
        config = next((config for config in configs if config.address == address), Pci(address))
        entries.append(LiveDevice(config=config, **linked, slot=_slot(said.get(f"vdevfn-{number}"))))
    return entries


def _slot(vdevfn: str | None) -> str | None:
    found = re.fullmatch(r"(?:0[xX])?([0-9a-fA-F]{1,2})", vdevfn or "")
    return f"{int(found[1], 16) >> 3:02x}.{int(found[1], 16) & 7}" if found else None


def _usb_devices(
    linked: dict[str, Any], controller: int, said: Values, configs: Sequence[Any]
) -> list[LiveDevice[UsbDev]]:
    """Return the USB devices in the ports of a controller."""
    entries = []
    for port, bus_id in said.items():
        if not bus_id:
            continue
        at = (controller, int(port))
        config = next((config for config in configs if (config.controller, config.port) == at), None)
        config = config or UsbDev(controller=controller, port=min(int(port), 31))
        entries.append(LiveDevice(config=config, **linked | {"devid": None, "physical_device": _text(bus_id)}))
    return entries
