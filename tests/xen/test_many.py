"""Many domains at once from one process, on the blocking face: nothing is left of them."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import pyxen
from pyxen import Domain, Host, OperationCancelled
from pyxen.backends.base import DomainRef
from tests.xen.support import LONG, MakeConfig, children, joined, wait_until

MANY = 50 if LONG else 20


def test_many_at_once_and_nothing_left(tiny: MakeConfig) -> None:
    threads, descriptors, before = threading.active_count(), len(os.listdir("/proc/self/fd")), children()
    with pyxen.connect() as host, ThreadPoolExecutor(MANY) as pool:
        configs = [tiny(name=f"many{number}") for number in range(MANY)]
        domains = list(pool.map(host.create, configs))
        assert len({domain.domid for domain in domains}) == MANY
        assert {info.name for info in host.list()} >= {config.name for config in configs}
        list(pool.map(Domain.destroy, domains))
        wait_until(lambda: not any((info.name or "").startswith("many") for info in host.list()))
    assert (threading.active_count(), len(os.listdir("/proc/self/fd")), children()) == (threads, descriptors, before)


def test_a_third_cancelled_at_a_random_moment(tiny: MakeConfig) -> None:
    threads, descriptors, before = threading.active_count(), len(os.listdir("/proc/self/fd")), children()
    chance = random.SystemRandom()
    with pyxen.connect() as host:
        start = time.monotonic()
        host.create(tiny()).destroy()
        apart = time.monotonic() - start
        backend = host._backend
        operations = [backend.create(tiny(name=f"many{number}"), paused=False, timeout=None) for number in range(MANY)]
        cancels = [
            threading.Timer(chance.uniform(0, apart * MANY / 2), operation.cancel)
            for operation in chance.sample(operations, MANY // 3)
        ]
        for cancel in cancels:
            cancel.start()
        created: list[DomainRef] = []
        for operation in operations:
            try:
                created.append(operation.result(timeout=120))
            except OperationCancelled:
                continue
        assert MANY - MANY // 3 <= len(created) < MANY
        for end in [backend.destroy(ref, timeout=None) for ref in created]:
            end.result(timeout=120)
        for cancel in cancels:
            joined(cancel)
    assert (threading.active_count(), len(os.listdir("/proc/self/fd")), children()) == (threads, descriptors, before)


def test_hundreds_of_operations_at_once(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny())
    waits = [domain.begin.wait("shutdown") for _ in range(300)]
    configs = [domain.begin.config() for _ in range(100)]
    assert {operation.result(60).name for operation in configs} == {"tiny"}
    assert not any(operation.done() for operation in waits)
    for operation in waits[::3]:
        operation.cancel()
    for operation in waits[::3]:
        with pytest.raises(OperationCancelled):
            operation.result(60)
    domain.destroy()
    assert {operation.result(60) for operation in waits if operation not in waits[::3]} == {None}
