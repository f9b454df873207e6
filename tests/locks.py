"""Others who hold a lock: as xl does, or as a search for what killed processes have left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["holding", "locked_first"]

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


def locked_first(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have someone else lock the next file that this process wants to lock; returns where its descriptor will be."""
    held: list[int] = []
    real = fcntl.flock

    def flock(file: Any, how: int) -> None:
        if not held:
            held.append(os.open(f"/proc/self/fd/{file}", os.O_RDWR))
            real(held[0], fcntl.LOCK_EX)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    return held
