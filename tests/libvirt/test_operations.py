"""What takes long, comes late or never: a pipe in place of a file makes libvirt wait as long as a test wants."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import libvirt
import pytest

import pyxen
from pyxen import (
    ConnectFailed,
    Domain,
    DomainConfig,
    DomainNotFound,
    DomainState,
    Host,
    HostClosed,
    Operation,
    OperationCancelled,
    OperationTimeout,
    Scheduler,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt import lifecycle, polling, threaded_operations
from pyxen.backends.libvirt.backend import LibvirtBackend
from pyxen.backends.libvirt.threaded_operations import _MOST_THREADS, ThreadedOperation, ThreadedOperations
from pyxen.backends.libvirt.timer_thread import TimerThread
from tests.raising import handlers_that_raise
from tests.xen.support import wait_until


@pytest.fixture
def saved(host: Host, web1: DomainConfig, tmp_path: Path) -> bytes:
    """What a domain is in a file of libvirt's."""
    host.create(web1).save(tmp_path / "saved")
    return (tmp_path / "saved").read_bytes()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_what_comes_late_is_undone(host: Host, saved: bytes, pipe: Path) -> None:
    operation = host.begin.restore(pipe, timeout=60)
    with pipe.open("wb") as end, host.events() as events:  # the pipe opens when libvirt has opened its own
        operation.stop("timeout")
        with pytest.raises(OperationTimeout, match="destroys it as soon as it exists") as caught:
            operation.result(10)
        assert caught.value.operation == "restore"
        end.write(saved)  # and only now libvirt can restore it
        end.close()
        kinds = [type(events.get(10)).__name__ for _ in range(2)]
    assert kinds == ["DomainCreated", "DomainDestroyed"]
    assert host.list() == []


def test_cancelled(link: LibvirtBackend, host: Host, saved: bytes, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_operations, "_GRACE", 120.0)  # libvirt does it in time, however slow the test
    operation = link.restore(str(pipe), None, paused=False, timeout=None)
    with pipe.open("wb") as end:  # opens when libvirt has opened its own
        assert operation.cancel()
        end.write(saved)
    with pytest.raises(OperationCancelled, match="undone"):
        operation.result(60)
    assert host.list() == []


def test_others_go_on_meanwhile(link: LibvirtBackend, host: Host, web1: DomainConfig, tmp_path: Path) -> None:
    pipes = [tmp_path / f"pipe{n}" for n in range(8)]
    stuck = []
    for number, each in enumerate(pipes):
        os.mkfifo(each)
        domain = host.create(web1.replace(name=f"stuck{number}"))
        stuck.append(link.core_dump(DomainRef(domain.domid, domain.uuid), str(each), timeout=None))
    host.create(web1).destroy()
    assert not any(operation.done() for operation in stuck)
    for each in pipes:
        each.read_bytes()
    for operation in stuck:
        operation.result(10)


def test_closing_stops_all(uri: str, web1: DomainConfig) -> None:
    host = pyxen.connect(uri)
    domain = host.create(web1)
    ref = DomainRef(domain.domid, domain.uuid)
    waiting = host._backend.wait(ref, {DomainState.SHUTDOWN}, timeout=None)
    host.close()
    with pytest.raises(OperationCancelled, match="closed"):
        waiting.result(10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pyxen-libvirt-events")]


def test_waiting(link: LibvirtBackend, host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    ref = DomainRef(domain.domid, domain.uuid)
    running = domain.wait("running", timeout=10)
    assert running is not None
    paused = link.wait(ref, {DomainState.PAUSED}, timeout=10)
    gone = link.wait(ref, {DomainState.SHUTDOWN}, timeout=10)
    domain.pause()
    found = paused.result(10)
    assert found is not None
    assert found.state is DomainState.PAUSED
    assert not gone.done()
    domain.destroy()
    assert gone.result(10) is None
    with pytest.raises(OperationTimeout):
        host.create(web1).wait(timeout=0.1)


def test_many_waits_hold_up_nothing(link: LibvirtBackend, host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    ref = DomainRef(domain.domid, domain.uuid)
    waits = [link.wait(ref, {DomainState.SHUTDOWN}, timeout=30) for _ in range(100)]
    domain.pause()
    assert not any(wait.done() for wait in waits)
    domain.destroy()
    assert [wait.result(20) for wait in waits] == [None] * 100


def test_a_callback_may_not_wait(link: LibvirtBackend, pipe: Path) -> None:
    raised: list[type[BaseException]] = []
    operation = link.restore(str(pipe), None, paused=False, timeout=60)
    running = link.restore(str(pipe), None, paused=False, timeout=60)

    def wait(_: object) -> None:
        try:
            running.wait()
        except BaseException as error:  # noqa: BLE001 (it is reported)
            raised.append(type(error))

    operation.add_done_callback(wait)
    assert link._workers is not None
    with pipe.open("wb"):  # opens when libvirt has opened its own
        link._workers.timer.at(time.monotonic(), lambda: ThreadedOperations._late(operation))
        with pytest.raises(OperationTimeout):
            operation.result(10)
        wait_until(lambda: bool(raised))
        assert raised == [RuntimeError]
        running.cancel()


def test_a_callback_of_a_wait_may_wait(host: Host, web1: DomainConfig) -> None:
    """Also for what is polled for, about the same domain, and in more callbacks than there are threads that poll."""
    domain = host.create(web1)
    told: list[BaseException | None] = []
    called: list[object] = []

    def callback(operation: object) -> None:
        called.append(operation)
        try:
            domain.wait(DomainState.RUNNING, timeout=20)
            domain.config()
        except BaseException as error:  # noqa: BLE001 (it is reported)
            told.append(error)
        else:
            told.append(None)

    waits = [domain.begin.wait(DomainState.PAUSED, timeout=20) for _ in range(5)]
    for each in waits:
        each.add_done_callback(callback)
    domain.pause()
    wait_until(lambda: len(called) == 5)
    unpaused: list[bool] = []

    def unpause(_: object) -> None:
        domain.unpause()
        unpaused.append(True)

    domain.begin.wait(DomainState.PAUSED, timeout=20).add_done_callback(unpause)
    wait_until(lambda: len(told) == 5 and bool(unpaused))
    assert told == [None] * 5
    domain.destroy()


def test_a_callback_that_takes_long_holds_up_no_deadline() -> None:
    """The timer's thread, which keeps the deadlines of all, asks whether the operation has ended, and goes on."""
    operation: Operation[int] = Operation("wait", 1)
    threaded = ThreadedOperation(operation, nullcontext, lambda *_: 1, lambda error: error)  # type: ignore[arg-type]
    called, go_on = threading.Event(), threading.Event()

    def callback(_: object) -> None:
        called.set()
        go_on.wait(20)

    operation.add_done_callback(callback)
    settling = threading.Thread(target=threaded.settle, args=(1,), daemon=True)
    settling.start()
    assert called.wait(20)
    try:
        asked = threading.Thread(target=threaded.fail, args=(OperationTimeout("late"),), daemon=True)
        asked.start()
        asked.join(20)
        assert not asked.is_alive()
        assert not threaded.settle(2)
    finally:
        go_on.set()
        settling.join(20)
    assert operation.result() == 1


def test_what_a_callback_on_a_thread_of_the_pool_may_do(host: Host, web1: DomainConfig) -> None:
    """There, the operation still has its connection and its turn."""
    domain, told, go_on = host.create(web1, paused=True), list[str](), threading.Event()

    def callback(_: object) -> None:
        assert threading.current_thread().name == "pyxen-libvirt-worker"
        for call in (domain.unpause, domain.destroy, lambda: host.create(web1), host.close, domain.info):
            try:
                call()
            except BaseException as error:  # noqa: BLE001 (it is reported)
                told.append(type(error).__name__)
            else:
                told.append("nothing")

    def work(*_: object) -> bool:
        return go_on.wait(20)

    operation: Operation[bool] = Operation("test")
    backend = host._backend
    assert isinstance(backend, LibvirtBackend)
    assert backend._workers is not None
    threaded = ThreadedOperation(operation, backend._link.work, work, lambda error: error)
    backend._workers.start(threaded).add_done_callback(callback)
    go_on.set()
    wait_until(lambda: len(told) == 5)
    assert told == ["RuntimeError"] * 4 + ["nothing"]
    assert domain.info().state is DomainState.PAUSED
    domain.destroy()


@pytest.mark.parametrize("logging", [nullcontext, handlers_that_raise], ids=["a quiet log", "a log that raises"])
def test_aborts_that_fail_use_up_no_thread(logging: Callable[[], AbstractContextManager[object]]) -> None:
    """Whatever an abort raises, as over a link that has just broken, its thread serves the next call."""
    with logging():
        abort_often()


def abort_often() -> None:
    threads = ThreadedOperations()

    def broken() -> None:
        raise ConnectFailed("the link broke")

    try:
        for _ in range(2 * _MOST_THREADS):
            ready, go = threading.Event(), threading.Event()
            run = ThreadedOperation(
                Operation("save", 1, timeout=None),
                nullcontext,  # type: ignore[arg-type]  # a connection that the work does not use
                lambda _connection, _run, ready=ready, go=go: ready.set() or go.wait(10),  # type: ignore[misc]
                lambda error: error,
                abort=broken,
            )
            operation = threads.start(run)
            assert ready.wait(10)
            operation.cancel()
            go.set()
            assert operation.exception(10) is None or isinstance(operation.exception(0), OperationCancelled)
    finally:
        threads.close()


def test_ctrl_c_while_an_operation_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operation ends, and closing waits for nothing."""
    threads, operation = ThreadedOperations(), Operation[object]("save", 1)
    run = ThreadedOperation(operation, nullcontext, lambda *_: None, lambda error: error)  # type: ignore[arg-type]

    def interrupted(_: Callable[[], None]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "_submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threads.start(run)
    assert isinstance(operation.exception(10), OperationCancelled)
    assert threads._running == set()
    threads.close()
    late = Operation[object]("save", 1)
    with pytest.raises(HostClosed):
        threads.start(ThreadedOperation(late, nullcontext, lambda *_: None, lambda error: error))  # type: ignore[arg-type]
    assert isinstance(late.exception(10), HostClosed)


def test_what_fails_at_its_time_keeps_no_later_deadline_from_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    timer, passed, error = TimerThread("timer"), threading.Event(), ZeroDivisionError()

    def fail() -> None:
        raise error

    timer.at(time.monotonic(), fail)
    timer.at(time.monotonic() + 0.01, passed.set)
    try:
        assert passed.wait(20)
    finally:
        timer.close()
    assert told == [error]


def test_a_domain_that_is_not_answered_for_holds_up_no_other_wait(
    link: LibvirtBackend, host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, other = host.create(web1), host.create(web1.replace(name="web2"))
    asked, answered = threading.Event(), threading.Event()
    real = lifecycle.info_if_there

    def ask(connection: Any, reader: Any, domain: Any) -> Any:
        if domain.domid == silent.domid:
            asked.set()
            assert answered.wait(20)
        return real(connection, reader, domain)

    waiting = [silent.begin.wait("shutdown", timeout=60) for _ in range(5)]
    wait_until(lambda: len(link._poller._waits) == len(waiting))
    monkeypatch.setattr(lifecycle, "info_if_there", ask)
    try:
        assert asked.wait(10)
        other.shutdown(timeout=10)
    finally:
        answered.set()
    for each in waiting:
        each.cancel()


def test_the_last_look_comes_just_before_the_deadline() -> None:
    operation: Operation[Any] = Operation("wait", 1, timeout=100)
    waiting: ThreadedOperation[Any] = ThreadedOperation(operation, None, None, None)  # type: ignore[arg-type]  # unused
    wait = polling._Wait(waiting, lambda: (False, None), at=0, delay=200)
    wait.put_off()
    assert operation.deadline is not None
    assert wait.at == operation.deadline - polling._LAST


def gone(domain: Domain) -> Domain:
    domain.destroy()
    return domain


FAILING: dict[str, Callable[[Host, Domain, Path], object]] = {
    "create": lambda host, _, __: host.create(DomainConfig("web1", type="hvm", memory=64)),
    "restore": lambda host, _, tmp_path: host.restore(tmp_path / "nonesuch"),
    "save": lambda _, domain, tmp_path: domain.save(tmp_path / "nonesuch" / "file"),
    "core_dump": lambda _, domain, tmp_path: domain.core_dump(tmp_path / "nonesuch" / "file"),
    "set_scheduler": lambda _, domain, __: domain.set_scheduler(Scheduler(cap=10)),
    "set_vcpus": lambda _, domain, __: domain.set_vcpus(3),
    "wait": lambda _, domain, __: domain.wait("shutdown", timeout=0.05),
    "destroy": lambda _, domain, __: gone(domain).destroy(),
    "info": lambda _, domain, __: gone(domain).info(),
    "stats": lambda _, domain, __: gone(domain).stats(),
    "abort_job": lambda host, _, __: host.libvirt.abort_job("web1"),
    "set_metadata": lambda host, _, __: host.libvirt.set_metadata("web1", "urn:a", "<bad"),
    "detach": lambda host, _, __: host.libvirt.detach("web1", "xvda"),
    "undefine": lambda host, _, __: host.undefine("nonesuch"),
    "define": lambda host, _, __: host.define(DomainConfig("web1", type="hvm", memory=4, uuid=uuid4())),
}
"""Calls that fail after libvirt handed out a domain, or while it was asked."""


@pytest.mark.parametrize("verb", FAILING)
def test_who_keeps_an_error_keeps_no_connection(
    uri: str, web1: DomainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The last one to let go of a connection waits for the daemon, and may be the garbage collector in any thread."""
    left: list[int] = []
    real = libvirt.virConnect.close

    def close(connection: Any) -> int:
        left.append(real(connection))
        return left[-1]

    monkeypatch.setattr(libvirt.virConnect, "close", close)
    gc.disable()
    try:
        host = pyxen.connect(uri)
        domain = host.create(web1)
        with pytest.raises(pyxen.Error) as caught:
            FAILING[verb](host, domain, tmp_path)
        host.close()
        wait_until(lambda: bool(left))
    finally:
        gc.enable()
    assert left == [0], caught.value


def test_the_frames_of_others_are_not_cleared(host: Host) -> None:
    def fails() -> None:
        word = "kept"
        raise ZeroDivisionError(word)

    try:
        fails()
    except ZeroDivisionError:
        with pytest.raises(pyxen.Error) as caught:
            host.libvirt.abort_job("nonesuch")
    context = caught.value.__context__
    while context is not None and not isinstance(context, ZeroDivisionError):
        context = context.__context__
    assert context is not None
    frames = [frame for frame, _ in traceback.walk_tb(context.__traceback__)]
    assert frames[-1].f_locals["word"] == "kept"


def test_a_log_keeps_no_error(host: Host, web1: DomainConfig, caplog: pytest.LogCaptureFixture) -> None:
    """A handler may keep its records."""
    caplog.set_level("DEBUG", "pyxen.libvirt")
    domain = host.create(web1)
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.destroy()
    arguments = [one for record in caplog.records for one in record.args or ()]
    assert [one for one in arguments if isinstance(one, BaseException)] == []
