"""Checks of the arguments of verbs: what is of the wrong kind is refused before a backend sees it."""

from __future__ import annotations

import os
from enum import Enum
from typing import Any, TypeVar

from pyxen._printable import quoted
from pyxen.config import DomainConfig
from pyxen.errors import InvalidArgument

__all__ = ["check_config", "check_is", "check_number", "member", "path_of"]

E = TypeVar("E", bound=Enum)


def check_is(kind: type[Any], value: object, verb: str, remedy: str = "") -> None:
    """Check the type of an argument.

    Args:
        kind: The type.
        value: The argument.
        verb: The verb that takes it.
        remedy: What else the message says.

    Raises:
        InvalidArgument: It has another type.
    """
    if not isinstance(value, kind):
        given = "None" if value is None else type(value).__name__
        raise InvalidArgument(f"takes a {kind.__name__}, not {given}{remedy}", operation=verb)


def check_config(config: object, verb: str) -> None:
    """Check that an argument is a configuration; see `check_is`."""
    check_is(DomainConfig, config, verb, ": pyxen.xlcfg.load and loads make one of xl's format")


def check_number(value: object, verb: str, *, whole: bool = True) -> None:
    """Check that an argument is a number. True and False are not.

    Raises:
        InvalidArgument: It is something else, or is not ``whole``.
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        given = repr(value) if value is None or isinstance(value, (bool, float)) else quoted(value)
        raise InvalidArgument(f"takes a {'whole ' if whole else ''}number, not {given}", operation=verb)


def member(kind: type[E], value: object, verb: str, *, also: tuple[str, ...] = ()) -> E:
    """Return the member of an enumeration that an argument is, or names.

    Args:
        kind: The enumeration.
        value: The argument.
        verb: The verb that takes it.
        also: Other words that the verb takes, for the message.

    Raises:
        InvalidArgument: There is no such member.
    """
    try:
        return kind(value)
    except ValueError:
        names = ", ".join([*(str(one.value) for one in kind), *also])
        raise InvalidArgument(f"{quoted(value)} is not one of {names}", operation=verb) from None


def path_of(value: object, verb: str) -> str:
    """Return a path as text.

    Raises:
        InvalidArgument: It is not a path.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    check_is(str, path, verb, ", as the path")
    return str(path)
