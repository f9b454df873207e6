"""Release of what the frames of an error hold.

An error has the frames that it passed through, and these have their local variables: domains of libvirt-python, each of
which keeps its connection open. The last of them to go closes the connection, and waits for the daemon while it does.
That must not happen in whatever thread the garbage collector runs, so no error may leave the backend with them.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any, Final, TypeVar

__all__ = ["release", "releasing"]

C = TypeVar("C", bound=type)

_OURS: Final = "pyxen.backends.libvirt"
_BINDING: Final = "libvirt"


def release(error: BaseException) -> None:
    """Clear the frames of an error, of its causes and of its contexts, as far as they are the backend's and have ended.

    The caller's own frames stay as they are, for his debugger.
    """
    errors = [error]
    for each in errors:
        for other in (each.__cause__, each.__context__):
            if other is not None and not any(other is known for known in errors):
                errors.append(other)
        for frame, _ in traceback.walk_tb(each.__traceback__):
            name = frame.f_globals.get("__name__", "")
            if name == _BINDING or name.startswith(_OURS):
                with suppress(RuntimeError):  # it still runs
                    frame.clear()


def releasing(cls: C) -> C:
    """Let each public method of a class release what the errors that it raises hold."""
    for name, method in list(vars(cls).items()):
        if isinstance(method, FunctionType) and not name.startswith("_"):
            setattr(cls, name, _releasing(method))
    return cls


def _releasing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except BaseException as error:
            release(error)
            raise

    return call
