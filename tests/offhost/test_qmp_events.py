"""Events of QEMUs that keep to their protocol, and of those that a guest has taken over."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import pyxen.aio
from pyxen import Host, HostClosed, InvalidArgument, InvalidState, QmpEvent
from pyxen.errors import DomainNotFound, OperationTimeout, QmpError, UnsupportedFeature
from tests.offhost.host import OffHost, until
from tests.offhost.internals import qmp_patience
from tests.offhost.qemu import EVENT, GREETING, READY, Qemu, qemu_of
from tests.offhost.test_qmp import late_with_the_command

WAIT = 0.3
SECONDS = 60

Sender = Callable[[socket.socket], None]


@pytest.fixture
def qemu(host: Host, offhost: OffHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qemu]:
    """A QEMU of a domain."""
    with qemu_of(host, offhost, tmp_path, monkeypatch) as qemu:
        yield qemu


def event(name: str, **data: Any) -> bytes:
    """Return an event as QEMU sends it."""
    return json.dumps({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}).encode() + b"\r\n"


def sends(qemu: Qemu, *parts: bytes, stay: bool = True) -> None:
    """Greet, be ready, send these, and answer each command with what it asked for."""

    def talk(client: socket.socket) -> None:
        client.sendall(GREETING)
        for line in client.makefile("rb"):
            asked = json.loads(line)
            qemu.heard.append(asked)
            if asked["execute"] == "fail":
                answer = {"error": {"class": "GenericError", "desc": "it does not like it"}}
            elif asked["execute"] == "hang":
                continue
            else:
                answer = {"return": asked.get("arguments", {})}
            client.sendall(json.dumps({**answer, "id": asked["id"]}).encode() + b"\r\n")
            if asked["execute"] == "qmp_capabilities":
                for part in parts:
                    client.sendall(part)
                if not stay:
                    return

    qemu.does(talk)


def test_events_come_in_order(qemu: Qemu) -> None:
    text = b"".join(event("RESET", number=number) for number in range(500)) + EVENT
    sends(qemu, *(text[at : at + 700] for at in range(0, len(text), 700)), stay=False)
    with qemu.domain.qmp.events() as events:
        first = next(events)
        assert first == QmpEvent("RESET", {"number": 0}, datetime.fromtimestamp(1, UTC).replace(microsecond=2))
        rest = list(events)
        assert [each.data["number"] for each in rest[:-1]] == [*range(1, 500)]
        assert (rest[-1].name, rest[-1].data) == ("RESUME", {})
        with pytest.raises(HostClosed, match="QEMU has ended"):
            events.get()


def test_only_those_that_are_wanted(qemu: Qemu) -> None:
    sends(qemu, event("STOP"), event("RESET"), event("STOP"), event("SHUTDOWN", guest=True))
    with qemu.domain.qmp.events("RESET", "SHUTDOWN", timeout=SECONDS) as events:
        assert [next(events).name, next(events).name] == ["RESET", "SHUTDOWN"]
        assert events.get(0) is None
        assert events.lost == 0


def test_awaited_events(qemu: Qemu) -> None:
    async def main() -> None:
        async with pyxen.aio.connect("xenlight:///") as xen:
            domain = await xen.domains[qemu.domain.domid]
            sends(qemu, event("RESET"))
            async with domain.qmp.events(timeout=SECONDS) as events:
                assert (await anext(events)).name == "RESET"
                assert await events.get(0.01) is None
                assert await domain.qmp.execute("echo", a=1) == {"a": 1}
                waiting = asyncio.create_task(events.get())
                await asyncio.sleep(0)
                await events.close()
                with pytest.raises(HostClosed):
                    await waiting
            with pytest.raises(OperationTimeout, match="goes on"):
                await anext(domain.qmp.events("NONE", timeout=WAIT))

    asyncio.run(main())


def test_commands_go_beside_the_events(qemu: Qemu) -> None:
    sends(qemu)
    qmp = qemu.domain.qmp
    with qmp.events() as events:
        assert qmp.execute("echo", text="x" * 1_000_000) == {"text": "x" * 1_000_000}
        with pytest.raises(QmpError, match="refuses fail: it does not like it") as caught:
            qmp.execute("fail")
        assert caught.value.error_class == "GenericError"
        late = late_with_the_command(lambda seconds: qmp.execute("hang", timeout=seconds))
        assert "may still carry out" in str(late)
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(qmp.execute("echo", n=n)["n"])) for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(answers) == [*range(20)]
        ends: list[Exception] = []

        def hang() -> None:
            try:
                qmp.execute("hang", timeout=SECONDS)
            except InvalidState as error:
                ends.append(error)

        heard = len(qemu.heard)
        thread = threading.Thread(target=hang)
        thread.start()
        until(lambda: len(qemu.heard) > heard, "the command does not come", SECONDS)
        with pytest.raises(InvalidState, match="read already"):
            qmp.events()
        events.close()
        thread.join(SECONDS)
        assert len(ends) == 1
    assert qmp.execute("echo", b=2) == {"b": 2}  # over a connection of its own


def test_more_than_anyone_reads(qemu: Qemu) -> None:
    sends(qemu, *[event("RESET")] * 100, event("LAST"))
    with qemu.domain.qmp.events(maxlen=10) as events:
        until(lambda: events.lost == 91, "they do not come", SECONDS)
        assert sum(event is not None for event in iter(lambda: events.get(0), None)) == 10


def test_a_qemu_that_does_not_stop(qemu: Qemu) -> None:
    def flood(client: socket.socket) -> None:
        client.sendall(GREETING)
        client.recv(4096)
        client.sendall(b'{"return": {}, "id": "pyxen"}\n')
        while True:
            client.sendall(event("RESET", text="x" * 1000) * 100)

    qemu.does(flood)
    before = os.times()
    with qemu.domain.qmp.events(maxlen=10) as events:
        until(lambda: events.lost > 5000, "it does not read on", SECONDS)  # more than what is read at once
        assert next(events).name == "RESET"
    assert os.times().user - before.user < SECONDS
    sends(qemu)
    assert qemu.domain.qmp.execute("echo") == {}


def test_a_qemu_that_sends_many_small_ones_is_read_slowly(qemu: Qemu) -> None:
    begun: list[float] = []

    def flood(client: socket.socket) -> None:
        client.sendall(GREETING)
        client.recv(4096)
        begun.append(time.monotonic())  # nothing of what follows has been read yet
        client.sendall(READY)
        while True:
            client.sendall(b'{"event":"A"}\n' * 1000)

    qemu.does(flood)
    with qemu.domain.qmp.events(maxlen=10) as events:
        # 5000 at once, and in each second that follows
        until(lambda: events.lost > 12_000, "it does not read on", SECONDS)
        assert time.monotonic() - begun[0] > 1
        assert next(events).name == "A"


@pytest.mark.parametrize(
    "part",
    [
        b"{]\n",
        b"\xff\xfe{}\n",
        b"7\n",
        b"[" * 100_000 + b"\n",
        b'{"event": 7}\n',
        b'{"event": "RESET", "data": 7}\n',
        b'{"event": "RESET", "timestamp": []}\n',
        b"half",
    ],
)
def test_nonsense(qemu: Qemu, part: bytes) -> None:
    sends(qemu, event("RESET"), part, stay=False)
    with qemu.domain.qmp.events() as events:
        assert next(events).name == "RESET"
        with pytest.raises(QmpError, match="makes no sense") as caught:
            next(events)
        assert len(str(caught.value)) < 1000
        with pytest.raises(QmpError):
            events.get()


@pytest.mark.parametrize(
    "stamp",
    [
        {},
        {"seconds": -1, "microseconds": -1},
        {"seconds": 10**30, "microseconds": 0},
        {"seconds": 1, "microseconds": 10**9},
        {"seconds": "1", "microseconds": True},
    ],
)
def test_a_time_that_is_not_known(qemu: Qemu, stamp: dict[str, Any]) -> None:
    sends(qemu, json.dumps({"event": "RESET", "timestamp": stamp}).encode() + b"\n")
    with qemu.domain.qmp.events() as events:
        assert next(events) == QmpEvent("RESET", {}, None)


def test_a_message_without_an_end(qemu: Qemu) -> None:
    def flood(client: socket.socket) -> None:
        client.sendall(GREETING)
        client.recv(4096)
        client.sendall(b'{"return": {}, "id": "pyxen"}\n')
        while True:
            client.sendall(b"x" * 65536)

    qemu.does(flood)
    with qemu.domain.qmp.events() as events, pytest.raises(QmpError, match="more than 8 MiB"):
        next(events)


def silent(client: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    while client.recv(4096):
        pass


def test_a_qemu_that_hangs(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu.does(silent)
    with monkeypatch.context() as patch:
        qmp_patience(patch, WAIT)
        with pytest.raises(OperationTimeout):
            qemu.domain.qmp.events()
    sends(qemu)
    with qemu.domain.qmp.events(timeout=WAIT) as events, pytest.raises(OperationTimeout, match="goes on"):
        next(events)


def test_the_host_is_closed(qemu: Qemu, host: Host) -> None:
    sends(qemu)
    events = qemu.domain.qmp.events()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(events))
    thread.start()
    host.close()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert found == []
    events.close()
    with pytest.raises(HostClosed):
        qemu.domain.qmp.events()


def test_a_reader_that_is_forgotten_is_closed(qemu: Qemu) -> None:
    sends(qemu)
    qemu.domain.qmp.events().get(0)
    until(lambda: all(thread.name != "pyxen-qmp" for thread in threading.enumerate()), "it goes on", SECONDS)
    assert qemu.domain.qmp.execute("echo") == {}


@pytest.mark.usefixtures("qemu")
def test_what_is_not_there(host: Host, offhost: OffHost) -> None:
    other = host.domains[offhost.add("other", kind="pv")]
    with pytest.raises(UnsupportedFeature, match="no QEMU"):
        other.qmp.events()
    offhost.world.remove(other.domid)
    until(lambda: other not in host.domains, "it does not go")
    with pytest.raises(DomainNotFound):
        other.qmp.events()


def test_what_cannot_be_asked(qemu: Qemu) -> None:
    events: Callable[..., Any] = qemu.domain.qmp.events
    for names, keywords in (
        ((7,), {}),
        (("",), {}),
        ((), {"maxlen": 0}),
        ((), {"maxlen": True}),
        ((), {"timeout": -1}),
    ):
        with pytest.raises(InvalidArgument):
            events(*names, **keywords)
    assert qemu.heard == []
