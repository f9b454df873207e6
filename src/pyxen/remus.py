"""Options for the replication of a domain, those of ``xl remus``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from pyxen._durations import duration
from pyxen._printable import shown_number
from pyxen.errors import InvalidArgument

__all__ = ["RemusOptions"]

_LONGEST: Final = (2**31 - 1) / 1000  # libxl counts milliseconds in an int


@dataclass(frozen=True, slots=True)
class RemusOptions:
    """How `Domain.remus` replicates a domain. Unsafe options need `allow_unsafe`.

    Attributes:
        interval: Seconds between checkpoints, at least 0.001; default 0.2. ``xl remus -i`` takes milliseconds.
        netbuf: Hold back the guest's network output until the next checkpoint has been sent; default True. False,
            as ``-n``, is unsafe.
        diskbuf: Replicate its disks, which must be DRBD devices, with Remus's protocol; default True. False, as
            ``-d``, is unsafe.
        netbufscript: Script that sets up a vif for `netbuf`, as ``-N``. The default is that of `XlConf`, if the host
            was opened with one, else libxl's ``remus-netbuf-setup``.
        allow_unsafe: Allow unsafe options, as ``-F``: others may have seen output that the backup does not know of.

    Raises:
        InvalidArgument: The interval is invalid; or an unsafe option is set without `allow_unsafe`.
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
        """Return what is wrong, or an empty string."""
        if not _is_interval(self.interval):
            return f"an interval of {shown_number(self.interval)} seconds is out of range: use 0.001 to {_LONGEST:.0f}"
        for name in ("netbuf", "diskbuf", "allow_unsafe"):
            if not isinstance(value := getattr(self, name), bool):
                return f"{name}={shown_number(value)}: takes True or False"
        asked = {"netbuf=False": not self.netbuf, "diskbuf=False": not self.diskbuf}
        unsafe = ", ".join(name for name, is_asked in asked.items() if is_asked)
        if unsafe and not self.allow_unsafe:
            return f"{unsafe}: the backup may not match what others have already seen: set allow_unsafe=True for that"
        if self.netbufscript is not None and not self.netbuf:
            return "a netbufscript requires netbuf=True: leave the script out, or set netbuf"
        return ""


def _is_interval(seconds: float) -> bool:
    try:
        return 0.001 <= duration(seconds, "interval") <= _LONGEST
    except InvalidArgument:
        return False
