"""What an operation that was stopped leaves, for its error."""

from __future__ import annotations

from typing import Any, Final

from pyxen.operation import Operation

__all__ = ["what_stays"]

_ASKED: Final = {
    "shutdown": "the guest was asked, and may still shut down",
    "reboot": "the guest was asked, and may still reboot",
}


def what_stays(operation: Operation[Any], usual: str = "what was begun is undone") -> str:
    """Return what becomes of what an operation had begun; `usual`, unless a guest was asked and cannot be stopped."""
    return _ASKED.get(operation.verb, usual)
