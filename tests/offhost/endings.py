"""Tests that end badly, for test_endings.py to run; pytest does not collect them by itself."""

from __future__ import annotations

import os
import signal


def test_before() -> None:
    pass


def test_aborts() -> None:
    os.kill(os.getpid(), signal.SIGABRT)


def test_exits() -> None:
    os._exit(7)


def test_fails() -> None:
    assert os.getpid() == 0


def test_after() -> None:
    pass
