"""Signal handlers that use a host while they interrupt a call to it, and Ctrl-C in the middle of a list."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

import pyxen
from pyxen import DomainConfig, DomainInfo
from pyxen.errors import HostClosed, OperationFailed
from tests.interrupts import interrupted
from tests.offhost.host import OffHost
from tests.offhost.world import Reason
from tests.waiting import join, until

Configure = Callable[..., DomainConfig]

QUERIES: Final[dict[str, Callable[[pyxen.Host], object]]] = {
    "list": lambda host: [(info.domid, info.name) for info in host.list()],
    "find": lambda host: host.domains["web"].info().name,
    "log": lambda host: host.log(),
    "topology": lambda host: host.topology(),
    "read": lambda host: host.xenstore.read("/local/domain/1/name"),
    "transaction": lambda host: host.xenstore.transaction(lambda nodes: nodes.read("/local/domain/1/name")),
}

CODE: Final = ("hypervisor.py", "turns.py", "xenstore/client.py", "xenstore/connection.py", "xenstore/names.py")


class Opened:
    """The queries of a host, opened again and again."""

    hypervisor: Any

    def open(self) -> None:
        # Importing it loads the extension, which must be that of the release.
        from pyxen.backends.xenlight.hypervisor import Hypervisor

        self.hypervisor = Hypervisor()

    def domains(self) -> list[DomainInfo]:
        found: list[DomainInfo] = self.hypervisor.domains()
        return found

    def read(self) -> object:
        return self.hypervisor.read("domid")

    def close(self) -> None:
        self.hypervisor.close()


@pytest.mark.parametrize("query", QUERIES)
def test_a_handler_interrupts_a_query_anywhere(offhost: OffHost, host: pyxen.Host, query: str) -> None:
    offhost.add("web", kind="pv")
    ask = QUERIES[query]
    expected = {name: other(host) for name, other in QUERIES.items()}
    others = [(name, other) for name, other in QUERIES.items() if name in {query, "list", "read"}]

    def handler() -> None:
        for name, other in others:
            assert other(host) == expected[name]

    calls = 0
    for call in interrupted(lambda: ask(host), handler, *CODE):
        assert call() == expected[query]
        calls += 1
    assert calls > 20


def test_a_real_signal_while_the_same_is_asked(offhost: OffHost, host: pyxen.Host) -> None:
    offhost.add("web", kind="pv")
    calls = 0

    def handler(*_: object) -> None:
        nonlocal calls
        assert len(host.list()) == 2
        assert host.xenstore.read("/local/domain/1/name") == "web"
        calls += 1
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # only now: handlers that interrupt each other would not end

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while calls < 100:
            assert len(host.list()) == 2
            assert host.xenstore.read("/local/domain/1/name") == "web"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_waits_for_an_operation_that_looks(
    host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation's own queries wait for the one that the handler has interrupted, and not for ever."""
    hypervisor = host._backend._hypervisor  # type: ignore[attr-defined]  # what is interrupted
    for turns in (hypervisor._at_xen, hypervisor._at_xenstore):
        monkeypatch.setattr(turns, "_longest", 0.2)
    web = host.create(config())
    with hypervisor._asking(), hypervisor._open():
        web.pause()
        web.rename("db")
        assert [info.name for info in host.list()] == ["Domain-0", "db"]
        web.destroy(timeout=30)
    assert len(host.list()) == 1


@pytest.mark.parametrize("query", ["list", "read"])
def test_a_handler_closes_the_host(offhost: OffHost, query: str) -> None:
    """What was interrupted ends with its result, or says that the host is closed; then all is closed."""
    offhost.add("web", kind="pv")
    opened, is_open = Opened(), list[bool]()
    ask: Callable[[], object] = opened.domains if query == "list" else opened.read
    for call in interrupted(ask, opened.close, "hypervisor.py", "turns.py"):
        opened.open()
        with contextlib.suppress(HostClosed):
            call()
        is_open.append(opened.hypervisor._xen.is_open)
    opened.close()  # the last was not interrupted
    assert len(is_open) > 20
    assert is_open.index(True) == len(is_open) - 1


def test_a_handler_begins_events_and_watches_while_one_is_begun(host: pyxen.Host) -> None:
    def begin() -> None:
        host.events().close()
        host.xenstore.watch("/tool").close()

    def handler() -> None:
        with contextlib.suppress(OperationFailed):  # in the few lines in which it would have to wait for itself
            begin()

    for call in interrupted(begin, handler, "watcher.py", "watches.py", "gate.py"):
        call()


def test_a_list_is_right_after_ctrl_c_in_one_that_made_room(offhost: OffHost) -> None:
    """Xen writes as many domains as it is asked for, whatever room there is."""
    for number in range(20):
        offhost.add(f"web{number}", kind="pv")

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    opened = Opened()
    for call in interrupted(opened.domains, ctrl_c, "hypervisor.py"):
        opened.open()
        with contextlib.suppress(KeyboardInterrupt):
            call()
        xen = opened.hypervisor._xen
        assert xen._at_once <= len(xen._buffer)
        assert len(opened.hypervisor.domains()) == 21
        opened.close()


@contextlib.contextmanager
def signalled(handler: Callable[..., object], operation: pyxen.Operation[None]) -> Iterator[None]:
    """Call a handler while this thread waits in the block: when it has stopped the operation, which does not end."""
    waiting = threading.get_ident()

    def send() -> None:
        until(lambda: operation.stopped is not None, "the operation is stopped")
        time.sleep(0.2)
        signal.pthread_kill(waiting, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        join(sender)
        signal.signal(signal.SIGALRM, before)


def suspending(offhost: OffHost, host: pyxen.Host) -> pyxen.Operation[None]:
    """Return a suspend of a guest that has taken the request and not yet obeyed: undoing that takes as long."""
    domid = offhost.add("web", kind="pv")
    operation = host.domains["web"].begin.suspend()
    until(lambda: offhost.store.read(f"/local/domain/{domid}/control/shutdown") == "suspend", "the guest is asked")
    offhost.guest(domid).store.write("control/shutdown", b"")
    return operation


def check_undone(operation: pyxen.Operation[None]) -> None:
    assert operation.done()
    assert "the host was closed; what it had begun was undone" in str(operation.exception(0))
    with pyxen.connect("xenlight:///") as other:
        assert other.domains["web"].info().is_running


def test_ctrl_c_in_a_close_that_is_called_again(offhost: OffHost) -> None:
    """What it was undoing goes on, and the next close waits for that."""

    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    host = pyxen.connect("xenlight:///")
    operation = suspending(offhost, host)
    with pytest.raises(KeyboardInterrupt), signalled(ctrl_c, operation):
        host.close()
    assert not operation.done()
    with pytest.raises(HostClosed):
        host.begin.create(DomainConfig("db", kernel="/k", memory=64))
    offhost.world.shut_down(1, Reason.SUSPEND)
    host.close()
    check_undone(operation)
    with pytest.raises(HostClosed):
        host.list()
    host.close()


def test_a_handler_closes_the_host_that_is_being_closed(offhost: OffHost) -> None:
    host = pyxen.connect("xenlight:///")
    operation = suspending(offhost, host)

    def handler(*_: object) -> None:
        host.close()  # it cannot wait for its own thread
        offhost.world.shut_down(1, Reason.SUSPEND)

    with signalled(handler, operation):
        host.close()
    check_undone(operation)
