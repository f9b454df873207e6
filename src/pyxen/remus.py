"""How a domain is replicated, as ``xl remus`` can be told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from pyxen.errors import InvalidArgument

__all__ = ["RemusOptions"]

_LONGEST: Final = (2**31 - 1) / 1000  # libxl counts milliseconds in an int


@dataclass(frozen=True, slots=True)
class RemusOptions:
    """How `Domain.remus` replicates a domain; what makes it unsafe has to be allowed.

    Attributes:
        interval: Seconds from one checkpoint to the next, from 0.001; default 0.2. ``-i`` has milliseconds.
        netbuf: Hold back what the guest sends to the network until the next checkpoint was sent; default True. False,
            as ``-n``, is unsafe.
        diskbuf: Replicate its disks, which must be DRBD's, with Remus's protocol; default True. False, as ``-d``, is
            unsafe.
        netbufscript: What sets a vif up for `netbuf`, as ``-N``; default libxl's ``remus-netbuf-setup``.
        allow_unsafe: Allow what is unsafe, as ``-F``: the world may have seen what the backup does not know.

    Raises:
        InvalidArgument: The interval is not valid; or something unsafe is asked for without `allow_unsafe`.
    """

    interval: float = 0.2
    netbuf: bool = True
    diskbuf: bool = True
    netbufscript: str | os.PathLike[str] | None = None
    allow_unsafe: bool = False

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InvalidArgument(problem, operation="remus")

    def _problem(self) -> str:
        """Return what is wrong; an empty text if nothing is."""
        if not 0.001 <= self.interval <= _LONGEST:
            return f"an interval of {self.interval!r} seconds: give from 0.001 to {_LONGEST:.0f}"
        asked = {"netbuf=False": not self.netbuf, "diskbuf=False": not self.diskbuf}
        unsafe = ", ".join(name for name, is_asked in asked.items() if is_asked)
        if unsafe and not self.allow_unsafe:
            return f"{unsafe}: what the backup has may not fit what the world has seen; say allow_unsafe=True to do it"
        if self.netbufscript is not None and not self.netbuf:
            return "a netbufscript is for netbuf=True: leave one of both out"
        return ""
