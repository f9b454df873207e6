"""What the keys of an xl configuration mean: from settings to a `DomainConfig`, as xl reads them.

A key that xl warns of and ignores, or passes over in silence, is noted and left out; what xl refuses is refused.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pyxen.config import (
    BiosType,
    DomainConfig,
    DomainType,
    GicVersion,
    HdType,
    LibxlEnum,
    Passthrough,
    SveType,
    TeeType,
    VendorDevice,
    VuartType,
)
from pyxen.errors import ConfigError, ValidationError
from pyxen.xlcfg import boot_keys, cpu_keys, device_lists, device_model_keys, platform_keys
from pyxen.xlcfg.keys import HVM, KEYS, PV, PVH, Key
from pyxen.xlcfg.read_state import Reader, XlReadState
from pyxen.xlcfg.source import Source

__all__ = ["read_domain"]

_ENUMS: Final[dict[str, type[LibxlEnum]]] = {
    "bios": BiosType,
    "hdtype": HdType,
    "vendor_device": VendorDevice,
    "passthrough": Passthrough,
    "gic_version": GicVersion,
    "tee": TeeType,
    "sve": SveType,
    "vuart": VuartType,
}
_UNSAID: Final = {
    "max_event_channels": 0,
    "usbversion": 0,
    "xenstore_feature_mask": 2**32 - 1,
    "vuart": "unknown",
} | dict.fromkeys(("cpu_weight", "cap", "period", "slice", "latency", "extratime"), -1)
"""Values that libxl takes for "not set"."""

_HANDED_ON: Final = frozenset(
    (
        "videoram", "altp2m", "altp2m_count", "device_model_args_hvm", "device_model_stubdomain_override",
        "device_model_stubdomain_seclabel", "stubdomain_kernel", "stubdomain_cmdline", "stubdomain_ramdisk",
        "stubdomain_memory",
    )
)  # fmt: skip
"""Keys that have a meaning for HVM guests only, but that xl passes on for every guest."""


def _later(_draft: XlReadState, _name: str) -> None:
    """Leave a key to a function that reads several keys together."""


def _without_effect(draft: XlReadState, name: str) -> None:
    draft.source.note(name, "xl ignores it", code="outdated-key")


_READERS: Final[dict[str, Reader]] = {
    **boot_keys.READERS,
    **cpu_keys.READERS,
    **platform_keys.READERS,
    **device_model_keys.READERS,
    **dict.fromkeys(("type", "builder", "root", "extra", "firmware", "cpus", "cpus_soft"), _later),
    **dict.fromkeys(device_lists.KEYS_READ, _later),
    **dict.fromkeys(("device_model", "vif2", "vncviewer"), _without_effect),
}


def read_domain(source: Source) -> DomainConfig:
    """Return the configuration that the settings describe.

    Raises:
        ParseError: xl would refuse it, or a value is impossible.
    """
    draft = XlReadState(source, boot_keys.read_type(source))
    if source.settings.string("name") is None:
        raise source.error("name", "a domain needs a name")
    always = _read_by(draft.guest)
    for name in source.settings:
        known = KEYS.get(name)
        if known is None:
            source.note(name, "xl does not know this key, and ignores it without a warning", code="unknown-key")
        elif name in always or _is_read(draft, known):
            reader = _READERS.get(name)
            if reader:
                reader(draft, name)
            else:
                _plain(draft, known)
    boot_keys.read_boot(draft)
    cpu_keys.read_limits(draft)
    draft.fields.update(device_lists.read(source, draft.guest))
    if draft.guest is DomainType.HVM and draft.fields.get("vnc.display") and ":" in draft.fields.get("vnc.listen", ""):
        raise source.error("vncdisplay", "vnclisten says a display already")
    return _finish(draft)


@cache
def _read_by(guest: DomainType) -> frozenset[str]:
    """Return the keys that xl reads for guests of a type, but for those that need a closer look."""
    return frozenset(
        name
        for name, known in KEYS.items()
        if name not in device_lists.SCREEN_KEYS and (known.guests not in (HVM, PV, PVH) or guest in known.guests)
    )


def _is_read(draft: XlReadState, known: Key) -> bool:
    """Return whether xl reads a key for a guest of this type. A key that it does not read is noted."""
    name = known.name
    if name in device_lists.SCREEN_KEYS:
        # For a PV guest these keys make a framebuffer: see `device_lists`.
        if draft.guest is DomainType.PVH:
            draft.source.note(name, "a PVH guest has no screen", code="other-guest")
        return draft.guest is DomainType.HVM
    if known.guests not in (HVM, PV, PVH) or draft.guest in known.guests or name in _HANDED_ON or name == "rdm":
        return True
    reason = f"only {known.guests[0].upper()} guests have it; xl ignores it without a warning"
    draft.source.note(name, reason, code="other-guest")
    return False


def _plain(draft: XlReadState, known: Key) -> None:
    """Read a key that sets one field."""
    name, kind, source = known.name, known.kind, draft.source
    value: Any
    if kind == "boolean":
        value = source.boolean(name)
    elif kind == "integer":
        value = source.integer(name)
    elif kind == "strings":
        if isinstance(draft.settings.value(name), str):
            raise source.error(name, "a list is needed")
        value = source.items(name)
    else:
        value = source.string(name)
    if value is None or (name in _UNSAID and value == _UNSAID[name]):
        return
    draft.fields[known.field] = draft.member(name, _ENUMS[name], value) if name in _ENUMS else value


def _finish(draft: XlReadState) -> DomainConfig:
    try:
        return draft.build()
    except ValidationError as error:
        raise _impossible(draft.source, error) from None


def _impossible(source: Source, error: ValidationError) -> ConfigError:
    """Return the error of a field with the place of the key that sets it."""
    path = error.path or ""
    fitting = [name for name, key in KEYS.items() if key.field in (path, path.partition("[")[0])]
    key = next((name for name in fitting if name in source.settings), None)
    return source.error(key, error.message.partition(": ")[2]) if key else error
