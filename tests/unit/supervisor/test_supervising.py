"""How a supervisor's work goes on side by side, on a host whose operations end when a test says so."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pyxen import (
    Brake,
    Domain,
    DomainConfig,
    DomainCreated,
    DomainDestroyed,
    DomainInfo,
    DomainNotFound,
    DomainState,
    EventsLost,
    Host,
    InvalidArgument,
    OperationFailed,
    ShutdownReason,
    Supervisor,
)
from pyxen.backends.base import DomainRef
from pyxen.errors import ConnectFailed, Error, LockFailed
from pyxen.supervisor import work
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import Told, about, begun, destroyed_in_doubt, end, supervise, wait_until
from tests.waiting import join


def test_nobody_waits_for_another(host: Host, backend: FakeBackend, told: Told) -> None:
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        create = begun(backend, "create")[0]
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4
        assert told.empty()
        create.set_exception(OperationFailed("no"))
        again = begun(backend, "create", 2)[1]
        again.set_exception(OperationFailed("no"))
        for count in (3, 4, 5):
            begun(backend, "create", count)[-1].set_exception(OperationFailed(f"no {count}"))
        outcome = told.next()
    assert (outcome.domid, str(outcome.error), outcome.config is not None) == (3, "no 5", True)


def test_what_has_begun_is_brought_to_its_end(host: Host, backend: FakeBackend, told: Told) -> None:
    supervisor = supervise(host, told)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    wait_until(lambda: backend.subscribers)
    backend.tell(end(backend, 3, ShutdownReason.REBOOT))
    create = begun(backend, "create")[0]
    supervisor.stop()
    wait_until(lambda: not backend.subscribers)
    assert thread.is_alive()
    create.set_exception(OperationFailed("no"))
    join(thread)
    outcome = told.next()  # it is not tried again, and its configuration is not lost
    assert (str(outcome.error), outcome.config is not None) == ("no", True)
    assert told.empty()


def test_a_restart_that_is_not_due_is_left_for_the_next(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    web1 = backend.infos[1]
    backend.infos.remove(web1)
    slow = Brake(min_uptime=1000, first_delay=1000, max_delay=1000)
    with supervise(host, told, brake=slow):
        wait_until(lambda: "supervising 1 domains" in caplog.text)
        backend.infos.append(web1)
        backend.tell(DomainCreated(**about(web1)))
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4
        wait_until(lambda: "restarted in 1000 s only" in caplog.text)
    assert told.empty()
    assert 3 not in backend.destroyed
    with supervise(host, told, brake=slow):
        begun(backend, "create")[0].set_exception(DomainNotFound("no"))
        wait_until(lambda: 3 in backend.destroyed)


def test_who_destroys_it_first_has_the_say(host: Host, backend: FakeBackend, told: Told) -> None:
    backend.at_once = {"config", "userdata"}
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")[0].set_exception(DomainNotFound("it is gone"))
        backend.tell(DomainDestroyed(**about(backend.infos[1])))
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        begun(backend, "destroy", 2)[1].set_result(None)
        assert told.next().domid == 4
    assert told.empty()
    assert not any(operation.verb == "create" for operation in backend.operations)


def test_a_domain_that_cannot_be_destroyed(host: Host, backend: FakeBackend, told: Told) -> None:
    backend.at_once = {"config", "userdata"}
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")[0].set_exception(OperationFailed("no"))
        outcome = told.next()
    assert outcome.preserved is not None
    assert (outcome.preserved.domid, str(outcome.error)) == (3, "no")
    assert outcome.config is not None  # it may be gone all the same


def test_events_that_are_lost(host: Host, backend: FakeBackend, told: Told) -> None:
    with supervise(host, told):
        end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(EventsLost(time=datetime.now(UTC), count=None))
        assert told.next().domid == 3
        gone = backend.infos.pop(1)
        backend.tell(EventsLost(time=datetime.now(UTC), count=None))
        backend.infos.append(replace(gone, uuid=uuid.UUID(int=33)))
        backend.tell(EventsLost(time=datetime.now(UTC), count=None))
        assert told.next().uuid == uuid.UUID(int=33)


def test_what_is_to_be_left(host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    def leave(info: DomainInfo) -> str | None:
        if info.domid == 3:
            return "me"
        if info.domid == 4:
            raise ZeroDivisionError
        return None

    backend.infos.append(replace(backend.infos[1], domid=5, uuid=uuid.UUID(int=5), name="web3"))
    with caplog.at_level("INFO", "pyxen.supervisor"), supervise(host, told, leave=leave):
        for domid in (3, 4, 5):
            backend.tell(end(backend, domid, ShutdownReason.POWEROFF))
        errors = {outcome.domid: type(outcome.error) for outcome in (told.next(), told.next())}
        assert errors == {4: ZeroDivisionError, 5: type(None)}
        wait_until(lambda: "it is supervised by me" in caplog.text)
        wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert told.empty()
    assert backend.destroyed == [5]


def test_a_host_that_is_closed(host: Host, backend: FakeBackend, told: Told) -> None:
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.SUSPEND))
        host.close()
    assert told.empty()
    assert backend.operations == []


@pytest.mark.parametrize("late", [False, True])
def test_short_lives_are_counted_however_late_events_come(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture, *, late: bool
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    brake = Brake(min_uptime=1000, first_delay=0.001)
    info = replace(backend.infos.pop(1), domid=7, uuid=uuid.UUID(int=7))  # as the domains that the host creates
    with supervise(host, told, brake=brake):
        wait_until(lambda: "supervising" in caplog.text)
        backend.infos.append(info)
        backend.tell(DomainCreated(**about(info)))
        for count in range(1, 5):
            backend.tell(end(backend, info.domid, ShutdownReason.REBOOT))
            create = begun(backend, "create", count)[-1]
            gone = DomainDestroyed(**about(info))
            backend.infos.remove(next(each for each in backend.infos if each.domid == info.domid))
            info = replace(info, domid=info.domid + 1)
            backend.infos.append(info)
            if not late:
                backend.tell(gone)
            backend.tell(DomainCreated(**about(info)))
            create.set_result(DomainRef(info.domid, info.uuid))
            assert told.next().restarted is not None
            if late:
                backend.tell(gone)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(" in a row")[0][-7:] for text in warnings] == [f"{count} times" for count in range(1, 5)]


@pytest.mark.usefixtures("again_at_once")
@pytest.mark.parametrize("error", [LockFailed("another has it"), ConnectFailed("no xenstored")])
def test_what_fails_for_a_reason_that_passes(host: Host, backend: FakeBackend, told: Told, error: Error) -> None:
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        for count in (1, 2, 3):
            begun(backend, "destroy", count)[-1].set_exception(error)
        begun(backend, "destroy", 4)[-1].set_result(None)
        outcome = told.next()
    assert (outcome.domid, outcome.error) == (3, None)


@pytest.mark.usefixtures("again_at_once")
@pytest.mark.parametrize("event_first", [True, False])
def test_a_destroy_that_took_effect_and_failed(host: Host, backend: FakeBackend, told: Told, event_first: bool) -> None:
    """The only copy of the configuration is the supervisor's: the domain is created anew with it."""
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")
        destroyed_in_doubt(backend, 3, event_first=event_first)
        begun(backend, "create")[0].set_result(DomainRef(7, uuid.UUID(int=3)))
        outcome = told.next()
    assert outcome.restarted is not None
    assert (outcome.domid, outcome.restarted.domid, outcome.error) == (3, 7, None)
    assert told.empty()


@pytest.mark.usefixtures("again_at_once")
def test_a_destroy_that_took_effect_and_failed_with_nothing_to_restart(
    host: Host, backend: FakeBackend, told: Told
) -> None:
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        begun(backend, "destroy")
        destroyed_in_doubt(backend, 3)
        outcome = told.next()
    assert (outcome.domid, outcome.restarted, outcome.config, outcome.error) == (3, None, None, None)


def test_it_is_stopped_before_it_knows_whether_a_domain_is_gone(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(work, "_LEAST_APART", 30.0)
    backend.at_once = {"config", "userdata"}
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")
        destroyed_in_doubt(backend, 3)
        wait_until(lambda: "tried again in 30 s: no xenstored" in caplog.text)
    outcome = told.next()
    assert (outcome.domid, str(outcome.error), outcome.config is not None) == (3, "no xenstored", True)
    assert told.empty()


@pytest.mark.usefixtures("again_at_once")
def test_a_domain_of_which_xen_keeps_something(host: Host, backend: FakeBackend, told: Told) -> None:
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        index = next(index for index, info in enumerate(backend.infos) if info.domid == 3)
        destroy = begun(backend, "destroy")[0]
        backend.infos[index] = replace(backend.infos[index], state=DomainState.DYING)
        destroy.set_exception(ConnectFailed("no xenstored"))
        begun(backend, "create")[0].set_result(DomainRef(7, uuid.UUID(int=3)))
        assert told.next().restarted is not None


@pytest.mark.usefixtures("again_at_once")
def test_a_destroy_that_took_only_the_name(host: Host, backend: FakeBackend, told: Told) -> None:
    """What libxl removes first is its part of xenstore: what is left has neither a name nor a configuration."""
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        index = next(index for index, info in enumerate(backend.infos) if info.domid == 3)
        destroy = begun(backend, "destroy")[0]
        backend.infos[index] = replace(backend.infos[index], name=None)
        destroy.set_exception(LockFailed("no space"))
        begun(backend, "destroy", 2)[-1].set_result(None)
        backend.infos.pop(index)
        begun(backend, "create")[0].set_result(DomainRef(7, uuid.UUID(int=3)))
        assert told.next().restarted is not None


def test_a_domain_that_was_set_aside_by_a_call_that_failed(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_LEAST_APART", 0.01)
    preserve = Domain.preserve

    def failing(domain: Domain, suffix: str) -> Domain:
        preserve(domain, suffix)
        raise ConnectFailed("no xenstored")

    monkeypatch.setattr(Domain, "preserve", failing)
    with FakeHost() as fake:
        config = DomainConfig("web1", type="pvh", kernel="/k", memory=16, on_crash="restart_rename")
        domain = fake.create(config)
        with supervise(fake, told):
            fake.guest(domain).crash()
            outcome = told.next()
        assert outcome.restarted is not None
        assert outcome.preserved is not None
        assert outcome.preserved.domid == domain.domid
        assert fake.domains["web1"] == outcome.restarted


def test_a_xenstored_that_restarts(
    host: Host,
    backend: FakeBackend,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(work, "_MOST_APART", 0.1)
    monkeypatch.setattr(work, "_LEAST_APART", 0.01)
    caplog.set_level("INFO", "pyxen.supervisor")
    gone = threading.Event()
    listed, found = backend.list, backend.domain_info

    def refuse_while_gone(call: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            if gone.is_set():
                raise ConnectFailed("xenstored closed the connection")
            return call(*arguments)

        return ask

    monkeypatch.setattr(backend, "list", refuse_while_gone(listed))
    monkeypatch.setattr(backend, "domain_info", refuse_while_gone(found))
    with supervise(host, told):
        wait_until(lambda: "supervising 2 domains" in caplog.text)
        gone.set()
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        end(backend, 4, ShutdownReason.POWEROFF)
        backend.tell(EventsLost(time=datetime.now(UTC), count=None))
        time.sleep(0.1)
        assert told.empty()
        gone.clear()
        assert {told.next().domid, told.next().domid} == {3, 4}


@pytest.mark.parametrize("delay", [float("inf"), 1e300, 1e9])
def test_a_brake_that_never_lets_go(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture, delay: float
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    info = backend.infos[1]
    backend.infos.remove(info)
    with supervise(host, told, brake=Brake(min_uptime=1000, first_delay=delay, max_delay=delay)) as supervisor:
        wait_until(lambda: "supervising 1 domains" in caplog.text)
        backend.infos.append(info)
        backend.tell(DomainCreated(**about(info)))
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "config")
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4
        assert supervisor._thread is not None
        assert supervisor._thread.is_alive()
    assert 3 not in backend.destroyed


def test_exit_in_a_callback_stops_nothing(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(info: DomainInfo) -> str | None:
        return sys.exit(1) if info.domid == 3 else None

    with supervise(host, told, leave=leave):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        wait_until(lambda: "SystemExit" in caplog.text)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4


def test_async_callbacks_are_refused(host: Host, backend: FakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: object) -> str | None:
        raise AssertionError

    with pytest.raises(InvalidArgument, match="a plain function as leave"):
        Supervisor(host, leave=never)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidArgument, match="a plain function as on_outcome"):
        Supervisor(host, on_outcome=never)
    with Supervisor(host, on_outcome=lambda _: never(None), leave=lambda _: None):
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        wait_until(lambda: "a plain function as on_outcome" in caplog.text)


def test_its_repr_tells_whether_it_runs() -> None:
    with FakeHost(time="real") as fake:
        supervisor = Supervisor(fake)
        assert "not running" in repr(supervisor)
        with supervisor:
            assert repr(supervisor) == f"<Supervisor of {fake.uri}: running>"


def test_a_restart_takes_the_updated_configuration(told: Told) -> None:
    with FakeHost() as fake:
        config = DomainConfig("web1", type="pvh", kernel="/k", memory=16)
        domain = fake.create(config)
        with supervise(fake, told):
            domain.update_config(config.replace(memory=24, cmdline="quiet"))
            fake.guest(domain).reboot()
            outcome = told.next()
            assert outcome.restarted is not None
            found = outcome.restarted.config()
            assert (found.memory, found.cmdline, outcome.restarted.uuid) == (24, "quiet", domain.uuid)
            assert outcome.restarted.userdata("xl") is None  # it is used once
            fake.guest(outcome.restarted).reboot()
            again = told.next().restarted
            assert again is not None
            assert again.config().memory == 24


@pytest.mark.parametrize("note", [b"memory = ", b"\xff\xfe", b"\0"])
def test_an_updated_configuration_that_is_not_valid(told: Told, note: bytes) -> None:
    with FakeHost() as fake:
        domain = fake.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        with supervise(fake, told):
            fake._machine.domains[domain.domid].notes["xl"] = note
            fake.guest(domain).reboot()
            restarted = told.next().restarted
            assert restarted is not None
            assert restarted.config().memory == 16
