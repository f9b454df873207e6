"""Starting threads for the asyncio face, at any time, also while the program ends."""

from __future__ import annotations

import sys
import threading

from pyxen._common.shortage import shortage
from pyxen.errors import OperationFailed

__all__ = ["NO_THREAD", "start"]

NO_THREAD = "cannot start a thread"


def start(thread: threading.Thread, what: str = NO_THREAD) -> None:
    """Start a thread.

    Raises:
        OperationFailed: It cannot be started; or the interpreter ends. Python then throws `GeneratorExit` into what
            still waits, and would wait for ever for a thread to begin.
    """
    if sys.is_finalizing():
        raise OperationFailed(f"{what}: the program ends")
    with shortage(OperationFailed, what):
        thread.start()
