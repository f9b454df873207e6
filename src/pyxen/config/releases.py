"""Which settings came with which release of Xen."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config.base import Part, join_path, settings_of
from pyxen.config.enums import LibxlEnum, TeeType
from pyxen.config.validate import Problem

__all__ = ["OLDEST", "newer_than"]

OLDEST: Final = "4.17"
"""The oldest release that pyxen knows; what says no release has been there since."""

_MEMBERS: Final[dict[LibxlEnum, str]] = {TeeType.FFA: "4.18"}
"""Members of enumerations that are newer than the settings they are for."""


def newer_than(part: Part, release: str) -> tuple[Problem, ...]:
    """Return what a configuration, or a part of one, says that a release of Xen has not.

    Args:
        part: A `DomainConfig`, `Disk` …
        release: For example ``"4.17"``.

    Returns:
        A problem for each setting, with its path and the release it came with.
    """
    return tuple(
        Problem(path, f"came with Xen {since}; this is {release}") for path, since in _newer(part, "", release)
    )


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
