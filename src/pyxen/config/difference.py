"""The difference between two configurations: settings by path, devices by what identifies them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pyxen.config.base import Part, fields_of
from pyxen.config.device import Device
from pyxen.config.device_table import KINDS, Kind
from pyxen.config.disk import Disk
from pyxen.config.libxl_defaults import without_defaults
from pyxen.config.usb import UsbCtrl, UsbDev
from pyxen.config.vdev import vdev_number
from pyxen.config.vif import Vif

if TYPE_CHECKING:
    from pyxen.config.domain import DomainConfig

__all__ = ["ConfigDiff", "DeviceChange", "SettingChange", "diff"]

_KIB_IN_MIB: Final = 1024

_FILLED_IN: Final = frozenset(
    {
        "uuid",
        "domid",
        "pool",
        "poolid",
        "seclabel",
        "ssidref",
        "exec_ssidref",
        "memory",
        "maxmem",
        "videoram",
        "shadow_memory",
        "iommu_memory",
        "slack_memory",
        "numa_placement",
        "cpumap",
        "nodemap",
        "rdms",
        "timeoffset",
        "vnc.enable",
        "vnc.listen",
        "vnc.display",
        "vnc.unused",
    }
)
"""Settings of a domain that libxl fills in, or works out, where they are left open, besides whole groups."""

_FILLED_IN_GROUPS: Final = ("scheduler", "arm")
"""Groups of settings that libxl fills in where they are left open."""

_MEANT: Final[dict[type[Part], frozenset[str]]] = {
    Disk: frozenset({"target", "script"}),
    Vif: frozenset({"ip", "vifname", "rate", "vlan", "gatewaydev", "forwarddev"}),
}
"""Settings of devices that libxl never fills in: without a value, they say that there is none."""

_OWN: Final = frozenset({"irq", "base"})
"""Settings of devices that are libxl's own, and have a number as their default."""

_CHOSEN: Final[dict[type[Part], frozenset[str]]] = {UsbCtrl: frozenset({"type"}), UsbDev: frozenset({"port"})}
"""Settings of devices that libxl chooses where they have their default value, which is not None."""


@dataclass(frozen=True, slots=True, repr=False)
class SettingChange:
    """A setting that differs.

    `str` and `repr` mask passwords; `before` and `after` do not.

    Attributes:
        path: The setting, e.g. ``vcpus``, ``scheduler.weight`` or ``vifs[0].bridge``; the number is the place in the
            list of the configuration compared with.
        before: Its value in the configuration that was asked.
        after: Its value in the configuration compared with.
    """

    path: str
    before: Any
    after: Any
    mask: Callable[[str], str] | None = field(default=None, compare=False)
    """Masks the value for people to read; None if it is not secret."""

    def __str__(self) -> str:
        return f"{self.path}: {self._shown(self.before)} -> {self._shown(self.after)}"

    def __repr__(self) -> str:
        return f"<SettingChange {self}>"

    def _shown(self, value: Any) -> str:
        from pyxen.losses import shown  # it is built on the model, and only used for people to read

        return shown(value) if self.mask is None or value is None else self.mask(str(value))


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """A device that both configurations have, with other settings.

    Attributes:
        path: The device in the configuration compared with, e.g. ``vifs[0]``.
        before: The device in the configuration that was asked.
        after: The device in the configuration compared with.
        settings: What differs.
    """

    path: str
    before: Device
    after: Device
    settings: tuple[SettingChange, ...]


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """What one configuration asks for that another is not, as `DomainConfig.diff` returns it; false if it is nothing.

    ``str(diff)`` has a line for each difference, with passwords masked.

    Attributes:
        settings: The settings of the domain itself that differ.
        added: Devices that only the configuration compared with has.
        removed: Devices that it does not have.
        changed: Devices that both have, with other settings.
    """

    settings: tuple[SettingChange, ...] = ()
    added: tuple[Device, ...] = ()
    removed: tuple[Device, ...] = ()
    changed: tuple[DeviceChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.settings or self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [str(change) for change in self.settings]
        lines += [f"removed {_noun(device)}: {device}" for device in self.removed]
        lines += [str(setting) for change in self.changed for setting in change.settings]
        lines += [f"added {_noun(device)}: {device}" for device in self.added]
        return "\n".join(lines) or "no difference"


_NOUNS: Final[dict[type[Device], str]] = {kind.part: kind.noun for kind in KINDS}


def _noun(device: Device) -> str:
    return _NOUNS[type(device)]


def diff(before: DomainConfig, after: DomainConfig) -> ConfigDiff:
    """Implement `DomainConfig.diff`."""
    old, new = without_defaults(before.canonical()), without_defaults(after.canonical())
    devices = {kind.field for kind in KINDS}
    settings = [
        change
        for change in _changes("", old, new, _open_in_domain)
        if change.path not in devices and change.path not in _SIZES
    ]
    added: list[Device] = []
    removed: list[Device] = []
    changed: list[DeviceChange] = []
    for kind in KINDS:
        pairs, gone = _paired(kind, getattr(old, kind.field), getattr(new, kind.field))
        removed += gone
        for place, (one, other) in enumerate(pairs):
            if one is None:
                added.append(other)
                continue
            path = f"{kind.field}[{place}]"
            found = tuple(_device_changes(path, kind, one, other))
            if found:
                changed.append(DeviceChange(path, one, other, found))
    return ConfigDiff((*_sizes(old, new), *settings), tuple(added), tuple(removed), tuple(changed))


_SIZES: Final = ("memory", "maxmem", "vcpus", "maxvcpus")
"""Settings that depend on each other where they are left open."""


def _sizes(old: DomainConfig, new: DomainConfig) -> Iterator[SettingChange]:
    """Compare memory and vCPUs as libxl gets them; memory only where it is given."""
    if new.effective_maxmem is not None:
        now, then = old.effective_maxmem, new.effective_maxmem
        memory = (now if old.memory is None else old.memory, then if new.memory is None else new.memory)
        for path, one, other in (("memory", *memory), ("maxmem", now, then)):
            if not _same(one, other):
                yield SettingChange(path, one, other)
    for path, one, other in (
        ("vcpus", old.vcpus, new.vcpus),
        ("maxvcpus", old.effective_maxvcpus, new.effective_maxvcpus),
    ):
        if one != other:
            yield SettingChange(path, one, other)


def _changes(path: str, old: Part, new: Part, left_open: Callable[[str, Any], bool]) -> Iterator[SettingChange]:
    """Yield the settings that differ, except those that the second part leaves open."""
    fields = fields_of(type(new))
    for name, default in zip(fields.names, fields.defaults, strict=True):
        one, other = getattr(old, name), getattr(new, name)
        inner = f"{path}.{name}" if path else name
        if _same(one, other):
            continue
        if isinstance(one, Part) and type(one) is type(other) and type(one).__str__ is object.__str__:
            yield from _changes(inner, one, other, left_open)
        elif not (other == default and left_open(inner, default)):
            yield SettingChange(inner, one, other, fields.settings[name].secret)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):  # in MiB, which libxl rounds to KiB
        if one is None or other is None:
            return one is other
        return bool(round(one * _KIB_IN_MIB) == round(other * _KIB_IN_MIB))
    return bool(one == other)


def _open_in_domain(path: str, default: Any) -> bool:
    """Tell whether a setting of a domain with its default value leaves the choice to libxl."""
    return path in _FILLED_IN or (default is None and path.split(".", 1)[0] in _FILLED_IN_GROUPS)


def _device_changes(path: str, kind: Kind, old: Device, new: Device) -> Iterator[SettingChange]:
    meant = _MEANT.get(kind.part, frozenset())
    own = _OWN | _CHOSEN.get(kind.part, frozenset())

    def left_open(inner: str, default: Any) -> bool:
        name = inner.rpartition(".")[2]
        return name in own or (default is None and name not in meant)

    for change in _changes(path, old, new, left_open):
        name = change.path.rpartition(".")[2]
        if name == "devid" and kind.field != "usbctrls" and None in (change.before, change.after):
            continue  # its place in the list says the number
        if name == "vdev" and vdev_number(str(change.before)) == vdev_number(str(change.after)):
            continue  # d0p0 is xvda
        yield change


_Pairs = list[tuple[Any, Any]]


def _paired(kind: Kind, old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[_Pairs, list[Any]]:
    """Match devices: by their names, then by their numbers, then, where they have no names, by their order.

    Returns:
        For each new device the old one, or None; and the old ones that are left.
    """
    partners: dict[int, int] = {}
    left = dict(enumerate(old))

    def match(
        offered: Sequence[Hashable], wanted: Sequence[Hashable], fits: Callable[[Any, Any], bool] | None = None
    ) -> None:
        """Match the devices that are left by the keys of all old and all new ones, in order; None matches none."""
        places: dict[Hashable, deque[int]] = {}
        for here in left:
            places.setdefault(offered[here], deque()).append(here)
        for there, key in enumerate(wanted):
            if there in partners or key is None or key not in places:
                continue
            found = next((here for here in places[key] if fits is None or fits(old[here], new[there])), None)
            if found is not None:
                partners[there] = found
                places[key].remove(found)
                del left[found]

    for names in kind.names:
        match([_name(names, device) for device in old], [_name(names, device) for device in new])
    if ("devid",) in kind.names:
        match(_numbers(old), _numbers(new), partial(_compatible, kind))
    match([True] * len(old), [_nameless(kind, device) or None for device in new])
    pairs = [(old[partners[there]] if there in partners else None, device) for there, device in enumerate(new)]
    return pairs, list(left.values())


def _values(device: Any, names: Iterable[str]) -> tuple[Any, ...]:
    found = tuple(getattr(device, name) for name in names)
    return tuple(
        vdev_number(value) if name == "vdev" and value else value for name, value in zip(names, found, strict=True)
    )


def _name(names: tuple[str, ...], device: Any) -> Hashable:
    values = _values(device, names)
    return None if None in values else values


def _numbers(devices: Sequence[Any]) -> list[int]:
    return [place if device.devid is None else int(device.devid) for place, device in enumerate(devices)]


def _nameless(kind: Kind, device: Any) -> bool:
    return all(None in _values(device, names) for names in kind.names)


def _compatible(kind: Kind, one: Any, other: Any) -> bool:
    """Tell whether two devices have no name that differs, apart from numbers, which a place in the list can say."""
    for names in kind.names:
        if names == ("devid",):
            continue
        here, there = _values(one, names), _values(other, names)
        if None not in here and None not in there and here != there:
            return False
    return True
