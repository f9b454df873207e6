"""How what libxl writes ends when the other end is lost: as it is told to, or by a pipe that nobody reads."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, cast

import pytest

from pyxen.errors import OperationFailed
from pyxen.operation import Operation
from pyxen.xenlight.channel import Channel, Lost
from pyxen.xenlight.context import Context
from pyxen.xenlight.courses import Course, Courses
from pyxen.xenlight.pump import Script
from pyxen.xenlight.relaying import relay


class Threads:
    """In the place of a context: carries a script that waits for nothing out, on a thread."""

    def run(self, operation: Operation[Any], script: Script[Any]) -> Operation[Any]:
        operation.carried_by(lambda _: None, threading.current_thread())

        def carry_out() -> None:
            try:
                next(script)
            except StopIteration as end:
                operation.set_result(end.value)
            except OperationFailed as error:
                operation.set_exception(error)

        threading.Thread(target=carry_out).start()
        return operation


@pytest.mark.parametrize(("abortable", "ending"), [(True, "told"), (False, "broken")])
def test_a_destination_that_is_lost(abortable: bool, ending: str) -> None:
    endings: list[str] = []
    seen: list[int] = []
    ours, theirs = socket.socketpair()

    def send(operation: Operation[Any], fd: int) -> Script[None]:
        yield from ()
        try:
            while operation.stopped is None:
                os.write(fd, bytes(4096))
            endings.append("told")
        except BrokenPipeError:
            endings.append("broken")
        raise OperationFailed("it has ended")

    def work(course: Course) -> None:
        channel = Channel(course.operation, ours.fileno(), ours.fileno(), peer="the peer", wake=course.wake)
        try:
            relay(course, channel, send, lambda data: seen.append(len(data)), abortable=abortable)
        finally:
            channel.close()

    before = os.listdir("/proc/self/fd")
    courses = Courses(cast("Context", Threads()))
    with ours:
        operation = courses.run(Operation[None]("remus"), work)
        assert theirs.recv(100_000, socket.MSG_WAITALL)
        theirs.close()
        with pytest.raises(Lost):
            operation.result(30)
    courses.close()
    assert endings == [ending]
    assert sum(seen) >= 100_000
    assert len(os.listdir("/proc/self/fd")) == len(before) - 2  # our own two


def test_what_fails_when_all_is_sent() -> None:
    def send(operation: Operation[Any], fd: int) -> Script[None]:  # noqa: ARG001
        yield from ()
        os.write(fd, b"all")
        raise OperationFailed("it has ended")

    ours, theirs = socket.socketpair()

    def work(course: Course) -> None:
        relay(course, Channel(course.operation, ours.fileno(), ours.fileno(), peer="the peer"), send)

    courses = Courses(cast("Context", Threads()))
    with ours, theirs:
        with pytest.raises(OperationFailed, match="it has ended"):
            courses.run(Operation[None]("remus"), work).result(30)
        assert theirs.recv(99) == b"all"
    courses.close()
