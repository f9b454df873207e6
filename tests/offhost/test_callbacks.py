"""Callbacks on the thread that makes libxl's calls: what would wait for that thread is refused there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

import pyxen
from pyxen import HostClosed, OperationCancelled
from tests.offhost.host import OffHost
from tests.offhost.sweep import Configure
from tests.waiting import until


def in_a_callback(domain: pyxen.Domain, *calls: Callable[[], object]) -> list[str]:
    """Make calls in a callback on libxl's thread, and return what each raises, in words."""
    raised: list[str] = []

    def callback(_: object) -> None:
        assert threading.current_thread().name == "pyxen-libxl"
        for call in calls:
            try:
                raised.append(f"nothing: {call()}")
            except BaseException as error:  # noqa: BLE001 (it is returned)
                raised.append(f"{type(error).__name__}: {error}")

    waiting = domain.begin.wait()
    waiting.add_done_callback(callback)
    waiting.cancel()
    until(lambda: len(raised) == len(calls), "the callback hangs")
    return raised


def test_what_waits_is_refused_before_anything_is_begun(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(), paused=True, timeout=20)
    before = offhost.left()
    pool = host.pool(config(name="ready"), size=1, timeout=20)
    raised = in_a_callback(
        web,
        lambda: host.create(config(name="shop"), timeout=20),
        web.destroy,
        lambda: web.attach(pyxen.Vif(bridge="xenbr0"), timeout=20),
        lambda: host.apply(config(name="shop")),
        lambda: host.cpupools.create("other"),
        lambda: pool.take("shop"),
        pool.close,
        host.close,
    )
    assert [words.partition("cannot wait here")[0] for words in raised] == ["RuntimeError: "] * 7 + [
        "RuntimeError: close: "
    ]
    pool.close()
    assert offhost.left() == before
    web.destroy(timeout=20)


@pytest.mark.usefixtures("offhost")
def test_a_host_that_was_not_closed_in_a_callback_is_closed_after_it(config: Configure) -> None:
    before, descriptors = threading.enumerate(), len(os.listdir("/proc/self/fd"))
    host = pyxen.connect("xenlight:///")
    web = host.create(config(), paused=True, timeout=20)
    (refused,) = in_a_callback(web, host.close)
    assert "the host stays open" in refused
    web.pause()
    told: list[bool] = []

    def close(_: object) -> None:
        host.close()
        told.append(True)

    waiting = web.begin.wait()
    waiting.add_done_callback(close)
    host.close()
    with pytest.raises(OperationCancelled):
        waiting.result(20)
    assert told == [True]
    for call in (host.list, web.info, web.destroy):
        with pytest.raises(HostClosed):
            call()
    until(lambda: set(threading.enumerate()) <= set(before), "the end of its threads")
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    with pyxen.connect("xenlight:///") as again:
        again.domains["web"].destroy(timeout=20)
