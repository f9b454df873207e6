"""How long whoever joins a thread that watches xenstore waits for it, and what it is told if the thread fails."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Final

from pyxen.errors import OperationFailed, OperationTimeout

__all__ = ["TO_JOIN", "thread_failed", "wait_joined"]

TO_JOIN: Final = 120.0
"""Seconds for the thread to take note of who joins. A xenstored that is silent makes it give up much earlier, unless
very many join."""


def wait_joined(joined: Future[None], verb: str) -> None:
    """Wait until the thread has taken note.

    Raises:
        OperationTimeout: It is busy for too long, for example with a callback that does not return.
        Error: Why it did not.
    """
    if not wait([joined], TO_JOIN).done:
        reasons = "look for a callback that does not return, or a xenstored that does not answer"
        message = f"its thread has been busy for {TO_JOIN:g} s: {reasons}"
        raise OperationTimeout(message, operation=verb)
    joined.result()


def thread_failed(verb: str, error: BaseException) -> OperationFailed:
    """Return the exception for whoever waits for a thread that ends with an error of its own."""
    failure = OperationFailed(f"its thread has ended: {error!r}: open the host again", operation=verb)
    failure.__cause__ = error
    return failure
