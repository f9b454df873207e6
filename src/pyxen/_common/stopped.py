"""Effects that remain after an operation was stopped, for its error message."""

from __future__ import annotations

from typing import Any, Final

from pyxen.operation import Operation

__all__ = ["what_stays"]

_ASKED: Final = {
    "shutdown": "the guest was asked and may still shut down",
    "reboot": "the guest was asked and may still reboot",
}


def what_stays(operation: Operation[Any], usual: str = "what it had begun was undone") -> str:
    """Return the remaining effect of a stopped operation: `usual`, unless the guest was already asked to act."""
    return _ASKED.get(operation.verb, usual)
