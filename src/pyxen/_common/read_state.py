"""The state of a codec while it reads a configuration."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config import (
    Arm,
    DeviceModel,
    DomainConfig,
    Part,
    PvShim,
    Scheduler,
    Sdl,
    Spice,
    Stubdomain,
    Vnc,
)
from pyxen.errors import ValidationError
from pyxen.losses import Loss

__all__ = ["PARTS", "ReadState"]

PARTS: Final[dict[str, type[Part]]] = {
    "arm": Arm,
    "device_model": DeviceModel,
    "pvshim": PvShim,
    "scheduler": Scheduler,
    "sdl": Sdl,
    "spice": Spice,
    "stubdomain": Stubdomain,
    "vnc": Vnc,
}
"""The fields of a `DomainConfig` that are parts, which formats set field by field."""


class ReadState:
    """A configuration that is being read.

    Attributes:
        fields: Fields of the `DomainConfig` by their paths, as in ``vnc.listen``.
        losses: What the model cannot hold.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.losses: list[Loss] = []

    def lose(self, path: str, value: str, reason: str) -> None:
        """Record a loss."""
        self.losses.append(Loss(path, value, reason))

    def build(self) -> DomainConfig:
        """Return the configuration.

        Raises:
            ValidationError: A value is not valid.
        """
        fields: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {}
        for path, value in self.fields.items():
            if "." in path:
                part, _, name = path.partition(".")
                parts.setdefault(part, {})[name] = value
            else:
                fields[path] = value
        for part, values in parts.items():
            fields[part] = _part(part, values)
        return DomainConfig(**fields)


def _part(name: str, values: dict[str, Any]) -> Part:
    try:
        return PARTS[name](**values)
    except ValidationError as error:
        raise ValidationError(error.message, path=f"{name}.{error.path}") from None
