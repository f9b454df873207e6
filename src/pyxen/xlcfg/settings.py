"""The settings of a text, asked for as xl asks libxlutil: by key and kind, and the last setting counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyxen.errors import ParseError
from pyxen.xlcfg.c_numbers import to_long
from pyxen.xlcfg.grammar import Assignment, Value, assignments
from pyxen.xlcfg.syntax_errors import position

__all__ = ["Settings", "read_settings"]


class Settings:
    """The settings of a text. As in libxlutil, a question for another kind of value gets None."""

    __slots__ = ("_chains", "_values", "text")

    def __init__(self, text: str, written: Iterable[Assignment]) -> None:
        self.text = text
        chains: dict[str, list[Assignment]] = {}
        for assignment in written:
            if assignment.adds and assignment.key in chains:
                chain = chains[assignment.key]
                if isinstance(chain[0].value, str) != isinstance(assignment.value, str):
                    raise self._cannot_add(assignment)
                chain.append(assignment)
            else:
                chains[assignment.key] = [assignment]
        self._chains = chains
        self._values = {key: chain[0].value if len(chain) == 1 else _sum(chain) for key, chain in chains.items()}

    def _cannot_add(self, assignment: Assignment) -> ParseError:
        line, column = position(self.text, assignment.value_start)
        kind = "a single value" if isinstance(assignment.value, str) else "a list"
        message = f"+= cannot add {kind} to {assignment.key}, which is of the other kind"
        return ParseError(message, line=line, column=column)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys that are set, in the order of their first settings."""
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def value(self, key: str) -> Value | None:
        """Return the value of a key, whatever its kind; None if it is not set."""
        return self._values.get(key)

    def string(self, key: str) -> str | None:
        """Return a single value; None if the key is not set, or is a list."""
        value = self._values.get(key)
        return value if isinstance(value, str) else None

    def items(self, key: str) -> list[Value] | None:
        """Return a list; None if the key is not set, or is a single value."""
        value = self._values.get(key)
        return value if isinstance(value, list) else None

    def integer(self, key: str) -> int | None:
        """Return a number as C's strtol reads it with base 0; None if there is none.

        A number that was written with ``+=`` is None too: libxlutil warns of it and ignores it.
        """
        value = self._values.get(key)
        if not isinstance(value, str) or self._chains[key][-1].adds:
            return None
        return to_long(value)

    def added(self, key: str) -> bool:
        """Return whether the last setting of a key was written with ``+=``."""
        return key in self._chains and self._chains[key][-1].adds

    def chain(self, key: str) -> list[Assignment]:
        """Return the settings that make up the value of a key: the last ``=``, and every ``+=`` behind it."""
        return self._chains.get(key, [])


def _sum(chain: list[Assignment]) -> Value:
    if isinstance(chain[0].value, str):
        return "".join(part.value for part in chain if isinstance(part.value, str))
    return [item for part in chain if isinstance(part.value, list) for item in part.value]


def read_settings(text: str) -> Settings:
    """Read a configuration.

    Raises:
        ParseError: libxlutil refuses the text.
    """
    return Settings(text, assignments(text))
