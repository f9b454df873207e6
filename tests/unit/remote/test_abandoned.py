"""What a server keeps for a client that does not wait for the answer, or cannot be told of it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyxen import DomainConfig
from pyxen.backends.memory import durations
from pyxen.backends.remote import client as client_module
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import Call
from pyxen.backends.remote.values import Codec
from pyxen.errors import ConnectFailed, OperationCancelled
from pyxen.operation import Operation, may_wait
from pyxen.serve import calls
from tests.unit.remote.ends import SECONDS, Served, served, until

CONFIG = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)


def opened(found: Served, verb: str) -> int:
    server: Any = found.server
    return len(server._store._open if verb == "store_begin" else server._claims._sets)


def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come when an answer has arrived, and was not returned yet."""
    heard = client_module.Client._heard

    def interrupted(self: Any, *which: Any) -> Any:
        heard(self, *which)
        raise KeyboardInterrupt

    monkeypatch.setattr(client_module.Client, "_heard", interrupted)


@pytest.mark.parametrize(
    ("verb", "ends", "number"),
    [("store_begin", "store_commit", "transaction"), ("claims_open", "claims_close", "claims")],
)
def test_what_an_interrupted_call_has_opened_is_shut(
    monkeypatch: pytest.MonkeyPatch, verb: str, ends: str, number: str
) -> None:
    """Else a client could not open any more after a while."""
    with served(f"memory:///interrupted-{verb}") as found:
        kept = found.client.ask(verb)
        with monkeypatch.context() as patched:
            interrupt(patched)
            for _ in range(300):
                with pytest.raises(KeyboardInterrupt):
                    found.client.ask(verb)
                until(lambda: opened(found, verb) < 60)
        until(lambda: opened(found, verb) == 1)
        found.client.ask(ends, **{number: kept})
        assert opened(found, verb) == 0


def just_sent(patch: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come when a call has just been sent, and nobody has its number."""
    send = Link.send

    def sent(link: Link, message: Any) -> None:
        send(link, message)
        if isinstance(message, Call):
            raise KeyboardInterrupt

    patch.setattr(Link, "send", sent)


def not_carried(patch: pytest.MonkeyPatch) -> None:
    """Have it come before the operation knows what carries it out."""
    carried_by = Operation.carried_by

    def interrupted(operation: Operation[Any], *by: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # the server is in this process, too
            raise KeyboardInterrupt
        carried_by(operation, *by)

    patch.setattr(Operation, "carried_by", interrupted)


def not_heard(patch: pytest.MonkeyPatch) -> None:
    """Have it come before the answer is waited for."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    patch.setattr(client_module.Client, "_heard", interrupted)


CALLS: dict[str, Callable[[Served], object]] = {
    "begin": lambda found: found.client.begin("create", config=CONFIG, paused=False, autoballoon=None, timeout=None),
    "create": lambda found: found.host.create(CONFIG),
    "ask": lambda found: found.client.ask("claims_open"),
    "subscribe": lambda found: found.host.events(),
}


@pytest.mark.parametrize(
    ("call", "comes"),
    [
        *((call, comes) for call in CALLS for comes in (just_sent, not_heard)),
        *((call, not_carried) for call in ("begin", "create")),
    ],
)
def test_a_call_that_ctrl_c_interrupts_goes_on_nowhere(
    monkeypatch: pytest.MonkeyPatch, call: str, comes: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with served(f"memory:///gone-{call}-{comes.__name__}") as found:
        server: Any = found.server
        before = {info.uuid for info in found.there.list()}
        taken: list[int] = []
        begin = server._begin

        def begins(message: Call) -> None:
            begin(message)
            taken.append(message.id)

        monkeypatch.setattr(server, "_begin", begins)
        with monkeypatch.context() as patch:
            comes(patch)
            with pytest.raises(KeyboardInterrupt):
                CALLS[call](found)
        until(lambda: bool(taken))
        found.host.list()  # the link goes on, and what was sent before has arrived

        def is_over() -> bool:
            there = server._calls or server._subscriptions or server._claims._sets
            return not there and {info.uuid for info in found.there.list()} == before

        until(is_over)


def test_what_opens_only_after_the_caller_has_gone_is_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server hears that before it has an answer."""
    go_on = threading.Event()
    with served("memory:///late") as found:
        found.client.ask("store_read", transaction=None, path="/local/domain/0/name")
        server: Any = found.server
        begin = server._store._store.begin
        until(lambda: not server._calls)

        def late() -> Any:
            assert go_on.wait(SECONDS)
            return begin()

        monkeypatch.setattr(server._store._store, "begin", late)
        monkeypatch.setattr(client_module, "_TO_ANSWER", 0.1)
        with pytest.raises(ConnectFailed, match="has not answered"):
            found.client.ask("store_begin")
        until(lambda: len(server._calls) == 1)
        [call] = server._calls.values()
        until(lambda: call.stopped is not None)
        go_on.set()
        until(lambda: not server._calls)
        until(lambda: opened(found, "store_begin") == 0)


def test_a_result_that_cannot_be_sent_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a thread that may wait for that: the one on which the operation ends must not."""
    waited: list[bool] = []
    wait = Operation.wait

    def noted(self: Operation[Any]) -> Any:
        waited.append(may_wait())
        return wait(self)

    def unsendable(_: Any, __: Codec) -> Any:
        raise ValueError("this cannot be sent")

    with served("memory:///unsendable") as found:
        with monkeypatch.context() as patched:
            patched.setattr(calls, "encoded", unsendable)
            patched.setattr(Operation, "wait", noted)
            creating = found.client.begin("create", config=CONFIG, paused=False, autoballoon=None, timeout=None)
            with pytest.raises(ValueError, match="this cannot be sent"):
                creating.result(SECONDS)
        assert waited == [True]
        assert [info.name for info in found.host.list()] == ["Domain-0"]


def test_it_is_undone_at_the_end_if_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsendable(_: Any, __: Codec) -> Any:
        raise ValueError("this cannot be sent")

    def none_left(thread: threading.Thread) -> None:
        if thread.name == "pyxen-serve-undo":
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    with served("memory:///no-thread") as found:
        with monkeypatch.context() as patched:
            patched.setattr(calls, "encoded", unsendable)
            patched.setattr(threading.Thread, "start", none_left)
            creating = found.client.begin("create", config=CONFIG, paused=False, autoballoon=None, timeout=None)
            with pytest.raises(ValueError, match="this cannot be sent"):
                creating.result(SECONDS)
        assert [info.name for info in found.there.list()] == ["Domain-0", "web1"]
        found.cut()
        assert found.ended()
        assert [info.name for info in found.there.list()] == ["Domain-0"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_fails_undoes_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends it: nothing is left for a client that is not told of it."""
    failing = threading.Event()
    report = calls.ServedCall.report

    def fails(self: calls.ServedCall) -> None:
        if failing.is_set():
            raise MemoryError
        report(self)

    monkeypatch.setattr(calls.ServedCall, "report", fails)
    with served("memory:///failing") as found:
        machine: Any = found.there._backend._machine  # type: ignore[attr-defined]
        console = found.host.create(CONFIG).console()
        machine.timing = dataclasses.replace(durations.QUICK, create=300)
        operation = found.host.begin.create(CONFIG.replace(name="web2"), timeout=600)
        server: Any = found.server
        until(lambda: any(call.operation is not None for call in server._calls.values()))
        assert len(server._streams) == 1
        failing.set()
        with pytest.raises(OperationCancelled):
            operation.result(timeout=SECONDS)
        assert found.ended()
        assert len(server._streams) == 0
        assert [info.name for info in found.there.list()] == ["Domain-0", "web1"]
        console.close()
