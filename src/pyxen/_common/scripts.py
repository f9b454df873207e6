"""Helpers for scripts: generators that do one operation each, and that a backend runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

__all__ = ["at_once"]

P = ParamSpec("P")
T = TypeVar("T")


def at_once(call: Callable[P, T]) -> Callable[P, Generator[Any, Any, T]]:
    """Turn a function that never waits into a script.

    A generator's body runs only when its backend steps it: on the backend's own thread and under its lock, and its
    exceptions go to the caller who waits for the operation. A plain function would run at once on the caller's thread.
    A script with nothing to yield must therefore be a generator too, and this decorator makes it one.
    """

    @functools.wraps(call)
    def script(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, T]:
        yield from ()
        return call(*args, **kwargs)

    return script
