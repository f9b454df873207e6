"""Names of the guests that a pool keeps ready, by which every program knows them."""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

__all__ = ["is_ready_name", "ready_prefix"]

_READY: Final = re.compile(r"--ready-[0-9a-f]{6}-[0-9]+\Z")


def ready_prefix(name: str) -> str:
    """Return what the names of a new pool's guests begin with; a number follows.

    Args:
        name: The name in the configuration that they are made from.
    """
    return f"{name}--ready-{uuid4().hex[:6]}-"


def is_ready_name(name: str | None) -> bool:
    """Tell whether a domain of this name waits in a pool to be taken."""
    return name is not None and _READY.search(name) is not None
