"""Reading beside creates and destroys: no deadlock, and no list waits for a create."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyxen import Host
from tests.xen.support import MakeConfig

DOMAINS = 60
READERS = 4


@pytest.mark.timeout(900)  # one processor emulates all of it; on a busy machine that took 300 s
@pytest.mark.long
def test_lists_from_four_threads_while_domains_come_and_go(host: Host, tiny: MakeConfig) -> None:
    config = tiny()
    over = threading.Event()
    lists: list[tuple[float, float]] = []
    creates: list[tuple[float, float]] = []

    def read() -> None:
        while not over.is_set():
            start = time.monotonic()
            host.list()
            lists.append((start, time.monotonic()))
            time.sleep(0.05)  # four threads without a pause would only measure Python's own lock

    def live(number: int) -> None:
        start = time.monotonic()
        domain = host.create(config.replace(name=f"d{number}"), paused=True)
        creates.append((start, time.monotonic()))
        domain.destroy()

    readers = [threading.Thread(target=read, daemon=True) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(live, number) for number in range(DOMAINS)]:
            future.result(timeout=60)
    over.set()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    assert len(creates) == DOMAINS
    assert len(host.domains) == 1
    # A list that waited for a create could not begin and end within one.
    within = [1 for start, end in creates if any(start < begun and ended < end for begun, ended in lists)]
    assert len(within) > 0.9 * DOMAINS
