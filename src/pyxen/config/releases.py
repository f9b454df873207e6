"""The Xen releases, and the settings that each supports."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config.base import Part, join_path, settings_of
from pyxen.config.enums import BiosType, DeviceModelVersion, LibxlEnum, TeeType
from pyxen.config.validate import Problem

__all__ = ["DEFAULT", "KNOWN", "OLDEST", "TESTED", "newer_than"]

KNOWN: Final = ("4.17", "4.18", "4.19", "4.20", "4.21", "4.22")
"""The releases that pyxen knows, oldest first."""

OLDEST: Final = KNOWN[0]
"""The oldest release; it has every setting for which no release is recorded."""

DEFAULT: Final = "4.20"
"""The release that is assumed if none is given."""

TESTED: Final = ("4.17", "4.20")
"""The releases that the tests run on; the others are known from headers and documents."""

_UNTIL: Final[dict[LibxlEnum, str]] = {
    DeviceModelVersion.QEMU_XEN_TRADITIONAL: "4.20",
    BiosType.ROMBIOS: "4.20",
}
"""Members of enumerations that later releases refuse, and the last release that accepts each."""

_MEMBERS: Final[dict[LibxlEnum, str]] = {TeeType.FFA: "4.18"}
"""Members of enumerations that are newer than the settings they are for."""


def newer_than(part: Part, release: str) -> tuple[Problem, ...]:
    """Return the settings of a configuration, or of a part, that a Xen release does not support.

    Args:
        part: A `DomainConfig`, `Disk` …
        release: For example ``"4.17"``.

    Returns:
        A problem for each setting, with its path and the release it came with, or the last one that has it.
    """
    newer = (Problem(path, f"came with Xen {since}; this is {release}") for path, since in _newer(part, "", release))
    older = (
        Problem(path, f"Xen {until} was the last to have it; this is {release}")
        for path, until in _older(part, "", release)
    )
    return (*newer, *older)


def _older(part: Part, path: str, release: str) -> list[tuple[str, str]]:
    found = []
    for name, value in part.non_defaults():
        at = join_path(path, name)
        if isinstance(value, Part):
            found += _older(value, at, release)
        elif isinstance(value, LibxlEnum) and (until := _UNTIL.get(value)) and _number(until) < _number(release):
            found.append((at, until))
    return found


def _newer(value: Any, path: str, release: str) -> list[tuple[str, str]]:
    if isinstance(value, tuple):
        return [found for index, item in enumerate(value) for found in _newer(item, f"{path}[{index}]", release)]
    if isinstance(value, LibxlEnum):
        since = _MEMBERS.get(value, OLDEST)
        return [(path, since)] if _number(since) > _number(release) else []
    if not isinstance(value, Part):
        return []
    found = []
    for name, inner in value.non_defaults():
        since = settings_of(type(value))[name].since or OLDEST
        at = join_path(path, name)
        found += [(at, since)] if _number(since) > _number(release) else _newer(inner, at, release)
    return found


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(piece) for piece in release.split("."))
