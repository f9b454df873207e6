"""A configuration while it is read: the fields found so far, by their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from pyxen.config import DomainType, LibxlEnum
from pyxen.xlcfg.item_grammar import member
from pyxen.xlcfg.source import Source

__all__ = ["ReadState", "Reader"]

E = TypeVar("E", bound=LibxlEnum)


class ReadState:
    """What was read so far.

    Attributes:
        source: The settings.
        settings: The same, asked without notes.
        guest: The type of guest.
        said: Fields of `DomainConfig` by their paths, as in ``vnc.listen``.
    """

    def __init__(self, source: Source, guest: DomainType) -> None:
        self.source = source
        self.settings = source.settings
        self.guest = guest
        self.said: dict[str, Any] = {"type": guest}

    def member(self, name: str, kind: type[E], value: str) -> E:
        """Return the member of an enumeration that a key's value names.

        Raises:
            ParseError: It names none.
        """
        return self.source.read(name, lambda: member(kind, value, f"value of {name}"))


Reader: TypeAlias = Callable[[ReadState, str], None]
"""Reads one key, by its name, into a draft."""
