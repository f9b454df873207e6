"""What a conversion could not carry over: said, never dropped in silence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pyxen.errors import LossyConversion

__all__ = ["Loss", "LossWarning", "OnLoss", "report"]

OnLoss = Literal["raise", "warn", "ignore"]
"""What a codec does about losses: raise `LossyConversion`, give a `LossWarning`, or nothing."""


class LossWarning(UserWarning):
    """A conversion left something out (``on_loss="warn"``)."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One setting that the other spelling cannot say.

    Attributes:
        path: The field, as in ``disks[1].grant_usage``; in a text that was read, the place in that text.
        value: What it was set to, as text; secrets are masked by the codec.
        reason: Why it is lost, and what to do about it where something can be done.
    """

    path: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} = {self.value}: {self.reason}"


def report(losses: Iterable[Loss], on_loss: OnLoss) -> None:
    """Deal with losses the way the caller of a codec asked for.

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
            warnings.warn(str(loss), LossWarning, stacklevel=3)
        return
    lines = "\n".join(f"  {loss}" for loss in found)
    message = f"not everything can be said in the other form (on_loss='warn' or 'ignore' goes on without):\n{lines}"
    raise LossyConversion(message, losses=found)
