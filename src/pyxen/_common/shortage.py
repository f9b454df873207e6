"""Shortage of what a process is granted: descriptors, threads, processes, memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pyxen.errors import Error

__all__ = ["shortage"]


@contextlib.contextmanager
def shortage(kind: type[Error], what: str) -> Iterator[None]:
    """Turn a shortage into one of pyxen's exceptions.

    Args:
        kind: The exception.
        what: What cannot be done, for its message.
    """
    try:
        yield
    except Error:
        raise
    except (OSError, RuntimeError, MemoryError) as error:  # RuntimeError: Python cannot start a thread
        message = f"{what}: this process may have no more descriptors, threads or memory: {error}"
        raise kind(message) from error
