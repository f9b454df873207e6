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
from pyxen.config.base import Refused, fields_of
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
        return DomainConfig(**self._values())

    def differing(self, config: DomainConfig) -> set[str]:
        """Return the fields of a configuration whose values are not what was read.

        This is quicker than to make a configuration of what was read and to compare the two.

        Raises:
            ValidationError: A value that was read is not valid.
        """
        said, fields = self._values(), fields_of(DomainConfig)
        names, defaults, places, checks = fields.names, fields.defaults, fields.places, fields.checks
        wanted = fields.values(config)
        found = {names[at] for at in fields.touched(wanted) if names[at] not in said and wanted[at] != defaults[at]}
        try:
            for name, value in said.items():
                at = places[name]
                held = value if value is defaults[at] else checks[at](value)
                if held is not wanted[at] and held != wanted[at]:
                    found.add(name)
        except Refused:
            self.build()  # it says where the value is
            raise
        return found

    def _values(self) -> dict[str, Any]:
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
        return fields


def _part(name: str, values: dict[str, Any]) -> Part:
    try:
        return PARTS[name](**values)
    except ValidationError as error:
        raise ValidationError(error.message, path=f"{name}.{error.path}") from None
