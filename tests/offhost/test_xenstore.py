"""The client of xenstore against a real xenstored: what it answers, and what happens when it hangs or ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import pyxen
from pyxen import (
    ConnectFailed,
    DomainNotFound,
    InvalidArgument,
    NodeChange,
    NodeNotFound,
    NodePermissions,
    Xenstore,
    XenstoreConflict,
    XenstoreTransaction,
)
from pyxen.backends.xenlight.xenstore import connection
from pyxen.testing import FakeHost
from tests.forks import told_by_a_child
from tests.offhost.host import OffHost
from tests.waiting import SECONDS, until

TOP = "/tool/test"


@pytest.fixture
def store(host: pyxen.Host) -> Xenstore:
    """The store as pyxen sees it."""
    return host.xenstore


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a xenstored that does not answer sooner than in real life."""
    monkeypatch.setattr(connection, "PATIENCE", 0.3)


def answers(store: Xenstore) -> bool:
    """Tell whether xenstored answers."""
    with contextlib.suppress(ConnectFailed):
        store.read("/")
        return True
    return False


# What others see


def test_others_see_what_is_written(offhost: OffHost, store: Xenstore) -> None:
    store.write(f"{TOP}/a", b"\xffblue")
    assert offhost.store.read(f"{TOP}/a").encode(errors="surrogateescape") == b"\xffblue"
    store.mkdir(f"{TOP}/b")
    assert offhost.store.directory(TOP) == ["a", "b"]
    domid = offhost.add("web")
    store.set_permissions(TOP, NodePermissions(domid, "read", {0: "both", domid + 1: "write"}))
    assert offhost.store.permissions(TOP) == [f"r{domid}", "b0", f"w{domid + 1}"]
    offhost.store.permit(TOP, "n0", "r3", "w3", "b4")
    assert store.permissions(TOP) == NodePermissions(0, "none", {3: "read", 4: "both"})
    store.remove(TOP)
    assert not offhost.store.exists(TOP)


def test_what_a_guest_writes(offhost: OffHost, store: Xenstore) -> None:
    guest = offhost.guest(offhost.add("web"))
    path = f"/local/domain/{guest.domid}/data"
    with store.watch(path) as watch:
        assert watch.get(SECONDS) == NodeChange(path, path)
        guest.store.write("data/report", b"\xff\0\xfe")
        assert watch.get(SECONDS) == NodeChange(f"{path}/report", path)
    assert store.read_bytes(f"{path}/report") == b"\xff\0\xfe"
    store.write(f"{path}/report", store.read(f"{path}/report"))
    assert guest.store.read("data/report").encode(errors="surrogateescape") == b"\xff\0\xfe"


def test_a_guest_that_meddles_with_a_transaction(offhost: OffHost, store: Xenstore) -> None:
    guest = offhost.guest(offhost.add("web"))
    path = f"/local/domain/{guest.domid}/data/count"
    calls = []

    def add(transaction: XenstoreTransaction) -> None:
        calls.append(transaction.exists(path))
        if len(calls) < 3:
            guest.store.write("data/count", str(len(calls)))
        transaction.write(path, "mine")

    store.transaction(add)
    assert calls == [False, True, True]
    assert guest.store.read("data/count") == "mine"


# The same as in memory


def _script(store: Xenstore) -> Iterator[object]:
    """Do much, some of it wrong, and yield what comes of it."""
    texts = ["/a", "/a/b/c", "a", "a/b", "domid", "/", "/local", "/none/below", "/a/b"]
    for path in texts:
        for call in (store.read_bytes, store.list, store.exists, store.permissions, store.mkdir, store.list):
            yield _outcome(partial(call, path))
    for path in texts:
        below = f"{path}/below".replace("//", "/")
        yield _outcome(partial(store.write, path, path))
        for permissions in (NodePermissions(0, "read"), NodePermissions(7), NodePermissions(0, "none", {9: "both"})):
            yield _outcome(partial(store.set_permissions, path, permissions))
        yield _outcome(partial(store.mkdir, below))
        yield _outcome(partial(store.permissions, below))
    for path in ("/a/b", "/a", "/nowhere/x", "a/b/c"):
        yield _outcome(partial(store.remove, path))
        yield _outcome(partial(store.list, "/"))
    store.set_permissions("/", NodePermissions(0))


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except pyxen.Error as error:
        return type(error), error.message


def test_a_host_in_memory_answers_the_same(store: Xenstore) -> None:
    with FakeHost() as fake:
        for path in ("/vm", "/libxl"):  # which libxl makes with the first domain
            fake.xenstore.remove(path)
        ours, theirs = [*_script(fake.xenstore)], [*_script(store)]
    assert len(ours) > 100
    for one, other in zip(ours, theirs, strict=True):
        assert _without_order(one) == _without_order(other)


def _without_order(outcome: object) -> object:
    """Return an outcome, without what xenstored alone has in a folder."""
    if isinstance(outcome, list):
        return {name for name in outcome if name not in {"memory", "xenstored", "pool"}}
    return outcome


# xenstored hangs, ends, comes back


@pytest.mark.usefixtures("impatient")
def test_a_xenstored_that_hangs(offhost: OffHost, store: Xenstore, monkeypatch: pytest.MonkeyPatch) -> None:
    offhost.store.write(TOP, "1")
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        calls = (
            lambda: store.read(TOP),
            lambda: store.write(TOP, "2"),
            lambda: store.list("/"),
            lambda: store.transaction(lambda _: None),
            lambda: store.watch(TOP),
        )
        for call in calls:
            with pytest.raises(ConnectFailed, match="has not answered"):
                call()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    monkeypatch.undo()  # from now on it has its time, over connections that are opened anew
    until(lambda: answers(store), "it answers again")
    assert store.read(TOP) in {"1", "2"}
    with store.watch(TOP) as watch:
        assert watch.get(SECONDS) == NodeChange(TOP, TOP)


@pytest.mark.usefixtures("impatient")
def test_many_watches_that_begin_while_xenstored_hangs(offhost: OffHost, store: Xenstore) -> None:
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            for begun in [pool.submit(store.watch, f"{TOP}/{number}") for number in range(8)]:
                assert isinstance(begun.exception(SECONDS), ConnectFailed)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)


def test_threads_that_ask_while_xenstored_hangs_fail_together(
    offhost: OffHost, store: Xenstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 2.0)  # within it, all of them have begun to wait
    store.write(TOP, "1")
    together = threading.Barrier(16)

    def ask() -> None:
        together.wait(SECONDS)
        store.read(TOP)

    mark = offhost.world.mark()
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(ask) for _ in range(16)]
            assert {type(each.exception(SECONDS)) for each in asked} == {ConnectFailed}
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    calls = [call for call in offhost.world.calls_since(mark) if call.pid == os.getpid()]  # xenconsoled asks, too
    # Most did not ask again, which would have taken as long.
    assert sum(call.name == "xenstore.send" for call in calls) < 8
    monkeypatch.undo()
    until(lambda: answers(store), "it answers again")
    assert store.read(TOP) == "1"


def test_a_watch_outlives_a_restart(offhost: OffHost, store: Xenstore, caplog: pytest.LogCaptureFixture) -> None:
    with store.watch(TOP, "@releaseDomain") as watch, store.watch(f"{TOP}/b") as other:
        assert {watch.get(SECONDS), watch.get(SECONDS)} == {
            NodeChange(TOP, TOP),
            NodeChange("@releaseDomain", "@releaseDomain"),
        }
        assert other.get(SECONDS) == NodeChange(f"{TOP}/b", f"{TOP}/b")
        offhost.signal_xenstored(signal.SIGKILL)
        until(lambda: "watches of xenstore are interrupted" in caplog.text, "it sees that xenstored ended")
        with pytest.raises(ConnectFailed):
            store.read("/")
        with pytest.raises(ConnectFailed):
            store.watch(TOP)
        offhost.restart_xenstored()
        found = {watch.get(SECONDS), watch.get(SECONDS)}
        assert found == {NodeChange(TOP, TOP, lost=True), NodeChange("@releaseDomain", "@releaseDomain", lost=True)}
        assert other.get(SECONDS) == NodeChange(f"{TOP}/b", f"{TOP}/b", lost=True)
        store.write(f"{TOP}/b", "1")
        assert watch.get(SECONDS) == NodeChange(f"{TOP}/b", TOP)
        assert other.get(SECONDS) == NodeChange(f"{TOP}/b", f"{TOP}/b")
    assert caplog.text.count("interrupted") == 1


def test_calls_after_a_restart(offhost: OffHost, store: Xenstore) -> None:
    store.write(TOP, "1")
    offhost.restart_xenstored()
    store.write(f"{TOP}/a", "2")
    assert store.list(TOP) == ["a"]
    assert store.transaction(lambda transaction: transaction.read(f"{TOP}/a")) == "2"


def test_a_transaction_during_which_xenstored_is_restarted(offhost: OffHost, store: Xenstore) -> None:
    def change(transaction: XenstoreTransaction) -> None:
        transaction.write(f"{TOP}/a", "1")
        offhost.restart_xenstored()
        store.write(f"{TOP}/b", "1")  # over a new connection, where another transaction may have the same number
        transaction.write(f"{TOP}/c", "1")

    with pytest.raises(ConnectFailed, match="during the transaction"):
        store.transaction(change)
    assert store.list(TOP) == ["b"]


# Limits


def test_one_cannot_disturb_pyxens_own_connections(offhost: OffHost, host: pyxen.Host) -> None:
    """Transactions that are open and watches that nobody reads hinder neither lists nor events."""
    name = f"/local/domain/{offhost.add('web')}/name"
    with host.xenstore.watch("/", maxlen=1) as unread, host.events(pyxen.DomainRenamed) as events:

        def change(transaction: XenstoreTransaction) -> None:
            transaction.write(name, "mine")
            assert [info.name for info in host.list()] == ["Domain-0", "web"]
            offhost.store.write(f"{TOP}/a", "1")

        host.xenstore.transaction(change)
        event = events.get(SECONDS)
        assert event is not None
        assert event.name == "mine"
        assert [info.name for info in host.list()] == ["Domain-0", "mine"]
        until(lambda: "2 to read" in repr(unread), "it is told")


def test_a_path_that_this_xenstored_refuses(offhost: OffHost, store: Xenstore) -> None:
    path = "/" + "a" * 3000
    if offhost.release.name == "4.17":
        with pytest.raises(InvalidArgument, match="does not accept"):
            store.write(path, "1")
    else:
        store.write(path, "1")
        assert store.read(path) == "1"


def test_an_owner_that_does_not_exist(store: Xenstore) -> None:
    with pytest.raises(NodeNotFound):
        store.set_permissions(TOP, NodePermissions(5))
    store.mkdir(TOP)
    with pytest.raises(DomainNotFound, match="domain 5"):
        store.set_permissions(TOP, NodePermissions(5))


def test_a_conflict_leaves_no_transaction_behind(store: Xenstore) -> None:
    store.write(TOP, "1")

    def change(transaction: XenstoreTransaction) -> None:
        store.write(TOP, transaction.read(TOP) + "1")
        transaction.write(TOP, "mine")

    for _ in range(30):  # xenstored allows a connection a few transactions at a time
        with pytest.raises(XenstoreConflict):
            store.transaction(change, tries=2)
        with pytest.raises(ZeroDivisionError):
            store.transaction(lambda transaction: [transaction.read(TOP), 1 / 0])
    assert store.read(TOP) == "1" * 61


# Processes and threads


def test_a_child_of_a_fork_is_refused(store: Xenstore) -> None:
    watch = store.watch(TOP)
    watch.get(SECONDS)

    calls = (lambda: store.read("/"), lambda: store.watch(TOP), lambda: watch.get(0), watch.close)
    assert told_by_a_child(calls) == ["HostClosed", "HostClosed", "HostClosed", "None"]
    store.write(TOP, "1")
    assert watch.get(SECONDS) == NodeChange(TOP, TOP)
    watch.close()


def test_nothing_is_left_of_a_host_that_was_closed(offhost: OffHost) -> None:
    with pyxen.connect("xenlight:///") as host:
        host.xenstore.read("domid")  # what is opened once stays
        with host.xenstore.watch(TOP) as watch:
            watch.get(SECONDS)
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        with pyxen.connect("xenlight:///") as host:
            host.xenstore.write(TOP, "1")
            host.xenstore.watch(TOP).get(SECONDS)
            with host.xenstore.watch(TOP) as watch:
                watch.get(SECONDS)
        host.close()
    until(lambda: threading.active_count() <= threads, "its threads end")
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "its descriptors are closed")
    assert offhost.store.exists(TOP)


def test_the_connection_ends_with_the_last_watch(host: pyxen.Host) -> None:
    def watching() -> bool:
        return any(thread.name == "pyxen-xenstore" for thread in threading.enumerate())

    for _ in range(3):
        first, second = host.xenstore.watch(TOP), host.xenstore.watch(TOP)
        first.close()
        assert second.get(SECONDS) == NodeChange(TOP, TOP)
        assert watching()
        second.close()
        until(lambda: not watching(), "its thread ends")
