"""Hosts and guests for the contract."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyxen
from pyxen import Domain, DomainConfig, Host
from tests.backends.files import Files
from tests.backends.hosts import Guests, Place, config_of, guests_of, place_of, uris_for
from tests.backends.support import Guest, Make, supporting, wait_until
from tests.spoilt import pytest_runtest_makereport, pytest_runtest_protocol  # noqa: F401 (hooks)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each test at all its hosts."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", uris_for(metafunc.module.__name__), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about the one thread that completes a host's operations, where there is none.

    Through libvirt, a wait ends on a thread of its own; tests/libvirt/test_operations.py has what is refused there.
    """
    left = [item for item in items if item.get_closest_marker("one_thread") and _is_libvirts(item)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def _is_libvirts(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["place"]).startswith(("test:", "xen:"))


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Where the host is."""
    with place_of(request.param) as place:
        yield place


@pytest.fixture(scope="session", autouse=True)
def xen_log(place: Place) -> Callable[[], str]:
    """Read Xen's log; that of a host without Xen is empty."""
    return place.xen_log


@pytest.fixture(scope="session")
def uri(place: Place) -> str:
    """How to find the host."""
    return place.uri


@pytest.fixture(scope="session")
def files(place: Place) -> Files:
    """The host's files."""
    return place.files


@pytest.fixture
def folder(files: Files) -> Iterator[str]:
    """A folder on the host."""
    path = files.new_folder()
    yield path
    files.remove(path)


@pytest.fixture
def image(files: Files, folder: str) -> str:
    """A file on the host that can be a disk."""
    return files.zeros(f"{folder}/data.img", 1 << 20)


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
def guests(place: Place) -> Iterator[Guests]:
    """What it can run."""
    folder = place.files.new_folder()
    yield guests_of(place, folder)
    place.files.remove(folder)


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
def willing(host: Host, guests: Guests) -> Guest:
    """Create a guest that does what it is asked for."""
    return functools.partial(guests.create_willing, host)


@pytest.fixture
def linux(host: Host, guests: Guests) -> Guest:
    """Create a guest that has drivers, too, and has booted; its first time it takes long."""
    return functools.partial(guests.create_linux, host)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test marked with what it needs; where the host lacks it, the test must end with the error that says so."""
    features = [feature for marker in pyfuncitem.iter_markers("needs") for feature in marker.args]
    if not features:
        return None
    host: Any = pyfuncitem.funcargs["host"]
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with supporting(host, *features):
        pyfuncitem.obj(**arguments)
    return True


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
