"""Findings about what a configuration means: what xl refuses or passes over, contradictions, lacks of a release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.config import DomainConfig, DomainType, newer_than
from pyxen.errors import ConfigError
from pyxen.xlcfg.domain import read_domain
from pyxen.xlcfg.findings import Finding
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.source import Passed, Source

__all__ = ["meaning_findings"]

_INDEX: Final = re.compile(r"\[([0-9]+)\]")
_WORDS: Final = ("yes", "no", "true", "false", "on", "off")
_SWITCH: Final = re.compile(r"([a-z-]+(?:_[a-z]+)*)=(?:(yes|true|on|enabled?)|no|false|off|disabled?)")
_UPSTREAM_STUBDOMAINS: Final = (4, 21)

_BY_FIELD: Final[dict[str, str]] = {}
for _name, _key in KEYS.items():
    if _key.field and _key.instead is None:
        _BY_FIELD.setdefault(_key.field, _name)


def meaning_findings(source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Return what there is to say of the meaning of a configuration that is for the Xen release `target`."""
    try:
        config = read_domain(source)
    except ConfigError as error:
        offset = source.offset_of(getattr(error, "line", None) or 1, getattr(error, "column", None) or 1)
        yield Finding(offset, "refused", error.message, severity="error")
    else:
        yield from _problems(config, source)
        yield from _of_release(config, source, target)
        yield from _device_model(config, source, target)
    for passed in source.passed:
        yield from _passed(passed, source)


def _problems(config: DomainConfig, source: Source) -> Iterator[Finding]:
    for problem in config.problems():
        key, item = _place(problem.path)
        known = KEYS.get(key)
        if known is not None and known.guests and config.type not in known.guests:
            continue  # told of the key already
        yield Finding(source.offset(key, item), "problem", f"{_as_written(key, item)}: {problem.message}")


def _of_release(config: DomainConfig, source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Report values, and settings of devices, that the release does not have."""
    for problem in newer_than(config, ".".join(map(str, target))):
        key, item = _place(problem.path)
        known = KEYS.get(key)
        if known is not None and known.since and item is None:
            continue  # told of the key already
        removed = "was the last" in problem.message
        code = "removed" if removed else "newer-value"
        hint = "leave it out" if removed else ""
        named = _INDEX.split(problem.path)[-1] if item is not None else ""
        message = f"{_as_written(key, item)}{named}: {problem.message}"
        if key == "device_model_version":
            message = message.replace("qemu_xen_", "qemu-xen-")
        yield Finding(source.offset(key, item), code, message, hint, "error" if removed else "warning")


def _device_model(config: DomainConfig, source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Report device models whose family is left to xl."""
    if config.device_model.version is not None:
        return
    hint = 'write device_model_version = "qemu-xen"'
    if config.device_model.path is not None:
        message = "xl warns of an override without device_model_version"
        yield Finding(source.offset("device_model_override"), "no-model-version", message, hint)
    if config.type is DomainType.HVM and config.stubdomain.enable:
        message = "without device_model_version, a stub domain runs qemu-xen-traditional, from Xen 4.21 on qemu-xen"
        older = "" if target >= _UPSTREAM_STUBDOMAINS else ' or "qemu-xen-traditional"'
        offset = source.offset("device_model_stubdomain_override")
        yield Finding(offset, "no-model-version", message, hint + older, "note")


def _passed(passed: Passed, source: Source) -> Iterator[Finding]:
    if passed.code != "ignored-value" or (passed.key == "viridian" and passed.item is None):
        return  # told of the key, the value or the item already
    offset = source.offset(passed.key, passed.item)
    message = f"{_as_written(passed.key, passed.item)}: {passed.value}: {passed.reason}"
    if passed.key == "vfb" and passed.value.startswith("type="):
        yield Finding(offset, "outdated-value", message, "leave it out", "note")
    else:
        yield Finding(offset, "ignored-value", message, _hint(passed.value))


def _hint(value: str) -> str:
    switch = _SWITCH.fullmatch(value)
    if switch:
        return f"write {switch[1]}={1 if switch[2] else 0}"
    return "write 1 or 0" if value.strip("'\"").lower() in _WORDS else ""


def _as_written(key: str, item: int | None) -> str:
    return key if item is None else f"{key}[{item}]"


def _place(path: str) -> tuple[str, int | None]:
    """Return the key that says a field, and the item of its list."""
    index = _INDEX.search(path)
    head = path[: index.start()] if index else path
    while head not in _BY_FIELD and "." in head:
        head = head.rpartition(".")[0]
    return _BY_FIELD.get(head, head), int(index[1]) if index else None
