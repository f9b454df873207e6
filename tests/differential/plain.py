"""Values, errors and events of probes as plain text, leaf by leaf, so that those of two hosts can be compared."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import Enum
from typing import Final
from uuid import UUID

from pyxen import Domain, Event, EventReader
from pyxen.config import CpuSet, Mac, Part

__all__ = ["FIRST_DOMID", "Leaves", "of_error", "of_event", "of_value"]

Leaves = dict[str, str]
"""The leaves of a value by their paths, such as ``value.memory_kib``."""

_WHOLE = CpuSet | Mac | Enum | UUID | datetime | str | bytes
"""Values that are compared as a whole."""

FIRST_DOMID: Final = 20_000
"""The first of the domids that are given to domains here; hosts choose lower ones."""

_NOT_COMPARED = frozenset({"args", "filename2"})


def of_value(value: object, path: str = "value") -> Leaves:
    """Return the leaves of what a call returned."""
    return dict(_leaves(value, path))


def of_error(error: BaseException) -> Leaves:
    """Return the leaves of an exception: its class, its message, and its attributes."""
    found = {"error": type(error).__name__}
    attributes = {name: value for name, value in vars(error).items() if name not in _NOT_COMPARED}
    attributes.setdefault("message", str(error))
    if isinstance(error, OSError):
        attributes["filename"] = error.filename
    for name, value in attributes.items():
        found |= of_value(value, f"error.{name}")
    return found


def of_event(event: Event) -> str:
    """Return an event in one line, without its time, and without a domid that the host has chosen."""
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event) if field.name != "time"}
    if 0 < fields.get("domid", 0) < FIRST_DOMID:
        fields["domid"] = "chosen"
    said = " ".join(f"{name}={_text(value)}" for name, value in fields.items())
    return f"{type(event).__name__} {said}"


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, EventReader | io.IOBase):
        value.close()
    if isinstance(value, Domain):
        yield path, f"Domain {value.domid} {value.uuid}"
        return
    if isinstance(value, AbstractSet):
        yield path, " ".join(sorted(map(str, value)))
        return
    inner = None if isinstance(value, _WHOLE) else _inner(value)
    if inner is None:
        yield path, _text(value)
        return
    yield path, f"{len(inner)} items" if isinstance(value, list | tuple | Mapping) else type(value).__name__
    for name, one in inner:
        yield from _leaves(one, f"{path}{name}")


def _inner(value: object) -> list[tuple[str, object]] | None:
    """Return what a value consists of; None if it has no parts."""
    if isinstance(value, Part):
        return [(f".{name}", inner) for name, inner in value.non_defaults()]
    if dataclasses.is_dataclass(value):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(f"[{key}]", inner) for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", inner) for index, inner in enumerate(value)]
    return None


def _text(value: object) -> str:
    if value is None or isinstance(value, bool | int | float | _WHOLE):
        return repr(value) if isinstance(value, str | bytes) and not isinstance(value, Enum) else str(value)
    return type(value).__name__
