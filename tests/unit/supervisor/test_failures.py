"""What a supervisor does when a call fails: whether that took effect, was for a while, or is for good."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pyxen import (
    Brake,
    Domain,
    DomainConfig,
    DomainExists,
    DomainState,
    FileMissing,
    Host,
    InvalidArgument,
    OperationFailed,
    OperationTimeout,
    ShutdownReason,
    Supervisor,
)
from pyxen._common.joinable import JoinableThread
from pyxen.backends.base import DomainRef
from pyxen.errors import ConnectFailed, Error, LockFailed, NotReady
from pyxen.supervisor import work
from pyxen.supervisor.core_dump import Dumper
from pyxen.supervisor.watchers import is_here
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import (
    Told,
    begun,
    destroyed_in_doubt,
    end,
    let_it_look,
    lost,
    supervise,
    wait_until,
)

WEB = DomainConfig("web1", type="pvh", kernel="/k", memory=16)
FOR_GOOD = [OperationTimeout("the worker was killed"), OperationFailed("ERROR_FAIL"), RuntimeError("broken")]
PASSING = [ConnectFailed("no xenstored"), LockFailed("another has it"), NotReady("too many descriptors")]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    monkeypatch.setattr(work, "_LEAST_APART", 0.01)
    with FakeHost() as fake:
        yield fake


def failing_late(monkeypatch: pytest.MonkeyPatch, owner: type, verb: str, *errors: Exception) -> None:
    """Let the next calls of a verb take effect, and fail all the same."""
    call, left = getattr(owner, verb), list(errors)

    def late(*arguments: Any, **how: Any) -> Any:
        result = call(*arguments, **how)
        if left:
            raise left.pop(0)
        return result

    monkeypatch.setattr(owner, verb, late)


# What removes a domain


@pytest.mark.parametrize("error", FOR_GOOD, ids=repr)
@pytest.mark.parametrize("event_first", [True, False])
def test_a_destroy_that_took_effect_and_failed_for_good(
    host: Host, backend: FakeBackend, told: Told, error: Exception, event_first: bool
) -> None:
    backend.at_once = {"config", "userdata"}
    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        begun(backend, "destroy")
        destroyed_in_doubt(backend, 3, event_first=event_first, error=error)
        begun(backend, "create")[0].set_result(DomainRef(7, uuid.UUID(int=3)))
        outcome = told.next()
    assert outcome.restarted is not None
    assert (outcome.domid, outcome.restarted.domid, outcome.preserved, outcome.error) == (3, 7, None, None)
    assert told.empty()


@pytest.mark.usefixtures("again_at_once")
def test_it_is_asked_until_it_is_known_whether_a_domain_is_gone(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception] = [ConnectFailed("no xenstored"), OperationFailed("no"), ConnectFailed("no xenstored")]
    find = backend.domain_info

    def asked(ref: DomainRef) -> Any:
        if answers:
            raise answers.pop()
        return find(ref)

    with supervise(host, told):
        backend.tell(end(backend, 3, ShutdownReason.REBOOT))
        destroy = begun(backend, "destroy")[0]
        monkeypatch.setattr(backend, "domain_info", asked)
        destroy.set_exception(OperationFailed("ERROR_FAIL"))
        outcome = told.next()
    assert (answers, str(outcome.error)) == ([], "ERROR_FAIL")
    assert outcome.preserved is not None
    assert outcome.preserved.domid == 3


@pytest.mark.parametrize("error", FOR_GOOD, ids=repr)
def test_a_domain_that_was_set_aside_by_a_call_that_failed_for_good(
    fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing_late(monkeypatch, Domain, "preserve", error)
    domain = fake.create(WEB.replace(on_crash="restart_rename"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
    assert outcome.restarted is not None
    assert outcome.preserved is not None
    assert (outcome.preserved.domid, outcome.error) == (domain.domid, None)
    assert fake.domains["web1"] == outcome.restarted


def test_a_soft_reset_that_fails(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB.replace(type="hvm", kernel=None, on_crash="soft_reset"))
    fake.fail("soft_reset", OperationFailed("no"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
    assert (outcome.preserved, outcome.restarted, str(outcome.error)) == (domain, None, "soft_reset 1: no")


@pytest.mark.parametrize("error", [*FOR_GOOD, *PASSING], ids=repr)
def test_a_soft_reset_that_took_effect_and_failed(
    fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing_late(monkeypatch, Domain, "soft_reset", error)
    domain = fake.create(WEB.replace(type="hvm", kernel=None, on_crash="soft_reset"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
        assert (outcome.restarted, outcome.preserved, outcome.error, outcome.config) == (domain, None, None, None)
        fake.guest(domain).reboot()
        assert told.next().reason == ShutdownReason.REBOOT


def test_a_soft_reset_that_leaves_the_domain_paused(
    fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = Domain.soft_reset

    def fails(domain: Domain) -> None:
        reset(domain)
        domain.pause()  # libxl ends with it paused, and what comes then fails
        raise OperationFailed("no")

    monkeypatch.setattr(Domain, "soft_reset", fails)
    domain = fake.create(WEB.replace(type="hvm", kernel=None, on_crash="soft_reset"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
    assert (outcome.restarted, outcome.preserved, str(outcome.error)) == (None, domain, "no")


def test_a_soft_reset_that_destroys_the_domain(fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def destroys(domain: Domain) -> None:
        domain.destroy()
        raise OperationFailed("the worker was killed")

    monkeypatch.setattr(Domain, "soft_reset", destroys)
    domain = fake.create(WEB.replace(type="hvm", kernel=None, on_crash="soft_reset"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
    assert outcome.restarted is not None
    assert (outcome.restarted.uuid, outcome.error) == (domain.uuid, None)


# The first look


def test_a_host_that_cannot_be_looked_at_at_first(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB)
    fake.fail("list", ConnectFailed("no xenstored"))
    with pytest.raises(ConnectFailed, match="no xenstored"), supervise(fake, told):
        pytest.fail("it has begun")
    fake.fail("list", ConnectFailed("no xenstored"))
    with pytest.raises(ConnectFailed, match="no xenstored"):
        supervise(fake, told).run()
    with supervise(fake, told):
        fake.guest(domain).reboot()
        assert told.next().restarted is not None


def test_an_end_that_cannot_be_studied_is_told_whatever_the_error_is(
    fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Domain) -> DomainConfig:
        raise TypeError("broken")

    domain = fake.create(WEB)
    monkeypatch.setattr(Domain, "config", broken)
    with supervise(fake, told):
        fake.guest(domain).crash()
        outcome = told.next()
    assert (outcome.preserved, str(outcome.error)) == (domain, "broken")


def test_a_run_without_a_thread_may_be_tried_again(fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    domain = fake.create(WEB.replace(on_crash="destroy"))
    supervisor = Supervisor(fake, on_outcome=told.put)
    with monkeypatch.context() as patched:
        patched.setattr(JoinableThread, "start", refused)
        with pytest.raises(OperationFailed, match="cannot start a thread"), supervisor:
            pass
    with supervisor:
        fake.guest(domain).crash()
        assert told.next().domid == domain.domid
    with pytest.raises(OperationFailed, match="runs only once"), supervisor:
        pass


def test_a_run_that_could_not_begin_may_be_tried_again(fake: FakeHost, told: Told) -> None:
    domain, supervisor = fake.create(WEB), supervise(fake, told)
    fake.fail("list", ConnectFailed("no xenstored yet"))
    with pytest.raises(ConnectFailed):
        supervisor.run()
    with supervisor:
        fake.guest(domain).reboot()
        assert told.next().restarted is not None
    with pytest.raises(OperationFailed, match="runs only once"):
        supervisor.run()


def test_one_that_was_stopped_before_it_could_begin(fake: FakeHost, told: Told) -> None:
    supervisor = supervise(fake, told)
    supervisor.stop()
    fake.fail("list", ConnectFailed("no xenstored yet"))
    with pytest.raises(ConnectFailed):
        supervisor.run()
    supervisor.run()  # ends at once


def test_what_has_ended_its_thread_is_raised(
    host: Host, backend: FakeBackend, told: Told, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_work: work.Work, _event: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(work.Work, "_take", broken)
    supervisor = supervise(host, told)

    def watch() -> None:
        with supervisor:
            backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
            wait_until(lambda: "not running" in repr(supervisor))

    with pytest.raises(ZeroDivisionError):
        watch()
    assert "the supervisor has ended" in caplog.text

    def fail() -> None:
        with supervise(host, told):
            backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
            raise KeyError

    with pytest.raises(KeyError):
        fail()


# To find out what a domain needs


@pytest.mark.parametrize("error", [*PASSING, OperationFailed("ERROR_FAIL"), FileMissing("no")], ids=repr)
def test_what_a_domain_needs_is_asked_again(fake: FakeHost, told: Told, error: Error) -> None:
    domain = fake.create(WEB)
    fake.fail("config", error, times=2)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.restarted is not None
    assert outcome.error is None


def test_a_short_life_counts_though_it_was_asked_again(
    fake: FakeHost, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with supervise(fake, told, brake=Brake(min_uptime=1000, first_delay=0.01)):
        domain = fake.create(WEB)
        fake.fail("config", LockFailed("another has it"))
        fake.guest(domain).reboot()
        assert told.next().restarted is not None
    assert "1 times in a row" in caplog.text


def test_what_a_domain_needs_is_never_known(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB)
    fake.fail("config", OperationFailed("ERROR_FAIL"), times=None)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
        assert told.empty()
    assert (outcome.domid, outcome.uuid, outcome.name) == (domain.domid, domain.uuid, "web1")
    assert (outcome.reason, str(outcome.action), outcome.preserved) == (ShutdownReason.REBOOT, "preserve", domain)
    assert str(outcome.error) == "config 1: ERROR_FAIL"
    assert [call.verb for call in fake.calls].count("config") == 5


# A create


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_a_create_is_tried_again_for_as_long_as_an_error_passes(fake: FakeHost, told: Told, error: Error) -> None:
    domain = fake.create(WEB)
    fake.fail("create", error, times=12)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.restarted is not None
    assert outcome.error is None


def test_errors_that_pass_do_not_count_as_failed_creates(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB)
    for error in (ConnectFailed("no xenstored"), OperationFailed("no")) * 4:
        fake.fail("create", error)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        assert told.next().restarted is not None


def test_it_is_stopped_while_xenstored_is_away(fake: FakeHost, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    domain = fake.create(WEB)
    fake.fail("create", ConnectFailed("no xenstored"), times=None)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        wait_until(lambda: "cannot be created, tried again" in caplog.text)
    outcome = told.next()
    assert (str(outcome.error), outcome.config is not None) == ("no xenstored", True)
    assert told.empty()


@pytest.mark.parametrize("error", [ConnectFailed("no xenstored"), OperationTimeout("late")], ids=repr)
def test_a_create_that_took_effect_and_failed(
    fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch, error: Error
) -> None:
    domain = fake.create(WEB)
    failing_late(monkeypatch, Host, "create", error)
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert (outcome.restarted, outcome.error) == (fake.domains["web1"], None)
    assert outcome.uuid == domain.uuid


def half_made(create: Callable[..., Domain], *, named: bool) -> Callable[..., Domain]:
    """Return a create that leaves a domain which has not begun to run."""
    left = [True]

    def fails(host: Host, config: DomainConfig) -> Domain:
        if not left:
            return create(host, config)
        left.pop()
        made = create(host, config, paused=True)
        raise OperationTimeout("the worker was killed", operation="create", domid=made.domid if named else None)

    return fails


def test_a_create_that_leaves_half_of_a_domain(fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = fake.create(WEB)
    monkeypatch.setattr(Host, "create", half_made(Host.create, named=True))
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.restarted is not None
    assert outcome.restarted.info().state is not DomainState.PAUSED
    assert [info.name for info in fake.list()] == ["Domain-0", "web1"]


def test_a_domain_that_someone_else_is_making(fake: FakeHost, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = fake.create(WEB)
    monkeypatch.setattr(Host, "create", half_made(Host.create, named=False))
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert isinstance(outcome.error, DomainExists)
    assert (outcome.restarted, outcome.config is not None) == (None, True)
    assert fake.domains["web1"].info().state is DomainState.PAUSED


@pytest.mark.parametrize("action", ["restart", "restart_rename"])
def test_the_updated_configuration_has_the_name_of_another_domain(
    fake: FakeHost, told: Told, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    other, domain = fake.create(WEB.replace(name="db")), fake.create(WEB.replace(on_reboot=action))
    domain.update_config(WEB.replace(name="db", memory=24))
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.restarted == fake.domains["web1"]
    assert outcome.restarted.config().memory == 24
    assert fake.domains["db"] == other
    assert isinstance(outcome.error, DomainExists)
    assert outcome.config is None
    assert "keeps its name" in caplog.text


def test_an_updated_configuration_that_would_be_refused(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB)
    fake._machine.domains[domain.domid].notes["xl"] = b'name = "web1"\ntype = "pvh"\nmemory = 24\n'
    with supervise(fake, told):
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.restarted is not None
    assert outcome.restarted.config().memory == 16


# A domain that was left


def test_a_domain_that_was_left_and_runs_again(fake: FakeHost, told: Told) -> None:
    domain = fake.create(WEB.replace(type="hvm", kernel=None, on_crash="preserve"))
    with supervise(fake, told):
        fake.guest(domain).crash()
        assert told.next().preserved == domain
        domain.soft_reset()
        fake.guest(domain).reboot()
        outcome = told.next()
    assert outcome.reason == ShutdownReason.REBOOT
    assert outcome.restarted is not None


def test_a_domain_that_was_left_runs_again_while_events_are_lost(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    leave = ["me"]
    with supervise(host, told, leave=lambda _: leave.pop() if leave else None):
        runs = backend.infos[1]
        backend.tell(end(backend, 3, ShutdownReason.CRASH))
        wait_until(lambda: "supervised by me" in caplog.text)
        ended, backend.infos[1] = backend.infos[1], runs
        let_it_look(backend)
        backend.infos[1] = replace(ended, shutdown_reason=ShutdownReason.POWEROFF)
        backend.tell(lost())
        assert told.next().domid == 3


# Another machine


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("xenlight:///", True),
        ("xenlight:", True),
        ("xenlight+unix:///run/pyxen/serve.sock", True),
        ("xen:///system", True),
        ("memory:///name", True),
        ("xenlight+ssh://root@host/", False),
        ("xen+ssh://root@host/system", False),
        ("xen+tcp://host:16509/system", False),
        ("xenlight+ssh://root@[::1]/", False),
    ],
)
def test_whether_a_host_is_this_machine(uri: str, here: bool) -> None:
    assert is_here(uri) is here


def test_a_host_that_is_another_machine(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    monkeypatch.setattr(backend, "uri", "xenlight+ssh://root@host/")
    with Host(backend) as host:
        with pytest.raises(InvalidArgument, match=r"xenlight\+ssh://root@host/: run it there, or give leave="):
            Supervisor(host)
        with supervise(host, told):
            backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
            assert told.next().error is None


def test_no_core_dump_is_written_of_another_machine(fake: FakeHost, tmp_path: Any) -> None:
    dumper = Dumper("xen+ssh://root@host/system", str(tmp_path))
    with pytest.raises(OperationFailed, match="another machine: run the supervisor there"):
        dumper.dump(fake.create(WEB), "web1")
    assert list(tmp_path.iterdir()) == []
