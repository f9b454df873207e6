"""The supervisor, on domains that go down as the test wishes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

import pyxen
from pyxen import Brake, DomainConfig, Outcome, Supervisor
from tests.offhost.host import OffHost, until
from tests.offhost.world import How, Kind, Reason

Configure = Callable[..., DomainConfig]


@pytest.fixture
def outcomes(host: pyxen.Host) -> Iterator[Queue[Outcome]]:
    """What a supervisor of the host tells of what it does."""
    told: Queue[Outcome] = Queue()
    supervisor = Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=0))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    yield told
    supervisor.stop()
    thread.join(60)


def test_a_guest_that_reboots_comes_back(
    offhost: OffHost, host: pyxen.Host, config: Configure, outcomes: Queue[Outcome]
) -> None:
    web = host.create(config(on_reboot="restart"))
    offhost.shut_down(web.domid, Reason.REBOOT)
    outcome = outcomes.get(timeout=60)
    assert outcome.error is None
    until(lambda: [info.name for info in host.list()] == ["Domain-0", "web"], "it does not come back", 60)
    assert host.domains["web"].domid != web.domid
    assert host.domains["web"].uuid == web.uuid


def test_a_guest_that_powers_off_is_cleared_away(
    offhost: OffHost, host: pyxen.Host, config: Configure, outcomes: Queue[Outcome]
) -> None:
    offhost.shut_down(host.create(config()).domid)
    assert outcomes.get(timeout=60).error is None
    assert offhost.left() == []


def test_a_guest_that_crashes_is_preserved(
    offhost: OffHost, host: pyxen.Host, config: Configure, outcomes: Queue[Outcome]
) -> None:
    web = host.create(config(on_crash="preserve"))
    offhost.world.crash(web.domid)
    assert outcomes.get(timeout=60).error is None
    assert web.info().shutdown_reason == pyxen.ShutdownReason.CRASH


def test_a_guest_that_cannot_be_destroyed_is_told_of(
    offhost: OffHost, host: pyxen.Host, config: Configure, outcomes: Queue[Outcome]
) -> None:
    web = host.create(config(on_reboot="restart"))
    with offhost.world.failing("domctl.destroydomain", errno.EPERM):
        offhost.shut_down(web.domid, Reason.REBOOT)
        outcome = outcomes.get(timeout=60)
    assert outcome.error is not None
    assert outcome.preserved == web
    assert outcome.config is not None
    assert [info.domid for info in host.list()] == [0, web.domid]
    web.destroy()
    assert offhost.left() == []


FIRST = 8
"""How many calls of the supervisor's are tried; the first of them are those that find out that a guest has ended."""


@pytest.mark.parametrize("how", [How.FAIL, How.DENY, How.TEAR, How.CUT])
@pytest.mark.parametrize("kind", [Kind.REQUESTS, Kind.HYPERCALLS])
def test_the_end_of_a_guest_is_noticed_whatever_call_fails(
    offhost: OffHost, host: pyxen.Host, config: Configure, outcomes: Queue[Outcome], kind: Kind, how: How
) -> None:
    if kind is Kind.HYPERCALLS and how is not How.FAIL:
        return
    error = errno.EAGAIN if how is How.DENY else errno.EIO
    for nth in range(1, FIRST + 1):
        web = host.create(config(on_reboot="restart"), timeout=60)
        with offhost.world.sweeping(kind, nth, error, how) as swept:
            offhost.shut_down(web.domid, Reason.REBOOT)
            outcome = outcomes.get(timeout=60)
        assert swept.pid, f"it makes no {nth} calls"
        assert outcome.domid == web.domid
        assert outcome.error is None, f"call {nth}, {swept.what}: {outcome.error}"
        host.domains["web"].destroy(timeout=60)
        while not outcomes.empty():
            outcomes.get_nowait()


def test_a_guest_that_xenstore_tells_no_name_of_is_warned_of(
    offhost: OffHost,
    host: pyxen.Host,
    config: Configure,
    outcomes: Queue[Outcome],
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = host.create(config(on_reboot="restart"))
    host.xenstore.remove(f"/local/domain/{web.domid}/name")
    offhost.shut_down(web.domid, Reason.REBOOT)
    until(lambda: "it has no name in xenstore" in caplog.text, "nothing is told", 60)
    assert outcomes.empty()
    web.destroy()
