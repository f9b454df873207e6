"""The Xen releases, and the settings that each supports."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config.base import Part, fields_of, join_path
from pyxen.config.enums import BiosType, DeviceModelVersion, LibxlEnum, TeeType
from pyxen.config.validate import Problem

__all__ = ["DEFAULT", "GROWN", "KNOWN", "MEMBERS_SINCE", "MEMBERS_UNTIL", "OLDEST", "TESTED", "newer_than", "release"]

KNOWN: Final = ("4.17", "4.18", "4.19", "4.20", "4.21", "4.22")
"""The releases that pyxen knows, oldest first."""

OLDEST: Final = KNOWN[0]
"""The oldest release; it has every setting for which no release is recorded."""

DEFAULT: Final = "4.20"
"""The release that is assumed if none is given."""

TESTED: Final = ("4.17", "4.20")
"""The releases that the tests run on. The others are known from their sources."""

MEMBERS_SINCE: Final[dict[LibxlEnum, str]] = {TeeType.FFA: "4.18"}
"""Members of enumerations that are newer than their settings, and the release that each came with."""

MEMBERS_UNTIL: Final[dict[LibxlEnum, str]] = {
    DeviceModelVersion.QEMU_XEN_TRADITIONAL: "4.20",
    BiosType.ROMBIOS: "4.20",
}
"""Members of enumerations that later releases refuse, and the last release that accepts each."""

GROWN: Final[dict[str, tuple[int, str]]] = {"nr_spis": (960, "4.21")}
"""Settings whose range grew: the largest value before, and the release that accepts more."""

_DATED_ENUMS: Final = frozenset(map(type, (*MEMBERS_SINCE, *MEMBERS_UNTIL)))
"""The enumerations with members that not every release has."""

_DATELESS: Final = frozenset({str, int, float, bool})
"""The types of most values, which hold nothing that a release could lack."""


@lru_cache(maxsize=32)
def release(text: str) -> tuple[int, int]:
    """Return a Xen release as numbers: ``"4.20"`` and ``"4.20.1"`` are (4, 20).

    Raises:
        ValueError: It is not a release.
    """
    major, _, rest = text.partition(".")
    try:
        return int(major), int(rest.partition(".")[0])
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a Xen release; write it like {DEFAULT!r}") from None


def newer_than(part: Part, xen: str) -> tuple[Problem, ...]:
    """Return the settings of a configuration, or of a part, that a Xen release does not support.

    Args:
        part: A `DomainConfig`, `Disk` …
        xen: For example ``"4.17"``.

    Returns:
        A problem for each setting, with its path and the release it came with, or the last one that has it.
    """
    return tuple(Problem(path, f"{reason}; this is {xen}") for path, reason in _unsupported(part, release(xen)))


def _unsupported(value: Any, xen: tuple[int, int]) -> list[tuple[str, str]]:
    """Return the path of each setting in a value that a release does not support, and why."""
    found: list[tuple[str, str]] = []
    if isinstance(value, Part):
        fields = fields_of(type(value))
        names, values, newer = fields.names, fields.values(value), fields.newer
        for place in fields.touched(values):
            name, inner = names[place], values[place]
            if (name in newer or name in GROWN) and (reason := _reason(name, newer.get(name), inner, xen)):
                if inner != fields.defaults[place]:
                    found.append((name, reason))
            elif type(inner) not in _DATELESS and (lacking := _unsupported(inner, xen)):
                found += [(join_path(name, path), reason) for path, reason in lacking]
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            if type(item) not in _DATELESS and (lacking := _unsupported(item, xen)):
                found += [(join_path(f"[{index}]", path), reason) for path, reason in lacking]
    elif type(value) in _DATED_ENUMS:
        since, until = MEMBERS_SINCE.get(value), MEMBERS_UNTIL.get(value)
        if since and release(since) > xen:
            found.append(("", f"{value} came with Xen {since}"))
        if until and release(until) < xen:
            found.append(("", f"Xen {until} was the last to have {value}"))
    return found


def _reason(name: str, since: str | None, value: Any, xen: tuple[int, int]) -> str | None:
    """Return why a release does not support the value of a setting; None if it does."""
    if since and release(since) > xen:
        return f"came with Xen {since}"
    most, grown = GROWN.get(name, (0, ""))
    if grown and value > most and release(grown) > xen:
        return f"more than {most} are possible from Xen {grown} on"
    return None
