"""The descriptors of this process."""

from __future__ import annotations

import contextlib
import os

__all__ = ["opened"]


def opened() -> set[tuple[str, str]]:
    """Return the descriptors of this process, with what they are. Threads of earlier tests may still close theirs."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return found
