"""Losses: settings that a conversion could not carry over."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from pyxen._printable import quoted
from pyxen.config.base import Part, settings_of
from pyxen.config.enums import ActionOnShutdown, DeviceModelVersion, VgaInterfaceType
from pyxen.errors import InvalidArgument, LossyConversion

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


_DASHED: Final = (ActionOnShutdown, DeviceModelVersion)
"""Enumerations whose names have dashes in xl.cfg and in libvirt's XML, and underscores in libxl only."""

_OTHERWISE: Final[dict[object, str]] = {
    ActionOnShutdown.RESTART_RENAME: "rename-restart",
    VgaInterfaceType.STD: "stdvga",
}
"""Members of enumerations that xl.cfg gives other names than libxl."""

_RUN: Final = 3
"""Numbers that follow each other are shown as a range from this many on."""


def shown(value: object) -> str:
    """Return a value as a person would write it in xl.cfg, without Python's syntax and with secrets masked."""
    if value is None:
        return "not set"
    if value == "":
        return '""'
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Enum):
        return _member(value)
    if isinstance(value, (tuple, frozenset)):
        return _items(value)
    if isinstance(value, Part) and type(value).__str__ is object.__str__:
        return ", ".join(f"{name}={_masked(value, name, inner)}" for name, inner in value.non_defaults()) or '""'
    return str(value) or '""'


def _member(value: Enum) -> str:
    if isinstance(value.value, str):
        return _OTHERWISE.get(value) or (value.value.replace("_", "-") if isinstance(value, _DASHED) else value.value)
    return value.name.lower()


def _items(values: tuple[object, ...] | frozenset[object]) -> str:
    """Return several values, those of a set in order and named ones first; of pairs, the name and the value."""
    if isinstance(values, frozenset):
        named = sorted(_member(value) for value in values if isinstance(value, Enum))
        numbers = sorted(value for value in values if isinstance(value, int) and not isinstance(value, Enum))
        return ", ".join([*named, *_runs(numbers)])
    if values and all(type(value) is int for value in values):
        return ", ".join(_runs([value for value in values if isinstance(value, int)]))
    separator = "; " if any(isinstance(value, Part) for value in values) else ", "
    return separator.join(_pair(value) if _is_pair(value) else shown(value) for value in values)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == len(("name", "value")) and isinstance(value[0], str)


def _pair(pair: Any) -> str:
    name, value = pair
    return f"{name}={shown(value)}"


def _runs(numbers: Sequence[int]) -> list[str]:
    """Return numbers, and ranges of those that follow each other."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [
        text
        for run in runs
        for text in ([f"{run[0]}-{run[-1]}"] if len(run) >= _RUN else [str(number) for number in run])
    ]


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


def report(losses: Iterable[Loss], on_loss: OnLoss, source: str | None = None) -> None:
    """Handle losses the way the caller of a codec asked for.

    Args:
        losses: What was lost, if anything.
        on_loss: ``"raise"``, ``"warn"`` or ``"ignore"``.
        source: Name of the file that was read, for messages.

    Raises:
        LossyConversion: There are losses, and ``on_loss`` is ``"raise"``.
        InvalidArgument: ``on_loss`` is something else.
    """
    if on_loss not in ("raise", "warn", "ignore"):
        raise InvalidArgument(f"on_loss is {quoted(on_loss)}; it can be 'raise', 'warn' or 'ignore'")
    found = tuple(losses)
    if not found or on_loss == "ignore":
        return
    head = f"{source}: " if source else ""
    if on_loss == "warn":
        for loss in found:
            warnings.warn(f"{head}{loss}", LossWarning, stacklevel=_callers_level())
        return
    lines = "\n".join(f"  {loss}" for loss in found)
    remedy = "on_loss='warn' or 'ignore' leaves it out"
    message = f"{head}the conversion would lose a part of the configuration ({remedy}):\n{lines}"
    raise LossyConversion(message, losses=found)
