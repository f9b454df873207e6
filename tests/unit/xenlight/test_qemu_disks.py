"""Counters of disks as QEMUs tell them: those that answer well, and those that do not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen.backends.xenlight.operations import qemu_disks as module
from pyxen.backends.xenlight.operations.qemu_disks import Counters, qemu_disks
from tests.waiting import join

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
READY = b'{"return": {}}\r\n'
COUNTERS = Counters(30, 1191936, 1, 40960, 2, 3, 512)

Behaviour = Callable[[socket.socket], None]


def stats(counters: Counters = COUNTERS, **others: Any) -> dict[str, Any]:
    """Return counters as QEMU writes them."""
    values = dict(zip(module._NAMES, counters, strict=True))
    return {**values, "wr_highest_offset": 40960, "timed_stats": [], "account_failed": True, **others}


def answer(*entries: Any) -> bytes:
    """Return the answer to the question about the disks."""
    return json.dumps({"return": entries, "id": "pyxen-blockstats"}).encode() + b"\r\n"


def says(*parts: bytes) -> Behaviour:
    """Return a QEMU that sends this, and then nothing more until it is left alone."""

    def talk(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        while connection.recv(4096):
            pass

    return talk


@pytest.fixture
def qemus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, Behaviour], None]]:
    """Start the QEMU of a domain, of which a test says how it behaves."""
    monkeypatch.setattr(module, "SOCKETS", tmp_path)
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    servers: list[tuple[socket.socket, threading.Thread]] = []

    def start(domid: int, talk: Behaviour) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / f"qmp-libxenstat-{domid}"))
        server.listen(1)

        def serve() -> None:
            try:
                connection, _ = server.accept()
                with connection:
                    talk(connection)
            except OSError:
                pass  # the asker hung up

        thread = threading.Thread(target=serve)
        thread.start()
        servers.append((server, thread))

    yield start
    for server, thread in servers:
        server.shutdown(socket.SHUT_RDWR)
        join(thread)
        server.close()


@pytest.fixture
def impatient(qemus: object, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 (it comes first, and is patient)
    """Wait only a moment for what does not come."""
    monkeypatch.setattr(module, "PATIENCE", 0.5)


def test_a_good_answer(qemus: Callable[[int, Behaviour], None]) -> None:
    entries = [
        {"device": "", "node-name": "xvdb-raw", "qdev": "/machine/unattached/device[2]", "stats": stats()},
        {"device": "ide0-hd0", "node-name": "#block138", "stats": stats(Counters(*[7] * 7))},
    ]
    text = GREETING + READY + b'{"event": "RESUME", "data": {}}\r\n' + answer(*entries)
    qemus(3, says(*(text[at : at + 100] for at in range(0, len(text), 100))))
    (disks,) = qemu_disks([3]).values()
    assert disks.counters("xvdb", 51728) == COUNTERS
    assert disks.counters("hda", 768) == Counters(*[7] * 7)
    assert disks.counters("xvda", 51712) == Counters(*[7] * 7)  # the first disk is emulated, whatever its name
    assert disks.counters("xvdc", 51744) is None


def test_what_is_asked(qemus: Callable[[int, Behaviour], None]) -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        asked.append(connection.recv(4096))
        connection.sendall(READY + answer())

    qemus(3, talk)
    assert qemu_disks([3])[3].counters("xvda", 51712) is None
    assert [json.loads(line)["execute"] for line in asked[0].splitlines()] == ["qmp_capabilities", "query-blockstats"]


@pytest.mark.parametrize(
    ("device", "node", "vdev", "devid"),
    [
        ("", "xvdb-qcow2", "xvdb", 51728),
        ("", "d1p0-raw", "d1p0", 51728),
        ("", "xvdaa-raw", "xvdaa", 1 << 28 | 26 << 8),
        ("ide0-hd1", "#block1", "xvdb", 51728),
        ("ide0-hd1", "#block1", "hdb", 832),
        ("ide1-hd0", "#block1", "hdc", 5632),
        ("ide1-cd1", "#block1", "hdd", 5696),
        ("ide-5632", "#block1", "hdc", 5632),
        ("scsi0-hd2", "#block1", "sdc", 2080),
        ("ahcidisk-1", "#block1", "hdb", 832),
    ],
)
def test_names(qemus: Callable[[int, Behaviour], None], device: str, node: str, vdev: str, devid: int) -> None:
    qemus(3, says(GREETING, READY, answer({"device": device, "node-name": node, "stats": stats()})))
    disks = qemu_disks([3])[3]
    assert disks.counters(vdev, devid) == COUNTERS
    assert disks.counters("xvdz", 202 << 8 | 1 << 28) is None


def test_one_disk_in_two_ways(qemus: Callable[[int, Behaviour], None]) -> None:
    """A guest boots from the emulated device, and goes on with the PV device."""
    entries = [{"device": "ide0-hd0", "stats": stats()}, {"device": "", "node-name": "hda-raw", "stats": stats()}]
    qemus(3, says(GREETING, READY, answer(*entries)))
    assert qemu_disks([3])[3].counters("hda", 768) == Counters(*(2 * value for value in COUNTERS))


BAD: dict[str, Behaviour] = {
    "nothing": says(),
    "only a greeting": says(GREETING),
    "an end": lambda _: None,
    "an end in the middle": lambda connection: connection.sendall(GREETING + READY + answer()[:-10]),
    "a refusal": says(GREETING, READY, b'{"id": "pyxen-blockstats", "error": {"class": "CommandNotFound"}}\n'),
    "no JSON": says(GREETING, READY, b"pyxen-blockstats\n"),
    "another shape": says(b'["pyxen-blockstats"]\n'),
    "another id": says(b'{"return": [], "id": ["pyxen-blockstats"]}\n'),
    "depths": says(b'{"id": "pyxen-blockstats", "return": ' + b"[" * 100_000 + b"\n"),
    "a huge number": says(b'{"id": "pyxen-blockstats", "return": ' + b"9" * 10_000 + b"}\n"),
    "no end of a line": says(*[b"pyxen-blockstats" * 4096] * 40),
    "no end of lines": says(*[READY * 4096] * 40),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("behaviour", BAD.values(), ids=BAD.keys())
def test_a_bad_answer(qemus: Callable[[int, Behaviour], None], behaviour: Behaviour) -> None:
    qemus(3, behaviour)
    assert qemu_disks([3]) == {}


@pytest.mark.parametrize("value", [-1, 1.5, True, None, "7", [], 2**63, float("nan")])
def test_a_counter_that_is_not_valid(qemus: Callable[[int, Behaviour], None], value: object) -> None:
    entries = [
        {"device": "", "node-name": "xvda-raw", "stats": stats(rd_bytes=value)},
        {"device": "", "node-name": "xvdb-raw", "stats": stats()},
        {"device": "", "node-name": "xvdc-raw", "stats": value},
        value,
    ]
    qemus(3, says(GREETING, READY, answer(*entries)))
    disks = qemu_disks([3])[3]
    assert disks.counters("xvda", 51712) is None
    assert disks.counters("xvdb", 51728) == COUNTERS


def test_those_that_hang_do_not_hold_up_the_others(
    qemus: Callable[[int, Behaviour], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    answered: list[socket.socket] = []
    all_others = threading.Event()

    def answers(connection: socket.socket) -> None:
        connection.sendall(GREETING + READY + answer())
        answered.append(connection)
        if len(answered) == 6:
            all_others.set()

    def hangs(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        assert all_others.wait(60)

    for domid in range(1, 9):
        qemus(domid, answers if domid % 4 else hangs)
    assert qemu_disks(range(1, 10)).keys() == {1, 2, 3, 5, 6, 7}  # 9 has no QEMU at all
    assert qemu_disks([]) == {}


@pytest.mark.usefixtures("impatient")
def test_a_qemu_that_others_wait_for(qemus: Callable[[int, Behaviour], None], tmp_path: Path) -> None:
    qemus(3, says())
    others = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        for other in others:
            other.setblocking(False)
            other.connect_ex(str(tmp_path / "qmp-libxenstat-3"))
        assert qemu_disks([3]) == {}
    finally:
        for other in others:
            other.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "return", "stats", "device", *module._NAMES]), inner)
    ),
)


@given(JSON.map(lambda value: json.dumps({"id": "pyxen-blockstats", "return": value}).encode()) | st.binary())
def test_any_line_is_read(line: bytes) -> None:
    disks = module._disks(line)
    if disks is not None:
        disks.counters("xvda", 51712)
