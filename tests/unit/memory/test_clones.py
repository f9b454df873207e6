"""Clones whose time is up."""

from __future__ import annotations

import concurrent.futures
import threading
from pathlib import Path
from typing import Any

import pytest

from pyxen import DomainConfig, Operation, OperationCancelled, OperationTimeout
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.testing import FakeHost
from tests.waiting import SECONDS

WEB = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=64)


def test_a_clone_that_is_late_waits_quietly_until_its_restores_are_undone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    restores: list[Operation[Any]] = []
    looks: list[float | None] = []

    def restore(*_arguments: Any, **_options: Any) -> Operation[Any]:
        operation = Operation[Any]("restore")
        operation.carried_by(lambda _: None, threading.Thread())  # undoing it takes its time
        restores.append(operation)
        return operation

    def wait(running: Any, timeout: float | None, when: str) -> Any:
        late = [each for each in restores if each.stopped is not None and not each.done()]
        if late:
            looks.append(timeout)
            if timeout is None or len(looks) > 9:  # only a wait lets the next one end
                late[0].set_exception(OperationCancelled("undone"))
        return concurrent.futures.wait(running, timeout, when)

    with FakeHost() as fake:
        fake.create(WEB).save(tmp_path / "saved")
        monkeypatch.setattr(MemoryBackend, "restore", restore)
        monkeypatch.setattr("pyxen._copies.clone_operation.wait", wait)
        with pytest.raises(OperationTimeout):
            fake.begin.clone(tmp_path / "saved", 3, timeout=1).result(SECONDS)
    assert restores  # on a slow machine the time may be up before there are three
    assert looks == [None] * len(restores)
