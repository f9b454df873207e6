"""Another process that holds a lock as xl does."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["holding"]

_HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o200)
try:
    fcntl.lockf(fd, fcntl.LOCK_EX | (0 if sys.argv[2] == "wait" else fcntl.LOCK_NB))
except BlockingIOError:
    print("taken", flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holding(path: str, *, wait: bool = True) -> Iterator[None]:
    """Have another process hold the lock.

    Raises:
        BlockingIOError: A third one has it, and ``wait`` is False.
    """
    command = [sys.executable, "-I", "-c", _HOLD, path, "wait" if wait else "now"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        try:
            if other.stdout.readline() != "held\n":
                raise BlockingIOError(path)
            yield
        finally:
            other.stdin.close()
            other.wait(60)
