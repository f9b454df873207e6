"""Names of the guests that a pool keeps ready, by which every program knows them, and the guests that none keeps."""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

from pyxen.records.info import ENDS, DomainInfo

__all__ = ["is_ready_name", "is_to_be_asked", "ready_prefix"]

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


def is_to_be_asked(info: DomainInfo) -> bool:
    """Tell whether a guest has not ended, and is not kept ready by a pool: such a guest is paused and cannot answer."""
    return info.state not in ENDS and not is_ready_name(info.name)
