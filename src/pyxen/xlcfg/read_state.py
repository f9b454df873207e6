"""The state of the reader of xl configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from pyxen._common.read_state import ReadState
from pyxen.config import DomainType, LibxlEnum
from pyxen.xlcfg.item_grammar import member
from pyxen.xlcfg.source import Source

__all__ = ["Reader", "XlReadState"]

E = TypeVar("E", bound=LibxlEnum)


class XlReadState(ReadState):
    """A configuration that is being read from xl's settings.

    Attributes:
        source: The settings.
        settings: The same, asked without notes.
        guest: The type of guest.
    """

    def __init__(self, source: Source, guest: DomainType) -> None:
        super().__init__()
        self.source = source
        self.settings = source.settings
        self.guest = guest
        self.fields["type"] = guest

    def member(self, name: str, kind: type[E], value: str) -> E:
        """Return the member of an enumeration that a key's value names.

        Raises:
            ParseError: It names none.
        """
        return self.source.read(name, lambda: member(kind, value, f"value of {name}"))


Reader: TypeAlias = Callable[[XlReadState, str], None]
"""Reads one key, by its name, into the state."""
