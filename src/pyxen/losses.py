"""Losses: settings that a conversion could not carry over."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from pyxen.config.base import Part, settings_of
from pyxen.errors import LossyConversion

__all__ = ["Loss", "LossWarning", "OnLoss", "report", "shown"]

OnLoss = Literal["raise", "warn", "ignore"]
"""What a codec does about losses: raise `LossyConversion`, issue a `LossWarning`, or nothing."""


class LossWarning(UserWarning):
    """A conversion left something out (``on_loss="warn"``)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One setting that the target format cannot express.

    Attributes:
        path: The field, e.g. ``disks[1].grant_usage``; for a parsed text, the place in that text.
        value: Its value as text; the codec masks secrets. "" if it has none, because it is missing.
        reason: Why it is lost, and what to do about it if possible.
    """

    path: str
    value: str
    reason: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.path}{value}: {self.reason}"


def shown(value: object) -> str:
    """Return a value as a person would write it, without Python's syntax and with secrets masked."""
    if value is None:
        return "not set"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(shown, value)))
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, Part) and type(value).__str__ is object.__str__:
        return ", ".join(f"{name}={_masked(value, name, inner)}" for name, inner in value.non_defaults()) or "{}"
    return str(value)


def _masked(part: Part, name: str, value: object) -> str:
    mask = settings_of(type(part))[name].secret
    if mask is None:
        return shown(value)
    return ", ".join(mask(str(item)) for item in value) if isinstance(value, tuple) else mask(str(value))


def _callers_level() -> int:
    """Return the stack level, for `warnings.warn`, of the nearest caller that is not part of pyxen."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 (warnings has skip_file_prefixes from Python 3.12 only)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    return level


_HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


def report(losses: Iterable[Loss], on_loss: OnLoss) -> None:
    """Handle losses the way the caller of a codec asked for.

    Args:
        losses: What was lost, if anything.
        on_loss: ``"raise"``, ``"warn"`` or ``"ignore"``.

    Raises:
        LossyConversion: There are losses, and ``on_loss`` is ``"raise"``.
        ValueError: ``on_loss`` is something else.
    """
    if on_loss not in ("raise", "warn", "ignore"):
        raise ValueError(f"on_loss is {on_loss!r}; it can be 'raise', 'warn' or 'ignore'")
    found = tuple(losses)
    if not found or on_loss == "ignore":
        return
    if on_loss == "warn":
        for loss in found:
            warnings.warn(str(loss), LossWarning, stacklevel=_callers_level())
        return
    lines = "\n".join(f"  {loss}" for loss in found)
    message = f"the other format cannot express everything (on_loss='warn' or 'ignore' leaves it out):\n{lines}"
    raise LossyConversion(message, losses=found)
