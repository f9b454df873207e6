"""Ctrl-C while a supervisor begins, acts, tells, and ends."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyxen import Domain, DomainConfig, Host, OperationCancelled, Outcome, ShutdownReason, Supervisor
from pyxen._common.joinable import JoinableThread
from pyxen.backends.base import DomainRef
from pyxen.errors import ConnectFailed
from pyxen.supervisor import work
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import Told, begun, end, supervise, wait_until
from tests.waiting import SECONDS, join

WEB = DomainConfig("web1", type="pvh", kernel="/k", memory=16)


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, as it does in a program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def interrupted(supervisor: Supervisor, meanwhile: Callable[[], object]) -> None:
    """Run a supervisor on this thread, which is the main one, and something else on another, until Ctrl-C."""
    thread = threading.Thread(target=meanwhile)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        supervisor.run()
    join(thread)


def test_a_second_ctrl_c_loses_no_configuration(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work, "_LEAST_APART", 30.0)

    def meanwhile() -> None:
        wait_until(lambda: backend.subscribers)
        backend.tell(end(backend, 4, ShutdownReason.REBOOT))
        begun(backend, "create")[0].set_exception(ConnectFailed("no xenstored"))
        wait_until(lambda: "cannot be created, tried again in 30 s" in caplog.text)
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "create", 2)
        press()
        wait_until(lambda: not backend.subscribers)  # so it waits for the second create
        press()

    interrupted(supervise(host, told), meanwhile)
    outcomes = {outcome.domid: outcome for outcome in (told.next(), told.next())}
    assert told.empty()
    assert {domid for domid, outcome in outcomes.items() if outcome.config is not None} == {3, 4}
    assert str(outcomes[4].error) == "no xenstored"
    assert isinstance(outcomes[3].error, OperationCancelled)
    assert caplog.text.count("is not finished, the supervisor was stopped") == 2
    begun(backend, "create", 2)[1].set_result(DomainRef(7, uuid.UUID(int=3)))
    assert told.next().restarted is not None  # it has come to its end all the same


@pytest.mark.usefixtures("again_at_once")
def test_a_second_ctrl_c_during_a_destroy(host: Host, backend: FakeBackend, told: Told) -> None:
    def meanwhile() -> None:
        wait_until(lambda: backend.subscribers)
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")
        press()
        wait_until(lambda: not backend.subscribers)
        press()

    interrupted(supervise(host, told), meanwhile)
    outcome = told.next()
    assert isinstance(outcome.error, OperationCancelled)
    assert (outcome.domid, outcome.config is not None) == (3, True)
    begun(backend, "destroy")[0].set_result(None)
    begun(backend, "create")[0].set_result(DomainRef(7, uuid.UUID(int=3)))
    assert told.next().restarted is not None


def test_nothing_is_told_of_what_the_first_ctrl_c_has_waited_for(host: Host, backend: FakeBackend, told: Told) -> None:
    def meanwhile() -> None:
        wait_until(lambda: backend.subscribers)
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        create = begun(backend, "create")[0]
        press()
        wait_until(lambda: not backend.subscribers)
        create.set_result(DomainRef(7, uuid.UUID(int=3)))

    interrupted(supervise(host, told), meanwhile)
    assert told.next().restarted is not None
    assert told.empty()


def test_ctrl_c_while_an_unfinished_restart_is_told_keeps_no_other_from_being_told(
    host: Host, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work, "_LEAST_APART", 30.0)
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        raise KeyboardInterrupt

    def meanwhile() -> None:
        wait_until(lambda: backend.subscribers)
        for domid in (3, 4):
            backend.tell(end(backend, domid, ShutdownReason.REBOOT))
        for create in begun(backend, "create", 2):
            create.set_exception(ConnectFailed("no xenstored"))
        wait_until(lambda: caplog.text.count("cannot be created, tried again in 30 s") == 2)
        press()

    interrupted(Supervisor(host, on_outcome=tell, leave=lambda _: None), meanwhile)
    assert {outcome.domid for outcome in outcomes if outcome.config is not None} == {3, 4}


def test_ctrl_c_in_on_outcome_on_the_main_thread_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told_on: list[threading.Thread] = []

    def tell(_: Outcome) -> None:
        told_on.append(threading.current_thread())
        signal.raise_signal(signal.SIGINT)

    def broken(_: Domain) -> DomainConfig:
        raise TypeError("broken")

    monkeypatch.setattr(Domain, "config", broken)
    with FakeHost() as fake:
        domain = fake.create(WEB)
        supervisor = Supervisor(fake, on_outcome=tell, leave=lambda _: None)
        timer = threading.Timer(SECONDS, supervisor.stop)
        timer.start()
        interrupted(supervisor, fake.guest(domain).crash)
        timer.cancel()
    assert told_on == [threading.main_thread()]


def test_an_interrupt_that_a_callback_raises_on_another_thread_is_no_ctrl_c(
    host: Host, backend: FakeBackend, told: Told
) -> None:
    def tell(outcome: Outcome) -> None:
        told.put(outcome)
        raise KeyboardInterrupt

    with Supervisor(host, on_outcome=tell, leave=lambda _: None):
        for domid in (3, 4):
            backend.tell(end(backend, domid, ShutdownReason.POWEROFF))
            assert told.next().domid == domid


@pytest.mark.parametrize("is_started", [True, False])
def test_ctrl_c_as_its_thread_begins(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch, *, is_started: bool
) -> None:
    runs, ends = threading.Event(), []
    real_start, real_run, real_end = JoinableThread.start, work.Work.run, work.Work._end
    threads: list[threading.Thread] = []

    def start(thread: JoinableThread) -> None:
        threads.append(thread)
        if is_started:
            real_start(thread)
            assert runs.wait(SECONDS)
        raise KeyboardInterrupt

    def run(self: work.Work) -> None:
        runs.set()
        real_run(self)

    def finish(self: work.Work) -> None:
        ends.append(threading.current_thread())
        real_end(self)

    supervisor = supervise(host, told)
    with monkeypatch.context() as patched:
        patched.setattr(JoinableThread, "start", start)
        patched.setattr(work.Work, "run", run)
        patched.setattr(work.Work, "_end", finish)
        with pytest.raises(KeyboardInterrupt), supervisor:
            pytest.fail("it has begun")
    assert ends == (threads if is_started else [threading.main_thread()])
    assert [thread.is_alive() for thread in threads] == [False]
    assert backend.subscribers == []
    with supervisor:  # it may be tried again
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        assert told.next().domid == 3


def test_a_thread_that_begins_after_its_work_was_closed_does_nothing(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []

    def start(thread: JoinableThread) -> None:
        late.append(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(JoinableThread, "start", start)
        with pytest.raises(KeyboardInterrupt), supervise(host, told):
            pytest.fail("it has begun")
    monkeypatch.setattr(work.Work, "run", lambda _: pytest.fail("it runs"))
    late[0].start()
    join(late[0])
    assert told.empty()
    assert backend.subscribers == []
