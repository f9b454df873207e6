"""QMP with QEMUs that answer well, and with those that a guest has taken over."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen.aio
from pyxen import DomainNotFound, Host, HostClosed, InvalidArgument, InvalidState, OperationCancelled
from pyxen.config import DomainType
from pyxen.errors import OperationTimeout, QmpError, UnsupportedFeature
from pyxen.records.endpoints import SpiceEndpoint
from tests.offhost.host import OffHost, until
from tests.offhost.internals import let_qemus_say_all, spice_server
from tests.offhost.qemu import EVENT, GREETING, READY, Qemu, qemu_of, returned

WAIT = 0.3
PATIENT = 60.0
"""Seconds for a QEMU that answers, on a busy machine."""


def late_with_the_command(ask: Callable[[float], object]) -> OperationTimeout:
    """Return the error of a call whose time passes when QEMU has the command; on a busy machine that takes longer.

    Args:
        ask: Makes the call with so many seconds.
    """
    seconds = WAIT
    while True:
        with pytest.raises(OperationTimeout) as caught:
            ask(seconds)
        if "has not been given the command" not in str(caught.value) or seconds > PATIENT:
            return caught.value
        seconds *= 3


@pytest.fixture
def qemu(host: Host, offhost: OffHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qemu]:
    """A QEMU of a domain."""
    with qemu_of(host, offhost, tmp_path, monkeypatch) as qemu:
        yield qemu


def test_a_good_answer(qemu: Qemu) -> None:
    answer = {"status": "running", "numbers": [1, 2.5, None, True], "text": "ä" * 100_000}
    text = EVENT + returned(answer) + EVENT
    qemu.answers(*(text[at : at + 7000] for at in range(0, len(text), 7000)))
    qmp = qemu.domain.qmp
    assert qmp.execute("query-status") == answer
    assert qemu.heard == [
        {"execute": "qmp_capabilities", "id": "pyxen"},
        {"execute": "query-status", "id": "pyxen"},
    ]
    qmp.execute("blockdev-del", {"node-name": "a"}, other=[1], timeout=None)
    assert qemu.heard[-1]["arguments"] == {"node-name": "a", "other": [1]}


def test_an_awaited_answer(qemu: Qemu) -> None:
    async def main() -> Any:
        async with pyxen.aio.connect("xenlight:///") as xen:
            qmp = (await xen.domains[qemu.domain.domid]).qmp
            qemu.does(silent)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(qmp.execute("query-status"), WAIT)
            qemu.answers(returned({"status": "paused"}))
            return await qmp.execute("query-status", {"a": 1}, timeout=60)

    assert asyncio.run(main()) == {"status": "paused"}
    assert qemu.heard[-1]["arguments"] == {"a": 1}


def test_a_long_command(qemu: Qemu) -> None:
    qemu.answers(returned({}))
    qemu.domain.qmp.execute("ringbuf-write", data="x" * 2_000_000)
    assert len(qemu.heard[-1]["arguments"]["data"]) == 2_000_000


@pytest.mark.parametrize(
    ("error", "error_class", "description"),
    [
        ({"class": "CommandNotFound", "desc": "no such command"}, "CommandNotFound", "no such command"),
        ({"class": "GenericError", "desc": "\x1b[2J" + "x" * 10_000}, "GenericError", r"\x1b[2J" + "x" * 492 + "…"),
        ({}, None, None),
        ([], None, None),
        (None, None, None),
    ],
)
def test_a_refusal(qemu: Qemu, error: Any, error_class: str | None, description: str | None) -> None:
    qemu.answers(json.dumps({"error": error, "id": "pyxen"}).encode() + b"\n")
    with pytest.raises(QmpError, match="QEMU refuses query-status") as caught:
        qemu.domain.qmp.execute("query-status")
    assert (caught.value.error_class, caught.value.description) == (error_class, description)
    assert (caught.value.operation, caught.value.domid) == ("qmp", qemu.domain.domid)


@pytest.mark.parametrize(
    "part",
    [
        b"{]\n",
        b"\xff\xfe{}\n",
        b"7\n",
        b"[" * 100_000 + b"\n",
        b'{"return": NaN, "id": "pyxen"}\n',
        b'{"return": ' + b"9" * 10_000 + b', "id": "pyxen"}\n',
    ],
)
def test_nonsense(qemu: Qemu, part: bytes) -> None:
    qemu.answers(part)
    with pytest.raises(QmpError, match=r"makes no sense.*query-status may have been carried out") as caught:
        qemu.domain.qmp.execute("query-status")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("talk", [b"", GREETING, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_one_that_hangs_up(qemu: Qemu, talk: bytes) -> None:
    qemu.does(lambda client: client.sendall(talk))
    with pytest.raises(QmpError, match="makes no sense") as caught:
        qemu.domain.qmp.execute("query-status")
    assert "carried out" not in str(caught.value)


def flood(text: bytes) -> Callable[[socket.socket], None]:
    """Greet, be ready, and then send a text again and again."""

    def talk(client: socket.socket) -> None:
        client.sendall(GREETING + READY)
        while True:
            client.sendall(text)

    return talk


@pytest.mark.parametrize(
    ("text", "problem"),
    [(EVENT * 1000, "20000 messages"), (b"x" * 65536, "8 MiB"), (b"{}\n" * 20_000, "20000 messages")],
)
def test_one_that_does_not_stop(qemu: Qemu, text: bytes, problem: str) -> None:
    qemu.does(flood(text))
    with pytest.raises(QmpError, match=f"sends more than {problem}"):
        qemu.domain.qmp.execute("query-status")


def test_one_that_always_has_something_to_say_does_not_pass_the_deadline(
    qemu: Qemu, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_qemus_say_all(monkeypatch)
    qemu.does(flood(b"{}\n" * 20_000))
    late = late_with_the_command(lambda seconds: qemu.domain.qmp.execute("query-status", timeout=seconds))
    assert "may still carry out" in str(late)
    operation = host._backend.qmp(qemu.domain._ref, "query-status", {}, timeout=None)
    operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result(60)


def test_one_that_always_has_something_to_say_about_spice(
    qemu: Qemu, hvm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_qemus_say_all(monkeypatch)
    qemu.does(flood(b"{}\n" * 20_000))
    with pytest.raises(OperationTimeout, match="does it hang"):
        hvm(WAIT)


def silent(client: socket.socket) -> None:
    """Say nothing until the client hangs up."""
    while client.recv(4096):
        pass


def test_one_that_hangs(qemu: Qemu) -> None:
    qemu.does(silent)
    with pytest.raises(OperationTimeout, match="has not been given the command"):
        qemu.domain.qmp.execute("query-status", timeout=WAIT)
    qemu.answers()
    late = late_with_the_command(lambda seconds: qemu.domain.qmp.execute("query-status", timeout=seconds))
    assert "may still carry out" in str(late)
    qemu.answers(*[EVENT] * 3)
    with pytest.raises(OperationTimeout):
        qemu.domain.qmp.execute("query-status", timeout=WAIT)


def test_a_command_waits_for_other_clients(qemu: Qemu, tmp_path: Path) -> None:
    qemu.does(silent)
    path = str(tmp_path / f"qmp-libxenstat-{qemu.domain.domid}")
    others = []
    for _ in range(4):  # one is served, and the others fill the queue
        other = socket.socket(socket.AF_UNIX)
        other.setblocking(False)
        try:
            other.connect(path)
        except BlockingIOError:
            other.close()
        else:
            others.append(other)
    with pytest.raises(OperationTimeout, match="others use it"):
        qemu.domain.qmp.execute("system_reset", timeout=WAIT)
    qemu.answers(returned({}))
    with contextlib.ExitStack() as waiting:
        for other in others:
            waiting.callback(other.close)
        threading.Timer(WAIT, waiting.pop_all().close).start()
    assert qemu.domain.qmp.execute("query-status", timeout=60) == {}
    assert "system_reset" not in {command.get("execute") for command in qemu.heard}


def test_it_can_be_stopped(qemu: Qemu, host: Host) -> None:
    qemu.does(silent)
    operation = host._backend.qmp(qemu.domain._ref, "query-status", {}, timeout=None)
    time.sleep(0.1)
    operation.cancel()
    with pytest.raises(OperationCancelled):
        operation.result(60)
    operation = host._backend.qmp(qemu.domain._ref, "query-status", {}, timeout=None)
    host.close()
    with pytest.raises(OperationCancelled, match="closed"):
        operation.result(60)
    with pytest.raises(HostClosed):
        qemu.domain.qmp.execute("query-status")


@pytest.mark.usefixtures("qemu")
def test_what_is_not_there(host: Host, offhost: OffHost, tmp_path: Path) -> None:
    other = host.domains[offhost.add("other", kind="pv")]
    with pytest.raises(UnsupportedFeature, match="no QEMU"):
        other.qmp.execute("query-status")
    offhost.store.write(f"/local/domain/0/device-model/{other.domid}/state", "running")
    with pytest.raises(UnsupportedFeature, match="stub domain"):
        other.qmp.execute("query-status")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / f"qmp-libxenstat-{other.domid}"))
    dead.close()
    with pytest.raises(InvalidState, match="has it ended"):
        other.qmp.execute("query-status")
    offhost.world.remove(other.domid)
    until(lambda: other not in host.domains, "it does not go")
    with pytest.raises(DomainNotFound):
        other.qmp.execute("query-status")


def test_what_cannot_be_asked(qemu: Qemu) -> None:
    execute: Callable[..., Any] = qemu.domain.qmp.execute
    loop: list[Any] = []
    loop.append(loop)
    for arguments, keywords in (
        (("",), {}),
        ((None,), {}),
        (("a", 7), {}),
        (("a", {7: 8}), {}),
        (("a", {"b": 1}), {"b": 2}),
        (("a",), {"b": b"bytes"}),
        (("a",), {"b": float("nan")}),
        (("a",), {"b": loop}),
        (("a",), {"timeout": -1}),
    ):
        with pytest.raises(InvalidArgument):
            execute(*arguments, **keywords)
    assert qemu.heard == []


@pytest.fixture
def hvm(qemu: Qemu, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Ask the QEMU for its SPICE server, as for an HVM guest: the pretended host has none of these."""
    info = dataclasses.replace(qemu.domain.info(), type=DomainType.HVM)
    return lambda patience=PATIENT: spice_server(monkeypatch, info, patience=patience)


@pytest.mark.parametrize(
    ("answer", "endpoint"),
    [
        ({"enabled": False}, None),
        ({"enabled": True, "host": "*", "auth": "spice"}, None),
        (
            {"enabled": True, "host": "127.0.0.1", "port": 6000, "auth": "none"},
            SpiceEndpoint("127.0.0.1", 6000, None, needs_password=False),
        ),
        (
            {"enabled": True, "host": "*", "port": 0, "tls-port": 6001, "auth": "spice"},
            SpiceEndpoint(None, None, 6001, needs_password=True),
        ),
    ],
)
def test_a_spice_server(qemu: Qemu, hvm: Callable[..., Any], answer: Any, endpoint: SpiceEndpoint | None) -> None:
    qemu.answers(returned(answer))
    assert hvm() == endpoint
    assert qemu.heard[-1]["execute"] == "query-spice"


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"enabled": 1},
        {"enabled": True, "host": "a", "port": "6000"},
        {"enabled": True, "host": "a", "port": True},
        {"enabled": True, "host": "a", "port": 65536},
        {"enabled": True, "host": "\x1b[2J", "port": 6000},
        {"enabled": True, "host": "a" * 256, "port": 6000},
        {"enabled": True, "port": 6000},
    ],
)
def test_nonsense_about_spice(qemu: Qemu, hvm: Callable[..., Any], answer: Any) -> None:
    qemu.answers(returned(answer))
    with pytest.raises(QmpError, match="SPICE"):
        hvm()


def test_a_qemu_without_spice(qemu: Qemu, hvm: Callable[..., Any], tmp_path: Path) -> None:
    qemu.answers(b'{"error": {"class": "CommandNotFound", "desc": "no"}, "id": "pyxen"}\n')
    assert hvm() is None
    qemu.does(silent)
    with pytest.raises(OperationTimeout, match="does it hang"):
        hvm(WAIT)
    (tmp_path / f"qmp-libxenstat-{qemu.domain.domid}").unlink()
    assert hvm() is None
