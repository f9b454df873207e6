"""How long whoever joins a thread that watches xenstore waits for it, and what it is told if the thread fails."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from pyxen.errors import OperationFailed, OperationTimeout

__all__ = ["TO_JOIN", "thread_failed", "wait_joined"]

TO_JOIN: Final = 120.0
"""Seconds for the thread to take note of who joins. A xenstored that is silent makes it give up much earlier."""


def wait_joined(joined: Future[None], verb: str) -> None:
    """Wait until the thread has taken note.

    Raises:
        OperationTimeout: It is busy for too long, for example with a callback that does not return.
    """
    try:
        joined.result(TO_JOIN)
    except TimeoutError:
        if joined.done():
            raise
        message = f"{verb}: its thread has been busy for {TO_JOIN:g} s: look for a callback that does not return"
        raise OperationTimeout(message, operation=verb) from None


def thread_failed(verb: str, error: BaseException) -> OperationFailed:
    """Return the exception for whoever waits for a thread that ends with an error of its own."""
    failure = OperationFailed(f"{verb}: its thread has ended: {error!r}: open the host again", operation=verb)
    failure.__cause__ = error
    return failure
