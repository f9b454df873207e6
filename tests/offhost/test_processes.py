"""Workers, forks and threads beside the real libxl: its locks are its own, and it forks to destroy."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen.errors import Error, HostClosed, OperationCancelled
from tests.forks import told_by_a_child
from tests.offhost.host import OffHost, until

Configure = Callable[..., DomainConfig]


def children() -> set[int]:
    """Return the pids of this process's children, whichever of its threads began them."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_lists_beside_destroys(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    domains = [host.create(config(name=f"web{number}", memory=8, shadow_memory=1)) for number in range(20)]
    done = threading.Event()
    lists = [0]

    def look() -> None:
        while not done.is_set():
            host.list()
            lists[0] += 1

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for domain in domains:
        domain.destroy(timeout=20)
    done.set()
    for thread in threads:
        thread.join(20)
    assert lists[0] > 0
    assert offhost.left() == []


def test_a_worker_that_is_killed(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    before = children()
    host.create(config()).destroy()
    [worker] = children() - before
    offhost.signal_xenstored(signal.SIGSTOP)  # so that it stays in the middle of it
    mark, world = offhost.world.mark(), offhost.world
    begun = host.begin.create(config())
    until(lambda: any(call.pid == worker for call in world.calls_since(mark)), "the worker does not begin")
    os.kill(worker, signal.SIGKILL)
    offhost.signal_xenstored(signal.SIGCONT)
    with pytest.raises(Error, match="worker process"):
        begun.result(20)
    assert offhost.left() == []
    host.create(config()).destroy()


def test_a_stopped_create_leaves_nothing(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    host.create(config()).destroy()
    offhost.signal_xenstored(signal.SIGSTOP)
    begun = host.begin.create(config())
    begun.cancel()
    offhost.signal_xenstored(signal.SIGCONT)
    with pytest.raises(OperationCancelled):
        begun.result(20)
    assert offhost.left() == []


def test_a_host_is_the_process_that_opened_it(host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    assert told_by_a_child([host.list, web.destroy]) == [HostClosed.__name__] * 2
    assert web.info().name == "web"
