"""Shielded calls of user code: exceptions in callbacks, log handlers and filters do not stop pyxen."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

__all__ = ["logger", "shielded"]


def shielded(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function, and pass any exception that it raises, even `SystemExit`, to `threading.excepthook`."""
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 (reported as an uncaught exception of a thread)
        report(error)


def report(error: BaseException) -> None:
    """Report an exception of user code as an uncaught exception of this thread."""
    thread = threading.current_thread()
    with contextlib.suppress(BaseException):  # the hook may be user code too, and there is nowhere left to report it
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class _Shielded(_Adapter):
    """A logger that survives exceptions in its handlers and filters."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 3  # past the lambda, `shielded` and this
            shielded(lambda: self.logger.log(level, msg, *args, **kwargs))

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        return msg, kwargs


def logger(name: str) -> _Adapter:
    """Return the logger with this name, shielded from exceptions in its handlers and filters."""
    return _Shielded(logging.getLogger(name), {})
