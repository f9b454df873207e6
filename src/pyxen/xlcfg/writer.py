"""The writer of xl configurations: from a `DomainConfig` to settings in modern spelling, and to a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Final

from pyxen._common.read_state import PARTS
from pyxen.config import CpuSet, DomainConfig, GfxPassthruKind, McaCap
from pyxen.config.base import fields_of
from pyxen.xlcfg import platform
from pyxen.xlcfg.boot_keys import ACTIONS
from pyxen.xlcfg.cpuid import write_cpuid
from pyxen.xlcfg.cpus import write_colors, write_vnode
from pyxen.xlcfg.device_grammars import GRAMMARS
from pyxen.xlcfg.device_model_keys import MODELS, VGA
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.pci import write_rdm
from pyxen.xlcfg.values import Settable, format_value

__all__ = ["layout", "settings"]

LONGEST_LINE: Final = 100

_ACTION_NAMES: Final = {action: name for name, action in ACTIONS.items()}
_VGA_NAMES: Final = {kind: name for name, kind in VGA.items()}
_MODEL_NAMES: Final = {version: name for name, version in MODELS.items()}


def _each(write: Callable[[Any], Settable]) -> Callable[[Iterable[Any]], Settable]:
    return lambda items: [write(item) for item in items]


def _affinity(value: CpuSet | tuple[CpuSet, ...]) -> Settable:
    return value.text if isinstance(value, CpuSet) else [one.text for one in value]


def _one_or_more(items: tuple[str, ...]) -> Settable:
    return items[0] if len(items) == 1 else list(items)


_WRITERS: Final[dict[str, Callable[[Any], Settable | None]]] = {
    **dict.fromkeys(("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"), _ACTION_NAMES.get),
    "vga": _VGA_NAMES.get,
    "device_model_version": _MODEL_NAMES.get,
    "cpus": _affinity,
    "cpus_soft": _affinity,
    "vnuma": _each(write_vnode),
    "llc_colors": write_colors,
    "cpuid": write_cpuid,
    "viridian": platform.write_viridian,
    "smbios": _each(platform.write_smbios),
    "mca_caps": _each(lambda _: McaCap("lmce").value),
    "ms_vm_genid": lambda value: value if value == "generate" else None,
    "ioports": _each(platform.write_ioports),
    "iomem": _each(platform.write_iomem),
    "irqs": _each(str),
    "rdm": write_rdm,
    "arm_sci": lambda value: f"type={value}",
    "xenstore_quota": _each(lambda quota: f"{quota[0]}={quota[1]}"),
    "serial": _one_or_more,
    "usbdevice": _one_or_more,
    **{key: _each(grammar.write) for key, grammar in GRAMMARS.items()},
}
"""Functions that write the values of keys, but for plain strings, numbers and lists of strings."""

_KEYS_BY_FIELD: Final = {key.field: name for name, key in KEYS.items() if key.field}


def settings(config: DomainConfig) -> Iterator[tuple[str, Settable]]:
    """Yield the settings of a configuration, key by key, as far as xl.cfg has words for them."""
    yield "name", config.name
    yield "type", config.type.value
    fields = fields_of(DomainConfig)
    values = fields.values(config)
    places = set(fields.touched(values))
    if config.cpus is not None or config.cpus_soft is not None:
        places.add(fields.places["vcpus"])
    for place in sorted(places):
        field, value = fields.names[place], values[place]
        if field in ("name", "type", "gfx_passthru_kind"):
            continue
        if field in PARTS:
            yield from _group(field, value)
        elif field == "gfx_passthru" and value and config.gfx_passthru_kind is not GfxPassthruKind.DEFAULT:
            yield field, config.gfx_passthru_kind.value
        elif field == "maxmem" and config.vnuma and value == config.replace(maxmem=None).effective_maxmem:
            continue  # xl takes it from the nodes, whose sizes may have been rounded up
        elif field == "vcpus" and (config.cpus is not None or config.cpus_soft is not None):
            yield field, value  # even if it is the default: xl before 4.22 ignores cpus without it
        elif field in _KEYS_BY_FIELD and not _is_default(DomainConfig, field, value):
            yield from _setting(_KEYS_BY_FIELD[field], value)


def _group(group: str, part: Any) -> Iterator[tuple[str, Settable]]:
    fields = fields_of(type(part))
    values = fields.values(part)
    for place in fields.touched(values):
        field, value = fields.names[place], values[place]
        key = _KEYS_BY_FIELD.get(f"{group}.{field}")
        if key is not None and not _is_default(type(part), field, value):
            yield from _setting(key, value)


def _is_default(kind: Any, field: str, value: Any) -> bool:
    default = kind.__dataclass_fields__[field].default
    return value is default or bool(value == default)


def _setting(key: str, value: Any) -> Iterator[tuple[str, Settable]]:
    writer = _WRITERS.get(key)
    written = writer(value) if writer and value is not None else _plain(value)
    if written is not None:
        yield key, written


def _plain(value: Any) -> Settable | None:
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return math.ceil(value)  # xl counts in whole MiB; the difference is told as a loss
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return None if value is None else str(value)


def layout(written: Iterable[tuple[str, Settable]]) -> str:
    """Return settings as a text: one on each line, long lists with one item on each line.

    Raises:
        ConfigError: A string holds a NUL character.
    """
    lines = []
    for key, value in written:
        line = f"{key} = {format_value(value)}"
        if isinstance(value, list) and value and (len(value) > 1 or len(line) > LONGEST_LINE):
            items = "".join(f"    {format_value(item)},\n" for item in value)
            if len(line) > LONGEST_LINE or key in ("disk", "vif", "pci"):
                line = f"{key} = [\n{items}]"
        lines.append(f"{line}\n")
    return "".join(lines)
