"""Workers, forks and threads beside the real libxl: its locks are its own, and it forks to destroy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen.errors import Error, HostClosed, OperationCancelled
from tests.forks import told_by_a_child
from tests.offhost.host import OffHost, until
from tests.offhost.store import SocketStore

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


def test_the_child_of_a_fork_waits_for_no_lock(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    hypervisor = host._backend._hypervisor  # type: ignore[attr-defined]  # whose lock another thread has
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with hypervisor._lock:
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    calls: list[Callable[[], object]] = [
        host.list,
        host.info,
        host.events,
        web.info,
        lambda: host.create(config()),
        web.destroy,
        host.close,
    ]
    assert told_by_a_child(calls) == ["HostClosed"] * 6 + ["None"]
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    web.destroy()
    assert offhost.left() == []


def test_a_guest_that_keeps_writing_delays_nobody(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    entry = f"/local/domain/{web.domid}/control/shutdown"
    hypervisor = host._backend._hypervisor  # type: ignore[attr-defined]  # what `suspend` takes its request back by
    over = threading.Event()

    def write() -> None:
        with SocketStore(offhost.socket) as store:
            while not over.is_set():
                store.write(entry, "suspend")

    thread = threading.Thread(target=write)
    thread.start()
    began = time.monotonic()
    hypervisor.replace(entry, "suspend", "")
    assert [info.domid for info in host.list()] == [0, web.domid]
    assert time.monotonic() - began < 10  # it went on for as long as the guest did
    over.set()
    thread.join(60)
    assert not thread.is_alive()
    web.destroy()
