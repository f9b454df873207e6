"""How a domain is replicated, as ``xl remus`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyxen.errors import InvalidArgument

__all__ = ["RemusOptions"]

_LONGEST: Final = (2**31 - 1) / 1000  # libxl counts milliseconds in an int


@dataclass(frozen=True, slots=True)
class RemusOptions:
    """How a domain is replicated; `Domain.remus` says what each means.

    Raises:
        InvalidArgument: The interval is none, or what is asked for is unsafe, and that was not allowed.
    """

    interval: float = 0.2
    netbuf: bool = True
    diskbuf: bool = True
    netbufscript: str | None = None
    allow_unsafe: bool = False
    blackhole: bool = False

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InvalidArgument(problem, operation="remus")

    def _problem(self) -> str:
        """Return what is wrong; an empty text if nothing is."""
        if not 0.001 <= self.interval <= _LONGEST:
            return f"an interval of {self.interval!r} seconds: give from 0.001 to {_LONGEST:.0f}"
        asked = {"blackhole=True": self.blackhole, "netbuf=False": not self.netbuf, "diskbuf=False": not self.diskbuf}
        unsafe = ", ".join(name for name, is_asked in asked.items() if is_asked)
        if unsafe and not self.allow_unsafe:
            return f"{unsafe}: what the backup has may not fit what the world has seen; say allow_unsafe=True to do it"
        if self.netbufscript is not None and not self.netbuf:
            return "a netbufscript is for netbuf=True: leave one of both out"
        return ""
