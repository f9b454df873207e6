"""The host of the supervisor's tests, and where outcomes are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyxen import Host
from pyxen.supervisor import work
from tests.unit.aio.fakehost import FakeBackend
from tests.unit.supervisor.support import Told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def backend() -> FakeBackend:
    backend = FakeBackend()
    backend.at_once = {"destroy", "config", "userdata"}
    return backend


@pytest.fixture
def again_at_once(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the supervisor try again soon, and let a destroy end when the test says so."""
    monkeypatch.setattr(work, "_LEAST_APART", 0.01)
    backend.at_once = {"config", "userdata"}


@pytest.fixture
def host(backend: FakeBackend) -> Iterator[Host]:
    with Host(backend) as host:
        yield host
