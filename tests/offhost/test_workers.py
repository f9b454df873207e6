"""How many worker processes there are, when nobody says how many."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig
from tests.offhost.host import OffHost, children

Configure = Callable[..., DomainConfig]


def pids() -> list[int]:
    """Return the workers of this process."""
    return [pid for pid in children(os.getpid()) if b"/pyxen-worker-" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def workers() -> int:
    """Return the number of workers of this process."""
    return len(pids())


@pytest.fixture
def cpus() -> Iterator[Callable[[int], None]]:
    """Let this process use so many of its CPUs."""
    before = os.sched_getaffinity(0)
    yield lambda count: os.sched_setaffinity(0, set(sorted(before)[:count]))
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("count", range(1, 1 + min(2, len(os.sched_getaffinity(0)))))
def test_creates_at_once_have_one_for_each_cpu(
    offhost: OffHost, config: Configure, cpus: Callable[[int], None], count: int
) -> None:
    cpus(count)
    with pyxen.connect() as host:
        assert workers() == 0
        created = [host.begin.create(config(name=f"web{number}")) for number in range(8)]
        domains = [operation.result(timeout=60) for operation in created]
        assert workers() == count
        for destroyed in [domain.begin.destroy() for domain in domains]:
            destroyed.result(timeout=60)
        assert workers() == count
    assert workers() == 0
    assert offhost.left() == []


def test_one_is_enough_for_one_after_the_other(host: pyxen.Host, config: Configure) -> None:
    for _ in range(3):
        host.create(config(), timeout=20).destroy(timeout=20)
        assert workers() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ], ids=lambda number: number.name)
def test_signals_that_do_not_end_one(host: pyxen.Host, config: Configure, number: signal.Signals) -> None:
    host.create(config(), paused=True).destroy()
    before = pids()
    assert len(before) == 1
    os.kill(before[0], number)
    host.create(config(), paused=True).destroy()
    assert pids() == before
