"""Reading and writing of descriptors that may be slow, without holding up the simulated host."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from typing import Any, Final, Self

from pyxen._common.duplicates import duplicated
from pyxen._common.owner_thread import OwnerThread
from pyxen._common.shortage import shortage
from pyxen.backends.memory.engine import Script, Stopped, Wait, describe
from pyxen.backends.memory.machine import Machine
from pyxen.errors import OperationFailed
from pyxen.operation import Operation

__all__ = ["Duplicate", "read_until", "write_all"]

_CHUNK: Final = 4096  # bytes that a ready pipe or socket accepts at once

Step = Callable[[], bool]
"""Moves some data, and returns False once there is no more to move."""


class Duplicate:
    """A duplicate of a caller's descriptor, which the caller may close at once.

    Args:
        verb: The verb that it was passed to.
        fd: The descriptor.

    Raises:
        InvalidArgument: It is not valid.
        OperationFailed: This process may have no more descriptors.
    """

    _fd = -1

    def __init__(self, verb: str, fd: int) -> None:
        [self._fd] = duplicated(verb, fd)

    def fileno(self) -> int:
        """Return it."""
        return self._fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()  # of an operation that was stopped before it began

    def close(self) -> None:
        """Close it. Calling it again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def read_until(
    machine: Machine, operation: Operation[Any], fd: int, is_whole: Callable[[bytearray], bool]
) -> Script[bytes]:
    """Read until the data is whole, or ends. More than that may be read. `is_whole` is asked after each piece."""
    data = bytearray()

    def step() -> bool:
        more = os.read(fd, _CHUNK)
        data.extend(more)
        return bool(more) and not is_whole(data)

    yield from _move(machine, operation, fd, select.POLLIN, step)
    return bytes(data)


def write_all(machine: Machine, operation: Operation[Any], fd: int, data: bytes) -> Script[None]:
    """Write all of it."""
    rest = memoryview(data)

    def step() -> bool:
        nonlocal rest
        rest = rest[os.write(fd, rest[:_CHUNK]) :]
        return bool(rest)

    yield from _move(machine, operation, fd, select.POLLOUT, step)


def _move(machine: Machine, operation: Operation[Any], fd: int, event: int, step: Step) -> Script[None]:
    """Take steps as long as the descriptor is ready at once, and then on a thread, which waits for it."""
    try:
        while _is_ready(fd, event):
            if not step():
                return
        yield from _move_on_thread(machine, fd, event, step)
    except OSError as error:
        message = f"cannot {'read' if event == select.POLLIN else 'write to'} the descriptor: {error.strerror}"
        raise describe(OperationFailed, message, operation) from error


def _is_ready(fd: int, event: int, *, wake: int | None = None) -> bool:
    """Tell whether a descriptor is ready; with ``wake``, wait until it or that one is."""
    poller = select.poll()
    poller.register(fd, event)
    if wake is not None:
        poller.register(wake, select.POLLIN)
    ready = [found for found, _ in poller.poll(0 if wake is None else None)]
    return fd in ready and wake not in ready


def _move_on_thread(machine: Machine, fd: int, event: int, step: Step) -> Script[None]:
    ended: list[OSError | None] = []

    def release() -> None:
        os.close(wake)
        os.close(own)

    def move() -> None:
        problem: OSError | None = None
        try:
            while _is_ready(own, event, wake=wake) and step():
                pass
        except OSError as error:
            problem = error
        with machine.lock:
            release()
            ended.append(problem)
            machine.lock.notify_all()

    with shortage(OperationFailed, "cannot move the data"):
        with contextlib.ExitStack() as made:
            wake = os.eventfd(0, os.EFD_CLOEXEC)
            made.callback(os.close, wake)
            own = os.dup(fd)
            made.pop_all()  # both are the thread's from now on
        OwnerThread(move, release, name="pyxen-memory-descriptor").start()
    try:
        yield Wait(ready=lambda: bool(ended))
    except Stopped:
        if not ended:
            os.eventfd_write(wake, 1)
            yield Wait(ready=lambda: bool(ended), abortable=False)  # it ends at once, and uses the descriptor no more
        raise
    if ended[0] is not None:
        raise ended[0]
