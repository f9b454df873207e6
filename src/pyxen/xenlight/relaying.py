"""libxl's stream on its way to the other end: libxl writes to a pipe, and a course carries on from there."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Any

from pyxen.operation import Operation
from pyxen.xenlight.channel import Channel
from pyxen.xenlight.courses import Course
from pyxen.xenlight.pump import Script

__all__ = ["relay"]

_PIPE_SIZE = 1 << 20


def relay(
    course: Course,
    channel: Channel,
    send: Callable[[Operation[Any], int], Script[None]],
    seen: Callable[[memoryview], None] | None = None,
    *,
    abortable: bool = True,
) -> None:
    """Carry out a script that writes to a pipe, and pass on what it writes; return when both have ended.

    Args:
        course: Whose script it is.
        channel: Where to pass it on.
        send: Makes the script, given its operation and the descriptor to write to.
        seen: Called with what has been passed on.
        abortable: Whether libxl may be told to end; otherwise it is left with a pipe that nobody reads.

    Raises:
        Lost: The other end closed.
    """
    read_end, write_end = os.pipe()  # if the channel stalls it is our thread that waits, and never libxl
    with contextlib.suppress(OSError):  # where there are too many large pipes, a small one does
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    with contextlib.ExitStack() as reading:
        reading.callback(os.close, read_end)
        try:
            step = course.begin(lambda operation: send(operation, write_end))
        except BaseException:
            os.close(write_end)
            raise
        step.add_done_callback(lambda _: os.close(write_end))
        try:
            channel.relay(read_end, seen)
        except BaseException:
            if abortable:
                # Not by closing the pipe: SIGPIPE would kill libxl's helper before it has tidied up.
                step.cancel()
                while os.read(read_end, _PIPE_SIZE):
                    pass
            else:
                reading.close()
            with contextlib.suppress(Exception):  # which is what follows from that
                course.result(step)
            raise
        course.result(step)
