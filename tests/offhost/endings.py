"""Tests that end badly, for test_endings.py to run; pytest does not collect them by itself."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.offhost.host import OffHost


def test_before() -> None:
    pass


def test_aborts(offhost: OffHost) -> None:
    assert offhost.store.exists("/local/domain/0")
    os.kill(os.getpid(), signal.SIGABRT)


def test_exits() -> None:
    os._exit(7)


def test_fails() -> None:
    assert os.getpid() == 0


@pytest.mark.timeout(1)
def test_hangs() -> None:
    time.sleep(60)


def test_after() -> None:
    pass
