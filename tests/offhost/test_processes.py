"""Workers, forks and threads beside the real libxl: its locks are its own, and it forks to destroy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import Domain, DomainConfig
from pyxen.errors import Error, HostClosed, OperationCancelled, OperationFailed, OperationTimeout
from tests.forks import check_no_lock_is_waited_for, told_by_a_child
from tests.offhost.host import OffHost, children, until
from tests.offhost.internals import end_core_dumps
from tests.offhost.store import SocketStore
from tests.waiting import join

SOON = 60.0
"""Seconds within which a deadline of half a second is over, also on a busy machine."""

Configure = Callable[..., DomainConfig]


def test_lists_beside_destroys(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    domains = [host.create(config(name=f"web{number}", memory=8, shadow_memory=1)) for number in range(20)]
    done = threading.Event()
    lists = [0]

    def look() -> None:
        while not done.is_set():
            host.list()
            lists[0] += 1

    threads = [threading.Thread(target=look) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        until(lambda: lists[0] > 0, "no list ends", SOON)
        for domain in domains:
            domain.destroy(timeout=SOON)
    finally:
        done.set()
    for thread in threads:
        join(thread)
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


@pytest.mark.usefixtures("impatient")
def test_a_create_that_hangs_ends_at_its_deadline(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    others = children()
    host.create(config()).destroy()
    [worker] = children() - others
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with pytest.raises(OperationTimeout, match=f"worker process {worker} did not answer, and was killed"):
            host.create(config(), timeout=0.5)
        until(lambda: worker not in children(), "the worker stays", SOON)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert offhost.left() == []
    host.create(config()).destroy()


def create_and_stop_xenstored(
    offhost: OffHost, host: pyxen.Host, config: DomainConfig, seconds: float
) -> BaseException | None:
    """Begin a create, stop xenstored when Xen has the domain, and return how the create ended."""
    mark, world = offhost.world.mark(), offhost.world
    begun = host.begin.create(config, paused=True, timeout=seconds)

    def is_made() -> bool:
        return any(call.name == "domctl.createdomain" for call in world.calls_since(mark))

    until(lambda: begun.done() or is_made(), "no domain is made", SOON)
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        return begun.exception(2 * SOON)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)


@pytest.mark.usefixtures("impatient")
def test_a_create_that_hangs_later_says_what_is_left(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    host.create(config()).destroy()
    seconds = 1.0
    for _ in range(30):
        error = create_and_stop_xenstored(offhost, host, config(), seconds)
        if error is None:
            host.domains["web"].destroy()  # it was too fast
        elif "may be left" in str(error) or seconds > SOON:
            break
        else:
            seconds *= 2  # it was too slow: its time was over before xenstored was stopped
    assert isinstance(error, OperationTimeout)
    assert f"domain {error.domid} may be left: destroy it later" in str(error)
    [web] = [domain for domain in host.domains if domain.domid == error.domid]
    web.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_destroy_that_hangs_ends_at_its_deadline(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    host.create(config()).destroy()
    web = host.create(config())
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with pytest.raises(OperationTimeout, match="did not answer, as when xenstored hangs, and was killed"):
            web.destroy(timeout=0.5)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    web.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_who_shares_the_worker_that_hangs(offhost: OffHost, config: Configure) -> None:
    """What another operation's deadline has cut short is done again, or fails, when xenstored goes on."""
    with pyxen.connect(workers=1) as host:
        host.create(config()).destroy()
        first, second = host.create(config(name="first")), host.create(config(name="second"))
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            destroyed, created = second.begin.destroy(), host.begin.create(config(name="third"))
            with pytest.raises(OperationTimeout):
                first.destroy(timeout=2)  # it begins after the create, which asks xenstored, too
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        destroyed.result(SOON)
        with pytest.raises(OperationFailed, match="did not answer, and was killed"):
            created.result(SOON)
        first.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_worker_more_is_wanted_while_one_hangs(offhost: OffHost, config: Configure) -> None:
    """Work that waits for a worker to start, which cannot, ends at its deadline, and the rest is done in the end."""
    with pyxen.connect() as host:
        host.create(config()).destroy()
        first, second = host.create(config(name="first")), host.create(config(name="second"))
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            destroyed = second.begin.destroy()
            begin = time.monotonic()
            with pytest.raises(OperationTimeout):
                first.destroy(timeout=0.5)
            assert time.monotonic() - begin < SOON
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        destroyed.result(SOON)
        first.destroy(timeout=SOON)
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_host_is_closed_while_a_worker_hangs(offhost: OffHost, config: Configure) -> None:
    others, world = children(), offhost.world
    with pyxen.connect("xenlight:///") as host:
        host.create(config()).destroy()
        [worker] = children() - others
        offhost.signal_xenstored(signal.SIGSTOP)
        mark = world.mark()
        begun = host.begin.create(config())
        until(lambda: any(call.pid == worker for call in world.calls_since(mark)), "the worker does not begin")
    with pytest.raises(OperationCancelled, match="did not answer, and was killed"):
        begun.result(0)
    offhost.signal_xenstored(signal.SIGCONT)
    assert offhost.left() == []


@dataclass
class SlowDisk:
    """A call of `os` on certain paths that waits until it may go on."""

    waits: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def instead_of(self, monkeypatch: pytest.MonkeyPatch, call: str, part: str = "") -> Iterator[None]:
        """Let the call, on paths with this part, wait for as long as the context lasts."""
        real = getattr(os, call)

        def wait(first: Any, *others: Any, **named: Any) -> Any:
            if part in str(first):
                self.waits.set()
                assert self.goes_on.wait(4 * SOON)
            return real(first, *others, **named)

        with monkeypatch.context() as disk:
            disk.setattr(os, call, wait)
            try:
                yield
            finally:
                self.goes_on.set()


def check_others_go_on(disk: SlowDisk, other: Domain) -> None:
    """Check that deadlines pass and other operations end while the disk is slow."""
    assert disk.waits.wait(SOON)
    late = other.begin.shutdown(timeout=0.1)
    with pytest.raises(OperationTimeout):
        late.result(SOON)
    other.begin.pause().result(SOON)


@pytest.mark.parametrize("slow", ["open", "posix_fallocate", "fsync", "rename"])
def test_the_disk_of_a_save_holds_up_nothing_else(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    web, other = host.create(config()), host.create(config(name="other"))
    offhost.guest(web.domid).obey()
    disk = SlowDisk()
    with disk.instead_of(monkeypatch, slow, ".partial" if slow == "open" else ""):
        begun = web.begin.save(tmp_path / "save")
        check_others_go_on(disk, other)
        disk.goes_on.set()
        begun.result(60)
    assert [path.name for path in tmp_path.iterdir()] == ["save"]


@pytest.mark.parametrize("slow", ["open", "pread"])
def test_the_disk_of_a_restore_holds_up_nothing_else(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    web, other, disk = host.create(config()), host.create(config(name="other")), SlowDisk()
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "save", timeout=60)
    with disk.instead_of(monkeypatch, slow, str(tmp_path) if slow == "open" else ""):
        begun = host.begin.restore(tmp_path / "save", paused=True)
        check_others_go_on(disk, other)
        disk.goes_on.set()
        assert begun.result(60).name == "web"


def test_a_restore_that_is_cancelled_while_its_file_is_read(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, disk = host.create(config()), SlowDisk()
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "save", timeout=60)
    before = len(os.listdir("/proc/self/fd"))
    with disk.instead_of(monkeypatch, "open", str(tmp_path)):
        for seconds in (0.1, 1, 10, SOON):
            begun = host.begin.restore(tmp_path / "save", timeout=seconds)
            until(lambda begun=begun: disk.waits.is_set() or begun.done(), "it does not begin", 2 * SOON)  # type: ignore[misc]
            if disk.waits.is_set():
                break  # else its time was over before it had begun
        until(lambda: begun.stopped is not None, "the deadline does not pass", 2 * SOON)
        disk.goes_on.set()
        assert isinstance(begun.exception(SOON), OperationTimeout)
        assert disk.waits.is_set()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "a descriptor is left open", SOON)
    assert offhost.left() == []


def test_who_is_asked_whether_to_allow_a_domain_holds_up_nothing_else(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    web, other, asked = host.create(config()), host.create(config(name="other")), SlowDisk()
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "save", timeout=60)

    def allow(_: DomainConfig) -> bool:
        asked.waits.set()
        return asked.goes_on.wait(4 * SOON)

    begun = host.begin.restore(tmp_path / "save", paused=True, allow=allow)
    check_others_go_on(asked, other)
    asked.goes_on.set()
    assert begun.result(60).name == "web"


def test_a_save_that_is_cancelled_while_its_file_is_made(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, disk = host.create(config()), SlowDisk()
    with disk.instead_of(monkeypatch, "open", ".partial"):
        begun = web.begin.save(tmp_path / "save")
        assert disk.waits.wait(SOON)
        begun.cancel()
        disk.goes_on.set()
        assert isinstance(begun.exception(SOON), OperationCancelled)
    assert [*tmp_path.iterdir()] == []
    assert offhost.store.read(f"/local/domain/{web.domid}/control/shutdown") == ""  # it was not asked


@pytest.mark.parametrize(("slow", "code"), [("fsync", 0), ("rename", 0), ("unlink", -3)])
def test_the_disk_of_a_core_dump_holds_up_nothing_else(
    host: pyxen.Host, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str, code: int
) -> None:
    web, other, disk = host.create(config()), host.create(config(name="other")), SlowDisk()
    end_core_dumps(monkeypatch, code)
    with disk.instead_of(monkeypatch, slow):
        begun = web.begin.core_dump(tmp_path / "core")
        check_others_go_on(disk, other)
        disk.goes_on.set()
        error = begun.exception(SOON)
    assert [path.name for path in tmp_path.iterdir()] == ([] if code else ["core"])
    assert (error is None) is (code == 0)


def test_a_host_is_the_process_that_opened_it(host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    assert told_by_a_child([host.list, web.destroy]) == [HostClosed.__name__] * 2
    assert web.info().name == "web"


def test_the_child_of_a_fork_waits_for_no_lock(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    locks = check_no_lock_is_waited_for(
        host,
        web,
        config(name="db"),
        read=lambda: host.xenstore.read("/local/domain/0/name"),
        watch=lambda: host.xenstore.watch("/tool"),
    )
    owners = {name.split()[0] for name in locks}
    assert {"Closing", "EventLoop", "OwnThreads", "Turns"} <= owners
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
    try:
        began = time.monotonic()
        hypervisor.replace(entry, "suspend", "")
        assert [info.domid for info in host.list()] == [0, web.domid]
        assert time.monotonic() - began < SOON  # it went on for as long as the guest did
    finally:
        over.set()
    join(thread)
    web.destroy()
