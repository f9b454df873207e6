"""Findings about the meaning of a configuration: what xl refuses or ignores, contradictions, what a release lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pyxen.config import DeviceModelVersion, DomainConfig, DomainType, newer_than
from pyxen.config.validate import Problem, problems
from pyxen.errors import ConfigError
from pyxen.xlcfg.findings import Finding, Severity
from pyxen.xlcfg.keys import KEYS
from pyxen.xlcfg.similar import nearest
from pyxen.xlcfg.source import Passed, Source

__all__ = ["meaning_findings"]

_INDEX: Final = re.compile(r"\[([0-9]+)\]")
_LIST_ITEM: Final = re.compile(r"\b([a-z][a-z0-9]*)(?=\[[0-9]+\])")
_WORDS: Final = ("yes", "no", "true", "false", "on", "off", "enabled", "enable", "disabled", "disable")
_SWITCH: Final = re.compile(r"([a-z-]+(?:_[a-z]+)*)=(?:(yes|true|on|enabled?)|no|false|off|disabled?)")
_TRUSTED: Final = re.compile(r"(un)?trusted=(?:(no|false|off|0)|.*)")
_AMOUNT: Final = re.compile(r"""(['"])([1-9][0-9]{0,8})[ ]?(?:(m|mb|mib)|g|gb|gib)\1""", re.IGNORECASE)
_IN_MIB: Final = ("maxmem", "memory", "shadow_memory", "videoram")
_UPSTREAM_STUBDOMAINS: Final = (4, 21)
_REFUSED_ITEMS: Final = ("disk", "p9")
"""Lists in which xl refuses settings that it does not know. In the others, it ignores them."""

_BY_FIELD: Final[dict[str, str]] = {}
for _name, _key in KEYS.items():
    if _key.field and _key.instead is None:
        _BY_FIELD.setdefault(_key.field, _name)

_IN_XL: Final = {
    "disable_ticketing=True": "spicedisable_ticketing=1",
    "a tls_port": "spicetls_port",
    "say it in vfbs": "say it in vfb",
}
"""The model's words in messages, and xl's words for them."""

_VGA: Final = {False: "cirrus", True: "stdvga"}
"""The graphics cards that ``stdvga`` stands for."""

_OF_NODES: Final = ("pnode", "size", "vcpus", "vdistances")
"""Settings of a node in ``vnuma``."""

_OTHERWISE: Final = {
    "altp2m": ("altp2mhvm",),
    "bios": ("firmware",),
    "maxmem": ("memory", "vnuma"),
    "maxvcpus": ("vcpus", "vnuma"),
    "memory": ("maxmem", "vnuma"),
    "vfb": ("vnc", "sdl"),
    "vga": ("stdvga",),
}
"""Keys that may be missing, and the keys that can set the same value."""


def meaning_findings(config: DomainConfig | ConfigError, source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Yield the findings about the meaning of a configuration for the Xen release `target`.

    Args:
        config: The configuration, or why xl refuses it.
        source: The settings that it was read from.
        target: The release.
    """
    if isinstance(config, ConfigError):
        offset = source.offset_of(getattr(config, "line", None) or 1, getattr(config, "column", None) or 1)
        yield Finding(offset, "refused", config.message, severity="error")
    else:
        lacking = newer_than(config, ".".join(map(str, target)))
        told = {problem.path for problem in lacking}
        yield from (_of_release(problem, source, target) for problem in lacking)
        # xl's escapes make ASCII characters only.
        found = problems(config, is_ascii=source.settings.text.isascii())
        yield from _problems([problem for problem in found if problem.path not in told], config, source)
        yield from _device_model(config, source, target)
        yield from _opengl(config, source, target)
    for passed in source.passed:
        yield from _passed(passed, source)


def _problems(found: Iterable[Problem], config: DomainConfig, source: Source) -> Iterator[Finding]:
    for problem in found:
        key, item = _place(problem.path, source)
        known = KEYS.get(key)
        if known is not None and known.guests and config.type not in known.guests:
            continue  # the key itself is reported
        message = _LIST_ITEM.sub(lambda word: _BY_FIELD.get(word[1], word[1]), problem.message)
        for words, of_xl in _IN_XL.items():
            message = message.replace(words, of_xl)
        hint = "write the name without /dev/" if "'/dev/" in message and problem.path.endswith(".vdev") else ""
        yield Finding(source.offset(key, item), "problem", f"{_as_written(key, item)}: {message}", hint)


def _of_release(problem: Problem, source: Source, target: tuple[int, int]) -> Finding:
    """Report a value, or a setting of a device, that the release does not have."""
    key, item = _place(problem.path, source)
    named = _INDEX.split(problem.path)[-1].lstrip(".") if item is not None else key
    reason = problem.message.rpartition(";")[0]
    if key == "device_model_version":
        reason = reason.replace("qemu_xen_", "qemu-xen-")
    removed = " was the last " in reason
    a_setting = reason.startswith("came ")
    refuses = not a_setting or key in _REFUSED_ITEMS
    version = ".".join(map(str, target))
    if a_setting:
        message = f"xl of {version} {'refuses' if refuses else 'ignores'} {named}, which {reason}"
    else:
        message = f"Xen {version} refuses this: {reason}"
    code = "removed" if removed else "newer-value"
    severity: Severity = "error" if refuses else "warning"
    message = f"{_as_written(key, item)}: {message}"
    return Finding(source.offset(key, item), code, message, "leave it out" if removed else "", severity)


def _device_model(config: DomainConfig, source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Report programs whose kind is not given, so that xl chooses it."""
    if config.bios_path_override is not None and config.bios is None and config.type is DomainType.HVM:
        message = "xl warns about bios_path_override without bios"
        yield Finding(source.offset("bios_path_override"), "no-bios", message, 'write bios = "seabios", or "ovmf"')
    if config.device_model.version is not None:
        return
    hint = 'write device_model_version = "qemu-xen"'
    if config.device_model.path is not None:
        message = "xl warns about device_model_override without device_model_version"
        yield Finding(source.offset("device_model_override"), "no-model-version", message, hint)
    elif config.type is DomainType.HVM and config.stubdomain.enable:
        message = "without device_model_version, a stub domain runs qemu-xen-traditional; from Xen 4.21 on, qemu-xen"
        older = "" if target >= _UPSTREAM_STUBDOMAINS else ' or "qemu-xen-traditional"'
        offset = source.offset("device_model_stubdomain_override")
        yield Finding(offset, "no-model-version", message, hint + older, "note")


def _opengl(config: DomainConfig, source: Source, target: tuple[int, int]) -> Iterator[Finding]:
    """Report OpenGL where the device model cannot use it. From Xen 4.21 on, the key is reported elsewhere."""
    version = config.device_model.version
    if version is None and config.stubdomain.enable and config.type is DomainType.HVM:
        version = DeviceModelVersion.QEMU_XEN_TRADITIONAL
    able = version is DeviceModelVersion.QEMU_XEN_TRADITIONAL and target < _UPSTREAM_STUBDOMAINS
    message = "the device model qemu-xen does not use opengl"
    if able:
        return
    if "opengl" in source.settings and config.type is not DomainType.PVH and target < _UPSTREAM_STUBDOMAINS:
        yield Finding(source.offset("opengl"), "no-effect", message, "leave it out", "note")
    for index, vfb in enumerate(config.vfbs if "vfb" in source.settings else ()):
        if vfb.sdl.opengl is not None:
            yield Finding(source.offset("vfb", index), "no-effect", f"vfb[{index}]: {message}", "leave it out", "note")


def _passed(passed: Passed, source: Source) -> Iterator[Finding]:
    if passed.code != "ignored-value" or (passed.key == "viridian" and passed.item is None):
        return  # the key, the value or the item is reported elsewhere
    offset = source.offset(passed.key, passed.item)
    message = f"{_as_written(passed.key, passed.item)}: {passed.value}: {passed.reason}"
    if passed.key in ("root", "extra"):
        if source.settings.string(passed.key):
            yield Finding(offset, "ignored-value", message, "leave it out, or add it to cmdline")
        else:
            yield Finding(offset, "outdated-key", f"{passed.key} is outdated", "leave it out", "note")
    elif passed.key == "stdvga" and "vga" in source.settings:
        if source.settings.string("vga") != _VGA[bool(source.settings.integer("stdvga"))]:
            yield Finding(offset, "ignored-value", message, "leave it out: vga says it")
    elif passed.key == "vfb" and passed.value == "type=sdl":
        yield Finding(offset, "ignored-value", message, "write sdl=1,vnc=0")
    elif passed.key == "vfb" and passed.value.startswith("type="):
        yield Finding(offset, "outdated-value", message, "leave it out", "note")
    else:
        yield Finding(offset, "ignored-value", message, _hint(passed))


def _hint(passed: Passed) -> str:
    trusted = _TRUSTED.fullmatch(passed.value) if passed.key == "vif" else None
    if trusted:
        return "write untrusted" if bool(trusted[1]) != bool(trusted[2]) else "write trusted"
    switch = _SWITCH.fullmatch(passed.value)
    if switch and "reads 0" in passed.reason:
        return f"write {switch[1]}={1 if switch[2] else 0}"
    if passed.key == "vnuma":
        word, sign, _ = passed.value.partition("=")
        near = nearest(word, _OF_NODES) if sign else None
        return f"did you mean {near}?" if near else ""
    amount = _AMOUNT.fullmatch(passed.value) if passed.key in _IN_MIB else None
    if amount:
        return f"write {passed.key} = {int(amount[2]) * (1 if amount[3] else 1024)}"
    known = KEYS.get(passed.key)
    is_switch = passed.item is None and known is not None and "boolean" in known.kind
    word = passed.value.strip("'\"").lower()
    return "write 1 or 0" if word in _WORDS and (is_switch or passed.key.startswith("pci_")) else ""


def _as_written(key: str, item: int | None) -> str:
    return key if item is None else f"{key}[{item}]"


def _place(path: str, source: Source) -> tuple[str, int | None]:
    """Return the key for a field, and the index in its list. If several keys can set it, one that is set is taken."""
    index = _INDEX.search(path)
    head = path[: index.start()] if index else path
    while head not in _BY_FIELD and "." in head:
        head = head.rpartition(".")[0]
    key = _BY_FIELD.get(head, head)
    if key not in source.settings:
        group = head.partition(".")[0] + "."
        others = [*_OTHERWISE.get(key, ()), *(name for name in source.settings if _field(name).startswith(group))]
        key = next((name for name in others if name in source.settings), key)
        index = index if key == _BY_FIELD.get(head) else None
    return key, int(index[1]) if index else None


def _field(name: str) -> str:
    return KEYS[name].field if name in KEYS else ""
