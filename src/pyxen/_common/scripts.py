"""What the scripts of every backend share. A script is a generator that does one operation; its backend runs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

__all__ = ["at_once"]

P = ParamSpec("P")
T = TypeVar("T")


def at_once(call: Callable[P, T]) -> Callable[P, Generator[Any, Any, T]]:
    """Make a script of a function that waits for nothing.

    A generator's body runs only when its backend steps it: on the backend's own thread, under its lock, and with every
    exception going to whoever waits for the operation. A plain function would run at once on the caller's thread. So
    what has nothing to yield must be a generator too, and this decorator makes it one.
    """

    @functools.wraps(call)
    def script(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, T]:
        yield from ()
        return call(*args, **kwargs)

    return script
