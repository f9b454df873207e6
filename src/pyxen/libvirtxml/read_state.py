"""The state of the reader of libvirt XML."""

from __future__ import annotations

from typing import Any, TypeVar

from pyxen._common.read_state import ReadState
from pyxen.config import DomainConfig, DomainType, Part
from pyxen.errors import ParseError, ValidationError
from pyxen.libvirtxml.node import Node

__all__ = ["XmlReadState"]

_P = TypeVar("_P", bound=Part)


class XmlReadState(ReadState):
    """A configuration that is being read from XML.

    Attributes:
        lines: The lines of the fields, where known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}

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

    def config(self) -> DomainConfig:
        """Return the configuration.

        Raises:
            ParseError: A value is not valid. The error has its line.
        """
        try:
            return self.build()
        except ValidationError as error:
            root = (error.path or "").split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
            raise ParseError(error.message, line=self.lines.get(root), path=error.path) from None
