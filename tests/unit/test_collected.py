"""Hosts and readers that nobody closed, and that are collected in the middle of something."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pyxen import DomainConfig
from pyxen.aio._calls import Calls
from pyxen.aio.readers.events import EventReader as AioEventReader
from pyxen.events import Event
from pyxen.host import Host
from pyxen.readers.events import EventReader
from pyxen.testing import FakeHost
from tests.waiting import SECONDS


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
    assert backend.closed.wait(SECONDS)


def test_who_collects_a_reader_waits_for_nothing() -> None:
    backend: Any = Backend()
    reader = EventReader[Event](backend, lambda _: True, 10)
    with backend.lock:
        del reader
    assert backend.closed.wait(SECONDS)


def test_who_collects_a_reader_for_asyncio_waits_for_nothing() -> None:
    backend: Any = Backend()

    async def main() -> None:
        reader = AioEventReader[Event](backend, Calls(), lambda _: True, 10, lambda _: None)
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(TimeoutError):
                await reader.get(timeout=0.01)
        with backend.lock:
            del reader

    asyncio.run(main())
    assert backend.closed.wait(SECONDS)


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_a_host_that_has_carried_out_operations_is_collected() -> None:
    fake = FakeHost()
    fake.create(DomainConfig("web1", kernel="/boot/vmlinuz", memory=64))
    thread, gone = fake._machine.engine.thread, weakref.ref(fake)
    assert thread is not None
    del fake
    end = time.monotonic() + 30
    while gone() is not None or thread.is_alive():  # its thread may still return from the last call
        assert time.monotonic() < end, "something keeps it"
        gc.collect()
        time.sleep(0.001)


def test_a_copy_is_the_thing_itself() -> None:
    with FakeHost() as host:
        domain = host.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        vm = host.vm(domain.uuid)
        with (
            host.events() as reader,
            host.pool(DomainConfig("ahead", type="pvh", kernel="/k", memory=16), size=1) as pool,
        ):
            for each in (host, domain, vm, reader, pool, domain.begin.pause()):
                assert copy.copy(each) is each
                assert copy.deepcopy(each) is each
        assert [each.name for each in host.guests] == ["web1"]


def test_what_belongs_to_a_process_is_not_pickled() -> None:
    with FakeHost() as host:
        domain = host.create(DomainConfig("web1", type="pvh", kernel="/k", memory=16))
        for each in (host, domain, host.apply(DomainConfig("web2", type="pvh", kernel="/k", memory=16))):
            with pytest.raises(TypeError, match="cannot be pickled: it belongs to a host that this process has open"):
                pickle.dumps(each)
