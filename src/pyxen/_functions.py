"""Checks of the functions that users give: pyxen calls them on threads, where nothing can be awaited."""

from __future__ import annotations

import functools
import inspect

from pyxen.errors import InvalidArgument

__all__ = ["check_answer", "check_function"]


def check_function(function: object, what: str, verb: str) -> None:
    """Check that an argument is a plain function.

    Args:
        function: The argument.
        what: What the message calls it, such as ``allow``.
        verb: The verb that takes it.

    Raises:
        InvalidArgument: It cannot be called; or it is async, so that a call would run nothing of it.
    """
    if not callable(function):
        given = "None" if function is None else type(function).__name__
        raise InvalidArgument(f"takes a function as {what}, not {given}", operation=verb)
    while isinstance(function, functools.partial):
        function = function.func
    if _is_async(function) or _is_async(type(function).__call__):  # an object may have an async __call__
        raise _not_plain(what, verb)


def check_answer(answer: object, what: str, verb: str) -> None:
    """Check that a function has run when it has returned: that it did not return a coroutine, which is closed then.

    Args:
        answer: What the function returned.
        what: What the message calls the function.
        verb: The verb that called it.

    Raises:
        InvalidArgument: It has not run.
    """
    if inspect.iscoroutine(answer):
        answer.close()  # otherwise Python warns that nobody has awaited it
        raise _not_plain(what, verb)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _not_plain(what: str, verb: str) -> InvalidArgument:
    message = f"takes a plain function as {what}, not an async one: nothing awaits it, so it would not run"
    return InvalidArgument(message, operation=verb)
