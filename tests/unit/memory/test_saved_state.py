"""What memory:/// makes of the files of saved domains, whatever is in them and however they arrive."""

from __future__ import annotations

import json
import os
import select
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import pyxen
from pyxen import Host, OperationFailed
from pyxen._common import savefile
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config
from tests.waiting import until

MARK = b"a domain of memory:///\n"
STATE = {"memory": 65536, "online": 1, "answers": True, "drivers": True}


@pytest.fixture
def host() -> Iterator[Host]:
    with pyxen.connect("memory:///") as host:
        yield host


@pytest.fixture
def saved(host: Host, tmp_path: Path) -> Path:
    """The file of a domain that is saved."""
    host.create(config("web")).save(tmp_path / "web")
    return tmp_path / "web"


def with_state(saved: Path, state: str) -> None:
    """Give the guest in a file another state, with its checksum."""
    data, text = saved.read_bytes(), state.encode()
    head = data[: data.index(MARK) + len(MARK)]
    saved.write_bytes(head + struct.pack("=II", len(text), zlib.crc32(text)) + text)


def test_its_own_state_is_taken(host: Host, saved: Path) -> None:
    with_state(saved, json.dumps(STATE))
    assert host.restore(saved).info().vcpus == 1


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "{",
        "{}",
        "[" * 100_000,
        *(json.dumps({**STATE, **change}) for change in (
            {"memory": "x"}, {"memory": -1}, {"memory": 1.5}, {"memory": True}, {"online": 0},
            {"answers": 1}, {"drivers": None}, {"more": 1},
        )),
    ],
)  # fmt: skip
def test_a_state_that_is_not_valid_leaves_nothing(host: Host, saved: Path, state: str) -> None:
    with_state(saved, state)
    before = host.list()
    with pytest.raises(OperationFailed, match="damaged: the state of the guest"):
        host.restore(saved)
    assert [info.domid for info in host.list()] == [info.domid for info in before]


def test_whatever_a_restore_raises_leaves_nothing(host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pyxen.backends.memory.save._take_state", fail)
    with pytest.raises(ZeroDivisionError):
        host.restore(saved)
    assert len(host.list()) == 1


def test_memory_for_which_there_is_no_room_is_not_taken(host: Host, saved: Path) -> None:
    with_state(saved, json.dumps({**STATE, "memory": 1 << 50}))
    assert host.restore(saved).info().memory_kib < 1 << 50
    assert host.info().free_memory_kib >= 0


def test_no_more_vcpus_are_online_than_there_are(host: Host, saved: Path) -> None:
    with_state(saved, json.dumps({**STATE, "online": 5}))
    assert host.restore(saved).info().vcpus == 1


def test_what_comes_in_tiny_pieces_is_not_read_again_with_each(
    host: Host, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    parse = savefile.parse

    def counted(take: Callable[[int], bytes], source: str | None = None) -> savefile.Head:
        nonlocal looks
        looks += 1
        return parse(take, source)

    monkeypatch.setattr(savefile, "parse", counted)
    read_end, write_end = os.pipe()
    begun = host.begin.restore(read_end)
    for byte in saved.read_bytes():
        os.write(write_end, bytes([byte]))
        until(lambda: not select.select([read_end], [], [], 0)[0], "it is not read")
    until(begun.done, "the restore does not end")
    os.close(read_end)
    os.close(write_end)
    assert begun.result().name == "web"
    assert looks <= 8


@pytest.mark.parametrize("time", ["real", "virtual"])
def test_a_slow_allow_holds_up_nobody(time: Literal["real", "virtual"], tmp_path: Path) -> None:
    asked, decided = threading.Event(), threading.Event()

    def allow(_: pyxen.DomainConfig) -> bool:
        asked.set()
        return decided.wait(30)

    with FakeHost(time=time) as fake:
        web = fake.create(config("web"))
        other = fake.create(config("other"))
        web.save(tmp_path / "web", timeout=60)
        restoring = fake.begin.restore(tmp_path / "web", allow=allow, timeout=20)
        assert asked.wait(30)
        other.pause()
        assert [info.name for info in fake.list()] == ["Domain-0", "other"]
        assert not restoring.done()
        decided.set()
        assert restoring.result(30).info().name == "web"


def test_allow_must_not_wait_for_its_host(host: Host, saved: Path) -> None:
    def allow(_: pyxen.DomainConfig) -> bool:
        host.create(config("other"))
        return True

    with pytest.raises(RuntimeError, match="cannot wait here"):
        host.restore(saved, allow=allow)
    assert len(host.list()) == 1


def test_a_restore_that_is_stopped_while_allow_decides(host: Host, saved: Path) -> None:
    restoring: list[pyxen.Operation[pyxen.Domain]] = []
    begun = threading.Event()

    def allow(_: pyxen.DomainConfig) -> bool:
        begun.wait(30)
        restoring[0].cancel()
        return True

    restoring.append(host.begin.restore(saved, allow=allow))
    begun.set()
    with pytest.raises(pyxen.OperationCancelled):
        restoring[0].result(30)
    assert len(host.list()) == 1


def test_a_file_that_cannot_be_read(host: Host) -> None:
    for call in (host.restore, host._backend.saved_config):
        with pytest.raises(pyxen.InvalidArgument, match=r"cannot read /proc/self/mem: Input/output error"):
            call("/proc/self/mem")
