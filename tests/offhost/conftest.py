"""The pretended host, for tests; and the processes that they run in (see processes.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig
from tests import hypothesis_profile
from tests.offhost import kernel, processes
from tests.offhost.host import OffHost
from tests.offhost.internals import be_impatient, use_extension
from tests.offhost.processes import (
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_runtestloop,
    pytest_sessionfinish,
    pytest_timeout_set_timer,
)
from tests.offhost.setup import RELEASES, Release, release

hypothesis_profile.load()

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_runtestloop",
    "pytest_sessionfinish",
    "pytest_timeout_set_timer",
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let every test run on every release."""
    if "xen" in metafunc.fixturenames:
        metafunc.parametrize("xen", RELEASES, indirect=True, scope="session")


@pytest.fixture(scope="session")
def xen(request: pytest.FixtureRequest) -> Release:
    """The Xen release that the test runs on."""
    found = release(request.param)
    sys.executable = str(found.python)
    use_extension(found)
    return found


@pytest.fixture(autouse=True)
def _inside(xen: Release) -> None:
    assert processes.inside() == xen.name, "this process is not on that release"


@pytest.fixture
def offhost(xen: Release) -> Iterator[OffHost]:
    """A pretended host, of which the test's process is domain 0."""
    with OffHost(xen) as host:
        yield host


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a worker or a xenstored that does not answer sooner; a host must be opened after that."""
    be_impatient(monkeypatch)


@pytest.fixture
def host(offhost: OffHost) -> Iterator[pyxen.Host]:  # noqa: ARG001 (must be there first)
    """The pretended host, as pyxen sees it."""
    with pyxen.connect("xenlight:///") as found:
        yield found


Configure = Callable[..., DomainConfig]


@pytest.fixture(scope="session")
def config(kernels: dict[str, str]) -> Configure:
    """Make the configuration of a small guest: ``config("pv", name="a", memory=16)``."""

    def make(kind: str = "pvh", **settings: Any) -> DomainConfig:
        return DomainConfig(**{"name": "web", "type": kind, "kernel": kernels[kind], "memory": 16, **settings})

    return make


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kernels, by the type of guest that they are for."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "pvh").write_bytes(kernel.pvh())
    (folder / "pv").write_bytes(kernel.pv())
    return {kind: str(folder / kind) for kind in ("pvh", "pv")}
