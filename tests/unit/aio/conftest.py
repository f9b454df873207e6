"""A fake host for the tests of the asyncio face, and a check that they leave nothing."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

import pyxen.aio
from pyxen import connection
from pyxen.aio.connection import Connecting
from pyxen.backends.base import Backend
from tests.unit.aio.fakehost import FakeBackend, run, undone
from tests.waiting import SECONDS

T = TypeVar("T")


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def connecting(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Connecting]:
    """Return `pyxen.aio.connect`, which finds the fake host."""

    def open_backend(uri: str, workers: int) -> Backend:  # noqa: ARG001 (as the real one)
        assert uri == "xenlight:///"
        backend.called()
        return backend

    monkeypatch.setattr(connection, "open_backend", open_backend)
    connect: Callable[[], Connecting] = pyxen.aio.connect
    return connect


@pytest.fixture
def on_host(
    backend: FakeBackend, connecting: Callable[[], Connecting]
) -> Callable[[Callable[[pyxen.aio.Host], Awaitable[T]]], T]:
    """Run a coroutine function with a host, which is closed afterwards."""

    def run_on_host(main: Callable[[pyxen.aio.Host], Awaitable[T]]) -> T:
        async def with_host() -> T:
            async with connecting() as host:
                try:
                    return await main(host)
                finally:  # closing would wait for what a failed test has left running
                    for operation in backend.operations:
                        if not operation.done():
                            undone(operation)

        return run(with_host())

    return run_on_host


@pytest.fixture(autouse=True)
def quiet_and_nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no test makes asyncio complain, and that no thread is left."""
    gc.freeze()  # what is there already need not be looked at again after each test
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name in {"asyncio", "concurrent.futures"}] == []
    end = time.monotonic() + SECONDS
    while any(thread.name.startswith("pyxen-aio") for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.001)
