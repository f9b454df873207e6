"""Progress on standard error, each line with the seconds since the program started."""

from __future__ import annotations

import os
import sys
import time

_started = time.monotonic()


def say(text: str) -> None:
    """Print one line of progress, unless ``PYXEN_LAB_QUIET`` is set."""
    if not os.environ.get("PYXEN_LAB_QUIET"):
        print(f"[lab {time.monotonic() - _started:6.1f} s] {text}", file=sys.stderr, flush=True)
