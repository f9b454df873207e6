"""Ways to a host that do not lead there, and what of libvirt shows outside: nothing on stderr, no password."""

from __future__ import annotations

import gc
import logging
import socket
import subprocess
import sys
import threading
import weakref
from typing import Any

import libvirt
import pytest

import pyxen
from pyxen import ConnectFailed, DomainConfig, UnsupportedFeature, Vnc
from pyxen._common.shown_uri import redacted
from pyxen.backends.libvirt import connection, link
from pyxen.backends.libvirt.backend import LibvirtBackend
from pyxen.backends.libvirt.binding import open_connection
from pyxen.metrics import HostCollector
from tests.raising import handlers_that_raise
from tests.xen.support import wait_until


@pytest.mark.parametrize(
    ("uri", "error", "match"),
    [
        ("test:///nonesuch.xml", ConnectFailed, "no such file"),
        ("xen+tcp://root:secret@127.0.0.1:1/system", ConnectFailed, "refused"),
        ("xen+nonsense://host/system", UnsupportedFeature, "transport"),
        ("hyperv://host/", UnsupportedFeature, "hyperv"),
        ("nonsense:///system", UnsupportedFeature, "xen:///system"),
    ],
)
def test_no_way(uri: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        pyxen.connect(uri)
    assert "secret" not in str(caught.value)


def test_a_broken_file(tmp_path: object) -> None:
    file = f"{tmp_path}/node.xml"
    with open(file, "w") as out:
        out.write("<node><domain></node>")
    with pytest.raises(ConnectFailed):
        pyxen.connect(f"test://{file}")


def test_a_daemon_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LONGEST", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"xen+tcp://127.0.0.1:{silent.getsockname()[1]}/system"
        with pytest.raises(ConnectFailed, match="not answered for"):
            pyxen.connect(uri)


def test_a_log_handler_that_raises_when_the_link_breaks(uri: str) -> None:
    with handlers_that_raise():
        found = link.Link(uri, lambda _: None)
        found._break(found._main)
        wait_until(lambda: not found._broken)
        with found.look() as there:
            assert there.listAllDomains(0) == []
        found.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("xen+tcp://root:secret@host:16509/system", "xen+tcp://root:***@host:16509/system"),
        ("xen+ssh://root@host/system", "xen+ssh://root@host/system"),
        ("xen+ssh://host:22/system", "xen+ssh://host:22/system"),
        ("no word of hunter2 here", "no word of *** here"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text, ("hunter2",)) == shown


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)


FAILS = """
try:
    host.domains["test"].set_memory(99999999)
except pyxen.InvalidArgument as error:
    print(error)
"""


def test_nothing_is_printed() -> None:
    done = run(f"import pyxen\nwith pyxen.connect('test:///default') as host:\n{indented(FAILS)}")
    assert "cannot set memory" in done.stdout
    assert done.stderr == ""


def test_an_application_keeps_its_handler() -> None:
    program = "import libvirt\nlibvirt.registerErrorHandler(lambda _, error: print('heard', error[2]), None)\n"
    done = run(f"{program}import pyxen\nwith pyxen.connect('test:///default') as host:\n{indented(FAILS)}")
    assert "heard invalid argument: cannot set memory" in done.stdout
    assert done.stderr == ""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def test_a_process_that_closes_nothing_ends() -> None:
    program = "import pyxen, warnings\nwarnings.simplefilter('ignore')\nhost = pyxen.connect('test:///default')\n"
    done = run(f"{program}events = host.events()\nprint(len(host.list()))")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_password_in_a_configuration_is_not_shown(host: pyxen.Host) -> None:
    word = "hunter2"
    config = DomainConfig("web1", type="hvm", memory=64, vnc=Vnc(enable=True, passwd=word))
    domain = host.create(config)
    assert domain.config().vnc.passwd == word
    with pytest.raises(pyxen.DomainExists) as caught:
        host.create(config.replace(uuid=domain.uuid, name="web2"))
    assert word not in str(caught.value)


def test_a_child_of_a_fork_may_not_use_it() -> None:
    program = """
import os, pyxen
host = pyxen.connect("test:///default")
if os.fork() == 0:
    try:
        host.list()
    except pyxen.HostClosed as error:
        print("fork" in str(error), flush=True)
    os._exit(0)
os.wait()
host.close()
"""
    assert run(program).stdout == "True\n"


def test_no_secret_is_in_what_a_host_shows(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pyxen.connect(f"{uri}?word=s3cret") as host, HostCollector(f"{uri}?word=s3cret") as collector:
        assert host.uri == f"{uri}?word=***"
        list(collector.collect())
        supervisor = pyxen.Supervisor(host)
        supervisor.stop()
        supervisor.run()
        shown = [host, host.domains, host.libvirt, host.begin, supervisor, collector, HostCollector(host)]
        assert "s3cret" not in repr(shown)
    with pytest.raises(pyxen.HostClosed) as caught:
        host.list()
    assert "s3cret" not in f"{caught.value}{caplog.text}"


def test_what_libvirt_says_is_logged_without_secrets(host: pyxen.Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backend = host._backend
    assert isinstance(backend, LibvirtBackend)
    with (
        pytest.raises(pyxen.Error),
        backend._look("define", secrets=["hunter2"]) as connection,
    ):
        connection.defineXML("<domain hunter2>")
    with pytest.raises(pyxen.Error), backend._look("find") as connection:
        connection.storagePoolLookupByName("\x1b[2J xen://a:s3cret/@host")
    assert "libvirt error" in caplog.text
    assert r"\x1b[2J" in caplog.text
    assert [word for word in ("hunter2", "\x1b", "s3cret") if word in caplog.text] == []


class Slow:
    """A connection of which one call is not answered before it is told to."""

    def __init__(self, connection: Any, call: str, answered: threading.Event) -> None:
        self._connection = connection
        self._call = call
        self._answered = answered
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.called.append(name)
            if name == self._call:
                assert self._answered.wait(200)
            return getattr(self._connection, name)(*arguments)

        return call


def test_a_daemon_that_stops_just_after_the_opening(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LONGEST", 0.3)
    monkeypatch.setattr(connection, "is_in_this_process", lambda _: False)
    answered, opened = threading.Event(), []

    def open_slowly(uri: str) -> Any:
        opened.append(Slow(open_connection(uri), "registerCloseCallback", answered))
        return opened[0]

    monkeypatch.setattr(connection, "open_connection", open_slowly)
    try:
        with pytest.raises(ConnectFailed, match="not answered for"):
            pyxen.connect(uri)
        wait_until(lambda: bool(opened) and len(opened[0].called) > 1)
        assert opened[0].called == ["setKeepAlive", "registerCloseCallback"]  # only the first asks the daemon nothing
    finally:
        answered.set()
    wait_until(lambda: "close" in opened[0].called)


def test_a_daemon_that_does_not_answer_costs_one_attempt(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answered, attempts = threading.Event(), []
    monkeypatch.setattr(link, "_LONGEST_DELAY", 0.01)
    found = link.Link(uri, lambda _: None)

    def open_slowly(uri: str) -> Any:
        attempts.append(uri)
        assert answered.wait(200)
        return open_connection(uri)

    asked: list[object] = []
    real = connection.Opener.open

    def count(opener: connection.Opener) -> connection.Connected:
        asked.append(opener)
        return real(opener)

    monkeypatch.setattr(connection, "open_connection", open_slowly)
    monkeypatch.setattr(connection.Opener, "open", count)
    monkeypatch.setattr(connection, "_LONGEST", 0.01)
    try:
        found._break(found._main)
        wait_until(lambda: len(asked) > 3 and len(attempts) > 0)
        assert len(attempts) == 1
    finally:
        answered.set()
    wait_until(lambda: not found._broken)
    with found.look() as there:
        assert there.listAllDomains(0) == []
    found.close()


def test_a_link_that_breaks_again_while_it_comes_back(uri: str) -> None:
    seen: list[connection.Connected] = []

    def on_back(connected: connection.Connected) -> None:
        seen.append(connected)
        if len(seen) < 3:
            found._break(connected)  # as libvirt's loop does when it has closed

    found = link.Link(uri, on_back)
    found._break(found._main)
    wait_until(lambda: not found._broken)
    assert found._main is seen[2]
    found.close()


def test_a_host_closes_though_the_daemon_does_not_answer(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answered, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(link, "_TO_CLOSE", 0.1)
    host = pyxen.connect(uri)
    events = host.events()
    backend = host._backend
    assert isinstance(backend, LibvirtBackend)
    backend.subscribe(lambda _: None, ended.set)
    for name in ("domainEventDeregisterAny", "close"):
        real = getattr(libvirt.virConnect, name)

        def wait(*arguments: Any, real: Any = real) -> Any:
            assert answered.wait(200)
            return real(*arguments)

        monkeypatch.setattr(libvirt.virConnect, name, wait)
    closing = threading.Thread(target=host.close)
    closing.start()
    try:
        closing.join(60)
        assert not closing.is_alive()
        assert ended.is_set()
        with pytest.raises(pyxen.HostClosed):
            events.get(0)
    finally:
        answered.set()


def test_what_reads_events_keeps_no_broken_connection(uri: str) -> None:
    with pyxen.connect(uri) as host, host.events() as events:
        backend = host._backend
        assert isinstance(backend, LibvirtBackend)
        broken = weakref.ref(backend._link._main._connection)  # domains and callbacks keep it, too
        backend._link._break(backend._link._main)
        assert isinstance(events.get(60), pyxen.EventsLost)
        wait_until(lambda: broken() is None)


def test_a_host_that_was_closed_is_forgotten(uri: str) -> None:
    with pyxen.connect(uri) as host:
        host.list()
        closed = weakref.ref(host._backend)
    del host
    wait_until(lambda: (gc.collect(), closed())[1] is None)
