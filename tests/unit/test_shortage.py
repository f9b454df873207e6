"""A process that may start no more threads gets pyxen's error, and nothing goes on behind it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyxen import DomainConfig, Hosts
from pyxen._common.shortage import REMEDY, shortage
from pyxen.errors import OperationFailed
from pyxen.testing import FakeHost

CONFIG = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=512)

Host = Any


@pytest.fixture
def no_more(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what lets no thread of a name start from then on."""
    start = threading.Thread.start

    def refuse(name: str) -> None:
        def refused(thread: threading.Thread) -> None:
            if thread.name == name:
                message = "can't start new thread"
                raise RuntimeError(message)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refused)

    return refuse


@pytest.mark.parametrize(
    ("thread", "call"),
    [
        ("pyxen-apply", lambda host: host.apply(CONFIG)),
        ("pyxen-on_console", lambda host: host.create(CONFIG, on_console=print)),
    ],
)
def test_no_thread(no_more: Callable[[str], None], thread: str, call: Callable[[Host], object]) -> None:
    with FakeHost() as host:
        no_more(thread)
        with pytest.raises(OperationFailed, match="no more descriptors, threads or memory: can't start new thread"):
            call(host)
        assert [info.domid for info in host.list()] == [0]


def test_no_thread_for_one_of_several_hosts(no_more: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with Hosts({"one": "memory:///one"}) as hosts:
        no_more("pyxen-hosts")
        answers = hosts.each(lambda host: host.uri)
        monkeypatch.undo()
        assert isinstance(answers["one"].error, OperationFailed)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),  # of a fork
        MemoryError(),
        RuntimeError("can't start new thread"),
    ],
    ids=repr,
)
def test_the_remedy_of_a_shortage(error: Exception) -> None:
    with pytest.raises(OperationFailed, match="may have no more descriptors") as caught, shortage(OperationFailed, "x"):
        raise error
    assert str(caught.value).endswith(REMEDY)


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(errno.ENOENT, "No such file", "/bin/no"), RuntimeError("dictionary changed size")],
    ids=repr,
)
def test_what_is_no_shortage_is_not_called_one(error: Exception) -> None:
    with pytest.raises(OperationFailed) as caught, shortage(OperationFailed, "cannot look"):
        raise error
    assert str(caught.value) == f"cannot look: {error}"
