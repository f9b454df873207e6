"""Conversion of configurations between xl's format, libvirt's XML and libxl's JSON, and to Python code."""

from __future__ import annotations

import dataclasses
import importlib
import json
from enum import IntEnum
from typing import Any, Final, Literal, TypeAlias

from pyxen.config import DomainConfig, Part, Rate, Viridian
from pyxen.errors import ConfigError, LossyConversion
from pyxen.losses import Loss

__all__ = ["Spelling", "convert", "guess", "is_refused", "read", "to_python", "write"]

Spelling: TypeAlias = Literal["xl", "libvirt-xml", "json", "python"]
"""The formats of a configuration. ``python`` can be written only."""

_CODECS: Final = {"xl": "pyxen.xlcfg", "libvirt-xml": "pyxen.libvirtxml", "json": "pyxen.libxljson"}
_WIDTH: Final = 100
_EVERY_GROUP: Final = Viridian(enable="all").enable
_INDENT: Final = "    "
_BYTE_ORDER_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def convert(text: str | bytes, to: Spelling, from_: Spelling | None = None) -> tuple[str, tuple[Loss, ...]]:
    """Convert a configuration to another format.

    Args:
        text: The configuration.
        to: The format to write: ``"xl"``, ``"libvirt-xml"``, ``"json"`` or ``"python"``.
        from_: The format of `text`: ``"xl"``, ``"libvirt-xml"`` or ``"json"``. Default: see `guess`.

    Returns:
        The converted text, and the settings that were lost.

    Raises:
        ParseError: The text is not in the given format.
        ConfigError: There is no such format, or the configuration is invalid.
    """
    config, lost = read(text, from_)
    written, more = write(config, to)
    return written, (*lost, *more)


def guess(text: str | bytes) -> Spelling:
    """Guess the format of a text by its first character: ``<`` is XML, a brace or bracket is JSON, others are xl."""
    if isinstance(text, bytes) and text.startswith(_BYTE_ORDER_MARKS):
        return "libvirt-xml"
    head = text[:4096].decode("utf-8", "replace") if isinstance(text, bytes) else text[:4096]
    first = head.removeprefix("\ufeff").lstrip()[:1]
    return "libvirt-xml" if first == "<" else "json" if first in ("{", "[") else "xl"


def _codec(spelling: str) -> Any:
    if spelling not in _CODECS:
        raise ConfigError(f"{spelling!r} is not a format of configurations; it can be {', '.join(_CODECS)}")
    return importlib.import_module(_CODECS[spelling])


def read(text: str | bytes, from_: Spelling | None = None) -> tuple[DomainConfig, tuple[Loss, ...]]:
    """Read a configuration in any format.

    Args:
        text: The configuration.
        from_: The format of `text`. Default: see `guess`.

    Returns:
        The configuration, and the settings that were lost.

    Raises:
        ParseError: The text is not in the given format.
        ConfigError: There is no such format, or the configuration is invalid.
    """
    spelling = from_ or guess(text)
    if spelling == "python":
        raise ConfigError("Python code can only be written; run it to get its configuration")
    codec = _codec(spelling)
    try:
        return codec.loads(text, on_loss="raise"), ()
    except LossyConversion as error:
        return codec.loads(text, on_loss="ignore"), error.losses


def write(config: DomainConfig, to: Spelling) -> tuple[str, tuple[Loss, ...]]:
    """Write a configuration in any format.

    Returns:
        The text, and the settings that were lost.

    Raises:
        ConfigError: There is no such format, or it cannot hold the configuration at all.
    """
    if to == "python":
        return to_python(config), ()
    codec = _codec(to)
    if to == "libvirt-xml":  # whose dumps only warns of some losses
        return codec.dumps(config, on_loss="ignore"), codec.losses(config)
    lost: tuple[Loss, ...] = ()
    try:
        written = codec.dumps(config, on_loss="raise")
    except LossyConversion as error:
        written, lost = codec.dumps(config, on_loss="ignore"), error.losses
    return str(written).rstrip("\n") + "\n", lost


def is_refused(text: str) -> bool:
    """Return whether xl or libxl would refuse a text that was written for xl, such as a PVH guest without a kernel."""
    try:
        config = _codec("xl").loads(text, on_loss="ignore")
    except ConfigError:
        return True
    return bool(importlib.import_module("pyxen.xlcfg.refused").refused_by_libxl(config) or config.problems())


def to_python(config: DomainConfig) -> str:
    """Return Python code that assigns the configuration to ``config``. The code contains its passwords."""
    names: set[str] = set()
    code = _code(config, "", len("config = "), names)
    imports = f"from pyxen import {', '.join(sorted(names))}"
    if len(imports) > _WIDTH:
        listed = "".join(f"{_INDENT}{name},\n" for name in sorted(names))
        imports = f"from pyxen import (\n{listed})"
    return f"{imports}\n\nconfig = {code}\n"


def _code(value: Any, indent: str, before: int, names: set[str]) -> str:
    """Return the code of a value: on one line if it fits after `before` characters, else one item a line."""
    if value == _EVERY_GROUP:
        return '"all"'
    if isinstance(value, Rate) and value.text:
        return _literal(value.text)
    if isinstance(value, Part):
        names.add(type(value).__name__)
        opening, closing = f"{type(value).__name__}(", ")"
        items = [*_arguments(value)]
    elif isinstance(value, (tuple, frozenset)):
        opening, closing = "[", "]"
        items = [("", item) for item in _items(value)]
    else:
        return _literal(value)
    for inner in (None, indent + _INDENT):
        if inner is None:
            written = [name + _code(item, indent, 0, names) for name, item in items]
            line = f"{opening}{', '.join(written)}{closing}"
            if "\n" not in line and len(indent) + before + len(line) < _WIDTH:
                return line
        else:
            written = [f"{inner}{name}{_code(item, inner, len(name) + 1, names)},\n" for name, item in items]
    return f"{opening}\n{''.join(written)}{indent}{closing}"


def _arguments(part: Part) -> list[tuple[str, Any]]:
    """Return a part's constructor arguments: those that are not defaults, the first without its name."""
    found = []
    for place, field in enumerate(dataclasses.fields(part)):
        value = getattr(part, field.name)
        if value != field.default:
            found.append(("" if not place and not field.kw_only else f"{field.name}=", value))
    return found


def _items(value: tuple[Any, ...] | frozenset[Any]) -> list[Any]:
    return sorted(value) if isinstance(value, frozenset) else list(value)


def _literal(value: Any) -> str:
    if isinstance(value, IntEnum):
        return json.dumps(value.name.lower())
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    text = str(value)
    return json.dumps(text) if text.isascii() and text.isprintable() else repr(text)
