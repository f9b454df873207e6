"""A xenstored that hangs for good: no verb waits for it without a bound."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import pyxen
from pyxen.errors import ConnectFailed, Error, OperationCancelled, OperationFailed
from tests.forks import told_by_a_child
from tests.offhost.host import OffHost, children, until
from tests.offhost.internals import after_the_check_of_answers, has_lifeline
from tests.offhost.sweep import VERBS, Configure, Sweep, bounded
from tests.offhost.test_kills import LASTING, works
from tests.offhost.world import How, Kind

QUIET = (
    *("pause", "unpause", "set_userdata", "userdata", "set_node_affinity", "topology", "orphans"),
    *("log", "follow_log", "set_parameters", "debug_keys", "update_config"),
)
"""Verbs that may need no answer of xenstored's."""

IN_THIS_PROCESS = ("unpause", "rename", "config", "attach a vif", "detach a disk", "create")
"""Verbs that are tried first: libxl waits in this process. The others are asked by ``make test-long``."""


CASES = [
    pytest.param(verb, workers, marks=() if verb in IN_THIS_PROCESS and workers == 0 else pytest.mark.long)
    for verb in LASTING
    for workers in (0, 1)
]
"""Verbs, each with a number of workers."""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("verb", "workers"), CASES)
def test_a_verb_ends(offhost: OffHost, config: Configure, verb: str, workers: int) -> None:
    sweep = Sweep(offhost, config, VERBS[verb], workers)
    with sweep.open():
        sweep.make()
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            found = bounded(lambda: VERBS[verb].act(sweep))()
            again = bounded(lambda: sweep.host.create(config(name="other"), timeout=2))()
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        assert not found.late, found.late
        assert isinstance(found.error, Error) or (verb in QUIET and found.error is None), found.error
        assert not again.late, again.late
        assert isinstance(again.error, Error)
        sweep.put_away()
        works(offhost, sweep.host, config(name="after"))


@pytest.mark.usefixtures("impatient")
def test_the_error_says_why(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    web.rename("shop")
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with pytest.raises(ConnectFailed, match="xenstored does not answer"):
            web.rename("web")
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert web.info().name in {"web", "shop"}
    web.destroy()
    assert offhost.left() == []


@pytest.mark.usefixtures("impatient")
def test_a_host_is_closed(offhost: OffHost, config: Configure) -> None:
    host = pyxen.connect("xenlight:///")
    host.create(config())
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        found = bounded(host.close)()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert not found.late, found.late
    with pyxen.connect("xenlight:///") as host:
        works(offhost, host, config(name="after"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("pause", [0, 1], ids=["while its worker starts", "while it waits"])
def test_who_serves_devices_can_be_stopped(offhost: OffHost, host: pyxen.Host, pause: float) -> None:
    before = children()
    served = host.begin.devd()
    until(lambda: children() != before, "no worker is started")
    time.sleep(pause)
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        served.cancel()
        assert isinstance(served.exception(30), OperationCancelled)
        assert children() == before
    finally:
        offhost.signal_xenstored(signal.SIGCONT)


def test_libxls_connection_is_known_whatever_descriptors_are_open(offhost: OffHost) -> None:  # noqa: ARG001 (must be there)
    missed = []
    with contextlib.ExitStack() as others:
        for more in range(32):
            with pyxen.connect("xenlight:///") as host:
                if not has_lifeline(host):
                    missed.append(more)
            others.callback(os.close, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    assert missed == []


def test_libxls_connections_are_known_when_many_threads_connect(offhost: OffHost) -> None:  # noqa: ARG001 (must be there)
    begin = threading.Barrier(4)

    def connect() -> list[bool]:
        begin.wait(60)
        found = []
        for _ in range(8):
            with pyxen.connect("xenlight:///") as host:
                host.xenstore.list("/")  # over a connection of its own
                found.append(has_lifeline(host))
        return found

    with ThreadPoolExecutor(4) as pool:
        begun = [pool.submit(connect) for _ in range(4)]
        assert [each.result(120) for each in begun] == [[True] * 8] * 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("more", [0, 3, 7])
def test_a_verb_ends_whatever_descriptors_are_open(offhost: OffHost, config: Configure, more: int) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(more):
            opened.callback(os.close, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        host = opened.enter_context(pyxen.connect("xenlight:///"))
        web = host.create(config())
        opened.callback(web.destroy)
        web.pause()
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            found = bounded(web.unpause)()
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        assert not found.late, found.late
        assert isinstance(found.error, ConnectFailed)
        assert "xenstored does not answer" in str(found.error)  # libxl, and not pyxen over its own connection


@pytest.mark.usefixtures("impatient")
def test_connecting_fails_and_holds_up_nobody(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        outcomes = [bounded(lambda: pyxen.connect("xenlight:///")) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            connecting = [pool.submit(outcome) for outcome in outcomes]
            others = [bounded(web.pause), bounded(lambda: told_by_a_child([os.getpid]))]
            assert [found.late for found in (outcome() for outcome in others)] == ["", ""]
            for found in (each.result() for each in connecting):
                assert not found.late, found.late
                assert isinstance(found.error, ConnectFailed), found.error
                assert "has not answered" in str(found.error)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    web.destroy()
    with pyxen.connect("xenlight:///") as other:
        works(offhost, other, config(name="after"))


@pytest.mark.usefixtures("impatient")
def test_it_hangs_when_libxl_connects(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = host.create(config())
    after_the_check_of_answers(monkeypatch, lambda: offhost.signal_xenstored(signal.SIGSTOP))
    try:
        found = bounded(lambda: pyxen.connect("xenlight:///"))()
        paused = bounded(web.pause)()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert not found.late, found.late
    assert isinstance(found.error, ConnectFailed), found.error
    assert "has not answered" in str(found.error)
    assert not paused.late, paused.late
    web.destroy()
    with pyxen.connect("xenlight:///") as other:
        works(offhost, other, config(name="after"))


@pytest.mark.usefixtures("impatient")
def test_it_hangs_when_libxl_connects_again(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = host.create(config())
    offhost.restart_xenstored()
    after_the_check_of_answers(monkeypatch, lambda: offhost.signal_xenstored(signal.SIGSTOP))
    try:
        found = bounded(web.unpause)()
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert not found.late, found.late
    assert found.error is None or isinstance(found.error, ConnectFailed), found.error
    works(offhost, host, config(name="after"))
    assert has_lifeline(host)


@pytest.mark.usefixtures("impatient")
def test_queries_of_many_threads_fail_together(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    host.list()
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(host.list) for _ in range(16)]
            begun = host.begin.create(config(), timeout=0.1)
            errors = [each.exception(60) for each in asked]
            assert isinstance(begun.exception(60), Error)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)
    assert {type(error) for error in errors} == {ConnectFailed}
    # Most did not wait for xenstored themselves, which would have taken as long again for each.
    assert sum("did not answer another thread" in str(error) for error in errors) > 8
    works(offhost, host, config(name="after"))


def test_what_only_xen_is_asked_does_not_wait_for_xenstored(offhost: OffHost, host: pyxen.Host) -> None:
    host.list()
    sent = offhost.world.count("xenstore.send")
    offhost.signal_xenstored(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool:
            listed = pool.submit(host.list)
            until(lambda: offhost.world.count("xenstore.send") > sent, "it does not ask")
            assert host.orphans() == ()
            assert host.topology().cpus
            assert not listed.done()
            offhost.signal_xenstored(signal.SIGCONT)
            assert listed.result(60)
    finally:
        offhost.signal_xenstored(signal.SIGCONT)


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_request_that_libxl_sends_half_holds_up_nobody(
    offhost: OffHost, host: pyxen.Host, config: Configure, nth: int
) -> None:
    """4.17's xenstored waits for the rest, as long as the connection is open; libxl has given it up."""
    web = host.create(config())
    web.rename("shop")
    with offhost.world.sweeping(Kind.REQUESTS, nth, errno.EIO, How.TEAR) as swept, contextlib.suppress(OperationFailed):
        web.rename("web")
    assert swept.pid == os.getpid()
    with pyxen.connect("xenlight:///") as other:
        assert other.domains[web.domid].info().domid == web.domid
    web.rename("again")
    assert web.info().name == "again"
    works(offhost, host, config(name="after"))
    assert has_lifeline(host)
