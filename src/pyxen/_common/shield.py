"""Calls of what others wrote: callbacks, log handlers, filters. Whatever they raise stops nothing of ours."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

__all__ = ["logger", "shielded"]


def shielded(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function; what it raises, `SystemExit` too, goes to `threading.excepthook`, and no further."""
    try:
        function(*arguments)
    except BaseException as error:  # noqa: BLE001 (goes where Python shows what no thread catches)
        report(error)


def report(error: BaseException) -> None:
    """Show what somebody else's function raised, where Python shows what no thread catches."""
    thread = threading.current_thread()
    with contextlib.suppress(BaseException):  # a hook that raises is foreign, too, and there is nobody left to tell
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))


if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class _Shielded(_Adapter):
    """A logger whose handlers and filters can raise what they like."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 3  # past the lambda, `shielded` and this
            shielded(lambda: self.logger.log(level, msg, *args, **kwargs))

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        return msg, kwargs


def logger(name: str) -> _Adapter:
    """Return the logger of that name, shielded from what its handlers and filters raise."""
    return _Shielded(logging.getLogger(name), {})
