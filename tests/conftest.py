"""Surroundings that all tests have."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let SIGINT raise KeyboardInterrupt: a process that a shell began in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
