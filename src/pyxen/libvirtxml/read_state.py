"""The state of a reader: fields of the model, their lines, and losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pyxen.config import DomainConfig, DomainType, Part
from pyxen.errors import ParseError, ValidationError
from pyxen.libvirtxml.node import Node
from pyxen.losses import Loss

__all__ = ["ReadState"]

_P = TypeVar("_P", bound=Part)


@dataclass(slots=True)
class ReadState:
    """A configuration that is being read.

    Attributes:
        fields: Fields of the `DomainConfig`, by name.
        lines: The lines of these fields, where known.
        losses: What the model cannot hold.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)

    @property
    def is_hvm(self) -> bool:
        """Whether this is an HVM guest; known once ``<os>`` has been read, which comes first."""
        return self.fields.get("type") is DomainType.HVM

    def put(self, name: str, value: Any, node: Node) -> None:
        """Set a field, unless the value is None."""
        if value is not None:
            self.fields[name] = value
            self.lines[name] = node.line

    def append(self, name: str, item: Any) -> None:
        """Append an item to a list field."""
        self.fields.setdefault(name, []).append(item)

    def make(self, kind: type[_P], node: Node, **fields: Any) -> _P:
        """Create a part from the fields that are not None.

        Raises:
            ParseError: A value is not valid. The error has the line of `node`.
        """
        try:
            return kind(**{name: value for name, value in fields.items() if value is not None})
        except ValidationError as error:
            raise ParseError(f"<{node.tag}>: {error.message}", line=node.line or None, path=error.path) from None

    def lose(self, path: str, value: str, reason: str) -> None:
        """Record a loss."""
        self.losses.append(Loss(path, value, reason))

    def config(self) -> DomainConfig:
        """Return the configuration.

        Raises:
            ParseError: A value is not valid. The error has its line.
        """
        try:
            return DomainConfig(**self.fields)
        except ValidationError as error:
            root = (error.path or "").split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
            raise ParseError(error.message, line=self.lines.get(root), path=error.path) from None
