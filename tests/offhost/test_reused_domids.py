"""A domain that is destroyed while a disk or a peer is waited for, and another one that then has its domid."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import Domain
from pyxen._common.atomic_file import PartialFile
from pyxen.errors import DomainNotFound, Error, InvalidArgument
from pyxen.records.info import DomainState, ShutdownReason
from tests.offhost.conftest import Configure
from tests.offhost.host import OffHost, until
from tests.offhost.internals import before_a_step_of_the_source, before_the_arrived_starts, end_core_dumps
from tests.offhost.world import Reason

SECONDS = 60


@pytest.fixture
def guest(offhost: OffHost, host: pyxen.Host, config: Configure) -> Domain:
    """A guest that suspends when it is asked to."""
    web = host.create(config(), timeout=SECONDS)
    offhost.guest(web.domid).obey()
    return web


class Stranger:
    """What takes the place of a domain, and what it is like then."""

    def __init__(self, offhost: OffHost, host: pyxen.Host, *, suspended: bool) -> None:
        self._offhost = offhost
        self._host = host
        self._suspended = suspended
        self._before: object = None
        self._domid = 0

    def takes_the_place_of(self, domid: int) -> None:
        """Let another program destroy a domain, and make one of its own, which it asks to suspend."""
        world, store = self._offhost.world, self._offhost.store
        self._offhost.end_guests()
        world.remove(domid)
        until(lambda: domid not in world.domids(), "the domain stays", SECONDS)
        for top in (f"/local/domain/{domid}", f"/libxl/{domid}"):
            if store.exists(top):
                store.remove(top)
        world.next_domid(domid)
        self._domid = self._offhost.add("stranger", introduced=False)
        assert self._domid == domid
        store.write(f"/local/domain/{domid}/control/shutdown", "suspend")
        if self._suspended:
            self._offhost.shut_down(domid, Reason.SUSPEND)
        self._before = self._look()

    def _look(self) -> object:
        [info] = [info for info in self._host.list() if info.domid == self._domid]
        request = self._offhost.store.read(f"/local/domain/{self._domid}/control/shutdown")
        return info.uuid, info.name, info.state, info.shutdown_reason, request

    def check(self) -> None:
        """Check that nothing has happened to it."""
        assert self._domid, "it has not come"
        assert self._look() == self._before


@pytest.fixture(params=[False, True], ids=["running", "suspended"])
def stranger(offhost: OffHost, host: pyxen.Host, request: pytest.FixtureRequest) -> Stranger:
    """Another program's domain."""
    return Stranger(offhost, host, suspended=request.param)


def around(
    monkeypatch: pytest.MonkeyPatch, name: str, *, before: Callable[[], object] = int, after: Callable[[], object] = int
) -> None:
    """Let something happen before or after what a save does with its file."""
    real: Any = getattr(PartialFile, name)

    def then(partial_file: PartialFile, *given: Any) -> None:
        before()
        real(partial_file, *given)
        after()

    monkeypatch.setattr(PartialFile, name, then)


@pytest.mark.parametrize("how", [{}, {"checkpoint": True}, {"leave_paused": True}], ids=["end", "go on", "pause"])
def test_when_a_save_is_on_the_disk(
    guest: Domain, stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    around(monkeypatch, "appear", after=partial(stranger.takes_the_place_of, guest.domid))
    guest.save(tmp_path / "web", timeout=SECONDS, **how)
    assert (tmp_path / "web").exists()
    stranger.check()


def test_when_a_save_is_not_on_the_disk(
    guest: Domain, stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        stranger.takes_the_place_of(guest.domid)
        raise InvalidArgument("the disk is full")

    around(monkeypatch, "appear", before=fail)
    with pytest.raises(InvalidArgument, match="the disk is full"):
        guest.save(tmp_path / "web", timeout=SECONDS)
    stranger.check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["save", "core_dump"])
def test_before_anything_is_written(
    guest: Domain, stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    end_core_dumps(monkeypatch, 0)
    around(monkeypatch, "__init__", after=partial(stranger.takes_the_place_of, guest.domid))
    with pytest.raises(DomainNotFound, match="it is gone"):
        getattr(guest, verb)(tmp_path / "web", timeout=SECONDS)
    stranger.check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["stream", "set_aside", "take_back", "end"])
def test_during_a_migration(
    host: pyxen.Host, guest: Domain, stranger: Stranger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before_a_step_of_the_source(monkeypatch, step, partial(stranger.takes_the_place_of, guest.domid))
    if step == "take_back":
        before_a_step_of_the_source(monkeypatch, "set_aside", partial(fail_because, "no room"))
    here, there = socket.socketpair()
    with there:
        arriving = host.begin.receive_migration(there.fileno(), there.fileno(), timeout=SECONDS)
    failed: Error | None = None
    with here:
        try:
            guest.migrate_over(here.fileno(), here.fileno(), timeout=SECONDS)
        except Error as error:
            failed = error
    stranger.check()
    if step == "end":
        assert failed is None
        assert arriving.result(SECONDS).info().name == "web"
        return
    assert arriving.exception(SECONDS) is not None
    if step == "take_back":
        assert "no room" in str(failed)
    else:
        assert isinstance(failed, DomainNotFound)


def fail_because(why: str) -> None:
    raise InvalidArgument(why)


def test_before_what_has_arrived_starts(
    host: pyxen.Host, guest: Domain, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_arrived_starts(monkeypatch, stranger.takes_the_place_of)
    here, there = socket.socketpair()
    with there:
        arriving = host.begin.receive_migration(there.fileno(), there.fileno(), timeout=SECONDS)
    with here, contextlib.suppress(Error):
        guest.migrate_over(here.fileno(), here.fileno(), timeout=SECONDS)
    assert isinstance(arriving.exception(SECONDS), DomainNotFound)
    stranger.check()
    assert guest.info().state is not DomainState.SHUTDOWN or guest.info().shutdown_reason is not ShutdownReason.SUSPEND


@pytest.mark.parametrize("how", [{}, {"checkpoint": True}, {"leave_paused": True}], ids=["end", "go on", "pause"])
def test_a_guest_that_is_there_is_treated_as_ever(
    offhost: OffHost, guest: Domain, tmp_path: Path, how: dict[str, Any]
) -> None:
    guest.save(tmp_path / "web", timeout=SECONDS, **how)
    if how:
        assert guest.info().state is (DomainState.PAUSED if "leave_paused" in how else DomainState.BLOCKED)
        guest.destroy(timeout=SECONDS)
    assert offhost.left() == []
