"""Hosts and readers that nobody closed, and that are collected in the middle of something."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyxen.aio._calls import Calls
from pyxen.aio.readers.events import EventReader as AioEventReader
from pyxen.events import Event
from pyxen.host import Host
from pyxen.readers.events import EventReader


class Backend:
    """What a host needs to be made and let go of."""

    uri = "fake:///"
    completer = None

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.closed = threading.Event()

    def close(self) -> None:
        with self.lock:
            self.closed.set()

    def subscribe(self, on_event: object, on_end: object) -> Callable[[], None]:  # noqa: ARG002 (as Backend has it)
        return self.close


def test_who_collects_it_waits_for_nothing() -> None:
    backend: Any = Backend()
    host = Host(backend)
    with backend.lock, pytest.warns(ResourceWarning, match="<Host fake:///> was never closed"):  # under its own lock
        del host
    assert backend.closed.wait(10)


def test_who_collects_a_reader_waits_for_nothing() -> None:
    backend: Any = Backend()
    reader = EventReader[Event](backend, lambda _: True, 10)
    with backend.lock:
        del reader
    assert backend.closed.wait(10)


def test_who_collects_a_reader_for_asyncio_waits_for_nothing() -> None:
    backend: Any = Backend()

    async def main() -> None:
        reader = AioEventReader[Event](backend, Calls(), lambda _: True, 10, lambda _: None)
        async with asyncio.timeout(10):
            with contextlib.suppress(TimeoutError):
                await reader.get(timeout=0.01)
        with backend.lock:
            del reader

    asyncio.run(main())
    assert backend.closed.wait(10)
