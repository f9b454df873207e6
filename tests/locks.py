"""Others who hold a lock: as xl does, or as a search for what killed processes have left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

__all__ = ["holding", "locked_first", "outlived_by_its_child"]

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


@contextlib.contextmanager
def locked_first(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have another process lock the next file that this process wants to lock, and hold it until the block ends."""
    real = fcntl.lockf
    files: list[str] = []
    with contextlib.ExitStack() as held:

        def lockf(fd: int, how: int) -> None:
            if not files:
                files.append(os.readlink(f"/proc/self/fd/{fd}"))
                held.enter_context(holding(files[0]))
            real(fd, how)

        monkeypatch.setattr(fcntl, "lockf", lockf)
        yield
    assert files


FORKED_IN_C = """
import ctypes, os
if ctypes.PyDLL(None).fork() != 0:  # past Python, as libxl does
    print("ready", flush=True)
os.read(0, 1)
"""
"""The end of a program that forks, says so, and waits with its child until standard input is closed."""


@contextlib.contextmanager
def outlived_by_its_child(program: str, *arguments: str) -> Iterator[None]:
    """Run a program that forks past Python, and kill it; its child lives on until the block ends."""
    command = [sys.executable, "-c", program + FORKED_IN_C, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        process.wait(60)
        yield
        assert not select.select([process.stdout], [], [], 0)[0], "the child has ended"
