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
        outside_devices: The fields that were set before the devices were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}
        self.outside_devices: frozenset[str] = frozenset()

    def begin_devices(self, before: XmlReadState | None) -> None:
        """Note that all outside of ``<devices>`` has been read, and take over the devices of another state, if any."""
        self.outside_devices = frozenset(self.fields)
        if before is not None:
            of_devices = before.fields.keys() - before.outside_devices
            self.fields.update((name, before.fields[name]) for name in of_devices)

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
            raise self._with_line(error) from None

    def differing(self, config: DomainConfig) -> set[str]:
        """Return the fields of a configuration whose values are not what was read; see `ReadState.differing`.

        Raises:
            ParseError: A value is not valid. The error has its line.
        """
        try:
            return super().differing(config)
        except ValidationError as error:
            raise self._with_line(error) from None

    def _with_line(self, error: ValidationError) -> ParseError:
        root = (error.path or "").split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]
        return ParseError(error.message, line=self.lines.get(root), path=error.path)
