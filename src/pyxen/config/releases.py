"""The Xen releases, and the settings that each supports."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config.base import Part, join_path, settings_of
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

_NESTED: Final = (Part, LibxlEnum, tuple)
"""Kinds of values that can be, or hold, what a release does not support."""


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
    return tuple(Problem(path, f"{reason}; this is {xen}") for path, reason in _unsupported(part, "", release(xen)))


def _unsupported(value: Any, path: str, xen: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """Yield the path of each setting that a release does not support, and why."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            if isinstance(item, _NESTED):
                yield from _unsupported(item, f"{path}[{index}]", xen)
    elif isinstance(value, LibxlEnum):
        since, until = MEMBERS_SINCE.get(value), MEMBERS_UNTIL.get(value)
        if since and release(since) > xen:
            yield path, f"{value} came with Xen {since}"
        if until and release(until) < xen:
            yield path, f"Xen {until} was the last to have {value}"
    elif isinstance(value, Part):
        settings = settings_of(type(value))
        for name, inner in value.non_defaults():
            since = settings[name].since
            most, grown = GROWN.get(name, (0, ""))
            if since and release(since) > xen:
                yield join_path(path, name), f"came with Xen {since}"
            elif grown and inner > most and release(grown) > xen:
                yield join_path(path, name), f"more than {most} are possible from Xen {grown} on"
            elif isinstance(inner, _NESTED):
                yield from _unsupported(inner, join_path(path, name), xen)
