"""The lock of xl.conf around a create, so that xl and pyxen do not take the same memory from dom0."""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

from pyxen._common.xl_lock import give_back, try_to_take
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.operations.room import may_balloon
from pyxen.errors import LockFailed
from pyxen.operation import Operation

__all__ = ["locked"]

T = TypeVar("T")

_PATIENCE: Final = 300.0  # seconds for another program to build its domain
_LOOK_AGAIN: Final = 0.1  # seconds between attempts


def locked(
    context: Context, operation: Operation[Any], path: str | None, autoballoon: bool | None, script: Script[T]
) -> Script[T]:
    """Run a script while this process holds xl's lock, if xl would: with autoballoon.

    xl waits for it forever. Creates of this process share it: they know of each other.

    Args:
        context: The context.
        operation: The operation that the script belongs to.
        path: The file of the lock; None takes none.
        autoballoon: Whether dom0 gives up memory for the domain; None: unless Xen's command line says how much it has.
        script: The script.

    Raises:
        LockFailed: The file cannot be locked, or another program does not release it in time.
    """
    if path is None or not may_balloon(context, autoballoon):
        return (yield from script)
    late = time.monotonic() + _PATIENCE
    while not _taken(operation, path):
        if time.monotonic() >= late:
            message = (
                f"another program has held xl's lock {path} for {_PATIENCE:.0f} seconds: fuser {path} names it; "
                "autoballoon=False does without the lock"
            )
            raise describe(LockFailed, message, operation)
        yield Wait(context.token(), until=time.monotonic() + _LOOK_AGAIN)
    try:
        return (yield from script)
    finally:
        give_back(path)


def _taken(operation: Operation[Any], path: str) -> bool:
    try:
        return try_to_take(path)
    except OSError as error:
        message = f"cannot lock {path}, the lockfile of xl.conf: {error.strerror}"
        raise describe(LockFailed, message, operation) from error
