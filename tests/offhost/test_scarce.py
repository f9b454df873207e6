"""Whichever request of pyxen's for a descriptor or a thread fails, with no other host open in this process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import pyxen
from pyxen import ConnectFailed, DomainConfig
from tests.offhost.host import OffHost
from tests.offhost.internals import without_loops
from tests.scarce import check_each_shortage
from tests.waiting import until

Configure = Callable[..., DomainConfig]


def test_a_host(offhost: OffHost, config: Configure) -> None:
    def act() -> None:
        with pyxen.connect("xenlight:///") as host, host.events(), host.xenstore.watch("/tool"):
            web = host.create(config(), timeout=20)
            try:
                with web.console_stream(timeout=20):
                    web.begin.wait("running", timeout=0.1).exception()
                host.stats()
                host.topology()
            finally:
                web.destroy(timeout=20)

    def works() -> None:
        with pyxen.connect("xenlight:///") as host:
            for domain in host.guests:  # its destroy had no thread
                domain.destroy(timeout=20)
            host.create(config(name="after"), timeout=20).destroy(timeout=20)

    assert check_each_shortage(act, works) > 8
    assert offhost.left() == []


def test_no_memory_for_the_event_loop(offhost: OffHost, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offhost.left() == []
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        without_loops(patch)
        with pytest.raises(ConnectFailed, match="memory"):
            pyxen.connect("xenlight:///", workers=0)
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "its descriptors are closed")
    with pyxen.connect("xenlight:///", workers=0) as host:
        assert len(host.list()) == 1
