"""Operations on threads of their own: scripts and waiting by turns, stopped at any moment, closed with the host."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

from pyxen._common import piped_program
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import stopped
from pyxen.backends.xenlight.libxl.event_loop import LibxlEvent, Script, Wait
from pyxen.backends.xenlight.migration.peer_command import PeerCommand, command
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation, ThreadedOperations
from pyxen.errors import HostClosed, InvalidArgument, OperationCancelled, OperationFailed, OperationTimeout
from pyxen.operation import Operation
from tests.waiting import SECONDS

ABORTED = LibxlEvent(0, 0, -1)


class Pumps:
    """Stands in for a context: runs each script on a thread, as the event loop would; an abort ends a wait."""

    def __init__(self) -> None:
        self.began: list[Operation[Any]] = []
        self.waits = threading.Event()

    def run(self, operation: Operation[Any], script: Script[Any]) -> Operation[Any]:
        asked = threading.Event()
        self.began.append(operation)

        def carry_out() -> None:
            try:
                next(script)
                self.waits.set()
                if operation.stopped is None and not asked.wait(operation.deadline and 0.3):
                    operation.stop("timeout")
                script.send(ABORTED)
            except StopIteration as end:
                operation.set_result(end.value)
            except OperationFailed as error:
                operation.set_exception(error)

        thread = threading.Thread(target=carry_out)
        operation.carried_by(lambda _: asked.set(), thread)
        thread.start()
        return operation


def short(result: str) -> Callable[[Operation[Any]], Script[str]]:
    def script(operation: Operation[Any]) -> Script[str]:
        yield from ()
        operation.report(result, 50)
        operation.log.append(result)
        return result

    return script


def long(operation: Operation[Any]) -> Script[str]:
    event = yield Wait(1)
    assert event is ABORTED
    raise stopped(operation)


@pytest.fixture
def pumps() -> Pumps:
    return Pumps()


@pytest.fixture
def threaded_operations(pumps: Pumps) -> Iterator[ThreadedOperations]:
    threaded_operations = ThreadedOperations(cast("Context", pumps))
    yield threaded_operations
    threaded_operations.close()


def test_steps(threaded_operations: ThreadedOperations) -> None:
    operation: Operation[str] = Operation("migrate", "web1")
    assert (
        threaded_operations.run(operation, lambda threaded: threaded.do(short("a")) + threaded.do(short("b"))).result(
            30
        )
        == "ab"
    )
    assert operation.progress == ("b", 50)
    assert operation.log == ["a", "b"]


def test_what_is_raised(threaded_operations: ThreadedOperations) -> None:
    def work(_: ThreadedOperation) -> None:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument):
        threaded_operations.run(Operation("migrate"), work).result(30)


def test_cancelled_in_a_step(threaded_operations: ThreadedOperations, pumps: Pumps) -> None:
    undone: list[str] = []

    def work(threaded: ThreadedOperation) -> str:
        try:
            return threaded.do(long)
        except OperationCancelled:
            undone.append(threaded.do(short("undone"), undoing=True))
            with pytest.raises(OperationCancelled):
                threaded.do(short("not begun"))
            raise

    operation = threaded_operations.run(Operation[str]("migrate"), work)
    assert pumps.waits.wait(30)
    assert operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result(30)
    assert undone == ["undone"]
    assert not operation.cancel()


def test_the_deadline_of_a_step_is_that_of_the_whole(threaded_operations: ThreadedOperations) -> None:
    operation: Operation[str] = Operation("migrate", timeout=0.3)
    with pytest.raises(OperationTimeout):
        threaded_operations.run(operation, lambda threaded: threaded.do(long)).result(30)
    assert operation.stopped == "timeout"


def test_what_undoes_has_no_deadline(threaded_operations: ThreadedOperations, pumps: Pumps) -> None:
    operation: Operation[str] = Operation("migrate", timeout=0)
    threaded_operations.run(operation, lambda threaded: threaded.do(short("undone"), undoing=True)).result(30)
    assert [step.deadline for step in pumps.began] == [None]


def test_a_stop_wakes_who_waits(threaded_operations: ThreadedOperations) -> None:
    def work(threaded: ThreadedOperation) -> bool:
        return bool(select.select([threaded.wake], [], [], 30)[0])

    operation = threaded_operations.run(Operation[bool]("migrate"), work)
    operation.cancel()
    assert operation.result(30)


def test_closing_stops_and_waits(threaded_operations: ThreadedOperations, pumps: Pumps) -> None:
    operation = threaded_operations.run(Operation[str]("migrate"), lambda threaded: threaded.do(long))
    assert pumps.waits.wait(30)
    threaded_operations.close()
    assert operation.done()
    with pytest.raises(OperationCancelled, match="the host was closed"):
        operation.result()
    with pytest.raises(HostClosed):
        threaded_operations.run(Operation("migrate"), lambda threaded: threaded.do(short("a")))


# The command at the other end


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a program the time that it needs to end on a busy machine."""
    monkeypatch.setattr(piped_program, "_TO_END", SECONDS)
    monkeypatch.setattr(piped_program, "_MOMENT", SECONDS)


@pytest.mark.usefixtures("patient")
def test_a_command() -> None:
    with PeerCommand(Operation("migrate"), ["cat"]) as peer:
        os.write(peer.write_fd, b"hello")
        assert os.read(peer.read_fd, 99) == b"hello"
        peer.hang_up()
        assert peer.last_words() == "; cat ended with status 0"


@pytest.mark.usefixtures("patient")
def test_a_command_that_fails() -> None:
    with PeerCommand(Operation("migrate"), ["sh", "-c", "echo Permission denied >&2; exit 255"]) as peer:
        assert os.read(peer.read_fd, 99) == b""
        peer.hang_up()
        assert peer.last_words() == "; sh ended with status 255\n  Permission denied"


def test_a_command_that_is_none() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(InvalidArgument, match="cannot run /nowhere/ssh"):
        PeerCommand(Operation("migrate"), ["/nowhere/ssh", "root@host2"])
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("destination", "paused", "expected"),
    [
        ("host2", False, ("ssh", "host2", "xl", "migrate-receive")),
        ("root@host2", True, ("ssh", "root@host2", "xl", "migrate-receive", "-p")),
        (["xl", "migrate-receive"], False, ("xl", "migrate-receive")),
    ],
)
def test_where_a_domain_migrates(destination: str | Sequence[str], paused: bool, expected: tuple[str, ...]) -> None:
    assert command(destination, paused=paused) == expected


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("root@host2", ("ssh", "root@host2", "xl", "migrate-receive", "-r")),
        (["pyxen", "migrate-receive", "--remus"], ("pyxen", "migrate-receive", "--remus")),
    ],
)
def test_where_a_domain_is_replicated(destination: str | Sequence[str], expected: tuple[str, ...]) -> None:
    assert command(destination, verb="remus", remus=True) == expected


def test_who_cannot_replicate_there() -> None:
    with pytest.raises(InvalidArgument, match=r"remus.*is not a host"):
        command("", verb="remus", remus=True)


@pytest.mark.parametrize(
    ("destination", "paused", "problem"),
    [
        ("", False, "is not a host"),
        ("-oProxyCommand=reboot", False, "is not a host"),
        ("ssh host2 xl migrate-receive", False, "or a command as a list"),
        ([], False, "the command is empty"),
        (["xl", "migrate-receive"], True, "says -p itself"),
    ],
)
def test_where_none_can(destination: str | Sequence[str], paused: bool, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        command(destination, paused=paused)
