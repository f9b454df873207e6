"""Log handlers that raise: all that pyxen logs ends the interpreter, if it can."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest

__all__ = ["handlers_that_raise"]


class _Raises(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(record.getMessage())


@contextlib.contextmanager
def handlers_that_raise() -> Iterator[list[object]]:
    """Have each line of pyxen's log raise `SystemExit`; yields what came to `threading.excepthook`."""
    raised: list[object] = []
    logger, handler = logging.getLogger("pyxen"), _Raises()
    before = logger.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda arguments: raised.append(arguments.exc_value))
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            yield raised
        finally:
            logger.setLevel(before)
            logger.removeHandler(handler)
