"""One text for both faces: what a method does is written where it blocks."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TypeVar

__all__ = ["documented_as"]

C = TypeVar("C", bound=type)


def documented_as(blocking: type) -> Callable[[C], C]:
    """Give the members of a class that have no docstring those of the blocking class's members of the same name."""

    def document(cls: C) -> C:
        for name, member in vars(cls).items():
            if isinstance(member, FunctionType | property) and member.__doc__ is None and name in vars(blocking):
                member.__doc__ = vars(blocking)[name].__doc__
        return cls

    return document
