"""The file system of a simulated Xen, kept in a dict of paths and values."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.hypervisor_arguments import parameter_path
from pyxen._common.scripts import at_once
from pyxen.backends.memory.engine import describe
from pyxen.errors import InvalidArgument, NotFound
from pyxen.operation import Operation
from pyxen.records.hypfs import HypfsEntry, HypfsType, HypfsValue

__all__ = ["first_values", "list_entries", "read", "set_parameters", "write"]

_WRITABLE: Final = "/params/"
"""What begins with this can be written: parameters of the command line."""

_TRUE: Final = {"1", "on", "yes", "true", "enable"}
_FALSE: Final = {"0", "off", "no", "false", "disable"}


def first_values(xen: str) -> dict[str, HypfsValue]:
    """Return what hypfs has on a host that has just started.

    Args:
        xen: The version of Xen, e.g. ``4.20.0``.
    """
    major, minor, *extra = xen.split(".", 2)
    return {
        "/buildinfo/changeset": "",
        "/buildinfo/version/extra": "".join(f".{part}" for part in extra),
        "/buildinfo/version/major": int(major),
        "/buildinfo/version/minor": int(minor),
        "/params/guest_loglvl": "none/warning",
        "/params/loglvl": "warning",
    }


@at_once
def read(values: dict[str, HypfsValue], operation: Operation[HypfsValue], path: str) -> HypfsValue:
    """Return a value."""
    _check_path(operation, path)
    if path in values:
        return values[path]
    if _below(values, path):
        raise describe(InvalidArgument, f"{path} is a directory, which has no value: list it", operation)
    raise describe(NotFound, f"hypfs has no {path}", operation)


@at_once
def list_entries(
    values: dict[str, HypfsValue], operation: Operation[Any], path: str, *, recursive: bool
) -> tuple[HypfsEntry, ...]:
    """Return the entries of a directory."""
    _check_path(operation, path)
    below = _below(values, path)
    if path in values:
        raise describe(InvalidArgument, f"{path} is not a directory", operation)
    if not below:
        raise describe(NotFound, f"hypfs has no {path}", operation)
    top = path.rstrip("/")
    found: dict[str, HypfsEntry] = {}
    for whole in below:
        parts = whole[len(top) + 1 :].split("/")
        for depth in range(1, len(parts) + 1 if recursive else 2):
            one = "/".join([top, *parts[:depth]])
            found[one] = _entry(values, one)
    return tuple(found[one] for one in sorted(found))


@at_once
def write(values: dict[str, HypfsValue], operation: Operation[None], path: str, text: str) -> None:
    """Write a value."""
    _write(values, operation, path, text)


@at_once
def set_parameters(values: dict[str, HypfsValue], operation: Operation[None], parameters: list[str]) -> None:
    """Change parameters of the command line."""
    for parameter in parameters:
        path = parameter_path(parameter)
        if path not in values:
            known = "host.hypfs.list('/params') shows those that it has"
            raise describe(NotFound, f"Xen has no parameter that can be changed for {parameter}; {known}", operation)
        value = parameter.partition("=")[2] if "=" in parameter else "no"
        try:
            _write(values, operation, path, value)
        except InvalidArgument:
            raise describe(InvalidArgument, f"Xen does not take {parameter}", operation) from None


def _check_path(operation: Operation[Any], path: str) -> None:
    """Refuse a path with an empty part, which Xen does not find."""
    if "//" in path:
        raise describe(NotFound, f"hypfs has no {path}", operation)


def _below(values: dict[str, HypfsValue], path: str) -> list[str]:
    top = path.rstrip("/") + "/"
    return [one for one in values if one.startswith(top)]


def _entry(values: dict[str, HypfsValue], path: str) -> HypfsEntry:
    if path not in values:
        return HypfsEntry(path, HypfsType.DIR, 0, writable=False)
    value = values[path]
    writable = path.startswith(_WRITABLE)
    match value:
        case bool():
            return HypfsEntry(path, HypfsType.BOOL, 1, writable)
        case int():
            return HypfsEntry(path, HypfsType.UINT if value >= 0 else HypfsType.INT, 4, writable)
        case bytes():
            return HypfsEntry(path, HypfsType.BLOB, len(value), writable)
        case _:
            return HypfsEntry(path, HypfsType.STRING, len(value.encode()) + 1, writable)


def _write(values: dict[str, HypfsValue], operation: Operation[Any], path: str, text: str) -> None:
    if path not in values and not _below(values, path):
        raise describe(NotFound, f"hypfs has no {path}", operation)
    entry = _entry(values, path)
    if not entry.writable:
        raise describe(InvalidArgument, f"{path} cannot be written", operation)
    value = _parsed(entry.type, text)
    if value is None:
        raise describe(InvalidArgument, f"{path}, {entry.type}: Xen does not take {text!r}", operation)
    values[path] = value


def _parsed(kind: HypfsType, text: str) -> HypfsValue | None:
    """Return a text as a value of a type, as libxenhypfs reads it; None if it is not one."""
    if kind is HypfsType.STRING:
        return text
    if kind is HypfsType.BOOL:
        return True if text in _TRUE else False if text in _FALSE else None
    if kind is HypfsType.BLOB:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        return None
    return number if kind is HypfsType.INT or number >= 0 else None
