"""Limits of network interfaces: ``"10MB/s@20ms"``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from pyxen._printable import quoted
from pyxen.config.base import Part, Refused, setting
from pyxen.config.checks import UINT32_MAX, UINT64_MAX, integer, part

__all__ = ["Rate", "as_rate"]

_TEXT = re.compile(r"([0-9]+)([GMK]?)([Bb])/s(?:@([0-9]+)([mu]?)s?)?")
_DECIMAL: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_USECS: Final = {"": 1_000_000, "m": 1000, "u": 1}
_DEFAULT_INTERVAL: Final = 50_000


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rate(Part):
    """A limit on what a guest may send: a number of bytes per interval, as netback counts."""

    bytes_per_interval: int = setting(0, integer(0, UINT64_MAX))
    """Credit per interval, in bytes."""
    interval_usecs: int = setting(_DEFAULT_INTERVAL, integer(0, UINT32_MAX))
    """Interval, in microseconds. Default 50 ms, as in xl."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read xl's notation: a number, ``K``, ``M`` or ``G`` (powers of 1000), ``B/s`` or ``b/s``, ``@`` and a time.

        Args:
            text: For example ``"10MB/s"``, ``"250Kb/s@20ms"``; an interval without unit is in seconds.

        Returns:
            The limit.

        Raises:
            ValueError: It is not a rate, or is out of range.
        """
        found = _TEXT.fullmatch(text)
        if not found:
            raise ValueError(f"{quoted(text)} is not a rate; write it like '10MB/s' or '1MB/s@20ms'")
        number, scale, unit, interval, interval_unit = found.groups()
        per_second = _number(number, text) * _DECIMAL[scale] // (8 if unit == "b" else 1)
        usecs = _DEFAULT_INTERVAL if interval is None else _number(interval, text) * _USECS[interval_unit]
        if usecs > UINT32_MAX or per_second * usecs > UINT64_MAX:
            raise ValueError(f"{quoted(text)} is out of range")
        return cls(per_second * usecs // 1_000_000, usecs)

    @property
    def text(self) -> str | None:
        """The limit in xl's notation; None if it cannot express the limit, e.g. an interval of 0."""
        text = self.text_above
        return text if text is not None and self.parse(text) == self else None

    @property
    def text_above(self) -> str | None:
        """The lowest limit in xl's notation that is not below this one; None if there is none, e.g. for no interval."""
        if not self.interval_usecs:
            return None
        per_second = -(-self.bytes_per_interval * 1_000_000 // self.interval_usecs)
        interval = "" if self.interval_usecs == _DEFAULT_INTERVAL else f"@{self.interval_usecs}us"
        for scale in (next((s for s in "GMK" if per_second and per_second % _DECIMAL[s] == 0), ""), "K", "M", "G"):
            text = f"{max(-(-per_second // _DECIMAL[scale]), 1)}{scale}B/s{interval}"
            try:
                self.parse(text)
            except ValueError:
                continue
            return text
        return None

    def __str__(self) -> str:
        """Return it in xl's notation, or in words if that cannot express it."""
        return self.text or f"{self.bytes_per_interval} B every {self.interval_usecs} µs"


def _number(digits: str, text: str) -> int:
    # As strtoull does with base 0: a leading zero means octal.
    try:
        number = int(digits, 8) if digits.startswith("0") else int(digits[:12])
    except ValueError:
        number = 0
    if not 0 < number <= UINT32_MAX:
        raise ValueError(f"{quoted(text)} is out of range; its numbers can be 1 to {UINT32_MAX}")
    return number


def as_rate(value: Any) -> Rate:
    """Pass a `Rate`, or its notation."""
    if isinstance(value, str):
        try:
            return Rate.parse(value)
        except ValueError as error:
            raise Refused(str(error)) from None
    kept: Rate = part(Rate)(value)
    return kept
