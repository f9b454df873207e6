"""Ends of domains that a look finds, before, instead of, or beside their events."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from pyxen import DomainInfo, Host, OperationFailed, ShutdownReason
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import Told, begun, end, let_it_look, lost, supervise, wait_until
from tests.waiting import SECONDS


def test_the_event_of_an_end_that_a_look_has_found_is_no_second_end(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    with supervise(host, told):
        its_own = end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(lost())
        assert told.next().domid == 3
        backend.tell(its_own)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        assert told.next().domid == 4
    assert told.empty()
    assert backend.destroyed == [3, 4]


@pytest.mark.usefixtures("again_at_once")
def test_what_was_given_up_is_not_tried_again_when_its_event_comes(
    host: Host, backend: FakeBackend, told: Told
) -> None:
    with supervise(host, told):
        its_own = end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(lost())
        begun(backend, "destroy")[0].set_exception(OperationFailed("no"))
        assert str(told.next().error) == "no"
        backend.tell(its_own)
        backend.tell(end(backend, 4, ShutdownReason.POWEROFF))
        begun(backend, "destroy", 2)[1].set_result(None)
        assert told.next().domid == 4
    assert told.empty()
    assert backend.destroyed == [3, 4]


@pytest.mark.parametrize("its_own_comes", [True, False])
def test_a_domain_that_ran_since_a_look_has_ended_again(
    host: Host, backend: FakeBackend, told: Told, *, its_own_comes: bool
) -> None:
    with supervise(host, told):
        its_own = end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(lost())
        assert told.next().domid == 3
        if its_own_comes:
            backend.tell(its_own)
        backend.infos[1] = replace(backend.infos[1], cpu_time_ns=backend.infos[1].cpu_time_ns + 1000)
        backend.tell(end(backend, 3, ShutdownReason.POWEROFF))
        assert told.next().domid == 3
    assert told.empty()


def test_a_domain_that_ends_for_another_reason_has_ended_again(host: Host, backend: FakeBackend, told: Told) -> None:
    with supervise(host, told):
        end(backend, 3, ShutdownReason.POWEROFF)
        backend.tell(lost())
        assert told.next().reason == ShutdownReason.POWEROFF
        backend.tell(end(backend, 3, ShutdownReason.CRASH))
        assert told.next().reason == ShutdownReason.CRASH


def test_a_domain_that_runs_again_while_it_is_in_hand(
    host: Host, backend: FakeBackend, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pyxen.supervisor")
    asked, answer = threading.Event(), threading.Event()

    def leave(_: DomainInfo) -> str | None:
        if asked.is_set():
            return None
        asked.set()
        answer.wait(SECONDS)
        return "me"

    with supervise(host, told, leave=leave):
        runs = backend.infos[1]
        backend.tell(end(backend, 3, ShutdownReason.CRASH))
        assert asked.wait(SECONDS)
        ended, backend.infos[1] = backend.infos[1], runs
        let_it_look(backend)
        answer.set()
        wait_until(lambda: "supervised by me" in caplog.text)
        backend.infos[1] = replace(ended, shutdown_reason=ShutdownReason.POWEROFF)
        let_it_look(backend)
        outcome = told.next()
    assert (outcome.domid, outcome.reason) == (3, ShutdownReason.POWEROFF)
