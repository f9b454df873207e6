"""Hosts and guests for the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import pyxen
from pyxen import Domain, DomainConfig, Host
from tests.backends.hosts import URIS, Guests, config_of, guests_of
from tests.backends.support import Make, wait_until


@pytest.fixture(scope="session", params=URIS)
def uri(request: pytest.FixtureRequest) -> str:
    """How to find the host."""
    found: str = request.param
    return found


@pytest.fixture(scope="session")
def host(uri: str) -> Iterator[Host]:
    """The host."""
    with pyxen.connect(uri) as host:
        if uri.startswith("test:"):  # libvirt's has a domain of its own
            for kept in host.defined():
                host.domains[kept.uuid].destroy()
                host.undefine(kept.uuid)
        yield host


@pytest.fixture(scope="session")
def guests(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Guests:
    """What it can run."""
    return guests_of(uri, tmp_path_factory.mktemp("guests"))


@pytest.fixture
def config(guests: Guests) -> Make:
    """Make the configuration of a guest that idles: ``config("web1", vcpus=2)``."""

    def make(name: str = "web1", **settings: Any) -> DomainConfig:
        return config_of(guests.tiny, name, **settings)

    return make


@pytest.fixture
def make(host: Host, config: Make) -> Make:
    """Create a guest that idles: ``make("web1", paused=True, memory=16)``."""

    def create(name: str = "web1", *, paused: bool = False, **settings: Any) -> Domain:
        return host.create(config(name, **settings), paused=paused, timeout=60)

    return create


@pytest.fixture
def willing(host: Host, guests: Guests) -> Make:
    """Create a guest that does what it is asked for, and has booted; on a real host that takes its time."""

    def create(**settings: Any) -> Domain:
        name = f"linux-{uuid.uuid4().hex[:8]}"  # each has a console log of its own
        domain = host.create(config_of(guests.willing, name, **settings), timeout=60)
        guests.wait(domain)
        return domain

    return create


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """End what a test has left, and see that the host is as it was."""
    before = {info.uuid for info in host.list()}
    yield
    for domain in host.domains:
        if domain.uuid not in before:
            domain.destroy()
    if host.supports("define"):
        for kept in host.defined():
            if kept.uuid not in before:
                host.undefine(kept.uuid)
    wait_until(lambda: {info.uuid for info in host.list()} <= before)
